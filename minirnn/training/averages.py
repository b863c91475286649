"""Averages of the loss and the metrics over many batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minirnn.metrics import Metric
from minirnn.typing import Array

__all__ = ["Averages", "weight_of"]


class Averages:
    """Averages over the valid positions of all batches added so far; the metrics begin anew."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.total, self.weight = 0.0, 0.0
        self.batches = 0
        for metric in metrics:
            metric.reset()

    def add(self, value: float, loss: Any, prediction: Array, targets: Any, valid: Any) -> None:
        """Add one batch.

        Parameters
        ----------
        value : float
            The mean that the loss returned.
        loss : Loss
            It says what the mean was divided by; if not, positions are counted.
        prediction, targets, valid
            For the metrics; `valid` is a mask over the prediction, or None.
        """
        weight = weight_of(loss, prediction, valid)
        for metric in self.metrics:
            metric.update(prediction, targets, valid)
        self.total += value * weight
        self.weight += weight
        self.batches += 1

    def values(self) -> dict[str, float]:
        """Return ``{"loss": ..., and each metric under its name}``."""
        if self.batches == 0:
            raise ValueError("Trainer: there was no batch at all: are the batches empty?")
        loss = self.total / self.weight if self.weight else 0.0
        return {"loss": loss} | {metric.name: metric.value for metric in self.metrics}

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on adding."""
        return {
            "total": self.total,
            "weight": self.weight,
            "batches": self.batches,
            "metrics": [_saved(metric) for metric in self.metrics],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.total, self.weight = float(state["total"]), float(state["weight"])
        self.batches = int(state["batches"])
        for metric, metric_state in zip(self.metrics, state["metrics"], strict=True):
            metric.load_state_dict(metric_state)


def weight_of(loss: Any, prediction: Any, valid: Any) -> float:
    """Return what the latest mean of `loss` was divided by: as it says, or the positions."""
    weight: float | None = getattr(loss, "batch_weight", None)
    if weight is None:
        weight = math.prod(np.shape(prediction)[:-1]) if valid is None else int(np.sum(valid))
    return weight


def _saved(metric: Any) -> Any:
    if not hasattr(metric, "state_dict"):
        raise TypeError(
            f"{type(metric).__name__}: a run cannot be saved inside an epoch with a metric "
            f"that has no state_dict and load_state_dict; a subclass of Metric has them"
        )
    return metric.state_dict()
