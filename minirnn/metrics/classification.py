"""Accuracy: the share of right predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.metrics.rows import MeanMetric, class_rows, decision_rows
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings(kw_only=True)
class Accuracy(MeanMetric):
    """Share of positions whose largest prediction stands at the target class.

    Targets are integer classes, or an array of the prediction's shape whose largest element counts.
    For logits and probabilities alike.

    Parameters
    ----------
    ignore_class : int, optional
        Positions with this target do not count, as in `SoftmaxCrossEntropy`.

    Raises
    ------
    ValueError
        For a target of another shape or out of range.
    RuntimeError
        If `value` is read before any update.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy = Accuracy()
    >>> accuracy.update(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    >>> accuracy.value
    0.5
    """

    name = "accuracy"
    higher_is_better = True
    _rows = class_rows

    ignore_class: int | None = setting(checks.integer, default=None)

    def _terms(self, prediction: Array, target: Array) -> Any:
        return prediction.argmax(axis=-1) == target


@settings(kw_only=True)
class TopKAccuracy(MeanMetric):
    """Share of positions whose target class is among the `k` largest predictions.

    Of equal predictions the first ranks higher, so that ``TopKAccuracy(1)`` is `Accuracy`.
    For logits and probabilities alike.

    Parameters
    ----------
    k : int
        Below the number of classes.
    ignore_class : int, optional
        Positions with this target do not count, as in `SoftmaxCrossEntropy`.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy = TopKAccuracy(2)
    >>> accuracy.update(np.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]]), np.array([2, 0]))
    >>> accuracy.name, accuracy.value
    ('top_2_accuracy', 0.5)
    """

    higher_is_better = True
    _rows = class_rows

    k: int = setting(checks.positive_int, default=5, kw_only=False)
    ignore_class: int | None = setting(checks.integer, default=None)

    def __post_init__(self) -> None:
        self.name = f"top_{self.k}_accuracy"

    def _terms(self, prediction: Array, target: Array) -> Any:
        classes = prediction.shape[-1]
        if self.k >= classes:
            raise ValueError(
                f"TopKAccuracy: k should be below the number of classes, {classes}, got {self.k}: "
                f"every answer would be right"
            )
        own = np.take_along_axis(prediction, target[:, None], axis=-1)
        beaten = prediction > own
        beaten |= (prediction == own) & (np.arange(classes) < target[:, None])
        return beaten.sum(axis=-1) < self.k


@settings(kw_only=True)
class BinaryAccuracy(MeanMetric):
    """Share of yes-or-no outputs on the right side of a threshold, over positions and features.

    Parameters
    ----------
    threshold : float
        In (0, 1): a larger probability counts as yes.
    from_logits : bool
        False for a model that ends in `Sigmoid`.

    Shapes
    ------
    prediction, target : (..., features), targets 0 or 1

    Raises
    ------
    ValueError
        For targets that are not 0 or 1; with ``from_logits=False``, for predictions that are not
        probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy = BinaryAccuracy()
    >>> accuracy.update(np.array([[2.0], [-1.0]]), np.array([[1], [1]]))
    >>> accuracy.value
    0.5
    """

    name = "binary_accuracy"
    higher_is_better = True
    _rows = decision_rows

    threshold: float = setting(checks.fraction, zero=False, default=0.5)
    from_logits: bool = setting(checks.flag, default=True)

    def _terms(self, prediction: Array, target: Array) -> Any:
        return (prediction == target).mean(axis=-1)
