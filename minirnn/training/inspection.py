"""What can be known before the first batch: looked at, so that no epoch is trained for nothing."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.core import Layer, Parameter
from minirnn.data.nested import leaves
from minirnn.layers import Sigmoid, Softmax
from minirnn.losses import CrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy, check_loss
from minirnn.losses.ctc import CTCLoss
from minirnn.metrics import BinaryAccuracy, ConfusionMatrix, LogLoss, Metric, check_metric
from minirnn.models.encoder_decoder import EncoderDecoder
from minirnn.models.sequential import Sequential
from minirnn.training.averages import Averages, measure
from minirnn.training.inputs import ArrayBatches, Batch, as_batch
from minirnn.training.restore import Restored, modes_restored

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["check_ending", "check_loss_argument", "inspect_fit", "listed", "warn_of_mixed_dtypes"]


# ---------------------------------------------------------------- at construction


def listed(what: str, given: Any, kind: type) -> list[Any]:
    """Return the metrics or callbacks as a list; a text or a class is answered with what to write.

    Parameters
    ----------
    what : str
        "metrics" or "callbacks".
    given : list
    kind : type
        What each should be.
    """
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"Trainer: {what} should be a list, got {type(given).__name__}; write {what}=[...]"
        )
    for item in given:
        if isinstance(item, str):
            hint = _WRITE.get(item.lower(), f"an object of minirnn.{what}")
            raise TypeError(f"Trainer: {what} has the text {item!r}: write {hint}")
        if isinstance(item, type):
            raise TypeError(
                f"Trainer: {what} has the class {item.__name__}: write {item.__name__}(...)"
            )
        if kind is Callback and not isinstance(item, Callback):
            name = type(item).__name__
            raise TypeError(
                f"Trainer: callbacks has a {name}, which is no Callback; write "
                f"class {name}(minirnn.callbacks.Callback): ..."
            )
        if kind is Metric:
            check_metric("Trainer", item)
    return list(given)


def check_loss_argument(loss: Any) -> None:
    """Raise unless it is a loss."""
    if isinstance(loss, str):
        hint = _WRITE.get(loss.lower(), "an object of minirnn.losses, such as MeanSquaredError()")
        raise TypeError(f"Trainer: loss is the text {loss!r}: write {hint}")
    check_loss("Trainer", loss)


_WRITE = {  # for the names that other frameworks take
    "accuracy": "Accuracy()",
    "acc": "Accuracy()",
    "auc": "FunctionMetric(lambda y, t: roc_auc_score(t, y), name='auc', higher_is_better=True)",
    "f1": "F1()",
    "perplexity": "Perplexity()",
    "mse": "MeanSquaredError()",
    "mean_squared_error": "MeanSquaredError()",
    "mae": "MeanAbsoluteError()",
    "binary_crossentropy": "SigmoidCrossEntropy(), on logits",
    "categorical_crossentropy": "SoftmaxCrossEntropy(), on logits",
    "sparse_categorical_crossentropy": "SoftmaxCrossEntropy(), on logits",
    "crossentropy": "SoftmaxCrossEntropy(), on logits",
    "cross_entropy": "SoftmaxCrossEntropy(), on logits",
}


def check_ending(model: Layer, loss: Any, metrics: Iterable[Any]) -> None:
    """Raise if the last layer and the loss do not go together.

    A softmax taken twice, or over one output, trains without any error, and learns little or
    nothing.
    """
    last = _last(model)
    name, loss_name = type(last).__name__, type(loss).__name__
    if (isinstance(last, Softmax) and isinstance(loss, SoftmaxCrossEntropy | CTCLoss)) or (
        isinstance(last, Sigmoid) and isinstance(loss, SigmoidCrossEntropy)
    ):
        kept = "CrossEntropy()" if isinstance(last, Softmax) else "BinaryCrossEntropy()"
        other = "" if isinstance(loss, CTCLoss) else f"; or keep it and take {kept}"
        raise ValueError(
            f"Trainer: the model ends in {name}, and {loss_name} works on logits: it takes the "
            f"{name.lower()} itself. Leave the last layer out{other}"
        )
    softmax = isinstance(loss, SoftmaxCrossEntropy | CrossEntropy)
    sized = _last(model, skip=(Softmax,))
    if softmax and getattr(sized, "output_size", None) == 1:
        raise ValueError(
            f"Trainer: the model has one output, and {loss_name} is over classes: the softmax of "
            f"one number is always 1, so nothing would be learned. For yes or no take "
            f"SigmoidCrossEntropy(), or two outputs"
        )
    for metric in metrics:
        kinds: tuple[type, ...] = (LogLoss,) if isinstance(last, Softmax) else ()
        kinds = (BinaryAccuracy, ConfusionMatrix) if isinstance(last, Sigmoid) else kinds
        if isinstance(metric, kinds) and getattr(metric, "from_logits", False):
            raise ValueError(
                f"Trainer: the model ends in {name}, and {type(metric).__name__} expects logits; "
                f"write {type(metric).__name__}(from_logits=False)"
            )
    names = [metric.name for metric in metrics]
    for one in names:
        if one == "loss" or names.count(one) > 1:
            raise ValueError(
                f"Trainer: two of the values to report would be named {one!r}; give a metric "
                f"another name (metric.name = ...), or leave it out"
            )


def _last(model: Layer, skip: tuple[type, ...] = ()) -> Layer:
    """Return the last layer of a chain, but for those to be skipped."""
    while isinstance(model, Sequential | EncoderDecoder):
        if isinstance(model, EncoderDecoder):
            decoder = model.decoder
            model = decoder if isinstance(decoder, Layer) else decoder[-1]
            continue
        rest = [layer for layer in model if not isinstance(layer, skip)]
        if not rest:
            break
        model = rest[-1]
    return model


# ---------------------------------------------------------------- at the beginning of fit


def inspect_fit(trainer: Trainer, batches: Any, held_out: Any) -> None:
    """Raise if the run that is about to begin could not come to its end, or would mean nothing.

    It costs one validation batch.
    """
    _check_monitors(trainer, held_out is not None)
    _check_sizes(trainer, batches, "the data")
    _check_sizes(trainer, held_out, "validation")
    first, held = _first(batches), _first(held_out)
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
    targets = whole.targets
    valid = whole.target_mask
    if valid is None and trainer.model.keeps_time:
        valid = whole.mask
    if isinstance(valid, np.ndarray) and valid.shape == targets.shape[:2]:
        targets = targets[valid]
    if targets.dtype.kind in "OSUb":
        hint = (
            "write targets.astype(int)"
            if targets.dtype.kind == "b"
            else ("write classes, targets = np.unique(targets, return_inverse=True)")
        )
        classes = isinstance(trainer.loss, SoftmaxCrossEntropy | CrossEntropy)
        if targets.dtype.kind != "b" or classes:
            raise TypeError(
                f"Trainer: {where}the targets should be numbers, got an array of "
                f"{targets.dtype}; {hint}"
            )
    if targets.dtype.kind == "f":
        wrong = targets.size - int(np.isfinite(targets).sum())
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
    size = getattr(_last(trainer.model, skip=(Softmax,)), "output_size", None)
    if (
        isinstance(trainer.loss, SoftmaxCrossEntropy | CrossEntropy)
        and isinstance(size, int)
        and targets.dtype.kind in "iu"
        and whole.targets.ndim <= 2
        and targets.size
    ):
        ignored = getattr(trainer.loss, "ignore_class", None)
        wrong = (targets < 0) | (targets >= size)
        if ignored is not None:
            wrong &= targets != ignored
        if wrong.any() and whole.targets.shape[-1] != size:
            raise ValueError(
                f"Trainer: {where}target classes should be in 0..{size - 1}, one for each of the "
                f"{size} outputs, got {targets.min()} to {targets.max()} ({int(wrong.sum())} of "
                f"{targets.size} are out of range)"
            )


def _first(batches: Any) -> Batch | None:
    """Return the first batch, where it can be had without touching anything."""
    if isinstance(batches, list | tuple):
        return as_batch(batches[0]) if batches else None
    first = getattr(batches, "first", None)
    return None if first is None else as_batch(first())


def _try(trainer: Trainer, batch: Batch) -> None:
    """Evaluate one batch on copies of the loss and the metrics."""
    model = trainer.model
    loss, metrics = copy.copy(trainer.loss), copy.deepcopy(trainer.metrics)
    generators = trainer.generators.values()
    with modes_restored(model), Restored(trainer.recurrent, generators):
        model.eval()
        model.reset_state()
        averages = Averages(metrics)
        averages.add(measure(model, loss, batch))
        for metric in metrics:
            value = metric.value
            if np.ndim(value) == 0 and not isinstance(value, int | float | np.number):
                raise TypeError(
                    f"metric {type(metric).__name__}: value should be a number, got a "
                    f"{type(value).__name__}"
                )


def warn_of_mixed_dtypes(model: Layer) -> None:
    """Warn of a float64 Parameter in a user's own layer, in a model that is float32 elsewhere.

    That is hardly ever meant: NumPy's generators draw float64. A layer of the library was told its
    dtype.
    """
    if all(parameter.dtype == np.float64 for parameter in model.parameters()):
        return
    for path, layer in model.named_layers():
        if type(layer).__module__.split(".")[0] == "minirnn":
            continue
        for name, value in vars(layer).items():
            if isinstance(value, Parameter) and value.dtype == np.float64:
                name = f"{path}.{name}" if path else name
                warnings.warn(
                    f"{type(layer).__name__}: the Parameter {name} is float64 in a model that is "
                    f"float32 elsewhere, so each layer casts what it gets. For float32 throughout "
                    f"write Parameter(array.astype(np.float32)), for float64 dtype=np.float64 in "
                    f"the other layers",
                    stacklevel=3,
                )
                return
