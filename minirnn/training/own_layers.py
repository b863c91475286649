"""A look at layers of the user's own while they see their first batch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Layer
from minirnn.losses import Loss

__all__ = ["inputs_unchanged", "refuse_assigned_gradients"]


def _own_layers(model: Layer) -> dict[str, Layer]:
    """Return the layers whose class is not one of minirnn's."""
    return {
        name: layer
        for name, layer in model.named_layers()
        if not type(layer).__module__.startswith("minirnn.")
    }


@contextmanager
def inputs_unchanged(model: Layer) -> Iterator[None]:
    """Return a block in which an own layer whose forward changes its input raises.

    The input is what another layer has kept for its backward, or the user's data.
    """
    watched = [
        layer
        for layer in _own_layers(model).values()
        if not isinstance(layer, Cell) and "forward" not in vars(layer)
    ]
    for layer in watched:
        vars(layer)["forward"] = _comparing(layer)
    try:
        yield
    finally:
        for layer in watched:
            vars(layer).pop("forward", None)


def _comparing(layer: Layer) -> Any:
    forward = layer.forward

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


def refuse_assigned_gradients(model: Layer, loss: Loss) -> None:
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
