"""What a trainer is built from, to be compared when a run is resumed.

Everything on which the numbers of the run depend has to be the same: classes and settings of the
model's layers, the loss, the optimizer and the metrics; names and dtypes of the parameters, and
their order. Free are the learning rate (a run may get another schedule), the settings of callbacks
(more patience, another folder), and what belongs to a machine, as `engine`.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.reprs import arguments_of
from minirnn.training.position import random_generators

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["check_configuration", "configuration_of"]

_FREE = ("learning_rate", "engine")
_MOST_NUMBERS = 1000  # of an array that is written out


def configuration_of(trainer: Trainer) -> dict[str, str]:
    """Return what a trainer is built from, by name, in the order in which it is compared."""
    model, optimizer = trainer.model, trainer.optimizer
    names = {id(one): name for name, one in model.named_parameters()}
    known = [names.get(id(one), "(not in the model)") for one in optimizer.parameters]
    parts: list[tuple[str, Any]] = [(type(p).__name__, p) for p in (trainer.loss, optimizer)]
    parts += [(metric.name, metric) for metric in trainer.metrics]
    parts += [(name or "the model", layer) for name, layer in model.named_layers()]
    found: dict[str, Any] = {
        "loss": type(trainer.loss).__name__,
        "optimizer": type(optimizer).__name__,
        "metrics": [metric.name for metric in trainer.metrics],
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "accumulate": trainer.accumulate,
        "parameters": list(names.values()),
        "in its optimizer": known,
        "groups of parameters": optimizer.group_settings(),
        "random generators": sorted(random_generators(model)),
        **{f"parameter {name} of dtype": one.dtype for name, one in model.named_parameters()},
        **{f"as {name or 'the model'}": type(one).__name__ for name, one in model.named_layers()},
    }
    for name, part in parts:
        settings = ((argument, _text(value)) for argument, value in arguments_of(part))
        found |= {f"{name} with {k}": v for k, v in settings if v is not None and k not in _FREE}
    return {what: str(one) for what, one in found.items()}


def check_configuration(saved: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Raise ValueError for the first thing that differs."""
    for what in dict.fromkeys([*own, *saved]):
        there, here = saved.get(what, "nothing"), own.get(what, "nothing")
        if there != here:
            there, here = (shorten(text, 500, placeholder="...") for text in (there, here))
            hint = "; to go on with another value, resume first and set it then"
            raise ValueError(
                f"the file has {what} {there}, the trainer {here}" + hint * (" with " in what)
            )


def _text(value: Any) -> str | None:
    """Return a setting in words, a large array as its checksum; None for what is no setting."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        if value.size > _MOST_NUMBERS:
            return f"array {value.shape} of checksum {zlib.crc32(value.tobytes()):08x}"
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, list | tuple):
        items = [_text(item) for item in value]
        return None if None in items else f"[{', '.join(map(str, items))}]"
    if inspect.isroutine(value) or isinstance(value, type):
        return value.__qualname__
    return None
