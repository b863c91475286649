"""RNN, LSTM and GRU: the time loop over the three built-in cells."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.rnn import ACTIVATIONS
from minirnn.recurrent.recurrent import Recurrent
from minirnn.typing import RandomSource


class RNN(Recurrent):
    """A layer of simple recurrent units: `Recurrent` over an `RNNCell`.

    ``h_t = activation(x_t Wx + h_{t-1} Wh + b)``; the output at ``t`` is ``h_t``.

    Parameters
    ----------
    input_size, hidden_size : int
    activation : "tanh", "relu" or "sigmoid"
    stateful, reverse : bool
    engine : "auto", "off" or "require"
        These three as in `Recurrent`.
    rng : None, int or numpy.random.Generator
    dtype : float32 or float64

    Examples
    --------
    >>> import numpy as np
    >>> RNN(3, 4, rng=0).forward(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    cell: RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "tanh",
        stateful: bool = False,
        reverse: bool = False,
        engine: str = "auto",
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        cell = RNNCell(input_size, hidden_size, activation=activation, rng=rng, dtype=dtype)
        super().__init__(cell, stateful=stateful, reverse=reverse, engine=engine)

    @property
    def activation(self) -> str:
        """That of the cell; it may be changed."""
        return self.cell.activation

    @activation.setter
    def activation(self, name: str) -> None:
        self.cell.activation = checks.choice(self, "activation", name, tuple(ACTIVATIONS))


class LSTM(Recurrent):
    """A layer of long short-term memory: `Recurrent` over an `LSTMCell`.

    For the equations see `LSTMCell`; the output at ``t`` is ``h_t``, the state ``(h, c)``.

    Parameters
    ----------
    input_size, hidden_size : int
    forget_bias : float
        Initial bias of the forget gate.
    stateful, reverse : bool
    engine : "auto", "off" or "require"
        These three as in `Recurrent`.
    rng : None, int or numpy.random.Generator
    dtype : float32 or float64

    Examples
    --------
    >>> import numpy as np
    >>> layer = LSTM(3, 4, rng=0)
    >>> layer.forward(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    >>> h, c = layer.state
    """

    cell: LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        stateful: bool = False,
        reverse: bool = False,
        engine: str = "auto",
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        cell = LSTMCell(input_size, hidden_size, forget_bias=forget_bias, rng=rng, dtype=dtype)
        super().__init__(cell, stateful=stateful, reverse=reverse, engine=engine)

    forget_bias = property(attrgetter("cell.forget_bias"), doc="Initial bias of the forget gate.")


class GRU(Recurrent):
    """A layer of gated recurrent units: `Recurrent` over a `GRUCell`.

    The equations of both variants stand in `GRUCell`; the output at ``t`` is ``h_t``.

    Parameters
    ----------
    input_size, hidden_size : int
    reset_after : bool
        True for the variant of PyTorch, cuDNN and Keras; False for the one first published.
    stateful, reverse : bool
    engine : "auto", "off" or "require"
        These three as in `Recurrent`.
    rng : None, int or numpy.random.Generator
    dtype : float32 or float64

    Examples
    --------
    >>> import numpy as np
    >>> GRU(3, 4, rng=0).forward(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    cell: GRUCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reset_after: bool = True,
        stateful: bool = False,
        reverse: bool = False,
        engine: str = "auto",
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        cell = GRUCell(input_size, hidden_size, reset_after=reset_after, rng=rng, dtype=dtype)
        super().__init__(cell, stateful=stateful, reverse=reverse, engine=engine)

    reset_after = property(attrgetter("cell.reset_after"), doc="That of the cell.")
