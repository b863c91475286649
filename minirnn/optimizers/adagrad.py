"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import numpy as np

from minirnn import checks
from minirnn.core import Parameter
from minirnn.optimizers.base import LearningRate, Optimizer, Options
from minirnn.optimizers.buffer import ParameterGroup, Slots
from minirnn.optimizers.quotient import divided
from minirnn.typing import Array

__all__ = ["Adagrad"]


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
        parameters: Iterable[Parameter | ParameterGroup],
        learning_rate: LearningRate,
        *,
        epsilon: float = 1e-10,
        **options: Unpack[Options],
    ) -> None:
        self.epsilon = checks.positive_float(self, "epsilon", epsilon)
        super().__init__(parameters, learning_rate, **options)

    def update(self, value: Array, grad: Array, learning_rate: float, slots: Slots) -> None:
        """Take one step; the slot is ``s``."""
        s, scratch = slots["s"], slots.scratch
        s += np.multiply(grad, grad, out=scratch)
        value -= divided(grad, s, learning_rate, 1.0, self.epsilon, scratch)
