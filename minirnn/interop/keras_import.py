"""Layers of Keras as minirnn layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop.keras_export import MERGE_MODES
from minirnn.interop.proof import ConversionError
from minirnn.interop.weights import KERAS, recurrent_layer
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["layers_of", "links"]


def links(model: Any) -> Iterator[Any]:
    """Yield the layers of a chain of layers, containers opened."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            yield from links(layer)
    elif isinstance(model, keras.Model):
        before = None
        for layer in model.layers:
            if isinstance(layer, kl.InputLayer):
                if before is not None:
                    raise ConversionError(f"from_keras: {model.name} has several inputs")
                before = layer.output
                continue
            try:
                inputs = layer.input  # behind it may stand a mask that another layer made
                chained = (inputs[0] if isinstance(inputs, list) else inputs) is before
                before = layer.output
            except AttributeError:  # used more than once, or not built
                chained = False
            if not chained:
                raise ConversionError(
                    f"from_keras: {model.name} is not one chain of layers at {layer.name}"
                )
            yield from links(layer)
    elif not isinstance(model, kl.InputLayer):
        yield model


def layers_of(layer: Any) -> Iterator[Layer]:
    """Yield our layers of one of Keras'."""
    kind = type(layer)
    if kind is kl.Masking or (kind is kl.Embedding and layer.mask_zero):
        warnings.warn(
            f"from_keras: {layer.name} makes a mask in Keras; hand it to the model here, as mask=",
            stacklevel=3,
        )
    if kind is kl.Masking:
        return
    if kind is kl.TimeDistributed:
        yield from layers_of(layer.layer)
    elif kind in (kl.SimpleRNN, kl.LSTM, kl.GRU):
        if layer.dropout:
            yield ours.Dropout(layer.dropout, shared_over_time=True)
        own = _own_recurrent(layer, layer.get_weights())
        if layer.go_backwards and layer.return_sequences:
            _refuse(layer, "go_backwards with return_sequences: the steps come in reverse")
        yield own
        if not layer.return_sequences:
            yield ours.LastState().follow(own)
    elif kind is kl.Bidirectional:
        yield from _own_bidirectional(layer)
    elif kind in _TO_MINIRNN:
        yield from _TO_MINIRNN[kind](layer)
    else:
        _refuse(layer)


def _refuse(layer: Any, why: str = "") -> None:
    raise ConversionError(
        f"from_keras: {layer.name} ({type(layer).__name__}) has no counterpart in minirnn"
        + (f": {why}" if why else "")
    )


def _own_bidirectional(layer: Any) -> Iterator[Layer]:
    both = layer.forward_layer, layer.backward_layer
    merge = {theirs: ours for ours, theirs in MERGE_MODES.items()}.get(layer.merge_mode)
    if merge is None:
        _refuse(layer, f"merge_mode={layer.merge_mode!r}")
    if any(type(half) not in (kl.SimpleRNN, kl.LSTM, kl.GRU) or half.dropout for half in both):
        _refuse(layer, "its layers are of other kinds, or have dropout")
    one, two = (_own_recurrent(half, half.get_weights()) for half in both)
    if merge != "concat" and not both[0].return_sequences:
        ends = [Sequential([half, ours.LastState().follow(half)]) for half in (one, two)]
        yield ours.Parallel(ends, merge=merge or "")
        return
    own = Bidirectional(one, two, merge=merge or "")
    yield own
    if not both[0].return_sequences:
        yield ours.LastState().follow(own)


def _own_recurrent(layer: Any, weights: list[Array]) -> Recurrent:
    kind = {kl.SimpleRNN: "rnn", kl.LSTM: "lstm", kl.GRU: "gru"}[type(layer)]
    activation = layer.activation.__name__
    for name in ("return_state", "stateful", "recurrent_dropout"):
        if getattr(layer, name):
            _refuse(layer, f"{name}={getattr(layer, name)}")
    options: dict[str, Any] = {}
    if kind == "rnn":
        if activation not in ("tanh", "relu", "sigmoid"):
            _refuse(layer, f"activation={activation!r}")
        options["activation"] = activation
    elif (activation, layer.recurrent_activation.__name__) != ("tanh", "sigmoid"):
        _refuse(layer, "activations other than tanh and sigmoid")
    if kind == "gru":
        options["reset_after"] = layer.reset_after
    kernel, recurrent_kernel, *biases = weights
    _float(layer, kernel)
    if biases and biases[0].ndim == 2:  # of a GRU with reset_after=True
        biases = list(biases[0])
    arrays = kernel, recurrent_kernel, *biases
    return recurrent_layer(KERAS, kind, *arrays, reverse=layer.go_backwards, **options)


def _float(layer: Any, array: Array) -> Any:
    if array.dtype not in (np.float32, np.float64):
        _refuse(layer, f"weights of {array.dtype}")
    return array.dtype


def _own_dense(layer: Any) -> Iterator[Layer]:
    kernel, *bias = layer.get_weights()
    own = ours.Dense(*kernel.shape, bias=bool(bias), rng=0, dtype=_float(layer, kernel))
    own.load_state_dict({"W": kernel} | ({"b": bias[0]} if bias else {}))
    yield own
    yield from _own_activation(layer)


def _own_embedding(layer: Any) -> Iterator[Layer]:
    (table,) = layer.get_weights()
    own = ours.Embedding(*table.shape, rng=0, dtype=_float(layer, table))
    own.W.value = table
    yield own


def _own_norm(layer: Any) -> Iterator[Layer]:
    if not layer.scale or not layer.center or layer.axis not in (-1, [-1], [2], 2):
        _refuse(layer, "it has no gain, no bias, or another axis")
    gain, bias = layer.get_weights()
    own = ours.LayerNorm(len(gain), epsilon=layer.epsilon, dtype=_float(layer, gain))
    own.load_state_dict({"gain": gain, "b": bias})
    yield own


def _own_activation(layer: Any) -> Iterator[Layer]:
    name = layer.activation.__name__
    if name not in _ACTIVATIONS:
        _refuse(layer, f"activation={name!r}")
    if name != "linear":
        yield _ACTIVATIONS[name]()


def _own_relu(layer: Any) -> Iterator[Layer]:
    if layer.max_value is not None or layer.threshold:
        _refuse(layer, "a maximum or a threshold")
    yield ours.LeakyReLU(float(layer.negative_slope)) if layer.negative_slope else ours.ReLU()


def _own_softmax(layer: Any) -> Iterator[Layer]:
    if layer.axis != -1:
        _refuse(layer, f"axis={layer.axis}")
    yield ours.Softmax()


_ACTIVATIONS: dict[str, Any] = {
    "linear": None,
    "softmax": ours.Softmax,
    "log_softmax": ours.LogSoftmax,
    "sigmoid": ours.Sigmoid,
    "tanh": ours.Tanh,
    "relu": ours.ReLU,
    "silu": ours.SiLU,
    "softplus": ours.Softplus,
}
_TO_MINIRNN: dict[Any, Callable[[Any], Iterator[Layer]]] = {
    kl.Dense: _own_dense,
    kl.Embedding: _own_embedding,
    kl.LayerNormalization: _own_norm,
    kl.Activation: _own_activation,
    kl.ReLU: _own_relu,
    kl.Softmax: _own_softmax,
    kl.LeakyReLU: lambda layer: iter([ours.LeakyReLU(float(layer.negative_slope))]),
    kl.ELU: lambda layer: iter([ours.ELU(float(layer.alpha))]),
    kl.Dropout: lambda layer: iter([ours.Dropout(layer.rate)]),
    kl.SpatialDropout1D: lambda layer: iter([ours.Dropout(layer.rate, shared_over_time=True)]),
    kl.GlobalAveragePooling1D: lambda layer: iter([ours.MeanOverTime()]),
}
