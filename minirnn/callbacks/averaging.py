"""AverageWeights: an average of the weights, for the validation data and at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.optimizers import WeightAverage
from minirnn.settings import setting, settings

if TYPE_CHECKING:
    from minirnn.training import Trainer


@settings(kw_only=True)
class AverageWeights(Callback):
    """Average the weights over the updates; evaluate with the average, and leave it at the end.

    The validation data of each epoch are evaluated with the average in place of the latest weights,
    and however the training ends, the model has it. A run that is saved after that and resumed goes
    on from its last weights. Beside it, `EarlyStopping` needs ``restore_best=False``.

    Parameters
    ----------
    decay : float, optional
        As in `minirnn.WeightAverage`: without, all updates count the same; 0.999 reaches back about
        a thousand.
    start_epoch : int
        The first epoch, counted from 1, whose updates count.

    Attributes
    ----------
    average : WeightAverage or None
        None before training.

    Examples
    --------
    >>> callback = AverageWeights(decay=0.999)
    >>> # Trainer(model, loss, optimizer, callbacks=[callback])
    """

    sets_weights = True

    decay: float | None = setting(checks.fraction, default=None)
    start_epoch: int = setting(checks.positive_int, default=1)

    def __post_init__(self) -> None:
        self.average: WeightAverage | None = None
        self._saved: Mapping[str, Any] | None = None  # of a run to go on with
        self._steps = 0

    def on_train_begin(self, trainer: Trainer) -> None:
        self.average = WeightAverage(trainer.model.parameters(), decay=self.decay)
        self._steps = trainer.optimizer.step_count
        if trainer.resumed and self._saved is not None:
            self.average.load_state_dict(self._saved["average"])
            self._steps = int(self._saved["steps"])
        self._saved = None

    def on_batch_end(self, trainer: Trainer) -> None:
        steps = trainer.optimizer.step_count
        if self.average is not None and steps != self._steps:
            self._steps = steps
            if trainer.epoch >= self.start_epoch:
                self.average.update()

    @contextmanager
    def during_validation(self, trainer: Trainer) -> Iterator[None]:
        self.on_batch_end(trainer)  # the end of an epoch may have brought one more step
        with self.average.applied() if self.average and self.average.count else nullcontext():
            yield

    def on_train_end(self, trainer: Trainer) -> None:
        if self.average is not None and self.average.count:
            trainer.keep_last_weights()
            self.average.apply()

    def state_dict(self) -> Mapping[str, Any] | None:
        if self.average is None or self._saved is not None:
            return self._saved
        return {"average": self.average.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._saved = state
