"""What a cell computed inside a step, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.cells import Cell, GRUCell, LSTMCell, RNNCell
from minirnn.typing import Array, State

__all__ = ["Bounds", "bounds_of", "gate_values", "state_names"]

Bounds = tuple[float, float]

_SIGMOID: Bounds = (0.0, 1.0)
_TANH: Bounds = (-1.0, 1.0)

# Where the gates stand in the cache of each built-in cell, and between which numbers they lie.
_GATES: dict[type[Cell], dict[str, tuple[int, Bounds]]] = {
    LSTMCell: {"i": (3, _SIGMOID), "f": (4, _SIGMOID), "o": (5, _SIGMOID), "g": (6, _TANH)},
    GRUCell: {"r": (2, _SIGMOID), "z": (3, _SIGMOID), "n": (4, _TANH)},
}


def gate_values(cell: Cell, state: State, cache: Any) -> dict[str, Array]:
    """Return the gates of one step by name, each an array ``(batch, ...)``.

    A cell of your own names what it wants to show with a method ``gate_values(cache)``, which
    returns such a dictionary. Without one it has no gates, and only its states are recorded.

    Parameters
    ----------
    cell : Cell
    state : tuple of arrays
        The state that the step handed on.
    cache : what ``cell.forward`` returned last

    Returns
    -------
    dict
        LSTM: i, f, o, g, and the memory c, which one looks at beside them. GRU: r, z, n.

    Raises
    ------
    TypeError
        If a cell's own ``gate_values`` returns anything but a dictionary.
    ValueError
        If one of its arrays has no batch axis of the state's length.
    """
    name, own = type(cell).__name__, getattr(cell, "gate_values", None)
    if own is not None:
        gates = own(cache)
        if not isinstance(gates, dict):
            raise TypeError(
                f"{name}: gate_values should return a dictionary from names to arrays "
                f"(batch, ...), got {type(gates).__name__}"
            )
        batch = len(state[0])
        for gate, values in gates.items():
            if np.shape(values)[:1] != (batch,):
                raise ValueError(
                    f"{name}: axis 0 (batch) of gate_values[{gate!r}] should be {batch}, got "
                    f"shape {np.shape(values)}"
                )
        return {str(gate): np.asarray(values) for gate, values in gates.items()}
    kind = _built_in(cell)
    gates = {gate: cache[place] for gate, (place, _) in _GATES.get(kind, {}).items()}
    return gates | {"c": state[1]} if kind is LSTMCell else gates


def bounds_of(cell: Cell) -> dict[str, Bounds]:
    """Return between which two numbers each bounded gate or state lies.

    The sigmoid gates lie between 0 and 1, the candidates and the state of a tanh `RNNCell` between
    -1 and 1. A cell of your own may set ``gate_bounds``, a dictionary from a gate's or state's name
    to ``(low, high)``.
    """
    own = getattr(cell, "gate_bounds", None)
    if own is not None:
        return {str(name): (float(low), float(high)) for name, (low, high) in dict(own).items()}
    kind = _built_in(cell)
    if isinstance(cell, RNNCell) and kind is RNNCell:
        between = {"tanh": _TANH, "sigmoid": _SIGMOID}.get(cell.activation)
        return {"h": between} if between else {}
    return {gate: between for gate, (_, between) in _GATES.get(kind, {}).items()}


def state_names(cell: Cell, count: int) -> tuple[str, ...]:
    """Return a name for each array of the state: ``cell.state_names``, or state0, state1, ..."""
    names = getattr(cell, "state_names", ())
    if len(names) == count:
        return tuple(map(str, names))
    return ("h",) if count == 1 else tuple(f"state{k}" for k in range(count))


def _built_in(cell: Cell) -> type[Cell]:
    """Return which built-in class wrote the cell's forward; Cell itself for a user's own."""
    for kind in (RNNCell, LSTMCell, GRUCell):
        if isinstance(cell, kind) and type(cell).forward is kind.forward:
            return kind
    return Cell
