"""Checks of arguments that have a smallest and a largest value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["bounded", "two_ends"]


def bounded(
    function: str, argument: str, number: float, smallest: float, largest: float = math.inf
) -> None:
    """Raise for a number outside the range, both ends allowed."""
    if not smallest <= number <= largest:
        wanted = f"at least {smallest}" if largest == math.inf else f"from {smallest} to {largest}"
        raise ValueError(f"{function}: {argument} should be {wanted}, got {number}")


def two_ends(
    function: str, argument: str, value: Any, check: Callable[..., Any], smallest: float
) -> tuple[Any, Any]:
    """Return the ends of a range given as a pair, what `check` makes of each."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"{function}: {argument} should be a pair (smallest, largest), got {value!r}"
        )
    low, high = (check(function, f"{argument}[{k}]", end) for k, end in enumerate(value))
    bounded(function, f"{argument}[0]", low, smallest)
    bounded(function, f"{argument}[1]", high, low)
    return low, high
