"""From the course's parameter dictionaries to cells and layers of minirnn, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells import LSTMCell, RNNCell
from minirnn.course.arguments import Arguments
from minirnn.course.layout import (
    load_dense,
    load_lstm_cell,
    load_rnn_cell,
    lstm_weights,
    rnn_weights,
)
from minirnn.layers.dense import Dense
from minirnn.typing import Array

__all__ = [
    "lstm_cell_from_course",
    "lstm_cell_to_course",
    "rnn_cell_from_course",
    "rnn_cell_to_course",
]


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
    cell = load_rnn_cell(arguments, parameters, dtype=dtype)
    return cell, load_dense(arguments, parameters, "Wya", dtype=dtype)


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
    cell = load_lstm_cell(arguments, parameters, dtype=dtype)
    return cell, load_dense(arguments, parameters, "Wy", dtype=dtype)


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
    _check("rnn_cell_to_course", "cell", cell, RNNCell)
    if cell.activation != "tanh":
        raise ValueError(
            f"rnn_cell_to_course: the course knows tanh only, this cell's activation is "
            f"{cell.activation}"
        )
    return rnn_weights(cell) | _output_weights("rnn_cell_to_course", dense, cell.hidden_size, "Wya")


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
    _check("lstm_cell_to_course", "cell", cell, LSTMCell)
    return lstm_weights(cell) | _output_weights(
        "lstm_cell_to_course", dense, cell.hidden_size, "Wy"
    )


def _check(function: str, name: str, value: Any, kind: Any) -> None:
    checks.instance(function, name, value, kind)
    if type(value).forward is not kind.forward:
        raise ValueError(
            f"{function}: {name} is a {type(value).__name__}, whose forward is another than that "
            f"of {kind.__name__}"
        )


def _output_weights(function: str, dense: Any, n_a: int, name: str) -> dict[str, Array]:
    _check(function, "dense", dense, Dense)
    if dense.input_size != n_a:
        raise ValueError(
            f"{function}: dense should take the cell's {n_a} hidden units, it takes "
            f"{dense.input_size} features"
        )
    W = dense.W.value
    by = np.zeros((W.shape[1], 1), W.dtype) if dense.b is None else dense.b.value[:, np.newaxis]
    return {name: W.T.copy(), "by": by.copy()}
