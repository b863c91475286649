"""Losses of numbers: squared, absolute, and Huber's between the two."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.losses.base import MeanLoss
from minirnn.settings import setting, settings
from minirnn.typing import Array


class MeanSquaredError(MeanLoss):
    """Mean of squared differences, over the ``N`` valid positions and the features.

    ::

        loss = 1/(N features) sum (prediction - target)^2
        grad = 2/(N features) (prediction - target)

    Shapes
    ------
    prediction, target : (..., features)
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

    Raises
    ------
    ValueError
        For a target of another shape (nothing is broadcast), or with NaN in it.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanSquaredError()
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    2.0
    >>> loss.backward()
    array([[ 0., -2.]])
    """

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        difference = prediction - target
        return difference * difference, difference

    def _slopes(self, kept: Any, share: Any) -> Any:
        return kept * (2 * share)


class MeanAbsoluteError(MeanLoss):
    """Mean of absolute differences, over the ``N`` valid positions and the features.

    ::

        loss = 1/(N features) sum |prediction - target|
        grad = 1/(N features) sign(prediction - target)

    It is smallest at the median of the targets, so that outliers pull less than on
    `MeanSquaredError`. Where the two are equal there is no derivative, and the gradient is 0.

    Shapes
    ------
    prediction, target : (..., features)
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

    Raises
    ------
    ValueError
        For a target of another shape (nothing is broadcast), or with NaN in it.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanAbsoluteError()
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    1.0
    >>> loss.backward()
    array([[ 0. , -0.5]])
    """

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        difference = prediction - target
        return np.abs(difference), difference

    def _slopes(self, kept: Any, share: Any) -> Any:
        return np.sign(kept) * share


@settings()
class Huber(MeanLoss):
    """Squared for small differences, absolute for large ones.

    With ``d = prediction - target``, the mean over the ``N`` valid positions and the features of::

        d^2 / 2                    where |d| <= delta
        delta (|d| - delta / 2)    elsewhere

    and ``grad = min(max(d, -delta), delta) / (N features)``. With ``delta=1`` it is the smooth L1
    loss.

    Parameters
    ----------
    delta : float
        Where the one becomes the other, in the target's unit.

    Shapes
    ------
    prediction, target : (..., features)
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

    Raises
    ------
    ValueError
        For a `delta` that is not above 0, for a target of another shape (nothing is broadcast), or
        with NaN in it.

    References
    ----------
    Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 1964.

    Examples
    --------
    >>> import numpy as np
    >>> loss = Huber(delta=1.0)
    >>> loss.forward(np.array([[1.5, 2.0]]), np.array([[1.0, 5.0]]))   # (0.125 + 2.5) / 2
    1.3125
    >>> loss.backward()
    array([[ 0.25, -0.5 ]])
    """

    delta: float = setting(checks.positive_float, default=1.0)

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        difference = prediction - target
        clipped = np.clip(difference, -self.delta, self.delta)
        return clipped * (difference - 0.5 * clipped), clipped

    def _slopes(self, kept: Any, share: Any) -> Any:
        return kept * share
