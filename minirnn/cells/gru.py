"""One time step of the gated recurrent unit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.cells.builtin import BuiltinCell
from minirnn.core import Parameter
from minirnn.functions import sigmoid
from minirnn.typing import Array, RandomSource, State


class GRUCache(NamedTuple):
    """What backward needs of one step: the input, the state before, and what was made of them."""

    x_t: Array
    h: Array
    r: Array
    z: Array
    n: Array
    inner: Array
    """What the reset gate multiplies: ``u_n + bn``, or h with ``reset_after=False``."""


class GRUCell(BuiltinCell):
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

    blocks = 3
    gates = {  # noqa: RUF012
        "r": (0, 1, "reset gate: what the candidate sees"),
        "z": (0, 1, "update gate: what is kept"),
        "n": (-1, 1, "candidate"),
    }

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
        return h_next, (h_next,), GRUCache(x_t, h, r, z, n, inner)

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
