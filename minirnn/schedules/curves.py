"""Schedules that are one formula each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.settings import setting, settings


@settings(frozen=True)
class Constant:
    """The same rate at every step: ``rate``.

    Examples
    --------
    >>> Constant(0.1)(1000)
    0.1
    """

    rate: float = setting(checks.positive_float)

    def __call__(self, step: int) -> float:
        return self.rate


@settings(frozen=True)
class StepDecay:
    """A staircase: ``rate * factor ** floor(step / every)``.

    Examples
    --------
    >>> schedule = StepDecay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(25)
    (1.0, 0.5, 0.25)
    """

    rate: float = setting(checks.positive_float)
    every: int = setting(checks.positive_int)
    factor: float = setting(checks.positive_float, default=0.1)

    def __call__(self, step: int) -> float:
        return self.rate * math.pow(self.factor, step // self.every)


@settings(frozen=True)
class Exponential:
    """A smooth decay: ``rate * factor ** (step / steps)``, by `factor` in every `steps` steps.

    Examples
    --------
    >>> schedule = Exponential(1.0, steps=10, factor=0.5)
    >>> schedule(0), round(schedule(5), 4), schedule(10)
    (1.0, 0.7071, 0.5)
    """

    rate: float = setting(checks.positive_float)
    steps: int = setting(checks.positive_int)
    factor: float = setting(checks.positive_float, default=0.1)

    def __call__(self, step: int) -> float:
        return self.rate * math.pow(self.factor, step / self.steps)


@settings(frozen=True)
class Polynomial:
    """From `rate` to `final` by a power of the steps left, then constant; a line at power 1.

    ``final + (rate - final) * (1 - min(step / steps, 1)) ** power``

    Examples
    --------
    >>> schedule = Polynomial(1.0, steps=10, power=2.0)
    >>> schedule(0), schedule(5), schedule(10), schedule(99)
    (1.0, 0.25, 0.0, 0.0)
    """

    rate: float = setting(checks.positive_float)
    steps: int = setting(checks.positive_int)
    power: float = setting(checks.positive_float, default=1.0)
    final: float = setting(checks.positive_float, zero=True, default=0.0)

    def __call__(self, step: int) -> float:
        left = 1 - min(step / self.steps, 1.0)
        return self.final + (self.rate - self.final) * math.pow(left, self.power)


def listed(owner: object, name: str, given: Any) -> Any:
    """Return a list of numbers, or an array, if it is one."""
    if np.ndim(given) != 1:
        raise TypeError(f"{checks.name_of(owner)}: {name} should be a list, got {given!r}")
    return given


def _rates(owner: object, name: str, rates: Sequence[float]) -> Sequence[float]:
    for k, rate in enumerate(listed(owner, name, rates)):
        checks.positive_float(owner, f"{name}[{k}]", rate, zero=True)
    return rates


@settings(frozen=True)
class Piecewise:
    """One rate after the other: ``rates[k]`` from step ``boundaries[k - 1]`` on.

    Examples
    --------
    >>> schedule = Piecewise([0.1, 0.01, 0.001], boundaries=[10, 30])
    >>> schedule(9), schedule(10), schedule(29), schedule(30)
    (0.1, 0.01, 0.01, 0.001)
    """

    rates: Sequence[float] = setting(_rates)
    boundaries: Sequence[int] = setting(listed)

    def __post_init__(self) -> None:
        check_boundaries(self, self.boundaries, len(self.rates), "rates")

    def __call__(self, step: int) -> float:
        return self.rates[sum(step >= boundary for boundary in self.boundaries)]


def check_boundaries(owner: object, boundaries: Sequence[int], pieces: int, what: str) -> None:
    """Raise unless there is one boundary fewer than pieces, each above the one before."""
    name = checks.name_of(owner)
    if len(boundaries) != pieces - 1:
        raise ValueError(
            f"{name}: there should be one boundary fewer than {what}, got {len(boundaries)} "
            f"boundaries and {pieces} {what}"
        )
    for k, boundary in enumerate(boundaries):
        checks.positive_int(owner, f"boundaries[{k}]", boundary)
    if any(later <= earlier for earlier, later in pairwise(boundaries)):
        raise ValueError(f"{name}: boundaries should increase, got {list(boundaries)}")
