"""An ONNX graph as a minirnn model: one path is followed from its input to its output.

What a node computes beside the path (shapes, zeros for initial states) is not looked at; whatever
meets the path and has no counterpart is refused by name. The comparison that follows a conversion
finds out where the path was not the whole truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop.proof import ConversionError, chained
from minirnn.interop.weights import ONNX, recurrent_layer
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

__all__ = ["Reading"]

_ACTIVATIONS: dict[str, Callable[[dict[str, Any]], Layer]] = {
    "Relu": lambda options: ours.ReLU(),
    "Tanh": lambda options: ours.Tanh(),
    "Sigmoid": lambda options: ours.Sigmoid(),
    "Softplus": lambda options: ours.Softplus(),
    "LeakyRelu": lambda options: ours.LeakyReLU(options.get("alpha", 0.01)),
    "Elu": lambda options: ours.ELU(options.get("alpha", 1.0)),
}


class Reading:
    """The layers of a graph, and how its input and output are laid out.

    Attributes
    ----------
    layers : list of Layer
    batch_first : bool
        Whether the input is ``(batch, time, ...)``; ``(time, batch, ...)`` else.
    lengths : str or None
        The input that holds the lengths.
    state_inputs : list of str
        The inputs that hold initial states, in minirnn's order.
    """

    def __init__(self, model: Any) -> None:
        graph = model.graph
        self.constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        inputs = [entry for entry in graph.input if entry.name not in self.constants]
        if not inputs:
            self._refuse("the graph has no input")
        self.input = inputs[0]
        self.input_names = {entry.name for entry in inputs}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.wanted = self._needed_for(graph.output[0].name)
        self.layers: list[Layer] = []
        self.lengths: str | None = None
        self.state_inputs: list[str] = []
        self.current = self.input.name
        # The axes of the current value, by meaning. Which of the first two is time, a recurrent
        # operator tells.
        rank = len(self.input.type.tensor_type.shape.dim)
        self.axes = ["first", "second", "features"][:rank]
        self.time = "second"
        for node in graph.node:
            self._take(node)
        if graph.output[0].name != self.current:
            self._refuse("its output is not the end of one chain of layers")
        if not self.layers:
            self._refuse("it holds no layer")
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

    def model(self) -> Layer:
        """Return the layers as one model."""
        return chained(self.layers)

    def shapes(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the shapes (batch, time) that the input takes: its own where they are fixed."""
        fixed = [dim.dim_value for dim in self.input.type.tensor_type.shape.dim[:2]]
        fixed = fixed if self.batch_first else fixed[::-1]
        return sorted({(fixed[0] or batch, fixed[1] or time) for batch, time in wanted})

    # ------------------------------------------------------------ along the path

    def _take(self, node: Any) -> None:
        known = [name in self.constants for name in node.input if name]
        if node.op_type == "Constant" or (known and all(known)):
            self._fold(node)
            return
        if self.current not in node.input or node.op_type == "Shape":
            return
        if not self.wanted.intersection(node.output):
            return
        method = getattr(self, f"_{node.op_type.lower()}", None)
        if node.op_type in _ACTIVATIONS:
            self._go_on(node, _ACTIVATIONS[node.op_type](_attributes(node)))
        elif method is None:
            self._refuse(f"{node.op_type} ({node.name or node.output[0]}) has no counterpart")
        else:
            method(node, _attributes(node))

    def _fold(self, node: Any) -> None:
        """Compute what depends on constants only."""
        values = {name: self.constants[name] for name in node.input if name}
        results = ReferenceEvaluator(node).run(None, values)
        self.constants |= dict(zip(node.output, results, strict=True))

    def _go_on(self, node: Any, *layers: Layer) -> None:
        self.layers += layers
        self.current = node.output[0]

    def _refuse(self, why: str) -> None:
        raise ConversionError(f"from_onnx: {why}")

    def _constant(self, node: Any, position: int) -> Array:
        name = node.input[position] if len(node.input) > position else ""
        if name not in self.constants:
            self._refuse(f"input {position} of {node.op_type} ({node.name}) is not a constant")
        array: Array = self.constants[name]
        return array

    # ------------------------------------------------------------ recurrent operators

    def _recurrent(self, node: Any, options: dict[str, Any]) -> None:
        kind = node.op_type.lower()
        inputs = [*node.input, *[""] * (8 - len(node.input))]
        if options.get("clip") or options.get("input_forget") or inputs[7]:
            self._refuse(f"clip, input_forget or peepholes of {node.name} have no counterpart")
        if node.input[0] != self.current or len(self.axes) != 3:
            self._refuse(f"{node.op_type} ({node.name}) does not read sequences")
        time = self.axes[1 if options.get("layout") else 0]
        if time not in ("first", "second"):
            self._refuse(f"{node.op_type} ({node.name}) does not read the input's axis of time")
        earlier = any(isinstance(layer, Recurrent | Bidirectional) for layer in self.layers)
        if earlier and time != self.time:
            self._refuse("two recurrent layers run over different axes")
        self.time = time
        W, R = self._constant(node, 1), self._constant(node, 2)
        directions = len(R)
        none = np.zeros((directions, 2 * R.shape[1]), W.dtype)
        B = self._constant(node, 3) if inputs[3] else none
        direction = options.get("direction", b"forward").decode()
        activations = [name.decode() for name in options.get("activations", [])]
        layers = [
            _layer(
                kind,
                arrays,
                reverse=k == 1 or direction == "reverse",
                activations=activations[k * len(activations) // directions :][
                    : len(activations) // directions
                ],
                reset_after=bool(options.get("linear_before_reset", 0)),
            )
            for k, arrays in enumerate(zip(W, R, B, strict=True))
        ]
        self._extra_inputs(inputs, directions)
        layer = layers[0] if directions == 1 else Bidirectional(*layers)
        batch = self.axes[0 if options.get("layout") else 1]
        self._go_on(node, layer)
        if node.output[0] in self.wanted:
            self.axes = [time, "directions", batch, "features"]
            if options.get("layout"):
                self.axes = [batch, time, "directions", "features"]
            return
        self.layers.append(ours.LastState())  # the graph goes on with the final h
        self.current = node.output[1]
        self.axes = ["directions", batch, "features"]
        if options.get("layout"):
            self.axes = [batch, "directions", "features"]

    _rnn = _lstm = _gru = _recurrent

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

    def _transpose(self, node: Any, options: dict[str, Any]) -> None:
        order = options.get("perm", range(len(self.axes))[::-1])
        self.axes = [self.axes[k] for k in order]
        self._go_on(node)

    def _squeeze(self, node: Any, options: dict[str, Any]) -> None:
        left = [axis for axis in self.axes if axis not in ("directions", "one")]
        self.axes = left
        self._go_on(node)

    def _reshape(self, node: Any, options: dict[str, Any]) -> None:
        if self.axes[-2:] == ["directions", "features"]:
            self.axes = [*self.axes[:-2], "features"]
        elif "one" in self.axes:
            self.axes.remove("one")
        elif len(self.axes) > 2:
            self._refuse(f"Reshape ({node.name}) of {self.axes} has no counterpart")
        self._go_on(node)

    _flatten = _reshape

    def _concat(self, node: Any, options: dict[str, Any]) -> None:
        """Take the final states of all layers, of which the last one's is the path's."""
        if self.axes[:1] != ["directions"] or node.input[-1] != self.current:
            self._refuse(f"Concat ({node.name}) has no counterpart")
        self._go_on(node)

    def _identity(self, node: Any, options: dict[str, Any]) -> None:
        self._go_on(node)

    _cast = _identity

    def _where(self, node: Any, options: dict[str, Any]) -> None:
        """Take zeros, or for a maximum -inf, in the padding: a mask's work."""
        padding = self._constant(node, 2)
        if node.input[1] != self.current or not np.isin(padding, (0, -np.inf)).all():
            self._refuse(f"Where ({node.name}) has no counterpart")
        self._go_on(node)

    # ------------------------------------------------------------ from time to one vector

    def _over_time(self, node: Any, options: dict[str, Any]) -> None:
        """Raise unless a reduction is over time alone; the axis goes."""
        axes = options.get("axes")
        if axes is None:
            axes = np.reshape(self._constant(node, 1), -1).tolist()
        if len(axes) != 1 or options.get("keepdims", 1) or self.axes[axes[0]] != self.time:
            self._refuse(f"{node.op_type} ({node.name}) is not over time alone")
        self.axes.pop(axes[0])

    def _reducemean(self, node: Any, options: dict[str, Any]) -> None:
        self._over_time(node, options)
        self._go_on(node, ours.MeanOverTime())

    def _reducemax(self, node: Any, options: dict[str, Any]) -> None:
        self._over_time(node, options)
        self._go_on(node, ours.MaxOverTime())

    def _reducesum(self, node: Any, options: dict[str, Any]) -> None:
        self._over_time(node, options)
        self._go_on(node)  # a mean, if the division by the lengths follows

    def _div(self, node: Any, options: dict[str, Any]) -> None:
        before = self.made_by.get(self.current)
        by_lengths = self.lengths is not None and self._graph_inputs(node.input[1])
        if before is None or before.op_type != "ReduceSum" or by_lengths != [self.lengths]:
            self._refuse(f"Div ({node.name}) has no counterpart")
        self._go_on(node, ours.MeanOverTime())

    # ------------------------------------------------------------ other layers

    def _gather(self, node: Any, options: dict[str, Any]) -> None:
        axis = options.get("axis", 0)
        if node.input[0] in self.constants:
            table = self._constant(node, 0)
            if axis != 0 or table.ndim != 2 or len(self.axes) != 2:
                self._refuse(f"Gather ({node.name}) is no embedding")
            layer = ours.Embedding(*table.shape, rng=0, dtype=table.dtype)
            layer.W.value = table
            self.axes = [*self.axes, "features"]
            self._go_on(node, layer)
            return
        if self.axes[axis] == "directions":
            self._one_state(node, axis, self._constant(node, 1).tolist())
            return
        if self._constant(node, 1).tolist() != -1 or self.axes[axis] != self.time:
            self._refuse(f"Gather ({node.name}) takes something other than the last step")
        self.axes.pop(axis)
        self._go_on(node, ours.LastStep())

    def _one_state(self, node: Any, axis: int, index: int) -> None:
        """Take the final state of one direction, or both, put together by what follows."""
        value = self.current
        before = self.layers[-2] if len(self.layers) > 1 else None
        if not isinstance(before, Bidirectional):
            self.axes.pop(axis)
            self._go_on(node)
            return
        for after in self.made_by.values():
            parts = [self.made_by.get(name) for name in after.input]
            picked = [p for p in parts if p and p.op_type == "Gather" and p.input[0] == value]
            if after.op_type == "Concat" and len(picked) == len(parts) == 2:
                indices = [int(self.constants[p.input[1]]) % 2 for p in picked]
                if indices == [0, 1]:
                    self.axes.pop(axis)
                    self._go_on(after)
                    return
        self._refuse(f"Gather ({node.name}) takes the final state of one direction of two")

    def _gathernd(self, node: Any, options: dict[str, Any]) -> None:
        if self.axes[1:2] != [self.time] or options.get("batch_dims") != 1:
            self._refuse(f"GatherND ({node.name}) takes something other than the last step")
        self.axes.pop(1)
        self._go_on(node, ours.LastStep())

    def _slice(self, node: Any, options: dict[str, Any]) -> None:
        start, axis = self._constant(node, 1), self._constant(node, 3)
        at = int(axis[0])
        if start.tolist() != [-1] or self.axes[at] != self.time:
            self._refuse(
                f"Slice ({node.name}) takes something other than the last step; PyTorch's newer "
                f"exporter writes an nn.RNN step by step: export with dynamo=False"
            )
        self.axes[at] = "one"
        self._go_on(node, ours.LastStep())

    def _matmul(self, node: Any, options: dict[str, Any]) -> None:
        weights = self._constant(node, 1)
        self._dense(node, weights, None)

    def _gemm(self, node: Any, options: dict[str, Any]) -> None:
        if (options.get("alpha", 1), options.get("beta", 1), options.get("transA", 0)) != (1, 1, 0):
            self._refuse(f"Gemm ({node.name}) with alpha, beta or transA has no counterpart")
        weights = self._constant(node, 1)
        bias = self._constant(node, 2) if len(node.input) > 2 else None
        self._dense(node, weights.T if options.get("transB") else weights, bias)

    def _dense(self, node: Any, weights: Array, bias: Array | None) -> None:
        if weights.ndim != 2 or node.input[0] != self.current:
            self._refuse(f"{node.op_type} ({node.name}) has no counterpart")
        layer = ours.Dense(*weights.shape, bias=bias is not None, rng=0, dtype=weights.dtype)
        layer.W.value = weights
        if layer.b is not None:
            layer.b.value = np.broadcast_to(np.asarray(bias), layer.b.shape)
        self._go_on(node, layer)

    def _add(self, node: Any, options: dict[str, Any]) -> None:
        """Take a bias into the Dense layer before it."""
        other = next((name for name in node.input if name != self.current), "")
        before = self.layers[-1] if self.layers else None
        if not isinstance(before, ours.Dense) or before.bias or other not in self.constants:
            self._refuse(f"Add ({node.name}) has no counterpart but as the bias of a Dense layer")
        assert isinstance(before, ours.Dense)
        self.layers.pop()
        layer = ours.Dense(*before.W.shape, rng=0, dtype=before.W.value.dtype)
        assert layer.b is not None
        layer.W.value = before.W.value
        layer.b.value = np.broadcast_to(self.constants[other], layer.b.shape)
        self._go_on(node, layer)

    def _layernormalization(self, node: Any, options: dict[str, Any]) -> None:
        gain = self._constant(node, 1)
        if options.get("axis", -1) not in (-1, len(self.axes) - 1) or gain.ndim != 1:
            self._refuse(f"LayerNormalization ({node.name}) over several axes has no counterpart")
        layer = ours.LayerNorm(len(gain), epsilon=options.get("epsilon", 1e-5), dtype=gain.dtype)
        layer.gain.value = gain
        if len(node.input) > 2:
            layer.b.value = self._constant(node, 2)
        self._go_on(node, layer)

    def _gelu(self, node: Any, options: dict[str, Any]) -> None:
        if options.get("approximate", b"none") != b"tanh":
            self._refuse(f"Gelu ({node.name}) without approximate='tanh' has no counterpart")
        self._go_on(node, ours.GELU())

    def _mul(self, node: Any, options: dict[str, Any]) -> None:
        """Take ``x sigmoid(x)``, a SiLU."""
        gate = self.made_by.get(self.current)
        if gate is None or gate.op_type != "Sigmoid" or gate.input[0] not in node.input:
            self._refuse(f"Mul ({node.name}) has no counterpart")
        self.layers.pop()
        self._go_on(node, ours.SiLU())

    def _softmax(self, node: Any, options: dict[str, Any], layer: Any = ours.Softmax) -> None:
        if options.get("axis", -1) not in (-1, len(self.axes) - 1):
            self._refuse(f"{node.op_type} ({node.name}) is not over the last axis")
        self._go_on(node, layer())

    def _logsoftmax(self, node: Any, options: dict[str, Any]) -> None:
        self._softmax(node, options, ours.LogSoftmax)

    def _dropout(self, node: Any, options: dict[str, Any]) -> None:
        rate = self._constant(node, 1) if len(node.input) > 1 else options.get("ratio", 0.5)
        self._go_on(node, ours.Dropout(float(rate)))


def _attributes(node: Any) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _layer(
    kind: str,
    arrays: tuple[Array, Array, Array],
    *,
    reverse: bool,
    activations: list[str],
    reset_after: bool,
) -> Recurrent:
    """Return our layer of one direction, of ONNX's ``W, R, B``."""
    W, R, B = arrays
    options: dict[str, Any] = {}
    usual = {"rnn": ["Tanh"], "lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"]}[kind]
    activations = activations or usual
    if kind == "rnn" and activations[0] in ("Tanh", "Relu", "Sigmoid"):
        options["activation"] = activations[0].lower()
    elif activations != usual:
        raise ConversionError(
            f"from_onnx: {kind.upper()} with activations {', '.join(activations)} has no "
            f"counterpart"
        )
    if kind == "gru":
        options["reset_after"] = reset_after
    return recurrent_layer(ONNX, kind, W.T, R.T, *np.split(B, 2), reverse=reverse, **options)
