"""Arrays, also in nested tuples and dictionaries: cast, indexed, compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import mapped
from minirnn.typing import Array


def cast(value: Any, dtype: Any) -> Any:
    """Return nested arrays with every array of floats in another dtype."""
    return mapped(value, lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)


def part(value: Any, index: Any) -> Any:
    """Return nested arrays with every array indexed."""
    return mapped(value, lambda a: np.ascontiguousarray(a[index]))


def copied(value: Any) -> Any:
    """Return nested arrays with every array copied."""
    return mapped(value, np.copy)


def flat(value: Any) -> list[Array]:
    """Return the arrays in nested tuples and dictionaries."""
    found: list[Array] = []
    mapped(value, lambda array: found.append(np.asarray(array)))
    return found


def same(one: Any, two: Any) -> bool:
    """Whether all arrays are the same but for rounding."""
    pairs = list(zip(flat(one), flat(two), strict=True))
    return all(a.shape == b.shape and _close(a, b) for a, b in pairs)


def _close(a: Array, b: Array) -> bool:
    scale = max(1.0, float(np.abs(np.where(np.isfinite(a), a, 0)).max(initial=0.0)))
    precise = a.dtype == b.dtype == np.float64
    relative, absolute = (1e-9, 1e-11) if precise else (1e-4, 1e-5)
    return bool(np.allclose(a, b, relative, scale * absolute, equal_nan=True))


def equal(one: Any, two: Any) -> bool:
    """Whether two values are equal: arrays in every bit, tuples and dictionaries in every entry."""
    if isinstance(one, dict):
        alike = isinstance(two, dict) and one.keys() == two.keys()
        return alike and all(equal(value, two[key]) for key, value in one.items())
    if isinstance(one, tuple | list):
        alike = isinstance(two, tuple | list) and len(one) == len(two)
        return alike and all(map(equal, one, two))
    if isinstance(one, np.ndarray | np.generic | float):
        a, b = np.asarray(one), np.asarray(two)
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f"))
    return one is two or bool(one == two)


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of what is no longer as it was."""
    return [
        name
        for name in {**before, **after}
        if name not in before or name not in after or not equal(before[name], after[name])
    ]
