"""LSTM.

With ``a_t = x_t Wx + h_{t-1} Wh + b``, cut into the gates i, f, o, g::

    i, f, o = sigmoid(a_i, a_f, a_o)      g = tanh(a_g)
    c_t = f * c_{t-1} + i * g             h_t = o * tanh(c_t)

and backwards, with ``dh`` and ``dc`` the gradients on the state after step t, ``dh += grad_y_t``::

    dc += dh * o (1 - tanh(c)^2)
    da_i = dc * g i (1 - i)           da_f = dc * c_{t-1} f (1 - f)
    da_o = dh * tanh(c) o (1 - o)     da_g = dc * i (1 - g^2)
    dc = dc * f                       dh = da Wh^T

The arrays of one step stand in six planes ``(batch, hidden)``, one after the other, in the order
``i, f, o, g, c_{t-1}, tanh(c_t)``. So ``(i, f) * (g, c)`` is one call, and in the derivatives
``(i, f, o) * (g, c, tanh c)`` is one too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np

from minirnn.kernels.driver import Backward, Forward, Sizes
from minirnn.kernels.products import HALF, ONE, gatewise
from minirnn.typing import Array, State

__all__ = ["LSTMBackward", "LSTMForward", "lstm_step"]


class LSTMForward(Forward):
    """One step of the LSTM."""

    def __init__(self, sizes: Sizes, time: int, every: bool) -> None:
        super().__init__(sizes, time, every)
        batch, _, hidden, dtype = sizes
        self.gates = np.empty((time + 1 if every else 1, 6, batch, hidden), dtype)
        self.states = (*self.states, self.gates[:, 4])
        self.W = np.empty((self.xh.shape[2], 4 * hidden), dtype)
        self.scale = np.repeat(np.array([0.5, 0.5, 0.5, 1], dtype), hidden)
        self.multiply, self.weights, self.view = gatewise(self.W, batch, hidden)
        self.products = np.empty((2, batch, hidden), dtype)  # i * g and f * c
        self.half = HALF[dtype]

    def begin(self, cell: Any, state: State) -> None:
        """Take weights and state; sigmoid(a) = tanh(a / 2) / 2 + 1/2 halves the weights once."""
        super().begin(cell, state)
        np.concatenate((cell.Wx.value, cell.b.value[np.newaxis], cell.Wh.value), out=self.W)
        np.multiply(self.W, self.scale, self.W)

    def views(self) -> Iterator[tuple[Array, ...]]:
        """Yield rows, gates in several groups, and the places of the states of each step."""
        slots: Any = self.gates if self.every else repeat(self.gates[0], self.time + 1)
        c_next = iter(self.states[1] if self.every else repeat(self.gates[0, 4]))
        next(c_next, None)
        for xh, z, c, h in zip(self.xh[:-1], slots, c_next, self.states[0][1:], strict=False):
            yield xh, self.view(z[:4]), z[:4], z[:3], z[:2], z[3:5], z[2], c, z[5], h

    def step(self, xh, out, a, ifo, i_f, g_c, o, c_next, tanh_c, h_next):  # type: ignore
        """Do one step."""
        products, half, h = self.products, self.half, self.h
        self.multiply(xh, self.weights, out)
        np.tanh(a, a)
        np.multiply(ifo, half, ifo)
        np.add(ifo, half, ifo)  # i, f, o, g
        np.multiply(i_f, g_c, products)
        np.add(products[0], products[1], c_next)
        np.tanh(c_next, tanh_c)
        np.multiply(o, tanh_c, h)
        h_next[...] = h


class LSTMBackward(Backward):
    """One step back."""

    planes = 4

    def __init__(self, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes, steps)
        batch, _, hidden, dtype = sizes
        plane = batch, hidden
        self.dc, self.scratch = np.empty((2, *plane), dtype)
        self.states = self.dh, self.dc
        # What the four da are multiplied by, then the factors of dh in dc and of dc in dc.
        self.factors = np.empty((steps, 6, *plane), dtype)
        # The da are computed in planes, and copied together into the rows for the products.
        self.da_planes = np.empty((4, *plane), dtype)
        rows = self.da.reshape(steps, batch, 4, hidden).swapaxes(1, 2)
        self.views = [
            (*F, grad_y, da, gates)
            for F, grad_y, da, gates in zip(self.factors, self.grad_y, self.da, rows, strict=True)
        ]

    def local_derivatives(self, past: Any, run: slice) -> None:
        """Fill the factors."""
        z, F = past.gates[run], self.factors[: run.stop - run.start]
        ifo, one = z[:, :3], ONE[F.dtype]
        F_ifo, F_g_c = F[:, :3], F[:, 3:5]
        np.multiply(ifo, ifo, F_ifo)
        np.subtract(ifo, F_ifo, F_ifo)
        np.multiply(F_ifo, z[:, 3:], F_ifo)  # (i, f, o) (1 - (i, f, o)) * (g, c, tanh c)
        np.multiply(z[:, 3::2], z[:, 3::2], F_g_c)
        np.subtract(one, F_g_c, F_g_c)
        np.multiply(F_g_c, z[:, 0:3:2], F_g_c)  # (1 - (g, tanh c)^2) * (i, o)
        F[:, 5] = z[:, 1]

    def step(self, F_i, F_f, F_o, F_g, F_c, f, grad_y, da, rows):  # type: ignore
        """Go back through one step."""
        dh, dc, scratch, planes = self.dh, self.dc, self.scratch, self.da_planes
        np.add(dh, grad_y, dh)
        np.multiply(dh, F_c, scratch)
        np.add(dc, scratch, dc)
        np.multiply(dc, F_i, planes[0])
        np.multiply(dc, F_f, planes[1])
        np.multiply(dh, F_o, planes[2])
        np.multiply(dc, F_g, planes[3])
        rows[...] = planes
        np.multiply(dc, f, dc)
        da.dot(self.WhT, dh)


def lstm_step(cell: Any, x: Array, state: State) -> tuple[Array, State]:
    """One step without a cache, for streaming."""
    (h, c), hidden = state, cell.hidden_size
    if len(x) == 1:  # as vectors, with nothing to broadcast, each call takes half the time
        x, h, c = x[0], h[0], c[0]
    a = x.dot(cell.Wx.value)
    a += h.dot(cell.Wh.value)
    a += cell.b.value
    a, c, half = a.T, c.T, HALF[a.dtype]  # features first, of one sequence or of many
    ifo = a[: 3 * hidden]
    np.multiply(ifo, half, ifo)
    np.tanh(a, a)
    np.multiply(ifo, half, ifo)
    np.add(ifo, half, ifo)
    i, f, o, g = a[:hidden], a[hidden : 2 * hidden], ifo[2 * hidden :], a[3 * hidden :]
    c = f * c
    c += i * g
    h = o * np.tanh(c)
    h, c = h.T.reshape(-1, hidden), c.T.reshape(-1, hidden)
    return h, (h, c)
