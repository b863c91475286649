"""A minirnn model as a module of ordinary PyTorch layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from minirnn import layers as ours
from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.interop import torch_modules as modules
from minirnn.interop.proof import ConversionError, base_of
from minirnn.interop.weights import KINDS, to_torch_layout
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["module_of"]


def module_of(model: Layer, name: str) -> Any:
    """Return the module of a layer; an error names the layer by `name`."""
    base = base_of(model, _TO_TORCH)
    where = name or type(model).__name__
    if base is None:
        raise ConversionError(f"to_torch: {where} has no counterpart in PyTorch")
    return _TO_TORCH[base](model, where)


def _chain(model: Any, name: str) -> Any:
    return modules.Chain(
        *(
            module_of(layer, f"{type(layer).__name__} (layer {k} of {name})")
            for k, layer in enumerate(model)
        )
    )


def _parallel(model: Any, name: str) -> Any:
    parts = [
        module_of(layer, f"{type(layer).__name__} (layer {k} of {name})")
        for k, layer in enumerate(model.layers)
    ]
    return modules.Parallel(parts, model.merge)


def _recurrent(model: Any, name: str) -> Any:
    cell = model.cell
    if model.stateful:
        raise ConversionError(
            f"to_torch: stateful=True of {name} has no counterpart in PyTorch: set "
            f"layer.stateful = False, and hand the module its states from call to call"
        )
    kind, options = _kind_of(cell, name)
    module = _blank(
        _LAYERS[kind], cell.input_size, cell.hidden_size, cell, batch_first=True, **options
    )
    _fill(module, _rows(kind, cell), suffix="_l0")
    return modules.Reversed(module) if model.reverse else module


def _bidirectional(model: Any, name: str) -> Any:
    one, two = model.forward_layer, model.backward_layer
    forwards = _recurrent(one, f"{name}, forward_layer")
    backwards = _recurrent(two, f"{name}, backward_layer").layer
    alike = one.hidden_size == two.hidden_size and type(forwards) is type(backwards)
    kind, options = _kind_of(one.cell, name)
    if not alike or options != _kind_of(two.cell, name)[1] or model.merge != "concat":
        return modules.Both(forwards, backwards, model.merge)
    options |= {"batch_first": True, "bidirectional": True}
    module = _blank(_LAYERS[kind], one.input_size, one.hidden_size, one.cell, **options)
    _fill(module, _rows(kind, one.cell), suffix="_l0")
    _fill(module, _rows(kind, two.cell), suffix="_l0_reverse")
    return module


def _cell(cell: Any, name: str) -> Any:
    kind, options = _kind_of(cell, name)
    module = _blank(_CELLS[kind], cell.input_size, cell.hidden_size, cell, **options)
    _fill(module, _rows(kind, cell))
    return module


def _kind_of(cell: Cell, name: str) -> tuple[str, dict[str, Any]]:
    """Return "rnn", "lstm" or "gru", and the keywords of PyTorch's module."""
    base = base_of(cell, KINDS)
    if base is None:
        raise ConversionError(
            f"to_torch: {name} has no counterpart in PyTorch: {type(cell).__name__} computes "
            f"something of its own"
        )
    activation = getattr(cell, "activation", "tanh")
    if activation not in ("tanh", "relu"):
        raise ConversionError(
            f"to_torch: activation={activation!r} of {name} has no counterpart in PyTorch, which "
            f"has tanh and relu"
        )
    if not getattr(cell, "reset_after", True):
        raise ConversionError(
            f"to_torch: reset_after=False of {name} has no counterpart in PyTorch, whose reset "
            f"gate acts after the product"
        )
    kind = KINDS[base]
    return kind, {"nonlinearity": activation} if kind == "rnn" else {}


def _rows(kind: str, cell: Cell) -> dict[str, Array]:
    return to_torch_layout(kind, cell.state_dict())


def _dense(model: Any, name: str) -> Any:
    module = _blank(nn.Linear, model.input_size, model.output_size, model, bias=model.bias)
    return _fill(module, {"weight": model.W.value.T} | _bias("bias", model.b))


def _embedding(model: Any, name: str) -> Any:
    module = _blank(nn.Embedding, model.vocabulary_size, model.output_size, model)
    return _fill(module, {"weight": model.W.value})


def _layer_norm(model: Any, name: str) -> Any:
    dtype = torch.float64 if dtype_of(model) == np.float64 else torch.float32
    module = nn.LayerNorm(model.size, eps=model.epsilon, dtype=dtype)
    return _fill(module, {"weight": model.gain.value, "bias": model.b.value})


def _dropout(model: Any, name: str) -> Any:
    if model.shared_over_time:
        raise ConversionError(
            f"to_torch: shared_over_time=True of {name} has no counterpart in PyTorch"
        )
    return nn.Dropout(model.rate)


def _bias(name: str, parameter: Any) -> dict[str, Array]:
    return {} if parameter is None else {name: parameter.value}


def _blank(kind: Any, one: int, two: int, like: Layer, **options: Any) -> Any:
    """Make a module without initial weights, so without drawing from the global generator."""
    dtype = torch.float64 if dtype_of(like) == np.float64 else torch.float32
    return kind(one, two, dtype=dtype, device="meta", **options).to_empty(device="cpu")


def _fill(module: Any, arrays: Mapping[str, Array], suffix: str = "") -> Any:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name + suffix).copy_(torch.tensor(array))
    return module


_LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
_TO_TORCH: dict[type, Callable[[Any, str], Any]] = {
    Sequential: _chain,
    ours.Residual: lambda model, name: modules.Residual(module_of(model.layer, f"{name}, layer")),
    ours.Parallel: _parallel,
    Recurrent: _recurrent,
    Bidirectional: _bidirectional,
    RNNCell: _cell,
    LSTMCell: _cell,
    GRUCell: _cell,
    ours.Dense: _dense,
    ours.Embedding: _embedding,
    ours.LayerNorm: _layer_norm,
    ours.Dropout: _dropout,
    ours.LastStep: lambda model, name: modules.LastStep(),
    ours.LastState: lambda model, name: modules.LastState(model.directions),
    ours.MeanOverTime: lambda model, name: modules.MeanOverTime(),
    ours.MaxOverTime: lambda model, name: modules.MaxOverTime(),
    ours.Softmax: lambda model, name: nn.Softmax(dim=-1),
    ours.Sigmoid: lambda model, name: nn.Sigmoid(),
    ours.Tanh: lambda model, name: nn.Tanh(),
    ours.ReLU: lambda model, name: nn.ReLU(),
    ours.LogSoftmax: lambda model, name: nn.LogSoftmax(dim=-1),
    ours.LeakyReLU: lambda model, name: nn.LeakyReLU(model.slope),
    ours.ELU: lambda model, name: nn.ELU(model.alpha),
    ours.GELU: lambda model, name: nn.GELU(approximate="tanh"),
    ours.SiLU: lambda model, name: nn.SiLU(),
    ours.Softplus: lambda model, name: nn.Softplus(threshold=50),
}
