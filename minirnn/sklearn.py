"""Recurrent networks as scikit-learn estimators: classification and regression of sequences.

Needs scikit-learn: ``pip install ".[sklearn]"`` in the folder of README.md.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from minirnn import checks
from minirnn.callbacks import EarlyStopping
from minirnn.core import Layer
from minirnn.data import Scaler, pad_sequences
from minirnn.errors import missing
from minirnn.functions import softmax
from minirnn.layers import Dense, Dropout, LastState
from minirnn.losses import MeanSquaredError, SoftmaxCrossEntropy
from minirnn.models import Sequential
from minirnn.optimizers import Adam
from minirnn.recurrent import GRU, LSTM, RNN, Bidirectional, Recurrent
from minirnn.training import Trainer
from minirnn.typing import Array, Mask

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import assert_all_finite, check_array, check_random_state
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError:
    raise missing("scikit-learn 1.6 or newer", "sklearn") from None

__all__ = ["SequenceClassifier", "SequenceRegressor"]

_CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
_FULL_BATCH = 256  # up to so many sequences an update sees all of them


@dataclass(eq=False, repr=False)
class _SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: sequences in, a network, its training."""

    cell: Any = "gru"
    hidden_size: int = 32
    _: KW_ONLY
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    epochs: int = 100
    batch_size: int | str = "auto"
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    early_stopping: bool = False
    validation_fraction: float = 0.1
    patience: int = 10
    channels_first: bool = False
    random_state: Any = None
    verbose: bool = False
    _loss: ClassVar[Any]
    _targets: ClassVar[Any]  # returns targets of the loss, weights, the number of outputs

    def _error(self, what: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {what}")

    # ------------------------------------------------------------ sequences

    def _sequences(self, X: Any, *, reset: bool) -> tuple[Array, Mask | None]:
        """Return ``(n, time, features)`` in float64, and the mask of unequal lengths."""
        if _is_ragged(X):
            x, mask = self._ragged(X)
        else:
            x, mask = self._rectangular(X, reset=reset), None
        features = x.shape[2]
        if reset:
            self.n_channels_ = features
        elif features != self.n_channels_:
            raise self._error(
                f"a time step has {features} features, but the sequences seen in fit had "
                f"{self.n_channels_}"
            )
        return x, mask

    def _rectangular(self, X: Any, *, reset: bool) -> Array:
        rank = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        if rank == 3:
            x: Array = check_array(X, allow_nd=True, dtype=np.float64, input_name="X")
            if reset and hasattr(self, "n_features_in_"):
                del self.n_features_in_
            return x.transpose(0, 2, 1) if self.channels_first else x
        if not reset and not hasattr(self, "n_features_in_") and rank == 2:
            x = check_array(X, dtype=np.float64, input_name="X")
        else:
            x = validate_data(self, X, dtype=np.float64, reset=reset)
        return x[:, :, np.newaxis]

    def _ragged(self, X: Any) -> tuple[Array, Mask]:
        sequences = []
        for k, one in enumerate(X):
            sequence = np.asarray(one, np.float64)
            if sequence.ndim == 1:
                sequence = sequence[:, np.newaxis]
            elif sequence.ndim == 2 and self.channels_first:
                sequence = sequence.T
            if sequence.ndim != 2 or not len(sequence):
                raise self._error(
                    f"sequence {k} should be (time, features) with at least one step, got shape "
                    f"{np.shape(one)}"
                )
            if not np.isfinite(sequence).all():
                raise self._error(f"sequence {k} has NaN or infinity")
            sequences.append(sequence)
        widths = {sequence.shape[1] for sequence in sequences}
        if len(widths) > 1:
            raise self._error(
                f"all sequences should have the same number of features, got {sorted(widths)}; are "
                f"time and features swapped (channels_first=True)?"
            )
        return pad_sequences(sequences)

    # ------------------------------------------------------------ the network

    def _recurrent(self, input_size: int, rng: np.random.Generator, *, reverse: bool) -> Recurrent:
        if isinstance(self.cell, str):
            kind = _CELLS[checks.choice(self, "cell", self.cell, tuple(_CELLS))]
            layer: Recurrent = kind(
                input_size, self.hidden_size, reverse=reverse, rng=rng, dtype=np.float64
            )
            return layer
        return Recurrent(self.cell(input_size, self.hidden_size, rng), reverse=reverse)

    def _build(self, outputs: int, rng: np.random.Generator) -> Sequential:
        layers: list[Layer] = []
        size = self.n_channels_
        for _ in range(checks.positive_int(self, "num_layers", self.num_layers)):
            ways = (False, True) if self.bidirectional else (False,)
            read = [self._recurrent(size, rng, reverse=reverse) for reverse in ways]
            layer = Bidirectional(*read) if self.bidirectional else read[0]
            layers.append(layer)
            size = layer.output_size
            if self.dropout:
                layers.append(Dropout(self.dropout, rng=rng))
        return Sequential([*layers, LastState(), Dense(size, outputs, rng=rng, dtype=np.float64)])

    def _start(self, outputs: int) -> None:
        """Make a new model and its trainer."""
        state = check_random_state(self.random_state)
        self._rng = rng = np.random.default_rng(state.randint(np.iinfo(np.int32).max))
        self.model_ = self._build(outputs, rng)
        optimizer = Adam(
            self.model_.parameters(),
            self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )
        stopping = EarlyStopping("val_loss", patience=self.patience)
        callbacks = [stopping] if self.early_stopping else []
        self._trainer = Trainer(self.model_, self._loss(), optimizer, callbacks=callbacks, rng=rng)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on sequences `X` with targets `y` ``(n,)``, from new weights; returns self."""
        return self._learn(X, y, sample_weight, epochs=self.epochs, first=True)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch more; the scales are those of the first call; returns self."""
        first = not hasattr(self, "model_")
        return self._learn(X, y, sample_weight, epochs=1, first=first)

    def _learn(
        self, X: Any, y: Any, sample_weight: Any, *, epochs: int, first: bool, classes: Any = None
    ) -> Self:
        """Look at the arguments, then train; scales and model are made in the first training."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        x, mask = self._sequences(X, reset=first)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        if len(y) != len(x):
            raise self._error(f"there are {len(x)} sequences and {len(y)} targets")
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64)
        if (weight < 0).any() or not weight.any():
            raise self._error("sample_weight should be at least 0, and not all 0")
        target, weight, outputs = self._targets(y, weight, first=first, classes=classes)
        if first:
            valid = np.ones(x.shape[:2], bool) if mask is None else mask
            self._x_scaler = Scaler().fit(x[valid], np.repeat(weight, valid.sum(axis=1)))
            self._start(outputs)
        self._train(self._x_scaler.transform(x), target, mask, weight, epochs)
        return self

    def _train(
        self, x: Array, target: Array, mask: Mask | None, weight: Array, epochs: int
    ) -> None:
        rows = np.flatnonzero(weight > 0)  # what counts nothing should not make a batch either
        held_out = np.zeros(0, int)
        if self.early_stopping:
            share = checks.fraction(self, "validation_fraction", self.validation_fraction)
            shuffled = self._rng.permutation(rows)
            if len(rows) < 2:
                raise self._error("early stopping needs at least two sequences, got one")
            held_out = shuffled[: min(max(1, round(share * len(rows))), len(rows) - 1)]
            rows = np.sort(shuffled[len(held_out) :])
        size = self.batch_size
        if size == "auto":
            size = len(rows) if len(rows) <= _FULL_BATCH else 32
        arrays = [x, target] if mask is None else [x, target, mask]
        validation = tuple(array[held_out] for array in arrays) if len(held_out) else None
        self.history_ = self._trainer.fit(
            x[rows],
            target[rows],
            mask=None if mask is None else mask[rows],
            sample_weight=weight[rows],
            epochs=epochs,
            batch_size=min(checks.positive_int(self, "batch_size", size), len(rows)),
            validation=validation,
            progress=self.verbose,
        )
        self.n_iter_ = len(self.history_["loss"])

    def _output(self, X: Any) -> Array:
        check_is_fitted(self, "model_")
        x, mask = self._sequences(X, reset=False)
        y: Array = self.model_.predict(self._x_scaler.transform(x), mask)
        return y


@dataclass(eq=False, repr=False)
class SequenceClassifier(ClassifierMixin, _SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that gives each sequence a class.

    Recurrent layers read the sequence; from their final state, `Dense` makes one logit for each
    class; the loss is the softmax cross-entropy.

    Parameters
    ----------
    cell : "gru", "lstm", "rnn", or a function (input_size, hidden_size, rng) -> Cell
    hidden_size : int
        Units of each direction of each layer.
    num_layers : int
    bidirectional : bool
    dropout : float
        Share of the outputs of each recurrent layer that is set to zero in training.
    epochs : int
    batch_size : int or "auto"
        By default all sequences up to 256, else 32.
    learning_rate, weight_decay, clip_norm : float
        Of Adam.
    early_stopping : bool
        Hold out `validation_fraction` of the sequences, stop when their loss has not improved for
        `patience` epochs, and restore the best weights.
    validation_fraction : float
    patience : int
    channels_first : bool
        True for the layout of aeon and sktime: ``(n, channels, time)``, and ``(channels, time)``
        for each sequence of a list.
    class_weight : None, "balanced" or dict
        Weight of each class; "balanced" makes them inversely proportional to their frequency.
    random_state : None, int or numpy.random.RandomState
    verbose : bool
        Show progress.

    Attributes
    ----------
    model_ : Sequential
        The network; `minirnn.save` writes it.
    history_ : History
        Loss of each epoch.
    n_channels_ : int
        Features of a time step.
    n_iter_ : int
        Epochs that were run.

    Notes
    -----
    `X` is an array ``(n, time, features)``, an array ``(n, time)`` for one feature, or a list of
    arrays ``(time, features)`` of unequal length. Features are standardized with the mean and
    standard deviation of the training sequences. Arithmetic is in float64.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((length, 2)) for length in rng.integers(3, 9, size=40)]
    >>> y = np.array(["up" if x[:, 0].sum() > 0 else "down" for x in X])
    >>> model = SequenceClassifier(hidden_size=8, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9), model.predict_proba(X[:3]).shape
    (True, (3, 2))
    """

    class_weight: Any = field(default=None, kw_only=True)

    _loss = SoftmaxCrossEntropy

    def partial_fit(  # type: ignore[override]
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train one epoch more. The first call says all `classes` that will come; returns self."""
        first = not hasattr(self, "model_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if not (first or classes is None or np.array_equal(np.unique(classes), self.classes_)):
            raise self._error(f"classes should be those of the first call, {self.classes_}")
        return self._learn(X, y, sample_weight, epochs=1, first=first, classes=classes)

    def _targets(
        self, y: Array, weight: Array, *, first: bool, classes: Any
    ) -> tuple[Array, Array, int]:
        counted = weight > 0
        if first:
            check_classification_targets(y)
            self.classes_ = np.unique(y if classes is None else classes)
            if classes is None and len(np.unique(y[counted])) < 2:
                raise self._error("y should have at least two classes, got 1 class")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise self._error(f"unknown classes in y: {unknown}")
        if self.class_weight is not None:
            weight = weight.copy()
            weight[counted] *= compute_sample_weight(self.class_weight, y[counted])
        return np.searchsorted(self.classes_, y), weight, len(self.classes_)

    def decision_function(self, X: Any) -> Array:
        """Return the logits ``(n, classes)``; for two classes their difference ``(n,)``."""
        logits = self._output(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class ``(n, classes)``, in the order of ``classes_``."""
        return softmax(self._output(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sequence ``(n,)``."""
        best = self._output(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels


@dataclass(eq=False, repr=False)
class SequenceRegressor(RegressorMixin, _SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that gives each sequence a number.

    Recurrent layers read the sequence; from their final state, `Dense` makes the number; the loss
    is the squared error. The targets are standardized for training.

    Parameters
    ----------
    cell, hidden_size, num_layers, bidirectional, dropout, epochs, batch_size, learning_rate
    weight_decay, clip_norm, early_stopping, validation_fraction, patience, channels_first
    random_state, verbose
        As in `SequenceClassifier`; so are the attributes, and what `X` may be.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 10))
    >>> y = X.mean(axis=1)
    >>> model = SequenceRegressor(hidden_size=8, random_state=0).fit(X[:50], y[:50])
    >>> bool(model.score(X[:50], y[:50]) > 0.9)
    True
    """

    _loss = MeanSquaredError

    def _targets(
        self, y: Array, weight: Array, *, first: bool, classes: Any
    ) -> tuple[Array, Array, int]:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        if first:
            self._y_scaler = Scaler().fit(y[:, np.newaxis], weight)
        return self._y_scaler.transform(y[:, np.newaxis]), weight, 1

    def predict(self, X: Any) -> Array:
        """Return a number for each sequence ``(n,)``."""
        y = self._output(X)
        return self._y_scaler.inverse(y)[:, 0]


def _is_ragged(X: Any) -> bool:
    """Whether these are sequences one by one: a list of arrays, or an array of objects."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and len(X) > 0 and np.ndim(X[0]) >= 1
    if not isinstance(X, list | tuple) or not len(X):
        return False
    return all(isinstance(one, np.ndarray) and one.ndim == 2 for one in X) or (
        all(isinstance(one, np.ndarray | list | tuple) for one in X)
        and len({len(one) for one in X}) > 1
    )
