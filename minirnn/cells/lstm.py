"""One time step of long short-term memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.cells.builtin import BuiltinCell
from minirnn.functions import sigmoid
from minirnn.typing import Array, RandomSource, State


class LSTMCache(NamedTuple):
    """What backward needs of one step: the input, the state before, and what was made of them."""

    x_t: Array
    h: Array
    c: Array
    i: Array
    f: Array
    o: Array
    g: Array
    tanh_c: Array


class LSTMCell(BuiltinCell):
    """Long short-term memory with a forget gate, one step.

    The four gates stand side by side in ``Wx``, ``Wh`` and ``b``, in the order i, f, o, g::

        z_i, z_f, z_o, z_g = x Wx + h Wh + b
        i = sigmoid(z_i)         how much of the candidate is written
        f = sigmoid(z_f)         how much of the memory is kept
        o = sigmoid(z_o)         how much of the memory is shown
        g = tanh(z_g)            the candidate
        c' = f * c + i * g
        h' = o * tanh(c')

    Backward, from ``dh'`` and ``dc'``::

        dc   = dc' + dh' * o * (1 - tanh(c')^2)
        dz_i = dc * g * i (1 - i)               dz_f = dc * c * f (1 - f)
        dz_o = dh' * tanh(c') * o (1 - o)       dz_g = dc * i * (1 - g^2)
        dWx += x^T dz     dWh += h^T dz     db += sum over the batch of dz
        dx = dz Wx^T      dh = dz Wh^T      gradient on c: dc * f

    Parameters
    ----------
    input_size, hidden_size : int
    forget_bias : float
        Initial value of the forget gate's bias: 1, so that memory lasts before anything is learned
        (Jozefowicz et al. 2015).
    rng : None, int or numpy.random.Generator
        For the initial weights: Glorot uniform Wx, orthogonal Wh, both per gate.
    dtype : float32 or float64

    Attributes
    ----------
    Wx : Parameter (input, 4 * hidden)
    Wh : Parameter (hidden, 4 * hidden)
    b : Parameter (4 * hidden,)

    Notes
    -----
    State ``(h, c)``, output ``h'``. Hochreiter and Schmidhuber, Long short-term memory, Neural
    Computation 9, 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000. PyTorch orders
    the gates i, f, g, o; here the three sigmoid gates stand together.

    Examples
    --------
    >>> import numpy as np
    >>> cell = LSTMCell(3, 4, rng=0)
    >>> y, (h, c), cache = cell.forward(np.ones((2, 3)), cell.initial_state(2))
    >>> y.shape, bool((y == h).all())
    ((2, 4), True)
    """

    blocks = 4
    gates = {  # noqa: RUF012
        "i": (0, 1, "input gate: what is written"),
        "f": (0, 1, "forget gate: what is kept"),
        "o": (0, 1, "output gate: what is shown"),
        "g": (-1, 1, "candidate"),
    }
    state_names = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(input_size, hidden_size, rng, dtype)
        self.forget_bias = checks.finite_float(self, "forget_bias", forget_bias)
        self.b.value[self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def forward(self, x_t: Any, state: State) -> tuple[Array, State, Any]:
        """Return ``h'``, the state ``(h', c')`` and the cache."""
        x_t, (h, c) = self._arguments(x_t, state)
        z = x_t @ self.Wx.value + h @ self.Wh.value + self.b.value
        i, f, o = np.split(sigmoid(z[:, : 3 * self.hidden_size]), 3, axis=1)
        g = np.tanh(z[:, 3 * self.hidden_size :])
        c_next = f * c + i * g
        tanh_c = np.tanh(c_next)
        h_next = o * tanh_c
        return h_next, (h_next, c_next), LSTMCache(x_t, h, c, i, f, o, g, tanh_c)

    def backward(self, grad_y: Any, grad_state: State, cache: Any) -> tuple[Array, State]:
        """Return the gradients on x and on the state ``(h, c)``, as in the class docstring."""
        x_t, h, c, i, f, o, g, tanh_c = cache
        grad_y, (grad_h, grad_c) = self._gradients(grad_y, grad_state, h)
        dh = grad_y + grad_h
        dc = grad_c + dh * o * (1 - tanh_c**2)
        dz = np.concatenate(
            [
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dh * tanh_c * o * (1 - o),
                dc * i * (1 - g**2),
            ],
            axis=1,
        )
        self.Wx.grad += x_t.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        return dz @ self.Wx.value.T, (dz @ self.Wh.value.T, dc * f)
