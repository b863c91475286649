"""The well-known optimizers, each one update rule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minirnn import checks
from minirnn.core import Parameter
from minirnn.optimizers.base import LearningRate, Optimizer, Slots
from minirnn.typing import Array

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSProp"]


def _divided(
    vector: Array, squares: Array, rate: float, bias: float, epsilon: float, out: Array
) -> Array:
    """Return ``rate * vector / (sqrt(squares / bias) + epsilon)``, written to `out`.

    Both sides of the fraction times ``sqrt(bias)``: that is one pass over the vector less.
    """
    root = math.sqrt(bias)
    np.sqrt(squares, out=out)
    out += epsilon * root
    np.divide(vector, out, out=out)
    out *= rate * root
    return out


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if you like.

    ::

        v = momentum * v + g
        value -= learning_rate * v                       or, with Nesterov's look ahead,
        value -= learning_rate * (g + momentum * v)

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2, added to the gradient.
    momentum : float
        In [0, 1).
    nesterov : bool
        Needs a momentum above 0. Sutskever et al., On the importance of initialization and momentum
        in deep learning, ICML 2013.

    Examples
    --------
    >>> w = Parameter([1.0])
    >>> optimizer = SGD([w], learning_rate=0.5)
    >>> w.grad = [1.0]
    >>> optimizer.step()
    >>> w.value
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.momentum = checks.fraction(self, "momentum", momentum)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0")
        super().__init__(
            parameters,
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
        )

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slot is ``v``."""
        scratch = slots.scratch
        if self.momentum:
            v = slots["v"]
            v *= self.momentum
            v += grad
            if self.nesterov:
                np.multiply(v, self.momentum, out=scratch)
                scratch += grad
                grad = scratch
            else:
                grad = v
        value -= np.multiply(grad, learning_rate, out=scratch)


class RMSProp(Optimizer):
    """Steps divided by a running root mean square of the gradient.

    ::

        s = rho * s + (1 - rho) * g^2
        value -= learning_rate * g / (sqrt(s) + epsilon)

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2.
    rho : float
        In [0, 1). PyTorch's default is 0.99.
    epsilon : float

    References
    ----------
    Tieleman and Hinton, Lecture 6.5 of Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> w = Parameter([1.0])
    >>> optimizer = RMSProp([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value.round(3)
    array([0.684], dtype=float32)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        rho: float = 0.9,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.rho = checks.fraction(self, "rho", rho)
        self.epsilon = checks.positive_float(self, "epsilon", epsilon)
        super().__init__(
            parameters,
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
        )

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slot is ``s``."""
        s, scratch = slots["s"], slots.scratch
        np.multiply(grad, grad, out=scratch)
        scratch *= 1 - self.rho
        s *= self.rho
        s += scratch
        value -= _divided(grad, s, learning_rate, 1.0, self.epsilon, scratch)


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
    >>> w = Parameter([1.0])
    >>> optimizer = Adagrad([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value
    array([0.9], dtype=float32)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.epsilon = checks.positive_float(self, "epsilon", epsilon)
        super().__init__(
            parameters,
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
        )

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slot is ``s``."""
        s, scratch = slots["s"], slots.scratch
        s += np.multiply(grad, grad, out=scratch)
        value -= _divided(grad, s, learning_rate, 1.0, self.epsilon, scratch)


class Adam(Optimizer):
    """Adaptive moments: momentum divided by a running root mean square, both without bias.

    With ``t`` counted from 1::

        m = beta1 * m + (1 - beta1) * g             m_hat = m / (1 - beta1^t)
        v = beta2 * v + (1 - beta2) * g^2           v_hat = v / (1 - beta2^t)
        value -= learning_rate * m_hat / (sqrt(v_hat) + epsilon)

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2, added to the gradient. For the decoupled form take
        `AdamW`.
    betas : (float, float)
        Each in [0, 1).
    epsilon : float

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> w = Parameter([1.0])
    >>> optimizer = Adam([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value.round(6)
    array([0.9], dtype=float32)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: LearningRate,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"{type(self).__name__}: betas should be two numbers, got {betas!r}")
        self.betas = (
            checks.fraction(self, "betas[0]", betas[0]),
            checks.fraction(self, "betas[1]", betas[1]),
        )
        self.epsilon = checks.positive_float(self, "epsilon", epsilon)
        super().__init__(
            parameters,
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
        )

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slots are ``m / (1 - beta1)`` and ``v / (1 - beta2)``.

        The two factors go into the step size: that is two passes over the vectors less.
        """
        (beta1, beta2), t = self.betas, self.step_count + 1
        m, v, scratch = slots["m"], slots["v"], slots.scratch
        m *= beta1
        m += grad
        v *= beta2
        v += np.multiply(grad, grad, out=scratch)
        rate = learning_rate * (1 - beta1) / (1 - beta1**t)
        bias = (1 - beta2**t) / (1 - beta2)
        value -= _divided(m, v, rate, bias, self.epsilon, scratch)


class AdamW(Adam):
    """Adam with decoupled weight decay.

    The value shrinks by itself, untouched by the running root mean square::

        value *= 1 - learning_rate * weight_decay        then as Adam without weight decay

    Parameters
    ----------
    parameters, learning_rate, betas, epsilon, weight_decay, clip_norm, clip_value
        As in `Adam`; the default weight decay is 0, PyTorch's is 0.01.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> w = Parameter([1.0])
    >>> optimizer = AdamW([w], learning_rate=0.1, weight_decay=0.5)
    >>> w.grad = [0.0]
    >>> optimizer.step()
    >>> w.value
    array([0.95], dtype=float32)
    """

    decoupled_weight_decay = True
