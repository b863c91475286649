"""Schedules composed of other schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from minirnn import checks
from minirnn.reprs import as_call
from minirnn.schedules.curves import check_boundaries

__all__ = ["Join", "Product", "Warmup"]

Schedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class Warmup:
    """A straight line up to the first rate of another schedule, which then takes over.

    ``schedule(0) * (step + 1) / (steps + 1)`` while ``step < steps``; ``schedule(step - steps)``
    from then on.

    The line begins above 0, so that the first update counts, and would reach ``schedule(0)`` at the
    step where that schedule begins.

    Examples
    --------
    >>> from minirnn.schedules import Cosine
    >>> schedule = Warmup(Cosine(1.0, steps=10), steps=4)
    >>> [round(schedule(step), 2) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 0.98]
    """

    schedule: Schedule
    steps: int

    __repr__ = as_call

    def __post_init__(self) -> None:
        _check_schedules(self, [self.schedule])
        checks.positive_int(self, "steps", self.steps)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        if step < self.steps:
            return self.schedule(0) * (step + 1) / (self.steps + 1)
        return self.schedule(step - self.steps)


@dataclass(frozen=True)
class Join:
    """One schedule after the other, each from its own step 0 on.

    ``schedules[k](step - boundaries[k - 1])`` from step ``boundaries[k - 1]`` on.

    Examples
    --------
    >>> from minirnn.schedules import Constant, Polynomial
    >>> schedule = Join([Constant(1.0), Polynomial(1.0, steps=10)], boundaries=[5])
    >>> schedule(4), schedule(5), schedule(10), schedule(15)
    (1.0, 1.0, 0.5, 0.0)
    """

    schedules: Sequence[Schedule]
    boundaries: Sequence[int]

    __repr__ = as_call

    def __post_init__(self) -> None:
        _check_schedules(self, self.schedules)
        check_boundaries(self, self.boundaries, len(self.schedules), "schedules")

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        k = sum(step >= boundary for boundary in self.boundaries)
        return self.schedules[k](step - (self.boundaries[k - 1] if k else 0))


@dataclass(frozen=True)
class Product:
    """The product of several schedules.

    Examples
    --------
    >>> from minirnn.schedules import Exponential, WarmRestarts
    >>> schedule = Product([WarmRestarts(0.1, steps=10), Exponential(1.0, steps=10, factor=0.5)])
    >>> schedule(0), schedule(10), schedule(20)      # restarts that get lower
    (0.1, 0.05, 0.025)
    """

    schedules: Sequence[Schedule]

    __repr__ = as_call

    def __post_init__(self) -> None:
        _check_schedules(self, self.schedules)

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return math.prod(schedule(step) for schedule in self.schedules)


def _check_schedules(owner: object, schedules: object) -> None:
    name = checks.name_of(owner)
    if not isinstance(schedules, list | tuple) or not schedules:
        raise TypeError(
            f"{name}: schedules should be a list of schedules, got {type(schedules).__name__}"
        )
    for schedule in schedules:
        if isinstance(schedule, type) or not callable(schedule):
            raise TypeError(
                f"{name}: schedule should be a schedule such as Constant(0.1), got "
                f"{schedule.__name__ if isinstance(schedule, type) else type(schedule).__name__}"
            )
