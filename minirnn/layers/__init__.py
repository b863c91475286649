"""The layers that models are made of."""

from minirnn.layers.activations import ReLU, Sigmoid, Softmax, Tanh
from minirnn.layers.bidirectional import Bidirectional
from minirnn.layers.cell import Cell
from minirnn.layers.cells import GRUCell, LSTMCell, RNNCell
from minirnn.layers.dense import Dense
from minirnn.layers.dropout import Dropout
from minirnn.layers.embedding import Embedding
from minirnn.layers.pooling import LastStep
from minirnn.layers.recurrent import Recurrent
from minirnn.layers.standard import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "Cell",
    "Dense",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "LastStep",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
