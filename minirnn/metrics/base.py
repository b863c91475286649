"""Metric: sums over batches, and the score computed from them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.keywords import KeywordHints
from minirnn.losses.arguments import takes


class Metric(KeywordHints):
    """A mean over all valid positions seen since the last `reset`.

    To write your own, set `name` and `higher_is_better` and define `measure`; the sums over batches
    are kept here.

    Attributes
    ----------
    name : str
        Its name in a `History`.
    higher_is_better : bool or None
        Which way is better, for whatever compares values. None if neither is, or if that is not
        known.
    value : float
        The metric over everything since the last reset. For another formula than the mean, write a
        property of this name over `sums`.
    sums : array or None
        What `measure` returned, added up over the batches since the last reset; None before any.

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
    ...         return (~wrong.any(axis=1)).sum(), len(wrong)
    >>> metric = ExactSequences()
    >>> metric.update(np.array([[[2.0, 1.0]], [[1.0, 2.0]]]), np.array([[0], [0]]))
    >>> metric.value
    0.5
    """

    name: str = "metric"
    higher_is_better: bool | None = None
    sums: Any = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _check_value(cls, f"{cls.__name__}: value")

    def measure(self, prediction: Any, target: Any, mask: Any, *sample_weight: Any) -> Any:
        """Return what one batch, given as to `update`, adds to the sums.

        `sample_weight` is only given where the batch has weights; a metric that does not take it
        cannot be weighted.

        Returns
        -------
        (total, count), or an array
            The sum over the valid positions and how many there are (or the sum of their weights);
            or an array of any other sums, of the same shape in each batch.
        """
        raise NotImplementedError(f"{type(self).__name__} has no measure method")

    def update(
        self, prediction: Any, target: Any, mask: Any = None, sample_weight: Any = None
    ) -> None:
        """Add one batch.

        Parameters
        ----------
        prediction : array (batch, outputs) or (batch, time, outputs)
            Numbers, not classes, also (batch,): one a sequence.
        target : array
            As the loss takes it.
        mask : boolean array (batch, time), optional
            True where the step is valid; only for a prediction with a time axis.
        sample_weight : array (batch,) or (batch, time), optional
            How much each sequence, or each step, counts.
        """
        weights = () if sample_weight is None else (sample_weight,)
        if weights and not takes(self.measure, "sample_weight"):
            raise TypeError(
                f"{type(self).__name__}: measure does not take sample_weight; write def "
                f"measure(self, prediction, target, mask, sample_weight=None)"
            )
        self.sums = self.add(self.sums, self.measure(prediction, target, mask, *weights))

    def add(self, sums: Any, new: Any) -> Any:
        """Return the sums of all batches: those before, None at first, and what is new."""
        new = np.array(new, np.float64)
        if sums is not None and new.shape != sums.shape:
            raise ValueError(
                f"{type(self).__name__}: the sums of this batch have shape {new.shape}, those of "
                f"earlier ones {sums.shape}; does the number of outputs change?"
            )
        return new if sums is None else sums + new

    @property
    def value(self) -> Any:
        """The mean over everything since the last reset."""
        return self.mean()

    def mean(self) -> float:
        """Return the total divided by the count."""
        if np.shape(self.seen()) != (2,):
            raise TypeError(
                f"{type(self).__name__}: measure should return (total, count), got an array of "
                f"shape {np.shape(self.sums)}; for the mean of other sums write a property value"
            )
        total, count = self.sums
        return float(total / count) if count else float("nan")

    def seen(self) -> Any:
        """Return the sums, or say that there was no update."""
        if self.sums is None:
            raise RuntimeError(
                f"{type(self).__name__}: value was read before any update: there is nothing to "
                f"compute it from"
            )
        return self.sums

    def reset(self) -> None:
        """Forget everything."""
        self.sums = None

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on adding."""
        return {"sums": None if self.sums is None else self.sums.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.sums = None if state["sums"] is None else np.array(state["sums"], np.float64)


def _check_value(metric: Any, name: str) -> None:
    if inspect.isfunction(inspect.getattr_static(metric, "value")):
        raise TypeError(
            f"{name} should be a property, and it is a method; write @property above "
            f"def value(self)"
        )


def check_metric(owner: object, metric: Any) -> None:
    """Raise unless `metric` has what a trainer needs: update, reset, name and a property value."""
    if isinstance(metric, type):
        checks.instance(owner, "metric", metric, Metric)
    lacking = [
        name
        for name in ("update", "reset", "value", "name")
        if inspect.getattr_static(metric, name, None) is None
    ]
    if lacking:
        hint = "; write FunctionMetric(f, name=..., higher_is_better=...)" * callable(metric)
        raise TypeError(
            f"{checks.name_of(owner)}: a metric should be a Metric, and {metric!r} "
            f"({type(metric).__name__}) has no {', '.join(lacking)}{hint}"
        )
    for name in ("update", "measure"):
        method = getattr(metric, name, None)
        try:
            if method is not None:
                inspect.signature(method).bind(None, None, None)
        except TypeError:
            raise TypeError(
                f"{checks.name_of(owner)}: the {name} of {type(metric).__name__} does not take "
                f"three arguments; write def {name}(self, prediction, target, mask=None)"
            ) from None
    _check_value(metric, f"{checks.name_of(owner)}: value of {type(metric).__name__}")
