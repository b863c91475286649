"""How far a gradient reaches back in time."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.typing import Array, Mask

__all__ = ["only_last", "reach", "row_norms", "step_norms"]


def row_norms(arrays: list[Array]) -> Array:
    """Return the Euclidean norm over all but the first two axes, and over the arrays together.

    In float64 and scaled by the largest element, so that gradients of 1e-200 or 1e200 neither
    vanish nor overflow in the squaring.

    Parameters
    ----------
    arrays : list of arrays (batch, time, ...)

    Returns
    -------
    array (batch, time)
        NaN where an element is NaN.

    Examples
    --------
    >>> row_norms([np.array([[[3e-200, 4e-200]]])])
    array([[5.e-200]])
    """
    flat = [array.reshape(*array.shape[:2], -1).astype(np.float64) for array in arrays]
    values = np.concatenate(flat, axis=2)
    return _norm(values, axis=2)


def _norm(values: Array, axis: int) -> Array:
    largest = np.abs(values).max(axis=axis, keepdims=True)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(over="ignore", under="ignore"):
        norm: Array = np.sqrt(((values / scale) ** 2).sum(axis=axis)) * scale.squeeze(axis)
    return norm


def step_norms(norms: Array, mask: Mask | None) -> Array:
    """Return the norm at each time step ``(time,)`` from that of each row ``(batch, time)``.

    Masked rows do not count; where all rows are masked the result is NaN.
    """
    if mask is None:
        return _norm(norms, axis=0)
    return np.where(mask.any(axis=0), _norm(np.where(mask, norms, 0.0), axis=0), np.nan)


def only_last(grad: Array, mask: Mask | None, reverse: bool, final: bool) -> Array | None:
    """Return `grad` without all but its latest step in each sequence, or None if that changes none.

    Parameters
    ----------
    grad : array (batch, time, output)
        Gradient on the output of a recurrent layer.
    mask : boolean array (batch, time), or None
    reverse : bool
        Whether the layer reads time backwards; its latest step is then step 0.
    final : bool
        Whether a gradient comes in on the final state too: then the latest step is the last valid
        one, whatever gradient its output has.
    """
    valid = np.ones(grad.shape[:2], bool) if mask is None else mask
    arrives = (grad != 0).any(axis=2) & valid
    last = _last(valid if final else arrives, reverse)
    keep = np.zeros_like(valid)
    rows = np.flatnonzero(last >= 0)
    keep[rows, last[rows]] = True
    if not (arrives & ~keep).any():
        return None
    return np.where(keep[:, :, None], grad, grad.dtype.type(0))


def reach(norms: Array, reverse: bool) -> Array:
    """Return how much of a gradient that comes in late arrives at each step, as a ratio of norms.

    For every step, over the sequences that have got that far: the norm of the gradient on the
    state there, over the norm of the gradient on the state at each sequence's latest step that has
    one. It is 1 at the latest step.

    Parameters
    ----------
    norms : array (batch, time)
        Of the gradient on the state, NaN at masked steps.
    reverse : bool

    Returns
    -------
    array (time,)
        NaN where there is nothing to compare.

    Examples
    --------
    >>> reach(np.array([[0.001, 0.1, 10.0]]), reverse=False)
    array([1.e-04, 1.e-02, 1.e+00])
    """
    batch, time = norms.shape
    last = _last(norms > 0, reverse)
    has = last >= 0
    source = np.where(has, norms[np.arange(batch), np.maximum(last, 0)], 0.0)
    steps = np.arange(time)
    begun = (steps >= last[:, None]) if reverse else (steps <= last[:, None])
    counts = has[:, None] & begun & ~np.isnan(norms)
    above = _norm(np.where(counts, norms, 0.0), axis=0)
    below = _norm(np.where(counts, source[:, None], 0.0), axis=0)
    result = np.full(time, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        np.divide(above, below, out=result, where=below > 0)
    return result


def _last(true: Any, reverse: bool) -> Array:
    """Return the latest true step of each row in the order of reading, -1 where there is none."""
    time = true.shape[1]
    found = true.argmax(axis=1) if reverse else time - 1 - true[:, ::-1].argmax(axis=1)
    return np.where(true.any(axis=1), found, -1)
