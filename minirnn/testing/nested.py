"""Nested tuples and dictionaries of arrays: replaced, cut and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn.typing import Array

__all__ = ["cast", "equal", "flat", "mapped", "part", "same"]


def mapped(value: Any, function: Callable[[Array], Any]) -> Any:
    """Return nested tuples and dictionaries with every array replaced."""
    if isinstance(value, tuple | list):
        return tuple(mapped(item, function) for item in value)
    if isinstance(value, dict):
        return {key: mapped(item, function) for key, item in value.items()}
    return None if value is None else function(np.asarray(value))


def cast(value: Any, dtype: Any) -> Any:
    """Return nested arrays with every array of floats in another dtype."""
    return mapped(value, lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)


def part(value: Any, index: Any) -> Any:
    """Return nested arrays with every array indexed."""
    return mapped(value, lambda a: np.ascontiguousarray(a[index]))


def flat(value: Any) -> list[Array]:
    """Return the arrays in nested tuples and dictionaries."""
    found: list[Array] = []
    mapped(value, lambda array: found.append(array))
    return found


def same(one: Any, two: Any) -> bool:
    """Whether all arrays are the same but for rounding."""
    pairs = list(zip(flat(one), flat(two), strict=True))
    return all(a.shape == b.shape and _close(a, b) for a, b in pairs)


def _close(a: Array, b: Array) -> bool:
    scale = max(1.0, float(np.abs(np.where(np.isfinite(a), a, 0)).max(initial=0.0)))
    precise = a.dtype == b.dtype == np.float64
    return bool(np.allclose(a, b, 1e-9 if precise else 1e-4, scale * 1e-11 if precise else 1e-5,
                            equal_nan=True))  # fmt: skip


def equal(one: Any, two: Any) -> bool:
    """Whether all arrays are the same, bit by bit."""
    pairs = zip(flat(one), flat(two), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
