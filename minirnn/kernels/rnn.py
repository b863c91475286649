"""The plain recurrent network (Elman 1990).

::

    h_t = activation(x_t Wx + h_{t-1} Wh + b)      activation: tanh, relu or sigmoid

Each activation has a derivative in terms of its own result, so the hidden states are all that
backward needs. With ``dh += grad_y_t``::

    da = dh * activation'(a)          dh = da Wh^T
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn.kernels.driver import Backward, Forward, Sizes
from minirnn.kernels.products import HALF, ONE
from minirnn.typing import Array, State

__all__ = ["RNNBackward", "RNNForward", "rnn_step"]


def _activate(activation: str, a: Array, out: Array) -> None:
    if activation == "tanh":
        np.tanh(a, out)
    elif activation == "relu":
        np.maximum(a, 0, out=out)
    else:  # sigmoid(a) = tanh(a / 2) / 2 + 1/2
        half = HALF[a.dtype]
        np.multiply(a, half, out)
        np.tanh(out, out)
        np.multiply(out, half, out)
        np.add(out, half, out)


class RNNForward(Forward):
    """One step of the recurrent network."""

    def __init__(self, sizes: Sizes, time: int, every: bool) -> None:
        super().__init__(sizes, time, every)
        batch, _, hidden, dtype = sizes
        self.W = np.empty((self.xh.shape[2], hidden), dtype)
        self.a = np.empty((batch, hidden), dtype)

    def begin(self, cell: Any, state: State) -> None:
        """Take weights and state."""
        super().begin(cell, state)
        self.activation = cell.activation
        np.concatenate((cell.Wx.value, cell.b.value[np.newaxis], cell.Wh.value), out=self.W)

    def views(self) -> Iterator[tuple[Array, ...]]:
        """Yield the rows of a step and the place of its state."""
        yield from zip(self.xh[:-1], self.states[0][1:], strict=True)

    def step(self, xh: Array, h_next: Array) -> None:
        """Do one step."""
        xh.dot(self.W, self.a)
        _activate(self.activation, self.a, self.h)
        h_next[...] = self.h


class RNNBackward(Backward):
    """One step back."""

    def __init__(self, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes, steps)
        self.factors = np.empty_like(self.grad_y)  # activation'(a)
        self.views = list(zip(self.factors, self.grad_y, self.da, strict=True))

    def local_derivatives(self, past: Any, run: slice) -> None:
        """Compute 1 - h^2, h (1 - h) or h > 0."""
        h, F = past.states[0][run.start + 1 : run.stop + 1], self.factors[: run.stop - run.start]
        if past.activation == "relu":
            np.greater(h, 0, out=F)
        else:
            np.multiply(h, h, F)
            np.subtract(ONE[F.dtype] if past.activation == "tanh" else h, F, F)

    def step(self, F: Array, grad_y: Array, da: Array) -> None:
        """Go back through one step."""
        np.add(self.dh, grad_y, self.dh)
        np.multiply(self.dh, F, da)
        da.dot(self.WhT, self.dh)


def rnn_step(cell: Any, x: Array, state: State) -> tuple[Array, State]:
    """One step without a cache, for streaming."""
    (h,) = state
    if len(x) == 1:  # as vectors, with nothing to broadcast, each call takes half the time
        x, h = x[0], h[0]
    a = x.dot(cell.Wx.value)
    a += h.dot(cell.Wh.value)
    a += cell.b.value
    _activate(cell.activation, a, a)
    h = a.reshape(-1, cell.hidden_size)
    return h, (h,)
