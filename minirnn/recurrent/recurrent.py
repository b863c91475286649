"""Recurrent: a cell, run over time, and the states before and after."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.engine import ENGINES
from minirnn.recurrent.loop import Loop
from minirnn.recurrent.runners import runner_of
from minirnn.recurrent.states import initial_state, states_like
from minirnn.typing import Array, Mask, State


class _Call:
    """What `forward` was given, and what it kept for `backward`."""

    x: Array
    mask: Mask | None
    initial: State
    final: State
    runner: Loop | None
    caches: Any

    def __init__(self, **kept: Any) -> None:
        vars(self).update(kept)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the caches out of a copy: its backward runs forward again."""
        return vars(self) | {"runner": None, "caches": None}


class Recurrent(Layer):
    """Any `Cell`, run over time.

    ::

        y_t, state_t = cell(x_t, state_{t-1})          t = 0 .. time - 1

    and backpropagation through time, from the last step to the first, where the gradient on a
    state comes from the later steps. Masks, initial and final states, reading in reverse and
    carried states work for every cell. The loop itself is `minirnn.recurrent.loop`; faster code for
    a cell gives the same numbers.

    Parameters
    ----------
    cell : Cell
        A built-in one or your own.
    stateful : bool
        True carries the state from call to call, so that a long sequence can come in chunks; no
        gradient flows from one call to the one before (truncated backpropagation through time).
    reverse : bool
        True reads time backwards. The output stays aligned with the input: ``y[:, t]`` belongs to
        ``x[:, t]`` and has seen the steps from ``t`` on. With `stateful`, the chunks of a
        sequence come in that order too: the last one first.
    engine : "auto", "off" or "require"
        "auto" runs the fastest code there is for the cell, "off" the plain time loop; "require"
        raises a RuntimeError where there is only the loop. The numbers are the same to rounding.

    Attributes
    ----------
    cell : Cell
    state : tuple of arrays (batch, ...), or None
        The state after the latest `forward` or `step`; of each sequence, after its last valid step.
    grad_state : tuple of arrays, or None
        After `backward`, the gradient on the initial state of that `forward`.

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
    uses_state = True
    observer: Any = None  # while there is one, the loop runs: see minirnn.insight.observers

    def __init__(
        self, cell: Cell, *, stateful: bool = False, reverse: bool = False, engine: str = "auto"
    ) -> None:
        if hasattr(cell, "cell"):
            raise TypeError(
                f"{type(self).__name__}: cell should be a Cell, one time step, got the whole layer "
                f"{type(cell).__name__}; take that as it is, or its {type(cell.cell).__name__}(...)"
            )
        checks.instance(self, "cell", cell, Cell)
        self.cell = cell
        self.stateful = checks.flag(self, "stateful", stateful)
        self.reverse = checks.flag(self, "reverse", reverse)
        self.state: State | None = None
        self.grad_state: State | None = None
        self.carried_state: State | None = None
        self._engine = checks.choice(self, "engine", engine, ENGINES)
        self._runner: Loop | None = None

    @property
    def engine(self) -> str:
        """What runs the cell, and why, in words."""
        return runner_of(self).describe()

    input_size = property(attrgetter("cell.input_size"), doc="Features of the input.")
    hidden_size = property(attrgetter("cell.hidden_size"), doc="Features of the state.")
    output_size = property(attrgetter("cell.output_size"), doc="Features of the output.")

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
            True where the step is valid.
        state : tuple of arrays (batch, ...), optional
            The initial state; by default the carried one if stateful, else the cell's own.

        Returns
        -------
        array (batch, time, output_size)
        """
        size = getattr(self.cell, "input_size", None)
        x, mask = checks.sequence(self, x, size, dtype_of(self.cell), mask)
        carried = self.carried_state if self.stateful else None
        initial = initial_state(self, state, carried, len(x), x.dtype)
        # Outside training only the arguments are kept; a backward that comes all the same runs
        # forward again.
        runner = runner_of(self)
        y, final, caches = runner.forward(
            x, mask, initial, reverse=self.reverse, keep=self.training
        )
        call = _Call(x=x, mask=mask, initial=initial, final=final, runner=runner, caches=caches)
        kept = {"_cache": call, "state": final}
        if self.stateful:
            kept["carried_state"] = final
        vars(self).update(kept)  # at once: all of it is kept, or nothing
        return y

    def backward(self, grad: Any, grad_state: Any = None, *, need_grad_x: bool = True) -> Any:
        """Go back through time.

        Parameters
        ----------
        grad : array (batch, time, output_size)
            Gradient of the loss on the output.
        grad_state : tuple of arrays (batch, ...), optional
            Gradient on the final state; zeros by default.
        need_grad_x : bool
            False saves the product for the gradient on the input.

        Returns
        -------
        array (batch, time, input_size)
            Gradient on the input. That on the initial state is in `grad_state` afterwards.
        """
        call: _Call = self._saved()
        x, mask = call.x, call.mask
        shape = (*x.shape[:2], self.cell.output_size)
        grad = checks.check_shape(self, grad, shape, x.dtype, "the gradient")
        if grad_state is not None:
            grad_state = states_like(self, grad_state, call.final, "grad_state")
        runner = call.runner = call.runner or runner_of(self)
        if call.caches is None:
            _, _, call.caches = runner.forward(
                x, mask, call.initial, reverse=self.reverse, keep=True
            )
        grad_x, self.grad_state = runner.backward(
            grad, grad_state, call.caches, need_grad_x=need_grad_x
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
        state, size = self.carried_state, getattr(self.cell, "input_size", None)
        if not (  # of the kind of the step before
            state is not None
            and type(x_t) is np.ndarray
            and x_t.dtype is state[0].dtype
            and x_t.shape == (len(state[0]), size)
        ):
            x_t = checks.step(self, x_t, size, dtype_of(self.cell))
            state = initial_state(self, None, state, len(x_t), x_t.dtype)
        y_t, state = runner_of(self).step(x_t, state)
        self.__dict__.update({"carried_state": state, "state": state})  # both, or none
        return y_t

    def reset_state(self) -> None:
        """Forget the carried state: the next call begins at the cell's initial state."""
        self.carried_state = None
        self.state = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the runner out of a copy, which finds its own."""
        return vars(self) | {"_runner": None}


def one_way_layers(layer: Layer) -> list[Recurrent]:
    """Return the layers with one direction that a recurrent layer is made of."""
    return [part for _, part in layer.named_layers() if isinstance(part, Recurrent)]
