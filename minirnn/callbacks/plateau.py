"""ReduceOnPlateau: lower the learning rate when the training no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.callbacks.best import BestSoFar

if TYPE_CHECKING:
    from minirnn.training import Trainer

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau(Callback):
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
        self._best = BestSoFar(self, monitor, mode, minimum_improvement)

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget an earlier run, unless this one goes on with it."""
        if callable(trainer.optimizer.learning_rate):
            raise TypeError(
                "the optimizer's learning rate is a schedule; give it a number to be lowered"
            )
        self._best.higher_is_better(trainer)
        if not trainer.resumed:
            self._best.reset()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Lower the rate if it is time."""
        if self._best.update(trainer) or self._best.epochs_since < self.patience:
            return
        self._best.epochs_since = 0
        rate = trainer.optimizer.current_learning_rate()
        trainer.optimizer.learning_rate = min(rate, max(rate * self.factor, self.minimum_rate))

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and for how long it has been."""
        return self._best.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._best.load_state_dict(state)
