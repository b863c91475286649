"""EarlyStopping: end the training when it no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.callbacks.best import BestSoFar

if TYPE_CHECKING:
    from minirnn.training import Trainer

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """End the training when a value of the history has not improved for some epochs.

    However the training ends (also by Ctrl-C, an error, or the last epoch), the weights of the best
    epoch are restored. A run that is saved after that and resumed goes on from its last weights.

    Parameters
    ----------
    monitor : str
        A name in the history.
    patience : int
        How many epochs without improvement end the training.
    minimum_improvement : float
        What counts as an improvement is more than this, in the value's own unit.
    mode : "auto", "min" or "max"
        Which way is better; "auto" asks the metric, and less is better for the loss.
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
        self._best = BestSoFar(self, monitor, mode, minimum_improvement)
        self.best_epoch: int | None = None
        self._weights: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None  # before the best were restored
        self._stopped = False

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self._best.best

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget an earlier run, unless this one goes on with it."""
        self._best.higher_is_better(trainer)
        self._stopped = False
        if not trainer.resumed:
            self._best.reset()
            self.best_epoch = self._weights = self._last = None
        elif self._last is not None:
            trainer.model.load_state_dict(self._last)
            self._last = None

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Compare with the best."""
        if self._best.update(trainer):
            self.best_epoch, self._weights = trainer.epoch, trainer.model.state_dict()
        elif self._best.epochs_since >= self.patience:
            trainer.stop = self._stopped = True

    def on_train_end(self, trainer: Trainer) -> None:
        """Restore the best weights."""
        told = [f"stopped at epoch {trainer.epoch}"] * self._stopped
        if self.restore_best and self._weights is not None:
            self._last = trainer.model.state_dict()
            trainer.model.load_state_dict(self._weights)
            told += [f"weights of epoch {self.best_epoch} restored"]
        if told:
            trainer.notes.append(", ".join(told))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, when it was, its weights, and those to go on from."""
        return {
            "best": self._best.state_dict(),
            "best_epoch": self.best_epoch,
            "weights": self._weights,
            "last": self._last,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._best.load_state_dict(state["best"])
        self.best_epoch = state["best_epoch"]
        self._weights, self._last = state["weights"], state["last"]
