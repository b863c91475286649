"""The course's functions for the simple recurrent network: `RNNCell` in columns."""

from __future__ import annotations

from typing import Any

from minirnn.cells.rnn import RNNCache
from minirnn.course.network import Network
from minirnn.course.weights import load_rnn_cell, rnn_weights
from minirnn.typing import Array

_RNN = Network(
    "rnn",
    load_rnn_cell,
    rnn_weights,
    output="Wya",
    states=("a",),
    parts=("a_next", "a_prev", "xt", "parameters"),
    gates={},
    kept=("xt", "a_prev", "a_next"),
    make_cache=RNNCache,
)


def rnn_cell_forward(xt: Any, a_prev: Any, parameters: Any) -> tuple[Array, Array, Any]:
    """One step of the network, and its prediction.

    ::

        a_next  = tanh(Wax xt + Waa a_prev + ba)
        yt_pred = softmax(Wya a_next + by)

    Parameters
    ----------
    xt : array (n_x, m)
    a_prev : array (n_a, m)
    parameters : dict
        Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1), Wya (n_y, n_a), by (n_y, 1).

    Returns
    -------
    a_next : float64 array (n_a, m)
    yt_pred : float64 array (n_y, m)
        Each column sums to 1.
    cache : tuple (a_next, a_prev, xt, parameters)

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in `parameters`.

    Notes
    -----
    Deep Learning Specialization, course 5, week 1. The step is that of `RNNCell`.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> xt, a_prev = np.ones((3, 10)), np.zeros((5, 10))
    >>> a_next, yt_pred, cache = rnn_cell_forward(xt, a_prev, parameters)
    >>> a_next.shape, yt_pred.shape, len(cache)
    ((5, 10), (2, 10), 4)
    >>> rnn_cell_forward(xt.T, a_prev, parameters)
    Traceback (most recent call last):
    ValueError: rnn_cell_forward: xt must be (n_x, m), here (3, 10) expected (n_x from Wax, m from
    a_prev), got (10, 3); is it transposed?
    """
    (a_next,), yt_pred, cache = _RNN.cell_forward(parameters, xt, a_prev)
    return a_next, yt_pred, cache


def rnn_forward(x: Any, a0: Any, parameters: Any) -> tuple[Array, Array, Any]:
    """Run the network over all time steps: `rnn_cell_forward` again and again.

    Parameters
    ----------
    x : array (n_x, m, T_x)
    a0 : array (n_a, m)
        The initial state.
    parameters : dict
        As for `rnn_cell_forward`.

    Returns
    -------
    a : float64 array (n_a, m, T_x)
    y_pred : float64 array (n_y, m, T_x)
    caches : tuple (list of T_x caches, x)

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in `parameters`.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> a, y_pred, caches = rnn_forward(np.ones((3, 10, 4)), np.zeros((5, 10)), parameters)
    >>> a.shape, y_pred.shape, len(caches[0])
    ((5, 10, 4), (2, 10, 4), 4)
    """
    (a,), y_pred, caches = _RNN.forward(parameters, x, a0)
    return a, y_pred, caches


def rnn_cell_backward(da_next: Any, cache: Any) -> dict[str, Array]:
    """Go back through one step, from the gradient on its state to those on what made it.

    With ``dz = da_next * (1 - a_next^2)``, the gradient on the argument of the tanh::

        dxt  = Wax^T dz     da_prev = Waa^T dz
        dWax = dz xt^T      dWaa = dz a_prev^T     dba = sum over the examples of dz

    Parameters
    ----------
    da_next : array (n_a, m)
        All of the gradient of the loss on a_next, that through the prediction included.
    cache : tuple (a_next, a_prev, xt, parameters)
        From `rnn_cell_forward`.

    Returns
    -------
    dict
        dxt (n_x, m), da_prev (n_a, m), dWax (n_a, n_x), dWaa (n_a, n_a), dba (n_a, 1).

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in the parameters.
    TypeError
        If the cache is not such a tuple.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> _, _, cache = rnn_cell_forward(np.ones((3, 10)), np.zeros((5, 10)), parameters)
    >>> gradients = rnn_cell_backward(np.ones((5, 10)), cache)
    >>> {name: array.shape for name, array in gradients.items()}
    {'dxt': (3, 10), 'da_prev': (5, 10), 'dWax': (5, 3), 'dWaa': (5, 5), 'dba': (5, 1)}
    """
    return _RNN.cell_backward(cache, da_next)


def rnn_backward(da: Any, caches: Any) -> dict[str, Array]:
    """Backpropagation through time: `rnn_cell_backward` from the last step to the first.

    What a step gets is the gradient from its own output and what the step after it sends back:
    ``da_next = da[:, :, t] + da_prev of step t + 1``.

    Parameters
    ----------
    da : array (n_a, m, T)
        Gradient of the loss on the states a. T is T_x, or less for a loss of the first T states.
    caches : tuple (list of caches, x)
        From `rnn_forward`.

    Returns
    -------
    dict
        dx (n_x, m, T), da0 (n_a, m), dWax (n_a, n_x), dWaa (n_a, n_a), dba (n_a, 1).

    Raises
    ------
    ValueError
        For a wrong shape, or something missing in the parameters.
    TypeError
        If `caches` is not such a tuple.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> a, _, caches = rnn_forward(np.ones((3, 10, 4)), np.zeros((5, 10)), parameters)
    >>> gradients = rnn_backward(np.ones(a.shape), caches)
    >>> {name: array.shape for name, array in gradients.items()}
    {'dx': (3, 10, 4), 'da0': (5, 10), 'dWax': (5, 3), 'dWaa': (5, 5), 'dba': (5, 1)}
    """
    return _RNN.backward(caches, da)
