"""Optimizers: from gradients to updated values."""

from minirnn.optimizers.adam import Adam
from minirnn.optimizers.adamw import AdamW, Nadam
from minirnn.optimizers.average import WeightAverage
from minirnn.optimizers.base import Optimizer
from minirnn.optimizers.buffer import ParameterGroup, Slots
from minirnn.optimizers.rmsprop import Adagrad, RMSProp
from minirnn.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Nadam",
    "Optimizer",
    "ParameterGroup",
    "RMSProp",
    "Slots",
    "WeightAverage",
]
