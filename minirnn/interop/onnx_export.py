"""A minirnn model as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from minirnn import layers as ours
from minirnn.core import Layer, dtype_of
from minirnn.interop.counterparts import Plain, base_of, first_size, inner, refuse, titled
from minirnn.interop.onnx_recurrent import write_bidirectional, write_recurrent
from minirnn.interop.onnx_writer import Writer
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent

PLAIN = (
    Plain(ours.Softmax, "Softmax", fixed={"axis": (-1,)}),
    Plain(ours.LogSoftmax, "LogSoftmax", fixed={"axis": (-1,)}),
    Plain(ours.Sigmoid, "Sigmoid"),
    Plain(ours.Tanh, "Tanh"),
    Plain(ours.ReLU, "Relu"),
    Plain(ours.LeakyReLU, "LeakyRelu", {"slope": "alpha"}),
    Plain(ours.ELU, "Elu", {"alpha": "alpha"}),
    Plain(ours.GELU, "Gelu", fixed={"approximate": (b"tanh", "tanh")}),
    Plain(ours.Softplus, "Softplus"),
)
_ROWS = {row.ours: row for row in PLAIN}
_IN_FLOAT32 = ours.LeakyReLU, ours.ELU, ours.GELU, ours.Softplus


def export(model: Layer, *, lengths: bool, states: bool, dtype: Any = np.float32) -> Any:
    """Return the ONNX model; `minirnn.interop.onnx.to_onnx` describes it.

    `dtype` is that of a model without parameters.
    """
    writer = Writer(dtype_of(model) or np.dtype(dtype), states=states)
    size = first_size(model)
    tokens = isinstance(size, ours.Embedding)
    axes = ["batch", "time"] if tokens else ["batch", "time", size]
    element = TensorProto.INT64 if tokens else writer.element
    writer.inputs.append(helper.make_tensor_value_info("input", element, axes))
    x = _padding(writer, tokens=tokens) if lengths else "input"
    y = _write(writer, model, x, "")
    time = ["time"] if model.keeps_time else []
    return writer.model(y, ["batch", *time, getattr(model, "output_size", None) or "features"])


def _padding(writer: Writer, *, tokens: bool) -> str:
    """Add `lengths` and the mask that it means; return the input with zeros in its padding."""
    writer.lengths = "lengths"
    integers = TensorProto.INT32
    writer.inputs.append(helper.make_tensor_value_info("lengths", integers, ["batch"]))
    time = writer.add("Shape", "input", start=1, end=2)
    time = writer.add("Squeeze", time, writer.integers(0))
    zero, one = writer.constant(0, np.int64), writer.constant(1, np.int64)
    steps = writer.add("Range", zero, time, one)
    lengths = writer.add("Cast", "lengths", to=TensorProto.INT64)
    lengths = writer.add("Unsqueeze", lengths, writer.integers(1))
    writer.mask = writer.add("Less", steps, lengths)
    if tokens:
        return writer.add("Where", writer.mask, "input", zero)
    return writer.zeros_in_padding("input")


def _write(writer: Writer, model: Any, x: str, place: str) -> str:
    """Write a layer; return the name of its output."""
    base: Any = base_of(model, [*_WRITERS, *_ROWS])
    if base is None:
        refuse("to_onnx", "ONNX", titled(place, model))
    if base in _WRITERS:
        return _WRITERS[base](writer, model, x, place)
    if writer.dtype == np.float64 and base in _IN_FLOAT32:
        refuse("to_onnx", "ONNX", titled(place, model), "runtimes have it in float32 only")
    row = _ROWS[base]
    return writer.add(row.theirs, x, **row.keywords(model))


# ---------------------------------------------------------------- layers


def _sequential(writer: Writer, model: Any, x: str, place: str) -> str:
    for k, layer in enumerate(model):
        x = _write(writer, layer, x, inner(place, k))
    return x


def _residual(writer: Writer, model: Any, x: str, place: str) -> str:
    return writer.add("Add", x, _write(writer, model.layer, x, inner(place, "layer")))


def _parallel(writer: Writer, model: Any, x: str, place: str) -> str:
    layers = enumerate(model.layers)
    parts = [_write(writer, layer, x, inner(place, k)) for k, layer in layers]
    return writer.merge(parts, model.merge, axis=-1)


def _dense(writer: Writer, model: Any, x: str, place: str) -> str:
    y = writer.add("MatMul", x, writer.weights(inner(place, "weight"), model.W.value))
    if model.b is None:
        return y
    return writer.add("Add", y, writer.weights(inner(place, "bias"), model.b.value))


def _embedding(writer: Writer, model: Any, x: str, place: str) -> str:
    table = writer.weights(inner(place, "table"), model.W.value)
    return writer.zeros_in_padding(writer.add("Gather", table, x, axis=0))


def _layer_norm(writer: Writer, model: Any, x: str, place: str) -> str:
    gain = writer.weights(inner(place, "gain"), model.gain.value)
    bias = writer.weights(inner(place, "bias"), model.b.value)
    if writer.dtype == np.float32:
        return writer.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=model.epsilon)
    # The operator keeps its epsilon, and mostly its sums, in float32.
    axes = writer.integers(-1)
    centred = writer.add("Sub", x, writer.add("ReduceMean", x, axes))
    variance = writer.add("ReduceMean", writer.add("Mul", centred, centred), axes)
    spread = writer.add("Sqrt", writer.add("Add", variance, writer.constant(model.epsilon)))
    scaled = writer.add("Mul", writer.add("Div", centred, spread), gain)
    return writer.add("Add", scaled, bias)


def _last_step(writer: Writer, model: Any, x: str, place: str) -> str:
    """Write the last step of ``(batch, time, ...)``, the last valid one where there are lengths."""
    if writer.lengths is None:
        return writer.add("Gather", x, writer.constant(-1, np.int64), axis=1)
    last = writer.add("Cast", writer.lengths, to=TensorProto.INT64)
    last = writer.add("Sub", last, writer.integers(1))
    last = writer.add("Unsqueeze", last, writer.integers(1))
    return writer.add("GatherND", x, last, batch_dims=1)


def _last_state(writer: Writer, model: Any, x: str, place: str) -> str:
    if x in writer.last:
        return writer.last[x]
    parts, at = [], 0
    for size, backwards in model.directions or ():
        bounds = [writer.integers(n) for n in (at, at + size, 2)]
        part = writer.add("Slice", x, *bounds)
        if backwards:
            parts.append(writer.add("Gather", part, writer.constant(0, np.int64), axis=1))
        else:
            parts.append(_last_step(writer, model, part, place))
        at += size
    return writer.add("Concat", *parts, axis=1)


def _mean(writer: Writer, model: Any, x: str, place: str) -> str:
    axes = writer.integers(1)
    if writer.lengths is None:
        return writer.add("ReduceMean", x, axes, keepdims=0)
    total = writer.add("ReduceSum", writer.zeros_in_padding(x), axes, keepdims=0)
    count = writer.add("Cast", writer.lengths, to=writer.element)
    return writer.add("Div", total, writer.add("Unsqueeze", count, axes))


def _max(writer: Writer, model: Any, x: str, place: str) -> str:
    x = writer.zeros_in_padding(x, otherwise=-np.inf)
    return writer.add("ReduceMax", x, writer.integers(1), keepdims=0)


_WRITERS: dict[type, Callable[[Writer, Any, str, str], str]] = {
    Sequential: _sequential,
    ours.Residual: _residual,
    ours.Parallel: _parallel,
    Recurrent: write_recurrent,
    Bidirectional: write_bidirectional,
    ours.Dense: _dense,
    ours.Embedding: _embedding,
    ours.LayerNorm: _layer_norm,
    ours.LastStep: _last_step,
    ours.LastState: _last_state,
    ours.MeanOverTime: _mean,
    ours.MaxOverTime: _max,
    ours.Dropout: lambda writer, model, x, place: writer.add("Identity", x),
    ours.SiLU: lambda writer, model, x, place: writer.add("Mul", x, writer.add("Sigmoid", x)),
}
