"""Checks before the first batch, so that no epoch is trained for nothing."""

from __future__ import annotations

import copy
import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.data.nested import leaves
from minirnn.layers import Softmax
from minirnn.losses import CrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy
from minirnn.training.arguments import last_layer
from minirnn.training.averages import Averages
from minirnn.training.inputs import ArrayBatches, Batch, as_batch
from minirnn.training.measuring import measure
from minirnn.training.restore import evaluating
from minirnn.typing import Array

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["inspect_fit"]


def inspect_fit(trainer: Trainer, batches: Any, held_out: Any) -> None:
    """Raise if the run that is about to begin could not come to its end, or would mean nothing.

    It costs one validation batch.
    """
    _check_monitors(trainer, held_out is not None)
    _check_sizes(trainer, batches, "the data")
    _check_sizes(trainer, held_out, "validation")
    first, held = _first(batches, "the data"), _first(held_out, "validation")
    if first is not None and held is not None:
        _check_masks(first, held)
    if isinstance(batches, ArrayBatches):
        _check_arrays(trainer, batches.whole, "")
    if isinstance(held_out, ArrayBatches):
        _check_arrays(trainer, held_out.whole, "validation: ")
    if held is not None:
        try:
            _try(trainer, held)
        except Exception as error:
            checks.locate(error, "validation, first batch")
            raise


def _check_monitors(trainer: Trainer, validation: bool) -> None:
    names = ["loss", *(metric.name for metric in trainer.metrics)]
    names += [f"val_{name}" for name in names] if validation else []
    for callback in trainer.callbacks:
        name = callback.monitor
        if name is None or name in names:
            continue
        hint = ""
        if name.startswith("val_") and not validation:
            hint = "; pass validation= to fit"
        elif close := difflib.get_close_matches(name, names, 1, 0.5):
            hint = f"; is it {close[0]!r}?"
        raise ValueError(
            f"{type(callback).__name__}: there will be no {name!r} to monitor; this run will have "
            f"{', '.join(names)}{hint}"
        )


def _check_sizes(trainer: Trainer, batches: Any, what: str) -> None:
    sizes = getattr(batches, "sizes", [])
    if len(sizes) > 1 and any(layer.stateful for layer in trainer.recurrent):
        raise ValueError(
            f"Trainer: {what}: a layer with stateful=True carries its state from row to row, so "
            f"every batch needs as many rows, and these have {sizes[0]}, the last {sizes[1]}; "
            f"take a batch_size that divides the number of examples, or drop_last=True"
        )


def _check_masks(first: Batch, held: Batch) -> None:
    masked = [batch.mask is not None or batch.target_mask is not None for batch in (first, held)]
    if masked[0] != masked[1]:
        one, other = ("training", "validation") if masked[0] else ("validation", "training")
        raise ValueError(
            f"Trainer: {one} has a mask, {other} has none, so its padding would count as data; "
            f"pass one for both. If nothing is padded, that is np.ones(x.shape[:2], bool)"
        )


def _check_arrays(trainer: Trainer, whole: Batch, where: str) -> None:
    for _, mask in leaves(whole.mask):
        if mask is not None and not trainer.model.keeps_time:
            empty = np.flatnonzero(~mask.any(axis=1))
            if empty.size:
                raise ValueError(
                    f"Trainer: {where}row {empty[0]} of the mask has no valid step "
                    f"({empty.size} of {len(mask)} rows have none): leave such sequences out"
                )
    if isinstance(whole.targets, np.ndarray):
        _check_targets(trainer, whole, where)


def _check_targets(trainer: Trainer, whole: Batch, where: str) -> None:
    """Raise for targets that the loss cannot take: other kinds, NaN, numbers out of range."""
    targets, valid = whole.targets, whole.target_mask
    if valid is None and trainer.model.keeps_time:
        valid = whole.mask
    if isinstance(valid, np.ndarray) and valid.shape == targets.shape[:2]:
        targets = targets[valid]
    classes = isinstance(trainer.loss, SoftmaxCrossEntropy | CrossEntropy)
    kind = targets.dtype.kind
    if kind in "OSU" or (kind == "b" and classes):
        hint = "write classes, targets = np.unique(targets, return_inverse=True)"
        raise TypeError(
            f"Trainer: {where}the targets should be numbers, got an array of {targets.dtype}; "
            f"{'write targets.astype(int)' if kind == 'b' else hint}"
        )
    wrong = targets.size - int(np.isfinite(targets).sum()) if kind == "f" else 0
    if wrong:
        raise ValueError(
            f"Trainer: {where}the targets have {wrong} of {targets.size} numbers that are not "
            f"finite (nan or inf); clean the data, or leave such steps out with a mask"
        )
    if isinstance(trainer.loss, SigmoidCrossEntropy) and targets.size:
        low, high = targets.min(), targets.max()
        if low < 0 or high > 1:
            raise ValueError(
                f"Trainer: {where}targets for SigmoidCrossEntropy should be in 0..1, got numbers "
                f"from {low:g} to {high:g}"
            )
    if classes and kind in "iu" and whole.targets.ndim <= 2 and targets.size:
        _check_classes(trainer, whole, targets, where)


def _check_classes(trainer: Trainer, whole: Batch, targets: Array, where: str) -> None:
    """Raise if there are classes for which the model has no output."""
    outputs = getattr(last_layer(trainer.model, skip=(Softmax,)), "output_size", None)
    if not isinstance(outputs, int) or whole.targets.shape[-1] == outputs:
        return  # not known, or one number for each output
    wrong = (targets < 0) | (targets >= outputs)
    ignored = getattr(trainer.loss, "ignore_class", None)
    if ignored is not None:
        wrong &= targets != ignored
    if wrong.any():
        raise ValueError(
            f"Trainer: {where}target classes should be in 0..{outputs - 1}, one for each of the "
            f"{outputs} outputs, got {targets.min()} to {targets.max()} ({int(wrong.sum())} of "
            f"{targets.size} are out of range)"
        )


def _first(batches: Any, what: str) -> Batch | None:
    """Return the first batch, where it can be had without touching anything."""
    if isinstance(batches, list | tuple):
        first = batches[0] if batches else None
    else:
        first = batches.first() if hasattr(batches, "first") else None
    try:
        return None if first is None else as_batch(first)
    except TypeError as error:
        checks.locate(error, what)
        raise


def _try(trainer: Trainer, batch: Batch) -> None:
    """Evaluate one batch on copies of the loss and the metrics."""
    loss, metrics = copy.copy(trainer.loss), copy.deepcopy(trainer.metrics)
    with evaluating(trainer, trainer.generators.values()):
        averages = Averages(metrics)
        averages.add(measure(trainer.model, loss, batch))
        for metric in metrics:
            value = metric.value
            if np.ndim(value) == 0 and not isinstance(value, int | float | np.number):
                raise TypeError(
                    f"metric {type(metric).__name__}: value should be a number, got a "
                    f"{type(value).__name__}"
                )
