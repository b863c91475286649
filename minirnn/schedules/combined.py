"""Schedules composed of other schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from minirnn import checks
from minirnn.schedules.curves import check_boundaries, listed
from minirnn.settings import setting, settings

Schedule: TypeAlias = Callable[[int], float]


def _schedule(owner: object, name: str, schedule: Any) -> Schedule:
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(
            f"{checks.name_of(owner)}: schedule should be a schedule such as Constant(0.1), got "
            f"{schedule!r}"
        )
    checked: Schedule = schedule
    return checked


def _schedules(owner: object, name: str, schedules: Any) -> Sequence[Schedule]:
    if not isinstance(schedules, list | tuple) or not schedules:
        raise TypeError(
            f"{checks.name_of(owner)}: schedules should be a list of schedules, got "
            f"{type(schedules).__name__}"
        )
    return [_schedule(owner, name, schedule) for schedule in schedules]


@settings(frozen=True)
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

    schedule: Schedule = setting(_schedule)
    steps: int = setting(checks.positive_int)

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.schedule(0) * (step + 1) / (self.steps + 1)
        return self.schedule(step - self.steps)


@settings(frozen=True)
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

    schedules: Sequence[Schedule] = setting(_schedules)
    boundaries: Sequence[int] = setting(listed)

    def __post_init__(self) -> None:
        check_boundaries(self, self.boundaries, len(self.schedules), "schedules")

    def __call__(self, step: int) -> float:
        k = sum(step >= boundary for boundary in self.boundaries)
        return self.schedules[k](step - (self.boundaries[k - 1] if k else 0))


@settings(frozen=True)
class Product:
    """The product of several schedules.

    Examples
    --------
    >>> from minirnn.schedules import Exponential, WarmRestarts
    >>> schedule = Product([WarmRestarts(0.1, steps=10), Exponential(1.0, steps=10, factor=0.5)])
    >>> schedule(0), schedule(10), schedule(20)      # restarts that get lower
    (0.1, 0.05, 0.025)
    """

    schedules: Sequence[Schedule] = setting(_schedules)

    def __call__(self, step: int) -> float:
        return math.prod(schedule(step) for schedule in self.schedules)
