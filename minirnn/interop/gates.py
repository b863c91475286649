"""The order in which libraries lay out the gates of a recurrent layer, and the way between two.

========  ============  ==========
library   LSTM          GRU
========  ============  ==========
minirnn   i, f, o, g    r, z, n
PyTorch   i, f, g, o    r, z, n
Keras     i, f, g, o    z, r, n
ONNX      i, o, f, g    z, r, n
========  ============  ==========

Each library has its own letters; these are minirnn's: input, forget, output gate and candidate g;
reset, update gate and candidate n.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.typing import Array

__all__ = ["KERAS", "KINDS", "MINIRNN", "ONNX", "TORCH", "reorder"]

KINDS: dict[type, str] = {RNNCell: "rnn", LSTMCell: "lstm", GRUCell: "gru"}
MINIRNN = {"rnn": "h", "lstm": "ifog", "gru": "rzn"}
TORCH = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}
KERAS = {"rnn": "h", "lstm": "ifgo", "gru": "zrn"}
ONNX = {"rnn": "h", "lstm": "iofg", "gru": "zrn"}


def reorder(columns: Any, old: str, new: str) -> Array:
    """Return the blocks of the last axis, one a gate, in another order.

    Parameters
    ----------
    columns : array (..., gates * hidden)
    old, new : str
        The same letters, one a gate: the order that the blocks have, and the one wanted.

    Returns
    -------
    array (..., gates * hidden), a copy

    Raises
    ------
    ValueError
        If the last axis does not split into as many blocks of one size.

    Examples
    --------
    >>> reorder([1, 1, 2, 2, 3, 3, 4, 4], "ifog", "ifgo").tolist()
    [1, 1, 2, 2, 4, 4, 3, 3]
    """
    blocks = dict(zip(old, np.split(np.asarray(columns), len(old), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in new], axis=-1)
