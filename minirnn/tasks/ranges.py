"""Checks of arguments that have a smallest and a largest value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minirnn.checks import positive_int


def bounded(
    function: str,
    argument: str,
    value: Any,
    smallest: float,
    largest: float = math.inf,
    check: Callable[..., Any] = positive_int,
) -> Any:
    """Return what `check` makes of a value; raise outside the range, both ends allowed."""
    number = check(function, argument, value)
    if not smallest <= number <= largest:
        wanted = f"at least {smallest}" if largest == math.inf else f"from {smallest} to {largest}"
        raise ValueError(f"{function}: {argument} should be {wanted}, got {number}")
    return number


def two_ends(
    function: str, argument: str, value: Any, check: Callable[..., Any], smallest: float
) -> tuple[Any, Any]:
    """Return the ends of a range given as a pair, what `check` makes of each."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"{function}: {argument} should be a pair (smallest, largest), got {value!r}"
        )
    low = bounded(function, f"{argument}[0]", value[0], smallest, check=check)
    return low, bounded(function, f"{argument}[1]", value[1], low, check=check)
