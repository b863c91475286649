"""Layers composed into models."""

from minirnn.models.encoder_decoder import EncoderDecoder
from minirnn.models.sequential import Sequential

__all__ = ["EncoderDecoder", "Sequential"]
