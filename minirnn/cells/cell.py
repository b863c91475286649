"""Cell: what one time step of a recurrent network is.

Shapes in all cells here: ``x_t (batch, input)``, each state array ``(batch, hidden)``; weights
multiply from the right, ``Wx (input, gates * hidden)``, ``Wh (hidden, gates * hidden)``, ``b (gates
* hidden,)``. ``dz`` stands for the gradient of the loss with respect to ``z``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.core import Layer, dtype_of
from minirnn.typing import Array, State


class Cell(Layer):
    """One step of a recurrent network: subclass it, and `Recurrent` does the rest.

    A cell of your own sets `input_size` and `hidden_size` and its parameters, and writes two
    methods; with a state other than one array ``(batch, hidden)``, `initial_state` too. Over time,
    with masks, carried states, in reverse and in a gradient check it then works as it is.

    Attributes
    ----------
    input_size, hidden_size : int
    output_size : int
        Features of the output of a step: the hidden size, unless you set it.
    gates : mapping from names to (low, high) or (low, high, "what it does")
        What `minirnn.insight` shows of a step beside the states: fields of the cache, and the
        bounds between which they lie. None by default.
    state_names : tuple of str
        What the arrays of the state are called: h, or state0, state1, ..., unless you set it.
    state_bounds : mapping from names to (low, high)
        Of the states that are bounded.

    Examples
    --------
    A leaky integrator, ``h' = a h + x W``, that learns its leak ``a``:

    >>> import numpy as np
    >>> from minirnn import Parameter, Recurrent, check_gradients
    >>> class Leaky(Cell):
    ...     def __init__(self, input_size, hidden_size):
    ...         self.input_size, self.hidden_size = input_size, hidden_size
    ...         self.W = Parameter(np.full((input_size, hidden_size), 0.5))
    ...         self.a = Parameter(np.full(hidden_size, 0.9))
    ...
    ...     def forward(self, x_t, state):
    ...         (h,) = state
    ...         h_next = self.a.value * h + x_t @ self.W.value
    ...         return h_next, (h_next,), (x_t, h)
    ...
    ...     def backward(self, grad_y, grad_state, cache):
    ...         x_t, h = cache
    ...         grad = grad_y + grad_state[0]
    ...         self.W.grad += x_t.T @ grad
    ...         self.a.grad += (grad * h).sum(axis=0)
    ...         return grad @ self.W.value.T, (grad * self.a.value,)
    >>> check_gradients(Recurrent(Leaky(3, 4)), np.ones((2, 5, 3))).passed
    True
    """

    input_size: int
    hidden_size: int
    gates: Mapping[str, tuple[float, float] | tuple[float, float, str]] = {}
    state_names: tuple[str, ...] = ()
    state_bounds: Mapping[str, tuple[float, float]] = {}

    @cached_property
    def output_size(self) -> int:
        """Features of the output: the hidden size, unless a subclass sets its own."""
        return self.hidden_size

    if not TYPE_CHECKING:  # a checker of types would take any attribute for a known one

        def __getattr__(self, name: str) -> Any:
            """Say what a cell without sizes lacks."""
            kind = type(self).__name__
            if name in ("hidden_size", "output_size"):
                raise AttributeError(
                    f"{kind}: {name} is not there; a cell sets self.input_size and "
                    f"self.hidden_size in its __init__"
                )
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step: zeros ``(batch_size, hidden_size)``."""
        return (np.zeros((batch_size, self.hidden_size), dtype_of(self) or np.float32),)

    def forward(self, x_t: Any, state: State) -> tuple[Array, State, Any]:
        """Run one step.

        Parameters
        ----------
        x_t : array (batch, input_size)
        state : tuple of arrays (batch, ...)

        Returns
        -------
        y_t : array (batch, output_size)
            The output of the step.
        state : tuple of arrays
            The next state, of the shapes of the one given.
        cache : anything
            What `backward` needs.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def backward(self, grad_y: Any, grad_state: State, cache: Any) -> tuple[Array, State]:
        """Go back through one step, adding to the parameters' gradients.

        Parameters
        ----------
        grad_y : array (batch, output_size)
            Gradient of the loss on the output of the step.
        grad_state : tuple of arrays
            Gradient on the state that the step handed on.
        cache : what `forward` returned

        Returns
        -------
        grad_x : array (batch, input_size)
        grad_state : tuple of arrays
            Gradient on the state that the step was given.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward method")

    def gate_values(self, cache: Any) -> dict[str, Array]:
        """Return the gates of one step by name, each an array ``(batch, ...)``.

        Write it for a cell whose cache has no fields of these names: it is a plain tuple, say.
        """
        return {name: getattr(cache, name) for name in self.gates}
