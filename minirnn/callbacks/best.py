"""The best value so far of one name in the history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minirnn import checks

if TYPE_CHECKING:
    from minirnn.training import Trainer

__all__ = ["BestSoFar"]


class BestSoFar:
    """The best value so far of one name in the history.

    Which way is better is what the metric says; where it does not, `mode` has to.
    """

    def __init__(self, owner: object, monitor: str, mode: str, minimum_improvement: float) -> None:
        self.owner = checks.name_of(owner)
        self.monitor = monitor
        self.mode = checks.choice(owner, "mode", mode, ("auto", "min", "max"))
        self.minimum_improvement = checks.positive_float(
            owner, "minimum_improvement", minimum_improvement, zero=True
        )
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.best: float | None = None
        self.epochs_since = 0

    def higher_is_better(self, trainer: Trainer) -> bool:
        """Return which way is better, or raise if that is not known."""
        if self.mode != "auto":
            return self.mode == "max"
        higher = trainer.history.higher_is_better(self.monitor)
        if higher is None:
            raise ValueError(
                f"{self.owner}: it is not known whether {self.monitor!r} is better when it is "
                f'higher; write mode="max" or mode="min", or give the metric the attribute '
                f"higher_is_better = True or False"
            )
        return higher

    def update(self, trainer: Trainer) -> bool:
        """Take in the latest value; return whether it is the best so far."""
        value = trainer.history[self.monitor][-1]
        higher = self.higher_is_better(trainer)
        if self.best is None:
            gain = math.nan if math.isnan(value) else math.inf
        else:
            gain = (value - self.best) if higher else (self.best - value)
        if gain > self.minimum_improvement:  # False for nan
            self.best, self.epochs_since = value, 0
            return True
        self.epochs_since += 1
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, and for how many epochs it has been."""
        return {"best": self.best, "epochs_since": self.epochs_since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        best = state["best"]
        self.best = None if best is None else float(best)
        self.epochs_since = checks.positive_int(
            self, "epochs_since", state["epochs_since"], zero=True
        )
