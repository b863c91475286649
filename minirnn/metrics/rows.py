"""The valid positions of a batch, one after the other, and means over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minirnn import checks
from minirnn.losses.arguments import (
    as_classes,
    as_weights,
    check_probabilities,
    like_prediction,
    positions_of,
    valid_prediction,
    without_class,
)
from minirnn.metrics.base import Metric
from minirnn.typing import Array, Mask

Rows: TypeAlias = "tuple[Array, Array, Array | None]"


class MeanMetric(Metric):
    """A mean over valid positions: a subclass says which rows it takes, and writes `_terms`."""

    _rows: Callable[..., Rows]

    def measure(
        self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None
    ) -> tuple[float, float]:
        """Return the terms, summed over valid positions, and the number of these."""
        prediction, target, weights = self._rows(prediction, target, mask, sample_weight)
        terms = self._terms(prediction, target)
        if weights is None:
            return float(terms.sum(dtype=np.float64)), float(len(terms))
        return float(weights @ terms.astype(np.float64)), float(weights.sum())

    def _terms(self, prediction: Array, target: Array) -> Any:
        """Return a term (n,) for each row."""
        raise NotImplementedError


def valid_rows(
    owner: object, prediction: Array, target: Array, mask: Mask | None, sample_weight: Any
) -> Rows:
    """Return prediction (n, outputs), target (n, ...) and weights (n,), of valid positions."""
    shape = positions_of(prediction)

    def rows(array: Array) -> Array:
        return array.reshape(-1, *array.shape[len(shape) :]) if mask is None else array[mask]

    weights = None if sample_weight is None else as_weights(owner, sample_weight, shape, mask)
    return rows(prediction), rows(target), None if weights is None else rows(weights)


def class_rows(owner: Any, prediction: Any, target: Any, mask: Any, sample_weight: Any) -> Rows:
    """Return scores (n, classes), integer targets (n,) and weights (n,), without ignored ones."""
    prediction, mask = valid_prediction(owner, prediction, mask)
    if prediction.shape[-1] == 1:
        raise ValueError(
            f"{checks.name_of(owner)}: the prediction has one output only, so the largest is "
            f"always right; for yes-or-no outputs take BinaryAccuracy"
        )
    if owner.ignore_class is not None:
        prediction, mask = without_class(owner, owner.ignore_class, target, prediction, mask)
    target = as_classes(owner, target, prediction, mask)
    checks.no_nan(owner, prediction, "the prediction")
    if target.shape == prediction.shape:
        checks.no_nan(owner, target, "the target")
        target = target.argmax(axis=-1)
    return valid_rows(owner, prediction, target, mask, sample_weight)


def element_rows(owner: Any, prediction: Any, target: Any, mask: Any, sample_weight: Any) -> Rows:
    """Return prediction and target (n, features) and weights (n,)."""
    prediction, mask = valid_prediction(owner, prediction, mask, numbers=True)
    target = like_prediction(owner, target, prediction, mask)
    if prediction.ndim == 1:
        prediction, target = prediction[:, None], target[:, None]
    return valid_rows(owner, prediction, target, mask, sample_weight)


def decision_rows(owner: Any, prediction: Any, target: Any, mask: Any, sample_weight: Any) -> Rows:
    """Return yes or no, predicted and true, as booleans (n, features), and weights (n,)."""
    scores, target, weights = element_rows(owner, prediction, target, mask, sample_weight)
    checks.no_nan(owner, scores, "the prediction")
    if not np.isin(target, (0, 1)).all():
        raise ValueError(
            f"{checks.name_of(owner)}: targets should be 0 or 1, got numbers from "
            f"{target.min():g} to {target.max():g}"
        )
    threshold = owner.threshold
    if owner.from_logits:
        threshold = math.log(threshold / (1 - threshold))  # its sigmoid is the threshold given
    else:
        hint = "; for logits write from_logits=True"
        check_probabilities(owner, scores, "the prediction should be probabilities", hint)
    return scores > threshold, target == 1, weights
