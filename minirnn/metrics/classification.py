"""Accuracy: the share of right predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.metrics.arguments import valid_classes, valid_decisions, weighted_sum
from minirnn.metrics.base import Metric

__all__ = ["Accuracy", "BinaryAccuracy", "TopKAccuracy"]


class Accuracy(Metric):
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

    def __init__(self, *, ignore_class: int | None = None) -> None:
        self.ignore_class = checks.whole_number(self, "ignore_class", ignore_class)

    def measure(
        self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None
    ) -> tuple[float, float]:
        """Return how many positions are right, and how many there are."""
        if np.ndim(prediction) and np.shape(prediction)[-1] == 1:
            raise ValueError(
                "Accuracy: the prediction has one output only, so the largest is always right; for "
                "yes-or-no outputs take BinaryAccuracy"
            )
        scores, classes, weights = valid_classes(
            self, prediction, target, mask, sample_weight, self.ignore_class
        )
        return weighted_sum(scores.argmax(axis=-1) == classes, weights)


class TopKAccuracy(Metric):
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

    def __init__(self, k: int = 5, *, ignore_class: int | None = None) -> None:
        self.k = checks.positive_int(self, "k", k)
        self.ignore_class = checks.whole_number(self, "ignore_class", ignore_class)
        self.name = f"top_{self.k}_accuracy"

    def measure(
        self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None
    ) -> tuple[float, float]:
        """Return how many positions are right, and how many there are."""
        scores, classes, weights = valid_classes(
            self, prediction, target, mask, sample_weight, self.ignore_class
        )
        if self.k >= scores.shape[-1]:
            raise ValueError(
                f"TopKAccuracy: k should be below the number of classes, {scores.shape[-1]}, got "
                f"{self.k}: every answer would be right"
            )
        own = np.take_along_axis(scores, classes[:, None], axis=-1)
        beaten = ~(scores <= own)  # by nan, too
        beaten |= (scores == own) & (np.arange(scores.shape[-1]) < classes[:, None])
        return weighted_sum(beaten.sum(axis=-1) < self.k, weights)


class BinaryAccuracy(Metric):
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

    def __init__(self, *, threshold: float = 0.5, from_logits: bool = True) -> None:
        self.threshold = checks.fraction(self, "threshold", threshold, zero=False)
        self.from_logits = checks.flag(self, "from_logits", from_logits)

    def measure(
        self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None
    ) -> tuple[float, float]:
        """Return the share of right features, summed over positions, and their number."""
        decided, true, weights = valid_decisions(
            self, prediction, target, mask, sample_weight, self.threshold, self.from_logits
        )
        return weighted_sum((decided == true).mean(axis=-1), weights)
