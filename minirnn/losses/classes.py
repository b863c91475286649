"""What cross-entropies do with targets that are classes, and with those that are probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.typing import Array

__all__ = ["add_at_class", "at_class", "first_places", "nats"]


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
    places = first_places(array).reshape(target.shape)
    places += target.astype(np.intp, copy=False)
    return places


def first_places(array: Array) -> Array:
    """Return where the first class of each position is in the flat array."""
    return np.arange(0, array.size, array.shape[-1])
