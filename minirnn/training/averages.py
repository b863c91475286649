"""The loss of one batch, and averages of the loss and the metrics over many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minirnn.core import Layer
from minirnn.losses import Loss, check_loss
from minirnn.metrics import Metric
from minirnn.training.inputs import Batch, run, valid_positions
from minirnn.typing import Array

__all__ = ["Averages", "Measured", "measure"]


class Measured(NamedTuple):
    """What one batch adds to the averages: its loss, and what the metrics are taken of."""

    loss: float
    weight: float
    """What the mean in `loss` was divided by."""
    prediction: Array
    targets: Any
    valid: Any
    """A mask over the prediction, or None."""


def measure(model: Layer, loss: Loss, batch: Batch, prediction: Any = None) -> Measured:
    """Return the loss of a batch, forward through the model unless there is a prediction already.

    A loss with ``takes_target_mask``, as CTC, needs the mask of the inputs too, so for it the
    padding of the targets becomes -1 in the targets themselves.
    """
    if batch.target_mask is not None and getattr(loss, "takes_target_mask", False):
        labels = np.where(batch.target_mask, batch.targets, -1)
        batch = batch._replace(targets=labels, target_mask=None)
    if prediction is None:
        prediction = run(model, batch.inputs, batch.mask)
    valid = valid_positions(model, prediction, batch)
    if batch.sample_weight is None:
        value = loss.forward(prediction, batch.targets, valid)
    else:
        check_loss("Trainer", loss, sample_weight=True)
        value = loss.forward(prediction, batch.targets, valid, batch.sample_weight)
    weight = getattr(loss, "batch_weight", None)
    if weight is None:  # a loss that does not say: positions are counted
        weight = math.prod(np.shape(prediction)[:-1]) if valid is None else int(np.sum(valid))
    return Measured(value, weight, prediction, batch.targets, valid)


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


def _saved(metric: Any) -> Any:
    if not hasattr(metric, "state_dict"):
        raise TypeError(
            f"{type(metric).__name__}: a run cannot be saved inside an epoch with a metric "
            f"that has no state_dict and load_state_dict; a subclass of Metric has them"
        )
    return metric.state_dict()
