"""What happens beside the training loop: stop early, save, log, lower the rate.

A callback is any object with one or more of these methods, each called with the trainer::

    on_train_begin(trainer)
    on_epoch_begin(trainer)
    on_batch_end(trainer)
    on_epoch_end(trainer)        trainer.history has the epoch's figures
    on_train_end(trainer)        also after Ctrl-C and after an error

They are called in the order in which the trainer got them. ``trainer.epoch`` (from 1),
``trainer.batch`` (how many are done), ``trainer.history``, ``trainer.model`` and
``trainer.optimizer`` are there to be read; ``trainer.stop = True`` ends the training. An error in a
callback ends it too, and says which callback it was.

A callback that remembers something gives it to checkpoints with ``state_dict()`` and takes it back
with ``load_state_dict(state)``; in ``on_train_begin``, ``trainer.resumed`` tells whether it did.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minirnn import checks
from minirnn.files import check_place, replacing
from minirnn.training.history import higher_is_better
from minirnn.training.trainer import Trainer

__all__ = ["CSVLogger", "Checkpoint", "EarlyStopping", "ReduceOnPlateau"]


class _Watch:
    """The best value of one figure so far."""

    def __init__(self, owner: object, monitor: str, mode: str, minimum_improvement: float) -> None:
        self.owner = owner
        self.monitor = monitor
        self.mode = checks.choice(owner, "mode", mode, ("auto", "min", "max"))
        self.minimum_improvement = checks.positive_float(
            owner, "minimum_improvement", minimum_improvement, zero=True
        )
        self.reset()

    def reset(self) -> None:
        self.best: float | None = None
        self.epochs_since = 0

    def better(self, trainer: Trainer) -> bool:
        """Note the latest value; return whether it is better than the best before."""
        history = trainer.history
        if self.monitor not in history:
            raise ValueError(
                f"there is no figure {self.monitor!r} to watch; this run has {', '.join(history)}"
                + ("; pass validation= to fit" if self.monitor.startswith("val_") else "")
            )
        value = history[self.monitor][-1]
        largest = self.mode == "max" or (self.mode == "auto" and higher_is_better(self.monitor))
        if self.best is None:
            gain = math.nan if math.isnan(value) else math.inf
        else:
            gain = (value - self.best) if largest else (self.best - value)
        if gain > self.minimum_improvement:  # False for nan
            self.best, self.epochs_since = value, 0
            return True
        self.epochs_since += 1
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epochs_since": self.epochs_since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.epochs_since = state["best"], int(state["epochs_since"])


class EarlyStopping:
    """End the training when a figure has not improved for some epochs.

    However the training ends (also by Ctrl-C, an error, or the last epoch), the weights of the best
    epoch are restored. A run that is saved after that and resumed goes on from its last weights.

    Parameters
    ----------
    monitor : str
        A name in the history.
    patience : int
        How many epochs without improvement end the training.
    minimum_improvement : float
        What counts as an improvement is more than this, in the figure's unit.
    mode : "auto", "min" or "max"
        Which way is better; "auto" takes "max" for accuracy, "min" for everything else.
    restore_best : bool
        False keeps the last weights.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int or None
        When that was, counted from 1.

    Examples
    --------
    >>> stopping = EarlyStopping("val_loss", patience=5)
    >>> # Trainer(model, loss, optimizer, callbacks=[stopping])
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 10,
        minimum_improvement: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        self.monitor = monitor
        self.patience = checks.positive_int(self, "patience", patience)
        self.restore_best = restore_best
        self._watch = _Watch(self, monitor, mode, minimum_improvement)
        self.best_epoch: int | None = None
        self._weights: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None  # what the best weights took the place of

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self._watch.best

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget an earlier run, unless this one goes on with it."""
        if not trainer.resumed:
            self._watch.reset()
            self.best_epoch = self._weights = self._last = None
        elif self._last is not None:
            trainer.model.load_state_dict(self._last)
            self._last = None

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Compare with the best."""
        if self._watch.better(trainer):
            self.best_epoch, self._weights = trainer.epoch, trainer.model.state_dict()
        elif self._watch.epochs_since >= self.patience:
            trainer.stop = True

    def on_train_end(self, trainer: Trainer) -> None:
        """Restore the best weights."""
        if self.restore_best and self._weights is not None:
            self._last = trainer.model.state_dict()
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, when it was, its weights, and those to go on from."""
        return {
            "watch": self._watch.state_dict(),
            "best_epoch": self.best_epoch,
            "weights": self._weights,
            "last": self._last,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._watch.load_state_dict(state["watch"])
        self.best_epoch = state["best_epoch"]
        self._weights, self._last = state["weights"], state["last"]


class Checkpoint:
    """Save the whole run every so often, so that `Trainer.resume` can go on from it.

    Each file is whole or not there, even if the machine stops while it is written. It is written
    after all other callbacks of the event, so it has what they made of it.

    Parameters
    ----------
    path : str
        With ``{epoch}`` and ``{batch}`` where the numbers should stand, say
        ``"run/{epoch:03}.npz"``; without, one file is replaced again and again.
    every_epochs : int, optional
        1 unless `every_batches` is given.
    every_batches : int, optional
        Counted inside each epoch.
    monitor : str, optional
        Save only at the end of epochs in which this figure is the best so far.
    mode : "auto", "min" or "max"
        Which way is better.
    keep_last : int, optional
        Delete all but so many of the files that this run wrote.

    Raises
    ------
    FileNotFoundError
        At the beginning of training, if the folder does not exist.

    Examples
    --------
    >>> every_epoch = Checkpoint("run.npz")
    >>> best_three = Checkpoint("run-{epoch}.npz", monitor="val_loss", keep_last=3)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_epochs: int | None = None,
        every_batches: int | None = None,
        monitor: str | None = None,
        mode: str = "auto",
        keep_last: int | None = None,
    ) -> None:
        self.path = os.fspath(path)
        if every_epochs is None and every_batches is None:
            every_epochs = 1
        for name, number in [
            ("every_epochs", every_epochs),
            ("every_batches", every_batches),
            ("keep_last", keep_last),
        ]:
            if number is not None:
                checks.positive_int(self, name, number)
        self.every_epochs = every_epochs
        self.every_batches = every_batches
        self.keep_last = keep_last
        self._watch = None if monitor is None else _Watch(self, monitor, mode, 0.0)
        if self._watch is not None and every_batches is not None:
            raise ValueError("Checkpoint: a figure to watch is known only at the end of an epoch")
        self.files: list[str] = []
        self._name(epoch=1, batch=1)

    def _name(self, epoch: int, batch: int) -> str:
        try:
            return self.path.format(epoch=epoch, batch=batch)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                f"Checkpoint: {self.path!r} should have no other fields than {{epoch}} and "
                f"{{batch}} ({error})"
            ) from None

    def on_train_begin(self, trainer: Trainer) -> None:
        """Look whether the folder is there, before any time is spent."""
        check_place(self._name(1, 1))
        if not trainer.resumed:
            self.files = []
            if self._watch is not None:
                self._watch.reset()

    def on_batch_end(self, trainer: Trainer) -> None:
        """Save if it is time."""
        if self.every_batches is not None and trainer.batch % self.every_batches == 0:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Save if it is time, and the figure is the best."""
        best = self._watch is None or self._watch.better(trainer)
        if best and self.every_epochs is not None and trainer.epoch % self.every_epochs == 0:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        path = self._name(trainer.epoch, trainer.batch)
        files = [file for file in self.files if file != path] + [path]
        self.files = files if self.keep_last is None else files[-self.keep_last :]
        superseded = [file for file in files if file not in self.files]

        def clean_up() -> None:
            for file in superseded:
                Path(file).unlink(missing_ok=True)

        trainer.save_after_callbacks(path, clean_up)  # the old go only when the new one is whole

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and the files written."""
        watch = None if self._watch is None else self._watch.state_dict()
        return {"watch": watch, "files": list(self.files)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        if self._watch is not None and state["watch"] is not None:
            self._watch.load_state_dict(state["watch"])
        self.files = [str(path) for path in state["files"]]


class CSVLogger:
    """Write the history to a file as it grows: a row an epoch.

    The file is replaced when training begins; a resumed run begins with the rows of the epochs that
    it has had.

    Parameters
    ----------
    path : path of the file

    Examples
    --------
    >>> logger = CSVLogger("history.csv")
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin the file."""
        self._rewrite(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Add the epoch's row."""
        history = trainer.history
        if list(history) != self._columns:  # the first epoch, or a new figure: a new header
            self._rewrite(trainer)
            return
        row = [str(trainer.epoch), *(repr(values[-1]) for values in history.values())]
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(",".join(row) + "\n")

    def _rewrite(self, trainer: Trainer) -> None:
        self._columns = list(trainer.history)
        with replacing(self.path) as file:
            if self._columns:
                file.write(trainer.history.csv_text().encode())


class ReduceOnPlateau:
    """Lower the learning rate when a figure has not improved for some epochs.

    ``learning_rate = max(learning_rate * factor, minimum_rate)``, then patience begins anew.

    Parameters
    ----------
    monitor : str
        A name in the history.
    factor : float
        In (0, 1).
    patience : int
        How many epochs without improvement lower the rate.
    minimum_rate : float
    minimum_improvement, mode
        As in `EarlyStopping`.

    Raises
    ------
    TypeError
        When training begins, if the optimizer's rate is a schedule: the two would fight.

    Examples
    --------
    >>> plateau = ReduceOnPlateau("val_loss", factor=0.5, patience=3)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.5,
        patience: int = 5,
        minimum_rate: float = 0.0,
        minimum_improvement: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.monitor = monitor
        self.factor = checks.fraction(self, "factor", factor)
        if self.factor == 0:
            raise ValueError("ReduceOnPlateau: factor should be between 0 and 1, got 0")
        self.patience = checks.positive_int(self, "patience", patience)
        self.minimum_rate = checks.positive_float(self, "minimum_rate", minimum_rate, zero=True)
        self._watch = _Watch(self, monitor, mode, minimum_improvement)

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget an earlier run, unless this one goes on with it."""
        if callable(trainer.optimizer.learning_rate):
            raise TypeError(
                "the optimizer's learning rate is a schedule; give it a number to be lowered"
            )
        if not trainer.resumed:
            self._watch.reset()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Lower the rate if it is time."""
        if self._watch.better(trainer) or self._watch.epochs_since < self.patience:
            return
        self._watch.epochs_since = 0
        rate = trainer.optimizer.current_learning_rate()
        trainer.optimizer.learning_rate = min(rate, max(rate * self.factor, self.minimum_rate))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and for how long it has been."""
        return self._watch.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._watch.load_state_dict(state)
