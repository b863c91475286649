"""From the course's parameter dictionaries to cells and layers of minirnn, and back.

The course multiplies from the left, ``W x + b`` with columns, minirnn from the right, ``x W + b``
with rows: every weight matrix is transposed, every bias a column instead of a row. Nothing is
rounded on the way: there and back gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells import LSTMCell, RNNCell
from minirnn.course.arguments import Arguments
from minirnn.layers.dense import Dense
from minirnn.typing import Array

_GATES = "ifoc"
"""The course's letters in the order in which the gates stand in an `LSTMCell`."""


def rnn_cell_from_course(parameters: Any, *, dtype: Any = np.float64) -> tuple[RNNCell, Dense]:
    """Make a cell and the output layer after it from a dictionary of the course.

    ::

        cell.Wx = Wax^T    cell.Wh = Waa^T    cell.b = ba as a row
        dense.W = Wya^T    dense.b = by as a row

    Parameters
    ----------
    parameters : dict
        Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1), Wya (n_y, n_a), by (n_y, 1). Copied.
    dtype : float32 or float64
        Of the cell and of the layer. float64 keeps every bit.

    Returns
    -------
    cell : RNNCell, n_x inputs and n_a units
    dense : Dense, from n_a to n_y

    Raises
    ------
    ValueError
        That names what is missing in the dictionary, or has the wrong shape.

    Examples
    --------
    What the course calls y_pred, with the axes in minirnn's order, is then

    >>> from minirnn import Recurrent, Sequential, Softmax
    >>> parameters = {
    ...     "Wax": np.ones((5, 3)),
    ...     "Waa": np.eye(5),
    ...     "ba": np.zeros((5, 1)),
    ...     "Wya": np.ones((2, 5)),
    ...     "by": np.zeros((2, 1)),
    ... }
    >>> cell, dense = rnn_cell_from_course(parameters)
    >>> model = Sequential([Recurrent(cell), dense, Softmax()])
    >>> x = np.ones((3, 10, 4))  # n_x, m, T_x
    >>> model.forward(x.transpose(1, 2, 0)).shape  # batch, time, features
    (10, 4, 2)
    """
    arguments = Arguments("rnn_cell_from_course")
    cell = load_rnn_cell(arguments, parameters, dtype)
    return cell, load_dense(arguments, parameters, "Wya", dtype)


def lstm_cell_from_course(parameters: Any, *, dtype: Any = np.float64) -> tuple[LSTMCell, Dense]:
    """Make a cell and the output layer after it from a dictionary of the course.

    Each gate's ``W = [W_a, W_x]`` acts on ``[a_prev; xt]``, one above the other. With the gates in
    the order i, f, o, c (the candidate, g elsewhere in minirnn)::

        cell.Wh = [Wi_a^T, Wf_a^T, Wo_a^T, Wc_a^T]    cell.Wx = [Wi_x^T, Wf_x^T, Wo_x^T, Wc_x^T]
        cell.b  = [bi, bf, bo, bc] as rows            dense.W = Wy^T    dense.b = by as a row

    Parameters
    ----------
    parameters : dict
        Wf, Wi, Wc, Wo, each (n_a, n_a + n_x); bf, bi, bc, bo, each (n_a, 1); Wy (n_y, n_a) and
        by (n_y, 1). Copied.
    dtype : float32 or float64
        Of the cell and of the layer. float64 keeps every bit.

    Returns
    -------
    cell : LSTMCell, n_x inputs and n_a units
    dense : Dense, from n_a to n_y

    Raises
    ------
    ValueError
        That names what is missing in the dictionary, or has the wrong shape.

    Examples
    --------
    >>> parameters = {f"W{gate}": np.ones((5, 5 + 3)) for gate in "fico"}
    >>> parameters |= {f"b{gate}": np.zeros((5, 1)) for gate in "fico"}
    >>> parameters |= {"Wy": np.ones((2, 5)), "by": np.zeros((2, 1))}
    >>> cell, dense = lstm_cell_from_course(parameters)
    >>> cell.input_size, cell.hidden_size, dense.output_size
    (3, 5, 2)
    """
    arguments = Arguments("lstm_cell_from_course")
    cell = load_lstm_cell(arguments, parameters, dtype)
    return cell, load_dense(arguments, parameters, "Wy", dtype)


def rnn_cell_to_course(cell: RNNCell, dense: Dense) -> dict[str, Array]:
    """Return the course's dictionary for a cell and the output layer after it.

    Parameters
    ----------
    cell : RNNCell
        With the activation tanh, the only one in the course.
    dense : Dense
        From the cell's hidden size; without a bias, `by` is zero.

    Returns
    -------
    dict
        Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1), Wya (n_y, n_a), by (n_y, 1): copies, in the
        dtype of the cell.

    Examples
    --------
    >>> from minirnn import Dense, RNNCell
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> {name: array.shape for name, array in parameters.items()}
    {'Wax': (5, 3), 'Waa': (5, 5), 'ba': (5, 1), 'Wya': (2, 5), 'by': (2, 1)}
    """
    output = _output_weights("rnn_cell_to_course", cell, dense, RNNCell, "Wya")
    if cell.activation != "tanh":
        raise ValueError(
            f"rnn_cell_to_course: the course knows tanh only, this cell's activation is "
            f"{cell.activation}"
        )
    return rnn_weights(cell) | output


def lstm_cell_to_course(cell: LSTMCell, dense: Dense) -> dict[str, Array]:
    """Return the course's dictionary for a cell and the output layer after it.

    Parameters
    ----------
    cell : LSTMCell
    dense : Dense
        From the cell's hidden size; without a bias, `by` is zero.

    Returns
    -------
    dict
        Wf, Wi, Wc, Wo, each (n_a, n_a + n_x); bf, bi, bc, bo, each (n_a, 1); Wy (n_y, n_a) and
        by (n_y, 1): copies, in the dtype of the cell.

    Examples
    --------
    >>> from minirnn import Dense, LSTMCell
    >>> parameters = lstm_cell_to_course(LSTMCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> list(parameters)
    ['Wf', 'bf', 'Wi', 'bi', 'Wc', 'bc', 'Wo', 'bo', 'Wy', 'by']
    >>> parameters["Wf"].shape
    (5, 8)
    """
    output = _output_weights("lstm_cell_to_course", cell, dense, LSTMCell, "Wy")
    return lstm_weights(cell) | output


# ---------------------------------------------------------------- one array after the other


def load_rnn_cell(arguments: Arguments, parameters: Any, dtype: Any = np.float64) -> RNNCell:
    """Return a cell with these weights."""
    weights = arguments.weights(parameters, ("Wax", "Waa", "ba"))
    # Waa first: it is square, and so the one that cannot be transposed unnoticed.
    Waa = arguments.array("Waa", weights["Waa"], "n_a", "n_a")
    Wax = arguments.array("Wax", weights["Wax"], "n_a", "n_x")
    ba = arguments.array("ba", weights["ba"], "n_a", "1")
    cell = RNNCell(arguments["n_x"], arguments["n_a"], rng=0, dtype=dtype)
    cell.Wx.value, cell.Wh.value, cell.b.value = Wax.T, Waa.T, ba[:, 0]
    return cell


def load_lstm_cell(arguments: Arguments, parameters: Any, dtype: Any = np.float64) -> LSTMCell:
    """Return a cell with these weights."""
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
    cell = LSTMCell(n_x, n_a, rng=0, dtype=dtype)
    cell.Wh.value = np.concatenate([w[:, :n_a].T for w in W], axis=1)
    cell.Wx.value = np.concatenate([w[:, n_a:].T for w in W], axis=1)
    cell.b.value = np.concatenate(biases)[:, 0]
    return cell


def load_dense(arguments: Arguments, parameters: Any, name: str, dtype: Any = np.float64) -> Dense:
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


def _output_weights(function: str, cell: Any, dense: Any, kind: Any, name: str) -> dict[str, Array]:
    """Return the weights of the output layer, if cell and layer are what the course has."""
    for what, given, wanted in (("cell", cell, kind), ("dense", dense, Dense)):
        checks.instance(function, what, given, wanted)
        if type(given).forward is not wanted.forward:
            raise ValueError(
                f"{function}: {what} is a {type(given).__name__}, whose forward is another than "
                f"that of {wanted.__name__}"
            )
    if dense.input_size != cell.hidden_size:
        raise ValueError(
            f"{function}: dense should take the cell's {cell.hidden_size} hidden units, it takes "
            f"{dense.input_size} features"
        )
    W = dense.W.value
    by = np.zeros(W.shape[1], W.dtype) if dense.b is None else dense.b.value
    return {name: W.T.copy(), "by": _column(by)}
