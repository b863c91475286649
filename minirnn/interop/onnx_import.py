"""An ONNX graph as a minirnn model: each of its values is a chain of layers over the input.

Where values meet, what both chains begin with is common, and what follows are the branches. What a
node computes beside these values (shapes, zeros for initial states) is not looked at; whatever
meets one and has no counterpart is refused by name. The comparison that follows a conversion finds
out where that was not the whole truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple, NoReturn

import numpy as np
from onnx import defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop import weights
from minirnn.interop.counterparts import ConversionError, chained
from minirnn.interop.onnx_export import PLAIN
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["Reading"]

_PLAIN = {row.theirs: row for row in PLAIN}


class Value(NamedTuple):
    """What a name in the graph stands for.

    Attributes
    ----------
    layers : tuple of Layer
        That make it of the graph's input.
    axes : tuple of str
        What each of its axes is.
    direction : int or None
        Of which direction it is the final state, where that is one of two.
    """

    layers: tuple[Layer, ...]
    axes: tuple[str, ...]
    direction: int | None = None

    def then(self, *layers: Layer, axes: tuple[str, ...] | None = None) -> Value:
        """Return what more layers make of it."""
        return Value(self.layers + layers, self.axes if axes is None else axes)

    def without(self, axis: int) -> tuple[str, ...]:
        """Return the other axes."""
        return tuple(np.delete(self.axes, axis).tolist())


class Reading:
    """The layers of a graph, and how its input and output are laid out.

    Attributes
    ----------
    layers : tuple of Layer
    batch_first : bool
        Whether the input is ``(batch, time, ...)``; ``(time, batch, ...)`` else.
    lengths : str or None
        The input that holds the lengths.
    state_inputs : list of str
        The inputs that hold initial states, in minirnn's order.
    """

    def __init__(self, model: Any) -> None:
        graph = model.graph
        self.opset = {entry.domain: entry.version for entry in model.opset_import}
        self.constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        inputs = [entry for entry in graph.input if entry.name not in self.constants]
        if not inputs:
            raise ConversionError("from_onnx: the graph has no input")
        self.input = inputs[0]
        self.input_names = {entry.name for entry in inputs}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.lengths: str | None = None
        self.state_inputs: list[str] = []
        # Which of the first two axes is time, a recurrent operator tells.
        rank = len(self.input.type.tensor_type.shape.dim)
        self.time = "second"
        self.recurrent = False
        self.values = {self.input.name: Value((), ("first", "second", "features")[:rank])}
        output = graph.output[0].name
        needed = self._needed_for(output)
        for node in graph.node:
            if needed.intersection(node.output):
                self._take(node)
        if output not in self.values:
            raise ConversionError("from_onnx: its output is not what layers make of its input")
        self.layers = self.values[output].layers
        self.batch_first = self.time == "second"

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
        fixed = [dim.dim_value for dim in self.input.type.tensor_type.shape.dim[:2]]
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
        options = self._options(node)
        if node.op_type in _PLAIN:
            row = _PLAIN[node.op_type]
            last = options.get("axis", -1) == len(values[0].axes) - 1
            unlike = row.unlike(options | {"axis": -1} if last else options)
            if unlike:
                self._refuse(node, f": {unlike}")
            results = [values[0].then(row.layer(options))]
        elif hasattr(self, f"_read_{node.op_type.lower()}"):
            read = getattr(self, f"_read_{node.op_type.lower()}")
            results = read(node, options, values if node.op_type == "Concat" else values[0])
        else:
            self._refuse(node)
        if node.op_type != "Concat" and values[0].direction is not None:
            self._refuse(node, " for the final state of one direction of two")
        results = [results] if isinstance(results, Value) else results
        self.values |= dict(zip(node.output, results, strict=False))

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

    def _refuse(self, node: Any, why: str = "") -> NoReturn:
        name = node.name or node.output[0]
        raise ConversionError(f"from_onnx: {node.op_type} ({name}) has no counterpart{why}")

    def _constant(self, node: Any, position: int) -> Array:
        name = node.input[position] if len(node.input) > position else ""
        if name not in self.constants:
            self._refuse(node, f" where input {position} is not a constant")
        array: Array = self.constants[name]
        return array

    # ------------------------------------------------------------ recurrent operators

    def _read_rnn(self, node: Any, options: dict[str, Any], value: Value) -> list[Value]:
        inputs = [*node.input, *[""] * (8 - len(node.input))]
        if options.get("clip") or options.get("input_forget") or inputs[7]:
            self._refuse(node, " with clip, input_forget or peepholes")
        layout = int(options.get("layout", 0))
        time, batch = value.axes[layout], value.axes[1 - layout]
        if len(value.axes) != 3 or time not in ("first", "second"):
            self._refuse(node, ": it does not read sequences over the input's axis of time")
        if self.recurrent and time != self.time:
            self._refuse(node, ": two recurrent layers run over different axes")
        self.time, self.recurrent = time, True
        layers = self._directions(node, options)
        self._extra_inputs(inputs, len(layers))
        layer = layers[0] if len(layers) == 1 else Bidirectional(*layers)
        final: tuple[str, ...] = ("directions", batch, "features")
        every = (time, *final)
        if layout:
            final = (batch, "directions", "features")
            every = (batch, time, "directions", "features")
        return [value.then(layer, axes=every), value.then(layer, ours.LastState(), axes=final)]

    _read_lstm = _read_gru = _read_rnn

    def _directions(self, node: Any, options: dict[str, Any]) -> list[Recurrent]:
        kind = node.op_type.lower()
        W, R = self._constant(node, 1), self._constant(node, 2)
        none = np.zeros((len(R), 2 * R.shape[1]), W.dtype)
        B = self._constant(node, 3) if len(node.input) > 3 and node.input[3] else none
        usual = {"rnn": ["Tanh"], "lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"]}
        names = [name.decode() for name in options.get("activations", ())] or usual[kind] * len(R)
        layers = []
        for k, arrays in enumerate(zip(W, R, B, strict=True)):
            each = len(names) // len(R)
            activations = names[k * each : (k + 1) * each]
            own: dict[str, Any] = {}
            if kind == "gru":
                own["reset_after"] = bool(options["linear_before_reset"])
            if kind == "rnn" and activations[0] in ("Tanh", "Relu", "Sigmoid"):
                own["activation"] = activations[0].lower()
            elif activations != usual[kind]:
                self._refuse(node, f" with activations {', '.join(activations)}")
            w, r, b = arrays
            backwards = k == 1 or options["direction"] == b"reverse"
            arrays = w.T, r.T, *np.split(b, 2)
            layers.append(
                weights.recurrent_layer(weights.ONNX, kind, *arrays, reverse=backwards, **own)
            )
        return layers

    def _extra_inputs(self, inputs: list[str], directions: int) -> None:
        """Find the graph's inputs behind the lengths and the initial states."""
        lengths = self._graph_inputs(inputs[4])
        self.lengths = lengths[0] if lengths else self.lengths
        found = [self._graph_inputs(name) for name in inputs[5:7] if name]
        found = [names for names in found if len(names) == directions]
        for direction in range(directions):
            self.state_inputs += [names[direction] for names in found]

    def _graph_inputs(self, name: str) -> list[str]:
        if name in self.input_names:
            return [] if name == self.input.name else [name]
        node = self.made_by.get(name)
        if node is None or node.op_type not in ("Unsqueeze", "Concat", "Identity", "Cast"):
            return []
        return [found for before in node.input for found in self._graph_inputs(before)]

    # ------------------------------------------------------------ rearranging

    def _read_transpose(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        order = options.get("perm", range(len(value.axes))[::-1])
        return value.then(axes=tuple(value.axes[k] for k in order))

    def _read_reshape(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        joined = [axis for axis in value.axes if axis not in ("directions", "one")]
        if len(joined) == len(value.axes) > 2:
            self._refuse(node, f" for the axes {', '.join(value.axes)}")
        return value.then(axes=tuple(joined))

    _read_flatten = _read_squeeze = _read_reshape

    def _read_identity(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        return value

    _read_cast = _read_identity

    def _read_where(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        """Take zeros, or for a maximum -inf, in the padding: a mask's work."""
        otherwise = self._constant(node, 2)
        if node.input[1] not in self.values or not np.isin(otherwise, (0, -np.inf)).all():
            self._refuse(node)
        return value

    # ------------------------------------------------------------ where branches meet

    def _read_concat(self, node: Any, options: dict[str, Any], values: list[Value]) -> Value:
        axes, axis = values[0].axes, options["axis"]
        if len(values) != len(node.input) or any(value.axes != axes for value in values):
            self._refuse(node)
        if all(value.layers == values[0].layers for value in values):
            if [value.direction for value in values] == [0, 1]:
                return values[0].then()
        elif axes[axis] == "directions":  # the final states of all layers, of which one is taken
            return values[-1]
        if axis not in (-1, len(axes) - 1) or any(v.direction is not None for v in values):
            self._refuse(node)
        return self._merged(node, values, "concat")

    def _merged(self, node: Any, values: list[Value], how: str) -> Value:
        """Return where branches meet, of values with the same axes."""
        ways = zip(*(value.layers for value in values), strict=False)
        common = len(list(takewhile(lambda way: all(one is way[0] for one in way), ways)))
        before = values[0]._replace(layers=values[0].layers[:common])
        branches = [value.layers[common:] for value in values]
        empty = branches.count(())
        if (how, empty, len(branches)) == ("sum", 1, 2):
            return before.then(ours.Residual(chained(branches[0] or branches[1])))
        if how == "product" and [type(one) for b in branches for one in b] == [ours.Sigmoid]:
            return before.then(ours.SiLU())
        if empty:
            self._refuse(node)
        parts: list[Any] = [chained(branch) for branch in branches]
        one, *others = parts
        if type(one) is ours.Parallel and one.merge == how != "concat":
            parts = [*one.layers, *others]
        if [getattr(part, "reverse", None) for part in parts] == [False, True]:
            return before.then(Bidirectional(*parts, merge=how))
        return before.then(ours.Parallel(parts, merge=how))

    def _read_add(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        values = [self.values[name] for name in node.input if name in self.values]
        if len(values) == 2 and values[0].axes == values[1].axes:
            return self._merged(node, values, "product" if node.op_type == "Mul" else "sum")
        *before, layer = value.layers or (None,)
        bias = next((self.constants[n] for n in node.input if n in self.constants), None)
        if node.op_type == "Mul" or not isinstance(layer, ours.Dense) or layer.bias or bias is None:
            self._refuse(node, " but as the bias of a Dense layer, or where branches meet")
        return value._replace(layers=(*before, _dense(layer.W.value, bias)))

    _read_mul = _read_add

    def _read_div(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        """Take the mean of branches, or of the valid steps of which there is the sum."""
        before = self.made_by.get(node.input[0])
        divisor = self._graph_inputs(node.input[1])
        if before and before.op_type == "ReduceSum" and divisor == [self.lengths]:
            return value.then(ours.MeanOverTime())
        merged = value.layers[-1] if value.layers else None
        parts = getattr(merged, "layers", [None, None])
        count = self._constant(node, 1).tolist()
        if getattr(merged, "merge", None) != "sum" or count != len(parts):
            self._refuse(node)
        merged.merge = "mean"  # type: ignore[union-attr]
        return value

    # ------------------------------------------------------------ from time to one vector

    def _read_reducemean(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        axes = options.get("axes")
        if axes is None:
            axes = np.reshape(self._constant(node, 1), -1).tolist()
        if len(axes) != 1 or options["keepdims"] or value.axes[axes[0]] != self.time:
            self._refuse(node, " but over time alone")
        left = value.without(axes[0])
        if node.op_type == "ReduceSum":  # a mean, if a division by the lengths follows
            return value.then(axes=left)
        mean = node.op_type == "ReduceMean"
        return value.then(ours.MeanOverTime() if mean else ours.MaxOverTime(), axes=left)

    _read_reducemax = _read_reducesum = _read_reducemean

    def _read_gather(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        axis = options["axis"]
        if node.input[0] in self.constants:
            table = self._constant(node, 0)
            if axis != 0 or table.ndim != 2 or len(value.axes) != 2:
                self._refuse(node, ": it is no embedding")
            return value.then(weights.embedding(table), axes=(*value.axes, "features"))
        index = self._constant(node, 1).tolist()
        left = value.without(axis)
        if value.axes[axis] == "directions":
            recurrent = [one for one in value.layers if not isinstance(one, ours.LastState)]
            both = isinstance(recurrent[-1], Bidirectional)
            return Value(value.layers, left, index % 2 if both else None)
        if index != -1 or value.axes[axis] != self.time:
            self._refuse(node, " for other steps than the last")
        return value.then(ours.LastStep(), axes=left)

    def _read_gathernd(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        if value.axes[1:2] != (self.time,) or options["batch_dims"] != 1:
            self._refuse(node, " for other steps than the last")
        return value.then(ours.LastStep(), axes=value.without(1))

    def _read_slice(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        start, axis = self._constant(node, 1), int(self._constant(node, 3)[0])
        if start.tolist() != [-1] or value.axes[axis] != self.time:
            self._refuse(
                node,
                " for other steps than the last; PyTorch's newer exporter writes an nn.RNN step by "
                "step: export with dynamo=False",
            )
        one = ["one" if meaning == self.time else meaning for meaning in value.axes]
        return value.then(ours.LastStep(), axes=tuple(one))

    # ------------------------------------------------------------ other layers

    def _read_matmul(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        W = self._constant(node, 1)
        if W.ndim != 2:
            self._refuse(node)
        return value.then(_dense(W))

    def _read_gemm(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        if (options["alpha"], options["beta"], options["transA"]) != (1, 1, 0):
            self._refuse(node, " with alpha, beta or transA")
        W = self._constant(node, 1)
        b = self._constant(node, 2) if len(node.input) > 2 else None
        return value.then(_dense(W.T if options["transB"] else W, b))

    def _read_layernormalization(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        gain = self._constant(node, 1)
        if options["axis"] not in (-1, len(value.axes) - 1) or gain.ndim != 1:
            self._refuse(node, " over several axes")
        bias = self._constant(node, 2) if len(node.input) > 2 else None
        return value.then(weights.layer_norm(gain, bias, options["epsilon"]))

    def _read_dropout(self, node: Any, options: dict[str, Any], value: Value) -> Value:
        rate = self._constant(node, 1) if len(node.input) > 1 else options.get("ratio", 0.5)
        return value.then(ours.Dropout(float(rate)))


def _dense(W: Array, b: Array | None = None) -> ours.Dense:
    return weights.dense(W, None if b is None else np.broadcast_to(b, W.shape[1]))
