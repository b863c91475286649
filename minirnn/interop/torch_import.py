"""A PyTorch module as minirnn layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop import torch_modules as modules
from minirnn.interop.proof import ConversionError, chained
from minirnn.interop.torch_graph import chain_of
from minirnn.interop.weights import TORCH, recurrent_layer
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["layers_of"]


def layers_of(module: Any, name: str) -> Iterator[Layer]:
    """Yield the layers of a module that is no chain; none for the identity."""
    kind = type(module)
    if nn.utils.parametrize.is_parametrized(module) or module._forward_pre_hooks:
        raise ConversionError(
            f"from_torch: {name} ({kind.__name__}) is parametrised or has a hook, which has no "
            f"counterpart; remove it first, as with nn.utils.parametrize.remove_parametrizations"
        )
    if kind in (nn.RNN, nn.LSTM, nn.GRU):
        yield from _recurrent_layers(module, name)
    elif kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        yield _own_recurrent(module).cell
    elif kind is modules.Both:
        (one,), (two,) = (
            list(layers_of(part, name)) for part in (module.forwards, module.backwards)
        )
        yield Bidirectional(one, two, merge=module.merge)  # type: ignore[arg-type]
    elif kind is modules.Residual:
        yield ours.Residual(_model_of(module.layer, name))
    elif kind is modules.Parallel:
        yield ours.Parallel([_model_of(part, name) for part in module.layers], merge=module.merge)
    elif kind is modules.Reversed:
        (layer,) = layers_of(module.layer, name)
        layer.reverse = True  # type: ignore[attr-defined]
        yield layer
    elif kind in _TO_MINIRNN:
        yield _TO_MINIRNN[kind](module, name)
    elif kind is not nn.Identity:
        raise ConversionError(f"from_torch: {name} ({kind.__name__}) has no counterpart in minirnn")


def _model_of(module: Any, name: str) -> Layer:
    """Return the layers of a module as one."""
    layers = [own for inner, link in chain_of(module, name) for own in layers_of(link, inner)]
    return chained(layers)


def _recurrent_layers(module: Any, name: str) -> Iterator[Layer]:
    if getattr(module, "proj_size", 0):
        raise ConversionError(
            f"from_torch: proj_size={module.proj_size} of {name} has no counterpart in minirnn"
        )
    for k in range(module.num_layers):
        if k and module.dropout:
            yield ours.Dropout(module.dropout)
        own = [
            _own_recurrent(module, f"_l{k}{suffix}", reverse=bool(suffix))
            for suffix in ("", "_reverse")[: 1 + module.bidirectional]
        ]
        yield Bidirectional(*own) if module.bidirectional else own[0]


def _own_recurrent(module: Any, suffix: str = "", *, reverse: bool = False) -> Recurrent:
    """Return our layer of one direction of one layer of a module, or of a cell's weights."""
    kind = type(module).__name__.removesuffix("Cell").lower()
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    arrays = [_array(getattr(module, name + suffix)).T for name in names]
    options = {"activation": module.nonlinearity} if kind == "rnn" else {}
    return recurrent_layer(TORCH, kind, *arrays, reverse=reverse, **options)


def _own_dense(module: Any, name: str) -> Layer:
    weight, bias = _array(module.weight), module.bias
    layer = ours.Dense(*weight.T.shape, bias=bias is not None, rng=0, dtype=weight.dtype)
    layer.load_state_dict({"W": weight.T} | ({} if bias is None else {"b": _array(bias)}))
    return layer


def _own_embedding(module: Any, name: str) -> Layer:
    if module.max_norm is not None:
        raise ConversionError(
            f"from_torch: max_norm={module.max_norm} of {name} has no counterpart in minirnn"
        )
    weight = _array(module.weight)
    layer = ours.Embedding(*weight.shape, rng=0, dtype=weight.dtype)
    layer.W.value = weight
    return layer


def _own_norm(module: Any, name: str) -> Layer:
    if len(module.normalized_shape) != 1 or module.weight is None:
        raise ConversionError(
            f"from_torch: {name} (LayerNorm) over several axes, or without weights, has no "
            f"counterpart in minirnn"
        )
    gain = _array(module.weight)
    layer = ours.LayerNorm(len(gain), epsilon=module.eps, dtype=gain.dtype)
    layer.gain.value = gain
    if module.bias is not None:
        layer.b.value = _array(module.bias)
    return layer


def _own_gelu(module: Any, name: str) -> Layer:
    if module.approximate != "tanh":
        raise ConversionError(
            f"from_torch: approximate={module.approximate!r} of {name} (GELU) has no counterpart "
            f"in minirnn, which has approximate='tanh'"
        )
    return ours.GELU()


def _own_softplus(module: Any, name: str) -> Layer:
    if module.beta != 1:
        raise ConversionError(
            f"from_torch: beta={module.beta} of {name} (Softplus) has no counterpart in minirnn"
        )
    return ours.Softplus()


def _own_last_state(module: Any, name: str) -> Layer:
    layer = ours.LastState()
    layer.directions = module.directions
    return layer


def _own_softmax(module: Any, name: str) -> Layer:
    if module.dim not in (-1, 2):
        raise ConversionError(
            f"from_torch: dim={module.dim} of {name} ({type(module).__name__}) has no counterpart "
            f"in minirnn, where it is over the last axis: write dim=-1"
        )
    return ours.Softmax() if type(module) is nn.Softmax else ours.LogSoftmax()


_TO_MINIRNN: dict[Any, Callable[[Any, str], Layer]] = {
    nn.Linear: _own_dense,
    nn.Embedding: _own_embedding,
    nn.Dropout: lambda module, name: ours.Dropout(module.p),
    modules.LastStep: lambda module, name: ours.LastStep(),
    nn.Softmax: _own_softmax,
    nn.Sigmoid: lambda module, name: ours.Sigmoid(),
    nn.Tanh: lambda module, name: ours.Tanh(),
    nn.ReLU: lambda module, name: ours.ReLU(),
    nn.LayerNorm: _own_norm,
    nn.LogSoftmax: _own_softmax,
    nn.LeakyReLU: lambda module, name: ours.LeakyReLU(module.negative_slope),
    nn.ELU: lambda module, name: ours.ELU(module.alpha),
    nn.GELU: _own_gelu,
    nn.SiLU: lambda module, name: ours.SiLU(),
    nn.Softplus: _own_softplus,
    modules.LastState: _own_last_state,
    modules.MeanOverTime: lambda module, name: ours.MeanOverTime(),
    modules.MaxOverTime: lambda module, name: ours.MaxOverTime(),
}


def _array(tensor: Any) -> Array:
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ConversionError(
            f"from_torch: the weights are {tensor.dtype}; minirnn has float32 and float64: convert "
            f"with module.float()"
        )
    array: Array = tensor.detach().cpu().numpy().copy()
    return array
