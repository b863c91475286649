"""Which number was the first that is not finite."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minirnn import masks
from minirnn.cells import Cell
from minirnn.core import Layer
from minirnn.data.nested import leaves
from minirnn.losses.base import Loss

__all__ = ["first_gradient_not_finite", "first_not_finite"]


def first_not_finite(model: Layer, loss: Any, inputs: Any, mask: Any, learning_rate: float) -> str:
    """Say in words what was first not finite: the input, a parameter, a layer's output, a loss."""
    given = inputs if mask is None else masks.checked(model, inputs, mask)[0]
    for name, x in leaves(given, "input"):
        x = np.asarray(x)
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            return f"the {name} itself has {_count(x)}; clean the data first"
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.value).all():
            return (
                f"parameter {name} has {_count(parameter.value)} since the last update; try a "
                f"learning rate below {learning_rate:g}, or clip_norm"
            )
    found = _first_output(model, inputs, mask)
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


def _first_output(model: Layer, x: Any, mask: Any) -> str | None:
    """Run a copy of the model, whose layers look at what they return."""
    twin, found = copy.deepcopy(model), list[str]()
    for name, layer in twin.named_layers():
        if not isinstance(layer, Cell):
            vars(layer)["forward"] = _looking(layer, f"{name} " * bool(name), found)
    masks.apply(twin, x, mask)
    return found[0] if found else None


def _looking(layer: Layer, name: str, found: list[str]) -> Any:
    forward = layer.forward

    def looked(*args: Any, **keywords: Any) -> Any:
        y = forward(*args, **keywords)
        if isinstance(y, np.ndarray) and not np.isfinite(y).all():
            found.append(
                f"the output of {name}({type(layer).__name__}) has {_count(y)}, while what it was "
                f"given is finite"
            )
        return y

    return looked


def _count(array: Any) -> str:
    wrong = int(array.size - np.isfinite(array).sum())
    return f"{wrong} of {array.size} numbers that are not finite"
