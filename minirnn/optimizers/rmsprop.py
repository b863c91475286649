"""Adagrad and RMSProp: steps divided by the root of squared gradients."""

from __future__ import annotations

import math

import numpy as np

from minirnn import checks
from minirnn.optimizers.base import Optimizer
from minirnn.optimizers.buffer import Slots
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings(kw_only=True)
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients so far.

    ::

        s = s + g^2
        value -= learning_rate * g / (sqrt(s) + epsilon)

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2.
    epsilon : float

    References
    ----------
    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, JMLR 2011.

    Examples
    --------
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = Adagrad([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value
    array([0.9], dtype=float32)
    """

    epsilon: float = setting(checks.positive_float, default=1e-10)

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slot is ``s``."""
        s, scratch = slots["s"], slots.scratch
        s += np.multiply(grad, grad, out=scratch)
        value -= divided(grad, s, learning_rate, 1.0, self.epsilon, scratch)


@settings(kw_only=True)
class RMSProp(Optimizer):
    """Steps divided by a running root mean square of the gradient.

    ::

        s = rho * s + (1 - rho) * g^2
        d = g / (sqrt(s) + epsilon)
        value -= learning_rate * d

    With ``centered=True`` the running mean ``a`` of the gradient is subtracted, so that the root
    is that of an estimated variance; with a momentum, steps accumulate::

        a = rho * a + (1 - rho) * g                 d = g / (sqrt(s - a^2) + epsilon)
        v = momentum * v + d                        value -= learning_rate * v

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2.
    rho : float
        In [0, 1). PyTorch's default is 0.99.
    epsilon : float
    momentum : float
        In [0, 1).
    centered : bool

    References
    ----------
    Tieleman and Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012; centered and
    with momentum in Graves, Generating sequences with recurrent neural networks, 2013.

    Examples
    --------
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = RMSProp([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value.round(3)
    array([0.684], dtype=float32)
    """

    rho: float = setting(checks.fraction, default=0.9)
    epsilon: float = setting(checks.positive_float, default=1e-8)
    momentum: float = setting(checks.fraction, default=0.0)
    centered: bool = setting(checks.flag, default=False)

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slots are ``s``, and ``a`` and ``v`` where they are needed."""
        s, scratch = slots["s"], slots.scratch
        np.multiply(grad, grad, out=scratch)
        scratch *= 1 - self.rho
        s *= self.rho
        s += scratch
        squares = s
        if self.centered:
            a = slots["a"]
            a *= self.rho
            a += np.multiply(grad, 1 - self.rho, out=scratch)
            np.multiply(a, a, out=scratch)
            np.subtract(s, scratch, out=scratch)
            squares = np.maximum(scratch, 0, out=scratch)  # rounding may take it below
        if not self.momentum:
            value -= divided(grad, squares, learning_rate, 1.0, self.epsilon, scratch)
            return
        v = slots["v"]
        v *= self.momentum
        v += divided(grad, squares, 1.0, 1.0, self.epsilon, scratch)
        value -= np.multiply(v, learning_rate, out=scratch)


def divided(
    vector: Array, squares: Array, rate: float, bias: float, epsilon: float, out: Array
) -> Array:
    """Return ``rate * vector / (sqrt(squares / bias) + epsilon)``, written to `out`.

    Computed with both sides of the fraction multiplied by ``sqrt(bias)``, which saves a pass.
    """
    root = math.sqrt(bias)
    np.sqrt(squares, out=out)
    out += epsilon * root
    np.divide(vector, out, out=out)
    out *= rate * root
    return out
