"""A cell, run over time."""

from typing import TYPE_CHECKING

from minirnn.lazy import lazy
from minirnn.recurrent.bidirectional import Bidirectional
from minirnn.recurrent.builtin import GRU, LSTM, RNN
from minirnn.recurrent.recurrent import Recurrent

if TYPE_CHECKING:
    from minirnn.recurrent.state_dropout import StateDropout

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional", "Recurrent", "StateDropout"]

__getattr__ = lazy(__name__, {"StateDropout": "minirnn.recurrent.state_dropout"})
