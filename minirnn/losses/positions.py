"""The mean over the valid positions of a batch, with weights, and its derivative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn.losses.arguments import as_weights
from minirnn.typing import Array, Mask

__all__ = ["Positions"]


class Positions:
    """The positions of a batch over which a loss is averaged, and how much each counts.

    Parameters
    ----------
    owner : object
        For messages.
    prediction : array (..., outputs)
    mask : boolean array (...), optional
    sample_weight : array (batch,) or (...), optional

    Attributes
    ----------
    weights : float64 array (...), or None
        Zeros in the padding; None where all positions count the same.
    weight : float
        Their sum: without weights, the number of positions.
    """

    def __init__(
        self, owner: object, prediction: Array, mask: Mask | None, sample_weight: Any
    ) -> None:
        shape = prediction.shape[:-1]
        self.weights: Array | None = None if mask is None else mask.astype(np.float64)
        if sample_weight is not None:
            self.weights = as_weights(owner, sample_weight, shape, mask)
        self.weight = float(math.prod(shape) if self.weights is None else self.weights.sum())
        self._axes, self._dtype = len(shape), prediction.dtype

    def times(self, factors: Array) -> Array:
        """Return the weight of each position, multiplied by one of `factors`."""
        return factors if self.weights is None else self.weights * factors

    def mean(self, terms: Array) -> float:
        """Return the mean of terms (...), or also over features where they are (..., features)."""
        if self.weight == 0:
            return 0.0
        features = math.prod(terms.shape[self._axes :])
        if self.weights is None:
            total = terms.sum(dtype=np.float64)
        else:
            rows = terms.reshape(self.weights.size, features).astype(np.float64, copy=False)
            total = (self.weights.reshape(-1) @ rows).sum()
        return float(total) / self.weight / features

    def share(self) -> Any:
        """Return the factor of each position's term in the mean: a number, or an array (..., 1)."""
        if self.weight == 0:
            return 0.0
        if self.weights is None:
            return 1 / self.weight
        return (self.weights / self.weight).astype(self._dtype, copy=False)[..., None]
