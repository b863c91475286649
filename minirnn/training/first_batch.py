"""A look at a copy of the model with the first batch: for mistakes that train in silence."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import wraps
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Layer, Parameter
from minirnn.losses import Loss
from minirnn.training.inputs import Batch
from minirnn.training.measuring import measure

__all__ = ["examine", "names_of_others"]


def examine(model: Layer, loss: Loss, known: list[Parameter], batch: Batch) -> None:
    """Run a copy of the model with the first batch, if it has layers of the user's own.

    Raises
    ------
    RuntimeError
        If a forward changes its input, or a backward assigns gradients in place of adding to them;
        or for a parameter that is not among the `known`, or that a layer makes only now: it is not
        in the optimizer and would never be trained. One that was there and was not given to the
        optimizer is frozen, as it may be.
    """
    mistakes: list[str] = []
    _find_new(model, known, mistakes)
    try:
        if any(map(_is_own, dict(model.named_layers()).values())):
            _try(*copy.deepcopy((model, loss, batch)), mistakes)
    except Exception:  # no copy, nothing kept for a second time, or an error that will come again
        pass
    if mistakes:
        raise RuntimeError(mistakes[0])


def names_of_others(model: Layer, known: Iterable[Parameter]) -> str:
    """Return the names of the model's parameters that are not among these."""
    ids = {id(parameter) for parameter in known}
    return ", ".join(name for name, one in model.named_parameters() if id(one) not in ids)


def _is_own(layer: Layer) -> bool:
    return not type(layer).__module__.startswith("minirnn.")


def _find_new(model: Layer, known: list[Parameter], mistakes: list[str]) -> None:
    if new := names_of_others(model, known):
        mistakes.append(
            f"Trainer: {new} was made after the optimizer, which does not know of it, so it would "
            f"never be trained. Make parameters in __init__; where their shape depends on the "
            f"data, call the model once before model.parameters()"
        )


def _try(model: Layer, loss: Loss, batch: Batch, mistakes: list[str]) -> None:
    """Go forward once, and back twice.

    If the second time puts a gradient in the place of another, backward assigns: of the steps or
    places that share a parameter, only one would count.
    """
    own = [layer for _, layer in model.named_layers() if _is_own(layer)]
    for layer in own:
        if not isinstance(layer, Cell):
            vars(layer)["forward"] = _comparing(layer, mistakes)
    known = model.parameters()
    measure(model, loss, batch)
    grad = loss.backward()
    model.zero_grad()
    model.backward_parameters(grad)
    _find_new(model, known, mistakes)
    first = [parameter.grad.copy() for parameter in known]
    for parameter in known:
        parameter.grad = 1 + np.abs(parameter.grad)
    model.backward_parameters(grad)
    for (name, parameter), before in zip(model.named_parameters(), first, strict=True):
        if np.array_equal(parameter.grad, before):
            owners = [layer for layer in own if parameter in layer.parameters()]
            owner = type(owners[-1] if owners else model).__name__
            mistakes.append(
                f"{owner}: backward assigns the gradient of {name}, and should add to it: another "
                f"step, or another use of the parameter, adds to the same; write .grad += ..."
            )


def _comparing(layer: Layer, mistakes: list[str]) -> Any:
    forward = layer.forward

    @wraps(forward)
    def compared(*args: Any, **keywords: Any) -> Any:
        arrays = [one for one in (*args, *keywords.values()) if isinstance(one, np.ndarray)]
        copies = [array.copy() for array in arrays]
        result = forward(*args, **keywords)
        for array, before in zip(arrays, copies, strict=True):
            if not np.array_equal(array, before, equal_nan=array.dtype.kind == "f"):
                mistakes.append(
                    f"{type(layer).__name__}: forward changes its input in place, which is what "
                    f"another layer has kept; make a new array: x = x * 2, and not x *= 2"
                )
        return result

    return compared
