"""Metrics: figures to watch, added up batch by batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn.losses import CrossEntropy, SoftmaxCrossEntropy
from minirnn.losses.arguments import as_classes, valid_prediction

__all__ = ["Accuracy", "Metric", "Perplexity"]


class Metric:
    """A mean over all real positions seen since the last `reset`.

    A metric of your own names itself, says which way is better, and writes `measure`; adding up is
    done here.

    Attributes
    ----------
    name : str
        Under which name it stands in a `History`.
    higher_is_better : bool or None
        Which way is better: what compares values of a metric asks for it. None if neither is, or
        if nobody has said so.
    value : float
        The metric over everything since the last reset.

    Raises
    ------
    TypeError
        When a subclass is defined whose `value` is a method: it should be a property.

    Examples
    --------
    >>> import numpy as np
    >>> class ExactSequences(Metric):
    ...     name = "exact_sequences"
    ...     higher_is_better = True
    ...
    ...     def measure(self, prediction, target, mask):
    ...         wrong = prediction.argmax(axis=-1) != target
    ...         if mask is not None:
    ...             wrong &= mask
    ...         return float((~wrong.any(axis=1)).sum()), len(wrong)
    >>> metric = ExactSequences()
    >>> metric.update(np.array([[[2.0, 1.0]], [[1.0, 2.0]]]), np.array([[0], [0]]))
    >>> metric.value
    0.5
    """

    name: str = "metric"
    higher_is_better: bool | None = None

    _total: float = 0.0
    _count: int = 0

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if inspect.isfunction(inspect.getattr_static(cls, "value")):
            raise TypeError(
                f"{cls.__name__}: value should be a property, and it is a method; write @property "
                f"above def value(self)"
            )

    def measure(self, prediction: Any, target: Any, mask: Any) -> tuple[float, int]:
        """Return the sum over the real positions of one batch, and how many there are."""
        raise NotImplementedError(f"{type(self).__name__} has no measure method")

    def update(self, prediction: Any, target: Any, mask: Any = None) -> None:
        """Add one batch.

        Parameters
        ----------
        prediction : array (..., classes)
        target : integers (...), or array (..., classes)
        mask : boolean array (batch, time), optional
        """
        total, count = self.measure(prediction, target, mask)
        self._total += total
        self._count += count

    def mean(self) -> float:
        """Return the mean over everything since the last reset."""
        if self._count == 0:
            raise RuntimeError(
                f"{type(self).__name__}: value was asked for before any update: there is nothing "
                f"to average"
            )
        return self._total / self._count

    @property
    def value(self) -> float:
        """The figure over everything since the last reset."""
        return self.mean()

    def reset(self) -> None:
        """Forget everything."""
        self._total, self._count = 0.0, 0

    def state_dict(self) -> dict[str, float]:
        """Return what is needed to go on adding."""
        return {"total": self._total, "count": self._count}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what `state_dict` returned."""
        self._total, self._count = float(state["total"]), int(state["count"])


class Accuracy(Metric):
    """Share of positions whose largest prediction stands at the target class.

    Targets are integer classes, or an array of the prediction's shape whose largest element counts.
    For logits and probabilities alike.

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

    def measure(self, prediction: Any, target: Any, mask: Any) -> tuple[float, int]:
        """Return how many positions are right, and how many there are."""
        prediction, mask = valid_prediction(self, prediction, mask)
        if prediction.shape[-1] == 1:
            raise ValueError(
                "Accuracy: the prediction has one output only, so the largest is always right; for "
                "yes-or-no outputs compare (prediction > 0) with the target yourself"
            )
        target = as_classes(self, target, prediction, mask)
        if target.shape == prediction.shape:
            target = target.argmax(axis=-1)
        right = prediction.argmax(axis=-1) == target
        if mask is not None:
            right = right[mask]
        return float(right.sum()), right.size


class Perplexity(Metric):
    """``exp`` of the mean cross-entropy: among how many equally likely tokens the model hesitates.

    1 is certainty; the size of the vocabulary is a blind guess.

    Parameters
    ----------
    from_logits : bool
        False for a model that ends in `Softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> perplexity = Perplexity()
    >>> perplexity.update(np.zeros((2, 3, 10)), np.zeros((2, 3), int))
    >>> round(perplexity.value, 6)
    10.0
    """

    name = "perplexity"
    higher_is_better = False

    def __init__(self, *, from_logits: bool = True) -> None:
        self.from_logits = from_logits
        self._loss = SoftmaxCrossEntropy() if from_logits else CrossEntropy()

    def measure(self, prediction: Any, target: Any, mask: Any) -> tuple[float, int]:
        """Return the cross-entropy in nats, summed, and the number of positions."""
        mean = self._loss.forward(prediction, target, mask)
        positions = np.shape(prediction)[:-1] if mask is None else (int(np.sum(mask)),)
        count = math.prod(positions)
        return mean * count, count

    @property
    def value(self) -> float:
        """The perplexity of everything since the last reset; inf where it overflows."""
        try:
            return math.exp(self.mean())
        except OverflowError:
            return math.inf
