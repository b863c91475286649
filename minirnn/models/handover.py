"""What an encoder hands over to a decoder, and the checks that it can be taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.core import Layer
from minirnn.layers.attention import Attention
from minirnn.models.chain import Chain, cells_of, is_bidirectional
from minirnn.typing import State

__all__ = ["check_attention", "check_states", "joined", "parted"]


def check_states(read: Chain, write: Chain) -> None:
    """Raise unless the decoder can begin where the encoder ends."""
    if len(read.recurrent) < len(write.recurrent):
        raise ValueError(
            f"EncoderDecoder: the decoder has {len(write.recurrent)} recurrent layers, the "
            f"encoder {len(read.recurrent)}: each of the decoder's begins at the final state "
            f"of one of the encoder's"
        )
    for one, two in zip(read.recurrent[-len(write.recurrent) :], write.recurrent, strict=True):
        if is_bidirectional(two) or cells_of(two)[0].reverse:
            raise ValueError(
                f"EncoderDecoder: the decoder writes step by step, so its {type(two).__name__} "
                f"cannot read backwards"
            )
        shapes = [
            [array.shape[1:] for array in state]
            for state in (joined(one, _initial(one)), _initial(two))
        ]
        if shapes[0] != shapes[1]:
            both = ", both directions side by side," if is_bidirectional(one) else ""
            raise ValueError(
                f"EncoderDecoder: the final state of the encoder's {type(one).__name__}{both} "
                f"has arrays of {shapes[0]} a sequence, the state of the decoder's "
                f"{type(two).__name__} {shapes[1]}: give them the same cell and size"
            )


def check_attention(read: Chain, before: Chain, after: Chain, attention: Attention) -> None:
    """Raise unless the attention fits between encoder and decoder."""
    if not all(layer.keeps_time for layer in read.layers):
        raise ValueError(
            "EncoderDecoder: attention looks at every step of the source, but the encoder "
            "takes the time axis away; leave that layer out"
        )
    known = [
        ("query_size", attention.query_size, before, "the decoder's recurrent layer"),
        ("key_size", attention.key_size, read, "the encoder"),
    ]
    for name, size, chain, who in known:
        sizes = [n for n in (getattr(k, "output_size", None) for k in chain.layers) if n]
        if sizes and sizes[-1] != size:
            raise ValueError(
                f"EncoderDecoder: {name} of the attention should be {sizes[-1]}, what {who} "
                f"gives, got {size}"
            )
    wanted = attention.query_size + attention.key_size
    takes = getattr(after.layers[0], "input_size", wanted) if after.layers else wanted
    if takes != wanted:
        raise ValueError(
            f"EncoderDecoder: the {type(after.layers[0]).__name__} after the decoder's last "
            f"recurrent layer gets its output and the context, {attention.query_size} + "
            f"{attention.key_size} features; its input_size is {takes}"
        )


def _initial(layer: Any) -> State:
    return tuple(array for one in cells_of(layer) for array in one.cell.initial_state(1))


def joined(layer: Layer, state: State) -> State:
    """Return the state of a recurrent layer, both directions of a bidirectional one as one."""
    if not is_bidirectional(layer):
        return state
    half = len(state) // 2
    if len(state) % 2 or any(array.ndim != 2 for array in state):
        raise ValueError(
            "EncoderDecoder: the two directions of the encoder's Bidirectional should have the "
            "same kind of cell, with states (batch, hidden)"
        )
    pairs = zip(state[:half], state[half:], strict=True)
    return tuple(np.concatenate(pair, axis=1) for pair in pairs)


def parted(layer: Layer, grad_state: State) -> State:
    """Undo `joined`."""
    if not is_bidirectional(layer):
        return grad_state
    widths = [array.shape[1] for array in cells_of(layer)[0].cell.initial_state(1)]
    pairs = list(zip(grad_state, widths, strict=True))
    ahead = tuple(array[:, :width] for array, width in pairs)
    return ahead + tuple(array[:, width:] for array, width in pairs)
