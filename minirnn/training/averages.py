"""Averages of the loss and the metrics over many batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minirnn.metrics import Metric
from minirnn.training.measuring import Measured

__all__ = ["Averages"]


class Averages:
    """Averages over the valid positions of all batches added so far; resets the metrics."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.total, self.weight = 0.0, 0.0
        self.batches = 0
        for metric in metrics:
            metric.reset()

    def add(self, batch: Measured) -> None:
        """Add one batch."""
        for metric in self.metrics:
            metric.update(batch.prediction, batch.targets, batch.valid)
        self.total += batch.loss * batch.weight
        self.weight += batch.weight
        self.batches += 1

    def values(self) -> dict[str, float]:
        """Return ``{"loss": ..., and each metric under its name}``."""
        if self.batches == 0:
            raise ValueError("Trainer: there was no batch at all: are the batches empty?")
        loss = self.total / self.weight if self.weight else 0.0
        return {"loss": loss} | {metric.name: metric.value for metric in self.metrics}

    def state_dict(self) -> dict[str, Any]:
        """Return sums and weights so far, and the metrics' states."""
        return {
            "total": self.total,
            "weight": self.weight,
            "batches": self.batches,
            "metrics": [_saved(metric) for metric in self.metrics],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.total, self.weight = float(state["total"]), float(state["weight"])
        self.batches = int(state["batches"])
        for metric, metric_state in zip(self.metrics, state["metrics"], strict=True):
            metric.load_state_dict(metric_state)


def _saved(metric: Any) -> Any:
    if not hasattr(metric, "state_dict"):
        raise TypeError(
            f"{type(metric).__name__}: a run cannot be saved inside an epoch with a metric "
            f"that has no state_dict and load_state_dict; a subclass of Metric has them"
        )
    return metric.state_dict()
