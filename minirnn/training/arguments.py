"""What a trainer is made from: refused at once where it could not train, or would learn nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.core import Layer, Parameter
from minirnn.layers import Sigmoid, Softmax
from minirnn.losses import CrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy, check_loss
from minirnn.losses.ctc import CTCLoss
from minirnn.metrics import BinaryAccuracy, ConfusionMatrix, LogLoss, Metric, check_metric
from minirnn.models.encoder_decoder import EncoderDecoder
from minirnn.models.sequential import Sequential
from minirnn.optimizers import Optimizer

__all__ = ["checked", "last_layer"]


def checked(
    model: Any, loss: Any, optimizer: Any, metrics: Any, callbacks: Any
) -> tuple[list[Metric], list[Callback]]:
    """Return metrics and callbacks as lists, if a trainer can be made from all these."""
    checks.instance("Trainer", "model", model, Layer)
    checks.one_input("Trainer", model)
    _warn_of_mixed_dtypes(model)
    checks.instance("Trainer", "optimizer", optimizer, Optimizer)
    _check_loss(loss)
    found = _listed("metrics", metrics, Metric), _listed("callbacks", callbacks, Callback)
    _check_ending(model, loss, found[0])
    return found


def _listed(what: str, given: Any, kind: type) -> list[Any]:
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


def _check_loss(loss: Any) -> None:
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


def _check_ending(model: Layer, loss: Any, metrics: Iterable[Any]) -> None:
    """Raise if the last layer and the loss do not go together.

    A softmax taken twice, or over one output, trains without any error, and learns little or
    nothing.
    """
    last = last_layer(model)
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
    sized = last_layer(model, skip=(Softmax,))
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


def last_layer(model: Layer, skip: tuple[type, ...] = ()) -> Layer:
    """Return the last layer of a model, but for those to be skipped."""
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


def _warn_of_mixed_dtypes(model: Layer) -> None:
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
                    stacklevel=4,
                )
                return
