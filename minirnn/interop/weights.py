"""Arrays to layers, and the weights of recurrent layers in each library's layout and back.

The libraries lay out the gates in different orders:

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

The others have two biases that act as their sum, which is our ``b``. The candidate of a GRU with
``reset_after=True`` is the exception: its second bias stays within the product with the reset gate,
and is our ``bn``. PyTorch and ONNX keep the transposes of our weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.interop.counterparts import base_of
from minirnn.layers import Dense, Embedding, LayerNorm
from minirnn.recurrent import GRU, LSTM, RNN, Recurrent
from minirnn.typing import Array

_Filled = TypeVar("_Filled", bound=Layer)
_KINDS: dict[type, str] = {RNNCell: "rnn", LSTMCell: "lstm", GRUCell: "gru"}
MINIRNN = {"rnn": "h", "lstm": "ifog", "gru": "rzn"}
TORCH = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}
KERAS = {"rnn": "h", "lstm": "ifgo", "gru": "zrn"}
ONNX = {"rnn": "h", "lstm": "iofg", "gru": "zrn"}


def _reordered(columns: Any, old: str, new: str) -> Array:
    """Return the blocks of the last axis, one a gate, in another order of these letters."""
    blocks = dict(zip(old, np.split(np.asarray(columns), len(old), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in new], axis=-1)


def kind_of(cell: Cell) -> str:
    """Return "rnn", "lstm" or "gru"; "" for a cell that computes something of its own."""
    base: Any = base_of(cell, _KINDS)
    same = base is not None and type(cell).initial_state is base.initial_state
    return _KINDS[base] if same else ""


def to_layout(
    library: Mapping[str, str], kind: str, weights: Mapping[str, Any]
) -> tuple[Array, Array, Array, Array]:
    """Return a cell's ``Wx``, ``Wh`` and two biases, their gates in the order of a library.

    Weights come by name: ``Wx``, ``Wh`` and ``b``, and ``bn`` of a GRU with ``reset_after=True``.
    """
    order = MINIRNN[kind], library[kind]
    second = np.zeros_like(weights["b"])
    if "bn" in weights:
        second[-len(weights["bn"]) :] = weights["bn"]  # the candidate is the last in all libraries
    found = (weights["Wx"], weights["Wh"], weights["b"], second)
    Wx, Wh, b, second = (_reordered(array, *order) for array in found)
    return Wx, Wh, b, second


def from_layout(
    library: Mapping[str, str],
    kind: str,
    Wx: Any,
    Wh: Any,
    b: Any = None,
    second: Any = None,
    *,
    reset_after: bool = True,
) -> dict[str, Array]:
    """Return ``Wx, Wh, b``, and ``bn`` for a GRU with `reset_after`: `to_layout` undone.

    No bias counts as zeros.
    """
    Wx, Wh = np.asarray(Wx), np.asarray(Wh)
    none = np.zeros(Wx.shape[1], Wx.dtype)
    b = none if b is None else np.asarray(b)
    second = none if second is None else np.array(second)
    found = {}
    if kind == "gru" and reset_after:
        candidate = slice(-len(Wh), None)
        found["bn"] = second[candidate].copy()
        second[candidate] = 0
    order = library[kind], MINIRNN[kind]
    arrays = {"Wx": Wx, "Wh": Wh, "b": b + second}
    return {name: _reordered(array, *order) for name, array in arrays.items()} | found


def recurrent_layer(
    library: Mapping[str, str], kind: str, *arrays: Any, reverse: bool = False, **options: Any
) -> Recurrent:
    """Return our layer of a library's arrays, as `from_layout` takes them, and cell options."""
    Wx, Wh = arrays[:2]
    layer_class: Any = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[kind]
    layer: Recurrent = layer_class(
        len(Wx), len(Wh), reverse=reverse, rng=0, dtype=Wx.dtype, **options
    )
    reset_after = options.get("reset_after", True)
    layer.cell.load_state_dict(from_layout(library, kind, *arrays, reset_after=reset_after))
    return layer


def dense(W: Array, b: Array | None = None) -> Dense:
    """Return our layer of ``W (input, output)`` and ``b (output,)``, None for no bias."""
    return _filled(Dense(*W.shape, bias=b is not None, rng=0, dtype=W.dtype), W, b)


def embedding(W: Array) -> Embedding:
    """Return our layer of the table ``(vocabulary, output)``."""
    return _filled(Embedding(*W.shape, rng=0, dtype=W.dtype), W)


def layer_norm(gain: Array, b: Array | None, epsilon: float) -> LayerNorm:
    """Return our layer of ``gain, b (size,)``; no bias counts as zeros."""
    b = np.zeros_like(gain) if b is None else b
    return _filled(LayerNorm(len(gain), epsilon=epsilon, dtype=gain.dtype), gain, b)


def _filled(layer: _Filled, *values: Any) -> _Filled:
    for parameter, value in zip(layer.parameters(), values, strict=False):
        parameter.value = value
    return layer


def to_torch_layout(kind: str, weights: Mapping[str, Any]) -> dict[str, Array]:
    """Return PyTorch's ``weight_ih, weight_hh, bias_ih, bias_hh`` of a cell's weights."""
    Wx, Wh, b, second = to_layout(TORCH, kind, weights)
    rows = {"weight_ih": np.ascontiguousarray(Wx.T), "weight_hh": np.ascontiguousarray(Wh.T)}
    return rows | {"bias_ih": b, "bias_hh": second}
