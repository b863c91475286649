"""Layers composed into models."""

from minirnn.models.sequential import Sequential

__all__ = ["Sequential"]
