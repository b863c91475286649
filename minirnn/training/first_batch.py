"""A look at the model while it sees its first batch: for mistakes that train in silence."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Layer, Parameter
from minirnn.losses import Loss

__all__ = ["FirstBatch"]


class FirstBatch:
    """A block around forward and backward that examines the first batch, and no other.

    It raises for a layer of the user's own whose forward changes its input, or whose backward
    assigns gradients in place of adding to them; and for a parameter that a layer makes only now,
    or that takes another's place: it is not in the optimizer and would never be trained. One that
    was there and was not given to the optimizer is frozen, as it may be.
    """

    def __init__(self, model: Layer, loss: Loss, parameters: Sequence[Parameter]) -> None:
        self._model, self._loss = model, loss
        self._known = [*model.parameters(), *parameters]  # kept, so that no id is used again
        self._hooked: list[Layer] = []
        self._over = False
        known = {id(parameter) for parameter in model.parameters()}
        foreign = [one for one in parameters if id(one) not in known]
        if len(foreign) == len(parameters):
            raise ValueError(
                "Trainer: the optimizer holds none of the model's parameters; was it made from "
                "another model?"
            )
        left_out = _names_of_others(model, parameters)
        if foreign and left_out:
            raise ValueError(
                f"Trainer: the optimizer holds {len(foreign)} parameters that the model does not "
                f"have, and not {left_out}; was a layer replaced after the optimizer was made? "
                f"Make the optimizer last"
            )

    def __enter__(self) -> None:
        if self._over:
            return
        for layer in _own_layers(self._model).values():
            if not isinstance(layer, Cell) and "forward" not in vars(layer):
                vars(layer)["forward"] = _comparing(layer)
                self._hooked.append(layer)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        while self._hooked:
            vars(self._hooked.pop()).pop("forward", None)
        if kind is None and not self._over:
            _refuse_assigned_gradients(self._model, self._loss)
            new = _names_of_others(self._model, self._known)
            if new:
                raise RuntimeError(
                    f"Trainer: {new} was made after the optimizer, which does not know of it, so "
                    f"it would never be trained. Make parameters in __init__; where their shape "
                    f"depends on the data, call the model once before model.parameters()"
                )
            self._over = True


def _names_of_others(model: Layer, known: Sequence[Parameter]) -> str:
    """Return the names of the model's parameters that are not among these."""
    ids = {id(parameter) for parameter in known}
    return ", ".join(name for name, one in model.named_parameters() if id(one) not in ids)


def _own_layers(model: Layer) -> dict[str, Layer]:
    """Return the layers whose class is not one of minirnn's."""
    return {
        name: layer
        for name, layer in model.named_layers()
        if not type(layer).__module__.startswith("minirnn.")
    }


def _comparing(layer: Layer) -> Any:
    forward = layer.forward

    @wraps(forward)
    def compared(*args: Any, **keywords: Any) -> Any:
        arrays = [one for one in (*args, *keywords.values()) if isinstance(one, np.ndarray)]
        copies = [array.copy() for array in arrays]
        result = forward(*args, **keywords)
        for array, before in zip(arrays, copies, strict=True):
            if not np.array_equal(array, before, equal_nan=array.dtype.kind == "f"):
                raise RuntimeError(
                    f"{type(layer).__name__}: forward changes its input in place, which is what "
                    f"another layer has kept; make a new array: x = x * 2, and not x *= 2"
                )
        return result

    return compared


def _refuse_assigned_gradients(model: Layer, loss: Loss) -> None:
    """Raise if backward, called once more on a copy, puts a gradient in the place of another.

    Then it assigns: of the steps or places that share a parameter, only one would count. Asked only
    of models with layers or cells of the user's own.
    """
    own = _own_layers(model)
    if not own:
        return
    after: dict[str, Any] = {}
    with suppress(Exception):  # no copy, or nothing kept for a second time: then nothing is known
        twin = copy.deepcopy(model)
        for parameter in twin.parameters():
            parameter.grad = 1 + np.abs(parameter.grad)
        twin.backward_parameters(loss.backward())
        after = {name: parameter.grad for name, parameter in twin.named_parameters()}
    for name, parameter in model.named_parameters():
        if name in after and np.array_equal(parameter.grad, after[name]):
            owners = [layer for layer in own.values() if parameter in layer.parameters()]
            owner = type(owners[-1] if owners else model).__name__
            raise RuntimeError(
                f"{owner}: backward assigns the gradient of {name}, and should add to it: another "
                f"step, or another use of the parameter, adds to the same; write .grad += ..."
            )
