"""The matrix products of the kernels, in the forms that BLAS does fastest.

Most of the time of a training step goes here, so each form was measured (OpenBLAS 0.3.31, one
thread, AVX-512): a small product by a transposed view runs at half the speed of one by a copy;
products of at most 100^3 multiplications take a kernel that skips packing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from minirnn.kernels.layout import Steps, put
from minirnn.kernels.workspace import Workspace
from minirnn.typing import Array

__all__ = [
    "HALF",
    "ONE",
    "Product",
    "ProductSum",
    "add_weight_gradients",
    "input_gradient",
    "pack_weights",
    "step_product",
    "transposed",
]

_SMALL_PRODUCT = 10**6  # multiplications
_NARROWEST_BLOCK = 32  # columns: two AVX-512 registers of float32
_WIDE, _PADDING = 64, 16  # columns

Product: TypeAlias = Callable[[Array, Array, Array], object]
View: TypeAlias = Callable[[Array], Array]

HALF, ONE = (
    {np.dtype(kind): np.array(number, kind) for kind in (np.float32, np.float64)}
    for number in (0.5, 1.0)
)
"""Numbers as arrays, by dtype: a ufunc takes them 0.3 us faster than a Python number."""


def pack_weights(W: Array, Wx: Array, b: Array, Wh: Array, scale: Array) -> None:
    """Write ``[Wx; b; Wh] * scale`` into W; scale is 1/2 in the columns of sigmoid gates, else 1.

    ``sigmoid(a) = tanh(a / 2) / 2 + 1/2``: halving the weights once a call, exact in floating
    point, leaves one tanh over all gates for every step.
    """
    size = len(Wx)
    np.multiply(Wx, scale, W[:size])
    np.multiply(b, scale, W[size])
    np.multiply(Wh, scale, W[size + 1 :])


def step_product(W: Array, batch: int, hidden: int) -> tuple[Product, Array, View]:
    """How one step multiplies by ``W (k, gates*hidden)`` with the least time.

    Returns ``multiply, weights, view`` such that ``multiply(a, weights, view(out))`` writes
    ``a @ W`` for ``a (batch, k)`` into the contiguous ``out (gates, batch, hidden)``: gate by
    gate, so that each gate is one contiguous run of numbers for the functions that follow.

    `ndarray.dot` has the lower overhead (0.3 us; `numpy.dot` takes 0.2 more), but no product per
    gate. With one sequence there is nothing to separate, and it becomes a product of matrix and
    vector.
    """
    inner = len(W)
    gates = W.shape[1] // hidden
    width = _block_width(batch, inner, hidden)
    if batch == 1 or gates * hidden == width:
        return np.ndarray.dot, W, lambda out: out.reshape(batch, gates * hidden)

    def blocks(planes: Array) -> Array:
        return planes.reshape(*planes.shape[:-1], hidden // width, width).swapaxes(-3, -2)

    return np.matmul, blocks(W.reshape(inner, gates, hidden).swapaxes(0, 1)), blocks


def _block_width(rows: int, inner: int, columns: int) -> int:
    """Columns per product such that it stays in OpenBLAS's kernel for small matrices.

    All of them where that is out of reach. At hidden size 128 and batch 32 this takes the
    backward product of an LSTM from 47 to 38 us, at 256 and 64 the forward one from 541 to 448.
    """
    width = columns
    while rows * inner * width > _SMALL_PRODUCT and width % 2 == 0:
        width //= 2
    fits = rows * inner * width <= _SMALL_PRODUCT and width >= _NARROWEST_BLOCK
    return width if fits else columns


def transposed(workspace: Workspace, name: str, blocks: list[Array], batch: int) -> Array:
    """Transpose the matrices ``blocks (hidden, n)``, set side by side: ``(sum of n, hidden)``.

    OpenBLAS multiplies small matrices by a transposed view at half its speed, so this is a real
    copy; but with one sequence it makes no difference to the product, and a copy row by row is
    cheaper.

    Rows as long as a power of two stand on the same few lines of the cache: read by columns, they
    drive one another out. So from `_WIDE` on it goes through rows that are a little longer, which
    takes 27 us in place of 150 at hidden size 128, 155 in place of 740 at 256.
    """
    hidden, dtype = len(blocks[0]), blocks[0].dtype
    columns = sum(block.shape[1] for block in blocks)
    result = workspace.array(name, (columns, hidden), dtype, order="F" if batch == 1 else "C")
    through_padding = batch > 1 and hidden >= _WIDE
    side_by_side = result.T
    if through_padding:
        padded = workspace.array(f"{name}, padded", (hidden, columns + _PADDING), dtype)
        side_by_side = padded[:, :columns]
    start = 0
    for block in blocks:
        stop = start + block.shape[1]
        side_by_side[:, start:stop] = block
        start = stop
    if through_padding:
        result[...] = side_by_side.T
    return result


class ProductSum:
    """The sum of ``rows.T @ da`` over batch and time, group of steps by group of steps.

    Parameters
    ----------
    workspace : where its memory is
    name : its key there
    shape : ``(k, n)``, of the sum
    """

    def __init__(self, workspace: Workspace, name: str, shape: tuple[int, int], dtype: Any) -> None:
        self._total = workspace.array(name, shape, dtype)
        self._part = partial(workspace.array, "a part of a product sum", shape, dtype)
        self.begin()

    def begin(self) -> None:
        """Begin a new sum."""
        self._empty = True

    def add(self, rows: Array, da: Array) -> None:
        """Add one group of steps.

        Parameters
        ----------
        rows : ``(time, batch, k)``, what a weight matrix ``(k, n)`` multiplied at each step
        da : ``(time, batch, n)``, the gradient on the products
        """
        k, n = self._total.shape
        out = self._total if self._empty else self._part()
        rows.reshape(-1, k).T.dot(da.reshape(-1, n), out)
        if not self._empty:
            np.add(self._total, out, self._total)
        self._empty = False

    def total(self) -> Array:
        """Return the sum; it is good until the next `begin`."""
        if self._empty:
            self._total.fill(0)
        return self._total


def input_gradient(workspace: Workspace, da: Array, Wx: Array, grad_x: Array, steps: Steps) -> None:
    """Write ``da @ Wx.T`` to its steps of ``grad_x (batch, time, input)``.

    Parameters
    ----------
    da : ``(total, batch, gates*hidden)``, contiguous or some columns of such an array
    Wx : ``(input, gates*hidden)``
    """
    count, batch, columns = da.shape
    rows = workspace.array("input gradient", (count * batch, len(Wx)), da.dtype)
    da.reshape(-1, columns).dot(Wx.T, rows)
    put(rows.reshape(count, batch, len(Wx)), grad_x, steps)


def add_weight_gradients(grad_W: Array, grads: tuple[Array, ...]) -> None:
    """Add the parts of the gradient of ``[Wx; b; Wh]``.

    Parameters
    ----------
    grad_W : ``(input + 1 + hidden, gates*hidden)``
    grads : the arrays to add to, of Wx, Wh and b
    """
    grad_Wx, grad_Wh, grad_b = grads
    size = len(grad_Wx)
    grad_Wx += grad_W[:size]
    grad_b += grad_W[size]
    grad_Wh += grad_W[size + 1 :]
