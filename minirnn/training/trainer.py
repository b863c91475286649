"""The training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.data.batching import Batches
from minirnn.data.sequences import lengths_to_mask
from minirnn.layers.recurrent import Recurrent
from minirnn.losses import Loss
from minirnn.metrics import Metric
from minirnn.optimizers import Optimizer
from minirnn.training.diagnosis import (
    NotFiniteError,
    first_gradient_not_finite,
    first_not_finite,
)
from minirnn.training.history import History
from minirnn.training.progress import Progress
from minirnn.typing import Array, Mask, RandomSource

__all__ = ["Trainer"]


class Trainer:
    """A model, a loss and an optimizer, brought together over batches of data.

    Parameters
    ----------
    model : Layer
        Mostly a `Sequential`.
    loss : Loss
    optimizer : Optimizer
        Over the model's parameters, or some of them.
    metrics : sequence of Metric
        Each is measured on the training batches and on the validation data.
    callbacks : sequence
        Objects with any of the methods ``on_train_begin``, ``on_epoch_begin``, ``on_batch_end``,
        ``on_epoch_end`` and ``on_train_end``; each is called with the trainer, in the order given.
        Setting ``trainer.stop = True`` ends `fit` after the batch.
    rng : None, int or numpy.random.Generator
        For shuffling.

    Attributes
    ----------
    history : History
        Of the latest `fit`.
    epoch, batch : int
        Where `fit` is, counted from 1.
    stop : bool

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
        for name, value, kind in [
            ("model", model, Layer),
            ("loss", loss, Loss),
            ("optimizer", optimizer, Optimizer),
        ]:
            checks.instance(self, name, value, kind)
        own = {id(parameter) for parameter in model.parameters()}
        if not any(id(parameter) in own for parameter in optimizer.parameters):
            raise ValueError(
                "Trainer: the optimizer holds none of the model's parameters; was it made from "
                "another model?"
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = list(metrics)
        self.callbacks = list(callbacks)
        self.rng = checks.generator(self, rng)
        self.history = History()
        self.epoch = 0
        self.batch = 0
        self.stop = False
        self._means = _Means(self.metrics)

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
        with _undone_on_error(self.model), np.errstate(over="ignore", invalid="ignore"):
            prediction = _run(self.model, inputs, mask)
            real = self._real_steps(prediction, mask)
            loss = self.loss.forward(prediction, targets, real)
            if not math.isfinite(loss):
                found = first_not_finite(self.model, inputs, mask)
                raise NotFiniteError(f"the loss is {loss}; {found}")
            self._means.add(loss, prediction, targets, real)
            self.optimizer.zero_grad()
            self.model.backward_parameters(self.loss.backward())
            self._update()
        return loss

    def _update(self) -> None:
        try:
            self.optimizer.step()
        except FloatingPointError as error:
            raise NotFiniteError(f"{error}; {first_gradient_not_finite(self.model)}") from None

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
        if targets is not None and shuffle and self._stateful():
            raise ValueError(
                "Trainer: the model has a layer with stateful=True, which reads a batch as the "
                "continuation of the one before, so the data cannot be shuffled; pass "
                "shuffle=False, or batches such as data.StreamBatches"
            )
        batches = self._batches(
            inputs, targets, mask, lengths, batch_size=batch_size, shuffle=shuffle
        )
        if epochs > 1 and iter(batches) is batches:
            raise TypeError(
                "Trainer: the batches are a generator, which is used up after one epoch; pass a "
                "list, or an object whose __iter__ begins anew"
            )
        validation = self._validation_batches(validation, batch_size)
        self.history, self.stop = History(), False
        bar = Progress(progress, epochs, _length(batches))
        try:
            with _modes_restored(self.model):
                self._fit(batches, epochs, validation, bar)
        finally:
            bar.close()
        return self.history

    def _fit(self, batches: Any, epochs: int, validation: Any, bar: Progress) -> None:
        self._call("on_train_begin")
        for self.epoch in range(1, epochs + 1):
            self._call("on_epoch_begin")
            self._means = _Means(self.metrics)
            self.model.reset_state()
            for self.batch, batch in enumerate(batches, 1):
                loss = self._locating(batch)
                bar.batch(self.epoch, loss)
                self._call("on_batch_end")
                if self.stop:
                    break
            figures = self._means.figures()
            if validation is not None:
                evaluated = self.evaluate(validation)
                figures |= {f"val_{name}": figure for name, figure in evaluated.items()}
            self.history.append(figures)
            bar.epoch(self.epoch, figures)
            self._call("on_epoch_end")
            if self.stop:
                break
        self._call("on_train_end")

    def _locating(self, batch: Any) -> float:
        """Train on one batch; an error says which epoch and batch it was."""
        try:
            return self.train_step(*_unpack(batch))
        except NotFiniteError as error:
            raise NotFiniteError(f"epoch {self.epoch}, batch {self.batch}: {error}") from None

    def _call(self, event: str) -> None:
        for callback in self.callbacks:
            method = getattr(callback, event, None)
            if method is not None:
                method(self)

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
        batches = self._batches(
            inputs, targets, mask, lengths, batch_size=batch_size, shuffle=False
        )
        means = _Means([copy.deepcopy(metric) for metric in self.metrics])
        loss = copy.copy(self.loss)  # so that a loss.backward() to come keeps its forward
        with _modes_restored(self.model), _states_restored(self.model):
            self.model.eval()
            self.model.reset_state()
            for batch in batches:
                x, y, batch_mask = _unpack(batch)
                prediction = _run(self.model, x, batch_mask)
                real = self._real_steps(prediction, batch_mask)
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
        mask = self._mask(inputs, mask, lengths)
        arrays = (inputs,) if mask is None else (inputs, mask)
        size = len(inputs) if batch_size is None and inputs.ndim else batch_size
        with _modes_restored(self.model), _states_restored(self.model):
            self.model.eval()
            self.model.reset_state()
            outputs = [
                _run(self.model, batch[0], batch[1] if len(batch) == 2 else None)
                for batch in Batches(*arrays, batch_size=max(size or 1, 1))
            ]
        return np.concatenate(outputs)

    # ------------------------------------------------------------ arguments

    def _batches(
        self,
        inputs: Any,
        targets: Any,
        mask: Any,
        lengths: Any,
        *,
        batch_size: int,
        shuffle: bool,
    ) -> Iterable[Any]:
        if targets is None:
            if mask is not None or lengths is not None:
                raise TypeError(
                    "Trainer: mask and lengths go with arrays; a batch brings its own mask, as "
                    "(inputs, targets, mask)"
                )
            if isinstance(inputs, np.ndarray) or not isinstance(inputs, Iterable):
                raise TypeError(
                    f"Trainer: without targets, takes batches of (inputs, targets), got "
                    f"{type(inputs).__name__}"
                )
            return inputs
        inputs = checks.as_array(self, inputs, "the input")
        targets = checks.as_array(self, targets, "the target")
        mask = self._mask(inputs, mask, lengths)
        arrays = (inputs, targets) if mask is None else (inputs, targets, mask)
        return Batches(*arrays, batch_size=batch_size, shuffle=shuffle, rng=self.rng)

    def _mask(self, inputs: Array, mask: Any, lengths: Any) -> Mask | None:
        if mask is not None and lengths is not None:
            raise TypeError("Trainer: takes a mask or lengths, got both")
        if mask is None and lengths is None:
            return None
        if inputs.ndim < 2:
            raise ValueError(
                f"Trainer: a mask needs inputs with a time axis, got shape {inputs.shape}"
            )
        if lengths is not None:
            mask = lengths_to_mask(lengths, inputs.shape[1])
        return checks.as_mask(self, mask, inputs.shape[:2])

    def _validation_batches(self, validation: Any, batch_size: int) -> Any:
        if validation is None:
            return None
        if isinstance(validation, tuple) and not isinstance(validation[0], tuple | list):
            x, y, mask = _unpack(validation)
            return self._batches(x, y, mask, None, batch_size=batch_size, shuffle=False)
        if iter(validation) is validation:
            raise TypeError("Trainer: validation is a generator, which can be used only once")
        return validation

    def _stateful(self) -> bool:
        return any(layer.stateful for layer in _recurrent(self.model))

    def _real_steps(self, prediction: Array, mask: Any) -> Any:
        """Return the mask if it still says anything of the prediction.

        Once the time axis is gone there is one prediction a sequence, even if its shape happens to
        be that of the mask.
        """
        if mask is None or not self.model.keeps_time or np.ndim(prediction) < 3:
            return None
        return mask


class _Means:
    """Means of the loss and the metrics over the real positions of many batches."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.total, self.count = 0.0, 0
        for metric in metrics:
            metric.reset()

    def add(self, loss: float, prediction: Array, targets: Any, mask: Any) -> None:
        count = math.prod(np.shape(prediction)[:-1]) if mask is None else int(np.sum(mask))
        self.total += loss * count
        self.count += count
        for metric in self.metrics:
            metric.update(prediction, targets, mask)

    def figures(self) -> dict[str, float]:
        if self.count == 0:
            raise ValueError("Trainer: there was no batch at all: are the batches empty?")
        return {"loss": self.total / self.count} | {m.name: m.value for m in self.metrics}


def _run(model: Layer, inputs: Any, mask: Any) -> Array:
    if mask is not None and model.uses_mask:
        return model.forward(inputs, mask)  # type: ignore[no-any-return]
    return model.forward(inputs)  # type: ignore[no-any-return]


def _unpack(batch: Any) -> tuple[Any, Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        got = f"{type(batch).__name__}"
        got += f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise TypeError(
            f"Trainer: a batch should be (inputs, targets) or (inputs, targets, mask), got {got}"
        )
    return batch[0], batch[1], batch[2] if len(batch) == 3 else None


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None


def _recurrent(model: Layer) -> list[Recurrent]:
    return [layer for _, layer in model.named_layers() if isinstance(layer, Recurrent)]


@contextmanager
def _modes_restored(model: Layer) -> Iterator[None]:
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


@contextmanager
def _states_restored(model: Layer) -> Iterator[None]:
    states = [(layer, layer.state, layer.carried_state) for layer in _recurrent(model)]
    try:
        yield
    finally:
        for layer, state, carried in states:
            layer.state, layer.carried_state = state, carried


@contextmanager
def _undone_on_error(model: Layer) -> Iterator[None]:
    """Give recurrent layers their carried state back if the batch is refused."""
    states = [(layer, layer.state, layer.carried_state) for layer in _recurrent(model)]
    try:
        yield
    except Exception:
        for layer, state, carried in states:
            layer.state, layer.carried_state = state, carried
        raise
