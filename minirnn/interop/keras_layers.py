"""Which Keras layer is the counterpart of which layer, and the way from one to the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from minirnn import layers as ours
from minirnn.core import Layer, dtype_of
from minirnn.interop import weights
from minirnn.interop.counterparts import (
    ConversionError,
    Plain,
    base_of,
    first_size,
    named_chain,
    refuse,
    titled,
)
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

_KINDS = {"rnn": kl.SimpleRNN, "lstm": kl.LSTM, "gru": kl.GRU}
_MERGES = {"concat": "concat", "sum": "sum", "mean": "ave", "product": "mul"}
_ACTIVATIONS = {
    "softmax": ours.Softmax,
    "log_softmax": ours.LogSoftmax,
    "sigmoid": ours.Sigmoid,
    "tanh": ours.Tanh,
    "relu": ours.ReLU,
    "silu": ours.SiLU,
    "softplus": ours.Softplus,
}
_ACTIVATION_NAMES = {kind: name for name, kind in _ACTIVATIONS.items()}
_RELU: dict[str, tuple[Any, ...]] = {"max_value": (None,), "threshold": (0,)}
_PLAIN = (
    Plain(
        ours.MeanOverTime,
        kl.GlobalAveragePooling1D,
        fixed={"keepdims": (False,), "data_format": ("channels_last",)},
    ),
    Plain(ours.ReLU, kl.ReLU, fixed=_RELU | {"negative_slope": (0,)}),
    Plain(ours.LeakyReLU, kl.ReLU, {"slope": "negative_slope"}, _RELU),
    Plain(ours.LeakyReLU, kl.LeakyReLU, {"slope": "negative_slope"}),
    Plain(ours.ELU, kl.ELU, {"alpha": "alpha"}),
    Plain(ours.Softmax, kl.Softmax, fixed={"axis": (-1,)}),
    Plain(ours.Dropout, kl.Dropout, {"rate": "rate"}, {"noise_shape": (None,)}),
    Plain(ours.Dropout, kl.SpatialDropout1D, {"rate": "rate"}, own={"shared_over_time": True}),
)

# ---------------------------------------------------------------- to Keras


def pieces(model: Layer) -> Iterator[tuple[str, Layer, Any]]:
    """Yield name, layer and Keras layer; a recurrent layer takes a last step behind it along."""
    dtype = dtype_name(model)
    chain = pairwise([*named_chain(model), ("", model)])
    for (place, layer), (_, after) in chain:
        name = titled(place, layer)
        if isinstance(layer, Recurrent | Bidirectional):
            last = _is_last(layer, after)
            twin = _recurrent(layer, name, sequences=not last, dtype=dtype)
            yield name, Sequential([layer, after]) if last else layer, twin
            if last:
                next(chain)
        else:
            yield name, layer, _keras_layer(layer, name, dtype)


_not_there = partial(refuse, "to_keras", "Keras")


def _keras_layer(layer: Any, name: str, dtype: str) -> Any:
    base: Any = base_of(layer, [*_TO_KERAS, *_ACTIVATION_NAMES, *(row.ours for row in _PLAIN)])
    if base is None:
        last = isinstance(layer, ours.LastStep | ours.LastState)
        hint = "it has one only right behind a recurrent layer: return_sequences=False"
        _not_there(name, hint if last else "")
    if base in _TO_KERAS:
        return _TO_KERAS[base](layer, dtype)
    if base in _ACTIVATION_NAMES:
        return kl.Activation(_ACTIVATION_NAMES[base], dtype=dtype)
    *_, row = (row for row in _PLAIN if row.ours is base and not row.lacks(layer))
    return row.theirs(**row.keywords(layer), dtype=dtype)


_TO_KERAS: dict[type, Callable[[Any, str], Any]] = {
    ours.Dense: lambda layer, dtype: kl.Dense(layer.output_size, use_bias=layer.bias, dtype=dtype),
    ours.Embedding: lambda layer, dtype: kl.Embedding(*layer.W.shape, dtype=dtype),
    ours.LayerNorm: lambda layer, dtype: kl.LayerNormalization(epsilon=layer.epsilon, dtype=dtype),
}


def _is_last(layer: Layer, after: Layer) -> bool:
    """Whether what stands behind a recurrent layer is what Keras gives without sequences."""
    if isinstance(layer, Bidirectional):
        return isinstance(after, ours.LastState) and layer.merge == "concat"
    forwards = isinstance(layer, Recurrent) and not layer.reverse
    return isinstance(after, ours.LastState) or (isinstance(after, ours.LastStep) and forwards)


def dtype_name(model: Layer) -> str:
    """Return the dtype of a model; of one without parameters, that of its inputs."""
    return str(dtype_of(model) or "float32")


def _recurrent(layer: Any, name: str, *, sequences: bool, dtype: str) -> Any:
    options = {"return_sequences": sequences, "dtype": dtype}
    if isinstance(layer, Bidirectional):
        both = layer.forward_layer, layer.backward_layer
        if both[0].hidden_size != both[1].hidden_size:
            _not_there(name, "there both directions have the same number of units")
        one, two = (_one_direction(half, name, **options) for half in both)
        mode = _MERGES[layer.merge]
        return kl.Bidirectional(one, backward_layer=two, merge_mode=mode, dtype=dtype)
    if layer.reverse and sequences:
        _not_there(
            f"reverse=True of {name}",
            "go_backwards returns the steps in reverse; with LastState behind it, or in a "
            "Bidirectional, it has one",
        )
    return _one_direction(layer, name, **options)


def _one_direction(layer: Recurrent, name: str, **options: Any) -> Any:
    cell: Any = layer.cell
    kind = weights.kind_of(cell)
    if not kind:
        _not_there(name, f"{type(cell).__name__} computes something of its own")
    if layer.stateful:
        why = "Keras needs the batch size for that; set layer.stateful = False"
        _not_there(f"stateful=True of {name}", why)
    if kind == "rnn":
        options["activation"] = cell.activation
    elif kind == "gru":
        options["reset_after"] = cell.reset_after
    return _KINDS[kind](cell.hidden_size, go_backwards=layer.reverse, **options)


def built(twins: list[Any], model: Layer) -> Any:
    """Return the Keras layers as a model for inputs of the size that ours has."""
    size = first_size(model)
    tokens = isinstance(size, ours.Embedding)
    twin = keras.Sequential(
        [
            keras.Input(
                (None,) if tokens else (None, size),
                dtype="int32" if tokens else dtype_name(model),
            ),
            *twins,
        ]
    )
    twin.supports_masking = True
    return twin


def weights_of(layer: Layer) -> list[Array]:
    """Return a layer's weights in the order and layout of its Keras counterpart."""
    if isinstance(layer, Sequential):  # with the last step behind it, which has none
        return weights_of(layer[0])
    if isinstance(layer, Bidirectional):
        return weights_of(layer.forward_layer) + weights_of(layer.backward_layer)
    if not isinstance(layer, Recurrent):
        return [parameter.value for parameter in layer.parameters()]
    cell: Any = layer.cell
    arrays = cell.state_dict()
    *kernels, b, second = weights.to_layout(weights.KERAS, weights.kind_of(cell), arrays)
    return [*kernels, np.stack([b, second]) if hasattr(cell, "bn") else b]


# ---------------------------------------------------------------- from Keras


def links(model: Any) -> Iterator[Any]:
    """Yield the layers of a chain of layers, containers opened; not those of a user's own."""
    if not type(model).call.__module__.startswith("keras."):
        yield model
    elif isinstance(model, keras.Sequential):
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
            call, *again = layer._inbound_nodes
            (x, *others), options = call.arguments.args, call.arguments.kwargs
            if isinstance(x, list | tuple):
                _not_here(layer, "it takes several inputs")
            if again or x is not before:
                raise ConversionError(
                    f"from_keras: {model.name} is not one chain of layers at {layer.name}"
                )
            if others or options.get("initial_state") is not None:
                _not_here(layer, "it is given initial states")
            before = call.outputs[0]
            yield from links(layer)
        if len(model.outputs) != 1 or model.outputs[0] is not before:
            raise ConversionError(f"from_keras: {model.name} has several outputs")
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
    rows = [row for row in _PLAIN if row.theirs is kind]
    if rows:
        unlike = [row.unlike(vars(layer)) for row in rows]
        if all(unlike):
            _not_here(layer, unlike[-1])
        yield rows[unlike.index("")].layer(vars(layer))
    elif kind in _TO_MINIRNN:
        yield from _TO_MINIRNN[kind](layer)
    elif kind is not kl.Masking:
        _not_here(layer)


def _not_here(layer: Any, why: str = "") -> Any:
    refuse("from_keras", "minirnn", f"{layer.name} ({type(layer).__name__})", why)


def _own_recurrent(layer: Any) -> Iterator[Layer]:
    if layer.dropout:
        yield ours.Dropout(layer.dropout, shared_over_time=True)
    if layer.go_backwards and layer.return_sequences:
        _not_here(layer, "go_backwards with return_sequences: the steps come in reverse")
    own = _own_direction(layer)
    yield own
    if not layer.return_sequences:
        yield ours.LastState().follow(own)


def _own_bidirectional(layer: Any) -> Iterator[Layer]:
    both = layer.forward_layer, layer.backward_layer
    merges = {theirs: merge for merge, theirs in _MERGES.items()}
    if layer.merge_mode not in merges:
        _not_here(layer, f"merge_mode={layer.merge_mode!r}")
    if any(type(half) not in _KINDS.values() or half.dropout for half in both):
        _not_here(layer, "its layers are of other kinds, or have dropout")
    if both[0].go_backwards:
        _not_here(layer, "go_backwards of its forward layer")
    one, two = (_own_direction(half) for half in both)
    merge = merges[layer.merge_mode]
    if both[0].return_sequences or merge == "concat":
        own = Bidirectional(one, two, merge=merge)
        yield own
        if not both[0].return_sequences:
            yield ours.LastState().follow(own)
    else:
        ends = [Sequential([half, ours.LastState()]) for half in (one, two)]
        yield ours.Parallel(ends, merge=merge)


def _own_direction(layer: Any) -> Recurrent:
    kind = next(kind for kind, theirs in _KINDS.items() if type(layer) is theirs)
    activation = _activation(layer.activation)
    for name in ("return_state", "stateful", "recurrent_dropout"):
        if getattr(layer, name):
            _not_here(layer, f"{name}={getattr(layer, name)}")
    options: dict[str, Any] = {}
    if kind == "rnn":
        if activation not in ("tanh", "relu", "sigmoid"):
            _not_here(layer, f"activation={activation!r}")
        options["activation"] = activation
    elif (activation, _activation(layer.recurrent_activation)) != ("tanh", "sigmoid"):
        _not_here(layer, "activations other than tanh and sigmoid")
    if kind == "gru":
        options["reset_after"] = layer.reset_after
    kernel, recurrent_kernel, *bias = _arrays(layer)
    if bias and bias[0].ndim == 2:  # of a GRU with reset_after=True
        bias = list(bias[0])
    arrays = kernel, recurrent_kernel, *bias
    reverse = layer.go_backwards
    return weights.recurrent_layer(weights.KERAS, kind, *arrays, reverse=reverse, **options)


def _arrays(layer: Any) -> list[Array]:
    """Return the weights of a Keras layer, which have to be float32 or float64."""
    if getattr(layer, "lora_enabled", False):
        _not_here(layer, "its weights are those of LoRA, which get_weights does not add up")
    arrays: list[Array] = layer.get_weights()
    if arrays[0].dtype not in (np.float32, np.float64):
        _not_here(layer, f"weights of {arrays[0].dtype}")
    return arrays


def _own_dense(layer: Any) -> Iterator[Layer]:
    yield weights.dense(*_arrays(layer))
    yield from _own_activation(layer)


def _own_norm(layer: Any) -> Iterator[Layer]:
    rms = getattr(layer, "rms_scaling", False)
    if rms or not layer.scale or not layer.center or layer.axis not in (-1, [-1], [2], 2):
        _not_here(layer, "it has no mean, no gain, no bias, or another axis")
    gain, b = _arrays(layer)
    yield weights.layer_norm(gain, b, layer.epsilon)


def _own_activation(layer: Any) -> Iterator[Layer]:
    name = _activation(layer.activation)
    if name in _ACTIVATIONS:
        yield _ACTIVATIONS[name]()
    elif name != "linear":
        _not_here(layer, f"activation={name!r}")


def _activation(function: Any) -> str:
    """Return the name of Keras' function; of another, what tells it."""
    name = getattr(function, "__name__", "")
    return name if getattr(keras.activations, name, None) is function else repr(function)


def _own_step(layer: Any) -> Iterator[Layer]:
    """Return the layer that stands in a TimeDistributed: one that treats each step alike."""
    if type(layer.layer) not in (kl.Dense, kl.LayerNormalization, kl.Activation):
        _not_here(layer, f"of {type(layer.layer).__name__}")
    return layers_of(layer.layer)


_TO_MINIRNN: dict[Any, Callable[[Any], Iterator[Layer]]] = {
    **dict.fromkeys(_KINDS.values(), _own_recurrent),
    kl.Bidirectional: _own_bidirectional,
    kl.TimeDistributed: _own_step,
    kl.Dense: _own_dense,
    kl.Embedding: lambda layer: iter([weights.embedding(*_arrays(layer))]),
    kl.LayerNormalization: _own_norm,
    kl.Activation: _own_activation,
}
