"""A chain of layers that is handed states from outside, and hands out its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minirnn import checks, masks
from minirnn.core import Layer
from minirnn.models.sequential import flat
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array, State

__all__ = ["Chain"]


class Chain:
    """The layers of a model one after the other, with the states of the recurrent ones.

    Parameters
    ----------
    name : str
        Of the model, for messages.
    layers : iterable of Layer

    Attributes
    ----------
    layers : list of Layer
        Without any `Sequential`: its layers take its place.
    recurrent : list of Layer
        Those that have a state, in their order.
    """

    def __init__(self, name: str, layers: Iterable[Layer]) -> None:
        self.name = name
        self.layers = list(flat(layers))
        self.recurrent: list[Any] = [layer for layer in self.layers if has_state(layer)]
        for k, layer in enumerate(self.layers):
            if not has_state(layer) and any(has_state(part) for _, part in layer.named_layers()):
                raise ValueError(
                    f"EncoderDecoder: layer {k} of the {name}, a {type(layer).__name__}, has a "
                    f"recurrent layer inside it, whose state cannot be reached; put recurrent "
                    f"layers into the {name} themselves"
                )

    def forward(self, x: Any, mask: Any = None, states: list[State] | None = None) -> Array:
        """Return the output; the recurrent layers begin at `states`."""
        remaining = list(states or [])
        mask = None if mask is None else np.asarray(mask)
        for k, layer in enumerate(self.layers):
            state = remaining.pop(0) if has_state(layer) and remaining else None
            x, mask = self._run(k, masks.through, layer, x, mask, state)
        return x  # type: ignore[no-any-return]

    def without_padding(self, x: Any, mask: Any) -> Array:
        """Return x with zeros where its mask is False, whatever stood there."""
        return masks.checked(f"EncoderDecoder: {self.name}", x, mask)[0]  # type: ignore[no-any-return]

    def backward(self, grad: Any, grad_states: list[State] | None = None) -> Any:
        """Return the gradient on the input, from those on the output and on the final states."""
        remaining = list(grad_states or [])
        for k in reversed(range(len(self.layers))):
            layer = self.layers[k]
            if has_state(layer) and remaining:
                grad = self._run(k, layer.backward, grad, remaining.pop())
            else:
                grad = self._run(k, layer.backward, grad)
        return grad

    def step(self, x_t: Any) -> Array:
        """Return the output of one time step; recurrent layers carry their states."""
        for k, layer in enumerate(self.layers):
            x_t = self._run(k, layer.step, x_t)
        return x_t  # type: ignore[no-any-return]

    def _run(self, k: int, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            checks.locate(error, f"EncoderDecoder: layer {k} of the {self.name}")
            raise


def has_state(layer: Layer) -> bool:
    """Whether the layer is one that takes and hands out states."""
    return hasattr(layer, "state") and hasattr(layer, "grad_state")


def cells_of(layer: Layer) -> list[Recurrent]:
    """Return the layers with one direction that a recurrent layer is made of."""
    return [part for _, part in layer.named_layers() if isinstance(part, Recurrent)]


def is_bidirectional(layer: Layer) -> bool:
    """Whether a recurrent layer reads in both directions."""
    return any(isinstance(part, Bidirectional) for _, part in layer.named_layers())
