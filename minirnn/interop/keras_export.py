"""A minirnn model as layers of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from minirnn import layers as ours
from minirnn.core import Layer, dtype_of
from minirnn.interop.proof import ConversionError, base_of, named_chain
from minirnn.interop.weights import KERAS, KINDS, to_layout
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["MERGE_MODES", "built", "dtype_name", "pieces", "weights_of"]


def pieces(model: Layer) -> Iterator[tuple[str, Layer, Any]]:
    """Yield name, layer and Keras layer; a recurrent layer takes a last step behind it along."""
    chain = list(named_chain(model))
    k = 0
    while k < len(chain):
        name, layer = chain[k]
        after = chain[k + 1][1] if k + 1 < len(chain) else None
        if isinstance(layer, Recurrent | Bidirectional):
            last = _is_last(layer, after)
            twin = _recurrent_to_keras(layer, name, sequences=not last)
            yield name, Sequential([layer, after]) if last and after else layer, twin
            k += 1 + last
            continue
        base = base_of(layer, _TO_KERAS)
        if base is None:
            hint = ""
            if isinstance(layer, ours.LastStep | ours.LastState):
                hint = "; it has one only right behind a recurrent layer: return_sequences=False"
            raise ConversionError(f"to_keras: {name} has no counterpart in Keras{hint}")
        yield name, layer, _TO_KERAS[base](layer, dtype_name(layer, model))
        k += 1


def _is_last(layer: Layer, after: Layer | None) -> bool:
    """Whether what stands behind a recurrent layer is what Keras gives without sequences."""
    if isinstance(layer, Bidirectional):
        return isinstance(after, ours.LastState) and layer.merge == "concat"
    forwards = isinstance(layer, Recurrent) and not layer.reverse
    return isinstance(after, ours.LastState) or (isinstance(after, ours.LastStep) and forwards)


def dtype_name(layer: Layer, model: Layer) -> str:
    """Return the dtype of a layer, where it has parameters, else that of the model around it."""
    return str(dtype_of(layer) or dtype_of(model) or "float32")


def _recurrent_to_keras(layer: Any, name: str, *, sequences: bool) -> Any:
    if isinstance(layer, Bidirectional):
        if layer.forward_layer.hidden_size != layer.backward_layer.hidden_size:
            raise ConversionError(
                f"to_keras: {name} has no counterpart in Keras, whose two directions have the same "
                f"number of units"
            )
        one, two = (
            _one_direction(half, name, sequences=sequences)
            for half in (layer.forward_layer, layer.backward_layer)
        )
        mode = MERGE_MODES[layer.merge]
        return kl.Bidirectional(
            one, backward_layer=two, merge_mode=mode, dtype=dtype_name(layer, layer)
        )
    if layer.reverse and sequences:
        raise ConversionError(
            f"to_keras: reverse=True of {name} has no counterpart in Keras, whose go_backwards "
            f"returns the steps in reverse; with LastState behind it, or in a Bidirectional, it has"
        )
    return _one_direction(layer, name, sequences=sequences)


def _one_direction(layer: Recurrent, name: str, *, sequences: bool) -> Any:
    base = base_of(layer.cell, KINDS)
    if base is None:
        raise ConversionError(
            f"to_keras: {name} has no counterpart in Keras: {type(layer.cell).__name__} computes "
            f"something of its own"
        )
    if layer.stateful:
        raise ConversionError(
            f"to_keras: stateful=True of {name} is not converted: Keras needs the batch size for "
            f"it; set layer.stateful = False"
        )
    kind = KINDS[base]
    cell: Any = layer.cell
    options: dict[str, Any] = {}
    if kind == "rnn":
        options["activation"] = cell.activation
    elif kind == "gru":
        options["reset_after"] = cell.reset_after
    keras_class = {"rnn": kl.SimpleRNN, "lstm": kl.LSTM, "gru": kl.GRU}[kind]
    return keras_class(
        cell.hidden_size,
        return_sequences=sequences,
        go_backwards=layer.reverse,
        dtype=dtype_name(layer, layer),
        **options,
    )


def built(twins: list[Any], model: Layer) -> Any:
    """Return the Keras layers as a model for inputs of the size that ours has."""
    dtype = dtype_name(model, model)
    shape: tuple[int | None, ...] = (None, 3)
    for _, layer in model.named_layers():
        size = getattr(layer, "input_size", None) or getattr(layer, "size", None)
        if isinstance(layer, ours.Embedding):
            shape, dtype = (None,), "int32"
            break
        if isinstance(size, int):
            shape = (None, size)
            break
    twin = keras.Sequential([keras.Input(shape, dtype=dtype), *twins])
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
    kind = KINDS[base_of(cell, KINDS)]  # type: ignore[index]
    kernel, recurrent_kernel, *biases = to_layout(KERAS, kind, cell.state_dict())
    bias = np.stack(biases) if hasattr(cell, "bn") else biases[0]
    return [kernel, recurrent_kernel, bias]


MERGE_MODES = {"concat": "concat", "sum": "sum", "mean": "ave", "product": "mul"}


def _activation(name: str) -> Callable[[Any, str], Any]:
    return lambda layer, dtype: kl.Activation(name, dtype=dtype)


def _dropout(layer: Any, dtype: str) -> Any:
    keras_class = kl.SpatialDropout1D if layer.shared_over_time else kl.Dropout
    return keras_class(layer.rate, dtype=dtype)


_TO_KERAS: dict[type, Callable[[Any, str], Any]] = {
    ours.Dense: lambda layer, dtype: kl.Dense(layer.output_size, use_bias=layer.bias, dtype=dtype),
    ours.Embedding: lambda layer, dtype: kl.Embedding(*layer.W.shape, dtype=dtype),
    ours.LayerNorm: lambda layer, dtype: kl.LayerNormalization(epsilon=layer.epsilon, dtype=dtype),
    ours.Dropout: _dropout,
    ours.MeanOverTime: lambda layer, dtype: kl.GlobalAveragePooling1D(dtype=dtype),
    ours.LeakyReLU: lambda layer, dtype: kl.LeakyReLU(negative_slope=layer.slope, dtype=dtype),
    ours.ELU: lambda layer, dtype: kl.ELU(alpha=layer.alpha, dtype=dtype),
    ours.Softmax: _activation("softmax"),
    ours.LogSoftmax: _activation("log_softmax"),
    ours.Sigmoid: _activation("sigmoid"),
    ours.Tanh: _activation("tanh"),
    ours.ReLU: _activation("relu"),
    ours.SiLU: _activation("silu"),
    ours.Softplus: _activation("softplus"),
}
