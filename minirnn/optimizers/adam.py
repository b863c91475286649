"""Adam, and AMSGrad."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Unpack

import numpy as np

from minirnn import checks
from minirnn.core import Parameter
from minirnn.engine import current
from minirnn.optimizers.base import LearningRate, Optimizer, Options
from minirnn.optimizers.buffer import ParameterGroup, Slots
from minirnn.optimizers.rmsprop import divided
from minirnn.typing import Array

__all__ = ["Adam", "two_fractions"]


class Adam(Optimizer):
    """Adaptive moments: momentum divided by a running root mean square, both without bias.

    With ``t`` counted from 1::

        m = beta1 * m + (1 - beta1) * g             m_hat = m / (1 - beta1^t)
        v = beta2 * v + (1 - beta2) * g^2           v_hat = v / (1 - beta2^t)
        value -= learning_rate * m_hat / (sqrt(v_hat) + epsilon)

    With ``amsgrad=True``, ``v_hat`` is made of the largest ``v`` so far, so that the steps of an
    element never grow again::

        u = max(u, v)                               v_hat = u / (1 - beta2^t)

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2, added to the gradient. For the decoupled form take
        `AdamW`.
    betas : (float, float)
        Each in [0, 1).
    epsilon : float
    amsgrad : bool

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015. Reddi, Kale and Kumar, On
    the convergence of Adam and beyond, ICLR 2018.

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
        parameters: Iterable[Parameter | ParameterGroup],
        learning_rate: LearningRate,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self.betas = two_fractions(self, betas)
        self.epsilon = checks.positive_float(self, "epsilon", epsilon)
        self.amsgrad = checks.flag(self, "amsgrad", amsgrad)
        super().__init__(parameters, learning_rate, **options)

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slots are ``m / (1 - beta1)``, and ``v`` and ``u / (1 - beta2)``.

        The two factors go into the step size: that is two passes over the vectors less.
        """
        (beta1, beta2), t = self.betas, self.step_count + 1
        m, v, scratch = slots["m"], slots["v"], slots.scratch
        rate = learning_rate * (1 - beta1) / (1 - beta1**t)
        bias = (1 - beta2**t) / (1 - beta2)
        if current.native is not None and not self.amsgrad:  # the same, in one pass
            root = math.sqrt(bias)
            numbers = beta1, beta2, rate * root, self.epsilon * root, current.threads
            if current.native.adam(value, grad, m, v, *numbers):
                return
        m *= beta1
        m += grad
        v *= beta2
        v += np.multiply(grad, grad, out=scratch)
        if self.amsgrad:
            v = np.maximum(slots["u"], v, out=slots["u"])
        value -= divided(m, v, rate, bias, self.epsilon, scratch)


def two_fractions(owner: object, betas: object) -> tuple[float, float]:
    """Return two rates of decay, checked."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"{type(owner).__name__}: betas should be two numbers, got {betas!r}")
    first, second = (checks.fraction(owner, f"betas[{k}]", beta) for k, beta in enumerate(betas))
    return first, second
