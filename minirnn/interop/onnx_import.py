"""An ONNX graph as a minirnn model: each of its values is a chain of layers over the input.

What a graph computes beside these values (weights, shapes, zeros for initial states) is computed as
it stands, as if batch and time were 1; what it makes of lengths and initial states that are inputs
too, is followed by their names. Whatever meets a value and has no counterpart is refused by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop import weights
from minirnn.interop.counterparts import ConversionError
from minirnn.interop.graph import Unknown, Value, concatenated, merged, reading
from minirnn.interop.onnx_export import PLAIN
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

_PLAIN = {row.theirs: row for row in PLAIN}
_INTEGERS = TensorProto.INT32, TensorProto.INT64
_REARRANGING = "Unsqueeze", "Concat", "Identity", "Cast"


class Given(NamedTuple):
    """What is made of the graph's other inputs: lengths, or initial states."""

    names: tuple[str, ...]
    whole: bool = True
    """Whether it is these inputs, side by side, and not computed from them."""


class Reading:
    """The layers of a graph, and how its input and output are laid out.

    ``batch_first`` tells whether the input is ``(batch, time, ...)``, ``fixed`` how long these two
    axes have to be (0 for any length), ``lengths`` the input that holds the lengths, if any, and
    ``state_inputs`` those of initial states, in minirnn's order.
    """

    def __init__(self, model: Any) -> None:
        graph = model.graph
        self.opsets = model.opset_import
        self.known: dict[str, Any] = {"": None}  # Value, Given, Array, or None for no input
        self.known |= {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        inputs = [entry for entry in graph.input if entry.name not in self.known]
        if not inputs:
            raise ConversionError("from_onnx: the graph has no input")
        self.known |= {entry.name: Given((entry.name,)) for entry in inputs}
        self.lengths: str | None = None
        self.state_inputs: list[str] = []
        self.batch_first, self.recurrent = True, False
        first, kind = inputs[0].name, inputs[0].type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        tokens = kind.elem_type in _INTEGERS
        axes = ("batch", "time") if len(dims) > 2 or tokens else ("batch",)
        self.known[first] = Value((), axes if tokens else (*axes, "features"))
        nodes, needed = [], {graph.output[0].name}
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        for node in reversed(nodes):
            with reading(f"from_onnx: {node.op_type} ({node.name or node.output[0]})"):
                self.known |= dict(zip(node.output, self._results(node), strict=False))
        y = self.known[graph.output[0].name]
        if not isinstance(y, Value):
            raise ConversionError("from_onnx: its output is not what layers make of its input")
        with reading("from_onnx: the output"):
            self.layers = y.output_of(self.known[first])
        self.fixed = dims[:2] if self.batch_first else dims[1::-1]

    # ------------------------------------------------------------ node by node

    def _results(self, node: Any) -> Sequence[Any]:
        """Return what a node makes of its inputs."""
        inputs, operator = [self.known[name] for name in node.input], node.op_type
        if operator in ("If", "Loop", "Scan"):  # with graphs inside that read what is around them
            raise Unknown
        if operator == "Shape":
            inputs = [x.ones() if isinstance(x, Value) else x for x in inputs]
        given = [x for x in inputs if isinstance(x, Given)]
        if not any(isinstance(x, Value) for x in inputs):
            if given:
                whole = operator in _REARRANGING and all(x.whole for x in given)
                names = sum((x.names for x in given), ())
                return [Given(names, whole)] * len(node.output)
            known = {name: x for name, x in zip(node.input, inputs, strict=True) if name}
            ports = list(known), list(node.output)
            function = helper.make_function("minirnn", "node", *ports, [node], self.opsets)
            computed: list[Any] = ReferenceEvaluator(function).run(None, known, {})
            return computed
        if operator in ("RNN", "LSTM", "GRU"):
            return self._recurrent(operator.lower(), *inputs, **self._options(node))
        for x in given:
            self._take_lengths(x)
        if operator in _PLAIN:
            return [_plain(_PLAIN[operator], inputs[0], self._options(node))]
        if operator not in _OPERATORS:
            raise Unknown
        return [_OPERATORS[operator](*inputs, **self._options(node))]

    def _options(self, node: Any) -> dict[str, Any]:
        """Return the attributes of a node, with the defaults of its operator."""
        opset = {entry.domain: entry.version for entry in self.opsets}
        schema = defs.get_schema(node.op_type, opset.get(node.domain, 1), node.domain)
        found = {name: entry.default_value for name, entry in schema.attributes.items()}
        found |= {entry.name: entry for entry in node.attribute}
        return {
            name: helper.get_attribute_value(entry) for name, entry in found.items() if entry.type
        }

    def _take_lengths(self, given: Given) -> None:
        if {*given.names, self.lengths or given.names[0]} != {given.names[0]}:
            raise Unknown(" with two inputs for lengths")
        self.lengths = given.names[0]

    # ------------------------------------------------------------ recurrent operators

    def _recurrent(
        self,
        kind: str,
        x: Any,
        W: Any,
        R: Any,
        B: Any = None,
        lengths: Any = None,
        h: Any = None,
        c: Any = None,
        peepholes: Any = None,
        **options: Any,
    ) -> Sequence[Value]:
        refused = [name for name in ("clip", "input_forget", "layout") if options.get(name)]
        if refused or peepholes is not None:
            raise Unknown(f" with {', '.join(refused) or 'peepholes'}")
        if lengths is not None:
            if not isinstance(lengths, Given) or not lengths.whole:
                raise Unknown(" with lengths that are not an input of the graph")
            self._take_lengths(lengths)
        if len(x.axes) == 3 and x.axes[0] == "batch" and not self.recurrent:
            self.batch_first = False  # a recurrent operator is the first to tell
            values = {name: v for name, v in self.known.items() if isinstance(v, Value)}
            self.known |= {name: value.exchanged() for name, value in values.items()}
            x = x.exchanged()
        if x.axes[:1] != ("time",):
            raise Unknown(": it does not read sequences over the input's axis of time")
        self.recurrent = True
        layers = _directions(kind, _constant(W), _constant(R), B, options)
        states = [h, c] if kind == "lstm" else [h]
        names = [s.names if isinstance(s, Given) and s.whole else () for s in states]
        if any(s is not None and (not isinstance(s, np.ndarray) or s.any()) for s in states):
            if any(len(each) != len(layers) for each in names):
                raise Unknown(
                    " with an initial state in the graph that is not zero, nor an input of it for "
                    "each state and direction"
                )
            self.state_inputs += [name for each in zip(*names, strict=True) for name in each]
        y, *final = x.recurrent([layers[0] if len(layers) == 1 else Bidirectional(*layers)])
        return [y._replace(axes=("time", *final[0].axes)), *final]


def _directions(kind: str, W: Array, R: Array, B: Any, options: dict[str, Any]) -> list[Recurrent]:
    """Return our layers, one for each direction."""
    B = np.zeros((len(R), 2 * R.shape[1]), W.dtype) if B is None else _constant(B)
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


# ---------------------------------------------------------------- other operators


def _constant(value: Any) -> Array:
    if not isinstance(value, np.ndarray):
        raise Unknown(" where a constant is expected")
    if value.dtype == np.float16:
        raise Unknown(" in float16; minirnn has float32 and float64")
    return value


def _plain(row: Any, x: Value, options: dict[str, Any]) -> Value:
    if options.get("axis", -1) == len(x.axes) - 1:
        options = options | {"axis": -1}
    unlike = row.unlike(options)
    if unlike:
        raise Unknown(f": {unlike}")
    return x.then(row.layer(options))


def _reshape(x: Value, shape: Any = None, **options: Any) -> Value:
    if "directions" not in x.axes:
        raise Unknown(" but for the axis of directions")
    return x.joined(x.axes.index("directions"))


def _where(condition: Any, x: Any, otherwise: Any) -> Value:
    """Take zeros, or for a maximum -inf, in the padding: a mask's work."""
    zeros = np.isin(_constant(otherwise), (0, -np.inf)).all()
    if not isinstance(condition, Given) or not isinstance(x, Value) or not zeros:
        raise Unknown(" but for zeros after the lengths")
    return x


def _add(*values: Any) -> Any:
    if all(isinstance(value, Value) for value in values) and values[0].axes == values[1].axes:
        return merged(values, "sum")
    x, bias = values if isinstance(values[0], Value) else values[::-1]
    *before, layer = x.then().layers or (None,)
    if not isinstance(bias, np.ndarray) or bias.size not in (1, *bias.shape[-1:]):
        raise Unknown(" with a tensor that is neither made of the input nor a bias")
    if not isinstance(layer, ours.Dense) or layer.bias or x.axes[-1] != "features":
        raise Unknown(" but as the bias of a Dense layer, or where branches meet")
    return x._replace(layers=(*before, _dense(layer.W.value, bias)))


def _div(x: Value, by: Any) -> Value:
    """Take the mean of branches, or of the valid steps of which there is the sum."""
    if isinstance(by, Given) and "sum" in x.part:
        return x._replace(part="")
    *before, layer = x.then().layers or (None,)
    parts = getattr(layer, "layers", [None, None])
    if getattr(layer, "merge", None) != "sum" or _constant(by).tolist() != len(parts):
        raise Unknown
    mean: Any = copy.copy(layer)
    mean.merge = "mean"
    return x._replace(layers=(*before, mean))


def _reduce(layer: Callable[[], Layer], x: Value, axes: Any = None, **options: Any) -> Value:
    axes = np.reshape([] if axes is None else axes, -1).tolist()
    if len(axes) != 1 or options["keepdims"]:
        raise Unknown(" but over time alone")
    return x.pooled(int(axes[0]), layer())


def _slice(x: Value, start: Any, stop: Any, axis: Any = None, step: Any = 1) -> Value:
    start, stop, step = (np.reshape(one, -1).tolist() for one in (start, stop, step))
    if np.size(axis) != 1 or axis is None:
        raise Unknown(" but along one axis")
    return x.sliced(int(np.reshape(axis, -1)[0]) % len(x.axes), slice(*start, *stop, *step))


def _gather(x: Any, index: Any, axis: int) -> Any:
    if isinstance(index, Value):
        table = _constant(x)
        if axis != 0 or table.ndim != 2 or len(index.axes) != 2:
            raise Unknown(": it is no embedding")
        return index.then(weights.embedding(table))
    if _constant(index).ndim:
        raise Unknown(" for several steps")
    return x.picked(axis, int(index))


def _gather_nd(x: Value, index: Any, batch_dims: int) -> Value:
    if batch_dims != 1 or not isinstance(index, Given):
        raise Unknown(" for other steps than the last")
    return x.picked(1, -1)


def _matmul(x: Value, W: Any) -> Value:
    W = _constant(W)
    if W.ndim != 2:
        raise Unknown
    return x.then(_dense(W))


def _gemm(
    x: Value, W: Any, b: Any = None, *, alpha: float, beta: float, transA: int, transB: int
) -> Value:
    if (alpha, beta, transA) != (1, 1, 0):
        raise Unknown(" with alpha, beta or transA")
    W = _constant(W)
    return x.then(_dense(W.T if transB else W, None if b is None else _constant(b)))


def _layer_norm(x: Value, gain: Any, b: Any = None, **options: Any) -> Value:
    gain = _constant(gain)
    if options["axis"] not in (-1, len(x.axes) - 1) or gain.ndim != 1:
        raise Unknown(" over several axes")
    b = None if b is None else _constant(b)
    return x.then(weights.layer_norm(gain, b, options["epsilon"]))


def _dense(W: Array, b: Array | None = None) -> ours.Dense:
    return weights.dense(W, None if b is None else np.broadcast_to(b.ravel(), W.shape[1]))


_mean = partial(_reduce, ours.MeanOverTime)
_OPERATORS: dict[str, Callable[..., Value]] = {
    "Identity": lambda x: x,
    "Transpose": lambda x, perm=None: x.moved(perm or range(len(x.axes))[::-1]),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze"), _reshape),
    "Where": _where,
    "Concat": lambda *values, axis: concatenated(values, axis),
    "Add": _add,
    "Mul": lambda *values: merged(values, "product"),
    "Div": _div,
    "ReduceMean": _mean,
    "ReduceSum": lambda *args, **options: _mean(*args, **options)._replace(part="a sum over time"),
    "ReduceMax": partial(_reduce, ours.MaxOverTime),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Slice": _slice,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
}
