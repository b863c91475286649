"""Optimizers: from gradients to new values."""

from minirnn.optimizers.base import Optimizer, Slots
from minirnn.optimizers.methods import SGD, Adagrad, Adam, AdamW, RMSProp

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSProp", "Slots"]
