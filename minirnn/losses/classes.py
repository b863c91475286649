"""Cross-entropy at each position, for targets that are classes or probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.typing import Array

__all__ = ["add_at_class", "nats"]


def nats(log_p: Array, target: Array) -> Array:
    """Return ``-sum_k t_k log p_k`` at each position."""
    if target.shape == log_p.shape:
        terms: Array = -(target * log_p).sum(axis=-1)
        return terms
    return -log_p.reshape(-1)[_places(log_p, target)]


def add_at_class(array: Array, target: Array, number: Any) -> None:
    """Add a number, or one of each position ``(..., 1)``, to its class in a contiguous array."""
    number = number[..., 0] if isinstance(number, np.ndarray) else number
    array.reshape(-1)[_places(array, target)] += number


def _places(array: Array, target: Array) -> Array:
    """Return where the class of each position is in the flat array (one index is fastest)."""
    firsts = np.arange(0, array.size, array.shape[-1]).reshape(target.shape)
    return firsts + target.astype(np.intp, copy=False)
