"""The course's functions for the simple recurrent network: `RNNCell` in columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.cells.rnn import RNNCache, RNNCell
from minirnn.course.activations import softmax
from minirnn.course.arguments import Arguments
from minirnn.course.layout import load_dense, load_rnn_cell, rnn_weights
from minirnn.layers.dense import Dense
from minirnn.typing import Array

__all__ = ["rnn_backward", "rnn_cell_backward", "rnn_cell_forward", "rnn_forward"]


class _Step(NamedTuple):
    """What `rnn_cell_forward` returns as its cache."""

    a_next: Any
    a_prev: Any
    xt: Any
    parameters: Any


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
    arguments = Arguments("rnn_cell_forward")
    cell = load_rnn_cell(arguments, parameters)
    dense = load_dense(arguments, parameters, "Wya")
    a_prev = arguments.array("a_prev", a_prev, "n_a", "m")
    xt = arguments.array("xt", xt, "n_x", "m")
    return _forward(cell, dense, xt, a_prev, parameters)


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
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> a, y_pred, caches = rnn_forward(np.ones((3, 10, 4)), np.zeros((5, 10)), parameters)
    >>> a.shape, y_pred.shape, len(caches[0])
    ((5, 10, 4), (2, 10, 4), 4)
    """
    arguments = Arguments("rnn_forward")
    cell = load_rnn_cell(arguments, parameters)
    dense = load_dense(arguments, parameters, "Wya")
    a_next = arguments.array("a0", a0, "n_a", "m")
    x = arguments.array("x", x, "n_x", "m", "T_x")
    _, m, T_x = x.shape
    a = np.empty((cell.hidden_size, m, T_x))
    y_pred = np.empty((dense.output_size, m, T_x))
    caches = []
    for t in range(T_x):
        a_next, y_pred[:, :, t], cache = _forward(cell, dense, x[:, :, t], a_next, parameters)
        a[:, :, t] = a_next
        caches.append(cache)
    return a, y_pred, (caches, x)


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
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> _, _, cache = rnn_cell_forward(np.ones((3, 10)), np.zeros((5, 10)), parameters)
    >>> gradients = rnn_cell_backward(np.ones((5, 10)), cache)
    >>> {name: array.shape for name, array in gradients.items()}
    {'dxt': (3, 10), 'da_prev': (5, 10), 'dWax': (5, 3), 'dWaa': (5, 5), 'dba': (5, 1)}
    """
    arguments = Arguments("rnn_cell_backward")
    step = _Step(*arguments.cache(cache, _Step._fields, "rnn_cell_forward"))
    cell = load_rnn_cell(arguments, step.parameters)
    cell_cache = _cell_cache(arguments, step)
    da_next = arguments.array("da_next", da_next, "n_a", "m")
    dxt, da_prev = _backward(cell, da_next, cell_cache)
    return {"dxt": dxt, "da_prev": da_prev} | rnn_weights(cell, "d")


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
    >>> from minirnn import Dense, RNNCell
    >>> from minirnn.course import rnn_cell_to_course
    >>> parameters = rnn_cell_to_course(RNNCell(3, 5, rng=0), Dense(5, 2, rng=1))
    >>> a, _, caches = rnn_forward(np.ones((3, 10, 4)), np.zeros((5, 10)), parameters)
    >>> gradients = rnn_backward(np.ones(a.shape), caches)
    >>> {name: array.shape for name, array in gradients.items()}
    {'dx': (3, 10, 4), 'da0': (5, 10), 'dWax': (5, 3), 'dWaa': (5, 5), 'dba': (5, 1)}
    """
    arguments = Arguments("rnn_backward")
    given, _ = arguments.caches(caches, "rnn_forward")
    steps = [_Step(*arguments.cache(c, _Step._fields, "rnn_cell_forward")) for c in given]
    parameters = steps[0].parameters
    cell = load_rnn_cell(arguments, parameters)
    cell_caches = [_cell_cache(arguments, step) for step in steps]
    da = arguments.upstream(da, len(steps))
    n_a, m, T = da.shape
    dx, da_prev = np.empty((cell.input_size, m, T)), np.zeros((n_a, m))
    for t in reversed(range(T)):
        if steps[t].parameters is not parameters:  # each step has its own, which may differ
            parameters = steps[t].parameters
            load_rnn_cell(arguments, parameters, cell)
        dx[:, :, t], da_prev = _backward(cell, da[:, :, t] + da_prev, cell_caches[t])
    return {"dx": dx, "da0": da_prev} | rnn_weights(cell, "d")


# ---------------------------------------------------------------- rows inside, columns outside


def _forward(
    cell: RNNCell, dense: Dense, xt: Array, a_prev: Array, parameters: Any
) -> tuple[Array, Array, Any]:
    h, _, _ = cell.forward(xt.T, (a_prev.T,))
    a_next, yt_pred = h.T, softmax(dense.step(h).T)
    return a_next, yt_pred, (a_next, a_prev, xt, parameters)


def _cell_cache(arguments: Arguments, step: _Step) -> RNNCache:
    """Return what the cell would have kept of this step of the course."""
    a_next = arguments.array("a_next", step.a_next, "n_a", "m")
    a_prev = arguments.array("a_prev", step.a_prev, "n_a", "m")
    xt = arguments.array("xt", step.xt, "n_x", "m")
    return RNNCache(xt.T, a_prev.T, a_next.T)


def _backward(cell: RNNCell, da_next: Array, cell_cache: RNNCache) -> tuple[Array, Array]:
    # In the course the state is the only output: nothing reaches it but da_next.
    dx, (dh,) = cell.backward(da_next.T, (np.zeros_like(da_next.T),), cell_cache)
    return dx.T, dh.T
