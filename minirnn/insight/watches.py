"""What stands before the methods of a model while it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Layer, Parameter
from minirnn.insight.gates import bounds_of
from minirnn.insight.gradients import only_last, reach, row_norms
from minirnn.insight.records import ActivationRecord, RecurrentRecord
from minirnn.insight.steps import Backward, Forward
from minirnn.recurrent import Recurrent
from minirnn.typing import Mask

__all__ = ["CellWatch", "MaskWatch", "OptimizerWatch", "RecurrentWatch"]

Method = Callable[..., Any]


class CellWatch:
    """Hands each step of a cell to the pass that is running."""

    def __init__(self, cell: Cell, running: list[Forward | Backward]) -> None:
        self.cell = cell
        self.running = running

    def forward(self, original: Method, *args: Any, **kwargs: Any) -> Any:
        """Run one step forward."""
        y_t, state, cache = result = original(*args, **kwargs)
        if self.running and isinstance(run := self.running[-1], Forward):
            run.see(self.cell, y_t, state, cache)
        return result

    def backward(self, original: Method, grad_y: Any, grad_state: Any, cache: Any) -> Any:
        """Run one step backward."""
        if self.running and isinstance(run := self.running[-1], Backward):
            run.see(self.cell, grad_y, grad_state)
        return original(grad_y, grad_state, cache)


class RecurrentWatch:
    """Begins and ends the passes of one recurrent layer, and writes its record.

    Parameters
    ----------
    layer : Recurrent
        Before anything stands before its methods.
    record : RecurrentRecord
    running : list
        The passes under way, the innermost last; shared with the watches of the cells.
    """

    def __init__(
        self, layer: Recurrent, record: RecurrentRecord, running: list[Forward | Backward]
    ) -> None:
        self.layer = layer
        self.record = record
        self.running = running
        self.plain_backward = layer.backward
        self.latest: Forward | None = None

    def forward(self, original: Method, *args: Any, **kwargs: Any) -> Any:
        """Run the layer forward; the record changes only if that succeeds."""
        run = Forward(self.layer)
        y = self._within(run, original, *args, **kwargs)
        batch, time = np.shape(y)[:2]
        self.latest = run if run.finish(batch, time, _mask(args, kwargs)) else None
        if self.latest:
            record, cell = self.record, self.layer.cell
            record.reverse, record.mask = self.layer.reverse, run.mask
            record.bounds = bounds_of(cell)
            record.activation = getattr(cell, "activation", None)
            record.states = run.arrays(run.states, run.order)
            record.gates = run.arrays(run.gates, run.order)
            run.states, run.gates = [], []
        return y

    def backward(self, original: Method, *args: Any, **kwargs: Any) -> Any:
        """Run the layer backward, then once more with the latest step's gradient alone."""
        if self.latest is None:  # the forward was before the block, and may have been a kernel's
            with _lifted(self.layer.cell, "forward", "backward"):
                return original(*args, **kwargs)
        run = Backward(self.latest)
        result = self._within(run, original, *args, **kwargs)
        gradients = run.arrays()
        if gradients is not None:
            self.record.gradients = gradients
            self.record.gradient_mask = self.latest.mask
            alone = self._latest_step_alone(*args, **kwargs)
            norms = row_norms(list((alone or gradients).values()))
            self.record.reach = reach(norms, self.layer.reverse)
        return result

    def _latest_step_alone(self, grad: Any, grad_state: Any = None) -> dict[str, Any] | None:
        """Return the gradients on the states that come from each sequence's latest step alone.

        None if there was no other gradient in the first place.
        """
        assert self.latest is not None
        final = grad_state is not None and any(np.any(array) for array in grad_state)
        last = only_last(np.asarray(grad), self.latest.mask, self.layer.reverse, final)
        if last is None:
            return None
        run = Backward(self.latest)
        with _undone(self.layer), np.errstate(all="ignore"):
            self._within(run, self.plain_backward, last, grad_state)
        return run.arrays()

    def _within(self, run: Forward | Backward, method: Method, *args: Any, **kwargs: Any) -> Any:
        self.running.append(run)
        try:
            return method(*args, **kwargs)
        finally:
            self.running.pop()


class MaskWatch:
    """Knows which mask is in force inside a model, and so what to leave out of activations."""

    def __init__(self) -> None:
        self.masks: list[Mask | None] = []

    def container(self, original: Method, *args: Any, **kwargs: Any) -> Any:
        """Run a model of layers, remembering its mask meanwhile."""
        mask = _mask(args, kwargs)
        self.masks.append(None if mask is None else np.asarray(mask, bool))
        try:
            return original(*args, **kwargs)
        finally:
            self.masks.pop()

    def activation(self, record: ActivationRecord) -> Method:
        """Return what answers for an activation layer's forward."""

        def forward(original: Method, *args: Any, **kwargs: Any) -> Any:
            y = original(*args, **kwargs)
            record.output = np.array(y)
            mask = self.masks[-1] if self.masks else None
            if mask is not None and y.ndim > 2 and y.shape[:2] == mask.shape:
                record.output[~mask] = np.nan
            return y

        return forward


class OptimizerWatch:
    """Measures what each step of the optimizer did to each parameter."""

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.parameters = parameters
        self.ratios: dict[str, list[float]] = {name: [] for name in parameters}

    def step(self, original: Method, *args: Any, **kwargs: Any) -> Any:
        """Take a step and compare the values after it with those before."""
        before = {name: p.value.astype(np.float64) for name, p in self.parameters.items()}
        result = original(*args, **kwargs)
        for name, parameter in self.parameters.items():
            update = float(np.linalg.norm(parameter.value - before[name]))
            weight = float(np.linalg.norm(before[name]))
            ratio = update / weight if weight else (np.inf if update else 0.0)
            self.ratios[name].append(ratio)
        return result


def _mask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs.get("mask", args[1] if len(args) > 1 else None)


@contextmanager
def _lifted(target: object, *names: str) -> Iterator[None]:
    """Take instance attributes away for a while, so that what a kernel began it also ends."""
    own = {name: vars(target).pop(name) for name in names if name in vars(target)}
    try:
        yield
    finally:
        vars(target).update(own)


@contextmanager
def _undone(layer: Layer) -> Iterator[None]:
    """Give parameters their gradients, and layers their attributes, back at the end."""
    grads = [(parameter, parameter.grad.copy()) for parameter in layer.parameters()]
    attributes = [(part, dict(vars(part))) for _, part in layer.named_layers()]
    try:
        yield
    finally:
        for parameter, grad in grads:
            parameter.grad = grad
        for part, before in attributes:
            vars(part).clear()
            vars(part).update(before)
