"""The contract of a callback."""

from __future__ import annotations

import contextlib
import copy
import difflib
import inspect
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn.callbacks import Callback, Checkpoint
from minirnn.layers import Dense
from minirnn.losses import SoftmaxCrossEntropy
from minirnn.metrics import Accuracy
from minirnn.models import Sequential
from minirnn.optimizers import SGD
from minirnn.testing.arrays import equal
from minirnn.testing.report import NotApplicableError
from minirnn.training import Trainer

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


def is_callback(thing: Any) -> bool:
    """Whether it is a Callback, or has a method of the name on_... and is no class."""
    return not isinstance(thing, type) and bool(_methods(thing))


def _methods(thing: Any) -> list[str]:
    return [name for name in dir(thing) if name.startswith("on_")]


def hooks(callback: Any) -> Iterator[str]:
    """Look at the names of its methods and what they take."""
    if not isinstance(callback, Callback):
        yield (
            f"it is no Callback, and a Trainer refuses it: write class "
            f"{type(callback).__name__}(minirnn.callbacks.Callback)"
        )
    for name in _methods(callback):
        method = getattr(callback, name)
        if name not in HOOKS:
            near = difflib.get_close_matches(name, HOOKS, 1, 0.0)[0]
            yield f"{name} is never called: did you mean {near}? There are {', '.join(HOOKS)}"
        elif not callable(method):
            yield f"{name} should be a method"
        else:
            try:
                inspect.signature(method).bind("the trainer")
            except TypeError:
                arguments = ", ".join(inspect.signature(method).parameters)
                yield (
                    f"{name}({arguments}) should take one argument, the trainer: write "
                    f"def {name}(self, trainer); the metrics are in trainer.history"
                )


def state(callback: Any) -> Iterator[str]:
    """Look whether what it remembers can be saved, and is brought back."""
    own = {name: getattr(type(callback), name, None) for name in ("state_dict", "load_state_dict")}
    has = [name for name, method in own.items() if method is not getattr(Callback, name, None)]
    if len(has) == 1:
        yield f"it has {has[0]} and not the other: state_dict and load_state_dict go together"


def training(callback: Any) -> Iterator[str]:
    """Train a little with it, save, resume, and end where an uninterrupted run ends."""
    monitored = getattr(callback, "monitor", None)
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    if isinstance(monitored, str) and monitored not in names:
        raise NotApplicableError(f"it monitors {monitored}, which the short training does not have")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        one, straight = _trained(copy.deepcopy(callback), save=True)
        if not os.path.exists("2.safetensors"):
            raise NotApplicableError("it ends the training before the third epoch")
        other, resumed = _trained(copy.deepcopy(callback), resume="2.safetensors")
    if not equal(straight.model.state_dict(), resumed.model.state_dict()):
        yield "a run that is resumed ends with other weights than an uninterrupted one"
    if dict(straight.history) != dict(resumed.history):
        yield "a run that is resumed has another history than an uninterrupted one"
    ours, theirs = _remembered(one), _remembered(other)
    lost = [name for name in ours if not equal(ours[name], theirs.get(name))]
    if lost:
        yield (
            f"it remembers {', '.join(lost)}, and ends with something else in a resumed "
            f"run: return it from state_dict(), take it back in load_state_dict(state), "
            f"and forget it in on_train_begin only if not trainer.resumed"
        )
    if hasattr(one, "state_dict") and not equal(one.state_dict(), other.state_dict()):
        yield (
            "a run that is resumed ends with another state_dict than an uninterrupted one: does "
            "on_train_begin forget what load_state_dict brought? Look at trainer.resumed"
        )


def _remembered(callback: Any) -> dict[str, Any]:
    """Return the attributes that are numbers, texts, arrays, or lists and dictionaries."""
    kinds = (bool, int, float, str, list, tuple, dict, np.ndarray, type(None))
    return {name: value for name, value in vars(callback).items() if isinstance(value, kinds)}


def _trained(callback: Any, *, save: bool = False, resume: str | None = None) -> tuple[Any, Any]:
    """Return the callback and the trainer after a short training."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 3)), rng.integers(0, 2, 10)
    model = Sequential([Dense(3, 2, rng=1)])
    others = [Checkpoint("{epoch}.safetensors")] if save or resume else []
    trainer = Trainer(
        model,
        SoftmaxCrossEntropy(),
        SGD(model.parameters(), 0.3),
        metrics=[Accuracy()],
        callbacks=[callback, *others],
        rng=0,
    )
    if resume:
        trainer.resume(resume)
    trainer.fit(x, y, epochs=4, batch_size=4, validation=(x[:4], y[:4]), progress=False)
    return callback, trainer


CALLBACK = [hooks, state, training]
