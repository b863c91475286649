"""Adam with decoupled weight decay, and with Nesterov momentum."""

from __future__ import annotations

import math

import numpy as np

from minirnn import checks
from minirnn.optimizers.adam import Adam, two_fractions
from minirnn.optimizers.base import Optimizer
from minirnn.optimizers.buffer import Slots
from minirnn.optimizers.rmsprop import divided
from minirnn.settings import setting, settings
from minirnn.typing import Array


class AdamW(Adam):
    """Adam with decoupled weight decay.

    The decay acts on the value directly, not through the running mean squares::

        value *= 1 - learning_rate * weight_decay        then as Adam without weight decay

    Parameters
    ----------
    parameters, learning_rate, betas, epsilon, amsgrad, weight_decay, clip_norm, clip_value
        As in `Adam`; the default weight decay is 0, PyTorch's is 0.01.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = AdamW([w], learning_rate=0.1, weight_decay=0.5)
    >>> w.grad = [0.0]
    >>> optimizer.step()
    >>> w.value
    array([0.95], dtype=float32)
    """

    decoupled_weight_decay = True


@settings(kw_only=True)
class Nadam(Optimizer):
    """Adam with Nesterov momentum: the momentum of the next step is applied in this one.

    With ``t`` counted from 1, a momentum that warms up, and its product ``P``::

        mu_t = beta1 * (1 - 0.5 * 0.96^(t * momentum_decay))        P_t = mu_1 * ... * mu_t
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2                           v_hat = v / (1 - beta2^t)
        n = (1 - mu_t) / (1 - P_t) * g + mu_(t+1) / (1 - P_(t+1)) * m
        value -= learning_rate * n / (sqrt(v_hat) + epsilon)

    Parameters
    ----------
    parameters, learning_rate, weight_decay, clip_norm, clip_value
        As in `Optimizer`; weight decay is L2, added to the gradient.
    betas : (float, float)
        Each in [0, 1).
    epsilon : float
    momentum_decay : float
        How quickly the momentum warms up; 0 keeps it at half of ``beta1``.

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.

    Examples
    --------
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = Nadam([w], learning_rate=0.1)
    >>> w.grad = [2.0]
    >>> optimizer.step()
    >>> w.value.round(3)
    array([0.894], dtype=float32)
    """

    betas: tuple[float, float] = setting(two_fractions, default=(0.9, 0.999))
    epsilon: float = setting(checks.positive_float, default=1e-8)
    momentum_decay: float = setting(checks.positive_float, zero=True, default=4e-3)

    _product = 0, 1.0  # the latest step whose product is known, and the product

    def _momentum(self, t: int) -> float:
        return self.betas[0] * (1 - 0.5 * math.pow(0.96, t * self.momentum_decay))

    def _momentum_product(self, t: int) -> float:
        """Return ``P_t``, from that of an earlier step where it is known."""
        known, product = self._product if self._product[0] <= t else (0, 1.0)
        for k in range(known + 1, t + 1):
            product *= self._momentum(k)
        self._product = t, product
        return product

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slots are ``m`` and ``v / (1 - beta2)``."""
        (beta1, beta2), t = self.betas, self.step_count + 1
        m, v, scratch = slots["m"], slots["v"], slots.scratch
        m *= beta1
        m += np.multiply(grad, 1 - beta1, out=scratch)
        v *= beta2
        v += np.multiply(grad, grad, out=scratch)
        now, later = self._momentum(t), self._momentum(t + 1)
        product = self._momentum_product(t)
        ahead = m * (later / (1 - product * later))
        ahead += np.multiply(grad, (1 - now) / (1 - product), out=scratch)
        bias = (1 - beta2**t) / (1 - beta2)
        value -= divided(ahead, v, learning_rate, bias, self.epsilon, scratch)
