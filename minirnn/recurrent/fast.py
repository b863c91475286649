"""Which cells have a kernel for whole sequences, and how it is called.

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
from minirnn.typing import Array, Mask, State

__all__ = ["Kernel", "fast_backward", "fast_forward", "fast_step", "kernel_of"]


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


def fast_forward(
    kernel: Kernel,
    cell: Any,
    x: Array,
    mask: Mask | None,
    state: State,
    *,
    reverse: bool,
    keep: bool,
    workspace: kernels.Workspace,
) -> tuple[Array, State, Any]:
    """Do what `minirnn.recurrent.loop.loop_forward` does."""
    turned, mask = _turned_round(mask) if reverse else ((), mask)  # [()] leaves all as it is
    x = x[turned]
    weights = cell.Wx.value, cell.Wh.value, cell.b.value
    options = kernel.options(cell)
    if keep:
        y, state, cache = kernel.forward(x, state, *weights, mask, workspace=workspace, **options)
    else:  # a model may be used by several threads at a time, a workspace may not
        with workspace.alone() as own:
            y, state, cache = kernel.forward(
                x, state, *weights, mask, keep=False, workspace=own, **options
            )
    return y[turned], state, (turned, cache) if keep else None


def fast_backward(
    kernel: Kernel,
    cell: Any,
    grad: Array,
    grad_state: State | None,
    caches: tuple[Any, Any],
    *,
    need_grad_x: bool,
) -> tuple[Array | None, State]:
    """Do what `minirnn.recurrent.loop.loop_backward` does; None for a grad_x that is not needed."""
    grads: tuple[Array, ...] = cell.Wx.grad, cell.Wh.grad, cell.b.grad
    if hasattr(cell, "bn"):
        grads = (*grads, cell.bn.grad)
    turned, cache = caches
    grad_x, grad_state = kernel.backward(
        grad[turned], grad_state, cache, grads, need_grad_x=need_grad_x
    )
    return None if grad_x is None else grad_x[turned], grad_state


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


def fast_step(kernel: Kernel, cell: Any, x_t: Array, state: State) -> tuple[Array, State]:
    """Return the output and the next state of one step, without a cache."""
    y_and_state: tuple[Array, State] = kernel.step(
        x_t, state, cell.Wx.value, cell.Wh.value, cell.b.value, **kernel.options(cell)
    )
    return y_and_state
