"""What layers that hold a list of layers share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer


class Composite(Layer):
    """A layer that holds a list of layers: checks them, and has their states as one tuple."""

    uses_mask = True

    def __init__(self, layers: Iterable[Layer]) -> None:
        name = type(self).__name__
        if isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise TypeError(
                f"{name}: takes a list of layers, got {type(layers).__name__}; write {name}([...])"
            )
        self.layers = list(layers)
        if not self.layers:
            raise ValueError(f"{name}: the list of layers is empty")
        self._parts: tuple[list[Layer], list[Layer]] = [], []
        self._inside()

    def _inside(self) -> list[Layer]:
        """Return all layers, those inside others too; checked whenever `layers` has changed."""
        if self.layers != self._parts[0]:
            self._parts = self.layers.copy(), self._checked()
        return self._parts[1]

    def _checked(self) -> list[Layer]:
        """Return all layers, if they can stand here."""
        name = type(self).__name__
        for k, layer in enumerate(self.layers):
            checks.instance(self, f"layer {k}", layer, Layer)
            if isinstance(layer, Cell):
                raise TypeError(
                    f"{name}: layer {k} is a {type(layer).__name__}, one time step; to run it "
                    f"over time, write Recurrent({type(layer).__name__}(...))"
                )
        return distinct_parts(self, enumerate(self.layers))

    @property
    def uses_state(self) -> bool:  # type: ignore[override]
        """Whether one of the layers has a state."""
        return any(layer.uses_state for layer in self.layers)

    @property
    def state(self) -> tuple[Any, ...] | None:
        """The final state of each layer, None where there is none."""
        return tuple([layer.state if layer.uses_state else None for layer in self.layers])

    @property
    def grad_state(self) -> tuple[Any, ...] | None:
        """The gradient on the initial state of each layer, None where there is none."""
        return tuple([layer.grad_state if layer.uses_state else None for layer in self.layers])

    def _states(self, given: Any, what: str) -> Any:
        """Return the given states, an entry for each layer; None for each if none are given."""
        count = len(self.layers)
        if given is None:
            return [None] * count
        wanted = (
            f"{type(self).__name__}: {what} should be a tuple with an entry for each of the "
            f"{count} layers, None where a layer has no state"
        )
        return checks.tuple_of(given, count, wanted)


def distinct_parts(owner: object, layers: Iterable[tuple[Any, Layer]]) -> list[Layer]:
    """Return the layers, given with their places, and all inside them; each may be there once."""
    seen: dict[int, Any] = {}
    parts: list[Layer] = []
    for place, layer in layers:
        for _, part in layer.named_layers():
            if id(part) in seen and not isinstance(part, Cell):  # which keeps nothing
                raise ValueError(
                    f"{checks.name_of(owner)}: layers {seen[id(part)]} and {place} hold the same "
                    f"{type(part).__name__} object: its backward belongs to one forward, so each "
                    f"place needs an object of its own; to share weights, let two layers share "
                    f"the Parameter"
                )
            seen[id(part)] = place
            parts.append(part)
    return parts


def refuse_gradient(layer: Layer, grad: Any, shape: Any) -> None:
    """Raise: what a layer returned is not a gradient on an input of this shape."""
    if grad is None:
        raise TypeError(no_return(layer, "backward", "the gradient on its input"))
    raise ValueError(
        f"{type(layer).__name__}: backward should return the gradient on its input, of "
        f"shape {shape}, got {np.shape(grad)}"
    )


def no_return(layer: Layer, method: str, what: str) -> str:
    """Return the message for a method that returned None."""
    return f"{type(layer).__name__}: {method} should return {what}, got None; is there a return?"
