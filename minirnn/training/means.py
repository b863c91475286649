"""Means of the loss and the metrics over many batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minirnn.metrics import Metric
from minirnn.typing import Array

__all__ = ["Means"]


class Means:
    """Means over the real positions of all batches added so far; the metrics begin anew."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.total, self.count = 0.0, 0
        for metric in metrics:
            metric.reset()

    def add(self, loss: float, prediction: Array, targets: Any, mask: Any) -> None:
        """Add one batch: the mean loss over its real positions, and what metrics are made of."""
        count = math.prod(np.shape(prediction)[:-1]) if mask is None else int(np.sum(mask))
        for metric in self.metrics:
            metric.update(prediction, targets, mask)
        self.total += loss * count
        self.count += count

    def figures(self) -> dict[str, float]:
        """Return ``{"loss": ..., and each metric under its name}``."""
        if self.count == 0:
            raise ValueError("Trainer: there was no batch at all: are the batches empty?")
        return {"loss": self.total / self.count} | {m.name: m.value for m in self.metrics}

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on adding."""
        return {
            "total": self.total,
            "count": self.count,
            "metrics": [_saved(metric) for metric in self.metrics],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.total, self.count = float(state["total"]), int(state["count"])
        for metric, metric_state in zip(self.metrics, state["metrics"], strict=True):
            metric.load_state_dict(metric_state)


def _saved(metric: Any) -> Any:
    if not hasattr(metric, "state_dict"):
        raise TypeError(
            f"{type(metric).__name__}: a run cannot be saved inside an epoch with a metric "
            f"that has no state_dict and load_state_dict; a subclass of Metric has them"
        )
    return metric.state_dict()
