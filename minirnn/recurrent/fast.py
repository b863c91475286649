"""The runner of the cells that have a kernel for whole sequences.

A kernel gives the numbers of the loop over the cell, faster; it is used only while the cell's own
`forward` and `backward` are what it stands for. A subclass that writes either anew, or an object on
which either is replaced, runs in the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirnn import kernels
from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.cell import Cell
from minirnn.recurrent.runner import Runner
from minirnn.typing import Array, Mask, State

__all__ = ["KernelRunner", "kernel_of", "kernel_runner"]


class Kernel(NamedTuple):
    """Three functions on arrays, as `minirnn.kernels` describes them.

    Attributes
    ----------
    forward, backward, step : callable
    options : from the cell to the keywords that `forward` and `step` take beside the weights
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    step: Callable[..., Any]
    options: Callable[[Any], dict[str, Any]]


def _no_options(cell: Any) -> dict[str, Any]:
    return {}


def _activation(cell: Any) -> dict[str, Any]:
    return {"activation": cell.activation}


def _candidate_bias(cell: Any) -> dict[str, Any]:
    return {"bn": cell.bn.value if cell.reset_after else None}


_KERNELS: dict[type[Cell], Kernel] = {
    RNNCell: Kernel(kernels.rnn_forward, kernels.rnn_backward, kernels.rnn_step, _activation),
    LSTMCell: Kernel(kernels.lstm_forward, kernels.lstm_backward, kernels.lstm_step, _no_options),
    GRUCell: Kernel(kernels.gru_forward, kernels.gru_backward, kernels.gru_step, _candidate_bias),
}


def kernel_of(cell: Cell) -> Kernel | None:
    """Return the kernel that stands for the cell's forward and backward, if there is one."""
    kind: Any = type(cell)
    own = vars(cell)
    if "forward" in own or "backward" in own:
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
        self._workspace = kernels.Workspace()  # of the caches that were kept
        self._passing = kernels.Workspace()  # of calls that keep nothing

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run the kernel's forward, on reversed sequences if time is to be read backwards."""
        turned, mask = _turned_round(mask) if reverse else ((), mask)  # [()] leaves all as it is
        x, weights = x[turned], self._weights()
        options = self._kernel.options(self.cell)
        forward = self._kernel.forward
        with kernels.one_blas_thread():
            if keep:
                y, state, cache = forward(
                    x, state, *weights, mask, workspace=self._workspace, **options
                )
                return y[turned], state, (turned, cache)
            with self._passing.alone() as own:  # it may be in use in another thread
                y, state, _ = forward(
                    x, state, *weights, mask, keep=False, workspace=own, **options
                )
        return y[turned], state, None

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Run the kernel's backward."""
        cell = self.cell
        grads: tuple[Array, ...] = cell.Wx.grad, cell.Wh.grad, cell.b.grad
        if hasattr(cell, "bn"):
            grads = (*grads, cell.bn.grad)
        turned, cache = caches
        with kernels.one_blas_thread():
            grad_x, grad_state = self._kernel.backward(
                grad[turned], grad_state, cache, grads, need_grad_x=need_grad_x
            )
        return None if grad_x is None else grad_x[turned], grad_state

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Run the kernel's step."""
        with kernels.one_blas_thread():
            y_and_state: tuple[Array, State] = self._kernel.step(
                x_t, state, *self._weights(), **self._kernel.options(self.cell)
            )
        return y_and_state

    def describe(self) -> str:
        """Say that it is the kernel."""
        return "NumPy kernel for whole sequences"

    def _weights(self) -> tuple[Array, Array, Array]:
        return self.cell.Wx.value, self.cell.Wh.value, self.cell.b.value


def kernel_runner(cell: Cell) -> Runner | str:
    """Return the runner of the cell's kernel, or why there is none."""
    kernel = kernel_of(cell)
    return f"no kernel for {type(cell).__name__}" if kernel is None else KernelRunner(cell, kernel)


def _turned_round(mask: Mask | None) -> tuple[Any, Mask | None]:
    """Return the index that turns time round, and again, and the mask of what is turned round.

    Where all padding is at the ends each sequence is turned round alone, so that its padding stays
    where kernels take no notice of it. Otherwise the index makes a view.
    """
    backwards = slice(None), slice(None, None, -1)
    if mask is None or mask.all():
        return backwards, None
    lengths, t = mask.sum(axis=1, keepdims=True), np.arange(mask.shape[1])
    if not np.array_equal(mask, t < lengths):
        return backwards, mask[backwards]
    return (np.arange(len(mask))[:, np.newaxis], np.where(mask, lengths - 1 - t, t)), mask
