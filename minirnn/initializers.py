"""How weights begin."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.typing import Array

__all__ = ["glorot_uniform", "orthogonal"]


def glorot_uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int, dtype: Any, *, gates: int = 1
) -> Array:
    """Uniform in ``±sqrt(6 / (fan_in + fan_out))``: variances that neither grow nor shrink.

    Parameters
    ----------
    rng : numpy.random.Generator
    fan_in, fan_out : int
        Inputs and outputs of one gate.
    gates : int
        How many such matrices stand side by side.

    Returns
    -------
    array (fan_in, gates * fan_out)

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
    AISTATS 2010.
    """
    bound = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, (fan_in, gates * fan_out)).astype(dtype)


def orthogonal(rng: np.random.Generator, size: int, dtype: Any, *, gates: int = 1) -> Array:
    """Random orthogonal matrices, uniformly distributed: a step keeps the length of the state.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Rows and columns of each matrix.
    gates : int
        How many such matrices stand side by side, each orthogonal by itself.

    Returns
    -------
    array (size, gates * size)

    References
    ----------
    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks, ICLR 2014.
    """
    matrices = []
    for _ in range(gates):
        q, r = np.linalg.qr(rng.standard_normal((size, size)))
        matrices.append(q * np.sign(np.diagonal(r)))  # without the signs, not uniform
    return np.concatenate(matrices, axis=1).astype(dtype)
