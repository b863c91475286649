"""The confusion matrix, and the scores computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.metrics.base import Metric
from minirnn.metrics.rows import class_rows, decision_rows
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings(kw_only=True)
class ConfusionMatrix(Metric):
    """How often each class was predicted, for each true class.

    ``value[true, predicted]`` is the number of valid positions (or the sum of their weights). The
    predicted class is the largest prediction, for logits and probabilities alike; of a single
    output it is 1 above a threshold and 0 otherwise.

    `value` is an array, which a `History` cannot hold: use it with ``trainer.evaluate``, or by
    itself.

    Parameters
    ----------
    threshold : float
        In (0, 1), for a single output: a larger probability counts as class 1.
    from_logits : bool
        For a single output: False if the model ends in `Sigmoid`.
    ignore_class : int, optional
        Positions with this target do not count, as in `SoftmaxCrossEntropy`.

    Shapes
    ------
    prediction : (..., classes), targets integers (...) or (..., classes); or
    prediction, target : (..., 1), targets 0 or 1
    value : (classes, classes), for a single output (2, 2)

    Examples
    --------
    >>> import numpy as np
    >>> matrix = ConfusionMatrix()
    >>> matrix.update(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 1, 1]))
    >>> matrix.value
    array([[0., 0.],
           [1., 2.]])
    """

    name = "confusion_matrix"

    threshold: float = setting(checks.fraction, zero=False, default=0.5)
    from_logits: bool = setting(checks.flag, default=True)
    ignore_class: int | None = setting(checks.integer, default=None)

    def measure(self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None) -> Array:
        """Return the matrix of one batch."""
        prediction = checks.as_array(self, prediction, "the prediction")
        if prediction.shape[-1:] == (1,):
            if self.ignore_class is not None:
                raise ValueError(
                    f"{type(self).__name__}: ignore_class is for integer targets, and there is a "
                    f"single output; leave steps out with a mask"
                )
            decided, true, weights = decision_rows(self, prediction, target, mask, sample_weight)
            predicted, classes, count = decided[:, 0].astype(int), true[:, 0].astype(int), 2
        else:
            scores, classes, weights = class_rows(self, prediction, target, mask, sample_weight)
            predicted, count = scores.argmax(axis=-1), scores.shape[-1]
        flat = np.bincount(classes * count + predicted, weights, minlength=count * count)
        return flat.reshape(count, count).astype(np.float64)

    @property
    def value(self) -> Any:
        """The matrix (classes, classes) over everything since the last reset, as a copy."""
        return self.seen().copy()


@settings()
class _ConfusionScore(ConfusionMatrix):
    """A score computed from the confusion matrix."""

    higher_is_better = True

    average: str = setting(
        checks.choice, options=("binary", "macro", "micro", "weighted"), default="binary"
    )

    def measure(self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None) -> Array:
        """Return the confusion matrix of one batch."""
        matrix = super().measure(prediction, target, mask, sample_weight)
        if self.average == "binary" and len(matrix) != 2:
            raise ValueError(
                f"{type(self).__name__}: average='binary' is for two classes, and there are "
                f"{len(matrix)}; write average='macro', 'micro' or 'weighted'"
            )
        return matrix

    def _score(self, right: Any, predicted: Any, true: Any) -> Any:
        """Return the score from how many are right, predicted and true, of one class or of each."""
        raise NotImplementedError

    @property
    def value(self) -> float:
        """The score of everything since the last reset."""
        matrix = self.seen()
        right, predicted, true = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
        if self.average == "micro":
            right, predicted, true = right.sum(), predicted.sum(), true.sum()
        scores = self._score(right, predicted, true)
        if self.average == "binary":
            return float(scores[1])
        if self.average == "micro":
            return float(scores)
        weights = true if self.average == "weighted" else (predicted + true) > 0
        return float(_ratio(scores @ weights, weights.sum()))


class Precision(_ConfusionScore):
    """Of the positions predicted as a class, the share that belongs to it.

    ::

        precision = true positives / (true positives + false positives)

    and 0 where that is 0 / 0.

    Parameters
    ----------
    average : "binary", "macro", "micro" or "weighted"
        That of class 1 of two; the mean over classes that occur as target or prediction; one over
        all classes counted together; or the mean weighted by how often each class is the target.
        All as in scikit-learn.
    threshold, from_logits, ignore_class
        As in `ConfusionMatrix`.

    Examples
    --------
    >>> import numpy as np
    >>> metric = Precision()
    >>> metric.update(np.array([[2.0], [1.0], [-1.0], [3.0]]), np.array([[1], [0], [1], [1]]))
    >>> round(metric.value, 4)      # 2 of 3
    0.6667
    """

    name = "precision"

    def _score(self, right: Any, predicted: Any, true: Any) -> Any:
        return _ratio(right, predicted)


class Recall(_ConfusionScore):
    """Of the positions that belong to a class, the share predicted as it.

    ::

        recall = true positives / (true positives + false negatives)

    and 0 where that is 0 / 0.

    Parameters
    ----------
    average, threshold, from_logits, ignore_class
        As in `Precision`.

    Examples
    --------
    >>> import numpy as np
    >>> metric = Recall("macro")
    >>> metric.update(np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2]))
    >>> round(metric.value, 4)      # (1 + 1 + 1/2) / 3
    0.8333
    """

    name = "recall"

    def _score(self, right: Any, predicted: Any, true: Any) -> Any:
        return _ratio(right, true)


class F1(_ConfusionScore):
    """Harmonic mean of precision and recall.

    ::

        F1 = 2 true positives / (2 true positives + false positives + false negatives)

    and 0 where that is 0 / 0.

    Parameters
    ----------
    average, threshold, from_logits, ignore_class
        As in `Precision`; "macro" is the mean of the classes' F1.

    Examples
    --------
    >>> import numpy as np
    >>> metric = F1()
    >>> metric.update(np.array([[2.0], [1.0], [-1.0], [3.0]]), np.array([[1], [0], [1], [1]]))
    >>> round(metric.value, 4)      # 4 / (4 + 1 + 1)
    0.6667
    """

    name = "f1"

    def _score(self, right: Any, predicted: Any, true: Any) -> Any:
        return _ratio(2 * right, predicted + true)


def _ratio(part: Any, whole: Any) -> Any:
    """Return ``part / whole``, and 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)
