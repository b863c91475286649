"""Layers that do not recur over time."""

from minirnn.layers.activations import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from minirnn.layers.dense import Dense
from minirnn.layers.dropout import Dropout
from minirnn.layers.embedding import Embedding
from minirnn.layers.last_state import LastState
from minirnn.layers.parallel import Parallel
from minirnn.layers.pooling import LastStep, MaxOverTime, MeanOverTime
from minirnn.layers.residual import Residual

__all__ = [
    "Dense",
    "Dropout",
    "Embedding",
    "LastState",
    "LastStep",
    "LogSoftmax",
    "MaxOverTime",
    "MeanOverTime",
    "Parallel",
    "ReLU",
    "Residual",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
