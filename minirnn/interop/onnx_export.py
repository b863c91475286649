"""A minirnn model as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from minirnn import layers as ours
from minirnn.core import Layer, dtype_of
from minirnn.interop.onnx_recurrent import write_bidirectional, write_recurrent
from minirnn.interop.onnx_writer import Writer
from minirnn.interop.proof import ConversionError, base_of
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent

__all__ = ["export"]


def export(model: Layer, *, lengths: bool, states: bool, dtype: Any = np.float32) -> Any:
    """Return the ONNX model; `minirnn.interop.onnx.to_onnx` describes it.

    `dtype` is that of a model without parameters.
    """
    writer = Writer(dtype_of(model) or np.dtype(dtype), states=states)
    x, axes = _input(writer, model)
    if lengths:
        x = _padding(writer, x, tokens=len(axes) == 2)
    y = write(writer, model, x, "")
    size = _output_size(model, axes)
    time = ["time"] if model.keeps_time else []
    return writer.model(y, ["batch", *time, size])


def write(writer: Writer, model: Layer, x: str, place: str) -> str:
    """Write a layer; return the name of its output. `place` is its path: "1.0", "" for all."""
    base = base_of(model, _WRITERS)
    if base is None:
        where = f"layer {place} ({type(model).__name__})" if place else type(model).__name__
        raise ConversionError(f"to_onnx: {where} has no counterpart in ONNX")
    result: str = _WRITERS[base](writer, model, x, place)
    return result


# ---------------------------------------------------------------- input, padding, output


def _input(writer: Writer, model: Layer) -> tuple[str, list[Any]]:
    axes: list[Any] = ["batch", "time", None]
    element = writer.element
    for _, layer in model.named_layers():
        if isinstance(layer, ours.Embedding):
            axes, element = axes[:2], TensorProto.INT64
            break
        size = getattr(layer, "input_size", None) or getattr(layer, "size", None)
        if isinstance(size, int):
            axes[2] = size
            break
    writer.inputs.append(helper.make_tensor_value_info("input", element, axes))
    return "input", axes


def _padding(writer: Writer, x: str, *, tokens: bool) -> str:
    """Add the input `lengths`, the mask that it means, and zeros in the padding of x."""
    writer.lengths = "lengths"
    integers = TensorProto.INT32
    writer.inputs.append(helper.make_tensor_value_info("lengths", integers, ["batch"]))
    time = writer.add("Shape", x, start=1, end=2)
    time = writer.add("Squeeze", time, writer.integers(0))
    zero, one = writer.constant(0, np.int64), writer.constant(1, np.int64)
    steps = writer.add("Range", zero, time, one)
    lengths = writer.add("Cast", "lengths", to=TensorProto.INT64)
    lengths = writer.add("Unsqueeze", lengths, writer.integers(1))
    writer.mask = writer.add("Less", steps, lengths)
    if tokens:
        return str(writer.add("Where", writer.mask, x, zero))
    return str(writer.add("Where", _wide_mask(writer), x, writer.constant(0)))


def _wide_mask(writer: Writer) -> str:
    return str(writer.add("Unsqueeze", writer.mask or "", writer.integers(2)))


def _output_size(model: Layer, axes: list[Any]) -> Any:
    size = axes[2] if len(axes) > 2 else None
    parts = list(model) if isinstance(model, Sequential) else [model]
    for layer in parts:
        if isinstance(layer, Sequential):
            size = _output_size(layer, ["batch", "time", size])
        size = getattr(layer, "output_size", size)
    return size or "features"


# ---------------------------------------------------------------- layers


def _sequential(writer: Writer, model: Any, x: str, place: str) -> str:
    for k, layer in enumerate(model):
        x = write(writer, layer, x, f"{place}.{k}" if place else str(k))
    return x


def _residual(writer: Writer, model: Any, x: str, place: str) -> str:
    y = write(writer, model.layer, x, f"{place}.layer" if place else "layer")
    return str(writer.add("Add", x, y))


def _parallel(writer: Writer, model: Any, x: str, place: str) -> str:
    parts = [
        write(writer, layer, x, f"{place}.{k}" if place else str(k))
        for k, layer in enumerate(model.layers)
    ]
    writer.final_h = None
    return writer.merge(parts, model.merge, axis=-1)


def _dense(writer: Writer, model: Any, x: str, place: str) -> str:
    prefix = f"{place}." if place else ""
    y = writer.add("MatMul", x, writer.weights(f"{prefix}weight", model.W.value))
    if model.b is not None:
        y = writer.add("Add", y, writer.weights(f"{prefix}bias", model.b.value))
    return str(y)


def _embedding(writer: Writer, model: Any, x: str, place: str) -> str:
    prefix = f"{place}." if place else ""
    y = writer.add("Gather", writer.weights(f"{prefix}table", model.W.value), x, axis=0)
    if writer.mask is None:
        return str(y)
    return str(writer.add("Where", _wide_mask(writer), y, writer.constant(0)))


# Runtimes have several of the operators below in float32 only; in float64 they are put together of
# simpler ones.


def _layer_norm(writer: Writer, model: Any, x: str, place: str) -> str:
    prefix = f"{place}." if place else ""
    gain = writer.weights(f"{prefix}gain", model.gain.value)
    bias = writer.weights(f"{prefix}bias", model.b.value)
    if writer.dtype == np.float32:
        y = writer.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=model.epsilon)
        return str(y)
    # The operator keeps its epsilon, and mostly its sums, in float32.
    axes = writer.integers(-1)
    centred = writer.add("Sub", x, writer.add("ReduceMean", x, axes))
    variance = writer.add("ReduceMean", writer.add("Mul", centred, centred), axes)
    spread = writer.add("Sqrt", writer.add("Add", variance, writer.constant(model.epsilon)))
    scaled = writer.add("Mul", writer.add("Div", centred, spread), gain)
    return str(writer.add("Add", scaled, bias))


def _last_step(writer: Writer, model: Any, x: str, place: str) -> str:
    return _at_last(writer, x)


def _at_last(writer: Writer, x: str) -> str:
    """Return the last step of ``(batch, time, ...)``, the last real one where there are lengths."""
    if writer.lengths is None:
        return str(writer.add("Gather", x, writer.constant(-1, np.int64), axis=1))
    last = writer.add("Cast", writer.lengths, to=TensorProto.INT64)
    last = writer.add("Sub", last, writer.integers(1))
    last = writer.add("Unsqueeze", last, writer.integers(1))
    return str(writer.add("GatherND", x, last, batch_dims=1))


def _last_state(writer: Writer, model: Any, x: str, place: str) -> str:
    if writer.final_h and writer.final_h[0] == x:
        return writer.final_h[1]
    parts, at = [], 0
    for size, backwards in model.directions or ():
        bounds = [writer.integers(n) for n in (at, at + size, 2)]
        part = writer.add("Slice", x, *bounds)
        first = writer.constant(0, np.int64)
        parts.append(
            writer.add("Gather", part, first, axis=1) if backwards else _at_last(writer, part)
        )
        at += size
    return str(writer.add("Concat", *parts, axis=1))


def _mean(writer: Writer, model: Any, x: str, place: str) -> str:
    axes = writer.integers(1)
    if writer.mask is None:
        return str(writer.add("ReduceMean", x, axes, keepdims=0))
    real = writer.add("Where", _wide_mask(writer), x, writer.constant(0))
    total = writer.add("ReduceSum", real, axes, keepdims=0)
    count = writer.add("Cast", writer.lengths or "", to=writer.element)
    return str(writer.add("Div", total, writer.add("Unsqueeze", count, axes)))


def _max(writer: Writer, model: Any, x: str, place: str) -> str:
    if writer.mask is not None:
        x = writer.add("Where", _wide_mask(writer), x, writer.constant(-np.inf))
    return str(writer.add("ReduceMax", x, writer.integers(1), keepdims=0))


def _leaky(writer: Writer, model: Any, x: str, place: str) -> str:
    if writer.dtype == np.float32:
        return str(writer.add("LeakyRelu", x, alpha=model.slope))
    slope = writer.constant(model.slope)
    below = writer.add("Mul", writer.add("Min", x, writer.constant(0)), slope)
    return str(writer.add("Add", writer.add("Relu", x), below))


def _elu(writer: Writer, model: Any, x: str, place: str) -> str:
    if writer.dtype == np.float32:
        return str(writer.add("Elu", x, alpha=model.alpha))
    zero, one = writer.constant(0), writer.constant(1)
    below = writer.add("Sub", writer.add("Exp", writer.add("Min", x, zero)), one)
    scaled = writer.add("Mul", below, writer.constant(model.alpha))
    return str(writer.add("Add", writer.add("Relu", x), scaled))


def _softplus(writer: Writer, model: Any, x: str, place: str) -> str:
    if writer.dtype == np.float32:
        return str(writer.add("Softplus", x))
    small = writer.add("Exp", writer.add("Neg", writer.add("Abs", x)))
    rest = writer.add("Log", writer.add("Add", small, writer.constant(1)))
    return str(writer.add("Add", writer.add("Relu", x), rest))


def _gelu(writer: Writer, model: Any, x: str, place: str) -> str:
    if writer.dtype == np.float32:
        return str(writer.add("Gelu", x, approximate="tanh"))
    inner = writer.add("Mul", writer.add("Pow", x, writer.constant(3)), writer.constant(0.044715))
    inner = writer.add("Mul", writer.add("Add", x, inner), writer.constant(np.sqrt(8 / np.pi)))
    return str(writer.add("Mul", x, writer.add("Sigmoid", inner)))


def _silu(writer: Writer, model: Any, x: str, place: str) -> str:
    return str(writer.add("Mul", x, writer.add("Sigmoid", x)))


def _elementwise(op: str, **attributes: Any) -> Callable[..., str]:
    return lambda writer, model, x, place: str(writer.add(op, x, **attributes))


_WRITERS: dict[type, Callable[..., str]] = {
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
    ours.Dropout: _elementwise("Identity"),
    ours.Softmax: _elementwise("Softmax", axis=-1),
    ours.LogSoftmax: _elementwise("LogSoftmax", axis=-1),
    ours.Sigmoid: _elementwise("Sigmoid"),
    ours.Tanh: _elementwise("Tanh"),
    ours.ReLU: _elementwise("Relu"),
    ours.LeakyReLU: _leaky,
    ours.ELU: _elu,
    ours.SiLU: _silu,
    ours.GELU: _gelu,
    ours.Softplus: _softplus,
}
