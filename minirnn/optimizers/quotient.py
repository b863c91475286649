"""A vector divided by the root of mean squares: the step of every adaptive optimizer."""

from __future__ import annotations

import math

import numpy as np

from minirnn.typing import Array

__all__ = ["divided"]


def divided(
    vector: Array, squares: Array, rate: float, bias: float, epsilon: float, out: Array
) -> Array:
    """Return ``rate * vector / (sqrt(squares / bias) + epsilon)``, written to `out`.

    Computed with both sides of the fraction multiplied by ``sqrt(bias)``, which saves a pass.
    """
    root = math.sqrt(bias)
    np.sqrt(squares, out=out)
    out += epsilon * root
    np.divide(vector, out, out=out)
    out *= rate * root
    return out
