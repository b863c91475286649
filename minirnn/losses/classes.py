"""Cross-entropy at each position, for targets that are classes or probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.engine import current
from minirnn.typing import Array

__all__ = ["add_at_class", "at_class", "natively", "nats", "softmax_and_nats"]


def natively(
    logits: Any, target: Any, mask: Any, sample_weight: Any, ignored: int | None
) -> tuple[float, float, Array] | None:
    """Return the mean cross-entropy of classes, the sum of the weights, and the gradient.

    That is one call of native code. None where there is no such code, or where it finds anything
    that it is not made for, be it wrong or only unusual: then NumPy says what.
    """
    if current.native is None or type(logits) is not np.ndarray or type(target) is not np.ndarray:
        return None
    if target.dtype.kind in "iu":
        target = np.ascontiguousarray(target, np.int64)
    if mask is not None:
        mask = np.ascontiguousarray(mask)
    rows, grad = np.ascontiguousarray(logits), np.empty(logits.shape, logits.dtype)
    given = rows, target, mask, sample_weight, ignored
    found = current.native.cross_entropy(*given, grad, current.threads)
    return None if found is None else (*found, grad)


def softmax_and_nats(logits: Array, target: Array) -> tuple[Array, Array, Array]:
    """Return ``-sum_k t_k log p_k`` at each position, and the parts of ``p = softmax(logits)``.

    The parts are ``e = exp(x - max x)``, of the shape of the logits, and its sums over the classes:
    ``p = e / sum e``.
    """
    # over a short last axis, these two are two and ten times as fast as max and sum
    firsts = _first_places(logits)
    peak = np.maximum.reduceat(logits.reshape(-1), firsts).reshape(logits.shape[:-1])
    with np.errstate(over="ignore"):  # beyond the smallest number there is only -inf
        shifted = logits - peak[..., None]
    terms = nats(shifted, target)
    e = np.exp(shifted, shifted)
    classes = e.shape[-1]
    sums = e.reshape(-1, classes).dot(np.ones(classes, e.dtype)).reshape(peak.shape)
    logs = np.log(sums)
    terms += logs if target.shape != e.shape else logs * target.sum(axis=-1)
    return terms, e, sums


def nats(log_p: Array, target: Array) -> Array:
    """Return ``-sum_k t_k log p_k`` at each position."""
    if target.shape == log_p.shape:
        terms: Array = -(target * log_p).sum(axis=-1)
        return terms
    return -at_class(log_p, target)


def at_class(array: Array, target: Array) -> Array:
    """Return one element a position, that of the position's class: a new array."""
    return array.reshape(-1)[_places(array, target)]


def add_at_class(array: Array, target: Array, number: Any) -> None:
    """Add a number, or one of each position ``(..., 1)``, to its class in a contiguous array."""
    number = number[..., 0] if isinstance(number, np.ndarray) else number
    array.reshape(-1)[_places(array, target)] += number


def _places(array: Array, target: Array) -> Array:
    """Return where the class of each position is in the flat array (one index is fastest)."""
    places = _first_places(array).reshape(target.shape)
    places += target.astype(np.intp, copy=False)
    return places


def _first_places(array: Array) -> Array:
    """Return where the first class of each position is in the flat array."""
    return np.arange(0, array.size, array.shape[-1])
