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
    weight : float
        The number of valid positions, or the sum of their weights.
    """

    def __init__(
        self, owner: object, prediction: Array, mask: Mask | None, sample_weight: Any
    ) -> None:
        shape = prediction.shape[:-1]
        self.mask = mask
        self.weights: Array | None = None
        self._features: int = prediction.shape[-1]
        self._dtype = prediction.dtype
        if sample_weight is not None:
            self.weights = as_weights(owner, sample_weight, shape, mask)
            self.weight = float(self.weights.sum())
        else:
            self.weight = float(math.prod(shape) if mask is None else mask.sum())

    def weigh(self, factors: Array) -> None:
        """Multiply the weight of each position by one of `factors`."""
        weights = factors if self.weights is None else self.weights * factors
        self.weights = weights if self.mask is None else np.where(self.mask, weights, 0.0)
        self.weight = float(self.weights.sum())

    def total(self, factors: Array) -> float:
        """Return the sum of the weights, each multiplied by one of `factors`."""
        if self.weights is not None:
            factors = self.weights * factors
        return float(factors.sum() if self.mask is None else factors[self.mask].sum())

    def mean(self, terms: Array) -> float:
        """Return the mean of one term a position, added up in float64."""
        if self.weight == 0:
            return 0.0
        weights = self.weights
        if self.mask is not None:
            terms = terms[self.mask]
            weights = None if weights is None else weights[self.mask]
        if weights is None:
            return float(terms.sum(dtype=np.float64)) / self.weight
        total = float(terms.reshape(-1).astype(np.float64) @ weights.reshape(-1))
        return total / self.weight

    def mean_of_elements(self, terms: Array) -> float:
        """Return the mean over positions and features of terms ``(..., features)``."""
        if self.weights is not None:
            return self.mean(terms.mean(axis=-1, dtype=np.float64))
        return self.mean(terms) / self._features

    def share(self) -> Any:
        """Return the factor of each position's term in the mean: a number, or an array (..., 1)."""
        if self.weight == 0:
            return 0.0
        if self.weights is None:
            return 1 / self.weight
        return (self.weights / self.weight).astype(self._dtype, copy=False)[..., None]

    def share_of_elements(self) -> Any:
        """Return the factor of each element, where terms are a mean over features too."""
        return self.share() / self._features

    def without_padding(self, grad: Array) -> Array:
        """Return the gradient with zeros in the padding, in place."""
        if self.mask is not None:
            grad[~self.mask] = 0
        return grad
