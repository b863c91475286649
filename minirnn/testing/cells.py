"""The contract of a cell: one step, and the layer over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.recurrent import Recurrent
from minirnn.testing.arrays import part, same
from minirnn.testing.findings import first_wrong_gradients
from minirnn.testing.layers import LAYER, gradients, later_calls, other_dtypes
from minirnn.testing.report import Advice, ContractReport, NotApplicableError, run
from minirnn.testing.subject import CellSubject, LayerSubject

STEPS = 3


def _state(cell: Any, batch: int) -> Any:
    """Return a random state of the shapes of the initial one."""
    rng = np.random.default_rng(3)
    return tuple(rng.standard_normal(np.shape(a)) * 0.5 for a in cell.initial_state(batch))


def check_cell(cell: Cell, inputs: tuple[Any, ...], mask: Any) -> ContractReport:
    """Check the contract of a cell, and then that of the layer over it."""
    x = np.asarray(inputs[0] if inputs else 0)
    if len(inputs) != 1 or x.ndim != 2:
        raise TypeError(
            f"check_layer: {type(cell).__name__} is a cell, so it takes one step x_t of shape "
            f"(batch, input_size)"
        )
    batch, size = x.shape
    alone = run(cell, CellSubject(cell, (x,), None), [sizes])
    if alone.passed:
        alone = run(cell, CellSubject(cell, (x, _state(cell, batch)), None), CELL)
    if alone.violations:
        return alone  # the layer over it would say the same again
    sequence = np.random.default_rng(4).standard_normal((batch, STEPS, size))
    layer = Recurrent(cell)
    over_time = run(layer, LayerSubject(layer, (sequence,), mask), LAYER)
    return ContractReport(
        alone.thing,
        (*alone.kept, *(f"{name} (over time)" for name in over_time.kept)),
        over_time.violations,
        alone.advice + over_time.advice,
        {**alone.skipped, **over_time.skipped},
    )


def sizes(s: CellSubject) -> Iterator[str]:
    """Look at the sizes, and run it as the layer over it does, which checks what it gets."""
    for name in ("input_size", "hidden_size"):
        if not isinstance(getattr(s.thing, name, None), int | np.integer):
            yield f"the cell has no {name}: set self.{name} in __init__, an int"
            return
    for x in (s.inputs[0], s.inputs[0][:1]):
        try:
            Recurrent(s.made()).forward(x[:, None])
        except Exception:  # of any kind: the gradient check says where it is
            yield from first_wrong_gradients(Recurrent(s.made()), [("", (x[:, None],), None)])
            return


def stateless(s: CellSubject) -> Iterator[str]:
    """Look whether a step leaves anything on the cell."""
    if s.remembers():
        yield (
            "the same step gives other numbers the second time: a cell remembers nothing between "
            "calls, what is to be remembered belongs in the state"
        )
    cell = s.made()
    attributes = {*vars(cell), "output_size"}
    s.results(cell, s.inputs)
    new = sorted(vars(cell).keys() - attributes)
    if new:
        yield Advice(
            f"forward sets self.{new[0]}: a cell runs once for each step, so what backward needs "
            f"belongs in the cache that forward returns"
        )


def dtype(s: CellSubject) -> Iterator[str]:
    """Run a step in float32 and in float64."""
    yield from other_dtypes(s)


def rows(s: CellSubject) -> Iterator[str]:
    """Run each row of the batch alone."""
    x, state = s.inputs
    together = s.made().forward(x, state)[:2]
    for row in range(len(x)):
        own = slice(row, row + 1)
        alone = s.made().forward(x[own], part(state, own))[:2]
        if not same(alone, part(together, own)):
            yield (
                f"row {row} of the batch gives other numbers alone: the rows of a batch are other "
                f"sequences, some of them padding, and should not meet in a step"
            )
            return


def gates(s: CellSubject) -> Iterator[str]:
    """Look whether the gates that the cell names are in the cache, inside their bounds."""
    named: Any = getattr(s.thing, "gates", None)
    if not named:
        raise NotApplicableError("the cell names no gates")
    _, _, cache = s.made().forward(*s.inputs)
    for name, bounds in named.items():
        if not hasattr(cache, name):
            yield (
                f"the gate {name} is no field of the cache: let forward return a NamedTuple as its "
                f"cache, with a field of that name"
            )
        elif np.min(getattr(cache, name)) < bounds[0] or np.max(getattr(cache, name)) > bounds[1]:
            yield f"the gate {name} leaves its bounds {bounds[0]:g} to {bounds[1]:g}"


CELL = [sizes, gradients, stateless, later_calls, dtype, rows, gates]
