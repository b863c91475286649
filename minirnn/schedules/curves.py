"""Schedules that are one formula each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from minirnn import checks

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "StepDecay",
    "WarmRestarts",
]


@dataclass(frozen=True)
class Constant:
    """The same rate at every step: ``rate``.

    Examples
    --------
    >>> Constant(0.1)(1000)
    0.1
    """

    rate: float

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rate


@dataclass(frozen=True)
class StepDecay:
    """A stair: ``rate * factor ** floor(step / every)``.

    Examples
    --------
    >>> schedule = StepDecay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(25)
    (1.0, 0.5, 0.25)
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)
        checks.positive_int(self, "every", self.every)
        checks.positive_float(self, "factor", self.factor)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rate * math.pow(self.factor, step // self.every)


@dataclass(frozen=True)
class Exponential:
    """A smooth decay: ``rate * factor ** (step / steps)``, by `factor` in every `steps` steps.

    Examples
    --------
    >>> schedule = Exponential(1.0, steps=10, factor=0.5)
    >>> schedule(0), round(schedule(5), 4), schedule(10)
    (1.0, 0.7071, 0.5)
    """

    rate: float
    steps: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)
        checks.positive_int(self, "steps", self.steps)
        checks.positive_float(self, "factor", self.factor)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rate * math.pow(self.factor, step / self.steps)


@dataclass(frozen=True)
class Cosine:
    """Half a wave of a cosine, from `rate` down to `final`, which then stays.

    ``final + (rate - final) * (1 + cos(pi * min(step / steps, 1))) / 2``

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, without
    the restarts.

    Examples
    --------
    >>> schedule = Cosine(1.0, steps=10, final=0.1)
    >>> schedule(0), round(schedule(5), 4), round(schedule(10), 4), round(schedule(99), 4)
    (1.0, 0.55, 0.1, 0.1)
    """

    rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)
        checks.positive_int(self, "steps", self.steps)
        checks.positive_float(self, "final", self.final, zero=True)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        wave = (1 + math.cos(math.pi * min(step / self.steps, 1.0))) / 2
        return self.final + (self.rate - self.final) * wave


@dataclass(frozen=True)
class OneCycle:
    """Up along half a cosine wave to `rate`, then down along another, almost to nothing.

    With ``up = warm * steps`` the number of steps of the way up, ``low = rate / divide`` the first
    rate and ``final`` the last::

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

    rate: float
    steps: int
    warm: float = 0.3
    divide: float = 25.0
    final: float = 0.0

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)
        checks.positive_int(self, "steps", self.steps)
        checks.share(self, "warm", self.warm)
        checks.positive_float(self, "divide", self.divide)
        checks.positive_float(self, "final", self.final, zero=True)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        up = self.warm * self.steps
        low = self.rate / self.divide
        if step < up:
            return low + (self.rate - low) * (1 - math.cos(math.pi * step / up)) / 2
        share = min((step - up) / (self.steps - up), 1.0)
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Polynomial:
    """A power of what is left, from `rate` down to `final`, which then stays; a line at power 1.

    ``final + (rate - final) * (1 - min(step / steps, 1)) ** power``

    Examples
    --------
    >>> schedule = Polynomial(1.0, steps=10, power=2.0)
    >>> schedule(0), schedule(5), schedule(10), schedule(99)
    (1.0, 0.25, 0.0, 0.0)
    """

    rate: float
    steps: int
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)
        checks.positive_int(self, "steps", self.steps)
        checks.positive_float(self, "power", self.power)
        checks.positive_float(self, "final", self.final, zero=True)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        left = 1 - min(step / self.steps, 1.0)
        return self.final + (self.rate - self.final) * math.pow(left, self.power)


@dataclass(frozen=True)
class Piecewise:
    """One rate after the other: ``rates[k]`` from step ``boundaries[k - 1]`` on.

    Examples
    --------
    >>> schedule = Piecewise([0.1, 0.01, 0.001], boundaries=[10, 30])
    >>> schedule(9), schedule(10), schedule(29), schedule(30)
    (0.1, 0.01, 0.01, 0.001)
    """

    rates: Sequence[float]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        for k, rate in enumerate(self.rates):
            checks.positive_float(self, f"rates[{k}]", rate, zero=True)
        check_boundaries(self, self.boundaries, len(self.rates), "rates")

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rates[sum(step >= boundary for boundary in self.boundaries)]


@dataclass(frozen=True)
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

    rate: float
    steps: int
    growth: int = 1
    final: float = 0.0

    def __post_init__(self) -> None:
        checks.positive_float(self, "rate", self.rate)
        checks.positive_int(self, "steps", self.steps)
        checks.positive_int(self, "growth", self.growth)
        checks.positive_float(self, "final", self.final, zero=True)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        since, length = step, self.steps
        if self.growth == 1:
            since = step % length
        while since >= length:
            since -= length
            length *= self.growth
        wave = (1 + math.cos(math.pi * since / length)) / 2
        return self.final + (self.rate - self.final) * wave


def check_boundaries(owner: object, boundaries: Sequence[int], pieces: int, what: str) -> None:
    """Raise unless there is one boundary less than there are pieces, each above the one before."""
    name = checks.name_of(owner)
    if len(boundaries) != pieces - 1:
        raise ValueError(
            f"{name}: there should be one boundary less than {what}, got {len(boundaries)} "
            f"boundaries and {pieces} {what}"
        )
    for k, boundary in enumerate(boundaries):
        checks.positive_int(owner, f"boundaries[{k}]", boundary)
    if any(later <= earlier for earlier, later in pairwise(boundaries)):
        raise ValueError(f"{name}: boundaries should rise, got {list(boundaries)}")
