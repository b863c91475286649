"""What a trainer is made from: refused at once where it could not train, or would learn nothing."""

from __future__ import annotations

import warnings
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
from minirnn.training.diagnosis import names_of_others

_PROBABILITIES: list[tuple[type, tuple[type, ...], tuple[type, ...]]] = [
    # A last layer, and losses and metrics on logits that do not go with it.
    (Softmax, (SoftmaxCrossEntropy, CTCLoss), (LogLoss,)),
    (Sigmoid, (SigmoidCrossEntropy,), (BinaryAccuracy, ConfusionMatrix)),
]


def checked(
    model: Any, loss: Any, optimizer: Any, metrics: Any, callbacks: Any
) -> tuple[list[Metric], list[Callback]]:
    """Return metrics and callbacks as lists, if a trainer can be made from all these."""
    checks.instance("Trainer", "model", model, Layer)
    _warn_of_mixed_dtypes(model)
    checks.instance("Trainer", "optimizer", optimizer, Optimizer)
    _refuse_text("loss is", loss, "MeanSquaredError()")
    check_loss("Trainer", loss)
    metrics, callbacks = _listed("metrics", metrics), _listed("callbacks", callbacks)
    for metric in metrics:
        _refuse_text("metrics has", metric, "Accuracy()")
        check_metric("Trainer", metric)
    for callback in callbacks:
        checks.instance("Trainer", "a callback", callback, Callback)
        if sum(one is callback for one in callbacks) > 1:
            raise ValueError(
                f"Trainer: callbacks has the same {type(callback).__name__} twice, so it would be "
                f"called twice for each event"
            )
    _check_parameters(model, optimizer)
    _check_ending(model, loss, metrics)
    names = ["loss", *(metric.name for metric in metrics)]
    for one in names:
        if names.count(one) > 1:
            raise ValueError(
                f"Trainer: two of the values to report would be named {one!r}; give a metric "
                f"another name (metric.name = ...), or leave it out"
            )
    return metrics, callbacks


def _listed(what: str, given: Any) -> list[Any]:
    """Return the metrics or callbacks as a list."""
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"Trainer: {what} should be a list, got {type(given).__name__}; write {what}=[...]"
        )
    return list(given)


def _refuse_text(what: str, given: Any, example: str) -> None:
    if isinstance(given, str):
        raise TypeError(f"Trainer: {what} the text {given!r}: write {example}, or another object")


def _check_parameters(model: Layer, optimizer: Optimizer) -> None:
    """Raise if the optimizer has parameters of other layers in place of the model's."""
    ids = {id(parameter) for parameter in model.parameters()}
    foreign = [one for one in optimizer.parameters if id(one) not in ids]
    left_out = names_of_others(model, optimizer.parameters)
    if foreign and left_out:
        raise ValueError(
            f"Trainer: the optimizer holds none of the model's parameters {left_out}, but "
            f"{len(foreign)} that the model does not have; was it made from another model, or was "
            f"a layer replaced after it? Make the optimizer last"
        )


def _check_ending(model: Layer, loss: Any, metrics: list[Any]) -> None:
    """Raise if the last layer and the loss do not go together.

    A softmax taken twice, or over one output, trains without any error, and learns little or
    nothing.
    """
    last = last_layer(model)
    name, loss_name = type(last).__name__, type(loss).__name__
    for kind, losses, kinds in _PROBABILITIES:
        if not isinstance(last, kind):
            continue
        if isinstance(loss, losses):
            raise ValueError(
                f"Trainer: the model ends in {name}, and {loss_name} works on logits: it takes the "
                f"{name.lower()} itself. Leave the last layer out"
            )
        for metric in metrics:
            if isinstance(metric, kinds) and getattr(metric, "from_logits", False):
                raise ValueError(
                    f"Trainer: the model ends in {name}, and {type(metric).__name__} expects "
                    f"logits; write {type(metric).__name__}(from_logits=False)"
                )
    outputs = getattr(last_layer(model, skip=(Softmax,)), "output_size", None)
    if isinstance(loss, SoftmaxCrossEntropy | CrossEntropy) and outputs == 1:
        raise ValueError(
            f"Trainer: the model has one output, and {loss_name} is over classes: the softmax of "
            f"one number is always 1, so nothing would be learned. For yes or no take "
            f"SigmoidCrossEntropy(), or two outputs"
        )


def last_layer(model: Layer, skip: tuple[type, ...] = ()) -> Layer:
    """Return the last layer of a model, but for those to be skipped."""
    if isinstance(model, EncoderDecoder):
        decoder = model.decoder
        return last_layer(decoder if isinstance(decoder, Layer) else decoder[-1], skip)
    if isinstance(model, Sequential):
        rest = [layer for layer in model if not isinstance(layer, skip)]
        return last_layer(rest[-1], skip) if rest else model
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
                warnings.warn(
                    f"{type(layer).__name__}: the Parameter {f'{path}.{name}'.lstrip('.')} is "
                    f"float64 in a model that is float32 elsewhere, so each layer casts what it "
                    f"gets. For float32 throughout write Parameter(array.astype(np.float32)), for "
                    f"float64 dtype=np.float64 in the other layers",
                    stacklevel=4,
                )
                return
