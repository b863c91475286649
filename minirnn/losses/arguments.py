"""Checked arguments of losses and metrics: predictions, targets, masks and weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.masks import without_padding
from minirnn.typing import Array, Mask


def positions_of(prediction: Array) -> tuple[int, ...]:
    """Return all axes but that of the features; of one number a sequence (batch,), that one."""
    return prediction.shape[:-1] or prediction.shape


def valid_prediction(
    owner: object, prediction: Any, mask: Any, *, numbers: bool = False
) -> tuple[Array, Mask | None]:
    """Return the prediction as floats and the mask over its positions, both checked.

    In the padding the prediction comes back as zeros, whatever stood there. It is contiguous, so
    that one index in the flat array finds the class of a position. Of `numbers`, in place of
    classes, there may be one a sequence (batch,).
    """
    prediction = checks.as_floats(owner, prediction, None, "the prediction")
    if prediction.ndim < 2 - numbers:
        raise ValueError(
            f"{checks.name_of(owner)}: the prediction should be (batch, outputs) or (batch, time, "
            f"outputs), got shape {prediction.shape}"
        )
    if prediction.size == 0:
        raise ValueError(
            f"{checks.name_of(owner)}: the prediction is empty, shape {prediction.shape}"
        )
    if mask is None:
        return np.ascontiguousarray(prediction), None
    mask = checks.as_array(owner, mask, "the mask")
    if prediction.ndim == 2 == mask.ndim:
        raise ValueError(
            f"{checks.name_of(owner)}: got a mask of shape {mask.shape} for a prediction of "
            f"shape {prediction.shape} without a time axis: there is one prediction a sequence "
            f"(after LastStep), so leave the mask out"
        )
    mask = checks.as_mask(owner, mask, positions_of(prediction))
    if not mask.any():
        raise ValueError(
            f"{checks.name_of(owner)}: the mask has no valid step, so there is nothing to average"
        )
    return np.ascontiguousarray(without_padding(prediction, mask)), mask


def takes(method: Callable[..., Any], name: str) -> bool:
    """Whether a method has an argument of this name, or any arguments."""
    anything = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    parameters = signature(method).parameters.values()
    return any(one.name == name or one.kind in anything for one in parameters)


# ---------------------------------------------------------------- targets


def as_classes(owner: object, target: Any, prediction: Array, mask: Mask | None) -> Array:
    """Return the target as integers, one a position, or as floats of the prediction's shape."""
    shape, classes = prediction.shape[:-1], prediction.shape[-1]
    array = checks.as_array(owner, target, "the target")
    if array.shape == shape:
        return checks.as_integers(owner, array, classes, "target classes", mask)
    if array.shape != prediction.shape:
        hint = ""
        if array.shape == (*shape, 1):
            hint = "; drop the last axis, target[..., 0]"
        elif len(shape) > 1 and array.shape == shape[:1]:
            hint = (
                "; there is one target a sequence, and a prediction at each step: is LastStep() or "
                "LastState() missing in the model?"
            )
        elif array.ndim == 2 and array.shape[:1] == shape:
            hint = (
                "; there is a target at each step, and one prediction a sequence: does a layer of "
                "the model take the time axis away?"
            )
        raise ValueError(
            f"{checks.name_of(owner)}: the target should be integer classes of shape {shape}, or "
            f"probabilities of the prediction's shape {prediction.shape}, got shape "
            f"{array.shape}{hint}"
        )
    array = checks.as_floats(owner, array, prediction.dtype, "the target")
    array = without_padding(array, mask)
    if array.min() < 0:
        raise ValueError(
            f"{checks.name_of(owner)}: target probabilities should not be negative, got "
            f"{array.min():g}"
        )
    return array


def without_class(
    owner: object, ignored: int, target: Any, prediction: Array, mask: Mask | None
) -> tuple[Array, Mask | None]:
    """Return prediction and mask without the positions whose integer target is `ignored`."""
    array = checks.as_array(owner, target, "the target")
    if array.shape == prediction.shape:
        raise ValueError(
            f"{checks.name_of(owner)}: ignore_class needs integer targets, got an array of the "
            f"prediction's shape {array.shape}; leave steps out with a mask instead"
        )
    counts = array != ignored
    if counts.shape != prediction.shape[:-1] or counts.all():  # as_classes refuses other shapes
        return prediction, mask
    counts = counts if mask is None else counts & mask
    return without_padding(prediction, counts), counts


def like_prediction(owner: object, target: Any, prediction: Array, mask: Mask | None) -> Array:
    """Return the target as floats of the prediction's shape; zeros in the padding."""
    what, shape = "the target (as the prediction)", prediction.shape
    if shape[-1:] == (1,) and np.shape(target) == shape[:-1]:
        raise ValueError(
            f"{checks.name_of(owner)}: {what} should have shape {shape}, got {shape[:-1]}; give it "
            f"a last axis, target[..., None]"
        )
    return without_padding(checks.check_shape(owner, target, shape, prediction.dtype, what), mask)


def check_probabilities(
    owner: object, array: Array, subject: str, hint: str = "", slack: float = 0.0
) -> None:
    """Raise unless all numbers are in 0..1, or above 1 by no more than `slack`."""
    low, high = array.min(), array.max()
    if low < 0 or high > 1 + slack:
        raise ValueError(
            f"{checks.name_of(owner)}: {subject} in 0..1, got numbers from {low:g} to {high:g}"
            f"{hint}"
        )


def refuse_not_finite(owner: object, loss: float, target: Array) -> None:
    """Raise if the loss is not finite because the target has numbers that are not."""
    if math.isfinite(loss) or target.dtype.kind != "f":
        return
    wrong = ~np.isfinite(target)
    if wrong.any():
        where = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise ValueError(
            f"{checks.name_of(owner)}: the target has {int(wrong.sum())} of {target.size} numbers "
            f"that are not finite, the first is {target[where]} at position {where}; clean the "
            f"data, or leave such steps out with a mask"
        )


# ---------------------------------------------------------------- weights


def as_weights(
    owner: object, sample_weight: Any, shape: tuple[int, ...], mask: Mask | None
) -> Array | None:
    """Return the weight of each position, in float64, zeros in the padding; None if all count 1."""
    if sample_weight is None:
        return None if mask is None else mask.astype(np.float64)
    array = checks.as_floats(owner, sample_weight, np.float64, "sample_weight")
    if array.shape not in (shape, shape[:1]):
        wanted = f"{shape[:1]} (batch)" + (f" or {shape} (batch, time)" if len(shape) > 1 else "")
        raise ValueError(
            f"{checks.name_of(owner)}: sample_weight should have shape {wanted}, got {array.shape}"
        )
    array = np.broadcast_to(array.reshape(array.shape + (1,) * (len(shape) - array.ndim)), shape)
    array = without_padding(array, mask)
    if not (np.isfinite(array).all() and array.min(initial=0) >= 0):
        raise ValueError(
            f"{checks.name_of(owner)}: sample_weight should be finite and at least 0, got numbers "
            f"from {array.min():g} to {array.max():g}"
        )
    return array
