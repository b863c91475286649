"""Steps of a cell, gathered one by one and laid out over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minirnn.cells import Cell
from minirnn.insight.gates import gate_values, state_names
from minirnn.recurrent import Recurrent
from minirnn.typing import Array, Mask, State

__all__ = ["Backward", "Forward"]

Step = dict[str, Array]


@dataclass
class Forward:
    """The calls of ``cell.forward`` in one forward of a recurrent layer."""

    layer: Recurrent
    states: list[Step] = field(default_factory=list)
    gates: list[Step] = field(default_factory=list)
    mask: Mask | None = None
    shape: tuple[int, int] = (0, 0)
    order: list[int] = field(default_factory=list)
    output_is: set[str] | None = None

    def see(self, cell: Cell, y_t: Any, state: State, cache: Any) -> None:
        """Keep copies of what one step returned."""
        names = state_names(cell, len(state))
        self.states.append(_copies(zip(names, state, strict=True)))
        self.gates.append(_copies(gate_values(cell, state, cache).items()))
        same = {
            name
            for name, array in zip(names, state, strict=True)
            if y_t is array or np.array_equal(y_t, array)
        }
        self.output_is = same if self.output_is is None else self.output_is & same

    def finish(self, batch: int, time: int, mask: Any) -> bool:
        """Find out which call was which step; False if the calls do not fit the steps."""
        self.shape = batch, time
        self.mask = None if mask is None else np.array(mask, bool)
        self.order = list(range(time - 1, -1, -1) if self.layer.reverse else range(time))
        if self.mask is not None:
            self.order = [t for t in self.order if self.mask[:, t].any()]
        return len(self.states) == len(self.order)

    def arrays(self, steps: list[Step], order: list[int]) -> dict[str, Array]:
        """Return arrays ``(batch, time, ...)`` by name, NaN where a step was masked."""
        laid_out: dict[str, Array] = {}
        for t, step in zip(order, steps, strict=True):
            real = slice(None) if self.mask is None else self.mask[:, t]
            for name, values in step.items():
                if name not in laid_out:
                    shape = (*self.shape, *values.shape[1:])
                    laid_out[name] = np.full(shape, np.nan, values.dtype)
                laid_out[name][real, t] = values[real]
        return laid_out


@dataclass
class Backward:
    """The calls of ``cell.backward`` in one backward of a recurrent layer."""

    forward: Forward
    steps: list[Step] = field(default_factory=list)

    def see(self, cell: Cell, grad_y: Any, grad_state: State) -> None:
        """Keep the gradient on the state that one step handed on, its output's share included."""
        names = state_names(cell, len(grad_state))
        step = _copies(zip(names, grad_state, strict=True))
        output = next((name for name in names if name in (self.forward.output_is or ())), None)
        if output is not None:
            step[output] = step[output] + grad_y
        self.steps.append(step)

    def arrays(self) -> dict[str, Array] | None:
        """Return arrays ``(batch, time, ...)``; None if the calls do not fit the steps."""
        order = self.forward.order[::-1]
        return self.forward.arrays(self.steps, order) if len(order) == len(self.steps) else None


def _copies(items: Any) -> Step:
    copies = {}
    for name, values in items:
        array = np.asarray(values)
        dtype = array.dtype if np.issubdtype(array.dtype, np.floating) else np.float64
        copies[name] = np.array(array, dtype)
    return copies
