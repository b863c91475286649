"""States, checked: what a cell begins with, what it returns, and what is given from outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.builtin import BuiltinCell
from minirnn.cells.cell import Cell
from minirnn.typing import State


def initial_state(
    layer: Any, given: Any, carried: State | None, batch: int, dtype: np.dtype[Any]
) -> State:
    """Return the state to begin with: the given one, the carried one, or the cell's own."""
    if given is not None:
        return states_like(layer, given, _own_state(layer.cell, batch, dtype), "the state")
    if carried is None:
        return _own_state(layer.cell, batch, dtype)
    if len(carried[0]) != batch:
        raise ValueError(
            f"{type(layer).__name__}: axis 0 (batch) should be {len(carried[0])}, that of the "
            f"carried state, got {batch}; call reset_state() before other sequences"
        )
    return carried


def _own_state(cell: Cell, batch: int, dtype: np.dtype[Any]) -> State:
    own, name = cell.initial_state(batch), type(cell).__name__
    if not isinstance(own, tuple) or not own:
        raise TypeError(
            f"{name}: initial_state should return a tuple of arrays (batch, ...), got "
            f"{type(own).__name__}; for one array write (array,)"
        )
    names = cell.state_names
    if names and len(own) != len(names):
        raise TypeError(
            f"{name}: initial_state should return the {len(names)} arrays "
            f"({', '.join(names)}), got {len(own)}"
        )
    if isinstance(cell, BuiltinCell) and type(cell).initial_state is BuiltinCell.initial_state:
        return own
    own = tuple([checks.as_floats(cell, a, dtype, "initial_state") for a in own])
    for k, array in enumerate(own):
        rest = (cell.hidden_size,) if isinstance(cell, BuiltinCell) else array.shape[1:]
        if array.shape != (batch, *rest):
            raise ValueError(
                f"{name}: initial_state({batch}) should return arrays of shape {(batch, *rest)}, "
                f"batch first, got {array.shape} for array {k}; for one state in all rows write "
                f"np.repeat(row, batch_size, axis=0)"
            )
    return own


def states_like(owner: object, arrays: Any, model: State, what: str) -> State:
    """Return copies of `arrays`, a tuple with the shapes and dtypes of `model`."""
    wanted = f"{type(owner).__name__}: {what} should be a tuple of {len(model)} arrays"
    arrays = checks.tuple_of(arrays, len(model), wanted)
    checked = [
        checks.check_shape(owner, array, like.shape, like.dtype, f"{what}[{k}] (batch, ...)")
        for k, (array, like) in enumerate(zip(arrays, model, strict=True))
    ]
    return tuple(array.copy() for array in checked)


_RETURNED = {
    "forward": (
        ("y_t", "state", "cache"),
        "an output (batch, output_size)",
        "; set self.output_size if it is not the hidden size",
    ),
    "backward": (("grad_x", "grad_state"), "a gradient on the input (batch, input_size)", ""),
}


def check_returned(
    cell: Cell, method: str, returned: Any, shape: tuple[int, int], old: State
) -> None:
    """Tell the author of a cell what its forward or backward should have returned."""
    names, what, hint = _RETURNED[method]
    who = f"{type(cell).__name__}: {method} should return"
    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        got = type(returned).__name__
        got += f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
        got += "; is there a return?" if returned is None else ""
        raise TypeError(f"{who} ({', '.join(names)}), got {got}")
    array, new = returned[:2]
    if np.shape(array) != shape:
        raise ValueError(f"{who} {what} = {shape}, got {np.shape(array)}{hint}")
    if not isinstance(new, tuple):
        raise TypeError(f"{who} a tuple of {len(old)} state arrays, got {type(new).__name__}")
    expected, found = list(map(np.shape, old)), list(map(np.shape, new))
    if found != expected:
        raise ValueError(f"{who} state arrays of shapes {expected}, got {found}")
