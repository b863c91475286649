"""The one time loop: any cell over a batch of sequences, and back.

::

    y_t, state_t = cell(x_t, state_{t-1})

Backwards, the gradient on ``state_t`` is what the later steps sent back; the cell adds to it what
its own output sends, and hands on the gradient on ``state_{t-1}``.

A masked step leaves the state unchanged, gives zeros and takes no gradient: the cell computes its
rows with the others, and the loop drops what comes out for them.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, Self

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.kernels import one_blas_thread
from minirnn.masks import without_padding
from minirnn.recurrent.states import check_returned
from minirnn.restoring import Restored
from minirnn.typing import Array, Mask, State


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


class LoopCaches(NamedTuple):
    """What `Loop.forward` keeps: the cell's caches, one a step, and how the steps were taken."""

    steps: list[Any]
    mask: Mask | None
    reverse: bool
    input_size: int
    final: State


class Loop:
    """Runs a cell step by step; what runs one faster has these methods, and gives these numbers.

    Arguments come checked and in the dtype of the layer; padding may hold anything. Nothing given
    is changed, and what is returned stays valid, the caches until the next `forward` that keeps.
    `forward` without `keep` and `step` may be called by several threads at a time.

    `why` says why nothing faster runs; an `observer` is told of every step, as in
    `minirnn.insight.observers`.
    """

    engine: str = ""  # what it was chosen for: "auto", "off" or "require"
    native = False  # whether the cell's own Python does not run

    def __init__(self, cell: Cell, why: str = "", observer: Any = None) -> None:
        self.cell, self.why, self.observer = cell, why, observer
        self._methods = _method_key(cell)

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run the cell from the first step to the last, or the other way round.

        From x ``(batch, time, input)`` and the initial state, return the output ``(batch, time,
        output)``, zero where a step is masked, the final state, and what `backward` needs, or None
        without `keep`.
        """
        cell, (batch, time, input_size) = self.cell, x.shape
        x = without_padding(x, mask)
        y = np.zeros((batch, time, cell.output_size), x.dtype)
        caches: list[Any] = [None] * time
        trace: list[ForwardStep] = []
        with one_blas_thread():
            for t, valid in _steps(time, mask, reverse):
                returned = self._call("forward", t, x[:, t], state)
                check_returned(cell, "forward", returned, y.shape[::2], state)
                y_t, next_state, cache = returned
                if self.observer is not None:
                    trace.append(ForwardStep(t, y_t, next_state, cache))
                y[:, t] = _where(valid, y_t, 0)
                state = _chosen(valid, next_state, state)
                if keep:
                    caches[t] = cache
        if self.observer is not None:
            self.observer.forward(x, mask, trace)
        return y, state, LoopCaches(caches, mask, reverse, input_size, state) if keep else None

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Go back from the last step to the first, adding to the parameters' gradients.

        From the gradients on the output ``(batch, time, output)`` and on the final state (None for
        zeros), return those on x ``(batch, time, input)`` and on the initial state. That on x may
        be None if it is not needed.
        """
        cell, (batch, time, _) = self.cell, grad.shape
        steps, mask, reverse, input_size, final = caches
        last = tuple(map(np.zeros_like, final)) if grad_state is None else grad_state
        grad_state = last
        grad_x, shape = np.zeros((batch, time, input_size), grad.dtype), (batch, input_size)
        trace: list[BackwardStep] = []
        with one_blas_thread(), Restored((cell,), gradients=True):
            for t, valid in reversed(_steps(time, mask, reverse)):
                # A masked row hands its state on unchanged: its gradient passes by the cell.
                into_cell = tuple([_where(valid, array, 0) for array in grad_state])
                grad_y = _where(valid, grad[:, t], 0)
                if self.observer is not None:
                    trace.append(BackwardStep(t, grad_y, into_cell))
                returned = self._call("backward", t, grad_y, into_cell, steps[t])
                check_returned(cell, "backward", returned, shape, grad_state)
                grad_x_t, out_of_cell = returned
                grad_x[:, t] = _where(valid, grad_x_t, 0)
                grad_state = _chosen(valid, out_of_cell, grad_state)
        if self.observer is not None:
            self.observer.backward(grad, last, trace)
        return grad_x, grad_state

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Return the output ``(batch, output)`` and the next state of one step; nothing is kept.

        The two share no memory.
        """
        returned, shape = self._call("forward", None, x_t, state), (len(x_t), self.cell.output_size)
        check_returned(self.cell, "forward", returned, shape, state)
        y_t, next_state, _ = returned
        y_t = np.array(y_t, x_t.dtype)  # a copy: mostly it is a part of the state
        return y_t, tuple(np.asarray(array, x_t.dtype) for array in next_state)

    def _call(self, method: str, t: int | None, *given: Any) -> Any:
        """Return what a method of the cell returns; an error in it says which method, and where."""
        try:
            return getattr(self.cell, method)(*given)
        except Exception as error:
            at = "" if t is None else f" at step {t}"
            checks.locate(error, f"{type(self.cell).__name__}.{method}{at}")
            raise

    def describe(self) -> str:
        """Say in words what runs, and why."""
        return f"the time loop in Python{self.why and f': {self.why}'}"

    def serving(self, cell: Cell) -> Self | None:
        """Return this runner for `cell`, or None if it no longer stands for it.

        For another object, such as the copy of the cell that `predict` runs, it is a runner that
        shares whatever was expensive to make.
        """
        if _method_key(cell) != self._methods:
            return None
        if cell is self.cell:
            return self
        twin = copy.copy(self)
        twin.cell = cell
        return twin


def _method_key(cell: Cell) -> tuple[Any, ...]:
    """Return the class and the two methods of a cell: it may be given others at any time."""
    kind, own = type(cell), vars(cell)
    return kind, kind.forward, kind.backward, own.get("forward"), own.get("backward")


def _steps(time: int, mask: Mask | None, reverse: bool) -> list[tuple[int, Mask | None]]:
    """Return the steps to take, in order, and which rows are valid in each; None for all of them.

    What is padding for all sequences is left out.
    """
    steps: list[tuple[int, Mask | None]] = [(t, None) for t in range(time)]
    if mask is not None:
        columns = enumerate(mask.T)
        steps = [(t, None if rows.all() else rows) for t, rows in columns if rows.any()]
    return steps[::-1] if reverse else steps


def _where(valid: Mask | None, inside: Any, padding: Any) -> Array:
    """Return `inside` in the rows that are valid, `padding` in the others."""
    if valid is None:
        return np.asarray(inside)
    rows = valid.reshape(-1, *[1] * (np.ndim(inside) - 1))
    chosen: Array = np.where(rows, inside, padding)
    return chosen


def _chosen(valid: Mask | None, new: State, old: State) -> State:
    """Return each array of `new` in the valid rows, of `old` elsewhere, in the dtype of `old`."""
    pairs = zip(new, old, strict=True)
    return tuple([_where(valid, a, b).astype(b.dtype, copy=False) for a, b in pairs])
