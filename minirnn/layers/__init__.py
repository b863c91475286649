"""Layers that do not recur over time."""

from minirnn.layers.activations import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from minirnn.layers.attention import Attention
from minirnn.layers.dense import Dense
from minirnn.layers.dropout import Dropout
from minirnn.layers.embedding import Embedding
from minirnn.layers.last_state import LastState
from minirnn.layers.normalization import LayerNorm
from minirnn.layers.parallel import Parallel
from minirnn.layers.pooling import LastStep, MaxOverTime, MeanOverTime
from minirnn.layers.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus
from minirnn.layers.residual import Residual

__all__ = [
    "ELU",
    "GELU",
    "Attention",
    "Dense",
    "Dropout",
    "Embedding",
    "LastState",
    "LastStep",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxOverTime",
    "MeanOverTime",
    "Parallel",
    "ReLU",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
