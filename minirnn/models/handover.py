"""What an encoder hands over to a decoder, and the checks that it can be taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.core import Layer
from minirnn.layers.composite import Composite
from minirnn.recurrent import Bidirectional
from minirnn.recurrent.recurrent import one_way_layers
from minirnn.typing import State


def with_state(layers: list[Layer]) -> list[Layer]:
    """Return the layers that have a state, in their order."""
    return [layer for layer in layers if layer.uses_state]


def _is_bidirectional(layer: Layer) -> bool:
    return any(isinstance(part, Bidirectional) for _, part in layer.named_layers())


def handed_over(encoder: list[Layer], decoder: list[Layer]) -> list[State | None]:
    """Return the state with which each layer of the decoder begins; None where it has none."""
    readers = with_state(encoder)[-len(with_state(decoder)) :]
    states = iter([_joined(layer, layer.state) for layer in readers])
    return [next(states) if layer.uses_state else None for layer in decoder]


def handed_back(encoder: list[Layer], decoder: list[Layer]) -> list[State | None]:
    """Return the gradient on the final state of each layer of the encoder; None for none."""
    writers = with_state(decoder)
    readers = with_state(encoder)[-len(writers) :]
    grads = {
        id(one): _parted(one, two.grad_state) for one, two in zip(readers, writers, strict=True)
    }
    return [grads.get(id(layer)) for layer in encoder]


def _joined(layer: Layer, state: State) -> State:
    """Return the state of a recurrent layer, both directions of a bidirectional one as one."""
    if not _is_bidirectional(layer):
        return state
    half = len(state) // 2
    if len(state) % 2 or any(array.ndim != 2 for array in state):
        raise ValueError(
            "EncoderDecoder: the two directions of the encoder's Bidirectional should have the "
            "same kind of cell, with states (batch, hidden)"
        )
    pairs = zip(state[:half], state[half:], strict=True)
    return tuple(np.concatenate(pair, axis=1) for pair in pairs)


def _parted(layer: Layer, grad_state: State) -> State:
    """Undo `_joined`."""
    if not _is_bidirectional(layer):
        return grad_state
    widths = [array.shape[1] for array in one_way_layers(layer)[0].cell.initial_state(1)]
    pairs = list(zip(grad_state, widths, strict=True))
    ahead = tuple(array[:, :width] for array, width in pairs)
    return ahead + tuple(array[:, width:] for array, width in pairs)


def check_states(encoder: list[Layer], decoder: list[Layer]) -> None:
    """Raise unless the decoder can begin where the encoder ends."""
    for name, layers in (("encoder", encoder), ("decoder", decoder)):
        for k, layer in enumerate(layers):
            inside = [part for _, part in layer.named_layers() if part.uses_state]
            nested = any(
                isinstance(part, Composite) and not isinstance(part, Bidirectional)
                for part in inside
            )
            if inside and (nested or not layer.uses_state or not one_way_layers(layer)):
                raise ValueError(
                    f"EncoderDecoder: layer {k} of the {name}, a {type(layer).__name__}, has a "
                    f"recurrent layer inside it, whose state cannot be reached; put recurrent "
                    f"layers into the {name} themselves, or into a Residual of their own"
                )
        if not with_state(layers):
            raise ValueError(f"EncoderDecoder: the {name} has no recurrent layer")
    readers, writers = with_state(encoder), with_state(decoder)
    if len(readers) < len(writers):
        raise ValueError(
            f"EncoderDecoder: the decoder has {len(writers)} recurrent layers, the encoder "
            f"{len(readers)}: each of the decoder's begins at the final state of one of the "
            f"encoder's"
        )
    for one, two in zip(readers[-len(writers) :], writers, strict=True):
        if _is_bidirectional(two) or one_way_layers(two)[0].reverse:
            raise ValueError(
                f"EncoderDecoder: the decoder writes step by step, so its {type(two).__name__} "
                f"cannot read backwards"
            )
        ends, begins = (
            [a.shape[1:] for a in state] for state in (_joined(one, _initial(one)), _initial(two))
        )
        if ends != begins:
            both = ", both directions side by side," if _is_bidirectional(one) else ""
            raise ValueError(
                f"EncoderDecoder: the final state of the encoder's {type(one).__name__}{both} "
                f"has arrays of {ends} a sequence, the state of the decoder's "
                f"{type(two).__name__} {begins}: give them the same cell and size"
            )


def _initial(layer: Any) -> State:
    return tuple(array for one in one_way_layers(layer) for array in one.cell.initial_state(1))
