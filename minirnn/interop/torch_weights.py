"""The weights of a recurrent cell in PyTorch's layout, and back. Arrays only: needs no PyTorch.

A weight there is the transpose of ours, with an LSTM's gates in another order. PyTorch has two
biases, `bias_ih` and `bias_hh`, that act as their sum, which is our `b`. The GRU's candidate is the
exception: there `bias_hh` stays within the product with the reset gate, and is our `bn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn.interop.gates import MINIRNN, TORCH, reorder
from minirnn.typing import Array

__all__ = ["from_torch_layout", "to_torch_layout"]


def to_torch_layout(kind: str, weights: Mapping[str, Any]) -> dict[str, Array]:
    """Return ``weight_ih, weight_hh, bias_ih, bias_hh`` of a cell's ``Wx, Wh, b`` and ``bn``.

    Parameters
    ----------
    kind : "rnn", "lstm" or "gru"
    weights : arrays by name
        ``Wx (input, gates * hidden)``, ``Wh (hidden, gates * hidden)``, ``b (gates * hidden,)``,
        and ``bn (hidden,)`` for a GRU.

    Examples
    --------
    >>> import numpy as np
    >>> ours = {"Wx": np.ones((3, 8)), "Wh": np.ones((2, 8)), "b": np.arange(8)}
    >>> theirs = to_torch_layout("lstm", ours)
    >>> theirs["weight_ih"].shape, theirs["bias_ih"].tolist()
    ((8, 3), [0, 1, 2, 3, 6, 7, 4, 5])
    """
    gates = MINIRNN[kind], TORCH[kind]
    bias_ih = reorder(weights["b"], *gates)
    bias_hh = np.zeros_like(bias_ih)
    if kind == "gru":
        bias_hh[-len(weights["bn"]) :] = weights["bn"]
    return {
        "weight_ih": np.ascontiguousarray(reorder(weights["Wx"], *gates).T),
        "weight_hh": np.ascontiguousarray(reorder(weights["Wh"], *gates).T),
        "bias_ih": bias_ih,
        "bias_hh": bias_hh,
    }


def from_torch_layout(
    kind: str, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None
) -> dict[str, Array]:
    """Return ``Wx, Wh, b``, and ``bn`` for a GRU, of PyTorch's arrays; no bias counts as zeros."""
    weight_ih, weight_hh = np.asarray(weight_ih), np.asarray(weight_hh)
    none = np.zeros(len(weight_ih), weight_ih.dtype)
    bias_ih = none if bias_ih is None else np.asarray(bias_ih)
    bias_hh = none if bias_hh is None else np.array(bias_hh)
    found = {}
    if kind == "gru":
        candidate = slice(-weight_hh.shape[1], None)
        found["bn"] = bias_hh[candidate].copy()
        bias_hh[candidate] = 0
    gates = TORCH[kind], MINIRNN[kind]
    return {
        "Wx": reorder(weight_ih.T, *gates),
        "Wh": reorder(weight_hh.T, *gates),
        "b": reorder(bias_ih + bias_hh, *gates),
    } | found
