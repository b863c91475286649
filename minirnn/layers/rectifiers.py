"""Variants of ReLU: functions of each element that approach x where it is large."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.functions import sigmoid
from minirnn.layers.activations import Activation
from minirnn.typing import Array


class LeakyReLU(Activation):
    """Each element, or `slope` times it where it is negative: ``y = max(x, 0) + slope min(x, 0)``.

    Backward: ``grad_x = grad_y`` where ``x > 0``, else ``slope * grad_y``.

    Parameters
    ----------
    slope : float, at least 0

    References
    ----------
    Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.1).forward(np.array([-1.0, 0.0, 2.0]))
    array([-0.1,  0. ,  2. ])
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = checks.positive_float(self, "slope", slope, zero=True)

    def _function(self, x: Array) -> Any:
        return np.where(x > 0, x, x * x.dtype.type(self.slope))

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad * np.where(y > 0, y.dtype.type(1), y.dtype.type(self.slope))


class ELU(Activation):
    """Each element, or a decaying exponential where it is negative.

    ``y = x`` for ``x > 0``, else ``alpha (exp(x) - 1)``.

    Backward: ``grad_x = grad_y`` where ``x > 0``, else ``grad_y * (y + alpha)``.

    Parameters
    ----------
    alpha : float
        The limit for very negative elements is ``-alpha``.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential
    linear units, ICLR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> ELU().forward(np.array([-1e4, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = checks.positive_float(self, "alpha", alpha)

    def _function(self, x: Array) -> Any:
        below = x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0))
        return np.where(x > 0, x, below)

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad * np.where(y > 0, y.dtype.type(1), y + y.dtype.type(self.alpha))


class Softplus(Activation):
    """A smooth ReLU: ``y = log(1 + exp(x))``, always positive; for scales and variances.

    Backward: ``grad_x = grad_y * sigmoid(x)``, and ``sigmoid(x) = 1 - exp(-y)``.

    Examples
    --------
    >>> import numpy as np
    >>> Softplus().forward(np.array([-1e4, 0.0, 10.0])).round(4)
    array([ 0.    ,  0.6931, 10.    ])
    """

    def _function(self, x: Array) -> Any:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad * -np.expm1(-y)


class _SelfGated(Activation):
    """An activation whose derivative needs the input: its output is not monotonic.

    A subclass writes `_function`, and `_gradient` with x in the place of y.
    """

    def forward(self, x: Any) -> Array:
        """Return the output, of the shape of x ``(..., features)``; float dtypes are kept."""
        y = super().forward(x)
        self._cache = checks.as_floats(self, x)
        return y


class SiLU(_SelfGated):
    """Each element times its sigmoid: ``y = x sigmoid(x)``; also called swish.

    Backward, with ``s = sigmoid(x)``: ``grad_x = grad_y * s * (1 + x (1 - s))``.

    References
    ----------
    Elfwing, Uchibe and Doya, Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning, Neural Networks 107, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> SiLU().forward(np.array([-1e4, 0.0, 1e4])) + 0
    array([    0.,     0., 10000.])
    """

    def _function(self, x: Array) -> Any:
        return x * sigmoid(x)

    def _gradient(self, grad: Array, y: Array) -> Any:
        x, s = y, sigmoid(y)
        return grad * (s * (1 + x * (1 - s)))


class GELU(_SelfGated):
    """Each element times the standard normal probability of a value below it, approximately.

    The form of GPT-2, PyTorch's ``GELU(approximate="tanh")``; within 5e-4 of the exact one::

        t = tanh(sqrt(2 / pi) (x + 0.044715 x^3))
        y = x (1 + t) / 2

    Backward::

        grad_x = grad_y * ((1 + t) / 2 + x (1 - t^2) / 2 * sqrt(2 / pi) (1 + 3 * 0.044715 x^2))

    References
    ----------
    Hendrycks and Gimpel, Gaussian error linear units, arXiv 1606.08415, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> GELU().forward(np.array([-1e4, -1.0, 2.0])).round(4) + 0
    array([ 0.    , -0.1588,  1.9546])
    """

    def _function(self, x: Array) -> Any:
        return x * (0.5 * (1 + self._tanh(x)[1]))

    def _gradient(self, grad: Array, y: Array) -> Any:
        x, t = self._tanh(y)
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
        return grad * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope)

    def _tanh(self, x: Array) -> tuple[Array, Array]:
        """Return x, cut where the tanh is 1 anyway and a cube might overflow, and the tanh."""
        x = np.clip(x, -20, 20)
        return x, np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
