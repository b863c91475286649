"""The layout of weights: the course's matrices and minirnn's.

The course multiplies from the left, ``W x + b`` with columns, minirnn from the right, ``x W + b``
with rows: every weight matrix is transposed, every bias a column instead of a row. Nothing is
rounded on the way: there and back gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.cells import LSTMCell, RNNCell
from minirnn.course.arguments import Arguments
from minirnn.layers.dense import Dense
from minirnn.typing import Array

__all__ = ["load_dense", "load_lstm_cell", "load_rnn_cell", "lstm_weights", "rnn_weights"]

_GATES = "ifoc"
"""The course's letters in the order in which the gates stand in an `LSTMCell`."""


def load_rnn_cell(
    arguments: Arguments,
    parameters: Any,
    cell: RNNCell | None = None,
    *,
    dtype: Any = np.float64,
) -> RNNCell:
    """Return a cell with these weights: the given one, or a new one."""
    weights = arguments.weights(parameters, ("Wax", "Waa", "ba"))
    # Waa first: it is square, and so the one that cannot be transposed unnoticed.
    Waa = arguments.array("Waa", weights["Waa"], "n_a", "n_a")
    Wax = arguments.array("Wax", weights["Wax"], "n_a", "n_x")
    ba = arguments.array("ba", weights["ba"], "n_a", "1")
    if cell is None:
        cell = RNNCell(arguments["n_x"], arguments["n_a"], rng=0, dtype=dtype)
    cell.Wx.value, cell.Wh.value, cell.b.value = Wax.T, Waa.T, ba[:, 0]
    return cell


def load_lstm_cell(
    arguments: Arguments,
    parameters: Any,
    cell: LSTMCell | None = None,
    *,
    dtype: Any = np.float64,
) -> LSTMCell:
    """Return a cell with these weights: the given one, or a new one."""
    names = [f"{kind}{gate}" for gate in "fico" for kind in "Wb"]
    weights = arguments.weights(parameters, tuple(names))
    biases = [arguments.array(f"b{gate}", weights[f"b{gate}"], "n_a", "1") for gate in _GATES]
    W = [arguments.array(f"W{g}", weights[f"W{g}"], "n_a", "n_a + n_x") for g in _GATES]
    n_a = arguments["n_a"]
    n_x = arguments["n_a + n_x"] - n_a
    if n_x < 1:
        raise ValueError(
            f"{arguments.function}: Wi must be (n_a, n_a + n_x), here n_a = {n_a} from bi, got "
            f"{W[0].shape}; its columns are those for a_prev, then those for xt"
        )
    arguments.fix("n_x", n_x, "Wi")
    if cell is None:
        cell = LSTMCell(n_x, n_a, rng=0, dtype=dtype)
    cell.Wh.value = np.concatenate([w[:, :n_a].T for w in W], axis=1)
    cell.Wx.value = np.concatenate([w[:, n_a:].T for w in W], axis=1)
    cell.b.value = np.concatenate(biases)[:, 0]
    return cell


def load_dense(
    arguments: Arguments, parameters: Any, name: str, *, dtype: Any = np.float64
) -> Dense:
    """Return a new output layer with the weights `name` and `by`."""
    weights = arguments.weights(parameters, (name, "by"))
    W = arguments.array(name, weights[name], "n_y", "n_a")
    by = arguments.array("by", weights["by"], "n_y", "1")
    dense = Dense(arguments["n_a"], arguments["n_y"], rng=0, dtype=dtype)
    assert dense.b is not None
    dense.W.value, dense.b.value = W.T, by[:, 0]
    return dense


def rnn_weights(cell: RNNCell, which: str = "") -> dict[str, Array]:
    """Return copies of a cell's weights under the course's names; of the gradients for "d"."""
    Wx, Wh, b = _arrays(cell, which)
    return {f"{which}Wax": Wx.T.copy(), f"{which}Waa": Wh.T.copy(), f"{which}ba": _column(b)}


def lstm_weights(cell: LSTMCell, which: str = "") -> dict[str, Array]:
    """Return copies of a cell's weights under the course's names; of the gradients for "d"."""
    Wx, Wh, b = (np.split(array, 4, axis=-1) for array in _arrays(cell, which))
    weights = {}
    for gate in "fico":
        k = _GATES.index(gate)
        weights[f"{which}W{gate}"] = np.concatenate([Wh[k].T, Wx[k].T], axis=1)
        weights[f"{which}b{gate}"] = _column(b[k])
    return weights


def _arrays(cell: Any, which: str) -> list[Array]:
    return [p.grad if which == "d" else p.value for p in (cell.Wx, cell.Wh, cell.b)]


def _column(b: Array) -> Array:
    return b[:, np.newaxis].copy()
