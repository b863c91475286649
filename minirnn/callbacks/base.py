"""Callback: what is called beside the training loop."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from minirnn.keywords import KeywordHints

if TYPE_CHECKING:
    from minirnn.training import Trainer


class Callback(KeywordHints):
    """What is called beside the training loop; a callback of your own overrides what it needs.

    Callbacks are called in the order in which the trainer got them, and those that save the run
    after all others. ``trainer.epoch`` (from 1),
    ``trainer.batch`` (how many are done), ``trainer.history``, ``trainer.model`` and
    ``trainer.optimizer`` are there to be read; ``trainer.stop = True`` ends the training. An error
    in a callback ends it too, and says which callback it was.

    A callback that remembers something gives it to checkpoints with `state_dict` and takes it back
    with `load_state_dict`; in `on_train_begin`, ``trainer.resumed`` tells whether it did.

    Attributes
    ----------
    monitor : str or None
        The name in the history that this callback reads, if it reads one; a name that the run will
        not have is refused before training.
    sets_weights : bool
        True in a callback that leaves other weights in the model when training ends, as
        `EarlyStopping` does; a run takes one of them.
    saves_run : bool
        True in a callback that calls ``trainer.save``, as `Checkpoint`: the others come first, so
        that the file has what they made of the event.

    Raises
    ------
    TypeError
        When a subclass is defined that has a method with ``on_`` in front that is never called, or
        takes more than the trainer.

    Examples
    --------
    >>> class StopWhenGoodEnough(Callback):
    ...     monitor = "val_accuracy"
    ...
    ...     def on_epoch_end(self, trainer):
    ...         if trainer.history["val_accuracy"][-1] >= 0.95:
    ...             trainer.stop = True
    """

    monitor: str | None = None
    sets_weights: bool = False
    saves_run: bool = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, value in vars(cls).items():
            if not name.startswith("on_") or not inspect.isfunction(value):
                continue
            if name not in known:
                raise TypeError(
                    f"{cls.__name__}.{name} is never called: a callback has {', '.join(known)}"
                )
            signature, called = inspect.signature(value), False
            with suppress(TypeError):
                signature.bind(None, None)
                called = "logs" not in signature.parameters  # else by Keras
            if not called:
                raise TypeError(
                    f"{cls.__name__}.{name} is called with the trainer alone: write def "
                    f"{name}(self, trainer); trainer.epoch and trainer.history have the rest"
                )

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch; ``trainer.resumed`` tells whether a run goes on."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before each epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each batch."""

    def during_validation(self, trainer: Trainer) -> AbstractContextManager[None]:
        """Return a block around the evaluation of the validation data."""
        return nullcontext()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """When the epoch's values are in the history, those of the validation data included."""

    def on_train_end(self, trainer: Trainer) -> None:
        """At the very end, also after Ctrl-C and after an error."""

    def state_dict(self) -> Mapping[str, Any] | None:
        """Return what a checkpoint is to carry: numbers, texts, arrays, lists and dictionaries."""
        return None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
