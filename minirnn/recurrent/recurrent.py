"""Recurrent: a cell, run over time, and the states before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.kernels import Workspace, one_blas_thread
from minirnn.recurrent.fast import Kernel, fast_backward, fast_forward, fast_step, kernel_of
from minirnn.recurrent.loop import (
    BackwardStep,
    ForwardStep,
    check_step,
    loop_backward,
    loop_forward,
)
from minirnn.typing import Array, Mask, State

__all__ = ["Recurrent"]


@dataclass
class _Call:
    """What `forward` was given, and what it kept for `backward`."""

    x: Array
    mask: Mask | None
    first: State
    final: State
    kernel: Kernel | None
    caches: Any

    def __getstate__(self) -> dict[str, Any]:
        """Leave the caches out of a copy: its backward, should it come, makes its own."""
        return vars(self) | {"caches": None}


class Recurrent(Layer):
    """Any `Cell`, run over time.

    ::

        y_t, state_t = cell(x_t, state_{t-1})          t = 0 .. time - 1

    and backpropagation through time, from the last step to the first, where the gradient on a
    state is what the later steps sent back. Masks, initial and final states, reversed and carried
    runs are there for every cell. The loop itself is `minirnn.recurrent.loop`; over the built-in
    cells a kernel for whole sequences gives the same numbers faster.

    Parameters
    ----------
    cell : Cell
        A built-in one or your own.
    stateful : bool
        True carries the state from call to call, so that a long sequence can come in pieces; no
        gradient flows from one call to the one before (truncated backpropagation through time).
    reverse : bool
        True reads time backwards. The output stays aligned with the input: ``y[:, t]`` belongs to
        ``x[:, t]`` and has seen the steps from ``t`` on.

    Attributes
    ----------
    cell : Cell
    state : tuple of arrays (batch, ...), or None
        The state after the latest `forward` or `step`; of each sequence, after its last real step.
    grad_state : tuple of arrays, or None
        After `backward`, the gradient on the initial state of that `forward`.
    observer : object, or None
        Is told of every time step: see `minirnn.insight.observers`. While there is one, `forward`
        and `backward` run the loop over the cell.

    Notes
    -----
    A masked step leaves the state unchanged, gives an all-zero output and takes no gradient,
    whatever number stands in the padding.

    `step` runs a stream of its own: a `forward` that is not stateful neither reads nor disturbs
    the state that `step` carries.

    Raises
    ------
    ValueError
        For a wrong shape, an empty batch, no time steps, or a batch size other than that of the
        carried state.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import LSTMCell
    >>> layer = Recurrent(LSTMCell(3, 4, rng=0))
    >>> layer.forward(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    >>> [array.shape for array in layer.state]
    [(2, 4), (2, 4)]
    >>> layer.backward(np.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    uses_mask = True
    observer: Any = None

    def __init__(self, cell: Cell, *, stateful: bool = False, reverse: bool = False) -> None:
        checks.instance(self, "cell", cell, Cell)
        self.cell = cell
        self.stateful = checks.flag(self, "stateful", stateful)
        self.reverse = checks.flag(self, "reverse", reverse)
        self.state: State | None = None
        self.grad_state: State | None = None
        self.carried_state: State | None = None
        self._workspace = Workspace()

    @property
    def input_size(self) -> int:
        """Features of the input."""
        return self.cell.input_size

    @property
    def hidden_size(self) -> int:
        """Features of the state."""
        return self.cell.hidden_size

    @property
    def output_size(self) -> int:
        """Features of the output."""
        return self.cell.output_size

    @property
    def directions(self) -> tuple[tuple[int, bool], ...]:
        """Features of the output and whether they are read backwards; for `LastState`."""
        return ((self.output_size, self.reverse),)

    # ------------------------------------------------------------ the time loop

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Array:
        """Run the cell over a batch of sequences.

        Parameters
        ----------
        x : array (batch, time, input_size)
        mask : boolean array (batch, time), optional
            True where the step is real.
        state : tuple of arrays (batch, ...), optional
            The initial state; by default the carried one if stateful, else the cell's own.

        Returns
        -------
        array (batch, time, output_size)
        """
        x = checks.sequence(self, x, self._input_size(), self._dtype())
        batch, time, _ = x.shape
        if mask is not None:
            mask = checks.as_mask(self, mask, (batch, time))
        carried = self.carried_state if self.stateful else None
        first = self._first_state(state, batch, x.dtype, carried)
        # Outside training nothing is kept but the arguments: should backward be called all the
        # same, it runs forward again.
        observer = self.observer
        kernel = kernel_of(self.cell) if observer is None else None
        trace: list[ForwardStep] | None = None if observer is None else []
        with one_blas_thread:
            y, final, caches = self._run(kernel, x, mask, first, keep=self.training, trace=trace)
        if observer is not None:
            observer.forward(x, mask, trace)
        self._cache = _Call(x, mask, first, final, kernel, caches)
        self.state = final
        if self.stateful:
            self.carried_state = final
        return y

    def _run(
        self,
        kernel: Kernel | None,
        x: Array,
        mask: Mask | None,
        state: State,
        *,
        keep: bool,
        trace: list[ForwardStep] | None = None,
    ) -> tuple[Array, State, Any]:
        """Return the output, the final state, and what backward needs; by kernel or by loop."""
        if kernel is None:
            return loop_forward(
                self.cell, x, mask, state, reverse=self.reverse, keep=keep, trace=trace
            )
        return fast_forward(
            kernel,
            self.cell,
            x,
            mask,
            state,
            reverse=self.reverse,
            keep=keep,
            workspace=self._workspace,
        )

    def backward(self, grad: Any, grad_state: Any = None) -> Array:
        """Go back through time.

        Parameters
        ----------
        grad : array (batch, time, output_size)
            Gradient of the loss on the output.
        grad_state : tuple of arrays (batch, ...), optional
            Gradient on the final state; zeros by default.

        Returns
        -------
        array (batch, time, input_size)
            Gradient on the input. That on the initial state is in `grad_state` afterwards.
        """
        with one_blas_thread:
            grad_x = self._backward(grad, grad_state, need_grad_x=True)
        assert grad_x is not None
        return grad_x

    def backward_parameters(self, grad: Any) -> None:
        """Add to the parameters' gradients, without the product for the input's."""
        with one_blas_thread:
            self._backward(grad, None, need_grad_x=False)

    def _backward(self, grad: Any, grad_state: Any, *, need_grad_x: bool) -> Array | None:
        call: _Call = self._saved()
        x, mask = call.x, call.mask
        shape = (*x.shape[:2], self.output_size)
        grad = checks.check_shape(self, grad, shape, x.dtype, "the gradient")
        grad_state = self._final_gradients(grad_state)
        if call.caches is None:
            _, _, call.caches = self._run(call.kernel, x, mask, call.first, keep=True)
        grad_x: Array | None
        if call.kernel is None:
            if grad_state is None:
                grad_state = tuple(np.zeros_like(array) for array in call.final)
            trace: list[BackwardStep] | None = None if self.observer is None else []
            with _gradients_unchanged_on_error(self.cell):
                grad_x, self.grad_state = loop_backward(
                    self.cell,
                    grad,
                    grad_state,
                    mask,
                    call.caches,
                    input_size=x.shape[2],
                    reverse=self.reverse,
                    trace=trace,
                )
            if trace is not None:
                self.observer.backward(grad, grad_state, trace)
        else:
            grad_x, self.grad_state = fast_backward(
                call.kernel, self.cell, grad, grad_state, call.caches, need_grad_x=need_grad_x
            )
        return grad_x

    def step(self, x_t: Any) -> Array:
        """Return the output ``(batch, output_size)`` of one step ``(batch, input_size)``.

        The state is carried to the next call, until `reset_state`. Nothing is kept for backward.
        """
        if self.reverse:
            raise ValueError(
                f"{type(self).__name__}: a layer with reverse=True needs the whole sequence; it "
                f"cannot be run step by step"
            )
        state = self.carried_state
        if state is None or not self._goes_on(x_t, state):
            x_t = checks.step(self, x_t, self._input_size(), self._dtype())
            state = self._first_state(None, len(x_t), x_t.dtype, state)
        kernel = kernel_of(self.cell)
        if kernel is not None:
            y_t, self.carried_state = fast_step(kernel, self.cell, x_t, state)
        else:
            y_t, next_state, _ = self.cell.forward(x_t, state)
            check_step(self.cell, y_t, next_state, state)
            y_t = np.asarray(y_t, x_t.dtype)
            self.carried_state = tuple(np.asarray(array, x_t.dtype) for array in next_state)
        self.state = self.carried_state
        return y_t.copy()  # mostly it is a part of the state, which is ours

    def _goes_on(self, x_t: Any, state: State) -> bool:
        """Whether a step is of the kind of the step before, and needs no other check."""
        return (
            type(x_t) is np.ndarray
            and x_t.dtype == state[0].dtype
            and x_t.shape == (len(state[0]), self._input_size())
        )

    def reset_state(self) -> None:
        """Forget the carried state: the next call begins at the cell's initial state."""
        self.carried_state = None
        self.state = None

    # ------------------------------------------------------------ checks

    def _dtype(self) -> np.dtype[Any] | None:
        return dtype_of(self.cell)

    def _input_size(self) -> int | None:
        return getattr(self.cell, "input_size", None)

    def _first_state(
        self, given: Any, batch: int, dtype: np.dtype[Any], carried: State | None
    ) -> State:
        """Return the state to begin with: the given one, the carried one, or the cell's own."""
        if given is None and carried is not None:
            if len(carried[0]) != batch:
                raise ValueError(
                    f"{type(self).__name__}: axis 0 (batch) should be {len(carried[0])}, that of "
                    f"the carried state, got {batch}; call reset_state() before other sequences"
                )
            return carried
        own = self.cell.initial_state(batch)
        if not isinstance(own, tuple) or not own:
            raise TypeError(
                f"{type(self.cell).__name__}: initial_state should return a tuple of arrays "
                f"(batch, ...), got {type(own).__name__}; for one array write (array,)"
            )
        own = tuple(checks.as_floats(self.cell, a, dtype, "initial_state") for a in own)
        if given is None:
            return own
        return self._like(given, own, "the state")

    def _final_gradients(self, given: Any) -> State | None:
        """Return copies of the gradients on the final state, checked; None stands for zeros."""
        return None if given is None else self._like(given, self._saved().final, "grad_state")

    def _like(self, arrays: Any, model: State, what: str) -> State:
        """Return copies of `arrays`, a tuple with the shapes and dtypes of `model`."""
        if not isinstance(arrays, tuple | list) or len(arrays) != len(model):
            got = type(arrays).__name__
            got += f" of {len(arrays)}" if isinstance(arrays, tuple | list) else ""
            raise TypeError(
                f"{type(self).__name__}: {what} should be a tuple of {len(model)} arrays, got {got}"
            )
        checked = [
            checks.check_shape(self, array, like.shape, like.dtype, f"{what}[{k}] (batch, ...)")
            for k, (array, like) in enumerate(zip(arrays, model, strict=True))
        ]
        return tuple(array.copy() for array in checked)


@contextmanager
def _gradients_unchanged_on_error(cell: Cell) -> Iterator[None]:
    """Take back what some steps have added to the gradients if a later step raises."""
    before = [(parameter, parameter.grad.copy()) for parameter in cell.parameters()]
    try:
        yield
    except Exception:
        for parameter, grad in before:
            parameter.grad = grad
        raise
