"""The valid positions of a batch, one after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.losses.arguments import (
    as_classes,
    as_weights,
    check_probabilities,
    like_prediction,
    valid_prediction,
    without_class,
)
from minirnn.typing import Array, Mask

__all__ = ["valid_classes", "valid_decisions", "valid_elements", "valid_rows", "weighted_sum"]


def valid_classes(
    owner: object,
    prediction: Any,
    target: Any,
    mask: Any,
    sample_weight: Any,
    ignore_class: int | None = None,
) -> tuple[Array, Array, Array | None]:
    """Return scores (n, classes), integer targets (n,) and weights (n,), of valid positions."""
    prediction, mask = valid_prediction(owner, prediction, mask)
    if ignore_class is not None:
        mask = without_class(owner, ignore_class, target, prediction, mask)
    target = as_classes(owner, target, prediction, mask)
    if target.shape == prediction.shape:
        target = target.argmax(axis=-1)
    return valid_rows(owner, prediction, target, mask, sample_weight)


def valid_elements(
    owner: object, prediction: Any, target: Any, mask: Any, sample_weight: Any
) -> tuple[Array, Array, Array | None]:
    """Return prediction and target (n, features) and weights (n,), of valid positions."""
    prediction, mask = valid_prediction(owner, prediction, mask)
    target = like_prediction(owner, target, prediction, mask)
    return valid_rows(owner, prediction, target, mask, sample_weight)


def valid_decisions(
    owner: object,
    prediction: Any,
    target: Any,
    mask: Any,
    sample_weight: Any,
    threshold: float,
    from_logits: bool,
) -> tuple[Array, Array, Array | None]:
    """Return yes or no, predicted and true, as booleans (n, features), and weights (n,)."""
    scores, target, weights = valid_elements(owner, prediction, target, mask, sample_weight)
    if not np.isin(target, (0, 1)).all():
        raise ValueError(
            f"{checks.name_of(owner)}: targets should be 0 or 1, got numbers from "
            f"{target.min():g} to {target.max():g}"
        )
    if from_logits:
        threshold = math.log(threshold / (1 - threshold))  # its sigmoid is the threshold given
    else:
        hint = "; for logits write from_logits=True"
        check_probabilities(owner, scores, "the prediction should be probabilities", hint)
    return scores > threshold, target == 1, weights


def weighted_sum(terms: Array, weights: Array | None) -> tuple[float, float]:
    """Return the sum of one term a position, and the sum of the weights."""
    if weights is None:
        return float(terms.sum(dtype=np.float64)), float(len(terms))
    return float(weights @ terms.astype(np.float64)), float(weights.sum())


def valid_rows(
    owner: object, prediction: Array, target: Array, mask: Mask | None, sample_weight: Any
) -> tuple[Array, Array, Array | None]:
    """Return prediction (n, outputs), target (n, ...) and weights (n,), of valid positions."""
    shape = prediction.shape[:-1]
    valid = np.ones(shape, bool) if mask is None else mask
    weights = None
    if sample_weight is not None:
        weights = as_weights(owner, sample_weight, shape, mask)[valid]
    return prediction[valid], target[valid], weights
