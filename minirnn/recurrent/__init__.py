"""A cell, run over time."""

from minirnn.recurrent.bidirectional import Bidirectional
from minirnn.recurrent.builtin import GRU, LSTM, RNN
from minirnn.recurrent.recurrent import Recurrent
from minirnn.recurrent.state_dropout import StateDropout

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional", "Recurrent", "StateDropout"]
