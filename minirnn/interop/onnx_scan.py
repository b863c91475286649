"""Any cell as an ONNX ``Scan`` over its operations.

The cell's `forward` is run once over stand-ins for arrays (`minirnn.engine.trace`), which leaves a
graph of operations behind. Each of them is an ONNX node; together they are the body of the loop. A
mask is part of the body too: it keeps the state and gives zeros where a step is padding.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from minirnn.cells.cell import Cell
from minirnn.engine.graph import Graph, Node, reach
from minirnn.engine.program import merged
from minirnn.engine.trace import sizes_of, trace
from minirnn.errors import Untraceable
from minirnn.interop.counterparts import ConversionError, inner, refuse, titled
from minirnn.interop.onnx_writer import Writer

_SAME = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "abs": "Abs",
    "sign": "Sign", "max": "Max", "min": "Min", "tanh": "Tanh", "exp": "Exp", "sqrt": "Sqrt",
    "log": "Log", "sin": "Sin", "cos": "Cos", "arctan": "Atan", "pow": "Pow",
}  # fmt: skip
_TRUTHS = {"gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal"}
_BATCHES = 1009, 2003  # of the traces: no size of a layer's
_FOLDS = {"sum": "ReduceSum", "rowmax": "ReduceMax", "rowmin": "ReduceMin"}


def write_scan(writer: Writer, layer: Any, x: str, place: str) -> str:
    """Write a recurrent layer as a loop over its cell; return the name of its output."""
    cell = layer.cell
    first = cell.initial_state(2)
    body = _Body(writer, *_traced(cell, writer.dtype, first, place), cell, place).graph()
    if not writer.states and not all((array == array[:1]).all() for array in first):
        refuse("to_onnx", "ONNX", f"an initial state of {titled(place, cell)}", "rows differ in it")
    names = cell.state_names or [str(k) for k in range(len(first))]
    states = {inner(place, name): array for name, array in zip(names, first, strict=True)}
    initial = [
        writer.initial_state(name, *array.shape[1:]) if writer.states else _rows(writer, x, array)
        for name, array in states.items()
    ]
    sequences = [x] if writer.mask is None else [x, writer.mask]
    direction = int(layer.reverse)
    *final, y = writer.add_several(
        len(states) + 1,
        "Scan",
        *initial,
        *sequences,
        body=body,
        num_scan_inputs=len(sequences),
        scan_input_axes=[1] * len(sequences),
        scan_input_directions=[direction] * len(sequences),
        scan_output_axes=[1],
        scan_output_directions=[direction],
    )
    if writer.states:
        for (name, array), value in zip(states.items(), final, strict=True):
            writer.final_state(name, value, *array.shape[1:])
    return y


def _traced(
    cell: Any, dtype: np.dtype[Any], states: tuple[Any, ...], place: str
) -> tuple[Graph, list[Any]]:
    """Trace the cell at two batch sizes; what differs between them cannot be in a graph."""
    try:
        if any(array.ndim != 2 for array in states):
            raise Untraceable("a state that is not (batch, n)")
        sizes = sizes_of(cell, tuple(array.shape[1] for array in states))
        traces = [trace(copy.deepcopy(cell), n, dtype, sizes) for n in _BATCHES]
        step = merged(traces)
        step.results = step.results[: 1 + len(states)]  # the output and the next state
        if any(n.attr[1] for n in reach(step.results) if n.name == "const"):
            raise Untraceable("the batch size decides what is done")
    except Exception as error:
        raise ConversionError(
            f"to_onnx: {titled(place, cell)} has no counterpart in ONNX, and its operations cannot "
            f"be traced: {str(error) or type(error).__name__}"
        ) from error
    return step, traces[0].arrays


def _rows(writer: Writer, x: str, array: Any) -> str:
    """Return the cell's own initial state, one row of it for each sequence."""
    batch = writer.add("Shape", x, start=0, end=1)
    width = writer.integers(*array.shape[1:])
    shape = writer.add("Concat", batch, width, axis=0)
    return writer.add("Expand", writer.constant(array[:1]), shape)


class _Body(Writer):
    """The graph of one time step. Its constants belong to the graph around it."""

    def __init__(
        self, outer: Writer, step: Graph, arrays: list[Any], cell: Cell, layer: str
    ) -> None:
        super().__init__(outer.dtype, states=False, place=inner(layer, "step."))
        self.outer, self.step, self.layer, self.width = outer, step, layer, cell.input_size
        self.parameters = {name: p.value for name, p in cell.named_parameters()}
        self.parameters |= {f"#{k}": array for k, array in enumerate(arrays)}
        self.names: dict[Node, str] = {}

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add an array to the graph around this one."""
        return self.outer.constant(value, dtype)

    def graph(self) -> Any:
        """Return the body: states, x_t and mask_t in; states and y_t out."""
        y, *new = self.step.results
        inputs = [self._port(f"{self.place}state_{n.attr}", n.width) for n in new]
        inputs.append(self._port(f"{self.place}x_0", self.width))
        if self.outer.mask is not None:
            self.mask = f"{self.place}mask_t"
            inputs.append(helper.make_tensor_value_info(self.mask, TensorProto.BOOL, ["batch"]))
        for n in reach([result.args[0] for result in self.step.results]):
            self.names[n] = self._write(n, [self.names[a] for a in n.args])
        outputs = []
        for result, old in zip([*new, y], [*inputs[: len(new)], None], strict=True):
            value = self._whole(result.args[0])
            if self.mask is not None:
                real = self.add("Unsqueeze", self.mask, self.integers(1))
                value = self.add("Where", real, value, old.name if old else self.constant(0))
            outputs.append(self._port(self.add("Identity", value), result.width))
        return helper.make_graph(self.nodes, f"{self.place}body", inputs, outputs)

    def _port(self, name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, self.element, ["batch", width])

    # ------------------------------------------------------------ one operation

    def _write(self, n: Node, inputs: list[str]) -> str:
        name = n.name
        if name in ("x", "state"):
            return f"{self.place}{name}_{n.attr}"
        if name in _SAME:
            return self.add(_SAME[name], *inputs)
        if name in _TRUTHS:
            return self.add("Cast", self.add(_TRUTHS[name], *inputs), to=self.element)
        if name == "ne":
            equal = self.add("Equal", *inputs)
            return self.add("Cast", self.add("Not", equal), to=self.element)
        if name == "where":
            condition = self.add("Cast", inputs[0], to=TensorProto.BOOL)
            return self.add("Where", condition, *inputs[1:])
        if name == "expm1":
            return self.add("Sub", self.add("Exp", *inputs), self.constant(1))
        if name == "log1p":
            return self.add("Log", self.add("Add", *inputs, self.constant(1)))
        if name == "product":
            pairs = zip(inputs[::2], inputs[1::2], strict=True)
            return self.merge([self.add("MatMul", *pair) for pair in pairs], "sum", 1)
        if name == "concat":
            return self.add("Concat", *[self._whole(a) for a in n.args], axis=1)
        if name == "slice":
            bounds = [self.integers(k) for k in (*n.attr, -1)]
            return self.add("Slice", *inputs, *bounds)
        if name == "id":
            return self._whole(n.args[0])
        if name == "const":
            return self.constant(n.attr[0])
        if name == "parameter":
            return self._parameter(n)
        if name in _FOLDS:
            return self.add(_FOLDS[name], *inputs, self.integers(-1), keepdims=1)
        return refuse("to_onnx", "ONNX", f"a {name} in the cell of layer {self.layer}")

    def _parameter(self, n: Node) -> str:
        part = n.attr
        value = np.ascontiguousarray(self.parameters[part.name], self.dtype)
        strides = tuple(step * value.itemsize for step in part.strides)
        array = np.lib.stride_tricks.as_strided(
            value.reshape(-1)[part.offset :], part.shape, strides
        )
        return self.outer.weights(inner(self.layer, f"{part.name}.{n.number}"), array.copy())

    def _whole(self, n: Node) -> str:
        """Return a value with all rows of the batch, where it stands for one row or one number."""
        if not n.row:
            return self.names[n]
        batch = self.add("Shape", f"{self.place}x_0", start=0, end=1)
        shape = self.add("Concat", batch, self.integers(n.width), axis=0)
        return self.add("Expand", self.names[n], shape)
