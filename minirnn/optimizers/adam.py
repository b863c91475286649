"""Adam, and AMSGrad."""

from __future__ import annotations

import math

import numpy as np

from minirnn import checks
from minirnn.engine import current
from minirnn.optimizers.base import Optimizer
from minirnn.optimizers.buffer import Slots
from minirnn.optimizers.rmsprop import divided
from minirnn.settings import setting, settings
from minirnn.typing import Array


def two_fractions(owner: object, name: str, pair: object) -> tuple[float, float]:
    """Return two rates of decay, checked."""
    pair = checks.tuple_of(pair, 2, f"{type(owner).__name__}: {name} should be two numbers")
    first, second = (checks.fraction(owner, f"{name}[{k}]", one) for k, one in enumerate(pair))
    return first, second


@settings(kw_only=True)
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
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = Adam([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value.round(6)
    array([0.9], dtype=float32)
    """

    betas: tuple[float, float] = setting(two_fractions, default=(0.9, 0.999))
    epsilon: float = setting(checks.positive_float, default=1e-8)
    amsgrad: bool = setting(checks.flag, default=False)

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
