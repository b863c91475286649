"""Random silence, against overfitting."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.typing import Array, RandomSource

__all__ = ["Dropout"]


class Dropout(Layer):
    """In training, each number becomes 0 with probability `rate`; the others grow to make up.

    Inverted dropout: ``y = x * keep / (1 - rate)`` with ``keep`` drawn anew at every forward, so
    that the mean is that of ``x`` and evaluation mode is the identity. Backward multiplies by the
    same factors.

    Parameters
    ----------
    rate : float
        Probability of silence, at least 0 and below 1.
    rng : None, int or numpy.random.Generator

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dropout(0.5, rng=0)
    >>> layer.forward(np.ones((1, 6)))
    array([[2., 2., 2., 0., 0., 0.]])
    >>> layer.eval().forward(np.ones((1, 6)))
    array([[1., 1., 1., 1., 1., 1.]])
    """

    def __init__(self, rate: float, *, rng: RandomSource = None) -> None:
        self.rate = checks.fraction(self, "rate", rate)
        self.rng = checks.generator(self, rng)

    def forward(self, x: Any) -> Array:
        """Return x ``(..., features)`` with some numbers silenced; in evaluation mode, x."""
        x = checks.as_floats(self, x)
        if self.training and self.rate > 0:
            factors = self.rng.random(x.shape, dtype=np.float32) >= self.rate
            self._cache = factors.astype(x.dtype) / x.dtype.type(1 - self.rate)
        else:
            self._cache = np.ones((), x.dtype)
        self._shape = x.shape
        y: Array = x * self._cache
        return y

    def step(self, x_t: Any) -> Array:
        """Return the step as it is: a stream is run to be used, not to be trained."""
        return checks.as_floats(self, x_t)

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x, of its shape."""
        factors = self._saved()
        grad = checks.check_shape(self, grad, self._shape, factors.dtype, "the gradient")
        grad_x: Array = grad * factors
        return grad_x
