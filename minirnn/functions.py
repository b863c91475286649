"""Elementwise mathematics that layers, cells, losses and the course functions share.

Plain functions on arrays. Each keeps the dtype of its argument and does not overflow for any
finite input.
"""

from __future__ import annotations

import numpy as np

from minirnn.typing import Array


def sigmoid(x: Array) -> Array:
    """Logistic function ``1 / (1 + exp(-x))`` of each element, as the shifted tanh it equals.

    ``sigmoid(x) = (1 + tanh(x / 2)) / 2`` has no exponential that could overflow, and makes the
    three sigmoid gates of an LSTM one vectorised call.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    result: Array = np.tanh(0.5 * x)
    result *= 0.5
    result += 0.5
    return result


def softmax(x: Array, axis: int = -1) -> Array:
    """Probabilities ``exp(x) / sum(exp(x))`` along one axis of an array, in its shape.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    with np.errstate(over="ignore"):  # a difference beyond the largest number is -inf: exp gives 0
        result: Array = np.exp(x - x.max(axis=axis, keepdims=True))
    result /= result.sum(axis=axis, keepdims=True)
    return result


def log_softmax(x: Array) -> Array:
    """Logarithms of the probabilities of `softmax` on the last axis, exact where these round to 0.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    with np.errstate(over="ignore"):  # a difference beyond the largest number is -inf
        result: Array = x - x.max(axis=-1, keepdims=True)
    result -= np.log(np.exp(result).sum(axis=-1, keepdims=True))
    return result
