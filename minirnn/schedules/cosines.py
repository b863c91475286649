"""Schedules that follow half waves of a cosine."""

from __future__ import annotations

import math

from minirnn import checks
from minirnn.settings import setting, settings


@settings(frozen=True)
class Cosine:
    """Half a cosine wave from `rate` down to `final`, then constant.

    ``final + (rate - final) * (1 + cos(pi * min(step / steps, 1))) / 2``

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, without
    the restarts.

    Examples
    --------
    >>> schedule = Cosine(1.0, steps=10, final=0.1)
    >>> schedule(0), round(schedule(5), 4), round(schedule(10), 4), round(schedule(99), 4)
    (1.0, 0.55, 0.1, 0.1)
    """

    rate: float = setting(checks.positive_float)
    steps: int = setting(checks.positive_int)
    final: float = setting(checks.positive_float, zero=True, default=0.0)

    def __call__(self, step: int) -> float:
        return _half_wave(self.rate, self.final, min(step / self.steps, 1.0))


@settings(frozen=True)
class OneCycle:
    """Up along half a cosine wave to `rate`, then down along another to `final`.

    With ``up = warm * steps`` steps of warm-up, the first rate ``low = rate / divide`` and the last
    rate ``final``::

        low  + (rate - low)   * (1 - cos(pi * step / up)) / 2                        step < up
        final + (rate - final) * (1 + cos(pi * (step - up) / (steps - up))) / 2      then

    and `final` from `steps` on. Smith and Topin, Super-convergence, 2018; the waves as in PyTorch,
    where the peak and the end come one step earlier.

    Examples
    --------
    >>> schedule = OneCycle(1.0, steps=10, warm=0.5, divide=10)
    >>> [round(schedule(step), 3) for step in (0, 5, 10)]
    [0.1, 1.0, 0.0]
    """

    rate: float = setting(checks.positive_float)
    steps: int = setting(checks.positive_int)
    warm: float = setting(checks.fraction, zero=False, default=0.3)
    divide: float = setting(checks.positive_float, default=25.0)
    final: float = setting(checks.positive_float, zero=True, default=0.0)

    def __call__(self, step: int) -> float:
        up = self.warm * self.steps
        if step < up:
            return _half_wave(self.rate / self.divide, self.rate, step / up)
        return _half_wave(self.rate, self.final, min((step - up) / (self.steps - up), 1.0))


@settings(frozen=True)
class WarmRestarts:
    """`Cosine` again and again, each time `growth` times as long.

    With ``t`` steps since the latest restart and ``n`` steps from it to the next::

        final + (rate - final) * (1 + cos(pi * t / n)) / 2

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Parameters
    ----------
    rate : float
    steps : int
        Of the first cycle.
    growth : int
        Of the cycles' length.
    final : float

    Examples
    --------
    >>> schedule = WarmRestarts(1.0, steps=10, growth=2)
    >>> [round(schedule(step), 2) for step in (0, 5, 9, 10, 20, 29, 30)]
    [1.0, 0.5, 0.02, 1.0, 0.5, 0.01, 1.0]
    """

    rate: float = setting(checks.positive_float)
    steps: int = setting(checks.positive_int)
    growth: int = setting(checks.positive_int, default=1)
    final: float = setting(checks.positive_float, zero=True, default=0.0)

    def __call__(self, step: int) -> float:
        since, length = step, self.steps
        if self.growth == 1:
            since = step % length
        while since >= length:
            since -= length
            length *= self.growth
        return _half_wave(self.rate, self.final, since / length)


def _half_wave(first: float, last: float, share: float) -> float:
    """Return the rate after this share of the way from `first` to `last`; exact at both ends."""
    left = (1 + math.cos(math.pi * share)) / 2
    return first * left + last * (1 - left)
