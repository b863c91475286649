"""One run over the epochs: what `fit` does when all checks have passed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.errors import NotFiniteError
from minirnn.kernels import one_blas_thread
from minirnn.training.inputs import as_batch
from minirnn.training.interrupts import Whole, ends_gracefully
from minirnn.training.measuring import QUIET, Averages

if TYPE_CHECKING:
    from minirnn.callbacks import Callback
    from minirnn.training.progress import Progress
    from minirnn.training.trainer import Trainer

__all__ = ["Run"]


class Run:
    """The loop over epochs and batches, with the calls of the callbacks beside it.

    Its position is kept in the trainer (`epoch`, `batch`, `position`, `averages`), so that
    `Trainer.save` can be called at any moment.

    Parameters
    ----------
    trainer : Trainer
    batches, held_out : iterables of batches
        For training and for validation; the latter may be None.
    epochs : int
        How many in all.
    bar : Progress
    """

    def __init__(
        self, trainer: Trainer, batches: Any, held_out: Any, epochs: int, bar: Progress
    ) -> None:
        self.trainer = trainer
        self.batches, self.held_out = batches, held_out
        self.epochs, self.bar = epochs, bar

    def train(self) -> None:
        """Train to the last epoch, or until something ends it."""
        trainer = self.trainer
        trainer.notes, trainer.interrupted = [], False
        if trainer.ranks is not None:
            trainer.ranks.stopping = False
        steps, resumed = trainer.optimizer.step_count, trainer.resumed
        try:
            with (
                trainer._all_ranks(),
                _modes_restored(trainer.model),
                ends_gracefully(self._interrupt),
            ):
                self._all_epochs()
            trainer.resumed = False
        except BaseException:  # until the first step, the next fit resumes from the file again
            trainer.resumed = resumed and trainer.optimizer.step_count == steps
            raise
        finally:
            self.bar.close(trainer.notes)

    def _all_epochs(self) -> None:
        trainer = self.trainer
        try:
            for callback in trainer.callbacks:
                self._call(callback, "on_train_begin")
            if trainer.position.event is not None:  # resumed before all had been called
                self._tell_all(*trainer.position.event)
            while not self._ending() and (trainer.epoch < self.epochs or trainer.position.inside):
                self._epoch()
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def _epoch(self) -> None:
        trainer = self.trainer
        source = self._rest_of_epoch()
        while (loss := self._train_on_next(source)) is not None:
            self.bar.batch(trainer.epoch, loss)
            self._tell_all("on_batch_end")
            if self._ending():
                return  # inside the epoch, where a file written now goes on
        if trainer.accumulated:  # batches whose gradients wait for an update
            with trainer._whole() as whole, np.errstate(**QUIET):
                whole.commit()
                trainer._take_step()
        values = trainer.averages.values() | self._validation()
        values = {name: value for name, value in values.items() if np.ndim(value) == 0}
        with Whole(trainer, "the end of an epoch was left halfway"):
            trainer.history.append(values)
            trainer.position.inside = False
            trainer.position.event = ("on_epoch_end", 0)
        self.bar.epoch(trainer.epoch, values)
        self._tell_all("on_epoch_end")

    def _rest_of_epoch(self) -> Iterator[Any]:
        """Begin an epoch, or go on inside the one that a resumed run stopped in."""
        trainer, position = self.trainer, self.trainer.position
        if position.inside and trainer.batch:
            return position.skip(self.batches, trainer.batch)
        if not position.inside:
            with Whole(trainer, "the beginning of an epoch was left halfway"):
                trainer.epoch += 1
                trainer.batch = 0
                trainer.averages = Averages(trainer.metrics)
                trainer.model.reset_state()
                position.begin_epoch(self.batches)  # a file written now is inside it
                position.event = ("on_epoch_begin", 0)
            self._tell_all("on_epoch_begin")
        position.begin_epoch(self.batches)  # callbacks may have drawn from the generators
        return iter(self.batches)

    def _train_on_next(self, source: Iterator[Any]) -> float | None:
        """Return the loss of the next batch, None if there is none; an error says which it was."""
        trainer = self.trainer
        drawing = trainer.position.generators.values()
        with trainer._whole(drawing) as whole, one_blas_thread(), np.errstate(**QUIET):
            batch = next(source, None)
            if batch is None:
                return None
            try:
                measured = trainer._add_gradients(as_batch(batch))
            except NotFiniteError as error:
                checks.locate(error, f"epoch {trainer.epoch}, batch {trainer.batch + 1}")
                raise
            whole.commit()
            trainer.averages.add(measured)
            trainer._update()
            trainer.batch += 1
            trainer.position.event = ("on_batch_end", 0)
        return measured.loss

    def _validation(self) -> dict[str, Any]:
        if self.held_out is None:
            return {}
        with ExitStack() as blocks:
            for callback in self.trainer.callbacks:
                blocks.enter_context(callback.during_validation(self.trainer))
            values = self.trainer.evaluate(self.held_out)
        return {f"val_{name}": value for name, value in values.items()}

    def _interrupt(self) -> None:
        self.trainer.interrupted = True

    def _ending(self) -> bool:
        trainer = self.trainer
        heard = trainer.interrupted if trainer.ranks is None else trainer.ranks.stopping
        return trainer.stop or heard

    # ------------------------------------------------------------ callbacks

    def _tell_all(self, event: str, called: int = 0) -> None:
        """Call all callbacks, but for those that an interrupted run has called already."""
        trainer = self.trainer
        for k in range(called, len(trainer.callbacks)):
            trainer.position.event = (event, k + 1)
            self._call(trainer.callbacks[k], event)
        trainer.position.event = None
        for callback in trainer.callbacks:
            self._call(callback, "after_all")

    def _call(self, callback: Callback, event: str) -> None:
        name = type(callback).__name__
        try:
            getattr(callback, event)(self.trainer)
        except Exception as error:
            checks.locate(error, f"in callback {name}.{event}")
            raise
        except KeyboardInterrupt:
            self.trainer.halfway = f"callback {name} was interrupted in {event}"
            raise

    def _end(self, error: BaseException | None) -> None:
        """Give every callback its end call, even when another one's fails."""
        failed: Exception | None = None
        for event in ("on_train_end", "after_all"):
            for callback in self.trainer.callbacks:
                try:
                    self._call(callback, event)
                except Exception as new:
                    failed = failed or new
        if failed is not None and error is None:
            raise failed
        if failed is not None and error is not None:
            error.add_note(str(failed))


@contextmanager
def _modes_restored(model: Layer) -> Iterator[None]:
    """Give each layer its training or evaluation mode back."""
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
