"""Dropout: features set to zero at random, against overfitting."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.typing import Array, RandomSource


class WithRate(Layer):
    """Base of layers that drop numbers with a probability, the `rate`."""

    @property
    def rate(self) -> float:
        """The probability of a 0; another one may be assigned between two batches."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = checks.fraction(self, "rate", rate)


class Dropout(WithRate):
    """In training, each number becomes 0 with probability `rate`; the others are scaled up.

    Inverted dropout: ``y = x * keep / (1 - rate)`` with ``keep`` drawn anew at every forward, so
    that the mean is that of ``x`` and evaluation mode is the identity. Backward multiplies by the
    same factors.

    Parameters
    ----------
    rate : float
        Probability of a 0, at least 0 and below 1.
    shared_over_time : bool
        True draws one ``keep (batch, 1, features)`` for all steps of a sequence, as Gal and
        Ghahramani propose for the inputs and outputs of recurrent layers: a feature is dropped
        from the first step to the last. For the states inside, see `StateDropout`.
    rng : None, int or numpy.random.Generator

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.
    Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural
    networks, NIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dropout(0.5, rng=0)
    >>> layer.forward(np.ones((1, 6)))
    array([[2., 2., 2., 0., 0., 0.]])
    >>> layer.eval().forward(np.ones((1, 6)))
    array([[1., 1., 1., 1., 1., 1.]])
    >>> Dropout(0.5, shared_over_time=True, rng=0).forward(np.ones((1, 2, 6)))
    array([[[2., 2., 2., 0., 0., 0.],
            [2., 2., 2., 0., 0., 0.]]])
    """

    keeps_features = True

    def __init__(
        self, rate: float, *, shared_over_time: bool = False, rng: RandomSource = None
    ) -> None:
        self.rate = rate
        self.shared_over_time = checks.flag(self, "shared_over_time", shared_over_time)
        self.rng = checks.generator(self, rng)

    def forward(self, x: Any) -> Array:
        """Return x ``(..., features)`` with some numbers dropped; in evaluation mode, x."""
        x = checks.as_floats(self, x)
        if self.shared_over_time and x.ndim < 3:
            raise ValueError(
                f"Dropout: with shared_over_time=True the input should be (batch, time, features), "
                f"got shape {x.shape}; without a time axis, leave it out"
            )
        if self.training and self.rate > 0:
            shape = (len(x), 1, *x.shape[2:]) if self.shared_over_time else x.shape
            factors = self.rng.random(shape, dtype=np.float32) >= self.rate
            self._cache = factors.astype(x.dtype) / x.dtype.type(1 - self.rate)
        else:
            self._cache = np.ones((), x.dtype)
        self._shape = x.shape
        y: Array = x * self._cache
        return y

    def step(self, x_t: Any) -> Array:
        """Return the step as it is: single steps are for inference."""
        return checks.as_floats(self, x_t)

    def backward(self, grad: Any) -> Array:
        """Return the gradient on x, of its shape."""
        factors = self._saved()
        grad = checks.check_shape(self, grad, self._shape, factors.dtype, "the gradient")
        grad_x: Array = grad * factors
        return grad_x
