"""Stochastic gradient descent."""

from __future__ import annotations

import numpy as np

from minirnn import checks
from minirnn.optimizers.base import Optimizer
from minirnn.optimizers.buffer import Slots
from minirnn.settings import setting, settings
from minirnn.typing import Array


@settings(kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with or without momentum.

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
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = SGD([w], learning_rate=0.5)
    >>> w.grad = [1.0]
    >>> optimizer.step()
    >>> w.value
    array([0.5], dtype=float32)
    """

    momentum: float = setting(checks.fraction, default=0.0)
    nesterov: bool = setting(checks.flag, default=False)

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0")
        super().__post_init__()

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
