"""The runner of the cells that have a NumPy kernel for whole sequences.

A kernel gives the numbers of the loop over the cell, faster; it is used only while the cell's own
`forward` and `backward` are what it stands for. A subclass that writes either anew, or an object on
which either is replaced, runs in the loop; so does a call whose mask has gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.cell import Cell
from minirnn.kernels import gru, lstm, one_blas_thread, rnn
from minirnn.kernels.driver import Kernel
from minirnn.recurrent.runner import LoopRunner, Runner
from minirnn.typing import Array, Mask, State

__all__ = ["KernelRunner", "kernel_of", "kernel_runner"]

_KERNELS: dict[type[Cell], Callable[[], Kernel]] = {
    RNNCell: lambda: Kernel(rnn.RNNForward, rnn.RNNBackward, rnn.rnn_step),
    LSTMCell: lambda: Kernel(lstm.LSTMForward, lstm.LSTMBackward, lstm.lstm_step),
    GRUCell: lambda: Kernel(gru.GRUForward, gru.GRUBackward, gru.gru_step),
}


def kernel_of(cell: Cell) -> Callable[[], Kernel] | None:
    """Return what makes the kernel that stands for the cell's forward and backward, if any does."""
    kind: Any = type(cell)
    if {"forward", "backward"} & vars(cell).keys() or getattr(cell, "reset_after", None) is False:
        return None
    base: Any
    for base in kind.__mro__:
        kernel = _KERNELS.get(base)
        if kernel is not None:
            same = kind.forward is base.forward and kind.backward is base.backward
            return kernel if same else None
    return None


class KernelRunner(Runner):
    """Whole sequences at a time, by a hand-written NumPy kernel."""

    cell: Any

    def __init__(self, cell: Cell, kernel: Kernel) -> None:
        super().__init__(cell)
        self._kernel = kernel

    def key(self, cell: Any) -> tuple[Any, ...]:
        """Return what decides on the kernel: the methods, and the variant of the GRU."""
        return *super().key(cell), getattr(cell, "reset_after", None)

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
                y, state, caches = LoopRunner(self.cell).forward(
                    x, mask, state, reverse=reverse, keep=keep
                )
                return y, state, (None, caches) if keep else None
        order = _reversal(lengths, x.shape[1]) if reverse else ()  # [()] leaves all as it is
        with one_blas_thread():
            y, state, caches = self._kernel.forward(self.cell, x[order], lengths, state, keep=keep)
        return y[order], state, (order, caches) if keep else None

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Run the backward of what ran forward."""
        order, caches = caches
        if order is None:
            return LoopRunner(self.cell).backward(grad, grad_state, caches, need_grad_x=need_grad_x)
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


def kernel_runner(cell: Cell) -> Runner | str:
    """Return the runner of the cell's kernel, or why there is none."""
    kernel = kernel_of(cell)
    if kernel is None:
        return f"no kernel for {type(cell).__name__}"
    return KernelRunner(cell, kernel())


def _reversal(lengths: Array | None, time: int) -> Any:
    """Return the index that reverses each sequence by itself and leaves padding at the ends.

    Without padding it makes a view.
    """
    if lengths is None:
        return slice(None), slice(None, None, -1)
    t, rows = np.arange(time), np.arange(len(lengths))[:, np.newaxis]
    ends = lengths[:, np.newaxis]
    return rows, np.where(t < ends, ends - 1 - t, t)
