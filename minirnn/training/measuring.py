"""From a batch to a prediction and its loss, and from many to their averages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from minirnn import checks, masks
from minirnn.core import Layer
from minirnn.data.nested import leaves
from minirnn.losses import Loss, check_loss
from minirnn.losses.arguments import positions_of
from minirnn.metrics import Metric
from minirnn.training.inputs import Batch, as_mask
from minirnn.typing import Array

QUIET: Any = {"over": "ignore", "invalid": "ignore", "divide": "ignore"}
"""For `numpy.errstate` where what is not finite is an error of its own."""


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
        labels = checks.as_array("Trainer", batch.targets, "the target")
        there = checks.as_mask("Trainer: target_mask", batch.target_mask, labels.shape)
        labels = np.where(there, labels, np.int64(-1))  # which uint8 cannot hold
        batch = batch._replace(targets=labels, target_mask=None)
    if prediction is None:
        prediction = run(model, batch.inputs, batch.mask)
    valid = valid_positions(model, prediction, batch)
    if batch.sample_weight is None:
        value = loss.forward(prediction, batch.targets, valid)
    else:
        check_loss("Trainer", loss, sample_weight=True)
        value = loss.forward(prediction, batch.targets, valid, batch.sample_weight)
    if type(value) is not float and (value is None or np.ndim(value)):
        got = f"an array of shape {np.shape(value)}" if np.ndim(value) else "None"
        raise TypeError(
            f"{type(loss).__name__}: forward should return one number, the mean over the "
            f"positions, got {got}"
        )
    weight = getattr(loss, "batch_weight", None)
    if weight is None:  # a loss that does not say: positions are counted
        weight = (
            math.prod(positions_of(np.asarray(prediction))) if valid is None else int(np.sum(valid))
        )
    return Measured(value, weight, prediction, batch.targets, valid)


def checked_gradient(loss: Loss, grad: Any, prediction: Array) -> Any:
    """Return what backward of a loss of the user's own gave, if it is of the right shape."""
    if grad is None or np.shape(grad) != np.shape(prediction):
        got = "None; is there a return?" if grad is None else f"shape {np.shape(grad)}"
        raise (TypeError if grad is None else ValueError)(
            f"{type(loss).__name__}: backward should return the gradient on the prediction, of "
            f"shape {np.shape(prediction)}, got {got}"
        )
    return grad


def run(model: Layer, inputs: Any, mask: Any = None) -> Array:
    """Return the model's output, with the mask if the model takes one."""
    if isinstance(inputs, tuple | dict):
        _check_several(model, inputs, mask)
    return masks.apply(model, inputs, mask)  # type: ignore[no-any-return]


def valid_positions(model: Layer, prediction: Array, batch: Batch) -> Any:
    """Return the mask over the prediction: the targets' own, or that of the inputs while it fits.

    Once the time axis is gone there is one prediction a sequence, even if its shape happens to be
    that of the mask.
    """
    if batch.target_mask is not None or batch.mask is None:
        return batch.target_mask
    if not model.keeps_time or np.ndim(prediction) < 3:
        return None
    return model.output_mask(batch.mask)


def _check_several(model: Layer, inputs: Any, mask: Any) -> None:
    """Raise unless several inputs are of one batch, have a mask each, or none, and come as one."""
    needed = _needed(type(model).forward)
    if len(needed) > 1:
        raise TypeError(
            f"{type(model).__name__}: forward takes {' and '.join(needed)} one by one, and several "
            f"inputs come as one {type(inputs).__name__}; write forward(self, inputs, mask=None), "
            f"and take them out of it there"
        )
    shapes = {name: np.shape(x) for name, x in leaves(inputs, "inputs")}
    if len({shape[:1] for shape in shapes.values()}) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"Trainer: axis 0 (batch) of several inputs should agree, got {told}")
    as_mask(inputs, mask, None)


@cache
def _needed(forward: Any) -> list[str]:
    """Return the arguments that a method cannot do without, but for `self`."""
    takes = list(signature(forward).parameters.values())[1:]
    return [o.name for o in takes if o.default is o.empty and o.kind < o.VAR_POSITIONAL]


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
        for metric in self.metrics:
            if not hasattr(metric, "state_dict"):
                raise TypeError(
                    f"{type(metric).__name__}: a run cannot be saved inside an epoch with a metric "
                    f"that has no state_dict and load_state_dict; a subclass of Metric has them"
                )
        return {
            "total": self.total,
            "weight": self.weight,
            "batches": self.batches,
            "metrics": [metric.state_dict() for metric in self.metrics],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.total, self.weight = float(state["total"]), float(state["weight"])
        self.batches = int(state["batches"])
        for metric, metric_state in zip(self.metrics, state["metrics"], strict=True):
            metric.load_state_dict(metric_state)
