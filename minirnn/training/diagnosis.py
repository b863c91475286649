"""Which number was the first that is not finite."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minirnn import masks
from minirnn.core import Layer
from minirnn.data.nested import is_nested, leaves
from minirnn.losses.base import Loss
from minirnn.models.sequential import Sequential

__all__ = ["first_gradient_not_finite", "first_not_finite"]


def first_not_finite(model: Layer, loss: Any, inputs: Any, mask: Any, learning_rate: float) -> str:
    """Say in words what was first not finite: the input, a parameter, a layer's output, a loss."""
    several = is_nested(inputs)
    masks = [one for _, one in leaves(mask)] if several and is_nested(mask) else [mask]
    for k, (name, x) in enumerate(leaves(inputs, "input")):
        x, valid = np.asarray(x), masks[k] if len(masks) > k else None
        valid_x = x if valid is None or (several and len(masks) == 1) else x[np.asarray(valid)]
        if x.dtype.kind == "f" and not np.isfinite(valid_x).all():
            return f"the {name} itself has {_count(valid_x)}; clean the data first"
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.value).all():
            return (
                f"parameter {name} has {_count(parameter.value)} since the last update; try a "
                f"learning rate below {learning_rate:g}, or clip_norm"
            )
    found = _first_output(model, inputs, mask, "")
    if found is None and isinstance(loss, Loss) and (reason := loss.why_not_finite()):
        return reason
    found = found or "every layer's output is finite, the loss not"
    largest = max(np.abs(parameter.value).max(initial=0) for parameter in model.parameters())
    return (
        f"{found}. The largest parameter is {largest:.3g}; if the loss grew before, try a learning "
        f"rate below {learning_rate:g}"
    )


def first_gradient_not_finite(model: Layer) -> str:
    """Say in words which parameter's gradient is the first, from the input on, not finite."""
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.grad).all():
            return f"the gradient of parameter {name} has {_count(parameter.grad)}"
    return "every gradient is finite, but their norm overflows"


def _first_output(model: Layer, x: Any, mask: Any, path: str) -> str | None:
    """Run a copy of the model, layer by layer where it is a Sequential."""
    layers = list(copy.deepcopy(model)) if isinstance(model, Sequential) else [copy.deepcopy(model)]
    if isinstance(model, Sequential) and mask is not None:
        x, mask = masks.checked(model, x, mask)
    for k, layer in enumerate(layers):
        if isinstance(model, Sequential):
            y, mask_of_y = masks.through(layer, x, mask)
        else:
            y, mask_of_y = masks.apply(layer, x, mask), None
        if not np.isfinite(y).all():
            where = f"{path}layer {k} ({type(layer).__name__})"
            if isinstance(layer, Sequential):
                inner = _first_output(layer, x, mask, f"{where}, ")
                if inner is not None:
                    return inner
            return f"the output of {where} has {_count(y)}, while what it was given is finite"
        x, mask = y, mask_of_y
    return None


def _count(array: Any) -> str:
    wrong = int(array.size - np.isfinite(array).sum())
    return f"{wrong} of {array.size} numbers that are not finite"
