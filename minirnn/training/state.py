"""All that the rest of a training run depends on, as one tree, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.errors import CheckpointError
from minirnn.training.averages import Averages
from minirnn.training.configuration import check_configuration, configuration_of
from minirnn.training.generators import (
    generator_states,
    random_generators,
    set_generator_states,
)
from minirnn.training.history import History
from minirnn.training.position import Position
from minirnn.training.restore import recurrent_layers

if TYPE_CHECKING:
    import numpy as np

    from minirnn.recurrent import Recurrent
    from minirnn.training.trainer import Trainer

__all__ = ["load_state_dict", "state_dict"]


def state_dict(trainer: Trainer) -> dict[str, Any]:
    """Return everything as a tree of dictionaries, lists, numbers and arrays."""
    model = trainer.model
    return {
        "configuration": configuration_of(trainer),
        "model": model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
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
        "generators": generator_states(_generators(trainer)),
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "stop": trainer.stop,
        "position": trainer.position.state_dict(trainer),
        "averages": trainer.averages.state_dict() if trainer.position.inside else None,
        "history": trainer.history.state_dict(),
        "callbacks": [callback.state_dict() for callback in trainer.callbacks],
    }


def load_state_dict(trainer: Trainer, tree: Mapping[str, Any], path: str) -> None:
    """Take everything over, or raise `CheckpointError` with the trainer as it was."""
    before = _Before(trainer)
    try:
        trainer.model.load_state_dict(tree["model"])  # lists every name and shape that differs
        check_configuration(tree["configuration"], configuration_of(trainer))
        _apply(trainer, tree)
    except BaseException as error:
        before.restore(trainer)
        if not isinstance(error, Exception):
            raise
        raise CheckpointError(
            f"{path} does not fit this trainer, which is as it was: {error}"
        ) from error
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
        trainer.optimizer.load_state_dict(self.tree["optimizer"])
        for one, gradient in zip(trainer.optimizer.parameters, self.gradients, strict=True):
            one.grad = gradient
        set_generator_states(_generators(trainer), self.tree["generators"])
        for layer, state, carried in self.states:
            layer.state, layer.carried_state = state, carried
        for metric, attributes in zip(trainer.metrics, self.metrics, strict=True):
            vars(metric).update(attributes)
        vars(trainer).update(self.attributes)
        for callback, saved in zip(trainer.callbacks, self.tree["callbacks"], strict=True):
            if saved is not None:
                try:
                    callback.load_state_dict(saved)
                except Exception:  # a callback that refused the file's state may refuse its own
                    continue


def _apply(trainer: Trainer, tree: Mapping[str, Any]) -> None:
    trainer.optimizer.load_state_dict(tree["optimizer"])
    for name, layer in recurrent_layers(trainer.model).items():
        layer.carried_state = _carried(layer, name, tree["carried"][name])
        layer.state = layer.carried_state
    set_generator_states(_generators(trainer), tree["generators"])
    trainer.epoch = checks.positive_int("checkpoint", "epoch", tree["epoch"], zero=True)
    trainer.batch = checks.positive_int("checkpoint", "batch", tree["batch"], zero=True)
    trainer.stop = checks.flag("checkpoint", "stop", tree["stop"])
    trainer.position = Position()
    trainer.position.load_state_dict(tree["position"])
    trainer.averages = Averages(trainer.metrics)
    if tree["averages"] is not None:
        trainer.averages.load_state_dict(tree["averages"])
    trainer.history = History.from_state_dict(tree["history"], trainer.directions)
    _load_gradients(trainer, tree["gradients"])
    for callback, saved in zip(trainer.callbacks, tree["callbacks"], strict=True):
        if saved is not None:
            try:
                callback.load_state_dict(saved)
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
    trainer.accumulated = checks.positive_int("checkpoint", "batches", saved["batches"], zero=True)
    if trainer.accumulated >= trainer.accumulate:
        raise ValueError(f"gradients of {trainer.accumulated} batches of {trainer.accumulate}")
    if trainer.accumulated:
        parameters = trainer.optimizer.parameters
        for parameter, gradient in zip(parameters, saved["values"], strict=True):
            parameter.grad = gradient


def _generators(trainer: Trainer) -> dict[str, np.random.Generator]:
    return random_generators(trainer.model) | {"trainer": trainer.rng}
