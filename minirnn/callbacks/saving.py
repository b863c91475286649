"""Callbacks that write files: the complete run, or its history."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.callbacks.monitoring import Monitoring
from minirnn.files import check_place
from minirnn.settings import setting, settings

if TYPE_CHECKING:
    from minirnn.training import Trainer


@settings(kw_only=True)
class Checkpoint(Monitoring):
    """Save the complete run every so often, so that `Trainer.resume` can go on from it.

    Each file is complete or absent, even if the machine stops while it is written. It is written
    after all other callbacks of the event, so it has what they made of it.

    Parameters
    ----------
    path : str
        With ``{epoch}`` and ``{batch}`` where the numbers should stand, say
        ``"run/{epoch:03}.safetensors"``; without, one file is replaced again and again.
    every_epochs : int, optional
        1 unless `every_batches` is given.
    every_batches : int, optional
        Counted inside each epoch.
    monitor : str, optional
        Save only at the end of epochs in which this value of the history is the best so far.
    mode : "auto", "min" or "max"
        Which way is better; "auto" asks the metric.
    keep_last : int, optional
        How many of the files that this run wrote are kept; older ones are deleted.

    Raises
    ------
    FileNotFoundError
        At the beginning of training, if the folder does not exist.

    Examples
    --------
    >>> every_epoch = Checkpoint("run.safetensors")
    >>> best_three = Checkpoint("run-{epoch}.safetensors", monitor="val_loss", keep_last=3)
    """

    saves_run = True

    path: str | os.PathLike[str] = setting(checks.path, kw_only=False)
    every_epochs: int | None = setting(checks.positive_int, default=None)
    every_batches: int | None = setting(checks.positive_int, default=None)
    monitor: str | None = setting(checks.instance, kind=str, default=None)
    keep_last: int | None = setting(checks.positive_int, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every_epochs is None and self.every_batches is None:
            self.every_epochs = 1
        if self.monitor is not None and self.every_batches is not None:
            raise ValueError("Checkpoint: what is monitored is known only at the end of an epoch")
        self._written: list[tuple[int, int]] = []  # epoch and batch of each file
        self._name(epoch=1, batch=1)

    @property
    def files(self) -> list[str]:
        """The files written by this run that have not been deleted."""
        return [self._name(*one) for one in self._written]

    def _name(self, epoch: int, batch: int) -> str:
        try:
            return os.fspath(self.path).format(epoch=epoch, batch=batch)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                f"Checkpoint: {self.path!r} should have no other fields than {{epoch}} and "
                f"{{batch}} ({error})"
            ) from None

    def on_train_begin(self, trainer: Trainer) -> None:
        check_place(self._name(1, 1))  # before any time is spent
        super().on_train_begin(trainer)

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.every_batches is not None and trainer.batch % self.every_batches == 0:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        better = self.improved(trainer)
        if better and self.every_epochs is not None and trainer.epoch % self.every_epochs == 0:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._delete_old()  # those that a run before this one was killed before deleting
        path = self._name(trainer.epoch, trainer.batch)
        kept = [one for one in self._written if self._name(*one) != path]
        self._written = [*kept, (trainer.epoch, trainer.batch)]
        with checks.located(f"saving {path}"):
            trainer.save(path)
        self._delete_old()  # only now, when the new file is complete and has them in its list

    def _delete_old(self) -> None:
        if self.keep_last is not None:
            while len(self._written) > self.keep_last:
                Path(self._name(*self._written[0])).unlink(missing_ok=True)
                del self._written[0]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"written": [list(one) for one in self._written]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        written = [(int(epoch), int(batch)) for epoch, batch in state["written"]]
        super().load_state_dict(state)
        self._written = written


@settings()
class CSVLogger(Callback):
    """Write the history to a file: a row an epoch, a column a name.

    The file is replaced when training begins, and by a longer one after each epoch, so it is always
    complete. That of a resumed run has the rows of the epochs before too.

    Parameters
    ----------
    path : path of the file

    Examples
    --------
    >>> logger = CSVLogger("history.csv")
    """

    path: str | os.PathLike[str] = setting(checks.path)

    def on_train_begin(self, trainer: Trainer) -> None:
        """Write what there is; an impossible path is refused before any time is spent."""
        if trainer.writes_files:
            trainer.history.to_csv(self.path)

    on_epoch_end = on_train_begin
