"""The training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.callbacks.base import Callback
from minirnn.core import Layer
from minirnn.data.batches import Batches
from minirnn.errors import NotFiniteError
from minirnn.kernels import one_blas_thread
from minirnn.keywords import KeywordHints, keyword_hints
from minirnn.losses import Loss
from minirnn.metrics import Metric
from minirnn.optimizers import Optimizer
from minirnn.recurrent import Recurrent
from minirnn.reprs import html_text
from minirnn.training import inputs as of
from minirnn.training.arguments import checked
from minirnn.training.diagnosis import examine, first_gradient_not_finite, first_not_finite
from minirnn.training.history import History
from minirnn.training.inputs import Batch, as_batch
from minirnn.training.inspection import inspect_fit
from minirnn.training.interrupts import Whole
from minirnn.training.measuring import QUIET, Averages, Measured, checked_gradient, measure, run
from minirnn.training.parallel import Ranks
from minirnn.training.position import OF_THE_RUN, Position, random_generators
from minirnn.training.progress import Progress
from minirnn.training.run import train
from minirnn.training.state import Saved
from minirnn.typing import Array, RandomSource


class Trainer(Saved, KeywordHints):
    """A model, a loss and an optimizer, brought together over batches of data.

    Parameters
    ----------
    model : Layer
        Mostly a `Sequential`.
    loss : Loss
        Or any object with its two methods.
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
        Of the latest `fit`: `loss`, each metric that is a number, and with validation data the same
        with `val_` in front, for each epoch that came to its end.
    epoch, batch : int
        The current epoch, counted from 1, and how many of its batches are done.
    stop : bool
        Set it to True, in a callback say, and `fit` ends after the batch. Saved with the rest: a
        run that was stopped stays stopped when it is resumed, unless this is set to False.
    resumed : bool
        True while `fit` goes on from a file.
    notes : list of str
        Lines that are printed at the end of `fit`; callbacks may add to them.

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
        self.metrics, self.callbacks = checked(model, loss, optimizer, metrics, callbacks)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.accumulate = checks.positive_int(self, "accumulate", accumulate)
        self.rng = checks.generator(self, rng)
        self.resumed = False
        self.notes: list[str] = []
        self.averages = Averages(self.metrics)
        self.interrupted = False  # by Ctrl-C: this fit ends after the batch
        # Until the first batch has been examined; the parameters, so that no id is used again.
        self._known: Any = [*model.parameters(), *optimizer.parameters]
        self._begin_anew()
        self.ranks = None if communicator is None else Ranks(communicator)
        # A block in which an error of one rank ends all of them.
        self.all_ranks: AbstractContextManager[None] = self.ranks or nullcontext()
        if self.ranks is not None:
            self.ranks.begin(self)

    def _begin_anew(self) -> None:
        """Forget an earlier run."""
        directions = {one.name: getattr(one, "higher_is_better", None) for one in self.metrics}
        self.history = History(directions)
        self.epoch = self.batch = 0
        self.stop = False
        layers = self.model.named_layers()
        self.recurrent = {name: one for name, one in layers if isinstance(one, Recurrent)}
        self.position = Position(random_generators(self.model) | {"trainer": self.rng})
        self.last_weights: dict[str, Any] | None = None  # see `keep_last_weights`
        self.accumulated = 0  # batches whose gradients wait for an update
        self.halfway: str | None = None  # what an error left half done, so that `save` refuses

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
        """Update the parameters from one batch (see `accumulate`), and return its loss before.

        The arrays are those of `fit`, with (batch, ...) in place of (examples, ...). Ctrl-C waits
        until the batch is done; an error leaves parameters, carried states and random generators as
        they were.
        """
        batch = Batch(inputs, targets, mask, target_mask, sample_weight)
        with (
            self.all_ranks,
            self._whole(in_step=True) as whole,
            one_blas_thread(),
            np.errstate(**QUIET),
        ):
            measured = self._add_gradients(batch)
            whole.commit()
            self._update()
        return measured.loss

    def _add_gradients(self, batch: Batch) -> Measured:
        """Go forward and back through the model; on several ranks, each with its rows."""
        if not self.model.training:
            self.model.train()
        measured = self._backward(batch) if self.ranks is None else self.ranks.backward(self, batch)
        if not self.optimizer.gradients_are_finite():
            raise NotFiniteError(first_gradient_not_finite(self.model))
        return measured

    def _backward(self, batch: Batch) -> Measured:
        """Go forward and back with the rows of this process."""
        if self._known is not None:
            examine(self.model, self.loss, self._known, batch)
            self._known = None
        measured = measure(self.model, self.loss, batch)
        if not math.isfinite(measured.loss):
            rate = self.optimizer.current_learning_rate()
            why = first_not_finite(self.model, self.loss, batch, rate)
            raise NotFiniteError(f"the loss is {measured.loss}; {why}")
        if not self.accumulated:
            self.optimizer.zero_grad()
        grad = self.loss.backward()
        if getattr(grad, "shape", None) != getattr(measured.prediction, "shape", None):
            grad = checked_gradient(self.loss, grad, measured.prediction)
        self.model.backward_parameters(grad)
        return measured

    def _update(self, *, last: bool = False) -> None:
        """Take the optimizer's step with the mean gradient of enough batches, or the last ones."""
        self.accumulated += not last
        if self.accumulated < self.accumulate and not last:
            return
        if self.accumulated > 1:
            for parameter in self.optimizer.parameters:
                parameter.grad /= self.accumulated
        try:
            self.optimizer.step()
        except FloatingPointError as error:
            raise NotFiniteError(f"{error}; {first_gradient_not_finite(self.model)}") from None
        self.accumulated = 0

    def _whole(self, *, in_step: bool = False) -> Whole:
        """Return a block after an error in which states, gradients and generators are as before.

        In a step, only the model's generators draw.
        """
        before: list[tuple[Any, str, Any]] = []
        for layer in self.recurrent.values():
            before.append((layer, "state", layer.state))
            before.append((layer, "carried_state", layer.carried_state))
        for name, generator in self.position.generators.items():
            if not (in_step and name in OF_THE_RUN):
                bits = generator.bit_generator
                before.append((bits, "state", bits.state))
        if self.accumulated:
            before += [(one, "grad", one.grad.copy()) for one in self.optimizer.parameters]
        what = "a batch was left halfway, between its metrics and its update, so some parameters "
        return Whole(self, what + "may have moved and not all", before)

    def keep_last_weights(self) -> None:
        """Remember the weights: from them this run goes on, if it is saved and resumed.

        For a callback that leaves others in the model when training ends.
        """
        self.last_weights = self.last_weights or self.model.state_dict()

    @property
    def writes_files(self) -> bool:
        """Whether this process is the one that writes files: of several ranks, the first."""
        return self.ranks is None or self.ranks.rank == 0

    # ------------------------------------------------------------ over all the data

    @keyword_hints
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
    ) -> History:
        """Train over all the data, `epochs` times, and return the history.

        Ctrl-C ends it after the batch and returns what there is; a second Ctrl-C raises at once.
        After `resume`, the run in the file goes on until it has had `epochs` epochs in all.

        Parameters
        ----------
        inputs : array (examples, ...), or a tuple or dictionary of arrays, or batches
            Without `targets`: any iterable that can be gone through once an epoch, of ``(inputs,
            targets)``, ``(inputs, targets, mask)``, ``(inputs, targets, mask, target_mask)`` or
            ``(inputs, targets, mask, target_mask, sample_weight)``, with None for what is not
            there.
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

        Raises
        ------
        ValueError, TypeError
            Before the first batch, for what would fail or mean nothing later: a name that a
            callback monitors, the first validation batch, targets, masks, sizes.
        """
        epochs = checks.positive_int(self, "epochs", epochs)
        progress = checks.flag(self, "progress", progress)
        data = Batch(inputs, targets, mask, target_mask, sample_weight)
        batches = of.as_batches(data, lengths, batch_size=batch_size, shuffle=shuffle, rng=self.rng)
        size = None if targets is None else batch_size
        held_out = of.validation_batches(validation, size, self.rng)
        inspect_fit(self, batches, held_out, epochs)
        if not self.resumed:
            self._begin_anew()
        shown, count = progress and self.writes_files, of.count_of(batches)
        bar = Progress(shown, epochs, count, self.epoch, self.batch)
        train(self, batches, held_out, epochs, bar)
        return self.history

    # ------------------------------------------------------------ using the model

    @keyword_hints
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
        """Return ``{"loss": ..., "accuracy": ...}`` over all the data, in evaluation mode.

        The arguments are those of `fit`, the means over all valid positions. Carried states begin
        anew here, and are as before afterwards.
        """
        data = Batch(inputs, targets, mask, target_mask, sample_weight)
        batches = of.as_batches(data, lengths, batch_size=batch_size, rng=self.rng)
        averages = Averages([copy.deepcopy(metric) for metric in self.metrics])
        # Copies, so that a backward to come still belongs to the forward before.
        model, loss = self.model.evaluation_copy(), copy.copy(self.loss)
        with self.all_ranks:
            for batch in map(as_batch, batches):
                with one_blas_thread():
                    whole = None if self.ranks is None else self.ranks.run(model, batch)
                    averages.add(measure(model, loss, batch, whole))
        return averages.values()

    def predict(
        self, inputs: Any, *, mask: Any = None, lengths: Any = None, batch_size: int | None = None
    ) -> Array:
        """Return the model's output ``(examples, ...)`` for all the inputs, in evaluation mode.

        The arguments are those of `fit`; without `batch_size`, all examples go in at once.
        """
        inputs, model = of.as_arrays(inputs), self.model.evaluation_copy()
        mask = of.as_mask(inputs, mask, lengths)
        if batch_size is None:
            return run(model, inputs, mask)
        batches = Batches(inputs, None, mask, batch_size=batch_size)
        return np.concatenate([run(model, x, valid) for x, _, valid in batches])

    def _repr_html_(self) -> str:
        text = html_text(repr(self))
        return text + self.history._repr_html_() if self.history.epochs else text
