"""What runs a cell over time: the interface, and the plain loop."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.kernels import one_blas_thread
from minirnn.recurrent.loop import (
    BackwardStep,
    ForwardStep,
    check_step,
    loop_backward,
    loop_forward,
)
from minirnn.typing import Array, Mask, State

__all__ = ["LoopRunner", "Runner"]


class Runner:
    """One way to run a cell over time; `Recurrent` knows nothing else of how it is done.

    Arguments come checked and in the dtype of the layer; padding may hold anything. Nothing given
    is changed, and what is returned stays valid, the caches until the next `forward` that keeps.
    `forward` without `keep` and `step` may be called by several threads at a time.

    Parameters
    ----------
    cell : Cell
    why : str
        Why this runner was taken, for `describe`; empty if there is nothing to say.
    """

    engine: str = ""  # what it was chosen for: "auto", "off" or "require"

    def __init__(self, cell: Cell, why: str = "") -> None:
        self.cell = cell
        self.why = why
        self._key = self.key(cell)

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run over whole sequences.

        Parameters
        ----------
        x : array (batch, time, input)
        mask : boolean array (batch, time), or None
        state : tuple of arrays (batch, ...)
        reverse : bool
        keep : bool
            Whether `backward` will be called.

        Returns
        -------
        y : array (batch, time, output)
            Zero where a step is masked.
        state : tuple of arrays
            The final state.
        caches : what `backward` needs; None without `keep`
        """
        raise NotImplementedError

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Go back through the latest `forward`, adding to the parameters' gradients.

        Parameters
        ----------
        grad : array (batch, time, output)
        grad_state : tuple of arrays, or None for zeros
            Gradient on the final state.
        caches : as `forward` returned them
        need_grad_x : bool

        Returns
        -------
        grad_x : array (batch, time, input); may be None if it is not needed
        grad_state : tuple of arrays
            Gradient on the initial state.
        """
        raise NotImplementedError

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Return the output ``(batch, output)`` and the next state of one step, without a cache.

        They share no memory.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """Say in words what runs, and why."""
        raise NotImplementedError

    def key(self, cell: Cell) -> tuple[Any, ...]:
        """Return all that decides whether this runner stands for `cell`, beside its parameters."""
        return method_key(cell)

    def serving(self, cell: Cell) -> Self | None:
        """Return this runner for `cell`, or None if it no longer stands for it.

        For another object, such as the copy of the cell that `predict` runs, it is a runner that
        shares whatever was expensive to make.
        """
        if self.key(cell) != self._key:
            return None
        if cell is self.cell:
            return self
        twin = copy.copy(self)
        twin.cell = cell
        return twin


def method_key(cell: Cell) -> tuple[Any, ...]:
    """Return the class and the two methods of a cell: it may be given others at any time."""
    kind, own = type(cell), vars(cell)
    return kind, kind.forward, kind.backward, own.get("forward"), own.get("backward")


class _LoopCaches(NamedTuple):
    steps: list[Any]
    mask: Mask | None
    reverse: bool
    input_size: int
    final: State


class LoopRunner(Runner):
    """The plain time loop: the definition that every other runner is compared with.

    An observer is told of every step: see `minirnn.insight.observers`.
    """

    def __init__(self, cell: Cell, why: str = "", observer: Any = None) -> None:
        super().__init__(cell, why)
        self._observer = observer

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run `loop_forward`."""
        trace: list[ForwardStep] | None = None if self._observer is None else []
        with one_blas_thread():
            y, final, caches = loop_forward(
                self.cell, x, mask, state, reverse=reverse, keep=keep, trace=trace
            )
        if trace is not None:
            self._observer.forward(x, mask, trace)
        if caches is None:
            return y, final, None
        return y, final, _LoopCaches(caches, mask, reverse, x.shape[2], final)

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Run `loop_backward`."""
        steps, mask, reverse, input_size, final = caches
        if grad_state is None:
            grad_state = tuple(np.zeros_like(array) for array in final)
        trace: list[BackwardStep] | None = None if self._observer is None else []
        with one_blas_thread(), _gradients_unchanged_on_error(self.cell):
            result = loop_backward(
                self.cell,
                grad,
                grad_state,
                mask,
                steps,
                input_size=input_size,
                reverse=reverse,
                trace=trace,
            )
        if trace is not None:
            self._observer.backward(grad, grad_state, trace)
        return result

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Call the cell once."""
        y_t, next_state, _ = self.cell.forward(x_t, state)
        check_step(self.cell, y_t, next_state, state)
        dtype = x_t.dtype
        y_t = np.array(y_t, dtype)  # a copy: mostly it is a part of the state
        return y_t, tuple(np.asarray(array, dtype) for array in next_state)

    def describe(self) -> str:
        """Say that it is the loop, and why nothing faster runs."""
        return f"the time loop in Python{self.why and f': {self.why}'}"


@contextmanager
def _gradients_unchanged_on_error(cell: Cell) -> Iterator[None]:
    """Take back what some steps have added to the gradients if a later step raises."""
    before = [(parameter, parameter.grad.copy()) for parameter in cell.parameters()]
    try:
        yield
    except BaseException:
        for parameter, grad in before:
            parameter.grad = grad
        raise
