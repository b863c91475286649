"""Any function of all predictions and targets, as a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.losses.arguments import positions_of, valid_prediction
from minirnn.metrics.base import Metric
from minirnn.metrics.rows import valid_rows
from minirnn.typing import Array


class FunctionMetric(Metric):
    """Any function of all valid predictions and targets, called once at the end.

    For scores that are not means over batches, such as the area under a curve, and for the metrics
    of other libraries. The predictions of all batches are kept until the next `reset`.

    Parameters
    ----------
    function : callable
        ``function(prediction, target)`` returns a number. In this order: scikit-learn's functions
        take the targets first. Where the batches have weights, it is called with
        ``sample_weight=`` too.
    name : str
        Its name in a `History`.
    higher_is_better : bool or None
        Which way is better; None if neither is.

    Shapes
    ------
    prediction : (n, outputs), with ``n`` all valid positions
    target : (n, ...), of whatever kind the batches have
    sample_weight : (n,)

    Examples
    --------
    >>> import numpy as np
    >>> def worst(prediction, target):
    ...     return np.abs(prediction - target).max()
    >>> metric = FunctionMetric(worst, name="worst", higher_is_better=False)
    >>> metric.update(np.array([[1.0], [2.0]]), np.array([[1.5], [2.0]]))
    >>> metric.update(np.array([[3.0]]), np.array([[2.0]]))
    >>> metric.value
    1.0

    With scikit-learn, say::

        def auc(prediction, target):
            return roc_auc_score(target, prediction)
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str, higher_is_better: bool | None
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"FunctionMetric: function should be callable, got {type(function).__name__}"
            )
        if not isinstance(name, str) or not name:
            raise TypeError(f"FunctionMetric: name should be a text, got {name!r}")
        if higher_is_better is not None:
            checks.flag(self, "higher_is_better", higher_is_better)
        self.function = function
        self.name = name
        self.higher_is_better = higher_is_better

    def measure(
        self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None
    ) -> dict[str, Array]:
        """Return copies of the valid positions of one batch."""
        prediction, mask = valid_prediction(self, prediction, mask, numbers=True)
        shape = positions_of(prediction)
        target = checks.as_array(self, target, "the target")
        if target.shape[: len(shape)] != shape:
            raise ValueError(
                f"FunctionMetric {self.name}: the target should begin with the positions {shape} "
                f"of the prediction, got shape {target.shape}"
            )
        prediction, target, weights = valid_rows(self, prediction, target, mask, sample_weight)
        new = {"prediction": prediction, "target": target}
        if weights is not None:
            new["sample_weight"] = weights
        return {key: np.array(array) for key, array in new.items()}

    def add(self, sums: Any, new: Any) -> Any:
        """Return a list of all batches."""
        if sums is not None and new.keys() != sums[0].keys():
            raise ValueError(
                f"FunctionMetric {self.name}: some batches have sample_weight and some have not"
            )
        return [*(sums or ()), new]

    @property
    def value(self) -> float:
        """The function of everything since the last reset."""
        arguments = self._joined()
        result = self.function(arguments.pop("prediction"), arguments.pop("target"), **arguments)
        if np.ndim(result) or np.asarray(result).dtype.kind not in "fiub":
            raise TypeError(
                f"FunctionMetric {self.name}: the function should return a number, got "
                f"{type(result).__name__}"
            )
        return float(result)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is kept."""
        return {"sums": None if self.sums is None else self._joined()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.sums = None if state["sums"] is None else [dict(state["sums"])]

    def _joined(self) -> dict[str, Array]:
        parts = self.seen()
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
