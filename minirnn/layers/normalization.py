"""Normalization of each step by its own mean and variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter
from minirnn.typing import Array


class LayerNorm(Layer):
    """Layer normalization: the last axis gets mean 0 and variance 1, then a learned gain and bias.

    With mean and variance over the ``size`` features of one position (the variance divided by
    ``size``, not by ``size - 1``)::

        n = (x - mean) / sqrt(variance + epsilon)
        y = gain * n + b

    Backward, with the sums over all positions and the means over the features::

        grad_gain = sum grad_y * n            grad_b = sum grad_y            d = grad_y * gain
        grad_x = (d - mean(d) - n * mean(d * n)) / sqrt(variance + epsilon)

    Each position is normalized alone, so training, evaluation and `step` all do the same.

    Parameters
    ----------
    size : int
        Features on the last axis.
    epsilon : float
        Added to the variance, against division by zero.
    dtype : float32 or float64

    Attributes
    ----------
    gain : Parameter (size,)
        Begins at one; weight decay skips it.
    b : Parameter (size,)
        Begins at zero; weight decay skips it.

    Raises
    ------
    ValueError
        If the last axis of the input is not ``size``.

    References
    ----------
    Ba, Kiros and Hinton, Layer normalization, arXiv 1607.06450, 2016. The same as PyTorch's
    ``LayerNorm(size)``.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNorm(2).forward(np.array([[1.0, 3.0], [10.0, 30.0]])).round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    keeps_features = True

    def __init__(self, size: int, *, epsilon: float = 1e-5, dtype: Any = np.float32) -> None:
        self.size = checks.positive_int(self, "size", size)
        self.epsilon = checks.positive_float(self, "epsilon", epsilon)
        dtype = checks.float_dtype(self, dtype)
        self.gain = Parameter(np.ones(self.size, dtype), decay=False)
        self.b = Parameter(np.zeros(self.size, dtype), decay=False)

    def forward(self, x: Any) -> Array:
        """Return the normalized x ``(..., size)``, of its shape."""
        y, self._cache = self._normalized(x)
        return y

    def step(self, x_t: Any) -> Array:
        """Return the normalized step and keep nothing."""
        return self._normalized(x_t)[0]

    def _normalized(self, x: Any) -> tuple[Array, tuple[Array, Array]]:
        x = checks.features(self, x, self.size, self.gain.value.dtype)
        n: Array = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(n).mean(axis=-1, keepdims=True)
        spread: Array = np.sqrt(variance + n.dtype.type(self.epsilon))
        n /= spread
        y: Array = self.gain.value * n
        y += self.b.value
        return y, (n, spread)

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x, of its shape."""
        n, spread = self._saved()
        grad = checks.check_shape(self, grad, n.shape, n.dtype, "the gradient")
        before = tuple(range(n.ndim - 1))
        self.gain.grad += (grad * n).sum(axis=before)
        self.b.grad += grad.sum(axis=before)
        d = grad * self.gain.value
        grad_x: Array = d - d.mean(axis=-1, keepdims=True)
        grad_x -= n * (d * n).mean(axis=-1, keepdims=True)
        grad_x /= spread
        return grad_x
