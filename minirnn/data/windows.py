"""Series: windows to forecast from, and numbers of a size that networks like."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import Array


def windows(series: Any, length: int, horizon: int = 1) -> tuple[Array, Array]:
    """Return every stretch of a series, and what comes next: inputs and targets of a forecast.

    Window ``k`` is ``series[k : k + length]``, its target ``series[k + length : k + length +
    horizon]``. Split a series in time *before* cutting it, so that no target of the training data
    is an input of the test data.

    Parameters
    ----------
    series : array (time,) or (time, features)
    length : int
        Steps of an input.
    horizon : int
        Steps of a target.

    Returns
    -------
    inputs (windows, length, features) and targets (windows, horizon) or (windows, horizon,
    features); of the dtype of the series where that is float32, float64 or an integer. Read-only
    views of one array, so overlapping windows take no memory

    Raises
    ------
    ValueError
        If the series is too short for one window.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = windows(np.arange(6.0), length=3, horizon=2)
    >>> x[..., 0]
    array([[0., 1., 2.],
           [1., 2., 3.]])
    >>> y
    array([[3., 4.],
           [4., 5.]])
    """
    array = checks.as_array("windows", series, "the series")
    if array.dtype.kind not in "iu":  # whole numbers stay exact
        array = checks.as_floats("windows", array, None, "the series")
    length = checks.positive_int("windows", "length", length)
    horizon = checks.positive_int("windows", "horizon", horizon)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"windows: the series should be (time,) or (time, features), got shape {array.shape}"
        )
    if len(array) < length + horizon:
        raise ValueError(
            f"windows: a series of {len(array)} steps is too short for windows of {length} and "
            f"targets of {horizon} steps"
        )
    wide = np.lib.stride_tricks.sliding_window_view(array, length + horizon, axis=0)
    wide = np.moveaxis(wide, -1, 1)
    x, y = wide[:, :length], wide[:, length:]
    return (x[..., None] if array.ndim == 1 else x), y


class Scaler:
    """To mean 0 and standard deviation 1, feature by feature, and back.

    ``scaled = (value - mean) / scale``. Fit it on the training data only: what is to be forecast
    must not be known by its mean.

    Parameters
    ----------
    mean, scale : float or array (features,), optional
        Known already, in place of `fit`.

    Attributes
    ----------
    mean, scale : float64 array, () for a series (time,), or (features,)
        A feature that never changes has the scale 1.

    Raises
    ------
    RuntimeError
        If something is to be scaled before `fit`.
    ValueError
        If the data to fit are empty or not finite, or the features are not as many.

    Examples
    --------
    >>> import numpy as np
    >>> series = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 13.0]])
    >>> scaler = Scaler().fit(series[:2])
    >>> scaler.transform(series)
    array([[-1.,  0.],
           [ 1.,  0.],
           [ 3.,  3.]])
    >>> scaler.inverse(scaler.transform(series))[2]
    array([ 5., 13.])
    """

    def __init__(self, mean: Any = None, scale: Any = None) -> None:
        if (mean is None) != (scale is None):
            raise TypeError("Scaler: mean and scale belong together: give both, or none")
        self.mean: Array | None = None
        self.scale: Array | None = None
        if mean is not None:
            self.mean = np.array(checks.as_floats(self, mean, np.float64, "mean"))
            self.scale = np.array(checks.as_floats(self, scale, np.float64, "scale"))
            good = np.isfinite(self.mean).all() and np.isfinite(self.scale).all()
            if self.mean.shape != self.scale.shape or not good or (self.scale <= 0).any():
                raise ValueError(
                    "Scaler: mean and scale should be finite, of one shape, and scale above 0"
                )

    def fit(self, values: Any, sample_weight: Any = None) -> Scaler:
        """Take mean and standard deviation over all axes but the last, and return the scaler.

        Parameters
        ----------
        values : array (time,) or (..., features)
            Of padded sequences, the valid steps: ``values[mask]``.
        sample_weight : array (time,) or (...), optional
            How much each row of features counts: at least 0, and not all 0.
        """
        array = checks.as_floats(self, values, np.float64, "the values")
        if array.size == 0 or array.ndim == 0 or not np.isfinite(array).all():
            wrong = int(array.size - np.isfinite(array).sum())
            what = f"{wrong} numbers that are not finite" if wrong else f"the shape {array.shape}"
            raise ValueError(f"Scaler: what is to be fitted has {what}")
        rows = array if array.ndim == 1 else array.reshape(-1, array.shape[-1])
        weight = None
        if sample_weight is not None:
            shape, what = array.shape[: max(array.ndim - 1, 1)], "sample_weight"
            weight = checks.check_shape(self, sample_weight, shape, np.float64, what).reshape(-1)
            if not (weight >= 0).all() or not 0 < weight.sum() < np.inf:
                raise ValueError(
                    "Scaler: sample_weight should be at least 0, finite, and not all 0"
                )
            rows, weight = rows[weight > 0], weight[weight > 0]
        mean = np.average(rows, axis=0, weights=weight)
        deviation = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight))
        same = deviation <= 1e-12 * np.abs(mean)  # which rounding leaves
        self.mean = np.where(same, rows[0], mean)
        self.scale = np.where(same, 1.0, deviation)
        return self

    def transform(self, values: Any) -> Array:
        """Return the values scaled, ``(..., features)``; of their own dtype if that is a float."""
        array, mean, scale = self._fitting(values)
        return ((array - mean) / scale).astype(array.dtype)

    def inverse(self, values: Any) -> Array:
        """Return what `transform` was given."""
        array, mean, scale = self._fitting(values)
        return (array * scale + mean).astype(array.dtype)

    def _fitting(self, values: Any) -> tuple[Array, Array, Array]:
        """Return the values, the mean and the scale, if they go together."""
        mean, scale = self.mean, self.scale
        if mean is None or scale is None:
            raise RuntimeError("Scaler: call fit with the training data first")
        array = checks.as_floats(self, values, None, "the values")
        if mean.ndim and array.shape[-1:] != mean.shape:
            raise ValueError(
                f"Scaler: the last axis should have the {len(mean)} features that were fitted, got "
                f"shape {array.shape}; for one of them take Scaler(mean[k], scale[k])"
            )
        return array, mean, scale

    def __repr__(self) -> str:
        if self.mean is None or self.scale is None:
            return "Scaler()"
        return f"Scaler(mean={self.mean.tolist()}, scale={self.scale.tolist()})"
