"""The two helper functions that the course hands out beside its notebook."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks, functions
from minirnn.typing import Array


def softmax(x: Any) -> Array:
    """Probabilities ``exp(x) / sum(exp(x))`` over axis 0: each column sums to 1.

    Parameters
    ----------
    x : array (n_y, ...)
        Mostly (n_y, m), one column an example.

    Returns
    -------
    float64 array of the same shape

    Raises
    ------
    ValueError
        If x is a single number, or its axis 0 is empty.

    Notes
    -----
    The course subtracts one maximum from all columns, here each has its own, so that no column can
    underflow to 0 / 0. Where both are defined they agree.

    Examples
    --------
    >>> softmax([[0.0, 1000.0], [0.0, -1000.0]])
    array([[0.5, 1. ],
           [0.5, 0. ]])
    """
    array = checks.as_floats("softmax", x, np.float64, "x")
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"softmax: x must be (n_y, m) with n_y at least 1, got {array.shape}")
    return functions.softmax(array, axis=0)


def sigmoid(x: Any) -> Array:
    """Logistic function ``1 / (1 + exp(-x))``, element by element.

    Parameters
    ----------
    x : array of any shape

    Returns
    -------
    float64 array of the same shape

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    return functions.sigmoid(checks.as_floats("sigmoid", x, np.float64, "x"))
