"""Residual: a skip connection around a layer."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from minirnn import checks, masks
from minirnn.core import Layer
from minirnn.layers.composite import refuse_gradient
from minirnn.restoring import Restored
from minirnn.typing import Array


class Residual(Layer):
    """A skip connection around a layer: ``y = x + layer(x)``.

    Backward: ``grad_x = grad_y + layer.backward(grad_y)``.

    Parameters
    ----------
    layer : Layer
        Any whose output has the shape of its input; a `Sequential` too.

    Notes
    -----
    Under a mask, padding gives zeros and takes no gradient, whatever stands there.

    He et al., Deep residual learning for image recognition, CVPR 2016.

    Raises
    ------
    ValueError
        At forward, if the layer changes the number of features or removes the time axis.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import GRU, LayerNorm, Sequential
    >>> layer = Residual(Sequential([LayerNorm(4), GRU(4, 4, rng=0)]))
    >>> layer.forward(np.ones((2, 5, 4))).shape
    (2, 5, 4)
    """

    uses_mask = True
    keeps_features = True

    def __init__(self, layer: Layer) -> None:
        checks.instance(self, "layer", layer, Layer)
        self.layer = layer

    @property
    def input_size(self) -> int | None:
        """Features of the input and of the output, where they are known."""
        return getattr(self.layer, "input_size", None)

    uses_state = property(attrgetter("layer.uses_state"), doc="Whether the layer inside has one.")
    state = property(attrgetter("layer.state"), doc="The final state of the layer inside.")
    grad_state = property(attrgetter("layer.grad_state"), doc="The gradient on its initial state.")

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Array:
        """Return ``x + layer(x)``, of the shape of x: ``(batch, time, features)``, for most layers.

        `state` is the initial state of the layer inside.
        """
        x, mask = masks.checked(self, checks.as_floats(self, x), mask)
        with Restored(self._inside()):
            y = self._sum(x, masks.apply(self.layer, x, mask, state))
        if mask is not None:
            y[~mask] = 0
        self._cache = (y.shape, y.dtype, mask)
        return y

    def step(self, x_t: Any) -> Array:
        """Return ``x_t + layer.step(x_t)``."""
        with Restored(self._inside()):
            return self._sum(x_t, self.layer.step(x_t))

    def _inside(self) -> list[Layer]:
        return [one for _, one in self.layer.named_layers()]

    def _sum(self, x: Any, y: Array) -> Array:
        if np.shape(y) != np.shape(x):
            raise ValueError(
                f"Residual: {type(self.layer).__name__} should return an output of the shape of "
                f"its input {np.shape(x)}, got {np.shape(y)}; for another number of features put "
                f'a Dense beside it: Parallel([layer, Dense(...)], merge="sum")'
            )
        return np.asarray(x, y.dtype) + y

    def backward(self, grad: Any, grad_state: Any = None) -> Array:
        """Return the gradient on x, of its shape."""
        shape, dtype, mask = self._saved()
        grad = checks.check_shape(self, grad, shape, dtype, "the gradient")
        grad = masks.without_padding(grad, mask)
        inner = (grad,) if grad_state is None else (grad, grad_state)
        with Restored(self._inside(), gradients=True):
            inside = self.layer.backward(*inner)
            if np.shape(inside) != shape:
                refuse_gradient(self.layer, inside, shape)
        grad_x: Array = grad + inside
        if mask is not None:
            grad_x[~mask] = 0
        return grad_x
