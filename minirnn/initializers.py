"""How weights begin."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.typing import Array


def glorot_uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int, dtype: Any, *, gates: int = 1
) -> Array:
    """Uniform in ``±sqrt(6 / (fan_in + fan_out))``: variances that neither grow nor shrink.

    Returns (fan_in, gates * fan_out): so many matrices with inputs and outputs of one gate, side by
    side.

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
    AISTATS 2010.
    """
    bound = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, (fan_in, gates * fan_out)).astype(dtype)


def orthogonal(rng: np.random.Generator, size: int, dtype: Any, *, gates: int = 1) -> Array:
    """Random orthogonal matrices, uniformly distributed: a step keeps the length of the state.

    Returns (size, gates * size): so many matrices side by side, each orthogonal by itself.

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
