"""One run over the epochs: what `fit` does when all checks have passed.

Where the run is, is kept in the trainer (`epoch`, `batch`, `position`, `averages`), so that
`Trainer.save` can be called at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.errors import NotFiniteError
from minirnn.kernels import one_blas_thread
from minirnn.training.inputs import as_batch
from minirnn.training.interrupts import Whole, ends_gracefully
from minirnn.training.measuring import QUIET, Averages
from minirnn.training.position import generator_states, set_generator_states

if TYPE_CHECKING:
    from minirnn.callbacks import Callback
    from minirnn.training.progress import Progress
    from minirnn.training.trainer import Trainer


def train(trainer: Trainer, batches: Any, held_out: Any, epochs: int, bar: Progress) -> None:
    """Train to the last epoch, or until something ends it; `held_out` may be None."""
    trainer.notes, trainer.interrupted = [], False
    if trainer.ranks is not None:
        trainer.ranks.stopping = False
    steps, resumed = trainer.optimizer.step_count, trainer.resumed
    modes = [(layer, layer.training) for _, layer in trainer.model.named_layers()]
    try:
        with trainer.all_ranks, ends_gracefully(lambda: setattr(trainer, "interrupted", True)):
            _all_epochs(trainer, batches, held_out, epochs, bar)
        trainer.resumed = False
    except BaseException:  # until the first step, the next fit resumes from the file again
        trainer.resumed = resumed and trainer.optimizer.step_count == steps
        raise
    finally:
        for layer, training in modes:
            layer.training = training
        bar.close(trainer.notes)


def _all_epochs(trainer: Trainer, batches: Any, held_out: Any, epochs: int, bar: Progress) -> None:
    try:
        trainer.position.begin_fit(batches)
        states = generator_states(trainer.position.generators)
        if trainer.last_weights is not None:
            trainer.model.load_state_dict(trainer.last_weights)
            trainer.last_weights = None
        for callback in _in_order(trainer):
            _call(trainer, callback, "on_train_begin")
        if trainer.resumed:  # as if there had been no interruption in which to draw numbers
            set_generator_states(trainer.position.generators, states)
        if trainer.position.event is not None:  # resumed before all had been called
            _tell_all(trainer, *trainer.position.event)
        while not _ending(trainer) and (trainer.epoch < epochs or trainer.position.inside):
            _epoch(trainer, batches, held_out, bar)
    except BaseException as error:
        _end(trainer, error)
        raise
    _end(trainer, None)


def _epoch(trainer: Trainer, batches: Any, held_out: Any, bar: Progress) -> None:
    source = _rest_of_epoch(trainer, batches)
    while (loss := _train_on_next(trainer, source)) is not None:
        bar.batch(trainer.epoch, loss)
        _tell_all(trainer, "on_batch_end")
        if _ending(trainer):
            return  # inside the epoch, where a file written now goes on
    if trainer.accumulated:  # batches whose gradients wait for an update
        with trainer._whole() as whole, np.errstate(**QUIET):
            whole.commit()
            trainer._update(last=True)
    values = trainer.averages.values() | _validation(trainer, held_out)
    values = {name: value for name, value in values.items() if np.ndim(value) == 0}
    with Whole(trainer, "the end of an epoch was left halfway"):
        trainer.history.append(values)
        trainer.position.inside = False
        trainer.position.event = ("on_epoch_end", 0)
    bar.epoch(trainer.epoch, values)
    _tell_all(trainer, "on_epoch_end")


def _rest_of_epoch(trainer: Trainer, batches: Any) -> Iterator[Any]:
    """Begin an epoch, or go on inside the one that a resumed run stopped in."""
    position = trainer.position
    if position.inside and trainer.batch:
        with trainer._whole():
            return position.skip(batches, trainer.batch)
    if not position.inside:
        with Whole(trainer, "the beginning of an epoch was left halfway"):
            trainer.epoch += 1
            trainer.batch = 0
            trainer.averages = Averages(trainer.metrics)
            trainer.model.reset_state()
            position.begin_epoch(batches)  # a file written now is inside it
            position.event = ("on_epoch_begin", 0)
        _tell_all(trainer, "on_epoch_begin")
    position.begin_epoch(batches)  # callbacks may have drawn from the generators
    return iter(batches)


def _train_on_next(trainer: Trainer, source: Iterator[Any]) -> float | None:
    """Return the loss of the next batch, None if there is none; an error says which it was."""
    with trainer._whole() as whole, one_blas_thread(), np.errstate(**QUIET):
        try:
            batch = next(source)
        except StopIteration:
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


def _validation(trainer: Trainer, held_out: Any) -> dict[str, Any]:
    if held_out is None:
        return {}
    with ExitStack() as blocks:
        for callback in trainer.callbacks:
            blocks.enter_context(callback.during_validation(trainer))
        values = trainer.evaluate(held_out)
    return {f"val_{name}": value for name, value in values.items()}


def _ending(trainer: Trainer) -> bool:
    heard = trainer.interrupted if trainer.ranks is None else trainer.ranks.stopping
    return trainer.stop or heard


# ---------------------------------------------------------------- callbacks


def _tell_all(trainer: Trainer, event: str, called: int = 0) -> None:
    """Call all callbacks, but for those that an interrupted run has called already."""
    for callback in _in_order(trainer)[called:]:
        called += 1
        trainer.position.event = (event, called)
        _call(trainer, callback, event)
    trainer.position.event = None


def _in_order(trainer: Trainer) -> list[Callback]:
    """Return the callbacks as they are called: what saves the run sees what others made of it."""
    return sorted(trainer.callbacks, key=attrgetter("saves_run"))


def _call(trainer: Trainer, callback: Callback, event: str) -> None:
    name = type(callback).__name__
    try:
        getattr(callback, event)(trainer)
    except Exception as error:
        checks.locate(error, f"in callback {name}.{event}")
        raise
    except KeyboardInterrupt:
        trainer.halfway = f"callback {name} was interrupted in {event}"
        raise


def _end(trainer: Trainer, error: BaseException | None) -> None:
    """Give every callback its end call, even when another one's fails."""
    failed: Exception | None = None
    for callback in _in_order(trainer):
        try:
            _call(trainer, callback, "on_train_end")
        except Exception as new:
            failed = failed or new
    if failed is not None and error is None:
        raise failed
    if failed is not None and error is not None:
        error.add_note(str(failed))
