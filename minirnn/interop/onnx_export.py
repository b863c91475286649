"""A minirnn model as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.core import Layer, dtype_of
from minirnn.interop.gates import MINIRNN, ONNX, reorder
from minirnn.interop.proof import ConversionError, base_of, missing
from minirnn.layers import (
    Dense,
    Dropout,
    Embedding,
    LastState,
    LastStep,
    LogSoftmax,
    MaxOverTime,
    MeanOverTime,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from minirnn.layers.normalization import LayerNorm
from minirnn.layers.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError:
    raise missing("ONNX and ONNX Runtime", "onnx") from None

__all__ = ["Writer", "export"]

OPSET = 20
IR_VERSION = 10  # of ONNX 1.16: what runtimes of the last years read
KINDS: dict[type, str] = {RNNCell: "rnn", LSTMCell: "lstm", GRUCell: "gru"}


class Writer:
    """A graph in the making.

    Attributes
    ----------
    dtype : numpy dtype
        Of the model.
    lengths, mask : str or None
        Names of the input with the lengths, and of the mask ``(batch, time)`` made of it.
    states : bool
        Whether initial states are inputs, and final states outputs.
    """

    def __init__(self, dtype: np.dtype[Any], *, states: bool) -> None:
        self.dtype, self.states = dtype, states
        self.element = helper.np_dtype_to_tensor_dtype(dtype)
        self.lengths: str | None = None
        self.mask: str | None = None
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.final_h: tuple[str, str] | None = None  # an output (batch, time, ...), and its last

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or a list of names."""
        names = [f"{op}_{len(self.nodes)}" + f"_{k}" * (k > 0) for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, names[0], **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add an array; return its name. Numbers are of the model's dtype unless told otherwise."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(np.asarray(value, dtype or self.dtype))
        if np.ndim(value) == 0:
            self.constants[name] = self.constants[name].reshape(())
        return name

    def weights(self, name: str, value: Array) -> str:
        """Add an array under a name of its own."""
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def integers(self, *values: int) -> str:
        """Add a vector of integers, as axes and shapes are given."""
        return self.constant(values, np.int64)

    def model(self, output: str, axes: list[Any]) -> Any:
        """Return the finished model."""
        last = helper.make_node("Identity", [output], ["output"], "output")
        self.nodes.append(last)
        result = helper.make_tensor_value_info("output", self.element, axes)
        graph = helper.make_graph(
            self.nodes,
            "minirnn",
            self.inputs,
            [result, *self.outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(
            graph,
            producer_name="minirnn",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )


def export(model: Layer, *, lengths: bool, states: bool) -> Any:
    """Return the ONNX model; `minirnn.interop.onnx.to_onnx` describes it."""
    writer = Writer(dtype_of(model) or np.dtype(np.float32), states=states)
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
        raise ConversionError(
            f"to_onnx: {where} has no counterpart in ONNX: it computes something of its own"
        )
    result: str = _WRITERS[base](writer, model, x, place)
    return result


# ---------------------------------------------------------------- input, padding, output


def _input(writer: Writer, model: Layer) -> tuple[str, list[Any]]:
    axes: list[Any] = ["batch", "time", None]
    element = writer.element
    for _, layer in model.named_layers():
        if isinstance(layer, Embedding):
            axes, element = axes[:2], onnx.TensorProto.INT64
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
    integers = onnx.TensorProto.INT32
    writer.inputs.append(helper.make_tensor_value_info("lengths", integers, ["batch"]))
    time = writer.add("Shape", x, start=1, end=2)
    time = writer.add("Squeeze", time, writer.integers(0))
    zero, one = writer.constant(0, np.int64), writer.constant(1, np.int64)
    steps = writer.add("Range", zero, time, one)
    lengths = writer.add("Cast", "lengths", to=onnx.TensorProto.INT64)
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


# ---------------------------------------------------------------- recurrent layers


def _sequential(writer: Writer, model: Any, x: str, place: str) -> str:
    for k, layer in enumerate(model):
        x = write(writer, layer, x, f"{place}.{k}" if place else str(k))
    return x


def _recurrent(writer: Writer, model: Any, x: str, place: str) -> str:
    if model.stateful:
        raise ConversionError(
            f"to_onnx: stateful=True of {type(model).__name__} (layer {place}) has no counterpart "
            f"in ONNX: set layer.stateful = False, write to_onnx(..., states=True), and feed the "
            f"final states of one run into the next"
        )
    base = base_of(model.cell, KINDS)
    if base is None or writer.dtype == np.float64:
        from minirnn.interop.onnx_scan import write_scan

        return write_scan(writer, model, x, place)
    return _operator(writer, [model], KINDS[base], x, place)


def _bidirectional(writer: Writer, model: Any, x: str, place: str) -> str:
    both = [model.forward_layer, model.backward_layer]
    bases = {base_of(layer.cell, KINDS) for layer in both}
    kinds = {(layer.hidden_size, getattr(layer.cell, "reset_after", None)) for layer in both}
    if len(bases) == len(kinds) == 1 and None not in bases and writer.dtype == np.float32:
        (base,) = bases
        return _operator(writer, both, KINDS[base], x, place)  # type: ignore[index]
    dot = f"{place}." if place else ""
    names = ("forward", "backward")
    halves, lasts = [], []
    for name, layer in zip(names, both, strict=True):
        halves.append(_recurrent(writer, layer, x, f"{dot}{name}"))
        lasts.append(writer.final_h[1] if writer.final_h else "")
    y = str(writer.add("Concat", *halves, axis=2))
    writer.final_h = (y, writer.add("Concat", *lasts, axis=1)) if all(lasts) else None
    return y


def _operator(writer: Writer, layers: list[Any], kind: str, x: str, place: str) -> str:
    """Write ONNX's own operator, for one direction or for two."""
    cells = [layer.cell for layer in layers]
    prefix = f"{place}." if place else ""
    gates = MINIRNN[kind], ONNX[kind]
    rows = {
        "W": [reorder(cell.Wx.value, *gates).T for cell in cells],
        "R": [reorder(cell.Wh.value, *gates).T for cell in cells],
        "B": [_biases(cell, gates) for cell in cells],
    }
    weights = [writer.weights(f"{prefix}{name}", np.stack(rows[name])) for name in "WRB"]
    attributes: dict[str, Any] = {"hidden_size": cells[0].hidden_size}
    if len(layers) == 2:
        attributes["direction"] = "bidirectional"
    else:
        attributes["direction"] = "reverse" if layers[0].reverse else "forward"
    if kind == "rnn":
        attributes["activations"] = [cell.activation.capitalize() for cell in cells]
    if kind == "gru":
        attributes["linear_before_reset"] = int(cells[0].reset_after)
    initial = _initial(writer, cells, prefix)
    names = cells[0].state_names
    across = writer.add("Transpose", x, perm=[1, 0, 2])
    y, *final = writer.add(
        kind.upper(),
        across,
        *weights,
        writer.lengths or "",
        *initial,
        outputs=1 + len(names),
        **attributes,
    )
    if writer.states:
        for k, direction in enumerate(_directions(cells, prefix)):
            for name, array in zip(names, final, strict=True):
                part = writer.add("Gather", array, writer.constant(k, np.int64), axis=0)
                final_state(writer, f"{direction}{name}", part, cells[k].hidden_size)
    y = writer.add("Transpose", y, perm=[2, 0, 1, 3])  # (time, directions, batch, hidden)
    y = str(writer.add("Reshape", y, writer.integers(0, 0, -1)))
    last = writer.add("Transpose", final[0], perm=[1, 0, 2])
    writer.final_h = (y, writer.add("Reshape", last, writer.integers(0, -1)))
    return y


def _biases(cell: Any, gates: tuple[str, str]) -> Array:
    """Return ONNX's two biases, one after the other; the second is the GRU's `bn` or zeros."""
    second = np.zeros_like(cell.b.value)
    if hasattr(cell, "bn"):
        second[-cell.hidden_size :] = cell.bn.value
    return np.concatenate([reorder(cell.b.value, *gates), reorder(second, *gates)])


def _directions(cells: list[Any], prefix: str) -> list[str]:
    return [prefix] if len(cells) == 1 else [f"{prefix}forward.", f"{prefix}backward."]


def _initial(writer: Writer, cells: list[Any], prefix: str) -> list[str]:
    """Return names of the initial states, inputs of the graph; empty ones for zeros."""
    if not writer.states:
        return []
    axis = writer.integers(0)
    found: dict[str, list[str]] = {}
    for cell, direction in zip(cells, _directions(cells, prefix), strict=True):
        for name in cell.state_names:
            state = initial_state(writer, f"{direction}{name}", cell.hidden_size)
            found.setdefault(name, []).append(writer.add("Unsqueeze", state, axis))
    return [
        arrays[0] if len(arrays) == 1 else writer.add("Concat", *arrays, axis=0)
        for arrays in found.values()
    ]


def initial_state(writer: Writer, name: str, *shape: int) -> str:
    """Add an input ``initial.<name>`` of shape ``(batch, ...)``; return its name."""
    name = f"initial.{name}"
    info = helper.make_tensor_value_info(name, writer.element, ["batch", *shape])
    writer.inputs.append(info)
    return name


def final_state(writer: Writer, name: str, value: str, *shape: int) -> None:
    """Add an output ``final.<name>`` of shape ``(batch, ...)``."""
    name = f"final.{name}"
    writer.nodes.append(helper.make_node("Identity", [value], [name], name))
    info = helper.make_tensor_value_info(name, writer.element, ["batch", *shape])
    writer.outputs.append(info)


# ---------------------------------------------------------------- other layers


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
    last = writer.add("Cast", writer.lengths, to=onnx.TensorProto.INT64)
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
    slope = writer.constant(model.slope)
    below = writer.add("Mul", writer.add("Min", x, writer.constant(0)), slope)
    return str(writer.add("Add", writer.add("Relu", x), below))


def _elu(writer: Writer, model: Any, x: str, place: str) -> str:
    zero, one = writer.constant(0), writer.constant(1)
    below = writer.add("Sub", writer.add("Exp", writer.add("Min", x, zero)), one)
    scaled = writer.add("Mul", below, writer.constant(model.alpha))
    return str(writer.add("Add", writer.add("Relu", x), scaled))


def _silu(writer: Writer, model: Any, x: str, place: str) -> str:
    return str(writer.add("Mul", x, writer.add("Sigmoid", x)))


def _gelu(writer: Writer, model: Any, x: str, place: str) -> str:
    inner = writer.add("Pow", x, writer.constant(3))
    inner = writer.add("Add", x, writer.add("Mul", inner, writer.constant(0.044715)))
    gate = writer.add("Tanh", writer.add("Mul", inner, writer.constant(np.sqrt(2 / np.pi))))
    gate = writer.add("Add", gate, writer.constant(1))
    return str(writer.add("Mul", writer.add("Mul", x, gate), writer.constant(0.5)))


def _elementwise(op: str, **attributes: Any) -> Callable[..., str]:
    return lambda writer, model, x, place: str(writer.add(op, x, **attributes))


_WRITERS: dict[type, Callable[..., str]] = {
    Sequential: _sequential,
    Recurrent: _recurrent,
    Bidirectional: _bidirectional,
    Dense: _dense,
    Embedding: _embedding,
    LayerNorm: _layer_norm,
    LastStep: _last_step,
    LastState: _last_state,
    MeanOverTime: _mean,
    MaxOverTime: _max,
    Dropout: _elementwise("Identity"),
    Softmax: _elementwise("Softmax", axis=-1),
    LogSoftmax: _elementwise("LogSoftmax", axis=-1),
    Sigmoid: _elementwise("Sigmoid"),
    Tanh: _elementwise("Tanh"),
    ReLU: _elementwise("Relu"),
    LeakyReLU: _leaky,
    ELU: _elu,
    SiLU: _silu,
    GELU: _gelu,
    Softplus: _elementwise("Softplus"),
}
