"""Callbacks for other tools: TensorBoard, and the search of Optuna."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.errors import missing
from minirnn.settings import setting, settings

if TYPE_CHECKING:
    from minirnn.training import Trainer


@settings()
class TensorBoard(Callback):
    """Write losses, metrics, learning rate and gradient norm where TensorBoard reads them.

    At the end of each epoch, every value of the history: ``loss`` and ``val_loss`` are two curves
    of one chart. After each batch, the learning rate and the global norm of the gradient before
    clipping. Now and then, histograms of each parameter and its gradient. A resumed run goes on in
    the same folder.

    Needs tensorboardX: ``pip install ".[tensorboard]"`` in the folder of README.md. To look at it,
    ``tensorboard --logdir runs``.

    Parameters
    ----------
    folder : path of a folder
        One a run: ``"runs/first"``. It is made.
    histograms_every : int, optional
        Epochs from one histogram to the next; by default there are none.

    Examples
    --------
    >>> board = TensorBoard("runs/first", histograms_every=5)
    """

    folder: str | os.PathLike[str] = setting(checks.path)
    histograms_every: int | None = setting(checks.positive_int, default=None, kw_only=True)

    def __post_init__(self) -> None:
        self._writer: Any = None

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.writes_files:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise missing("tensorboardX", "tensorboard") from None
        self._writer = SummaryWriter(os.fspath(self.folder))

    def on_batch_end(self, trainer: Trainer) -> None:
        if self._writer is None:
            return
        optimizer = trainer.optimizer
        step = optimizer.step_count
        self._writer.add_scalar("learning_rate", optimizer.current_learning_rate(), step)
        if optimizer.grad_norm is not None:
            self._writer.add_scalar("gradient_norm", optimizer.grad_norm, step)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self._writer is None:
            return
        for name, values in trainer.history.items():
            chart = name.removeprefix("val_")
            curve = "validation" if name.startswith("val_") else "training"
            self._writer.add_scalar(f"{chart}/{curve}", values[-1], trainer.epoch)
        if self.histograms_every and trainer.epoch % self.histograms_every == 0:
            for name, parameter in trainer.model.named_parameters():
                self._writer.add_histogram(f"values/{name}", parameter.value, trainer.epoch)
                self._writer.add_histogram(f"gradients/{name}", parameter.grad, trainer.epoch)
        self._writer.flush()

    def on_train_end(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@settings()
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

    trial: Any
    monitor: str = "val_loss"

    def on_epoch_end(self, trainer: Trainer) -> None:
        value = trainer.history[self.monitor][-1]
        self.trial.report(value, trainer.epoch)
        if self.trial.should_prune():
            import optuna

            raise optuna.TrialPruned(f"after epoch {trainer.epoch}")
