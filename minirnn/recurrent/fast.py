"""The runner of the cells that have a NumPy kernel for whole sequences.

A kernel gives the numbers of the loop over the cell, faster; it is used only while the cell's own
`forward` and `backward` are what it stands for. A subclass that writes either anew, or an object on
which either is replaced, runs in the loop; so does a call whose mask has gaps.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.cell import Cell
from minirnn.kernels import gru, lstm, one_blas_thread, rnn
from minirnn.kernels.driver import Kernel
from minirnn.recurrent.loop import Loop, LoopCaches
from minirnn.typing import Array, Mask, State

_KERNELS: dict[Any, tuple[Any, Any, Any]] = {
    RNNCell: (rnn.RNNForward, rnn.RNNBackward, rnn.rnn_step),
    LSTMCell: (lstm.LSTMForward, lstm.LSTMBackward, lstm.lstm_step),
    GRUCell: (gru.GRUForward, gru.GRUBackward, gru.gru_step),
}


class KernelRunner(Loop):
    """Whole sequences at a time, by a hand-written NumPy kernel; the loop where it cannot."""

    def __init__(self, cell: Cell, kernel: Kernel) -> None:
        super().__init__(cell)
        self._kernel = kernel

    def serving(self, cell: Cell) -> Self | None:
        """Return this runner for `cell`, if it is of the kernel's variant of the GRU."""
        return None if _resets_before(cell) else super().serving(cell)

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run the kernel's forward, on reversed sequences if time is to be read backwards."""
        lengths = None
        if mask is not None and not mask.all():
            lengths = mask.sum(axis=1)
            ends = np.array_equal(mask, np.arange(mask.shape[1]) < lengths[:, np.newaxis])
            # Padding is run through, where a relu could overflow.
            if not ends or getattr(self.cell, "activation", None) == "relu":
                return super().forward(x, mask, state, reverse=reverse, keep=keep)
        order = _reversal(lengths, x.shape[1]) if reverse else ()  # [()] leaves all as it is
        with one_blas_thread():
            y, state, caches = self._kernel.forward(self.cell, x[order], lengths, state, keep=keep)
        return y[order], state, (order, caches) if keep else None

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Run the backward of what ran forward."""
        if isinstance(caches, LoopCaches):
            return super().backward(grad, grad_state, caches, need_grad_x=need_grad_x)
        order, caches = caches
        with one_blas_thread():
            grad_x, grad_state = self._kernel.backward(
                self.cell, grad[order], grad_state, caches, need_grad_x=need_grad_x
            )
        return None if grad_x is None else grad_x[order], grad_state

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Run the kernel's step."""
        with one_blas_thread():
            y_t, state = self._kernel.step(self.cell, x_t, state)
        return y_t.copy(), state

    def describe(self) -> str:
        """Say that it is the kernel."""
        return "NumPy kernel for whole sequences"


def kernel_runner(cell: Cell) -> Loop | str:
    """Return the runner of the kernel that stands for the cell's methods, or why there is none."""
    kind: Any = type(cell)
    base = next((base for base in kind.__mro__ if base in _KERNELS), kind)
    same = kind.forward is base.forward and kind.backward is base.backward
    replaced = {"forward", "backward"} & vars(cell).keys()
    if base not in _KERNELS or not same or replaced or _resets_before(cell):
        return f"no kernel for {kind.__name__}"
    return KernelRunner(cell, Kernel(*_KERNELS[base]))


def _resets_before(cell: Cell) -> bool:
    return getattr(cell, "reset_after", True) is False


def _reversal(lengths: Array | None, time: int) -> Any:
    """Return the index that reverses each sequence by itself and leaves padding at the ends.

    Without padding it makes a view.
    """
    if lengths is None:
        return slice(None), slice(None, None, -1)
    t, rows = np.arange(time), np.arange(len(lengths))[:, np.newaxis]
    ends = lengths[:, np.newaxis]
    return rows, np.where(t < ends, ends - 1 - t, t)
