"""GRU, in the variant that resets after the product (cuDNN, PyTorch, Keras).

::

    r, z = sigmoid(x Wx + h Wh + b)                        reset and update gate
    n = tanh(x Wx + b + r * (h Wh + bn))                   candidate
    h' = (1 - z) * n + z * h  =  n + z * (h - n)

each product with the columns of its gate. The input's part of n stands alone, so it is one large
product for all steps; ``h Wh + bn`` is called ``inner``. Backwards, with ``dh`` the gradient on the
state after the step, everything is ``dh`` times a factor that does not depend on it::

    da_n = dh * (1 - z) (1 - n^2)             da_z = dh * (h - n) z (1 - z)
    d_inner = da_n * r                        da_r = da_n * inner r (1 - r)
    dh = dh * z + (d_inner, da_r, da_z) Wh^T

so one call computes all four. In the order ``inner, r, z, n`` the first three belong to Wh and the
last three to Wx.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np

from minirnn.kernels.driver import Backward, Forward, Sizes
from minirnn.kernels.products import HALF, ONE, gatewise
from minirnn.typing import Array, State

__all__ = ["GRUBackward", "GRUForward", "gru_step"]


class GRUForward(Forward):
    """One step of the GRU."""

    def __init__(self, sizes: Sizes, time: int, every: bool) -> None:
        super().__init__(sizes, time, every)
        batch, inputs, hidden, dtype = sizes
        slots = time if every else min(time, 1)
        self.gates = np.empty((slots, 3, batch, hidden), dtype)  # r, z, inner
        self.n = np.empty((time, batch, hidden), dtype)  # at first x Wx + b
        self.W = np.empty((self.xh.shape[2], 2 * hidden), dtype)  # of r and z, halved
        self.W_inner = np.empty((1 + hidden, hidden), dtype)
        self.W_n = np.empty((inputs + 1, hidden), dtype)
        self.multiply, self.weights, self.view = gatewise(self.W, batch, hidden)
        self.inputs, self.half = inputs, HALF[dtype]
        self.scratch = np.empty((batch, hidden), dtype)

    def begin(self, cell: Any, state: State) -> None:
        """Take weights and state, and do the input's part of n; see the LSTM for the halves."""
        super().begin(cell, state)
        Wx, Wh, b, gates = cell.Wx.value, cell.Wh.value, cell.b.value, 2 * self.hidden
        np.concatenate((Wx[:, :gates], b[np.newaxis, :gates], Wh[:, :gates]), out=self.W)
        np.multiply(self.W, self.half, self.W)
        self.W_inner[0], self.W_inner[1:] = cell.bn.value, Wh[:, gates:]
        self.W_n[:-1], self.W_n[-1] = Wx[:, gates:], b[gates:]
        x_one = self.xh[:-1, :, : self.inputs + 1].reshape(-1, self.inputs + 1)
        x_one.dot(self.W_n, self.n.reshape(-1, self.hidden))

    def views(self) -> Iterator[tuple[Array, ...]]:
        """Yield rows, gates and the place of the state of each step."""
        slots: Any = self.gates if self.every else repeat(self.gates[0])
        for xh, m, n, h in zip(self.xh[:-1], slots, self.n, self.states[0][1:], strict=False):
            yield xh, xh[:, self.inputs :], self.view(m[:2]), m[:2], m[0], m[1], m[2], n, h

    def step(self, xh, one_h, out, rz, r, z, inner, n, h_next):  # type: ignore
        """Do one step."""
        half, scratch, h = self.half, self.scratch, self.h
        self.multiply(xh, self.weights, out)
        np.tanh(rz, rz)
        np.multiply(rz, half, rz)
        np.add(rz, half, rz)
        one_h.dot(self.W_inner, inner)
        np.multiply(r, inner, scratch)
        np.add(n, scratch, n)
        np.tanh(n, n)
        np.subtract(h, n, h)
        np.multiply(h, z, h)
        np.add(n, h, h)
        h_next[...] = h


class GRUBackward(Backward):
    """One step back."""

    planes = 4  # inner, r, z, n
    x_planes = slice(1, 4)
    h_planes = slice(3)

    def __init__(self, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes, steps)
        batch, _, hidden, dtype = sizes
        self.scratch = np.empty((steps, batch, hidden), dtype)
        self.carried = np.empty((batch, hidden), dtype)
        # What dh is multiplied by to give the four da, and that of dh in dh.
        self.factors = np.empty((steps, 5, batch, hidden), dtype)
        planes = self.da.reshape(steps, batch, 4, hidden).swapaxes(1, 2)
        of_h = self.da[:, :, self.of_h]
        self.views = [
            (F[:4], F[4], *rest)
            for F, *rest in zip(self.factors, self.grad_y, planes, of_h, strict=True)
        ]

    def begin(self, cell: Any) -> None:
        """Take the weights, in the order of the planes."""
        Wh, hidden = cell.Wh.value, self.hidden
        self.WhT[:hidden], self.WhT[hidden:] = Wh[:, 2 * hidden :].T, Wh[:, : 2 * hidden].T

    def local_derivatives(self, past: Any, run: slice) -> None:
        """Fill the factors."""
        count = run.stop - run.start
        gates, n, h = past.gates[run], past.n[run], past.states[0][run]
        rz, r, z, inner = gates[:, :2], gates[:, 0], gates[:, 1], gates[:, 2]
        F, scratch = self.factors[:count], self.scratch[:count]
        F_inner, F_r, F_z, F_n = (F[:, k] for k in range(4))
        one = ONE[F.dtype]
        np.multiply(rz, rz, F[:, 1:3])
        np.subtract(rz, F[:, 1:3], F[:, 1:3])  # r (1 - r), z (1 - z)
        np.subtract(h, n, scratch)
        np.multiply(F_z, scratch, F_z)  # * (h - n)
        np.multiply(n, n, scratch)
        np.subtract(one, scratch, F_n)
        np.subtract(one, z, scratch)
        np.multiply(F_n, scratch, F_n)  # (1 - n^2) * (1 - z)
        np.multiply(F_r, inner, F_r)
        np.multiply(F_r, F_n, F_r)  # * inner * factor of a_n
        np.multiply(F_n, r, F_inner)
        F[:, 4] = z

    def step(self, F, z, grad_y, planes, da):  # type: ignore
        """Go back through one step."""
        dh, carried = self.dh, self.carried
        np.add(dh, grad_y, dh)
        np.multiply(dh, z, carried)
        np.multiply(F, dh, planes)
        da.dot(self.WhT, dh)
        np.add(dh, carried, dh)

    def add_gradients(self, cell: Any) -> None:
        """Add the sums; the columns of Wh's are in the order of the planes."""
        hidden, sum_h = self.hidden, self.sum_h
        cell.Wx.grad += self.sum_x[:-1]
        cell.b.grad += self.sum_x[-1]
        cell.bn.grad += sum_h[0, :hidden]
        cell.Wh.grad[:, 2 * hidden :] += sum_h[1:, :hidden]
        cell.Wh.grad[:, : 2 * hidden] += sum_h[1:, hidden:]


def gru_step(cell: Any, x: Array, state: State) -> tuple[Array, State]:
    """One step without a cache, for streaming."""
    (h,), hidden, half = state, cell.hidden_size, HALF[state[0].dtype]
    gates = 2 * hidden
    if len(x) == 1:  # as vectors, with nothing to broadcast, each call takes half the time
        x, h = x[0], h[0]
    a = x.dot(cell.Wx.value)
    a += cell.b.value
    ah = h.dot(cell.Wh.value)
    a, ah, h = a.T, ah.T, h.T  # features first, of one sequence or of many
    rz, n, inner = a[:gates], a[gates:], ah[gates:].T
    np.add(rz, ah[:gates], rz)
    np.multiply(rz, half, rz)
    np.tanh(rz, rz)
    np.multiply(rz, half, rz)
    np.add(rz, half, rz)
    inner += cell.bn.value
    n += rz[:hidden] * inner.T
    np.tanh(n, n)
    h = h - n
    h *= rz[hidden:]
    h += n
    h = h.T.reshape(-1, hidden)
    return h, (h,)
