"""All that the rest of a training run depends on, as one tree, and back.

The difficulty is the position inside an epoch. The order of the batches was drawn at the epoch's
beginning, the numbers drawn since then belong to later batches and to dropout. So two states of
each generator are kept, that at the beginning of the epoch and that of now: to go on, the first is
restored, the batches that are done are drawn again and passed over, and then the second is set.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import islice
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.errors import CheckpointError
from minirnn.training.averages import Averages
from minirnn.training.history import History
from minirnn.training.inputs import count_of
from minirnn.training.restore import random_generators, recurrent_layers

if TYPE_CHECKING:
    from minirnn.recurrent import Recurrent
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
    event : tuple (str, int) or None
        An event of which so many callbacks have been called, and the others not yet.
    """

    def __init__(self) -> None:
        self.inside = False
        self.start: dict[str, Any] = {}
        self.now: dict[str, Any] | None = None
        self.count: int | None = None
        self.event: tuple[str, int] | None = None
        self._batches: Any = None

    def begin_epoch(self, trainer: Trainer, batches: Any) -> None:
        """Note the generators' states before the first batch is drawn."""
        self.inside, self._batches, self.count = True, batches, count_of(batches)
        generators = self.generators(trainer)
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
        _set_states(self.generators(trainer), self.start)
        source: Iterator[Any] = iter(batches)
        skipped = sum(1 for _ in islice(source, trainer.batch))
        if skipped < trainer.batch:
            raise CheckpointError(
                f"the saved run was {trainer.batch} batches into its epoch, and these batches are "
                f"only {skipped}: is it other data, or another batch_size?"
            )
        _set_states(self.generators(trainer), now)
        self.now = None
        return source

    def generators(self, trainer: Trainer) -> dict[str, np.random.Generator]:
        """Return the generators that the batches are drawn with."""
        found = {"trainer": trainer.rng}
        own = getattr(self._batches, "rng", None)
        if isinstance(own, np.random.Generator):
            found["batches"] = own
        return found

    def state_dict(self, trainer: Trainer) -> dict[str, Any]:
        """Return the position as a tree."""
        now = self.now if self.now is not None else _states(self.generators(trainer))
        return {
            "inside": self.inside,
            "start": self.start,
            "now": now,
            "count": self.count,
            "event": None if self.event is None else list(self.event),
        }

    def load_state_dict(self, tree: Mapping[str, Any]) -> None:
        """Take over the position; `skip` will go there."""
        self.inside = _of_kind(tree, "inside", bool)
        self.start, self.now = dict(tree["start"]), dict(tree["now"])
        self.count = None if tree["count"] is None else _whole(tree, "count")
        if tree["event"] is not None:
            event, called = tree["event"]
            events = ("on_epoch_begin", "on_batch_end", "on_epoch_end")
            self.event = (
                checks.choice("checkpoint", "event", event, events),
                _whole({"event": called}, "event"),
            )


def state_dict(trainer: Trainer) -> dict[str, Any]:
    """Return everything as a tree of dictionaries, lists, numbers and arrays."""
    model = trainer.model
    return {
        "loss": type(trainer.loss).__name__,
        "metrics": [metric.name for metric in trainer.metrics],
        "trained": _trained(trainer),
        "accumulate": trainer.accumulate,
        "model": model.state_dict(),
        "optimizer": {
            "class": type(trainer.optimizer).__name__,
            "state": trainer.optimizer.state_dict(),
        },
        "gradients": {
            "batches": trainer.accumulated,
            "values": [one.grad.copy() for one in trainer.optimizer.parameters]
            if trainer.accumulated
            else [],
        },
        "carried": {
            name: None if layer.carried_state is None else list(layer.carried_state)
            for name, layer in recurrent_layers(model).items()
        },
        "generators": _states(random_generators(model)) | {"trainer": _state(trainer.rng)},
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "stop": trainer.stop,
        "position": trainer.position.state_dict(trainer),
        "averages": trainer.averages.state_dict() if trainer.position.inside else None,
        "history": trainer.history.state_dict(),
        "callbacks": [
            {"class": type(callback).__name__, "state": callback.state_dict()}
            for callback in trainer.callbacks
        ],
    }


def load_state_dict(trainer: Trainer, tree: Mapping[str, Any], path: str) -> None:
    """Take everything over, or raise `CheckpointError` with the trainer as it was."""
    before = _Before(trainer)
    try:
        _refuse_other(trainer, tree)
        _apply(trainer, tree)
    except Exception as error:
        before.restore(trainer)
        raise CheckpointError(
            f"{path} does not fit this trainer, which is as it was: {error}"
        ) from error
    except BaseException:
        before.restore(trainer)
        raise
    trainer.resumed = True


class _Before:
    """What a trainer was before a file was tried."""

    def __init__(self, trainer: Trainer) -> None:
        self.attributes = dict(vars(trainer))
        self.tree = state_dict(trainer)
        self.states = [
            (layer, layer.state, layer.carried_state)
            for layer in recurrent_layers(trainer.model).values()
        ]
        self.gradients = [one.grad.copy() for one in trainer.optimizer.parameters]
        self.metrics = [copy.deepcopy(vars(metric)) for metric in trainer.metrics]

    def restore(self, trainer: Trainer) -> None:
        """Put everything back, whatever of it was changed."""
        trainer.model.load_state_dict(self.tree["model"])
        trainer.optimizer.load_state_dict(self.tree["optimizer"]["state"])
        for one, gradient in zip(trainer.optimizer.parameters, self.gradients, strict=True):
            one.grad = gradient
        generators = random_generators(trainer.model) | {"trainer": trainer.rng}
        _set_states(generators, self.tree["generators"])
        for layer, state, carried in self.states:
            layer.state, layer.carried_state = state, carried
        for metric, attributes in zip(trainer.metrics, self.metrics, strict=True):
            vars(metric).update(attributes)
        vars(trainer).update(self.attributes)
        for callback, saved in zip(trainer.callbacks, self.tree["callbacks"], strict=True):
            if saved["state"] is not None:
                try:
                    callback.load_state_dict(saved["state"])
                except Exception:  # a callback that refuses the one may refuse the other
                    continue


def _trained(trainer: Trainer) -> list[list[str]]:
    """Return name, shape and dtype of the optimizer's parameters, in its order."""
    names = {id(one): name for name, one in trainer.model.named_parameters()}
    return [
        [names.get(id(one), "(not in the model)"), str(one.shape), str(one.value.dtype)]
        for one in trainer.optimizer.parameters
    ]


def _refuse_other(trainer: Trainer, tree: Mapping[str, Any]) -> None:
    """Raise if the tree was written by a trainer that was built otherwise."""
    own = {
        "loss": type(trainer.loss).__name__,
        "optimizer": type(trainer.optimizer).__name__,
        "metrics": [metric.name for metric in trainer.metrics],
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "accumulate": trainer.accumulate,
    }
    saved = {
        "loss": tree["loss"],
        "optimizer": tree["optimizer"]["class"],
        "metrics": tree["metrics"],
        "callbacks": [callback["class"] for callback in tree["callbacks"]],
        "accumulate": tree["accumulate"],
    }
    _compare(saved, own)
    trainer.model.load_state_dict(tree["model"])  # lists every name and shape that differs
    for name, parameter in trainer.model.named_parameters():
        _compare(
            {f"parameter {name} of dtype": str(tree["model"][name].dtype)},
            {f"parameter {name} of dtype": str(parameter.value.dtype)},
        )
    model = trainer.model
    _compare(
        {
            "parameters": list(tree["model"]),
            "in its optimizer": tree["trained"],
            "random generators": sorted(tree["generators"]),
            "recurrent layers": sorted(tree["carried"]),
        },
        {
            "parameters": [name for name, _ in model.named_parameters()],
            "in its optimizer": _trained(trainer),
            "random generators": sorted([*random_generators(model), "trainer"]),
            "recurrent layers": sorted(recurrent_layers(model)),
        },
    )


def _compare(saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    for what, value in own.items():
        if saved[what] != value:
            there, here = (
                shorten(str(one), 500, placeholder="...") for one in (saved[what], value)
            )
            raise ValueError(f"the file has {what} {there}, the trainer {here}")


def _apply(trainer: Trainer, tree: Mapping[str, Any]) -> None:
    trainer.model.load_state_dict(tree["model"])
    trainer.optimizer.load_state_dict(tree["optimizer"]["state"])
    for name, layer in recurrent_layers(trainer.model).items():
        layer.carried_state = _carried(layer, name, tree["carried"][name])
        layer.state = layer.carried_state
    generators = random_generators(trainer.model) | {"trainer": trainer.rng}
    _set_states(generators, tree["generators"])
    trainer.epoch, trainer.batch = _whole(tree, "epoch"), _whole(tree, "batch")
    trainer.stop = _of_kind(tree, "stop", bool)
    trainer.position = Position()
    trainer.position.load_state_dict(tree["position"])
    for states in (trainer.position.start, trainer.position.now or {}):
        for state in states.values():
            _check_state(state)
    trainer.averages = Averages(trainer.metrics)
    if tree["averages"] is not None:
        trainer.averages.load_state_dict(tree["averages"])
    trainer.history = History.from_state_dict(tree["history"], trainer.directions)
    _load_gradients(trainer, tree["gradients"])
    for callback, saved in zip(trainer.callbacks, tree["callbacks"], strict=True):
        if saved["state"] is not None:
            try:
                callback.load_state_dict(saved["state"])
            except Exception as error:
                checks.locate(error, f"callback {type(callback).__name__}")
                raise


def _carried(layer: Recurrent, name: str, arrays: Any) -> Any:
    """Return a carried state if it is of the shapes and dtypes that the layer's cell has."""
    if arrays is None:
        return None
    like = layer.cell.initial_state(len(arrays[0]))
    shapes = [(array.shape, str(array.dtype)) for array in arrays]
    expected = [(one.shape, str(one.dtype)) for one in like]
    if shapes != expected:
        raise ValueError(f"the state that {name} carries should be {expected}, got {shapes}")
    return tuple(arrays)


def _load_gradients(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    trainer.accumulated = _whole(saved, "batches")
    if trainer.accumulated >= trainer.accumulate:
        raise ValueError(f"gradients of {trainer.accumulated} batches of {trainer.accumulate}")
    if trainer.accumulated:
        parameters = trainer.optimizer.parameters
        for parameter, gradient in zip(parameters, saved["values"], strict=True):
            parameter.grad = gradient


def _whole(tree: Mapping[str, Any], name: str) -> int:
    """Return a number of the tree that counts something."""
    number = tree[name]
    if type(number) is not int or number < 0:
        raise ValueError(f"{name} should be a whole number of at least 0, got {number!r}")
    return number


def _of_kind(tree: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(tree[name], kind):
        raise TypeError(f"{name} should be a {kind.__name__}, got {tree[name]!r}")
    return tree[name]


# ---------------------------------------------------------------- random generators


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
        _check_state(states[name])
        generator.bit_generator.state = states[name]


def _check_state(state: Mapping[str, Any]) -> None:
    """Raise unless a generator of NumPy's would say of itself that it is in this state.

    NumPy takes some positions beyond the end of a state's array, and reads there.
    """
    kind = state["bit_generator"]
    if kind not in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        return  # one of the user's own, which looks after itself
    bits = getattr(np.random, kind)(0)
    inner = state["state"]
    if not 0 <= inner.get("pos", 0) <= 624 or not 0 <= state.get("buffer_pos", 0) <= 4:
        raise ValueError(f"a {kind} cannot be in the state of the file")
    bits.state = state
    if not _same(bits.state, state):
        raise ValueError(f"a {kind} cannot be in the state of the file")


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return set(one) == set(two) and all(_same(one[key], two[key]) for key in one)
    return bool(np.array_equal(one, two))
