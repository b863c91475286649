"""The training loop."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.core import Layer
from minirnn.data.batching import Batches
from minirnn.data.nested import leaves
from minirnn.errors import NotFiniteError
from minirnn.files import read_tree, write_tree
from minirnn.kernels import one_blas_thread
from minirnn.losses import Loss
from minirnn.metrics import Metric
from minirnn.optimizers import Optimizer
from minirnn.reprs import html_text
from minirnn.training import inputs as of
from minirnn.training import state
from minirnn.training.averages import Averages
from minirnn.training.diagnosis import first_gradient_not_finite, first_not_finite
from minirnn.training.history import History
from minirnn.training.inputs import Batch, as_batch
from minirnn.training.inspection import (
    Owned,
    check_ending,
    check_loss_argument,
    inspect_fit,
    listed,
    weights_for,
)
from minirnn.training.interrupts import Uninterrupted, ends_gracefully
from minirnn.training.own_layers import inputs_unchanged, refuse_assigned_gradients
from minirnn.training.parallel import Ranks
from minirnn.training.progress import Progress
from minirnn.training.restore import (
    Restored,
    modes_restored,
    random_generators,
    recurrent_layers,
)
from minirnn.typing import Array, RandomSource

__all__ = ["Trainer"]


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
    callbacks : sequence of Callback
        See `minirnn.callbacks`; called in the order given.
    accumulate : int
        Over how many batches gradients are averaged before an update: four batches of 8 make the
        update of one batch of 32, in a quarter of the memory. The batches count alike, whatever
        their masks; what is left at the end of an epoch makes one more update.
    communicator : mpi4py.MPI.Comm, optional
        For data-parallel training: every rank runs the same program on the same data, and takes
        its share of each batch. See `minirnn.training.parallel`, and docs/clusters.md.
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
    notes : list of str
        What is told at the end of `fit`, a line each; callbacks may add to it.

    Raises
    ------
    ValueError
        If the last layer and the loss do not go together (a softmax before a loss on logits, say).
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
        callbacks: Sequence[Callback] = (),
        accumulate: int = 1,
        communicator: Any = None,
        rng: RandomSource = None,
    ) -> None:
        checks.instance(self, "model", model, Layer)
        checks.instance(self, "optimizer", optimizer, Optimizer)
        check_loss_argument(loss)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = listed("metrics", metrics, Metric)
        self.callbacks = listed("callbacks", callbacks, Callback)
        self.accumulate = checks.positive_int(self, "accumulate", accumulate)
        self.rng = checks.generator(self, rng)
        check_ending(model, loss, self.metrics)
        self.epoch = 0
        self.batch = 0
        self.stop = False
        self.resumed = False
        self.notes: list[str] = []
        self.accumulated = 0  # batches whose gradients wait for an update
        self.directions = {m.name: getattr(m, "higher_is_better", None) for m in self.metrics}
        self.history = History(self.directions)
        self.averages = Averages(self.metrics)
        self.position = state.Position()
        self.recurrent = list(recurrent_layers(model).values())
        self.generators = random_generators(model)
        self._owned: Owned | None = Owned(model, optimizer.parameters)
        self._halfway: str | None = None  # what an error or a second Ctrl-C left half done
        self._seen: tuple[Any, ...] = ()
        self._interrupted = False
        self.ranks = None if communicator is None else Ranks(communicator)
        if self.ranks is not None:
            self.ranks.begin(self)

    # ------------------------------------------------------------ the heart

    def train_step(
        self,
        inputs: Any,
        targets: Any,
        mask: Any = None,
        *,
        target_mask: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Update the parameters once, from one batch (with `accumulate`, from so many).

        Ctrl-C waits until the batch is done; an error leaves parameters, carried states and random
        generators as they were.

        Parameters
        ----------
        inputs : array (batch, ...), or a tuple or dictionary of arrays
        targets : array (batch, ...)
        mask : boolean array (batch, time), optional
            True where a step of the input is valid; for several inputs, one for each.
        target_mask : boolean array (batch, time), optional
            True where a step of the target is valid, if that is not what `mask` says.
        sample_weight : array (batch,) or (batch, time), optional
            How much each sequence, or each step, counts in the loss.

        Returns
        -------
        float
            The loss before the update.
        """
        with self._together(), self._one_batch():
            loss = self._add_gradients(Batch(inputs, targets, mask, target_mask, sample_weight))
            self._update()
        return loss

    def _add_gradients(self, batch: Batch) -> float:
        self._train_mode()
        batch = of.for_loss(self.loss, batch)
        if self.ranks is None:
            loss = self._backward(batch)
        else:
            loss = self.ranks.add_gradients(self, batch, stopping=self._interrupted)
        self._refuse_bad_gradients()
        return loss

    def _backward(self, batch: Batch) -> float:
        first = self._owned is not None
        with inputs_unchanged(self.model) if first else nullcontext():
            prediction = of.run(self.model, batch.inputs, batch.mask)
        loss = self._loss(prediction, batch)
        self._zero_grad()
        self.model.backward_parameters(self.loss.backward())
        if first:
            refuse_assigned_gradients(self.model, self.loss)
        return loss

    def _train_mode(self) -> None:
        if not self.model.training:
            self.model.train()

    def _loss(self, prediction: Array, batch: Batch) -> float:
        valid = of.valid_positions(self.model, prediction, batch)
        weights = weights_for(self.loss, batch.sample_weight)
        loss = self.loss.forward(prediction, batch.targets, valid, *weights)
        if not math.isfinite(loss):
            rate = self.optimizer.current_learning_rate()
            found = first_not_finite(self.model, self.loss, batch.inputs, batch.mask, rate)
            raise NotFiniteError(f"the loss is {loss}; {found}")
        self._seen = self.loss, prediction, batch.targets, valid
        return loss

    def _zero_grad(self) -> None:
        if self._halfway is not None:
            self.accumulated = 0
        if self.accumulated == 0:
            self.optimizer.zero_grad()
        else:
            self._halfway = "an error came while the gradients of several batches were added up"

    def _refuse_bad_gradients(self) -> None:
        """Raise before an update that would spoil the parameters, or leave some out."""
        if self._owned is not None:
            self._owned.check(self.model)
            self._owned = None
        if not self.optimizer.gradients_are_finite():
            raise NotFiniteError(first_gradient_not_finite(self.model))
        self._halfway = None

    def _update(self) -> None:
        """Take the optimizer's step, once the gradients of enough batches are there."""
        self.accumulated += 1
        if self.accumulated == self.accumulate:
            self._take_step()

    def _take_step(self) -> None:
        with self._all_or("an update was left halfway, so some parameters have moved and not all"):
            if self.accumulated > 1:
                for parameter in self.optimizer.parameters:
                    parameter.grad /= self.accumulated
            try:
                self.optimizer.step()
            except FloatingPointError as error:
                raise NotFiniteError(f"{error}; {first_gradient_not_finite(self.model)}") from None
            self.accumulated = 0

    @contextmanager
    def _all_or(self, halfway: str) -> Iterator[None]:
        """Return a block for what has to be done as a whole; if it is not, `save` says why not."""
        with Uninterrupted():
            before, self._halfway = self._halfway, halfway
            yield
            self._halfway = before

    def _one_batch(self) -> ExitStack:
        """Return the block around a batch: one BLAS thread, and all of the batch or nothing."""
        drawing = self.position.generators(self) | self.generators
        with ExitStack() as stack:
            stack.enter_context(Uninterrupted())
            stack.enter_context(one_blas_thread())
            stack.enter_context(np.errstate(over="ignore", invalid="ignore", divide="ignore"))
            stack.enter_context(Restored(self.recurrent, drawing.values(), only_on_error=True))
            return stack.pop_all()

    # ------------------------------------------------------------ over all the data

    def fit(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        mask: Any = None,
        lengths: Any = None,
        target_mask: Any = None,
        sample_weight: Any = None,
        epochs: int,
        batch_size: int | None = None,
        validation: Any = None,
        shuffle: bool = True,
        progress: bool = True,
        **foreign: Any,
    ) -> History:
        """Train over all the data, `epochs` times.

        What can be known before the first batch is looked at before it: the first validation batch,
        the names that callbacks monitor, targets, masks and sizes.

        Ctrl-C ends it after the batch and returns what there is; a second Ctrl-C raises at once.
        After `resume`, the run in the file goes on until it has had `epochs` epochs in all.

        Parameters
        ----------
        inputs : array (examples, ...), or a tuple or dictionary of arrays, or batches
            Without `targets`: any iterable that can be gone through once an epoch, of ``(inputs,
            targets)``, ``(inputs, targets, mask)`` or ``(inputs, targets, mask, target_mask)``.
        targets : array (examples, ...)
        mask : boolean array (examples, time), optional
            True where a step of the input is valid; for several inputs, one for each.
        lengths : integers (examples,), optional
            In place of a mask: how many steps of each sequence are valid; for several inputs, in
            their form.
        target_mask : boolean array (examples, time), optional
            True where a step of the target is valid. Without it, and while the model keeps the time
            axis, `mask` says so.
        sample_weight : array (examples,) or (examples, time), optional
            How much each sequence, or each step, counts in the loss.
        epochs : int
        batch_size : int, optional
            Examples a batch, for arrays; 32 unless given.
        validation : tuple as a batch, of arrays (examples, ...), or batches, optional
            Evaluated at the end of each epoch. To set some of the training data aside, cut them off
            before: at random, or for a series in time, the end of it.
        shuffle : bool
            Whether arrays are taken in a new random order each epoch.
        progress : bool
            Whether to show a bar with the loss and the metrics.

        Returns
        -------
        History
            `loss`, each metric that is a number, and with `validation` the same with `val_` in
            front.

        Raises
        ------
        ValueError, TypeError
            For anything that would fail, or mean nothing, later; before anything is changed.
        """
        _refuse_foreign(foreign)
        epochs = checks.positive_int(self, "epochs", epochs)
        progress = checks.flag(self, "progress", progress)
        stateful = any(layer.stateful for layer in self.recurrent)
        if targets is not None and shuffle and stateful:
            raise ValueError(
                "Trainer: the model has a layer with stateful=True, which reads a batch as the "
                "continuation of the one before, so the data cannot be shuffled; pass "
                "shuffle=False, or batches such as data.StreamBatches"
            )
        data = Batch(inputs, targets, mask, target_mask, sample_weight)
        batches = of.as_batches(data, lengths, batch_size=batch_size, shuffle=shuffle, rng=self.rng)
        if epochs > 1:
            of.refuse_generator(batches)
        held_out = of.validation_batches(
            validation, batch_size if targets is not None else None, self.rng
        )
        inspect_fit(self, batches, held_out)
        if not self.resumed:
            self._begin_anew()
        self._interrupted = False
        if self.ranks is not None:
            self.ranks.stopping = False
        self.notes = []
        steps, resumed = self.optimizer.step_count, self.resumed
        bar = Progress(
            progress and self.writes_files, epochs, of.count_of(batches), self.epoch, self.batch
        )
        try:
            with (
                self._together(),
                modes_restored(self.model),
                ends_gracefully(self._interrupt),
            ):
                self._fit(batches, held_out, epochs, bar)
            self.resumed = False
        except BaseException:  # before the first step, the run in the file has not gone on yet
            self.resumed = resumed and self.optimizer.step_count == steps
            raise
        finally:
            bar.close(self.notes)
        return self.history

    def _begin_anew(self) -> None:
        self.history, self.epoch, self.batch = History(self.directions), 0, 0
        self.stop, self.position = False, state.Position()
        self.accumulated, self._halfway = 0, None

    def _fit(self, batches: Any, held_out: Any, epochs: int, bar: Progress) -> None:
        try:
            for callback in self.callbacks:
                self._call(callback, "on_train_begin")
            if self.position.event is not None:  # the rest of it, where a resumed run stopped
                self._tell_all(*self.position.event)
            while not self._ending() and (self.epoch < epochs or self.position.inside):
                self._train_epoch(batches, held_out, bar)
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def _train_epoch(self, batches: Any, held_out: Any, bar: Progress) -> None:
        source = self._rest_of_epoch(batches)
        while (loss := self._train_on_next(source)) is not None:
            bar.batch(self.epoch, loss)
            self._tell_all("on_batch_end")
            if self._ending():
                return  # inside the epoch, where a file written now goes on
        if self.accumulated:
            with self._one_batch():
                self._take_step()
        values = self.averages.values()
        if held_out is not None:
            with ExitStack() as blocks:
                for callback in self.callbacks:
                    blocks.enter_context(callback.during_validation(self))
                evaluated = self.evaluate(held_out)
            values |= {f"val_{name}": value for name, value in evaluated.items()}
        values = {name: value for name, value in values.items() if np.ndim(value) == 0}
        with self._all_or("the end of an epoch was left halfway"):
            self.history.append(values)
            self.position.inside = False
            self.position.event = ("on_epoch_end", 0)
        bar.epoch(self.epoch, values)
        self._tell_all("on_epoch_end")

    def _rest_of_epoch(self, batches: Any) -> Iterator[Any]:
        """Begin an epoch, or go on inside the one that a resumed run stopped in."""
        if self.position.inside and self.batch:
            return self.position.skip(self, batches)
        if not self.position.inside:
            with self._all_or("the beginning of an epoch was left halfway"):
                self.epoch += 1
                self.batch = 0
                self.averages = Averages(self.metrics)
                self.model.reset_state()
                self.position.begin_epoch(self, batches)  # so a file written now is inside it
                self.position.event = ("on_epoch_begin", 0)
            self._tell_all("on_epoch_begin")
        self.position.begin_epoch(self, batches)  # callbacks may have drawn from the generators
        return iter(batches)

    def _train_on_next(self, source: Iterator[Any]) -> float | None:
        """Return the loss of the next batch, None if there is none; an error says which it was."""
        with self._one_batch():
            batch = next(source, None)
            if batch is None:
                return None
            try:
                loss = self._add_gradients(as_batch(batch))
            except NotFiniteError as error:
                checks.locate(error, f"epoch {self.epoch}, batch {self.batch + 1}")
                raise
            with self._all_or("a batch was left halfway, between its metrics and its update"):
                self.averages.add(loss, *self._seen)
                self._update()
                self.batch += 1
                self.position.event = ("on_batch_end", 0)
        return loss

    def _interrupt(self) -> None:
        self._interrupted = True

    def _ending(self) -> bool:
        if self.ranks is not None:  # all ranks after the same batch
            return self.stop or self.ranks.stopping
        return self.stop or self._interrupted

    @property
    def writes_files(self) -> bool:
        """Whether this process is the one that writes files: of several ranks, the first."""
        return self.ranks is None or self.ranks.rank == 0

    def _together(self) -> AbstractContextManager[None]:
        return nullcontext() if self.ranks is None else self.ranks.all_fail_together()

    # ------------------------------------------------------------ callbacks

    def _tell_all(self, event: str, called: int = 0) -> None:
        """Call all callbacks, but for those that an interrupted run has called already."""
        for k in range(called, len(self.callbacks)):
            self.position.event = (event, k + 1)
            self._call(self.callbacks[k], event)
        self.position.event = None
        for callback in self.callbacks:
            self._call(callback, "after_all")

    def _call(self, callback: Callback, event: str) -> None:
        try:
            getattr(callback, event)(self)
        except Exception as error:
            checks.locate(error, f"in callback {type(callback).__name__}.{event}")
            raise
        except KeyboardInterrupt:
            self._halfway = f"callback {type(callback).__name__} was interrupted in {event}"
            raise

    def _end(self, error: BaseException | None) -> None:
        """Give every callback its end call, even when another one's fails."""
        failed: Exception | None = None
        for event in ("on_train_end", "after_all"):
            for callback in self.callbacks:
                try:
                    self._call(callback, event)
                except Exception as new:
                    failed = failed or new
        if failed is not None and error is None:
            raise failed
        if failed is not None and error is not None:
            error.add_note(str(failed))

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the rest of the run depends on, so that `resume` can go on from it.

        Weights, optimizer, step of the schedule, every random generator (of the trainer, of the
        batches and of layers such as Dropout), the position inside the epoch, the history, the
        callbacks' own state, and the state that stateful layers carry. The file is a ``.npz``
        archive of arrays and JSON with nothing pickled; an old one is replaced only when the new
        one is whole and on disk.

        Raises
        ------
        RuntimeError
            If an error or a second Ctrl-C left an update halfway: no run can go on from there.
        """
        if self._halfway is not None:
            raise RuntimeError(
                f"Trainer: {self._halfway}: this cannot be gone on with exactly. Resume from the "
                f"latest checkpoint; the weights alone can be kept with model.save"
            )
        if self.ranks is not None:
            self.ranks.save(self, path)
        else:
            write_tree(path, state.state_dict(self))

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Take over what `save` wrote; the next `fit` goes on where that run was.

        The trainer is to be built as it was: the same model, loss, optimizer, metrics and
        callbacks, and `fit` is to be called with the same data. On the same machine and number of
        threads the result is then bit for bit that of a run that was never interrupted.

        Raises
        ------
        CheckpointError
            If the file is truncated, corrupted, foreign, or of another version; if it belongs to
            another model, loss, optimizer or set of callbacks, it says what differs. The trainer is
            then as it was.
        """
        tree = read_tree(path)
        ranks = tree.pop("ranks", None)
        with Uninterrupted():
            state.load_state_dict(self, tree, os.fspath(path))
            if self.ranks is not None:
                self.ranks.load_generators(self, ranks, os.fspath(path))
            self._halfway = None

    # ------------------------------------------------------------ using the model

    def evaluate(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        mask: Any = None,
        lengths: Any = None,
        target_mask: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        """Return the loss and the metrics over all the data, in evaluation mode.

        Parameters
        ----------
        inputs, targets, mask, lengths, target_mask, sample_weight, batch_size
            As in `fit`.

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``: means over all valid positions. Carried states begin
            anew here, and are as before afterwards.
        """
        data = Batch(inputs, targets, mask, target_mask, sample_weight)
        batches = of.as_batches(data, lengths, batch_size=batch_size, shuffle=False, rng=self.rng)
        averages = Averages([copy.deepcopy(metric) for metric in self.metrics])
        loss = copy.copy(self.loss)  # so that a loss.backward() to come keeps its forward
        with self._together(), modes_restored(self.model), Restored(self.recurrent):
            self.model.eval()
            self.model.reset_state()
            for given in batches:
                batch = of.for_loss(self.loss, as_batch(given))
                with Uninterrupted(), one_blas_thread():
                    if self.ranks is None:
                        prediction = of.run(self.model, batch.inputs, batch.mask)
                    else:
                        prediction = self.ranks.run(self, batch)
                    valid = of.valid_positions(self.model, prediction, batch)
                    weights = weights_for(self.loss, batch.sample_weight)
                    value = loss.forward(prediction, batch.targets, valid, *weights)
                    averages.add(value, loss, prediction, batch.targets, valid)
        return averages.values()

    def predict(
        self, inputs: Any, *, mask: Any = None, lengths: Any = None, batch_size: int | None = None
    ) -> Array:
        """Return the model's output for all the inputs, in evaluation mode.

        Parameters
        ----------
        inputs : array (examples, ...), or a tuple or dictionary of arrays
        mask, lengths
            As in `fit`.
        batch_size : int, optional
            Examples at a time; by default all at once.

        Returns
        -------
        array (examples, ...)
        """
        inputs = of.as_arrays(inputs)
        mask = of.as_mask(inputs, mask, lengths)
        count = max((len(x) for _, x in leaves(inputs) if x.ndim), default=0)
        arrays = (inputs,) if mask is None else (inputs, mask)
        outputs = []
        with modes_restored(self.model), Restored(self.recurrent):
            self.model.eval()
            self.model.reset_state()
            for part in Batches(
                *arrays, batch_size=max(count, 1) if batch_size is None else batch_size
            ):
                outputs.append(of.run(self.model, part[0], part[1] if len(part) == 2 else None))
        return np.concatenate(outputs)

    def __repr__(self) -> str:
        parts = [f"    {type(self.model).__name__} of {self.model.parameter_count:,} parameters,"]
        parts += [f"    {self.loss!r},", f"    {self.optimizer!r},"]
        for name in ("metrics", "callbacks"):
            if getattr(self, name):
                parts.append(f"    {name}=[{', '.join(map(repr, getattr(self, name)))}],")
        if self.accumulate > 1:
            parts.append(f"    accumulate={self.accumulate},")
        done = self.history.epochs
        told = f"  # {done} epoch{'' if done == 1 else 's'} done" if done else ""
        return "Trainer(\n" + "\n".join(parts) + f"\n){told}"

    def _repr_html_(self) -> str:
        text = html_text(repr(self))
        return text + self.history._repr_html_() if self.history.epochs else text


_OURS = {  # what other frameworks call it, and what it is here
    "validation_data": "validation=(inputs, targets)",
    "validation_split": "validation=(inputs, targets), cut off from the data before: at random, or "
    "for a series in time, its end",
    "verbose": "progress=True or False",
    "callbacks": "Trainer(..., callbacks=[...])",
    "metrics": "Trainer(..., metrics=[...])",
    "class_weight": "the loss's class_weight=",
    "sample_weights": "sample_weight=",
    "initial_epoch": "trainer.resume(path), and fit with the number of epochs in all",
    "num_epochs": "epochs=",
    "n_epochs": "epochs=",
}


def _refuse_foreign(given: dict[str, Any]) -> None:
    for name in given:
        hint = f"; write {_OURS[name]}" if name in _OURS else ""
        raise TypeError(f"Trainer: fit has no keyword {name!r}{hint}")
