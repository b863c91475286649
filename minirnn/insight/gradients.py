"""How far a gradient reaches back in time.

Norms are computed in float64 by ``hypot``, which squares nothing: gradients of 1e-200 or 1e200
neither vanish nor overflow.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minirnn.typing import Array, Mask

__all__ = ["only_last", "reach", "row_norms"]


def row_norms(arrays: Iterable[Array]) -> Array:
    """Return the Euclidean norm ``(batch, time)`` over all other axes and over the arrays together.

    NaN where an element is NaN.

    Examples
    --------
    >>> row_norms([np.array([[[3e-200, 4e-200]]])])
    array([[5.e-200]])
    """
    flat = [array.reshape(*array.shape[:2], -1).astype(np.float64) for array in arrays]
    norms: Array = np.hypot.reduce(np.concatenate(flat, axis=2), axis=2)
    return norms


def only_last(grad: Array, mask: Mask | None, reverse: bool, final: bool) -> Array:
    """Return `grad` (batch, time, output) with zeros in all but the latest step of each sequence.

    With `final`, a gradient comes in on the final state too: then the latest step is the last valid
    one, whatever gradient its output has.
    """
    counts = np.ones(grad.shape[:2], bool) if mask is None else mask
    if not final:
        counts = counts & (grad != 0).any(axis=2)
    order = slice(None, None, -1 if reverse else 1)
    latest = (np.arange(grad.shape[1]) == _last(counts[:, order])[:, None])[:, order]
    return np.where(latest[:, :, None], grad, grad.dtype.type(0))


def reach(norms: Array, reverse: bool) -> Array:
    """Return how much of a gradient that comes in late arrives at each step, as a ratio of norms.

    From norms on the state (batch, time), NaN at masked steps. For every step, over the sequences
    that have got that far: the norm there, over the norm at each sequence's latest step that has
    one; (time,), NaN where there is nothing to compare.

    Examples
    --------
    >>> reach(np.array([[0.001, 0.1, 10.0]]), reverse=False)
    array([1.e-04, 1.e-02, 1.e+00])
    """
    order = slice(None, None, -1 if reverse else 1)
    norms = norms[:, order]
    last = _last(norms > 0)[:, None]
    counts = (np.arange(norms.shape[1]) <= last) & ~np.isnan(norms)
    source = np.take_along_axis(norms, last, axis=1)
    with np.errstate(all="ignore"):
        arrives = np.hypot.reduce(np.where(counts, norms, 0.0))
        sent = np.hypot.reduce(np.where(counts, source, 0.0))
        return np.where(sent > 0, arrives / sent, np.nan)[order]


def _last(true: Mask) -> Array:
    """Return the last true step of each row, -1 where there is none."""
    last: Array = np.where(true, np.arange(true.shape[1]), -1).max(axis=1)
    return last
