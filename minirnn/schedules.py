"""Learning rates that change: callables from the step number, 0 at the first update.

Any callable will do as a `learning_rate`; these are the usual ones. Each is given to an optimizer
in place of a number: ``Adam(parameters, Cosine(3e-3, steps=1000))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from minirnn import checks

__all__ = ["Constant", "Cosine", "Exponential", "OneCycle", "StepDecay", "Warmup"]


class _Checked:
    """Fields named rate are above 0, those named steps or every at least 1, others at least 0."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name in ("steps", "every"):
                checks.positive_int(self, field.name, value)
            elif field.name != "schedule":
                checks.positive_float(self, field.name, value, zero=field.name == "final")


@dataclass(frozen=True)
class Constant(_Checked):
    """The same rate at every step: ``rate``.

    Examples
    --------
    >>> Constant(0.1)(1000)
    0.1
    """

    rate: float

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rate


@dataclass(frozen=True)
class StepDecay(_Checked):
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

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rate * math.pow(self.factor, step // self.every)


@dataclass(frozen=True)
class Exponential(_Checked):
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

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        return self.rate * math.pow(self.factor, step / self.steps)


@dataclass(frozen=True)
class Cosine(_Checked):
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

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        wave = (1 + math.cos(math.pi * min(step / self.steps, 1.0))) / 2
        return self.final + (self.rate - self.final) * wave


@dataclass(frozen=True)
class Warmup(_Checked):
    """A straight line up to the first rate of another schedule, which then takes over.

    ``schedule(0) * (step + 1) / (steps + 1)`` while ``step < steps``; ``schedule(step - steps)``
    from then on.

    The line begins above 0, so that the first update is not lost, and reaches ``schedule(0)`` just
    when that begins.

    Examples
    --------
    >>> schedule = Warmup(Cosine(1.0, steps=10), steps=4)
    >>> [round(schedule(step), 2) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 0.98]
    """

    schedule: Callable[[int], float]
    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.schedule):
            raise TypeError(
                f"Warmup: schedule should be a schedule such as Constant(0.1), got "
                f"{type(self.schedule).__name__}"
            )

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        if step < self.steps:
            return self.schedule(0) * (step + 1) / (self.steps + 1)
        return self.schedule(step - self.steps)


@dataclass(frozen=True)
class OneCycle(_Checked):
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
        super().__post_init__()
        if not 0 < self.warm < 1:
            raise ValueError(f"OneCycle: warm should be between 0 and 1, got {self.warm:g}")

    def __call__(self, step: int) -> float:
        """Return the rate of a step."""
        up = self.warm * self.steps
        low = self.rate / self.divide
        if step < up:
            return low + (self.rate - low) * (1 - math.cos(math.pi * step / up)) / 2
        share = min((step - up) / (self.steps - up), 1.0)
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * share)) / 2
