"""What an optimizer remembers, as a dictionary of arrays, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.optimizers.buffer import Buffer, Slots


class Saved:
    """The part of an optimizer that hands its step and slots to a checkpoint."""

    step_count: int
    learning_rate: float | Callable[[int], float]
    _buffers: list[Buffer]

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that the next step depends on, but for the parameters.

        Sizes and slots have an entry for each group and dtype; the learning rate is None where it
        is a schedule.
        """
        rate = self.learning_rate
        return {
            "optimizer": type(self).__name__,
            "step": self.step_count,
            "learning_rate": None if callable(rate) else rate,
            "sizes": self._sizes(),
            "slots": [
                {name: vector.copy() for name, vector in buffer.slots.items()}
                for buffer in self._buffers
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; everything, or nothing if anything does not fit.

        A learning rate that is a schedule here stays one.
        """
        name = type(self).__name__
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{name}: load_state_dict takes the dictionary that state_dict returned, got "
                f"{type(state).__name__}"
            )
        missing = {"optimizer", "step", "learning_rate", "sizes", "slots"} - set(state)
        if missing:
            raise ValueError(f"{name}: the state has no {', '.join(sorted(missing))}")
        if state["optimizer"] != name:
            raise ValueError(f"{name}: the state is that of {state['optimizer']}")
        sizes = [[int(size) for size in group] for group in state["sizes"]]
        if sizes != self._sizes() or len(state["slots"]) != len(sizes):
            raise ValueError(
                f"{name}: the state belongs to parameters of sizes {sizes}, not {self._sizes()}"
            )
        slots = []
        for buffer, given in zip(self._buffers, state["slots"], strict=True):
            new = Slots(buffer.values)
            for key, vector in given.items():
                shape, dtype = buffer.values.shape, buffer.values.dtype
                new[key] = np.array(checks.check_shape(self, vector, shape, dtype, f"slot {key}"))
            slots.append(new)
        step = checks.positive_int(self, "the step", state["step"], least=0)
        if state["learning_rate"] is not None and not callable(self.learning_rate):
            self.learning_rate = float(state["learning_rate"])
        self.step_count = step
        for buffer, new in zip(self._buffers, slots, strict=True):
            buffer.slots = new

    def group_settings(self) -> list[list[float | None]]:
        """Return the rate factor and the weight decay of each group; a resumed run needs these."""
        return [[buffer.rate_factor, buffer.weight_decay] for buffer in self._buffers]

    def _sizes(self) -> list[list[int]]:
        return [[parameter.size for parameter in buffer.parameters] for buffer in self._buffers]
