"""Times of several contestants, measured in turns."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any

__all__ = ["QUICK", "Settings", "ratio", "spread", "take_turns"]

Clock = Callable[[], float]


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes
    ----------
    rounds : int
        How often each contestant has its turn.
    seconds : float
        A turn repeats a short call until about so much time is over, so that neither the clock nor
        one interruption decides.
    rest : float
        Seconds without work before each turn, then half as long of calls that do not count. With
        several threads it has to be: those of OpenMP and OpenBLAS wait for more work for some
        tenths of a second, each with a processor to itself, which would be missing in the turn
        after theirs; and after a rest the system takes a while to spread threads over processors.
    """

    rounds: int = 15
    seconds: float = 0.02
    rest: float = 0.0


QUICK = Settings(rounds=3, seconds=0.0005)


def take_turns(
    contestants: Mapping[str, Callable[[], Any]],
    settings: Settings,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of one call of each contestant, once per round.

    A round is A, B, C; then comes the next: what slows the machine down for a while slows all of
    them. Before the first round each one is called to warm up, and once more to see how many calls
    make a turn. The garbage collector is off meanwhile.

    Parameters
    ----------
    contestants : mapping from names to functions without arguments
    settings : Settings
    clock : callable
        Seconds from any beginning.

    Returns
    -------
    dict
        From each name to `settings.rounds` times.
    """
    counts = {}
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    with _no_garbage_collection():
        for name, call in contestants.items():
            _time(call, 2, clock)
            once = _time(call, 1, clock)
            counts[name] = max(1, min(10_000, round(settings.seconds / max(once, 1e-9))))
        for _ in range(settings.rounds):
            for name, call in contestants.items():
                if settings.rest:
                    time.sleep(settings.rest)
                    until = clock() + settings.rest / 2
                    while clock() < until:
                        call()
                samples[name].append(_time(call, counts[name], clock))
    return samples


def _time(call: Callable[[], Any], count: int, clock: Clock) -> float:
    start = clock()
    for _ in repeat(None, count):
        call()
    return (clock() - start) / count


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect(1)  # what is young; all of it takes 0.1 s once PyTorch is loaded
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def ratio(above: list[float], below: list[float]) -> list[float]:
    """Return the ratio of two contestants' times, round by round.

    Both times of a round were taken one right after the other, so their ratio is steadier than the
    times themselves on a machine that does other things too.
    """
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(samples: list[float]) -> dict[str, Any]:
    """Return ``{"median": ..., "quartiles": [lower, upper]}``."""
    if len(samples) == 1:
        return {"median": samples[0], "quartiles": [samples[0], samples[0]]}
    lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
    return {"median": median, "quartiles": [lower, upper]}
