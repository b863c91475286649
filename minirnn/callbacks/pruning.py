"""OptunaPruning: end a run of a search that does not look promising."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minirnn.callbacks.base import Callback

if TYPE_CHECKING:
    from minirnn.training import Trainer

__all__ = ["OptunaPruning"]


class OptunaPruning(Callback):
    """Tell an Optuna trial how the run goes, and end it where Optuna would rather try another.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str
        The name in the history that the study minimises or maximises.

    Raises
    ------
    optuna.TrialPruned
        Out of `fit`, to Optuna, which takes it for what it is.

    Examples
    --------
    In the objective of a study::

        trainer = Trainer(..., callbacks=[OptunaPruning(trial, "val_loss")])
        return trainer.fit(..., validation=held_out)["val_loss"][-1]
    """

    def __init__(self, trial: Any, monitor: str = "val_loss") -> None:
        self.trial = trial
        self.monitor = monitor

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Report the epoch's value; raise if the trial should end."""
        value = trainer.history[str(self.monitor)][-1]
        self.trial.report(value, trainer.epoch)
        if self.trial.should_prune():
            import optuna

            raise optuna.TrialPruned(f"after epoch {trainer.epoch}")
