"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter
from minirnn.engine import current
from minirnn.initializers import glorot_uniform
from minirnn.typing import Array, RandomSource


class Dense(Layer):
    """Affine map of the last axis, at any rank: ``y = x W + b``.

    Backward, with the leading axes taken together as ``N`` rows::

        grad_W = x^T grad_y        grad_b = sum over rows of grad_y        grad_x = grad_y W^T

    Parameters
    ----------
    input_size, output_size : int
    bias : bool
        Whether there is a ``b``.
    rng : None, int or numpy.random.Generator
        For the initial weights: Glorot uniform. The bias begins at zero.
    dtype : float32 or float64

    Attributes
    ----------
    W : Parameter (input_size, output_size)
    b : Parameter (output_size,), or None; weight decay skips it

    Raises
    ------
    ValueError
        If the last axis of the input is not ``input_size``.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dense(3, 2, rng=0)
    >>> layer.forward(np.ones((4, 5, 3))).shape
    (4, 5, 2)
    >>> layer.backward(np.ones((4, 5, 2))).shape
    (4, 5, 3)
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        bias: bool = True,
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        self.input_size = checks.positive_int(self, "input_size", input_size)
        self.output_size = checks.positive_int(self, "output_size", output_size)
        self.bias = checks.flag(self, "bias", bias)
        dtype = checks.float_dtype(self, dtype)
        rng = checks.generator(self, rng)
        self.W = Parameter(glorot_uniform(rng, self.input_size, self.output_size, dtype))
        self.b = Parameter(np.zeros(self.output_size, dtype), decay=False) if bias else None

    def forward(self, x: Any) -> Array:
        """Return ``x W + b``, shape ``(..., output_size)``, for x ``(..., input_size)``."""
        x = checks.features(self, x, self.input_size, self.W.value.dtype)
        y = self._apply(x)
        self._cache = x
        return y

    def step(self, x_t: Any) -> Array:
        """Return ``x_t W + b`` and keep nothing."""
        return self._apply(checks.features(self, x_t, self.input_size, self.W.value.dtype))

    def _apply(self, x: Array) -> Array:
        W, b = self.W.value, None if self.b is None else self.b.value
        y = np.empty((*x.shape[:-1], self.output_size), x.dtype)
        if current.native is not None and current.native.affine(x, W, b, y, current.threads):
            return y
        rows: Array = x.reshape(-1, self.input_size).dot(W)  # one product, whatever the rank
        if b is not None:
            rows += b
        return rows.reshape(y.shape)

    def backward(self, grad: Any, *, need_grad_x: bool = True) -> Any:
        """Return the gradient on x ``(..., input_size)`` for that on y ``(..., output_size)``."""
        x, W, b = self._saved(), self.W, self.b
        shape = (*x.shape[:-1], self.output_size)
        grad = checks.check_shape(self, grad, shape, x.dtype, "the gradient")
        grad_x: Array | None = np.empty(x.shape, x.dtype) if need_grad_x else None
        if current.native is not None:
            grads = W.grad, None if b is None else b.grad, grad_x
            if current.native.affine_backward(x, grad, W.value, *grads, current.threads):
                return grad_x
        rows = grad.reshape(-1, self.output_size)
        W.grad += x.reshape(-1, self.input_size).T.dot(rows)
        if b is not None:
            b.grad += np.ones(len(rows), rows.dtype).dot(rows)  # as sum, ten times as fast
        return rows.dot(W.value.T).reshape(x.shape) if need_grad_x else None
