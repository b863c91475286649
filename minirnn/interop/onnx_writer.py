"""An ONNX graph in the making."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from minirnn.typing import Array

OPSET = 20
IR_VERSION = 10  # of ONNX 1.16: what runtimes of the last years read


class Writer:
    """A graph in the making, of a dtype; all names of its values begin with `place`.

    With `states`, initial states are inputs and final states outputs. `lengths` and `mask` name the
    input with the lengths and the mask ``(batch, time)`` made of it, where there are any; `last`
    leads from a recurrent layer's output to its last step, where that is known.
    """

    def __init__(self, dtype: np.dtype[Any], *, states: bool, place: str = "") -> None:
        self.dtype, self.states, self.place = dtype, states, place
        self.element = helper.np_dtype_to_tensor_dtype(dtype)
        self.lengths: str | None = None
        self.mask: str | None = None
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.last: dict[str, str] = {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        return self.add_several(1, op, *inputs, **attributes)[0]

    def add_several(self, outputs: int, op: str, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node; return the names of its outputs."""
        name = f"{self.place}{op}_{len(self.nodes)}"
        names = [name + f"_{k}" * (k > 0) for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name, **attributes))
        return names

    def zeros_in_padding(self, value: str, otherwise: float = 0) -> str:
        """Add zeros, or another number, where steps of ``(batch, time, ...)`` are padding."""
        if self.mask is None:
            return value
        wide = self.add("Unsqueeze", self.mask, self.integers(2))
        return self.add("Where", wide, value, self.constant(otherwise))

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

    def merge(self, parts: list[str], how: str, axis: int) -> str:
        """Add what `minirnn.layers.Parallel` does to the outputs of several layers."""
        if how == "concat":
            return self.add("Concat", *parts, axis=axis)
        y = parts[0]
        for part in parts[1:]:
            y = self.add("Mul" if how == "product" else "Add", y, part)
        if how == "mean":
            y = self.add("Div", y, self.constant(len(parts)))
        return y

    def initial_state(self, name: str, *shape: int) -> str:
        """Add an input ``initial.<name>`` of shape ``(batch, ...)``; return its name."""
        name = f"initial.{name}"
        self.inputs.append(helper.make_tensor_value_info(name, self.element, ["batch", *shape]))
        return name

    def final_state(self, name: str, value: str, *shape: int) -> None:
        """Add an output ``final.<name>`` of shape ``(batch, ...)``."""
        name = f"final.{name}"
        self.nodes.append(helper.make_node("Identity", [value], [name], name))
        self.outputs.append(helper.make_tensor_value_info(name, self.element, ["batch", *shape]))

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
