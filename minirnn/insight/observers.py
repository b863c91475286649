"""What a model and its optimizer call while they are recorded.

A recurrent layer, an activation layer and an optimizer have an attribute `observer`, by default
None. A recurrent layer calls its `forward` and `backward`, an activation layer its `forward`, the
optimizer its `before_step` and `after_step`.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Parameter
from minirnn.insight.records import RecurrentRecord, row_norms
from minirnn.recurrent import Recurrent
from minirnn.recurrent.loop import BackwardStep, ForwardStep, Loop
from minirnn.typing import Array, Mask


class Observer(SimpleNamespace):
    """Functions to be called. A copy of what is observed, pickled or deep, has none."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class Updates(Observer):
    """How much each step of an optimizer changes each parameter."""

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


# ---------------------------------------------------------------- a recurrent layer


def see_forward(
    record: RecurrentRecord, layer: Recurrent, x: Array, mask: Mask | None, steps: list[ForwardStep]
) -> None:
    """Record states and gates; called before the layer keeps anything of this forward."""
    cell, shape = layer.cell, x.shape[:2]
    # First: a wrong gate_values raises.
    gates = {step.t: _gate_values(cell, step.cache, len(x)) for step in steps}
    record.gates = _over_time(gates, shape, mask)
    record.states = _over_time({s.t: _named(cell, s.state) for s in steps}, shape, mask)
    outputs = _over_time({step.t: {"y": step.y_t} for step in steps}, shape, mask)
    same = [n for n, a in record.states.items() if np.array_equal(a, outputs["y"], equal_nan=True)]
    record.output = same[0] if same else None
    record.mask = None if mask is None else mask.copy()
    record.reverse = layer.reverse
    record.bounds = {name: gate[:2] for name, gate in cell.gates.items()} | dict(cell.state_bounds)
    record.words = {name: gate[2] for name, gate in cell.gates.items() if len(gate) > 2}
    record.rectified = getattr(cell, "activation", None) == "relu"


def see_backward(
    record: RecurrentRecord, layer: Recurrent, grad: Array, grad_state: Any, steps: Any
) -> None:
    """Record the gradients on the states, then how far that of the latest step reaches."""
    if not record.states:  # the forward was before the block
        return
    call, reverse = layer._saved(), layer.reverse

    def gradients(steps: list[BackwardStep]) -> dict[str, Array]:
        """Return the gradient on the state after each step, its output's share included."""
        named = {step.t: _named(layer.cell, step.grad_state) for step in steps}
        for step in steps:
            if record.output is not None:
                named[step.t][record.output] = named[step.t][record.output] + step.grad_y
        return _over_time(named, grad.shape[:2], call.mask)

    record.gradients = gradients(steps)
    record.gradient_mask = None if call.mask is None else call.mask.copy()
    again: list[BackwardStep] = []
    last = _only_last(grad, call.mask, reverse, final=any(np.any(array) for array in grad_state))
    collector = Observer(backward=lambda grad, grad_state, steps: again.extend(steps))
    with np.errstate(all="ignore"):
        # on a copy of the cell, whose parameters take the gradients of this backward
        loop = Loop(copy.deepcopy(layer.cell), observer=collector)
        loop.backward(last, grad_state, call.caches, need_grad_x=False)
    record.reach = _reach(row_norms(gradients(again).values()), reverse)


def _over_time(
    steps: dict[int, dict[str, Any]], shape: tuple[int, ...], mask: Mask | None
) -> dict[str, Array]:
    """Return arrays ``(batch, time, ...)`` by name, NaN where a step was masked or not taken."""
    arrays: dict[str, Array] = {}
    for name in next(iter(steps.values()), {}):
        values = np.stack([step[name] for step in steps.values()], axis=1)
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        arrays[name] = np.full((*shape, *values.shape[2:]), np.nan, dtype)
        arrays[name][:, list(steps)] = values
        if mask is not None:
            arrays[name][~mask] = np.nan
    return arrays


def _named(cell: Cell, state: tuple[Array, ...]) -> dict[str, Array]:
    """Return the arrays of a state by name."""
    several = [f"state{k}" for k in range(len(state))]
    names = cell.state_names or (several if len(state) > 1 else ["h"])
    return dict(zip(names, state, strict=True))


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


# ---------------------------------------------------------------- how far a gradient reaches back


def _only_last(grad: Array, mask: Mask | None, reverse: bool, final: bool) -> Array:
    """Return `grad` (batch, time, output) with zeros in all but the latest step of each sequence.

    With `final`, a gradient comes in on the final state too: then the latest step is the last valid
    one, whatever gradient its output has.
    """
    counts = np.ones(grad.shape[:2], bool) if mask is None else mask
    if not final:
        counts = counts & (grad != 0).any(axis=2)
    order = slice(None, None, -1 if reverse else 1)
    latest = (np.arange(grad.shape[1]) == _last(counts[:, order])[:, None])[:, order]
    return np.where(latest[:, :, None], grad, grad.dtype.type(0))


def _reach(norms: Array, reverse: bool) -> Array:
    """Return how much of a gradient that comes in late arrives at each step, as a ratio of norms.

    From norms on the state (batch, time), NaN at masked steps. For every step, over the sequences
    that have got that far: the norm there, over the norm at each sequence's latest step that has
    one; (time,), NaN where there is nothing to compare.
    """
    order = slice(None, None, -1 if reverse else 1)
    norms = norms[:, order]
    last = _last(norms > 0)[:, None]
    counts = (np.arange(norms.shape[1]) <= last) & ~np.isnan(norms)
    source = np.take_along_axis(norms, last, axis=1)
    with np.errstate(all="ignore"):
        arrives = np.hypot.reduce(np.where(counts, norms, 0.0))
        sent = np.hypot.reduce(np.where(counts, source, 0.0))
        return np.where(sent > 0, arrives / sent, np.nan)[order]


def _last(true: Mask) -> Array:
    """Return the last true step of each row, -1 where there is none."""
    last: Array = np.where(true, np.arange(true.shape[1]), -1).max(axis=1)
    return last
