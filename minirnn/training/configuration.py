"""What a trainer is built from, to be compared when a run is resumed.

Everything on which the numbers of the run depend has to be the same: classes and settings of the
model's layers, the loss, the optimizer and the metrics; names and dtypes of the parameters, and
their order. Free are the learning rate (a run may get another schedule), the settings of callbacks
(more patience, another folder), and what belongs to a machine, as `engine`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.reprs import arguments_of
from minirnn.training.generators import random_generators

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["check_configuration", "configuration_of"]

_FREE = ("learning_rate", "engine")
_MISSING = "nothing"


def configuration_of(trainer: Trainer) -> dict[str, Any]:
    """Return what a trainer is built from, by name, in the order in which it is compared."""
    names = {id(one): name for name, one in trainer.model.named_parameters()}
    found = {
        "loss": type(trainer.loss).__name__,
        **_settings(type(trainer.loss).__name__, trainer.loss),
        "optimizer": type(trainer.optimizer).__name__,
        **_settings(type(trainer.optimizer).__name__, trainer.optimizer),
        "metrics": [metric.name for metric in trainer.metrics],
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "accumulate": trainer.accumulate,
        "parameters": list(names.values()),
        "in its optimizer": [
            names.get(id(one), "(not in the model)") for one in trainer.optimizer.parameters
        ],
        "groups of parameters": trainer.optimizer.group_settings(),
        "random generators": sorted(random_generators(trainer.model)),
    }
    for name, parameter in trainer.model.named_parameters():
        found[f"parameter {name} of dtype"] = str(parameter.dtype)
    for metric in trainer.metrics:
        found |= _settings(metric.name, metric)
    for name, layer in trainer.model.named_layers():
        found[f"as {name or 'the model'}"] = type(layer).__name__
        found |= _settings(name or "the model", layer)
    return found


def check_configuration(saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise ValueError for the first thing that differs."""
    for what in dict.fromkeys([*own, *saved]):
        there, here = saved.get(what, _MISSING), own.get(what, _MISSING)
        if not _equal(there, here):
            hint = "; to go on with another value, resume first and set it then"
            raise ValueError(
                f"the file has {what} {_short(there)}, the trainer {_short(here)}"
                + hint * (" with " in what)
            )


def _settings(name: str, thing: Any) -> dict[str, Any]:
    """Return the arguments of the constructor that are kept, as far as a file can hold them."""
    kept = {argument: _plain(value) for argument, value in arguments_of(thing)}
    return {
        f"{name} with {argument}": value
        for argument, value in kept.items()
        if argument not in _FREE and value is not _NOT_PLAIN
    }


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """Return numbers, texts, arrays, functions and lists of them as a file gives them back."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.copy()
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if inspect.isroutine(value) or isinstance(value, type):
        return value.__qualname__
    return _NOT_PLAIN


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_equal, one, two))
    return bool(one == two)


def _short(value: Any) -> str:
    text = str(value.tolist()) if isinstance(value, np.ndarray) else str(value)
    return shorten(text, 500, placeholder="...")
