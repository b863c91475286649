"""How far numbers are from their targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn.metrics.base import Metric
from minirnn.metrics.rows import MeanMetric, element_rows
from minirnn.typing import Array


class MAE(MeanMetric):
    """Mean absolute error, over valid positions and features, in the target's unit.

    Examples
    --------
    >>> import numpy as np
    >>> metric = MAE()
    >>> metric.update(np.array([[1.0], [2.0]]), np.array([[1.0], [5.0]]))
    >>> metric.value
    1.5
    """

    name = "mae"
    higher_is_better = False
    _rows = element_rows

    def _terms(self, prediction: Array, target: Array) -> Any:
        return np.abs(prediction.astype(np.float64) - target).mean(axis=-1)


class RMSE(MeanMetric):
    """Root of the mean squared error, over valid positions and features, in the target's unit.

    Examples
    --------
    >>> import numpy as np
    >>> metric = RMSE()
    >>> metric.update(np.array([[1.0], [2.0]]), np.array([[1.0], [6.0]]))
    >>> round(metric.value, 4)      # sqrt((0 + 16) / 2)
    2.8284
    """

    name = "rmse"
    higher_is_better = False
    _rows = element_rows

    def _terms(self, prediction: Array, target: Array) -> Any:
        return ((prediction.astype(np.float64) - target) ** 2).mean(axis=-1)

    @property
    def value(self) -> float:
        """The root mean squared error over everything since the last reset."""
        return math.sqrt(self.mean())


class R2(Metric):
    """Coefficient of determination: the share of the targets' variance that is explained.

    For each feature, with ``m`` the mean target over everything seen::

        R^2 = 1 - sum (target - prediction)^2 / sum (target - m)^2

    and then the mean over features. 1 is perfect, 0 what the mean target reaches; it may be
    negative. A feature that does not vary has 1 if it is met exactly and 0 otherwise, as in
    scikit-learn; of fewer than two positions it is nan.

    Examples
    --------
    >>> import numpy as np
    >>> metric = R2()
    >>> metric.update(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]))
    >>> metric.value
    0.5
    """

    name = "r2"
    higher_is_better = True

    def measure(self, prediction: Any, target: Any, mask: Any, sample_weight: Any = None) -> Array:
        """Return, for each feature: positions, weight, mean, deviations and errors.

        The last two are sums of squares: of the targets' deviations from their mean, of the errors.
        """
        y, target, weights = element_rows(self, prediction, target, mask, sample_weight)
        target = target.astype(np.float64)
        weights = np.ones(len(y)) if weights is None else weights
        weight = weights.sum()
        mean = target[0] + weights @ (target - target[0]) / (weight or 1)  # exact for a constant
        counts = [np.full(y.shape[1], number) for number in (len(y), weight)]
        return np.stack(
            [*counts, mean, weights @ (target - mean) ** 2, weights @ (y - target) ** 2]
        )

    def add(self, sums: Any, new: Any) -> Any:
        """Return what is known of two batches together (Chan, Golub and LeVeque 1979)."""
        result = super().add(sums, new)
        if sums is None:
            return result
        share = new[1] / np.where(result[1], result[1], 1)
        between = new[2] - sums[2]
        result[2] = sums[2] + share * between
        result[3] += sums[1] * share * between**2
        return result

    @property
    def value(self) -> float:
        """The coefficient of determination of everything since the last reset."""
        positions, weight, _, variation, errors = self.seen()
        if positions[0] < 2 or not weight[0]:
            return math.nan
        varies = variation > 0
        explained = np.where(errors == 0, 1.0, 0.0)
        explained[varies] = 1 - errors[varies] / variation[varies]
        return float(explained.mean())
