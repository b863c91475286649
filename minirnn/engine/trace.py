"""Record what a cell does: run its forward and backward once, on stand-ins for arrays.

A stand-in has a shape and a dtype and no numbers. NumPy hands it every function that it takes part
in (``__array_ufunc__``, ``__array_function__``), so that straight-line array code leaves a graph of
operations behind. Whatever asks for numbers raises `Untraceable`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.engine.graph import Graph, Node, Part
from minirnn.engine.stand_in import Gradient, StandIn
from minirnn.errors import Untraceable
from minirnn.typing import Array

Sizes = dict[tuple[str, Any], int]


class Trace:
    """One run of a cell.

    Attributes
    ----------
    batch : int
        The batch size of this run.
    phase : int
        0 in forward, 1 in backward.
    graph : Graph
        What was done; its results are what the cell returned, and what was added to gradients.
    arrays : list of arrays
        Weights that are not learned; as parameters they are named "#0", "#1" ...
    """

    def __init__(self, batch: int, dtype: np.dtype[Any]) -> None:
        self.batch, self.dtype, self.phase = batch, dtype, 0
        self.graph = Graph()
        self.arrays: list[Array] = []
        self._filled: dict[int, tuple[Any, StandIn]] = {}
        self._unread: dict[Any, Array] = {}  # one array, which nobody reads, for all of a shape

    def stand_in(
        self, node: Node, shape: tuple[int, ...], rows: int | None = None, *, boolean: bool = False
    ) -> StandIn:
        """Return what stands for all of a node; along the batch it does not move in memory."""
        key = shape, rows, boolean, node.width
        whole = self._unread.get(key)
        if whole is None:
            if rows is not None and shape[1:] not in ((), (1,), (node.width,)):
                raise Untraceable(f"an array of shape {shape}: one number a row beside a row")
            whole = np.empty(shape if rows is None else shape[1:], bool if boolean else self.dtype)
            if rows is not None:
                whole = np.ndarray(shape, whole.dtype, whole, 0, (0, *whole.strides))
            self._unread[key] = whole
        return StandIn(self, node, whole, whole, rows, fresh=True)

    def parameter(self, name: str, value: Array, kind: type[StandIn] = StandIn) -> StandIn:
        """Return what stands for a parameter, or its gradient."""
        strides = tuple(s // value.itemsize for s in value.strides)
        what = "parameter" if kind is StandIn else "gradient"
        node = self.graph.leaf(what, Part(name, 0, value.shape, strides, self.phase))
        return kind(self, node, value, value, None, fresh=False)

    def of(self, value: Any) -> StandIn:
        """Return what stands for a number or an array that the cell uses."""
        if isinstance(value, StandIn):
            return value
        if id(value) in self._filled:
            return self._filled[id(value)][1]
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" or array.ndim > 2:
            raise Untraceable(f"a {type(value).__name__} of {array.ndim} axes takes part")
        rows = 0 if array.shape[:1] in ((1,), (self.batch,)) else None
        if rows == 0 and array.strides[0] and not (array == array[:1]).all():
            raise Untraceable("an array with other numbers in every row (random numbers?)")
        row = array if rows is None else array[0]
        if row.ndim == 0:
            node = self.graph.const(float(row))
        else:  # weights that are not learned
            self.arrays.append(np.array(row, np.float64, order="C"))
            weights = self.parameter(f"#{len(self.arrays) - 1}", self.arrays[-1])
            if rows is None:
                return weights
            node = self.graph.ew("id", weights.node)
        return self.stand_in(node, array.shape, rows, boolean=array.dtype == bool)

    def fill(self, array: Array, value: StandIn) -> Array:
        """Take note that a real array, made with np.empty or np.zeros, now holds `value`."""
        if array.shape != value.view.shape or array.base is not None:
            raise Untraceable("out= is a part of another array, or of another shape")
        array.fill(np.nan)
        self._filled[id(array)] = array, value
        return array


def sizes_of(cell: Cell, widths: tuple[int, ...]) -> Sizes:
    """Return how wide all arrays of a call are, by name and number, in the order of machine.c."""
    inputs, outputs = cell.input_size, cell.output_size
    sizes: Sizes = {("x", 0): inputs, ("y", 0): outputs, ("grad_y", 0): outputs}
    sizes |= {("grad_x", 0): inputs, ("mask", 0): 1}
    for name in ("state", "next_state", "grad_state", "next_grad_state"):
        sizes |= {(name, k): width for k, width in enumerate(widths)}
    return sizes


def trace(cell: Cell, batch: int, dtype: np.dtype[Any], sizes: Sizes) -> Trace:
    """Run a cell, a copy, once over stand-ins; its parameters are stand-ins too, meanwhile."""
    run, on_stand_ins = Trace(batch, dtype), cast(Any, cell)
    parameters: Any = [(name, p, p.value, p.grad) for name, p in cell.named_parameters()]

    def enter_phase(phase: int) -> None:
        run.phase = phase
        for name, parameter, value, grad in parameters:
            parameter._value = run.parameter(name, value)
            parameter._grad = run.parameter(name, grad, Gradient)

    def given(wanted: str) -> tuple[Any, ...]:
        nodes = [run.graph.node(name, attr=k, width=width)
                 for (name, k), width in sizes.items() if name == wanted]  # fmt: skip
        found = tuple(run.stand_in(n, (batch, n.width), 0) for n in nodes)
        for one in found:
            one.fresh = False
        return found

    def take(what: str, wanted: str, values: Any) -> None:
        expected = [(k, width) for (name, k), width in sizes.items() if name == wanted]
        if not isinstance(values, tuple) or len(values) != len(expected):
            method = ("forward", "backward")[run.phase]
            raise Untraceable(f"{method} does not return a tuple of {len(expected)} state arrays")
        for value, (k, width) in zip(map(run.of, values), expected, strict=True):
            if value.view.shape != (batch, width):
                raise Untraceable(f"{what} of shape {value.view.shape}")
            run.graph.result(wanted, value.node, attr=k)

    try:
        enter_phase(0)
        y, state, cache = on_stand_ins.forward(*given("x"), given("state"))
        take("an output", "y", (y,))
        take("a next state", "next_state", state)
        enter_phase(1)
        grad_x, grad = on_stand_ins.backward(*given("grad_y"), given("grad_state"), cache)
        take("a gradient on the input", "grad_x", (grad_x,))
        take("a gradient on a state", "next_grad_state", grad)
    finally:
        for _, parameter, value, grad in parameters:
            parameter._value, parameter._grad = value, grad
    return run
