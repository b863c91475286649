"""The training loop."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import getattr_static
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.data.batching import Batches
from minirnn.errors import NotFiniteError
from minirnn.files import read_tree, write_tree
from minirnn.kernels import one_blas_thread
from minirnn.losses import Loss
from minirnn.metrics import Metric
from minirnn.optimizers import Optimizer
from minirnn.training import feeding, state
from minirnn.training.diagnosis import first_gradient_not_finite, first_not_finite
from minirnn.training.guards import (
    StatesRestored,
    interruptible,
    modes_restored,
    recurrent_layers,
)
from minirnn.training.history import History
from minirnn.training.means import Means
from minirnn.training.progress import Progress
from minirnn.typing import Array, RandomSource

__all__ = ["Trainer"]

EVENTS = ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end")


class Trainer:
    """A model, a loss and an optimizer, brought together over batches of data.

    Parameters
    ----------
    model : Layer
        Mostly a `Sequential`.
    loss : Loss
        Or anything with its two methods.
    optimizer : Optimizer
        Over the model's parameters, or some of them.
    metrics : sequence of Metric
        Each is measured on the training batches and on the validation data.
    callbacks : sequence
        See `minirnn.callbacks`; called in the order given.
    rng : None, int or numpy.random.Generator
        For shuffling.

    Attributes
    ----------
    history : History
        Of the latest `fit`; it has an entry for each epoch that came to its end.
    epoch, batch : int
        The current epoch, counted from 1, and how many of its batches are done.
    stop : bool
        Set it to True, in a callback say, and `fit` ends after the batch. Saved with the rest: a
        run that was stopped stays stopped when it is resumed, unless this is set to False.
    resumed : bool
        True while `fit` goes on from a file.

    Raises
    ------
    NotFiniteError
        When the loss or a gradient is not finite, before the step that would spoil the parameters;
        it says at which epoch and batch, and what was first not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import Adam, Dense, LastStep, RNN, Sequential, SoftmaxCrossEntropy
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((64, 5, 2))
    >>> y = (x.sum(axis=(1, 2)) > 0).astype(int)
    >>> model = Sequential([RNN(2, 8, rng=rng), LastStep(), Dense(8, 2, rng=rng)])
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.01), rng=0)
    >>> history = trainer.fit(x, y, epochs=30, batch_size=16, progress=False)
    >>> history["loss"][0] > 2 * history["loss"][-1]
    True
    >>> trainer.predict(x).shape
    (64, 2)
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        metrics: Sequence[Metric] = (),
        callbacks: Sequence[Any] = (),
        rng: RandomSource = None,
    ) -> None:
        checks.instance(self, "model", model, Layer)
        checks.instance(self, "optimizer", optimizer, Optimizer)
        if isinstance(loss, type) or not hasattr(loss, "backward"):
            checks.instance(self, "loss", loss, Loss)
        own = {id(parameter) for parameter in model.parameters()}
        if not any(id(parameter) in own for parameter in optimizer.parameters):
            raise ValueError(
                "Trainer: the optimizer holds none of the model's parameters; was it made from "
                "another model?"
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = _listed("metrics", metrics, ("update", "value", "reset"), all)
        self.callbacks = _listed("callbacks", callbacks, EVENTS, any)
        self.rng = checks.generator(self, rng)
        self.history = History()
        self.epoch = 0
        self.batch = 0
        self.stop = False
        self.resumed = False
        self.means = Means(self.metrics)
        self.position = state.Position()
        self._recurrent = list(recurrent_layers(model).values())
        self._interrupted = False
        self._files_to_write: list[tuple[str, Callable[[], None]]] = []

    # ------------------------------------------------------------ the heart

    def train_step(self, inputs: Any, targets: Any, mask: Any = None) -> float:
        """Update the parameters once, from one batch.

        Parameters
        ----------
        inputs : array (batch, ...)
        targets : array (batch, ...)
        mask : boolean array (batch, time), optional
            True where the step is real.

        Returns
        -------
        float
            The loss before the update.
        """
        if not self.model.training:
            self.model.train()
        with (
            one_blas_thread,
            StatesRestored(self._recurrent, only_on_error=True),
            np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        ):
            prediction = feeding.run(self.model, inputs, mask)
            real = feeding.real_steps(self.model, prediction, mask)
            loss = self.loss.forward(prediction, targets, real)
            if not math.isfinite(loss):
                found = first_not_finite(self.model, inputs, mask)
                raise NotFiniteError(f"the loss is {loss}; {found}")
            self.means.add(loss, prediction, targets, real)
            self.optimizer.zero_grad()
            self.model.backward_parameters(self.loss.backward())
            self._update()
        return loss

    def _update(self) -> None:
        try:
            self.optimizer.step()
        except FloatingPointError as error:
            raise NotFiniteError(f"{error}; {first_gradient_not_finite(self.model)}") from None

    # ------------------------------------------------------------ over all the data

    def fit(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        mask: Any = None,
        lengths: Any = None,
        epochs: int,
        batch_size: int = 32,
        validation: Any = None,
        shuffle: bool = True,
        progress: bool = True,
    ) -> History:
        """Train over all the data, `epochs` times.

        Ctrl-C ends it after the batch and returns what there is; a second Ctrl-C raises at once.
        After `resume`, the run in the file goes on until it has had `epochs` epochs in all.

        Parameters
        ----------
        inputs : array (examples, ...), or batches
            Without `targets`: any iterable that can be gone through once an epoch, of ``(inputs,
            targets)`` or ``(inputs, targets, mask)``.
        targets : array (examples, ...)
        mask : boolean array (examples, time), optional
            True where the step is real.
        lengths : integers (examples,), optional
            In place of a mask: how many steps of each sequence are real.
        epochs : int
        batch_size : int
            Examples a batch, for arrays.
        validation : tuple (inputs, targets) or (inputs, targets, mask), or batches, optional
            Evaluated at the end of each epoch.
        shuffle : bool
            Whether arrays are taken in a new random order each epoch.
        progress : bool
            Whether to show a bar with the loss and the metrics.

        Returns
        -------
        History
            `loss`, each metric, and with `validation` the same with `val_` in front.
        """
        epochs = checks.positive_int(self, "epochs", epochs)
        stateful = any(layer.stateful for layer in self._recurrent)
        if targets is not None and shuffle and stateful:
            raise ValueError(
                "Trainer: the model has a layer with stateful=True, which reads a batch as the "
                "continuation of the one before, so the data cannot be shuffled; pass "
                "shuffle=False, or batches such as data.StreamBatches"
            )
        batches = feeding.as_batches(
            inputs, targets, mask, lengths, batch_size=batch_size, shuffle=shuffle, rng=self.rng
        )
        if epochs > 1:
            feeding.refuse_generator(batches)
        held_out = feeding.validation_batches(validation, batch_size, self.rng)
        if not self.resumed:
            self.history, self.epoch, self.batch = History(), 0, 0
            self.stop, self.position = False, state.Position()
        self._interrupted = False
        steps, resumed = self.optimizer.step_count, self.resumed
        bar = Progress(progress, epochs, feeding.count_of(batches), self.epoch, self.batch)
        try:
            with modes_restored(self.model), interruptible(self._interrupt):
                self._fit(batches, held_out, epochs, bar)
            self.resumed = False
        except BaseException:  # before the first step, the file is still to be gone on with
            self.resumed = resumed and self.optimizer.step_count == steps
            raise
        finally:
            bar.close()
        return self.history

    def _fit(self, batches: Any, held_out: Any, epochs: int, bar: Progress) -> None:
        try:
            self._call("on_train_begin")
            while not self._ending() and (self.epoch < epochs or self.position.inside):
                self._train_epoch(batches, held_out, bar)
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def _train_epoch(self, batches: Any, held_out: Any, bar: Progress) -> None:
        for batch in self._rest_of_epoch(batches):
            loss = self._train_on(batch)
            self.batch += 1
            bar.batch(self.epoch, loss)
            self._call("on_batch_end")
            if self._ending():
                return  # inside the epoch, where a file written now goes on
        figures = self.means.figures()
        if held_out is not None:
            evaluated = self.evaluate(held_out)
            figures |= {f"val_{name}": figure for name, figure in evaluated.items()}
        self.history.append(figures)
        self.position.inside = False
        bar.epoch(self.epoch, figures)
        self._call("on_epoch_end")

    def _rest_of_epoch(self, batches: Any) -> Iterator[Any]:
        """Begin an epoch, or go on inside the one that a resumed run stopped in."""
        if self.position.inside:
            return self.position.skip(self, batches)
        self.epoch += 1
        self.batch = 0
        self.means = Means(self.metrics)
        self.model.reset_state()
        self.position.begin_epoch(self, batches)  # so that a file written now is inside the epoch
        self._call("on_epoch_begin")
        self.position.begin_epoch(self, batches)  # callbacks may have drawn from the generators
        return iter(batches)

    def _train_on(self, batch: Any) -> float:
        """Train on one batch; an error says which epoch and batch it was."""
        try:
            return self.train_step(*feeding.unpack(batch))
        except NotFiniteError as error:
            checks.locate(error, f"epoch {self.epoch}, batch {self.batch + 1}")
            raise

    def _interrupt(self) -> None:
        self._interrupted = True

    def _ending(self) -> bool:
        return self.stop or self._interrupted

    # ------------------------------------------------------------ callbacks

    def _call(self, event: str) -> None:
        """Call all callbacks, then write the files that they asked for."""
        self._files_to_write.clear()  # of an event that an error cut short
        for callback in self.callbacks:
            method = getattr(callback, event, None)
            if method is not None:
                try:
                    method(self)
                except Exception as error:
                    checks.locate(error, f"in callback {type(callback).__name__}.{event}")
                    raise
        self._write_files()

    def _write_files(self) -> None:
        files, self._files_to_write = self._files_to_write, []
        for path, then in files:
            try:
                self.save(path)
            except Exception as error:
                checks.locate(error, f"saving {path}")
                raise
            then()

    def _end(self, error: BaseException | None) -> None:
        """Give every callback its end call, even when another one's fails."""
        failed: Exception | None = None
        self._files_to_write.clear()
        for callback in self.callbacks:
            method = getattr(callback, "on_train_end", None)
            try:
                if method is not None:
                    method(self)
            except Exception as new:
                checks.locate(new, f"in callback {type(callback).__name__}.on_train_end")
                failed = failed or new
        try:
            self._write_files()
        except Exception as new:
            failed = failed or new
        if failed is not None and error is None:
            raise failed
        if failed is not None and error is not None:
            error.add_note(str(failed))

    def save_after_callbacks(
        self, path: str | os.PathLike[str], then: Callable[[], None] = lambda: None
    ) -> None:
        """Save as soon as all callbacks of the present event have been called; then call `then`.

        For callbacks that write checkpoints: so the file has what every other callback, also one
        later in the order, made of the event.
        """
        self._files_to_write.append((os.fspath(path), then))

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the rest of the run depends on, so that `resume` can go on from it.

        Weights, optimizer, step of the schedule, every random generator (of the trainer, of the
        batches and of layers such as Dropout), the position inside the epoch, the history, the
        callbacks' own state, and the state that stateful layers carry. The file is a ``.npz``
        archive of arrays and JSON with nothing pickled; an old one is replaced only when the new
        one is whole and on disk.
        """
        write_tree(path, state.state_dict(self))

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Take over what `save` wrote; the next `fit` goes on where that run was.

        The trainer is to be built as it was: the same model, optimizer, metrics and callbacks, and
        `fit` is to be called with the same data. On the same machine and number of threads the
        result is then bit for bit that of a run that was never interrupted.

        Raises
        ------
        CheckpointError
            If the file is truncated, corrupted, foreign, or of a later version; if it belongs to
            another model, optimizer or set of callbacks, it says what differs. The trainer is then
            as it was.
        """
        state.load_state_dict(self, read_tree(path), os.fspath(path))

    # ------------------------------------------------------------ using the model

    def evaluate(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        mask: Any = None,
        lengths: Any = None,
        batch_size: int = 32,
    ) -> dict[str, float]:
        """Return the loss and the metrics over all the data, in evaluation mode.

        Parameters
        ----------
        inputs, targets, mask, lengths, batch_size
            As in `fit`.

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``: means over all real positions. Carried states begin
            anew here, and are as before afterwards.
        """
        batches = feeding.as_batches(
            inputs, targets, mask, lengths, batch_size=batch_size, shuffle=False, rng=self.rng
        )
        means = Means([copy.deepcopy(metric) for metric in self.metrics])
        loss = copy.copy(self.loss)  # so that a loss.backward() to come keeps its forward
        with modes_restored(self.model), StatesRestored(self._recurrent):
            self.model.eval()
            self.model.reset_state()
            for batch in batches:
                x, y, batch_mask = feeding.unpack(batch)
                prediction = feeding.run(self.model, x, batch_mask)
                real = feeding.real_steps(self.model, prediction, batch_mask)
                means.add(loss.forward(prediction, y, real), prediction, y, real)
        return means.figures()

    def predict(
        self, inputs: Any, *, mask: Any = None, lengths: Any = None, batch_size: int | None = None
    ) -> Array:
        """Return the model's output for all the inputs, in evaluation mode.

        Parameters
        ----------
        inputs : array (examples, ...)
        mask, lengths
            As in `fit`.
        batch_size : int, optional
            Examples at a time; by default all at once.

        Returns
        -------
        array (examples, ...)
        """
        inputs = checks.as_array(self, inputs, "the input")
        mask = feeding.as_mask(inputs, mask, lengths)
        arrays = (inputs,) if mask is None else (inputs, mask)
        size = len(inputs) if batch_size is None and inputs.ndim else batch_size
        with modes_restored(self.model), StatesRestored(self._recurrent):
            self.model.eval()
            self.model.reset_state()
            outputs = [
                feeding.run(self.model, batch[0], batch[1] if len(batch) == 2 else None)
                for batch in Batches(*arrays, batch_size=1 if size is None else max(size, 1))
            ]
        return np.concatenate(outputs)


def _listed(
    what: str, given: Any, names: tuple[str, ...], enough: Callable[[Iterable[bool]], bool]
) -> list[Any]:
    """Return the metrics or callbacks as a list, if each has what makes it one."""
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"Trainer: {what} should be a list, got {type(given).__name__}; write {what}=[...]"
        )
    for item in given:
        if isinstance(item, type):
            raise TypeError(
                f"Trainer: {what} has the class {item.__name__}: write {item.__name__}(...)"
            )
        if not enough(getattr_static(item, name, None) is not None for name in names):
            lacking = "none of" if enough is any else "not all of"
            raise TypeError(
                f"Trainer: {what} has a {type(item).__name__} with {lacking} {', '.join(names)}"
            )
    return list(given)
