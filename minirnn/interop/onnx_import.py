"""An ONNX graph as a minirnn model: each of its values is a chain of layers over the input.

What a node computes beside these values (shapes, zeros for initial states) is not looked at;
whatever meets one and has no counterpart is refused by name. The comparison that follows a
conversion finds out where that was not the whole truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from minirnn import layers as ours
from minirnn.interop import weights
from minirnn.interop.counterparts import ConversionError
from minirnn.interop.graph import Unknown, Value, concatenated, merged
from minirnn.interop.onnx_export import PLAIN
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["Reading"]

_PLAIN = {row.theirs: row for row in PLAIN}


class Reading:
    """The layers of a graph, and how its input and output are laid out.

    ``batch_first`` tells whether the input is ``(batch, time, ...)``, ``lengths`` the input that
    holds the lengths, if any, and ``state_inputs`` those of initial states, in minirnn's order.
    """

    def __init__(self, model: Any) -> None:
        graph = model.graph
        self.opset = {entry.domain: entry.version for entry in model.opset_import}
        self.constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        inputs = [entry for entry in graph.input if entry.name not in self.constants]
        if not inputs:
            raise ConversionError("from_onnx: the graph has no input")
        self.input_names = [entry.name for entry in inputs]
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.lengths: str | None = None
        self.state_inputs: list[str] = []
        self.dims = inputs[0].type.tensor_type.shape.dim
        self.batch_first, self.recurrent = True, False
        tokens = inputs[0].type.tensor_type.elem_type in (TensorProto.INT32, TensorProto.INT64)
        axes = ("batch", "time") if len(self.dims) > 2 or tokens else ("batch",)
        self.values = {self.input_names[0]: Value((), axes if tokens else (*axes, "features"))}
        output = graph.output[0].name
        needed = self._needed_for(output)
        for node in graph.node:
            if needed.intersection(node.output):
                self._take(node)
        if output not in self.values:
            raise ConversionError("from_onnx: its output is not what layers make of its input")
        try:
            self.layers = self.values[output].then().layers
        except Unknown as why:
            raise ConversionError(f"from_onnx: the output has no counterpart{why}") from None

    def _needed_for(self, output: str) -> set[str]:
        """Return the names of all values that an output is made of."""
        needed, waiting = set(), [output]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                node = self.made_by.get(name)
                waiting += [] if node is None or node.op_type == "Shape" else node.input
        return needed

    def shapes(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the shapes (batch, time) that the input takes: its own where they are fixed."""
        fixed = [dim.dim_value for dim in self.dims[:2]]
        fixed = fixed if self.batch_first else fixed[::-1]
        return sorted({(fixed[0] or batch, fixed[1] or time) for batch, time in wanted})

    # ------------------------------------------------------------ node by node

    def _take(self, node: Any) -> None:
        names = [name for name in node.input if name]
        if node.op_type == "Constant" or (names and all(name in self.constants for name in names)):
            results = ReferenceEvaluator(node).run(None, {n: self.constants[n] for n in names})
            self.constants |= dict(zip(node.output, results, strict=True))
            return
        values = [self.values[name] for name in names if name in self.values]
        if not values or node.op_type == "Shape":
            return
        try:
            results = self._results(node, values)
        except Unknown as why:
            name = node.name or node.output[0]
            raise ConversionError(
                f"from_onnx: {node.op_type} ({name}) has no counterpart{why}"
            ) from None
        results = [results] if isinstance(results, Value) else results
        self.values |= dict(zip(node.output, results, strict=False))

    def _results(self, node: Any, values: list[Value]) -> Any:
        options, value = self._options(node), values[0]
        row = _PLAIN.get(node.op_type)
        if row is not None:
            last = options.get("axis", -1) == len(value.axes) - 1
            unlike = row.unlike(options | {"axis": -1} if last else options)
            if unlike:
                raise Unknown(f": {unlike}")
            return value.then(row.layer(options))
        read = getattr(self, f"_read_{node.op_type.lower()}", None)
        if read is None:
            raise Unknown
        return read(node, options, values if node.op_type in ("Add", "Mul", "Concat") else value)

    def _options(self, node: Any) -> dict[str, Any]:
        """Return the attributes of a node, with the defaults of its operator."""
        try:
            schema = defs.get_schema(node.op_type, self.opset.get(node.domain, 1), node.domain)
        except defs.SchemaError:
            return {}
        found = {name: entry.default_value for name, entry in schema.attributes.items()}
        found |= {entry.name: entry for entry in node.attribute}
        return {
            name: helper.get_attribute_value(entry) for name, entry in found.items() if entry.type
        }

    def _constant(self, node: Any, position: int) -> Array:
        name = node.input[position] if len(node.input) > position else ""
        if name not in self.constants:
            raise Unknown(f" where input {position} is not a constant")
        array: Array = self.constants[name]
        if array.dtype == np.float16:
            raise Unknown(" in float16; minirnn has float32 and float64")
        return array

    # ------------------------------------------------------------ recurrent operators

    def _read_rnn(self, node: Any, options: dict[str, Any], value: Value) -> list[Value]:
        inputs = [*node.input, *[""] * (8 - len(node.input))]
        if options.get("clip") or options.get("input_forget") or inputs[7]:
            raise Unknown(" with clip, input_forget or peepholes")
        if any(np.any(self.constants.get(name, 0)) for name in inputs[5:7]):
            raise Unknown(" with an initial state in the graph that is not zero")
        layout = int(options.get("layout", 0))
        if len(value.axes) == 3 and value.axes[layout] == "batch" and not self.recurrent:
            self.batch_first = False  # a recurrent operator is the first to tell
            names = {"batch": "time", "time": "batch"}
            for name, old in self.values.items():
                axes = tuple(names.get(axis, axis) for axis in old.axes)
                self.values[name] = old._replace(axes=axes)
            value = self.values[node.input[0]]
        if value.axes[layout : layout + 1] != ("time",):
            raise Unknown(": it does not read sequences over the input's axis of time")
        self.recurrent = True
        layers = self._directions(node, options)
        lengths = self._graph_inputs(inputs[4])
        self.lengths = lengths[0] if lengths else self.lengths
        found = [self._graph_inputs(name) for name in inputs[5:7] if name]
        states = [names for names in found if len(names) == len(layers)]
        self.state_inputs += [name for direction in zip(*states, strict=True) for name in direction]
        y, final = value.recurrent([layers[0] if len(layers) == 1 else Bidirectional(*layers)])
        if layout:  # batch, time, directions, features
            return [
                y._replace(axes=(*y.axes[:2], "directions", "features")),
                final.moved((1, 0, 2)),
            ]
        return [y._replace(axes=("time", *final.axes)), final]

    _read_lstm = _read_gru = _read_rnn

    def _directions(self, node: Any, options: dict[str, Any]) -> list[Recurrent]:
        kind = node.op_type.lower()
        W, R = self._constant(node, 1), self._constant(node, 2)
        none = np.zeros((len(R), 2 * R.shape[1]), W.dtype)
        B = self._constant(node, 3) if len(node.input) > 3 and node.input[3] else none
        usual = {"rnn": ["Tanh"], "lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"]}
        names = [name.decode() for name in options.get("activations", ())] or usual[kind] * len(R)
        layers = []
        for k, (w, r, b) in enumerate(zip(W, R, B, strict=True)):
            each = len(names) // len(R)
            activations = names[k * each : (k + 1) * each]
            own: dict[str, Any] = {}
            if kind == "gru":
                own["reset_after"] = bool(options["linear_before_reset"])
            if kind == "rnn" and activations[0] in ("Tanh", "Relu", "Sigmoid"):
                own["activation"] = activations[0].lower()
            elif activations != usual[kind]:
                raise Unknown(f" with activations {', '.join(activations)}")
            own["reverse"] = k == 1 or options["direction"] == b"reverse"
            arrays = w.T, r.T, *np.split(b, 2)
            layers.append(weights.recurrent_layer(weights.ONNX, kind, *arrays, **own))
        return layers

    def _graph_inputs(self, name: str) -> list[str]:
        """Return the graph's inputs, but for the first, of which a value is put together."""
        if name in self.input_names[1:]:
            return [name]
        node = self.made_by.get(name)
        if node is None or node.op_type not in ("Unsqueeze", "Concat", "Identity", "Cast"):
            return []
        return [found for before in node.input for found in self._graph_inputs(before)]

    # ------------------------------------------------------------ rearranging

    def _read_transpose(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        return value.moved(options.get("perm", range(len(value.axes))[::-1]))

    def _read_reshape(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        value, before = value._replace(axes=tuple(a for a in value.axes if a != "one")), value
        if "directions" in value.axes:
            return value.joined()
        if len(value.axes) == len(before.axes) > 2:
            raise Unknown(f" for the axes {', '.join(value.axes)}")
        return value

    _read_flatten = _read_squeeze = _read_reshape

    def _read_identity(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        return value

    _read_cast = _read_identity

    def _read_where(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        """Take zeros, or for a maximum -inf, in the padding: a mask's work."""
        otherwise = self._constant(node, 2)
        if node.input[1] not in self.values or not np.isin(otherwise, (0, -np.inf)).all():
            raise Unknown
        return value

    # ------------------------------------------------------------ where branches meet

    def _read_concat(self, node: Any, options: dict[str, Any], values: list[Value]) -> Value:
        if len(values) != len(node.input):
            raise Unknown
        return concatenated(values, options["axis"])

    def _read_add(self, node: Any, options: dict[str, Any], values: list[Value]) -> Value:
        if len(values) == 2 and values[0].axes == values[1].axes:
            return merged(values, "product" if node.op_type == "Mul" else "sum")
        value = values[0].then()
        *before, layer = value.layers or (None,)
        bias = next((self.constants[n] for n in node.input if n in self.constants), None)
        if bias is None or bias.size not in (1, *bias.shape[-1:]) or node.op_type == "Mul":
            raise Unknown(" with a tensor that is neither made of the input nor a bias")
        if not isinstance(layer, ours.Dense) or layer.bias:
            raise Unknown(" but as the bias of a Dense layer, or where branches meet")
        return value._replace(layers=(*before, _dense(layer.W.value, bias)))

    _read_mul = _read_add

    def _read_div(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        """Take the mean of branches, or of the valid steps of which there is the sum."""
        lengths = self._graph_inputs(node.input[1])
        if "sum" in value.part and lengths and self.lengths in (None, *lengths):
            self.lengths = lengths[0]
            return value._replace(part="")
        layer = value.layers[-1] if value.layers else None
        parts = getattr(layer, "layers", [None, None])
        count = self._constant(node, 1).tolist()
        if getattr(layer, "merge", None) != "sum" or count != len(parts):
            raise Unknown
        layer.merge = "mean"  # type: ignore[union-attr]
        return value.then()

    # ------------------------------------------------------------ from time to one vector

    def _read_reducemean(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        axes = options.get("axes")
        if axes is None:
            axes = np.reshape(self._constant(node, 1), -1).tolist()
        if len(axes) != 1 or options["keepdims"]:
            raise Unknown(" but over time alone")
        layer = ours.MaxOverTime() if node.op_type == "ReduceMax" else ours.MeanOverTime()
        pooled = value.pooled(axes[0], layer)
        return pooled._replace(part="a sum over time") if node.op_type == "ReduceSum" else pooled

    _read_reducemax = _read_reducesum = _read_reducemean

    def _read_gather(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        axis = options["axis"]
        if node.input[0] in self.constants:
            table = self._constant(node, 0)
            if axis != 0 or table.ndim != 2 or len(value.axes) != 2:
                raise Unknown(": it is no embedding")
            return value.then(weights.embedding(table))
        index = self._constant(node, 1)
        if index.ndim:
            raise Unknown(" for several steps")
        return value.picked(axis, int(index))

    def _read_gathernd(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        if options["batch_dims"] != 1:
            raise Unknown(" for other steps than the last")
        return value.picked(1, -1)

    def _read_slice(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        start, axis = self._constant(node, 1), int(self._constant(node, 3)[0])
        if start.tolist() != [-1] or value.axes[axis] != "time":
            raise Unknown(
                " for other steps than the last; PyTorch's newer exporter writes an nn.RNN step by "
                "step: export with dynamo=False"
            )
        one = tuple("one" if meaning == "time" else meaning for meaning in value.axes)
        return value.then(ours.LastStep())._replace(axes=one)

    # ------------------------------------------------------------ other layers

    def _read_matmul(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        W = self._constant(node, 1)
        if W.ndim != 2:
            raise Unknown
        return value.then(_dense(W))

    def _read_gemm(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        if (options["alpha"], options["beta"], options["transA"]) != (1, 1, 0):
            raise Unknown(" with alpha, beta or transA")
        W = self._constant(node, 1)
        b = self._constant(node, 2) if len(node.input) > 2 else None
        return value.then(_dense(W.T if options["transB"] else W, b))

    def _read_layernormalization(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        gain = self._constant(node, 1)
        if options["axis"] not in (-1, len(value.axes) - 1) or gain.ndim != 1:
            raise Unknown(" over several axes")
        bias = self._constant(node, 2) if len(node.input) > 2 else None
        return value.then(weights.layer_norm(gain, bias, options["epsilon"]))

    def _read_dropout(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        rate = self._constant(node, 1) if len(node.input) > 1 else options.get("ratio", 0.5)
        return value.then(ours.Dropout(float(rate)))


def _dense(W: Array, b: Array | None = None) -> ours.Dense:
    return weights.dense(W, None if b is None else np.broadcast_to(b.ravel(), W.shape[1]))
