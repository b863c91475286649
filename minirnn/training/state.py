"""All that the rest of a training run depends on, as one tree, and back.

The difficulty is the position inside an epoch. The order of the batches was drawn at the epoch's
beginning, the numbers drawn since then belong to later batches and to dropout. So two states of
each generator are kept, that at the beginning of the epoch and that of now: to go on, the first is
restored, the batches that are done are drawn again and passed over, and then the second is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.errors import CheckpointError
from minirnn.training.feeding import count_of
from minirnn.training.guards import StatesRestored, recurrent_layers
from minirnn.training.history import History
from minirnn.training.means import Means

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["Position", "load_state_dict", "state_dict"]


class Position:
    """Where in an epoch a run is.

    Attributes
    ----------
    inside : bool
        Whether an epoch has begun and not ended.
    start : dict
        The states of the batches' generators when it began.
    now : dict or None
        After a resume, the states of the batches' generators to go on from.
    count : int or None
        How many batches the epoch has, where that is known.
    """

    def __init__(self) -> None:
        self.inside = False
        self.start: dict[str, Any] = {}
        self.now: dict[str, Any] | None = None
        self.count: int | None = None
        self._batches: Any = None

    def begin_epoch(self, trainer: Trainer, batches: Any) -> None:
        """Note the generators' states before the first batch is drawn."""
        self.inside, self._batches, self.count = True, batches, count_of(batches)
        generators = self._generators(trainer)
        if self.now is not None:  # the first epoch after a resume between two epochs
            _set_states({k: g for k, g in generators.items() if k != "trainer"}, self.now)
            self.now = None
        self.start = _states(generators)

    def skip(self, trainer: Trainer, batches: Any) -> Iterator[Any]:
        """Draw the epoch's order again, and return an iterator over the batches not yet done."""
        self._batches = batches
        if self.now is None:
            raise RuntimeError("Trainer: there is no epoch to go on with")
        now, count = self.now, count_of(batches)
        if count is not None and self.count is not None and count != self.count:
            raise CheckpointError(
                f"the saved run was inside an epoch of {self.count} batches, and here are {count}: "
                f"is it other data, or another batch_size?"
            )
        _set_states(self._generators(trainer), self.start)
        source: Iterator[Any] = iter(batches)
        skipped = sum(1 for _ in islice(source, trainer.batch))
        if skipped < trainer.batch:
            raise CheckpointError(
                f"the saved run was {trainer.batch} batches into its epoch, and these batches are "
                f"only {skipped}: is it other data, or another batch_size?"
            )
        _set_states(self._generators(trainer), now)
        self.now = None
        return source

    def state_dict(self, trainer: Trainer) -> dict[str, Any]:
        """Return the position as a tree."""
        now = self.now if self.now is not None else _states(self._generators(trainer))
        return {"inside": self.inside, "start": self.start, "now": now, "count": self.count}

    def load_state_dict(self, tree: Mapping[str, Any]) -> None:
        """Take over the position; `skip` will go there."""
        self.inside = bool(tree["inside"])
        self.start, self.now, self.count = dict(tree["start"]), dict(tree["now"]), tree["count"]

    def _generators(self, trainer: Trainer) -> dict[str, np.random.Generator]:
        found = {"trainer": trainer.rng}
        own = getattr(self._batches, "rng", None)
        if isinstance(own, np.random.Generator):
            found["batches"] = own
        return found


def state_dict(trainer: Trainer) -> dict[str, Any]:
    """Return everything as a tree of dictionaries, lists, numbers and arrays."""
    layers = recurrent_layers(trainer.model)
    return {
        "model": trainer.model.state_dict(),
        "optimizer": {
            "class": type(trainer.optimizer).__name__,
            "state": trainer.optimizer.state_dict(),
        },
        "carried": {
            name: None if layer.carried_state is None else list(layer.carried_state)
            for name, layer in layers.items()
        },
        "generators": _states(_model_generators(trainer)) | {"trainer": _state(trainer.rng)},
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "stop": trainer.stop,
        "position": trainer.position.state_dict(trainer),
        "means": trainer.means.state_dict() if trainer.position.inside else None,
        "metrics": [metric.name for metric in trainer.metrics],
        "history": trainer.history.state_dict(),
        "callbacks": [
            {
                "class": type(callback).__name__,
                "state": callback.state_dict() if hasattr(callback, "state_dict") else None,
            }
            for callback in trainer.callbacks
        ],
    }


def load_state_dict(trainer: Trainer, tree: Mapping[str, Any], path: str) -> None:
    """Take everything over, or raise `CheckpointError` with the trainer as it was."""
    before, attributes = state_dict(trainer), dict(vars(trainer))
    with StatesRestored(recurrent_layers(trainer.model).values(), only_on_error=True):
        try:
            _refuse_other(trainer, tree)
            _apply(trainer, tree)
        except Exception as error:
            with suppress(Exception):  # a callback that refuses the one may refuse the other
                _apply(trainer, before)
            vars(trainer).update(attributes)
            raise CheckpointError(
                f"{path} does not fit this trainer, which is as it was: {error}"
            ) from error
    trainer.resumed = True


def _refuse_other(trainer: Trainer, tree: Mapping[str, Any]) -> None:
    """Raise if the tree was written by a trainer that was built otherwise."""
    own = {
        "optimizer": type(trainer.optimizer).__name__,
        "metrics": [metric.name for metric in trainer.metrics],
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "random generators": sorted([*_model_generators(trainer), "trainer"]),
        "recurrent layers": sorted(recurrent_layers(trainer.model)),
    }
    saved = {
        "optimizer": tree["optimizer"]["class"],
        "metrics": tree["metrics"],
        "callbacks": [callback["class"] for callback in tree["callbacks"]],
        "random generators": sorted(tree["generators"]),
        "recurrent layers": sorted(tree["carried"]),
    }
    for what, value in own.items():
        if what != "recurrent layers" and what != "random generators" and saved[what] != value:
            raise ValueError(f"the file has {what} {saved[what]}, the trainer {value}")
    trainer.model.load_state_dict(tree["model"])  # lists every name and shape that differs
    for what, value in own.items():
        if saved[what] != value:
            raise ValueError(f"the file has {what} {saved[what]}, the trainer {value}")


def _apply(trainer: Trainer, tree: Mapping[str, Any]) -> None:
    trainer.model.load_state_dict(tree["model"])
    trainer.optimizer.load_state_dict(tree["optimizer"]["state"])
    for name, layer in recurrent_layers(trainer.model).items():
        arrays = tree["carried"][name]
        layer.carried_state = None if arrays is None else tuple(arrays)
        layer.state = layer.carried_state
    _set_states(_model_generators(trainer) | {"trainer": trainer.rng}, tree["generators"])
    trainer.epoch, trainer.batch = int(tree["epoch"]), int(tree["batch"])
    trainer.stop = bool(tree["stop"])
    trainer.position = Position()
    trainer.position.load_state_dict(tree["position"])
    trainer.means = Means(trainer.metrics)
    if tree["means"] is not None:
        trainer.means.load_state_dict(tree["means"])
    trainer.history = History.from_state_dict(tree["history"])
    for callback, saved in zip(trainer.callbacks, tree["callbacks"], strict=True):
        if saved["state"] is not None:
            try:
                callback.load_state_dict(saved["state"])
            except Exception as error:
                checks.locate(error, f"callback {type(callback).__name__}")
                raise


# ---------------------------------------------------------------- random generators


def _model_generators(trainer: Trainer) -> dict[str, np.random.Generator]:
    return {
        f"{name}.{attribute}".lstrip("."): value
        for name, layer in trainer.model.named_layers()
        for attribute, value in vars(layer).items()
        if isinstance(value, np.random.Generator)
    }


def _states(generators: Mapping[str, np.random.Generator]) -> dict[str, Any]:
    return {name: _state(generator) for name, generator in generators.items()}


def _state(generator: np.random.Generator) -> dict[str, Any]:
    return dict(generator.bit_generator.state)


def _set_states(generators: Mapping[str, np.random.Generator], states: Mapping[str, Any]) -> None:
    for name, generator in generators.items():
        if name not in states:
            continue
        kind = type(generator.bit_generator).__name__
        if states[name]["bit_generator"] != kind:
            raise ValueError(
                f"the generator {name} was a {states[name]['bit_generator']}, now it is a {kind}"
            )
        generator.bit_generator.state = states[name]
