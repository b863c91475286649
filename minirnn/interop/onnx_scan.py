"""Any cell as an ONNX ``Scan`` over its operations.

The cell's `forward` is run once over stand-ins for arrays (`minirnn.engine.trace`), which leaves a
list of operations behind. Each of them is an ONNX node; together they are the body of the loop. A
mask is part of the body too: it keeps the state and gives zeros where a step is padding.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from minirnn.core import Layer
from minirnn.engine.trace import Record, Tape, Untraceable, trace
from minirnn.interop.counterparts import ConversionError, inner, refuse, titled
from minirnn.interop.onnx_writer import Writer

__all__ = ["write_scan"]

_SAME = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "abs": "Abs",
    "sign": "Sign", "max": "Max", "min": "Min", "tanh": "Tanh", "exp": "Exp", "sqrt": "Sqrt",
    "log": "Log", "sin": "Sin", "cos": "Cos", "arctan": "Atan", "pow": "Pow", "product": "MatMul",
}  # fmt: skip
_TRUTHS = {"gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal"}
_BATCHES = 1009, 2003  # of the traces: no size of a layer's
_FOLDS = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}


def write_scan(writer: Writer, layer: Any, x: str, place: str) -> str:
    """Write a recurrent layer as a loop over its cell; return the name of its output."""
    cell = layer.cell
    zeros = cell.initial_state(1)
    body = _Body(writer, _tape(cell, writer.dtype, zeros, place), cell, place).graph()
    names = getattr(cell, "state_names", ())
    if len(names) != len(zeros):
        names = tuple(str(k) for k in range(len(zeros)))
    states = {inner(place, name): array for name, array in zip(names, zeros, strict=True)}
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


def _tape(cell: Any, dtype: np.dtype[Any], zeros: tuple[Any, ...], place: str) -> Tape:
    """Trace the cell at two batch sizes; what differs between them cannot be in a graph."""
    widths = tuple(array.shape[1] for array in zeros)
    try:
        if any(array.ndim != 2 for array in zeros):
            raise Untraceable("a state that is not (batch, n)")
        one, two = (trace(copy.deepcopy(cell), n, dtype, widths) for n in _BATCHES)
        needed = _needed(one, len(zeros))
        alike = needed == _needed(two, len(zeros))
        if not alike or not all(_same(one.records[k], two.records[k]) for k in needed):
            raise Untraceable("the batch size decides what is done")
    except Exception as error:
        raise ConversionError(
            f"to_onnx: {titled(place, cell)} has no counterpart in ONNX, and its operations cannot "
            f"be traced: {str(error) or type(error).__name__}"
        ) from error
    return one


def _same(one: Record, two: Record) -> bool:
    if (one.name, one.args) != (two.name, two.args):
        return False
    if isinstance(one.attr, np.ndarray):
        return np.array_equal(one.attr, two.attr)
    return bool(one.attr == two.attr)


def _needed(tape: Tape, states: int) -> list[int]:
    """Return the numbers of the operations that the output and the next state are made of."""
    found, waiting = set(), list(tape.outputs[: 1 + states])
    while waiting:
        k = waiting.pop()
        if k not in found:
            found.add(k)
            waiting += tape.records[k].args
    return sorted(found)


def _rows(writer: Writer, x: str, array: Any) -> str:
    """Return the cell's own initial state, one row of it for each sequence."""
    if not (array == array[:1]).all():
        raise ConversionError("to_onnx: an initial state with other numbers in every row")
    batch = writer.add("Shape", x, start=0, end=1)
    width = writer.integers(*array.shape[1:])
    shape = writer.add("Concat", batch, width, axis=0)
    return writer.add("Expand", writer.constant(array[:1]), shape)


class _Body(Writer):
    """The graph of one time step. Its constants belong to the graph around it."""

    def __init__(self, outer: Writer, tape: Tape, cell: Layer, layer: str) -> None:
        super().__init__(outer.dtype, states=False, place=inner(layer, "step."))
        self.outer, self.tape, self.layer = outer, tape, layer
        self.parameters = dict(cell.named_parameters())
        self.x_t = next(record for record in tape.records if record.name == "x")
        self.names: dict[int, str] = {}
        self.batch: str | None = None

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add an array to the graph around this one."""
        return self.outer.constant(value, dtype)

    def graph(self) -> Any:
        """Return the body: states, x_t and mask_t in; states and y_t out."""
        tape = self.tape
        states = [record for record in tape.records if record.name == "state"]
        inputs = []
        for record in [*states, self.x_t]:
            name = f"{self.place}{record.name}_{record.attr}"
            self.names[record.place] = name
            inputs.append(self._port(name, record))
        if self.outer.mask is not None:
            self.mask = f"{self.place}mask_t"
            inputs.append(helper.make_tensor_value_info(self.mask, TensorProto.BOOL, ["batch"]))
        for k in _needed(tape, len(states)):
            if k not in self.names:
                self.names[k] = self._write(tape.records[k])
        y, *new = (tape.records[k] for k in tape.outputs[: 1 + len(states)])
        outputs = []
        for record, old in zip([*new, y], [*inputs[: len(states)], None], strict=True):
            value = self._whole(record)
            if self.mask is not None:
                real = self.add("Unsqueeze", self.mask, self.integers(1))
                value = self.add("Where", real, value, old.name if old else self.constant(0))
            outputs.append(self._port(self.add("Identity", value), record))
        return helper.make_graph(self.nodes, f"{self.place}body", inputs, outputs)

    def _port(self, name: str, record: Record) -> Any:
        return helper.make_tensor_value_info(name, self.element, ["batch", record.shape[1]])

    # ------------------------------------------------------------ one operation

    def _write(self, record: Record) -> str:
        inputs = [self.names[k] for k in record.args]
        name = record.name
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
        if name == "concat":
            parts = [self._whole(self.tape.records[k]) for k in record.args]
            return self.add("Concat", *parts, axis=1)
        if name == "slice":
            bounds = [self.integers(n) for n in (*record.attr, -1)]
            return self.add("Slice", *inputs, *bounds)
        if name == "transpose":
            return self.add("Transpose", *inputs, perm=[1, 0])
        if name == "id":
            return self._whole(record, inputs[0])
        if name in ("const", "array"):
            return self.constant(record.attr)
        if name == "parameter":
            return self._parameter(record)
        return self._fold(record, inputs[0])

    def _parameter(self, record: Record) -> str:
        view = record.attr
        value = np.ascontiguousarray(self.parameters[view.name].value)
        strides = tuple(step * value.itemsize for step in view.strides)
        part = np.lib.stride_tricks.as_strided(
            value.reshape(-1)[view.offset :], record.shape, strides
        )
        return self.outer.weights(inner(self.layer, f"{view.name}.{record.place}"), part.copy())

    def _fold(self, record: Record, value: str) -> str:
        what, _, axis = record.name.partition(" of ")
        (before,) = (self.tape.records[k] for k in record.args)
        if what not in _FOLDS or (axis == "rows" and before.shape[0] == self.tape.batch):
            refuse("to_onnx", f"{record.name} in the cell of layer {self.layer}", "ONNX")
        keep = int(len(record.shape) == len(before.shape))
        axes = self.integers(0 if axis == "rows" else -1)
        return self.add(_FOLDS[what], value, axes, keepdims=keep)

    def _whole(self, record: Record, value: str | None = None) -> str:
        """Return a value in its full shape, where it stands for one row or one number."""
        name = self.names[record.place] if value is None else value
        if not record.shape or record.shape[0] != self.tape.batch:
            return name
        if self.batch is None:
            self.batch = self.add("Shape", self.names[self.x_t.place], start=0, end=1)
        shape = self.batch
        if len(record.shape) > 1:
            shape = self.add("Concat", shape, self.integers(*record.shape[1:]), axis=0)
        source = record if value is None else self.tape.records[record.args[0]]
        column = source.shape == record.shape[:1] and record.shape[1:] == (1,)
        return self.add("Reshape" if column else "Expand", name, shape)
