"""Layers without parameters that transform each number, or each row of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.functions import log_softmax, sigmoid, softmax
from minirnn.typing import Array


class Activation(Layer):
    """A function of the input alone, whose derivative can be written in terms of its output.

    A subclass writes `_function`, y from x, and `_gradient`, grad_x from grad_y and y.

    Attributes
    ----------
    bounds : (low, high), or None
        Near which outputs the function is flat, so that hardly any gradient passes.
    """

    keeps_features = True
    bounds: tuple[float, float] | None = None
    observer: Any = None  # called with every output: see minirnn.insight.observers

    def forward(self, x: Any) -> Array:
        """Return the output, of the shape of x ``(..., features)``; float dtypes are kept."""
        y = self._cache = self.step(x)
        if self.observer is not None:
            self.observer.forward(y)
        return y

    def step(self, x_t: Any) -> Array:
        """Return the output and keep nothing."""
        return self._function(checks.as_floats(self, x_t))

    def backward(self, grad: Any) -> Array:
        """Return the gradient on the input, of the shape of x."""
        y = self._saved()
        return self._gradient(checks.check_shape(self, grad, y.shape, y.dtype, "the gradient"), y)

    def _function(self, x: Array) -> Array:
        raise NotImplementedError

    def _gradient(self, grad: Array, y: Array) -> Array:
        raise NotImplementedError


class Softmax(Activation):
    """Probabilities over the last axis: ``y_k = exp(x_k) / sum_j exp(x_j)``.

    Backward, by the full Jacobian ``dy_k / dx_j = y_k (1[k = j] - y_j)``::

        grad_x = y * (grad_y - sum_k grad_y_k y_k)

    For training on classes, leave this layer out and take `SoftmaxCrossEntropy` on the logits: the
    two together have a simpler gradient, exact where a probability rounds to 0.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax().forward(np.array([[0.0, 0.0], [1e4, -1e4]]))
    array([[0.5, 0.5], [1. , 0. ]])
    """

    def _function(self, x: Array) -> Any:
        return softmax(x)

    def _gradient(self, grad: Array, y: Array) -> Any:
        return y * (grad - (grad * y).sum(axis=-1, keepdims=True))


class LogSoftmax(Activation):
    """Logarithms of the probabilities over the last axis: ``y_k = x_k - log sum_j exp(x_j)``.

    Backward: ``grad_x = grad_y - exp(y) sum_k grad_y_k``.

    For training on classes, leave this layer out and take `SoftmaxCrossEntropy` on the logits.

    Examples
    --------
    >>> import numpy as np
    >>> LogSoftmax().forward(np.array([[0.0, 0.0], [1e4, -1e4]])).round(4)
    array([[-6.931e-01, -6.931e-01],
           [ 0.000e+00, -2.000e+04]])
    """

    def _function(self, x: Array) -> Any:
        return log_softmax(x)

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad - np.exp(y) * grad.sum(axis=-1, keepdims=True)


class Sigmoid(Activation):
    """Logistic function of each element: ``y = 1 / (1 + exp(-x))``.

    Backward: ``grad_x = grad_y * y * (1 - y)``.

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid().forward(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """

    bounds = (0.0, 1.0)

    def _function(self, x: Array) -> Any:
        return sigmoid(x)

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad * y * (1 - y)


class Tanh(Activation):
    """Hyperbolic tangent of each element.

    Backward: ``grad_x = grad_y * (1 - y^2)``.

    Examples
    --------
    >>> import numpy as np
    >>> Tanh().forward(np.array([-1e4, 0.0, 1e4]))
    array([-1., 0., 1.])
    """

    bounds = (-1.0, 1.0)

    def _function(self, x: Array) -> Any:
        return np.tanh(x)

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad * (1 - y * y)


class ReLU(Activation):
    """Each element, or 0 where it is negative: ``y = max(x, 0)``.

    Backward: ``grad_x = grad_y`` where ``y > 0``, else 0; at 0 itself the subgradient 0 is taken.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU().forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    def _function(self, x: Array) -> Any:
        return np.maximum(x, 0)

    def _gradient(self, grad: Array, y: Array) -> Any:
        return grad * (y > 0)
