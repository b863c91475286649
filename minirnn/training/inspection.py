"""Checks before the first batch, so that no epoch is trained for nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks, masks
from minirnn.data.batches import Batches, ShuffledBatches
from minirnn.data.nested import leaves
from minirnn.data.stream import StreamBatches
from minirnn.layers import Softmax
from minirnn.losses import CrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy
from minirnn.losses.arguments import as_weights, check_probabilities, refuse_not_finite
from minirnn.losses.base import MeanLoss
from minirnn.losses.ctc import CTCLoss, as_labels
from minirnn.recurrent import Recurrent
from minirnn.training.arguments import last_layer
from minirnn.training.inputs import Batch, as_batch, count_of, refuse_generator
from minirnn.training.position import generator_states, set_generator_states

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer


def inspect_fit(trainer: Trainer, batches: Any, held_out: Any, epochs: int) -> None:
    """Raise if the run that is about to begin could not come to its end, or would mean nothing.

    It costs one validation batch.
    """
    if epochs > 1:
        refuse_generator(batches, "the batches")
    _check_callbacks(trainer, held_out is not None)
    first: list[Batch | None] = []
    for given, what in [(batches, "the data"), (held_out, "validation")]:
        with checks.located(what):
            if given is not None and count_of(given) == 0:
                raise ValueError("there are no batches at all")
            stateful = [layer for layer in trainer.recurrent.values() if layer.stateful]
            if stateful:
                _check_stateful(given, stateful)
            first.append(_first(given))
            if isinstance(given, Batches):
                _check_arrays(trainer, given)
    masked = [one and (one.mask is not None or one.target_mask is not None) for one in first]
    if None not in masked and masked[0] != masked[1]:
        one, other = ("training", "validation") if masked[0] else ("validation", "training")
        raise ValueError(
            f"Trainer: {one} has a mask, {other} has none, so its padding would count as data; "
            f"pass one for both. If nothing is padded, that is np.ones(x.shape[:2], bool)"
        )
    if first[1] is not None:
        with checks.located("validation, first batch"):
            _try(trainer, first[1])


def _check_callbacks(trainer: Trainer, validation: bool) -> None:
    setting = [type(one).__name__ for one in trainer.callbacks if one.sets_weights]
    if len(setting) > 1:
        raise ValueError(
            f"Trainer: {' and '.join(setting)} each leave their weights in the model at the end, "
            f"and the last would undo the others; keep one, and beside it write "
            f"EarlyStopping(..., restore_best=False)"
        )
    names = ["loss", *(metric.name for metric in trainer.metrics)]
    names += [f"val_{name}" for name in names] if validation else []
    for callback in trainer.callbacks:
        name = callback.monitor
        if name is None or name in names:
            continue
        hint = "; pass validation= to fit"
        hint *= str(name).startswith("val_") and not validation
        raise ValueError(
            f"{type(callback).__name__}: there will be no {name!r} to monitor; this run will have "
            f"{', '.join(names)}{hint}"
        )


def _check_stateful(batches: Any, layers: list[Recurrent]) -> None:
    """Raise if rows could not carry their states from batch to batch."""
    if isinstance(batches, StreamBatches) and any(layer.reverse for layer in layers):
        raise ValueError(
            "a layer with stateful=True and reverse=True reads a stream from its end, and "
            "StreamBatches come from its beginning"
        )
    if isinstance(batches, ShuffledBatches) and batches.shuffle:
        raise ValueError(
            "the model has a layer with stateful=True, which reads a batch as the "
            "continuation of the one before, so the data cannot be shuffled; pass "
            "shuffle=False, or batches such as data.StreamBatches"
        )
    sizes = getattr(batches, "sizes", [])
    if len(sizes) > 1:
        raise ValueError(
            f"a layer with stateful=True carries its state from row to row, so "
            f"every batch needs as many rows, and these have {sizes[0]}, the last {sizes[1]}; "
            f"take a batch_size that divides the number of examples, or drop_last=True"
        )


def _check_arrays(trainer: Trainer, batches: Batches) -> None:
    """Raise for what some batch of these arrays would be refused for."""
    whole = as_batch(batches.arrays)
    _check_masked_rows(trainer, whole)
    valid = whole.target_mask
    if valid is None and isinstance(whole.mask, np.ndarray):
        valid = trainer.model.output_mask(whole.mask)
    valid = valid if isinstance(valid, np.ndarray) else None
    _check_targets(trainer, whole, valid)
    weights = whole.sample_weight
    if weights is not None:
        each_step = valid is not None and valid.shape == np.shape(weights)
        as_weights("Trainer", weights, np.shape(weights), valid if each_step else None)
    if isinstance(trainer.loss, MeanLoss):
        _check_empty(batches, valid)


def _check_masked_rows(trainer: Trainer, whole: Batch) -> None:
    for _, mask in leaves(whole.mask):
        if np.ndim(mask) == 2 and not trainer.model.keeps_time:
            empty = np.flatnonzero(~mask.any(axis=1))
            if empty.size:
                raise ValueError(
                    f"row {empty[0]} of the mask has no valid step ({empty.size} of "
                    f"{len(mask)} rows have none): leave such sequences out"
                )


def _check_targets(trainer: Trainer, whole: Batch, valid: Any) -> None:
    """Raise for targets that the loss would refuse in some later batch: NaN, out of range."""
    loss, targets = trainer.loss, whole.targets
    if not isinstance(targets, np.ndarray):
        return  # several, for a loss of the user's own
    if np.shape(valid) != targets.shape[:2]:
        valid = None
    outputs = getattr(last_layer(trainer.model, skip=(Softmax,)), "output_size", None)
    one_each = targets.ndim > 2 or targets.shape[-1:] == (outputs,)
    if isinstance(loss, CTCLoss) and isinstance(outputs, int):
        as_labels(loss, loss.blank, targets, whole.target_mask, len(targets), outputs)
    classes = isinstance(loss, SoftmaxCrossEntropy | CrossEntropy)
    if classes and isinstance(outputs, int) and not one_each:
        ignored = getattr(loss, "ignore_class", None)
        if ignored is not None:
            targets = np.where(targets == ignored, 0, targets)
        checks.as_integers(loss, targets, outputs, "target classes", valid)
    elif targets.dtype.kind in "fiub" and targets.size:
        targets = masks.without_padding(targets, valid)
        refuse_not_finite(loss, math.nan, targets)
        if isinstance(loss, SigmoidCrossEntropy):
            check_probabilities(loss, targets, "targets should be")


def _check_empty(batches: Batches, valid: Any) -> None:
    """Raise if a batch could have no valid step at all, over which there is no mean."""
    if np.ndim(valid) != 2 or valid.any(axis=1).all():
        return
    empty, size = ~valid.any(axis=1), batches.batch_size
    starts = range(0, len(batches) * size, size)
    together = any(empty[k : k + size].all() for k in starts)
    if together or (batches.shuffle and empty.sum() >= min(batches.sizes)):
        raise ValueError(
            f"{empty.sum()} of {len(empty)} rows of the mask have no valid step, so a "
            f"batch of {min(batches.sizes)} could have none at all: leave such sequences out"
        )


def _first(batches: Any) -> Batch | None:
    """Return the first batch, where it can be had without touching anything."""
    if isinstance(batches, list | tuple):
        first = batches[0] if batches else None
    else:
        first = batches.first() if hasattr(batches, "first") else None
    return None if first is None else as_batch(first)


def _try(trainer: Trainer, batch: Batch) -> None:
    """Evaluate one batch, and look at the metrics' values."""
    generators = trainer.position.generators
    states = generator_states(generators)
    try:
        values = trainer.evaluate([batch])
    finally:
        set_generator_states(generators, states)
    for metric in trainer.metrics:
        value = values[metric.name]
        if np.ndim(value) == 0 and not isinstance(value, int | float | np.number):
            raise TypeError(
                f"metric {type(metric).__name__}: value should be a number, got a "
                f"{type(value).__name__}"
            )
