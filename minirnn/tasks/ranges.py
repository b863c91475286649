"""Checks of arguments that have a smallest and a largest value."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["bounded", "two_ends"]


def bounded(
    function: str, argument: str, number: float, smallest: float, largest: float = math.inf
) -> None:
    """Raise for a number outside the range, both ends allowed."""
    if not smallest <= number <= largest:
        wanted = f"at least {smallest}" if largest == math.inf else f"from {smallest} to {largest}"
        raise ValueError(f"{function}: {argument} should be {wanted}, got {number}")


def two_ends(function: str, argument: str, value: Any) -> tuple[Any, Any]:
    """Return the ends of a range given as a pair; what each end is remains to be checked."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"{function}: {argument} should be a pair (smallest, largest), got {value!r}"
        )
    return value[0], value[1]
