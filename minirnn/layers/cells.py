"""The built-in cells: one time step each, to be read beside the equations.

A cell has no memory of its own. Its `forward` takes the state and returns the next one, and with it
a cache of what `backward` needs; `minirnn.layers.recurrent.Recurrent` runs it over time.

Shapes throughout: ``x_t (batch, input)``, each state array ``(batch, hidden)``; weights multiply
from the right, ``Wx (input, gates * hidden)``, ``Wh (hidden, gates * hidden)``, ``b (gates *
hidden,)``. ``dz`` stands for the gradient of the loss with respect to ``z``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minirnn import checks
from minirnn.core import Parameter
from minirnn.functions import sigmoid
from minirnn.initializers import glorot_uniform, orthogonal
from minirnn.layers.cell import Cell
from minirnn.typing import Array, RandomSource, State

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class _GatedCell(Cell):
    """What the three built-in cells share: sizes, parameters, and the check of their arguments."""

    gates: ClassVar[int] = 1
    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(self, input_size: int, hidden_size: int, rng: RandomSource, dtype: Any) -> None:
        self.input_size = checks.positive_int(self, "input_size", input_size)
        self.hidden_size = checks.positive_int(self, "hidden_size", hidden_size)
        dtype = checks.float_dtype(self, dtype)
        rng = checks.generator(self, rng)
        sizes = self.input_size, self.hidden_size
        self.Wx = Parameter(glorot_uniform(rng, *sizes, dtype, gates=self.gates))
        self.Wh = Parameter(orthogonal(rng, self.hidden_size, dtype, gates=self.gates))
        self.b = Parameter(np.zeros(self.gates * self.hidden_size, dtype), decay=False)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros ``(batch_size, hidden_size)`` for each array of the state."""
        shape = (batch_size, self.hidden_size)
        return tuple(np.zeros(shape, self.Wx.value.dtype) for _ in self.state_names)

    def _arguments(self, x_t: Any, state: State) -> tuple[Array, State]:
        dtype = self.Wx.value.dtype
        x_t = checks.step(self, x_t, self.input_size, dtype)
        if not isinstance(state, tuple | list) or len(state) != len(self.state_names):
            names = ", ".join(self.state_names)
            raise TypeError(
                f"{type(self).__name__}: the state should be a tuple ({names},) of "
                f"{len(self.state_names)} arrays, got {type(state).__name__}"
            )
        shape = (len(x_t), self.hidden_size)
        return x_t, tuple(
            checks.check_shape(self, array, shape, dtype, f"state {name} (batch, hidden)")
            for array, name in zip(state, self.state_names, strict=True)
        )

    def _gradients(self, grad_y: Any, grad_state: State, h: Array) -> tuple[Array, State]:
        grad_y = checks.check_shape(self, grad_y, h.shape, h.dtype, "the gradient on the output")
        return grad_y, tuple(
            checks.check_shape(self, array, h.shape, h.dtype, f"the gradient on state {name}")
            for array, name in zip(grad_state, self.state_names, strict=True)
        )


_ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    # name: the function, and its derivative written in terms of its value h
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "relu": (lambda z: np.maximum(z, 0), lambda h: (h > 0).astype(h.dtype)),
    "sigmoid": (sigmoid, lambda h: h * (1 - h)),
}


class RNNCell(_GatedCell):
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
        self.activation = checks.choice(self, "activation", activation, tuple(_ACTIVATIONS))
        super().__init__(input_size, hidden_size, rng, dtype)

    def forward(self, x_t: Any, state: State) -> tuple[Array, State, Any]:
        """Return ``h'``, the state ``(h',)`` and the cache."""
        x_t, (h,) = self._arguments(x_t, state)
        function, _ = _ACTIVATIONS[self.activation]
        h_next = function(x_t @ self.Wx.value + h @ self.Wh.value + self.b.value)
        return h_next, (h_next,), (x_t, h, h_next)

    def backward(self, grad_y: Any, grad_state: State, cache: Any) -> tuple[Array, State]:
        """Return the gradients on x and on the state ``(h,)``, both as in the class docstring."""
        x_t, h, h_next = cache
        grad_y, (grad_h,) = self._gradients(grad_y, grad_state, h)
        _, derivative = _ACTIVATIONS[self.activation]
        dz = (grad_y + grad_h) * derivative(h_next)
        self.Wx.grad += x_t.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        return dz @ self.Wx.value.T, (dz @ self.Wh.value.T,)


class LSTMCell(_GatedCell):
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

    gates = 4
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
        self.forget_bias = forget_bias
        self.b.value[self.hidden_size : 2 * self.hidden_size] = forget_bias

    def forward(self, x_t: Any, state: State) -> tuple[Array, State, Any]:
        """Return ``h'``, the state ``(h', c')`` and the cache."""
        x_t, (h, c) = self._arguments(x_t, state)
        z = x_t @ self.Wx.value + h @ self.Wh.value + self.b.value
        i, f, o = np.split(sigmoid(z[:, : 3 * self.hidden_size]), 3, axis=1)
        g = np.tanh(z[:, 3 * self.hidden_size :])
        c_next = f * c + i * g
        tanh_c = np.tanh(c_next)
        h_next = o * tanh_c
        return h_next, (h_next, c_next), (x_t, h, c, i, f, o, g, tanh_c)

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


class GRUCell(_GatedCell):
    """Gated recurrent unit, one step, in both published variants.

    The three gates stand side by side in the order r, z, n. With ``a = x Wx + b`` and
    ``u = h Wh``, each split in three::

        r = sigmoid(a_r + u_r)                       reset gate
        z = sigmoid(a_z + u_z)                       update gate
        n = tanh(a_n + r * (u_n + bn))               candidate, reset_after=True
        n = tanh(a_n + (r * h) Wh_n)                 candidate, reset_after=False
        h' = (1 - z) * n + z * h

    Backward, from ``dh'``; ``d_r``, ``d_z``, ``d_n`` are the gradients on the arguments of the
    three non-linearities::

        d_z = dh' * (h - n) * z (1 - z)
        d_n = dh' * (1 - z) * (1 - n^2)
        reset_after=True:   d_r = d_n * (u_n + bn) * r (1 - r)     du_n = d_n * r    dbn += du_n
        reset_after=False:  ds = d_n Wh_n^T, the gradient on s = r * h;  d_r = ds * h * r (1 - r)
        dh  = dh' * z + [d_r d_z] Wh_rz^T + (du_n Wh_n^T, or ds * r)

    Parameters
    ----------
    input_size, hidden_size : int
    reset_after : bool
        True: the reset gate acts after the product with Wh_n, as in PyTorch, cuDNN and Keras, and
        there is a bias `bn` inside it. False: it acts on the state before, as first published.
    rng : None, int or numpy.random.Generator
        For the initial weights: Glorot uniform Wx, orthogonal Wh, both per gate, zero biases.
    dtype : float32 or float64

    Attributes
    ----------
    Wx : Parameter (input, 3 * hidden)
    Wh : Parameter (hidden, 3 * hidden)
    b : Parameter (3 * hidden,)
    bn : Parameter (hidden,), only with reset_after=True

    Notes
    -----
    State ``(h,)``, output ``h'``. Cho et al., Learning phrase representations using RNN
    encoder-decoder, EMNLP 2014. PyTorch has two biases for r and z, which only ever act as their
    sum; here there is one.

    Examples
    --------
    >>> import numpy as np
    >>> cell = GRUCell(3, 4, rng=0)
    >>> y, state, cache = cell.forward(np.ones((2, 3)), cell.initial_state(2))
    >>> y.shape
    (2, 4)
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reset_after: bool = True,
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(input_size, hidden_size, rng, dtype)
        self.reset_after = checks.flag(self, "reset_after", reset_after)
        if self.reset_after:
            self.bn = Parameter(np.zeros(self.hidden_size, self.b.value.dtype), decay=False)

    def forward(self, x_t: Any, state: State) -> tuple[Array, State, Any]:
        """Return ``h'``, the state ``(h',)`` and the cache."""
        x_t, (h,) = self._arguments(x_t, state)
        rz, n_ = slice(None, 2 * self.hidden_size), slice(2 * self.hidden_size, None)
        a = x_t @ self.Wx.value + self.b.value
        if self.reset_after:
            u = h @ self.Wh.value
            r, z = np.split(sigmoid(a[:, rz] + u[:, rz]), 2, axis=1)
            inner = u[:, n_] + self.bn.value  # what the reset gate multiplies
            n = np.tanh(a[:, n_] + r * inner)
        else:
            r, z = np.split(sigmoid(a[:, rz] + h @ self.Wh.value[:, rz]), 2, axis=1)
            inner = h
            n = np.tanh(a[:, n_] + (r * inner) @ self.Wh.value[:, n_])
        h_next = (1 - z) * n + z * h
        return h_next, (h_next,), (x_t, h, r, z, n, inner)

    def backward(self, grad_y: Any, grad_state: State, cache: Any) -> tuple[Array, State]:
        """Return the gradients on x and on the state ``(h,)``, as in the class docstring."""
        x_t, h, r, z, n, inner = cache
        rz, n_ = slice(None, 2 * self.hidden_size), slice(2 * self.hidden_size, None)
        Wh, Wh_grad = self.Wh.value, self.Wh.grad
        grad_y, (grad_h,) = self._gradients(grad_y, grad_state, h)
        dh = grad_y + grad_h
        d_z = dh * (h - n) * z * (1 - z)
        d_n = dh * (1 - z) * (1 - n**2)
        if self.reset_after:
            du_n = d_n * r
            d_r = d_n * inner * r * (1 - r)
            Wh_grad[:, n_] += h.T @ du_n
            self.bn.grad += du_n.sum(axis=0)
            dh_candidate = du_n @ Wh[:, n_].T
        else:
            ds = d_n @ Wh[:, n_].T
            d_r = ds * inner * r * (1 - r)
            Wh_grad[:, n_] += (r * inner).T @ d_n
            dh_candidate = ds * r
        d_rz = np.concatenate([d_r, d_z], axis=1)
        da = np.concatenate([d_rz, d_n], axis=1)
        Wh_grad[:, rz] += h.T @ d_rz
        self.Wx.grad += x_t.T @ da
        self.b.grad += da.sum(axis=0)
        return da @ self.Wx.value.T, (dh * z + d_rz @ Wh[:, rz].T + dh_candidate,)
