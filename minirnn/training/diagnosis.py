"""Where the first number that is not finite came from."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minirnn.core import Layer
from minirnn.models.sequential import Sequential

__all__ = ["first_gradient_not_finite", "first_not_finite"]


def first_not_finite(model: Layer, inputs: Any, mask: Any) -> str:
    """Say in words what was first not finite: the input, a parameter, or a layer's output."""
    x = np.asarray(inputs)
    real = x if mask is None else x[np.asarray(mask)]
    if x.dtype.kind == "f" and not np.isfinite(real).all():
        return f"the input itself has {_count(real)}; clean the data first"
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.value).all():
            return (
                f"parameter {name} has {_count(parameter.value)}: the last update spoilt it; try a "
                f"smaller learning rate, or clip_norm"
            )
    return _first_output(model, inputs, mask, "") or "every layer's output is finite, the loss not"


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
        x, mask = model._without_padding(x, mask)
    for k, layer in enumerate(layers):
        if mask is not None and layer.uses_mask:
            y = layer.forward(x, mask)
        else:
            y = layer.forward(x)
        if not np.isfinite(y).all():
            where = f"{path}layer {k} ({type(layer).__name__})"
            if isinstance(layer, Sequential):
                inner = _first_output(layer, x, mask, f"{where}, ")
                if inner is not None:
                    return inner
            return f"the output of {where} has {_count(y)}, while what it was given is finite"
        if isinstance(model, Sequential):
            mask = model._mask_after(k, y, mask)
        x = y
    return None


def _count(array: Any) -> str:
    wrong = int(array.size - np.isfinite(array).sum())
    return f"{wrong} of {array.size} numbers that are not finite"
