"""The course's functions for long short-term memory: `LSTMCell` in columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.cells.lstm import LSTMCache
from minirnn.course.network import Network
from minirnn.course.weights import load_lstm_cell, lstm_weights
from minirnn.typing import Array

_LSTM = Network(
    "lstm",
    load_lstm_cell,
    lstm_weights,
    output="Wy",
    states=("a", "c"),
    parts=("a_next", "c_next", "a_prev", "c_prev", "ft", "it", "cct", "ot", "xt", "parameters"),
    gates={"ft": "f", "it": "i", "cct": "g", "ot": "o"},
    kept=("xt", "a_prev", "c_prev", "it", "ft", "ot", "cct", "c_next"),
    make_cache=lambda *kept: LSTMCache._make([*kept[:-1], np.tanh(kept[-1])]),
)


def lstm_cell_forward(
    xt: Any, a_prev: Any, c_prev: Any, parameters: Any
) -> tuple[Array, Array, Array, Any]:
    """One step of the network, and its prediction.

    With ``v = [a_prev; xt]``, one above the other::

        ft  = sigmoid(Wf v + bf)       forget gate
        it  = sigmoid(Wi v + bi)       update gate
        cct = tanh(Wc v + bc)          candidate
        ot  = sigmoid(Wo v + bo)       output gate
        c_next  = ft * c_prev + it * cct
        a_next  = ot * tanh(c_next)
        yt_pred = softmax(Wy a_next + by)

    Parameters
    ----------
    xt : array (n_x, m)
    a_prev, c_prev : arrays (n_a, m)
    parameters : dict
        Wf, Wi, Wc, Wo, each (n_a, n_a + n_x); bf, bi, bc, bo, each (n_a, 1); Wy (n_y, n_a) and
        by (n_y, 1).

    Returns
    -------
    a_next, c_next : float64 arrays (n_a, m)
    yt_pred : float64 array (n_y, m)
        Each column sums to 1.
    cache : tuple (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters)

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in `parameters`.

    Notes
    -----
    Deep Learning Specialization, course 5, week 1. The step is that of `LSTMCell`.

    Examples
    --------
    >>> from minirnn import Dense, LSTMCell
    >>> from minirnn.course import lstm_cell_to_course
    >>> parameters = lstm_cell_to_course(LSTMCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> xt, state = np.ones((3, 10)), np.zeros((5, 10))
    >>> a_next, c_next, yt_pred, cache = lstm_cell_forward(xt, state, state, parameters)
    >>> a_next.shape, c_next.shape, yt_pred.shape, len(cache)
    ((5, 10), (5, 10), (2, 10), 10)
    """
    (a_next, c_next), yt_pred, cache = _LSTM.cell_forward(parameters, xt, a_prev, c_prev)
    return a_next, c_next, yt_pred, cache


def lstm_forward(x: Any, a0: Any, parameters: Any) -> tuple[Array, Array, Array, Any]:
    """Run the network over all time steps: `lstm_cell_forward` again and again, from c = 0.

    Parameters
    ----------
    x : array (n_x, m, T_x)
    a0 : array (n_a, m)
        The initial hidden state.
    parameters : dict
        As for `lstm_cell_forward`.

    Returns
    -------
    a : float64 array (n_a, m, T_x)
    y : float64 array (n_y, m, T_x)
    c : float64 array (n_a, m, T_x)
    caches : tuple (list of T_x caches, x)

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in `parameters`.

    Examples
    --------
    >>> from minirnn import Dense, LSTMCell
    >>> from minirnn.course import lstm_cell_to_course
    >>> parameters = lstm_cell_to_course(LSTMCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> a, y, c, caches = lstm_forward(np.ones((3, 10, 7)), np.zeros((5, 10)), parameters)
    >>> a.shape, y.shape, c.shape, len(caches[0])
    ((5, 10, 7), (2, 10, 7), (5, 10, 7), 7)
    """
    (a, c), y, caches = _LSTM.forward(parameters, x, a0)
    return a, y, c, caches


def lstm_cell_backward(da_next: Any, dc_next: Any, cache: Any) -> dict[str, Array]:
    """Go back through one step, from the gradients on its state to those on what made it.

    The equations are those of `LSTMCell`, with a for h and the candidate's cct for g.

    Parameters
    ----------
    da_next : array (n_a, m)
        All of the gradient of the loss on a_next, that through the prediction included.
    dc_next : array (n_a, m)
        Gradient on c_next from the later steps only; what comes by way of a_next is added here.
    cache : tuple (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters)
        From `lstm_cell_forward`.

    Returns
    -------
    dict
        dxt (n_x, m), da_prev and dc_prev (n_a, m), dWf, dWi, dWc, dWo (n_a, n_a + n_x),
        dbf, dbi, dbc, dbo (n_a, 1).

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in the parameters.
    TypeError
        If the cache is not such a tuple.

    Examples
    --------
    >>> from minirnn import Dense, LSTMCell
    >>> from minirnn.course import lstm_cell_to_course
    >>> parameters = lstm_cell_to_course(LSTMCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> xt, state = np.ones((3, 10)), np.zeros((5, 10))
    >>> *_, cache = lstm_cell_forward(xt, state, state, parameters)
    >>> gradients = lstm_cell_backward(np.ones((5, 10)), np.zeros((5, 10)), cache)
    >>> " ".join(gradients)
    'dxt da_prev dc_prev dWf dbf dWi dbi dWc dbc dWo dbo'
    """
    return _LSTM.cell_backward(cache, da_next, dc_next)


def lstm_backward(da: Any, caches: Any) -> dict[str, Array]:
    """Backpropagation through time: `lstm_cell_backward` from the last step to the first.

    What a step gets is the gradient from its own output and what the step after it sends back:
    ``da_next = da[:, :, t] + da_prev of step t + 1``, ``dc_next = dc_prev of step t + 1``.

    Parameters
    ----------
    da : array (n_a, m, T)
        Gradient of the loss on the states a. T is T_x, or less for a loss of the first T states.
    caches : tuple (list of caches, x)
        From `lstm_forward`.

    Returns
    -------
    dict
        dx (n_x, m, T), da0 (n_a, m), dWf, dWi, dWc, dWo (n_a, n_a + n_x), dbf, dbi, dbc, dbo
        (n_a, 1).

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in the parameters.
    TypeError
        If `caches` is not such a tuple.

    Notes
    -----
    An early edition of the assignment sent neither da_prev nor dc_prev on from step to step, and
    printed ``da0[2][3] = -0.0959`` for what is 0.3128 here, in later editions, and by central
    differences.

    Examples
    --------
    >>> from minirnn import Dense, LSTMCell
    >>> from minirnn.course import lstm_cell_to_course
    >>> parameters = lstm_cell_to_course(LSTMCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> a, _, _, caches = lstm_forward(np.ones((3, 10, 7)), np.zeros((5, 10)), parameters)
    >>> gradients = lstm_backward(np.ones(a.shape), caches)
    >>> gradients["dx"].shape, gradients["da0"].shape, gradients["dWf"].shape
    ((3, 10, 7), (5, 10), (5, 8))
    """
    return _LSTM.backward(caches, da)
