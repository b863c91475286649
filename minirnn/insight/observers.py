"""Observers: what a model and its optimizer call while they are recorded.

A recurrent layer, an activation layer and an optimizer have an attribute `observer`, by default
None. The layers call its `forward` and `backward`, the optimizer its `before_step` and
`after_step`. An observer writes into the record of one layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Parameter
from minirnn.insight.gradients import only_last, reach, row_norms
from minirnn.insight.records import ActivationRecord, RecurrentRecord
from minirnn.recurrent import Recurrent
from minirnn.recurrent.loop import BackwardStep, ForwardStep, loop_backward
from minirnn.typing import Array, Mask

__all__ = ["ActivationObserver", "Observer", "OptimizerObserver", "RecurrentObserver"]


class Observer:
    """Base of all observers. A copy of what is observed, pickled or deep, has none."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class RecurrentObserver(Observer):
    """Arranges over time what the cell of one recurrent layer returned at each step.

    Parameters
    ----------
    layer : Recurrent
    record : RecurrentRecord
        Filled in here.
    """

    def __init__(self, layer: Recurrent, record: RecurrentRecord) -> None:
        self.layer = layer
        self.record = record

    def forward(self, x: Array, mask: Mask | None, steps: list[ForwardStep]) -> None:
        """Record states and gates; called before the layer keeps anything of this forward."""
        layer, cell = self.layer, self.layer.cell
        states, gates = [], []
        outputs: set[str] | None = None
        for t, y_t, state, cache in steps:
            named = dict(zip(_state_names(cell, len(state)), state, strict=True))
            states.append((t, named))
            gates.append((t, _gate_values(cell, cache, len(x))))
            same = {name for name, a in named.items() if y_t is a or np.array_equal(y_t, a)}
            outputs = same if outputs is None else outputs & same
        shape = x.shape[:2]
        record = self.record
        record.gates = _over_time(gates, shape, mask)  # first: a wrong gate_values raises
        record.states = _over_time(states, shape, mask)
        record.mask = None if mask is None else mask.copy()
        record.reverse = layer.reverse
        record.bounds = {name: (gate[0], gate[1]) for name, gate in cell.gates.items()}
        record.bounds |= cell.state_bounds
        record.words = {name: gate[2] for name, gate in cell.gates.items() if len(gate) > 2}
        record.activation = getattr(cell, "activation", None)
        record.output = next((name for name in record.states if name in (outputs or ())), None)

    def backward(self, grad: Array, grad_state: Any, steps: list[BackwardStep]) -> None:
        """Record the gradients on the states, then how far that of the latest step reaches."""
        if not self.record.states:  # the forward was before the block
            return
        mask = self.layer._saved().mask
        record, reverse = self.record, self.layer.reverse
        record.gradients = self._gradients(grad, mask, steps)
        record.gradient_mask = None if mask is None else mask.copy()
        final = any(np.any(array) for array in grad_state)
        last = only_last(grad, mask, reverse, final)
        alone = record.gradients
        if last is not None:
            alone = self._gradients(last, mask, self._backward_again(last, grad_state))
        record.reach = reach(row_norms(list(alone.values())), reverse)

    def _gradients(
        self, grad: Array, mask: Mask | None, steps: list[BackwardStep]
    ) -> dict[str, Array]:
        """Return the gradient on the state after each step, its output's share included."""
        gradients = []
        for t, grad_y, grad_state in steps:
            names = _state_names(self.layer.cell, len(grad_state))
            named = dict(zip(names, grad_state, strict=True))
            output = self.record.output
            if output is not None:
                named[output] = named[output] + grad_y
            gradients.append((t, named))
        return _over_time(gradients, grad.shape[:2], mask)

    def _backward_again(self, grad: Array, grad_state: Any) -> list[BackwardStep]:
        """Go back from another gradient, and leave the parameters' gradients as they were."""
        call, cell = self.layer._saved(), self.layer.cell
        steps: list[BackwardStep] = []
        with _gradients_restored(cell), np.errstate(all="ignore"):
            loop_backward(
                cell,
                grad,
                grad_state,
                call.mask,
                call.caches.steps,
                input_size=call.x.shape[2],
                reverse=self.layer.reverse,
                trace=steps,
            )
        return steps


class ActivationObserver(Observer):
    """Keeps the latest output of an activation layer."""

    def __init__(self, record: ActivationRecord) -> None:
        self.record = record

    def forward(self, y: Array) -> None:
        """Record the output."""
        self.record.latest = y


class OptimizerObserver(Observer):
    """Measures how much each step of the optimizer changes each parameter."""

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.parameters = parameters
        self.ratios: dict[str, list[float]] = {name: [] for name in parameters}
        self._before: dict[str, Array] = {}

    def before_step(self) -> None:
        """Keep the values."""
        self._before = {name: p.value.astype(np.float64) for name, p in self.parameters.items()}

    def after_step(self) -> None:
        """Compare the values with those before."""
        for name, before in self._before.items():
            update = float(np.linalg.norm(self.parameters[name].value - before))
            weight = float(np.linalg.norm(before))
            ratio = update / weight if weight else (np.inf if update else 0.0)
            self.ratios[name].append(ratio)


def _over_time(
    steps: list[tuple[int, dict[str, Any]]], shape: tuple[int, ...], mask: Mask | None
) -> dict[str, Array]:
    """Return arrays ``(batch, time, ...)`` by name, NaN where a step was masked or not taken."""
    arrays: dict[str, Array] = {}
    for t, named in steps:
        rows: Any = slice(None) if mask is None else mask[:, t]
        for name, value in named.items():
            values = np.asarray(value)
            if name not in arrays:
                dtype = values.dtype if values.dtype.kind == "f" else np.float64
                arrays[name] = np.full((*shape, *values.shape[1:]), np.nan, dtype)
            arrays[name][rows, t] = values[rows]
    return arrays


def _state_names(cell: Cell, count: int) -> tuple[str, ...]:
    """Return a name for each array of the state."""
    if len(cell.state_names) == count:
        return tuple(map(str, cell.state_names))
    return ("h",) if count == 1 else tuple(f"state{k}" for k in range(count))


def _gate_values(cell: Cell, cache: Any, batch: int) -> dict[str, Array]:
    """Return the gates of one step; raise if the cell returns something else."""
    name = type(cell).__name__
    try:
        gates = cell.gate_values(cache)
    except AttributeError as error:
        raise TypeError(
            f"{name}: its gates should be fields of the cache that forward returns ({error}): "
            f"return a NamedTuple, or write gate_values(cache)"
        ) from error
    if not isinstance(gates, dict):
        raise TypeError(
            f"{name}: gate_values should return a dictionary from names to arrays (batch, ...), "
            f"got {type(gates).__name__}"
        )
    for gate, values in gates.items():
        if np.shape(values)[:1] != (batch,):
            raise ValueError(
                f"{name}: axis 0 (batch) of gate {gate!r} should be {batch}, got shape "
                f"{np.shape(values)}"
            )
    return gates


@contextmanager
def _gradients_restored(cell: Cell) -> Iterator[None]:
    grads = [(parameter, parameter.grad.copy()) for parameter in cell.parameters()]
    try:
        yield
    finally:
        for parameter, grad in grads:
            parameter.grad = grad
