"""The product of one step, in the form that BLAS does fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minirnn.typing import Array

__all__ = ["HALF", "ONE", "gatewise"]

Product: TypeAlias = Callable[[Array, Array, Array], object]
View: TypeAlias = Callable[[Array], Array]

HALF: dict[Any, Array]
ONE: dict[Any, Array]
HALF, ONE = (
    {np.dtype(kind): np.array(number, kind) for kind in (np.float32, np.float64)}
    for number in (0.5, 1.0)
)
"""Numbers as arrays, by dtype: a ufunc takes them 0.3 us faster than a Python number."""


def gatewise(W: Array, batch: int, hidden: int) -> tuple[Product, Array, View]:
    """How one step multiplies by ``W (k, gates*hidden)``, gate by gate.

    Returns ``multiply, weights, view`` such that ``multiply(a, weights, view(out))`` writes
    ``a @ W`` for ``a (batch, k)`` into the contiguous ``out (gates, batch, hidden)``, where each
    gate is one contiguous run of numbers for the functions that follow. With one sequence there is
    nothing to separate, and it becomes a product of vector and matrix.
    """
    if batch == 1:
        return np.ndarray.dot, W, lambda out: out.reshape(1, -1)
    gates = W.reshape(len(W), -1, hidden).swapaxes(0, 1)
    return np.matmul, gates, lambda out: out
