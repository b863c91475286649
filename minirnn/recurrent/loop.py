"""The one time loop: any cell over a batch of sequences, and back.

::

    y_t, state_t = cell(x_t, state_{t-1})

Backwards, the gradient on ``state_t`` is what the later steps sent back; the cell adds to it what
its own output sends, and hands on the gradient on ``state_{t-1}``.

A masked step leaves the state unchanged, gives zeros and takes no gradient: the cell computes its
rows with the others, and the loop drops what comes out for them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.typing import Array, Mask, State

__all__ = ["BackwardStep", "ForwardStep", "check_step", "loop_backward", "loop_forward"]


class ForwardStep(NamedTuple):
    """What the cell returned at step t, masked rows included."""

    t: int
    y_t: Array
    state: State
    cache: Any


class BackwardStep(NamedTuple):
    """What the cell was given on its way back through step t; 0 in masked rows."""

    t: int
    grad_y: Array
    grad_state: State


def loop_forward(
    cell: Cell,
    x: Array,
    mask: Mask | None,
    state: State,
    *,
    reverse: bool,
    keep: bool,
    trace: list[ForwardStep] | None = None,
) -> tuple[Array, State, list[Any] | None]:
    """Run the cell from the first step to the last, or the other way round.

    Parameters
    ----------
    cell : Cell
    x : array (batch, time, input)
    mask : boolean array (batch, time), or None
    state : tuple of arrays (batch, ...)
    reverse : bool
    keep : bool
        Whether the cell's caches are wanted.
    trace : list, optional
        Each step is added to it, in the order in which they are taken.

    Returns
    -------
    y : array (batch, time, output)
    state : tuple of arrays
        The final state.
    caches : list of the cell's caches, one a step; or None
    """
    batch, time, _ = x.shape
    if mask is not None:
        x = np.where(mask[:, :, None], x, x.dtype.type(0))  # padding may hold anything, nan too
    y = np.zeros((batch, time, cell.output_size), x.dtype)
    caches: list[Any] = [None] * time
    for t in _order(time, mask, reverse):
        y_t, next_state, cache = cell.forward(x[:, t], state)
        check_step(cell, y_t, next_state, state)
        if trace is not None:
            trace.append(ForwardStep(t, y_t, next_state, cache))
        y[:, t] = _where(mask, t, y_t, 0)
        state = tuple(
            [
                _where(mask, t, new, old).astype(x.dtype, copy=False)
                for new, old in zip(next_state, state, strict=True)
            ]
        )
        if keep:
            caches[t] = cache
    return y, state, caches if keep else None


def loop_backward(
    cell: Cell,
    grad: Array,
    grad_state: State,
    mask: Mask | None,
    caches: list[Any],
    *,
    input_size: int,
    reverse: bool,
    trace: list[BackwardStep] | None = None,
) -> tuple[Array, State]:
    """Go back from the last step that `loop_forward` took to its first.

    Parameters
    ----------
    cell : Cell
    grad : array (batch, time, output)
    grad_state : tuple of arrays
        Gradient on the final state.
    mask : boolean array (batch, time), or None
    caches : as `loop_forward` returned them
    input_size : int
    reverse : bool
    trace : list, optional
        Each step is added to it, in the order in which they are taken.

    Returns
    -------
    grad_x : array (batch, time, input)
    grad_state : tuple of arrays
        Gradient on the initial state.
    """
    batch, time, _ = grad.shape
    grad_x = np.zeros((batch, time, input_size), grad.dtype)
    for t in reversed(_order(time, mask, reverse)):
        # A masked row hands its state on unchanged: the gradient on it passes by the cell.
        into_cell = tuple([_where(mask, t, array, 0) for array in grad_state])
        grad_y = _where(mask, t, grad[:, t], 0)
        if trace is not None:
            trace.append(BackwardStep(t, grad_y, into_cell))
        grad_x_t, out_of_cell = cell.backward(grad_y, into_cell, caches[t])
        _check_gradients(cell, grad_x_t, out_of_cell, (batch, input_size), grad_state)
        grad_x[:, t] = _where(mask, t, grad_x_t, 0)
        grad_state = tuple(
            [
                _where(mask, t, new, old).astype(grad.dtype, copy=False)
                for new, old in zip(out_of_cell, grad_state, strict=True)
            ]
        )
    return grad_x, grad_state


def _order(time: int, mask: Mask | None, reverse: bool) -> list[int]:
    """Return the steps to take, in order, without those that are padding for all sequences."""
    steps = [t for t in range(time) if mask is None or mask[:, t].any()]
    return steps[::-1] if reverse else steps


def _where(mask: Mask | None, t: int, valid: Any, padding: Any) -> Array:
    """Return `valid` in the rows where step t is valid, `padding` in the others."""
    if mask is None:
        return np.asarray(valid)
    rows = mask[:, t].reshape(-1, *[1] * (np.ndim(valid) - 1))
    chosen: Array = np.where(rows, valid, padding)
    return chosen


# ---------------------------------------------------------------- what a cell should return


def check_step(cell: Cell, y_t: Any, new: Any, old: State) -> None:
    """Tell the author of a cell what its forward should have returned."""
    name, shape = type(cell).__name__, (len(old[0]), cell.output_size)
    if np.shape(y_t) != shape:
        raise ValueError(
            f"{name}: forward should return an output (batch, output_size) = {shape}, got "
            f"{np.shape(y_t)}; set self.output_size if it is not the hidden size"
        )
    _check_states(f"{name}: forward", new, old)


def _check_gradients(
    cell: Cell, grad_x_t: Any, new: Any, shape: tuple[int, int], old: State
) -> None:
    name = type(cell).__name__
    if np.shape(grad_x_t) != shape:
        raise ValueError(
            f"{name}: backward should return a gradient on the input (batch, input_size) = "
            f"{shape}, got {np.shape(grad_x_t)}"
        )
    _check_states(f"{name}: backward", new, old)


def _check_states(who: str, new: Any, old: State) -> None:
    expected = list(map(np.shape, old))
    if not isinstance(new, tuple):
        raise TypeError(
            f"{who} should return a tuple of {len(old)} state arrays, got {type(new).__name__}"
        )
    found = list(map(np.shape, new))
    if found != expected:
        raise ValueError(f"{who} should return state arrays of shapes {expected}, got {found}")
