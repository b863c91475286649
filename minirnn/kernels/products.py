"""The product of one step, in the form that BLAS does fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minirnn.typing import Array

__all__ = ["HALF", "ONE", "Product", "step_product"]

_SMALL_PRODUCT = 10**6  # multiplications
_NARROWEST_BLOCK = 32  # columns: two AVX-512 registers of float32

Product: TypeAlias = Callable[[Array, Array, Array], object]
View: TypeAlias = Callable[[Array], Array]

HALF: dict[Any, Array]
ONE: dict[Any, Array]
HALF, ONE = (
    {np.dtype(kind): np.array(number, kind) for kind in (np.float32, np.float64)}
    for number in (0.5, 1.0)
)
"""Numbers as arrays, by dtype: a ufunc takes them 0.3 us faster than a Python number."""


def step_product(W: Array, batch: int, hidden: int) -> tuple[Product, Array, View]:
    """How one step multiplies by ``W (k, gates*hidden)`` with the least time.

    Returns ``multiply, weights, view`` such that ``multiply(a, weights, view(out))`` writes
    ``a @ W`` for ``a (batch, k)`` into the contiguous ``out (gates, batch, hidden)``: gate by
    gate, so that each gate is one contiguous run of numbers for the functions that follow.

    `ndarray.dot` has the lower overhead (0.3 us), but no product per gate. With one sequence there
    is nothing to separate, and it becomes a product of vector and matrix.
    """
    gates = W.shape[1] // hidden
    width = _block_width(batch, len(W), hidden)
    if batch == 1 or gates * hidden == width:
        return np.ndarray.dot, W, lambda out: out.reshape(batch, gates * hidden)

    def blocks(planes: Array) -> Array:
        return planes.reshape(*planes.shape[:-1], hidden // width, width).swapaxes(-3, -2)

    return np.matmul, blocks(W.reshape(len(W), gates, hidden).swapaxes(0, 1)), blocks


def _block_width(rows: int, inner: int, columns: int) -> int:
    """Columns per product such that it stays in OpenBLAS's kernel for small matrices.

    All of them where that is out of reach. That kernel is for AVX-512: there, at hidden size 256
    and batch 64, blocks take the forward product of an LSTM from 541 us to 448.
    """
    width = columns
    while rows * inner * width > _SMALL_PRODUCT and width % 2 == 0:
        width //= 2
    fits = rows * inner * width <= _SMALL_PRODUCT and width >= _NARROWEST_BLOCK
    return width if fits else columns
