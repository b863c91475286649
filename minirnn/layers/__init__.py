"""The layers without time of their own."""

from minirnn.layers.activations import ReLU, Sigmoid, Softmax, Tanh
from minirnn.layers.dense import Dense
from minirnn.layers.dropout import Dropout
from minirnn.layers.embedding import Embedding
from minirnn.layers.pooling import LastStep

__all__ = ["Dense", "Dropout", "Embedding", "LastStep", "ReLU", "Sigmoid", "Softmax", "Tanh"]
