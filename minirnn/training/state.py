"""All that the rest of a training run depends on: as one tree, to a file, and back."""

from __future__ import annotations

import copy
import inspect
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.core import dtype_of
from minirnn.errors import CheckpointError
from minirnn.files import read_tree, write_tree
from minirnn.recurrent import Recurrent
from minirnn.recurrent.states import initial_state
from minirnn.reprs import arguments_of
from minirnn.restoring import Restored
from minirnn.training.interrupts import Uninterrupted
from minirnn.training.measuring import Averages
from minirnn.training.position import random_generators

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

_FREE = ("learning_rate", "engine")
_MOST_NUMBERS = 1000  # of an array that is written out


class Saved:
    """What a trainer can be saved with and gone on from; a base of `Trainer`."""

    def save(self: Trainer, path: str | os.PathLike[str]) -> None:  # type: ignore[misc]
        """Write all that the rest of the run depends on, so that `resume` can go on from it.

        Weights, optimizer, step of the schedule, every random generator (of the trainer, of the
        batches and of layers such as Dropout), the position inside the epoch, the history, the
        callbacks' own state, and the state that stateful layers carry. Nothing is pickled; an old
        file is replaced only when the new one is complete and on disk.

        Raises
        ------
        RuntimeError
            If an error or a second Ctrl-C left an update halfway: no run can go on from there.
        """
        if self.halfway is not None:
            raise RuntimeError(
                f"Trainer: {self.halfway}: this cannot be continued exactly. Resume from "
                f"the latest checkpoint; the weights alone can be kept with model.save"
            )
        tree = state_dict(self)
        if self.ranks is None:
            write_tree(path, tree)
        else:
            self.ranks.save(path, tree)

    def resume(self: Trainer, path: str | os.PathLike[str]) -> None:  # type: ignore[misc]
        """Take over what `save` wrote; the next `fit` goes on where that run was.

        The trainer is to be built as it was: the same model, loss, optimizer, metrics and
        callbacks, and `fit` is to be called with the same data. On the same machine and number of
        threads the result is then bit for bit that of a run that was never interrupted. The
        learning rate may be another schedule, and callbacks may have other settings; to change
        anything else, resume first and set it then.

        Raises
        ------
        CheckpointError
            If the file is truncated, corrupted, foreign, or of another version; if it belongs to
            another model, loss, optimizer or set of callbacks, or to one with other settings, it
            says what differs. The trainer is then as it was.
        """
        tree = read_tree(path)
        with Uninterrupted():
            _load(self, tree, os.fspath(path))


def state_dict(trainer: Trainer) -> dict[str, Any]:
    """Return everything as a tree of dictionaries, lists, numbers and arrays."""
    waiting = trainer.optimizer.parameters if trainer.accumulated else []
    return {
        "configuration": _configuration(trainer),
        "model": trainer.model.state_dict(),
        "last weights": trainer.last_weights,
        "optimizer": trainer.optimizer.state_dict(),
        "accumulated": trainer.accumulated,
        "gradients": [parameter.grad.copy() for parameter in waiting],
        "carried": {
            name: None if layer.carried_state is None else list(layer.carried_state)
            for name, layer in trainer.recurrent.items()
        },
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "stop": trainer.stop,
        "position": trainer.position.state_dict(),
        "averages": trainer.averages.state_dict() if trainer.position.inside else None,
        "history": trainer.history.state_dict(),
        "callbacks": [callback.state_dict() for callback in trainer.callbacks],
    }


def _load(trainer: Trainer, tree: dict[str, Any], path: str) -> None:
    """Take everything over, or raise `CheckpointError` with the trainer as it was."""
    own = state_dict(trainer)
    metrics = [copy.deepcopy(vars(metric)) for metric in trainer.metrics]
    layers = [layer for _, layer in trainer.model.named_layers()]
    with Restored(layers, gradients=True), Restored([trainer, *trainer.callbacks]):
        try:
            trainer.model.load_state_dict(tree["model"])  # lists every name and shape that differs
            _compare(tree["configuration"], own["configuration"])
            if trainer.ranks is not None:
                trainer.ranks.take_generators(trainer.model, tree)
            _apply(trainer, tree)
        except BaseException as error:
            trainer.model.load_state_dict(own["model"])
            try:
                with suppress(Exception):  # a callback may refuse its own state too
                    _apply(trainer, own)
            finally:
                for metric, before in zip(trainer.metrics, metrics, strict=True):
                    vars(metric).update(before)
            if not isinstance(error, Exception):
                raise
            raise CheckpointError(
                f"{path} does not fit this trainer, which is as it was: {error}"
            ) from error
    trainer.resumed, trainer.halfway = True, None


def _apply(trainer: Trainer, tree: Mapping[str, Any]) -> None:
    """Take over all but the weights; the callbacks' states at last."""
    trainer._begin_anew()
    trainer.optimizer.load_state_dict(tree["optimizer"])
    for name, layer in trainer.recurrent.items():
        layer.state = layer.carried_state = _carried(layer, name, tree["carried"][name])
    for name in ("epoch", "batch", "accumulated"):
        count = checks.positive_int("checkpoint", name, tree[name], least=0)
        setattr(trainer, name, count)
    if trainer.accumulated >= trainer.accumulate:
        raise ValueError(f"gradients of {trainer.accumulated} batches of {trainer.accumulate}")
    if trainer.accumulated:
        for parameter, grad in zip(trainer.optimizer.parameters, tree["gradients"], strict=True):
            parameter.grad = grad
    trainer.stop = checks.flag("checkpoint", "stop", tree["stop"])
    trainer.last_weights = tree["last weights"]
    trainer.averages = Averages(trainer.metrics)
    for name in ("position", "averages", "history"):
        if tree[name] is not None:
            getattr(trainer, name).load_state_dict(tree[name])
    for callback, saved in zip(trainer.callbacks, tree["callbacks"], strict=True):
        if saved is not None:
            with checks.located(f"callback {type(callback).__name__}"):
                callback.load_state_dict(saved)


def _carried(layer: Recurrent, name: str, arrays: Any) -> Any:
    """Return a carried state if it is of the shapes and dtypes that the layer's cell has."""
    if arrays is None:
        return None
    dtype = dtype_of(layer.cell) or arrays[0].dtype
    like = initial_state(layer, None, None, len(arrays[0]), dtype)
    shapes = [(array.shape, str(array.dtype)) for array in arrays]
    expected = [(one.shape, str(one.dtype)) for one in like]
    if shapes != expected:
        raise ValueError(f"the state that {name} carries should be {expected}, got {shapes}")
    return tuple(arrays)


# ---------------------------------------------------------------- what a run was built from


def _configuration(trainer: Trainer) -> dict[str, str]:
    """Return all on which the numbers of a run depend, by name, in the order of comparison.

    That is, classes and settings of layers, loss, optimizer and metrics, and names and dtypes of
    the parameters in their order. Free are the learning rate (a run may get another schedule), the
    settings of callbacks, and what belongs to a machine, as `engine`.
    """
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


def _compare(saved: Mapping[str, str], own: Mapping[str, str]) -> None:
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
