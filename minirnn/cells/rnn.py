"""One time step of the simple recurrent network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.cells.builtin import BuiltinCell
from minirnn.functions import sigmoid
from minirnn.typing import Array, RandomSource, State

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    # name: the function, and its derivative written in terms of its value h
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "relu": (lambda z: np.maximum(z, 0), lambda h: (h > 0).astype(h.dtype)),
    "sigmoid": (sigmoid, lambda h: h * (1 - h)),
}


class RNNCache(NamedTuple):
    """What backward needs of one step: the input, the state before, the state after."""

    x_t: Array
    h: Array
    h_next: Array


class RNNCell(BuiltinCell):
    """The simple recurrent network, one step.

    ::

        z  = x Wx + h Wh + b
        h' = activation(z)

    Backward::

        dz  = dh' * activation'(z)
        dWx += x^T dz     dWh += h^T dz     db += sum over the batch of dz
        dx  = dz Wx^T     dh  = dz Wh^T

    Parameters
    ----------
    input_size, hidden_size : int
    activation : "tanh", "relu" or "sigmoid"
    rng : None, int or numpy.random.Generator
        For the initial weights: Glorot uniform Wx, orthogonal Wh, zero b.
    dtype : float32 or float64

    Attributes
    ----------
    Wx : Parameter (input, hidden)
    Wh : Parameter (hidden, hidden)
    b : Parameter (hidden,)

    Notes
    -----
    State ``(h,)``, output ``h'``. Elman, Finding structure in time, Cognitive Science 14, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> cell = RNNCell(3, 4, rng=0)
    >>> y, state, cache = cell.forward(np.ones((2, 3)), cell.initial_state(2))
    >>> y.shape, len(state)
    ((2, 4), 1)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str = "tanh",
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        self.activation = checks.choice(self, "activation", activation, tuple(ACTIVATIONS))
        super().__init__(input_size, hidden_size, rng, dtype)

    @property
    def state_bounds(self) -> dict[str, tuple[float, float]]:  # type: ignore[override]
        """Between what the activation keeps the state."""
        bounds = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
        return {"h": bounds[self.activation]} if self.activation in bounds else {}

    def forward(self, x_t: Any, state: State) -> tuple[Array, State, Any]:
        """Return ``h'``, the state ``(h',)`` and the cache."""
        x_t, (h,) = self._arguments(x_t, state)
        function, _ = ACTIVATIONS[self.activation]
        h_next = function(x_t @ self.Wx.value + h @ self.Wh.value + self.b.value)
        return h_next, (h_next,), RNNCache(x_t, h, h_next)

    def backward(self, grad_y: Any, grad_state: State, cache: Any) -> tuple[Array, State]:
        """Return the gradients on x and on the state ``(h,)``, both as in the class docstring."""
        x_t, h, h_next = cache
        grad_y, (grad_h,) = self._gradients(grad_y, grad_state, h)
        _, derivative = ACTIVATIONS[self.activation]
        dz = (grad_y + grad_h) * derivative(h_next)
        self.Wx.grad += x_t.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        return dz @ self.Wx.value.T, (dz @ self.Wh.value.T,)
