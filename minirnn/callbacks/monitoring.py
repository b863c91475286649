"""Callbacks that watch a value of the history: stop, or lower the rate, when it stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.settings import setting, settings

if TYPE_CHECKING:
    from minirnn.training import Trainer


@settings(kw_only=True)
class Monitoring(Callback):
    """Base of callbacks that look for the best value so far of one name in the history.

    Which way is better is what the metric says; where it does not, `mode` has to. With `monitor`
    None, every value is the best.
    """

    minimum_improvement = 0.0

    mode: str = setting(checks.choice, options=("auto", "min", "max"), default="auto")

    def __post_init__(self) -> None:
        self.best: float | None = None
        self.epochs_since = 0

    def on_train_begin(self, trainer: Trainer) -> None:
        self._higher_is_better(trainer)
        if not trainer.resumed:
            self.__post_init__()

    def _higher_is_better(self, trainer: Trainer) -> bool:
        if self.monitor is None or self.mode != "auto":
            return self.mode == "max"
        higher = trainer.history.higher_is_better(self.monitor)
        if higher is None:
            raise ValueError(
                f"{type(self).__name__}: it is not known whether {self.monitor!r} is better when "
                f'it is higher; write mode="max" or mode="min", or give the metric the attribute '
                f"higher_is_better = True or False"
            )
        return higher

    def improved(self, trainer: Trainer) -> bool:
        """Take in the latest value; return whether it is the best so far."""
        if self.monitor is None:
            return True
        value = trainer.history[self.monitor][-1]
        gain = math.nan if math.isnan(value) else math.inf
        if self.best is not None:
            gain = value - self.best if self._higher_is_better(trainer) else self.best - value
        if gain > self.minimum_improvement:  # False for nan
            self.best, self.epochs_since = value, 0
            return True
        self.epochs_since += 1
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epochs_since": self.epochs_since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        best = None if state["best"] is None else float(state["best"])
        since = checks.positive_int(self, "epochs_since", state["epochs_since"], least=0)
        self.best, self.epochs_since = best, since


@settings(kw_only=True)
class EarlyStopping(Monitoring):
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

    monitor: str = setting(checks.instance, kind=str, default="val_loss", kw_only=False)
    patience: int = setting(checks.positive_int, default=10)
    minimum_improvement: float = setting(checks.positive_float, zero=True, default=0.0)
    restore_best: bool = setting(checks.flag, default=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.best_epoch: int | None = None
        self._weights: dict[str, Any] | None = None

    @property
    def sets_weights(self) -> bool:  # type: ignore[override]
        return self.restore_best

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.improved(trainer):
            self.best_epoch, self._weights = trainer.epoch, trainer.model.state_dict()
        elif self.epochs_since >= self.patience:
            trainer.stop = True

    def on_train_end(self, trainer: Trainer) -> None:
        told = [f"stopped at epoch {trainer.epoch}"] * (self.epochs_since >= self.patience)
        if self.restore_best and self._weights is not None:
            trainer.keep_last_weights()
            trainer.model.load_state_dict(self._weights)
            told += [f"weights of epoch {self.best_epoch} restored"]
        if told:
            trainer.notes.append(", ".join(told))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.best_epoch, self._weights = state["best_epoch"], state["weights"]


@settings(kw_only=True)
class ReduceOnPlateau(Monitoring):
    """Lower the learning rate when a value of the history has not improved for some epochs.

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

    monitor: str = setting(checks.instance, kind=str, default="val_loss", kw_only=False)
    factor: float = setting(checks.fraction, zero=False, default=0.5)
    patience: int = setting(checks.positive_int, default=5)
    minimum_rate: float = setting(checks.positive_float, zero=True, default=0.0)
    minimum_improvement: float = setting(checks.positive_float, zero=True, default=0.0)

    def on_train_begin(self, trainer: Trainer) -> None:
        if callable(trainer.optimizer.learning_rate):
            raise TypeError(
                "the optimizer's learning rate is a schedule; give it a number to be lowered"
            )
        super().on_train_begin(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.improved(trainer) or self.epochs_since < self.patience:
            return
        self.epochs_since = 0
        rate = trainer.optimizer.current_learning_rate()
        trainer.optimizer.learning_rate = min(rate, max(rate * self.factor, self.minimum_rate))
