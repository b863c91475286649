"""One time step each: the protocol, and the three built-in cells beside their equations."""

from minirnn.cells.cell import Cell
from minirnn.cells.gru import GRUCell
from minirnn.cells.lstm import LSTMCell
from minirnn.cells.rnn import RNNCell

__all__ = ["Cell", "GRUCell", "LSTMCell", "RNNCell"]
