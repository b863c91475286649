"""Keras 3, on any of its backends: models there and back, and weights alone.

Each conversion runs both sides on random input of several shapes, with masks, prints the largest
difference, and raises `ConversionError` if it is above 1e-5 in float32 or 1e-10 in float64.
``verify=False`` leaves that out. With some backends, PyTorch among them, Keras multiplies float64
numbers in float32; the comparison is one in float32 then.

Needs Keras and one of its backends, which the variable ``KERAS_BACKEND`` chooses:
``pip install ".[keras]"`` in the folder of README.md, and ``".[torch]"``, say.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, dtype_of
from minirnn.interop.gates import KERAS, KINDS, MINIRNN, reorder
from minirnn.interop.proof import (
    ConversionError,
    Side,
    base_of,
    missing,
    named_chain,
    prove,
)
from minirnn.layers import (
    Dense,
    Dropout,
    Embedding,
    LastState,
    LastStep,
    LogSoftmax,
    MeanOverTime,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from minirnn.layers.normalization import LayerNorm
from minirnn.layers.parallel import Parallel
from minirnn.layers.rectifiers import ELU, LeakyReLU, SiLU, Softplus
from minirnn.models.sequential import Sequential
from minirnn.recurrent import GRU, LSTM, RNN, Bidirectional, Recurrent
from minirnn.typing import Array, Mask

try:
    import keras
    from keras import layers as kl
except ImportError as error:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow, unless KERAS_BACKEND=torch is set")
    raise missing(f"Keras with its backend ({backend})", "keras") from error

__all__ = ["ConversionError", "from_keras", "load_keras", "to_keras"]


def to_keras(model: Layer, *, mask_zero: bool = False, verify: bool = True) -> Any:
    """Return a `keras.Sequential` of ordinary Keras layers with the same numbers.

    A mask is handed to it as ``keras_model(x, mask=mask)``; where an `Embedding` comes first, Keras
    makes the mask itself, with ``mask_zero=True``, where the token is 0. A `LastStep` or
    `LastState` right after a recurrent layer becomes its ``return_sequences=False``.

    Parameters
    ----------
    model : Layer
        It stays as it is.
    mask_zero : bool
        Whether token 0 means padding in the Keras model.
    verify : bool
        Compare both sides, and print the largest difference.

    Raises
    ------
    ConversionError
        For what Keras has no counterpart to, by name; or if the two sides differ.

    Examples
    --------
    >>> from minirnn import LSTM, Dense, LastStep, Sequential
    >>> twin = to_keras(Sequential([LSTM(3, 4, rng=0), LastStep(), Dense(4, 2, rng=1)]))
    to_keras: largest difference ... runs (float32, at most 1e-05)
    >>> [type(layer).__name__ for layer in twin.layers]
    ['LSTM', 'Dense']
    """
    checks.instance("to_keras", "model", model, Layer)
    pieces = list(_pieces(model))
    twin = _built([layer for _, _, layer in pieces], model)
    if isinstance(twin.layers[0], kl.Embedding):
        twin.layers[0].mask_zero = twin.layers[0].supports_masking = bool(mask_zero)
    for _, own, layer in pieces:
        layer.set_weights(_weights_of(own))
    if verify:
        _prove("to_keras", model, twin, [(name, own, layer) for name, own, layer in pieces])
    return twin


def from_keras(model: Any, *, verify: bool = True) -> Layer:
    """Return a minirnn model with the numbers of a Keras model or layer.

    Parameters
    ----------
    model : keras.Model
        Built: a `keras.Sequential`, or a functional model that is one chain, of SimpleRNN, LSTM,
        GRU, Bidirectional, Dense, TimeDistributed of Dense, Embedding, LayerNormalization, Dropout,
        SpatialDropout1D, GlobalAveragePooling1D and activations. It stays as it is.
    verify : bool
        Compare both sides, and print the largest difference.

    Returns
    -------
    Layer
        A `Sequential` where there are several layers, else the layer. Where Keras makes a mask
        itself (Masking, ``mask_zero=True``) a warning says that it is to be handed over here.

    Raises
    ------
    ConversionError
        For what minirnn has no counterpart to, by name; or if the two sides differ.
    """
    checks.instance("from_keras", "model", model, kl.Layer)
    layers: list[Layer] = []
    triples = []
    for link in _links(model):
        own = list(_layers_of(link))
        layers += own
        if own:
            whole = own[0] if len(own) == 1 else Sequential(own)
            triples.append((f"{link.name} ({type(link).__name__})", whole, link))
    if not layers:
        raise ConversionError(f"from_keras: {model.name} holds no layer")
    result = layers[0] if len(layers) == 1 else Sequential(layers)
    if verify:
        _prove("from_keras", result, model, triples)
    return result


def load_keras(model: Layer, weights: Sequence[Any], *, verify: bool = True) -> None:
    """Take over the weights of a Keras model, all of them or none.

    Parameters
    ----------
    model : Layer
        With the layers, sizes and dtype of the Keras model that the weights come from.
    weights : list of arrays
        What ``keras_model.get_weights()`` returns: they go by order.
    verify : bool
        Compare the model with its Keras counterpart, and print the largest difference.

    Raises
    ------
    ConversionError
        If layers and weights do not match; or if the two sides differ.

    Examples
    --------
    >>> from minirnn import GRU
    >>> layer, other = GRU(3, 4, rng=0), GRU(3, 4, rng=1)
    >>> load_keras(layer, to_keras(other, verify=False).get_weights())
    load_keras: largest difference ... runs (float32, at most 1e-05)
    >>> bool((layer.cell.Wx.value == other.cell.Wx.value).all())
    True
    """
    checks.instance("load_keras", "model", model, Layer)
    twin = to_keras(model, verify=False)
    shapes = [tuple(array.shape) for array in twin.get_weights()]
    given = [np.shape(array) for array in weights]
    if shapes != given:
        raise ConversionError(
            f"load_keras: the weights of this model have the shapes {shapes} in Keras, got {given}"
        )
    twin.set_weights(list(weights))
    filled = from_keras(twin, verify=False)
    for own, new in zip(model.parameters(), filled.parameters(), strict=True):
        own.value = new.value
    if verify:
        _prove("load_keras", model, twin, [])


# ---------------------------------------------------------------- ours to theirs


def _pieces(model: Layer) -> Iterator[tuple[str, Layer, Any]]:
    """Yield name, layer and Keras layer; a recurrent layer takes a last step behind it along."""
    chain = list(named_chain(model))
    k = 0
    while k < len(chain):
        name, layer = chain[k]
        after = chain[k + 1][1] if k + 1 < len(chain) else None
        if isinstance(layer, Recurrent | Bidirectional):
            directed = not isinstance(layer, Bidirectional) or layer.merge == "concat"
            last = (isinstance(after, LastState) and directed) or (
                isinstance(after, LastStep) and isinstance(layer, Recurrent) and not layer.reverse
            )
            twin = _recurrent_to_keras(layer, name, sequences=not last)
            yield name, Sequential([layer, after]) if last and after else layer, twin
            k += 1 + last
            continue
        base = base_of(layer, _TO_KERAS)
        if base is None:
            hint = ""
            if isinstance(layer, LastStep | LastState):
                hint = "; it has one only right behind a recurrent layer: return_sequences=False"
            raise ConversionError(f"to_keras: {name} has no counterpart in Keras{hint}")
        yield name, layer, _TO_KERAS[base](layer, _dtype(layer, model))
        k += 1


def _dtype(layer: Layer, model: Layer) -> str:
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
        mode = _MERGE_MODES[layer.merge]
        return kl.Bidirectional(
            one, backward_layer=two, merge_mode=mode, dtype=_dtype(layer, layer)
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
        dtype=_dtype(layer, layer),
        **options,
    )


def _built(twins: list[Any], model: Layer) -> Any:
    """Return the Keras layers as a model for inputs of the size that ours has."""
    dtype = _dtype(model, model)
    shape: tuple[int | None, ...] = (None, 3)
    for _, layer in model.named_layers():
        size = getattr(layer, "input_size", None) or getattr(layer, "size", None)
        if isinstance(layer, Embedding):
            shape, dtype = (None,), "int32"
            break
        if isinstance(size, int):
            shape = (None, size)
            break
    twin = keras.Sequential([keras.Input(shape, dtype=dtype), *twins])
    twin.supports_masking = True
    return twin


def _weights_of(layer: Layer) -> list[Array]:
    """Return a layer's weights in the order and layout of its Keras counterpart."""
    if isinstance(layer, Sequential):  # with the last step behind it, which has none
        return _weights_of(layer[0])
    if isinstance(layer, Bidirectional):
        return _weights_of(layer.forward_layer) + _weights_of(layer.backward_layer)
    if not isinstance(layer, Recurrent):
        return [parameter.value for parameter in layer.parameters()]
    cell: Any = layer.cell
    kind = KINDS[base_of(cell, KINDS)]  # type: ignore[index]
    gates = MINIRNN[kind], KERAS[kind]
    bias = reorder(cell.b.value, *gates)
    if hasattr(cell, "bn"):
        second = np.zeros_like(bias)
        second[-cell.hidden_size :] = cell.bn.value
        bias = np.stack([bias, second])
    return [reorder(cell.Wx.value, *gates), reorder(cell.Wh.value, *gates), bias]


_MERGE_MODES = {"concat": "concat", "sum": "sum", "mean": "ave", "product": "mul"}


def _activation(name: str) -> Callable[[Any, str], Any]:
    return lambda layer, dtype: kl.Activation(name, dtype=dtype)


def _dropout(layer: Any, dtype: str) -> Any:
    keras_class = kl.SpatialDropout1D if layer.shared_over_time else kl.Dropout
    return keras_class(layer.rate, dtype=dtype)


_TO_KERAS: dict[type, Callable[[Any, str], Any]] = {
    Dense: lambda layer, dtype: kl.Dense(layer.output_size, use_bias=layer.bias, dtype=dtype),
    Embedding: lambda layer, dtype: kl.Embedding(*layer.W.shape, dtype=dtype),
    LayerNorm: lambda layer, dtype: kl.LayerNormalization(epsilon=layer.epsilon, dtype=dtype),
    Dropout: _dropout,
    MeanOverTime: lambda layer, dtype: kl.GlobalAveragePooling1D(dtype=dtype),
    LeakyReLU: lambda layer, dtype: kl.LeakyReLU(negative_slope=layer.slope, dtype=dtype),
    ELU: lambda layer, dtype: kl.ELU(alpha=layer.alpha, dtype=dtype),
    Softmax: _activation("softmax"),
    LogSoftmax: _activation("log_softmax"),
    Sigmoid: _activation("sigmoid"),
    Tanh: _activation("tanh"),
    ReLU: _activation("relu"),
    SiLU: _activation("silu"),
    Softplus: _activation("softplus"),
}


# ---------------------------------------------------------------- theirs to ours


def _links(model: Any) -> Iterator[Any]:
    """Yield the layers of a chain of layers, containers opened."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            yield from _links(layer)
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
            yield from _links(layer)
    elif not isinstance(model, kl.InputLayer):
        yield model


def _layers_of(layer: Any) -> Iterator[Layer]:
    kind = type(layer)
    if kind is kl.Masking or (kind is kl.Embedding and layer.mask_zero):
        warnings.warn(
            f"from_keras: {layer.name} makes a mask in Keras; hand it to the model here, as mask=",
            stacklevel=3,
        )
    if kind is kl.Masking:
        return
    if kind is kl.TimeDistributed:
        yield from _layers_of(layer.layer)
    elif kind in (kl.SimpleRNN, kl.LSTM, kl.GRU):
        if layer.dropout:
            yield Dropout(layer.dropout, shared_over_time=True)
        own = _own_recurrent(layer, layer.get_weights())
        if layer.go_backwards and layer.return_sequences:
            _refuse(layer, "go_backwards with return_sequences: the steps come in reverse")
        yield own
        if not layer.return_sequences:
            yield LastState().follow(own)
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
    merge = {theirs: ours for ours, theirs in _MERGE_MODES.items()}.get(layer.merge_mode)
    if merge is None:
        _refuse(layer, f"merge_mode={layer.merge_mode!r}")
    if any(type(half) not in (kl.SimpleRNN, kl.LSTM, kl.GRU) or half.dropout for half in both):
        _refuse(layer, "its layers are of other kinds, or have dropout")
    one, two = (_own_recurrent(half, half.get_weights()) for half in both)
    if merge != "concat" and not both[0].return_sequences:
        ends = [Sequential([half, LastState().follow(half)]) for half in (one, two)]
        yield Parallel(ends, merge=merge or "")
        return
    own = Bidirectional(one, two, merge=merge or "")
    yield own
    if not both[0].return_sequences:
        yield LastState().follow(own)


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
    kernel, recurrent_kernel, *biases = weights
    gates = KERAS[kind], MINIRNN[kind]
    found: dict[str, Array] = {}
    bias = biases[0] if biases else np.zeros(kernel.shape[1], kernel.dtype)
    if kind == "gru":
        options["reset_after"] = layer.reset_after
        if layer.reset_after:
            bias, second = biases[0] if biases else (bias, np.zeros_like(bias))
            second = second.copy()
            candidate = slice(-layer.units, None)
            found["bn"] = second[candidate].copy()
            second[candidate] = 0
            bias = bias + second
    own_class: Any = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[kind]
    sizes = kernel.shape[0], layer.units
    own: Recurrent = own_class(
        *sizes, reverse=layer.go_backwards, rng=0, dtype=_float(layer, kernel), **options
    )
    found["Wx"], found["Wh"] = reorder(kernel, *gates), reorder(recurrent_kernel, *gates)
    own.cell.load_state_dict(found | {"b": reorder(bias, *gates)})
    return own


def _float(layer: Any, array: Array) -> Any:
    if array.dtype not in (np.float32, np.float64):
        _refuse(layer, f"weights of {array.dtype}")
    return array.dtype


def _own_dense(layer: Any) -> Iterator[Layer]:
    kernel, *bias = layer.get_weights()
    own = Dense(*kernel.shape, bias=bool(bias), rng=0, dtype=_float(layer, kernel))
    own.load_state_dict({"W": kernel} | ({"b": bias[0]} if bias else {}))
    yield own
    yield from _own_activation(layer)


def _own_embedding(layer: Any) -> Iterator[Layer]:
    (table,) = layer.get_weights()
    own = Embedding(*table.shape, rng=0, dtype=_float(layer, table))
    own.W.value = table
    yield own


def _own_norm(layer: Any) -> Iterator[Layer]:
    if not layer.scale or not layer.center or layer.axis not in (-1, [-1], [2], 2):
        _refuse(layer, "it has no gain, no bias, or another axis")
    gain, bias = layer.get_weights()
    own = LayerNorm(len(gain), epsilon=layer.epsilon, dtype=_float(layer, gain))
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
    yield LeakyReLU(float(layer.negative_slope)) if layer.negative_slope else ReLU()


def _own_softmax(layer: Any) -> Iterator[Layer]:
    if layer.axis != -1:
        _refuse(layer, f"axis={layer.axis}")
    yield Softmax()


_ACTIVATIONS: dict[str, Any] = {
    "linear": None,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "silu": SiLU,
    "softplus": Softplus,
}
_TO_MINIRNN: dict[Any, Callable[[Any], Iterator[Layer]]] = {
    kl.Dense: _own_dense,
    kl.Embedding: _own_embedding,
    kl.LayerNormalization: _own_norm,
    kl.Activation: _own_activation,
    kl.ReLU: _own_relu,
    kl.Softmax: _own_softmax,
    kl.LeakyReLU: lambda layer: iter([LeakyReLU(float(layer.negative_slope))]),
    kl.ELU: lambda layer: iter([ELU(float(layer.alpha))]),
    kl.Dropout: lambda layer: iter([Dropout(layer.rate)]),
    kl.SpatialDropout1D: lambda layer: iter([Dropout(layer.rate, shared_over_time=True)]),
    kl.GlobalAveragePooling1D: lambda layer: iter([MeanOverTime()]),
}


# ---------------------------------------------------------------- both sides, side by side


def _prove(what: str, model: Layer, twin: Any, triples: list[tuple[str, Layer, Any]]) -> None:
    first = next(_links(twin))
    tokens = isinstance(first, kl.Embedding)
    padding = None  # the input from which Keras makes a mask itself, if it does
    if tokens and first.mask_zero:
        padding = 0
    elif isinstance(first, kl.Masking):
        padding = first.mask_value
    prove(
        what,
        model,
        _side(twin, padding),
        masks=not tokens or padding is not None,
        states=False,
        first_token=int(padding == 0),
        precision=_precision(_dtype(model, model)),
        pairs=lambda: [(name, own, _call(layer)) for name, own, layer in triples],
    )


def _precision(dtype: str) -> str:
    """Return the dtype of a product in Keras: of its backends, some know no float64."""
    return str(keras.backend.result_type(dtype, dtype))


def _side(twin: Any, padding: float | None = None) -> Side:
    def run(x: Array, mask: Mask | None, state: Any) -> tuple[Array, None]:
        if padding is not None and mask is not None:
            real = mask.reshape(mask.shape + (1,) * (x.ndim - 2))
            x, mask = np.where(real, x, x.dtype.type(padding)), None
        given = keras.ops.convert_to_tensor(x, dtype=str(x.dtype))
        options: dict[str, Any] = {}
        if mask is not None:
            options["mask"] = keras.ops.convert_to_tensor(mask)
        if _takes(twin):
            options["training"] = False
        with warnings.catch_warnings():  # a Sequential of a user's takes masks without saying so
            warnings.filterwarnings("ignore", ".*was passed an input with a mask")
            y = twin(given, **options)
        return np.asarray(keras.ops.convert_to_numpy(y)), None

    return run


def _takes(twin: Any) -> bool:
    """Whether a layer or model tells training from inference."""
    return isinstance(twin, keras.Model) or getattr(twin, "_call_has_training_arg", False)


def _call(layer: Any) -> Callable[[Array, Mask | None], Array]:
    masked = getattr(layer, "_call_has_mask_arg", False) or isinstance(
        layer, kl.RNN | kl.Bidirectional | kl.GlobalAveragePooling1D
    )
    return lambda x, mask: _side(layer)(x, mask if masked else None, None)[0]
