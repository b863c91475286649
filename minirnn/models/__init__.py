"""Layers composed into models."""

from typing import TYPE_CHECKING

from minirnn.lazy import lazy
from minirnn.models.sequential import Sequential

if TYPE_CHECKING:
    from minirnn.models.encoder_decoder import EncoderDecoder

__all__ = ["EncoderDecoder", "Sequential"]

__getattr__ = lazy(__name__, {"EncoderDecoder": "minirnn.models.encoder_decoder"})
