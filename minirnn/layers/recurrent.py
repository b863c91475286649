"""The one time loop, in which every cell runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, dtype_of
from minirnn.layers.cell import Cell
from minirnn.typing import Array, Mask, State

__all__ = ["Recurrent"]


class Recurrent(Layer):
    """Any `Cell`, run over time.

    ::

        y_t, state_t = cell(x_t, state_{t-1})          t = 0 .. time - 1

    and backpropagation through time, from the last step to the first, where the gradient on a
    state is what the later steps sent back. Masks, initial and final states, reversed and carried
    runs are written here once, for every cell.

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

    def __init__(self, cell: Cell, *, stateful: bool = False, reverse: bool = False) -> None:
        checks.instance(self, "cell", cell, Cell)
        self.cell = cell
        self.stateful = stateful
        self.reverse = reverse
        self.state: State | None = None
        self.grad_state: State | None = None
        self.carried_state: State | None = None

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
        dtype = self._dtype()
        x = checks.sequence(self, x, self._input_size(), dtype)
        batch, time, _ = x.shape
        if mask is not None:
            mask = checks.as_mask(self, mask, (batch, time))
            x = np.where(mask[:, :, None], x, x.dtype.type(0))  # padding may hold anything
        carried = self.carried_state if self.stateful else None
        state = self._first_state(state, batch, x.dtype, carried)

        y = np.zeros((batch, time, self.output_size), x.dtype)
        caches: list[Any] = [None] * time
        for t in self._order(time):
            if mask is not None and not mask[:, t].any():
                continue
            y_t, next_state, caches[t] = self.cell.forward(x[:, t], state)
            self._check_step(y_t, next_state, state)
            y[:, t] = _where(mask, t, y_t, 0)
            state = tuple(
                _where(mask, t, new, old).astype(x.dtype, copy=False)
                for new, old in zip(next_state, state, strict=True)
            )

        self._cache = (x.shape, x.dtype, mask, caches, state)
        self.state = state
        if self.stateful:
            self.carried_state = state
        return y

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
        (batch, time, size), dtype, mask, caches, state = self._saved()
        shape = (batch, time, self.output_size)
        grad = checks.check_shape(self, grad, shape, dtype, "the gradient")
        if grad_state is None:
            grad_state = tuple(np.zeros_like(array) for array in state)
        else:
            grad_state = self._like(grad_state, state, "grad_state")

        grad_x = np.zeros((batch, time, size), dtype)
        for t in reversed(self._order(time)):
            if caches[t] is None and mask is not None and not mask[:, t].any():
                continue
            # A masked row hands its state on unchanged: the gradient on it passes by the cell.
            into_cell = tuple(_where(mask, t, array, 0) for array in grad_state)
            grad_x_t, out_of_cell = self.cell.backward(
                _where(mask, t, grad[:, t], 0), into_cell, caches[t]
            )
            self._check_gradients(grad_x_t, out_of_cell, (batch, size), grad_state)
            grad_x[:, t] = _where(mask, t, grad_x_t, 0)
            grad_state = tuple(
                _where(mask, t, new, old).astype(dtype, copy=False)
                for new, old in zip(out_of_cell, grad_state, strict=True)
            )

        self.grad_state = grad_state
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
        x_t = checks.step(self, x_t, self._input_size(), self._dtype())
        state = self._first_state(None, len(x_t), x_t.dtype, self.carried_state)
        y_t, next_state, _ = self.cell.forward(x_t, state)
        self._check_step(y_t, next_state, state)
        self.state = self.carried_state = tuple(a.astype(x_t.dtype, copy=False) for a in next_state)
        return y_t.astype(x_t.dtype, copy=False)

    def reset_state(self) -> None:
        """Forget the carried state: the next call begins at the cell's initial state."""
        self.carried_state = None
        self.state = None

    def _order(self, time: int) -> range:
        return range(time - 1, -1, -1) if self.reverse else range(time)

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
        return own if given is None else self._like(given, own, "the state")

    def _like(self, arrays: Any, model: State, what: str) -> State:
        """Return `arrays` as a tuple with the shapes and dtypes of `model`."""
        if not isinstance(arrays, tuple | list) or len(arrays) != len(model):
            got = type(arrays).__name__
            got += f" of {len(arrays)}" if isinstance(arrays, tuple | list) else ""
            raise TypeError(
                f"{type(self).__name__}: {what} should be a tuple of {len(model)} arrays, got {got}"
            )
        return tuple(
            checks.check_shape(self, array, like.shape, like.dtype, f"{what}[{k}] (batch, ...)")
            for k, (array, like) in enumerate(zip(arrays, model, strict=True))
        )

    def _check_step(self, y_t: Any, new: Any, old: State) -> None:
        """Tell the author of a cell what its forward should have returned."""
        cell, shape = type(self.cell).__name__, (len(old[0]), self.output_size)
        if np.shape(y_t) != shape:
            raise ValueError(
                f"{cell}: forward should return an output (batch, output_size) = {shape}, got "
                f"{np.shape(y_t)}; set self.output_size if it is not the hidden size"
            )
        _check_states(f"{cell}: forward", new, old)

    def _check_gradients(self, grad_x_t: Any, new: Any, shape: tuple[int, int], old: State) -> None:
        cell = type(self.cell).__name__
        if np.shape(grad_x_t) != shape:
            raise ValueError(
                f"{cell}: backward should return a gradient on the input (batch, input_size) = "
                f"{shape}, got {np.shape(grad_x_t)}"
            )
        _check_states(f"{cell}: backward", new, old)


def _check_states(who: str, new: Any, old: State) -> None:
    expected = [array.shape for array in old]
    if not isinstance(new, tuple):
        raise TypeError(
            f"{who} should return a tuple of {len(old)} state arrays, got {type(new).__name__}"
        )
    if [np.shape(array) for array in new] != expected:
        raise ValueError(
            f"{who} should return state arrays of shapes {expected}, got "
            f"{[np.shape(array) for array in new]}"
        )


def _where(mask: Mask | None, t: int, real: Any, padding: Any) -> Array:
    """Return `real` in the rows where step t is real, `padding` in the others."""
    if mask is None:
        return np.asarray(real)
    rows = mask[:, t].reshape(-1, *[1] * (np.ndim(real) - 1))
    chosen: Array = np.where(rows, real, padding)
    return chosen
