"""Looking for arrays in what a layer keeps, and comparing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minirnn.typing import Array

__all__ = ["arrays_in", "changed", "copies", "difference", "same", "same_rows"]

CLOSE = 1e-5
"""Two gradients that differ by less than this, relative to their largest element, are the same.

Central differences are good to about 1e-9; a wrong guess that comes this near by chance, in every
element, is not to be expected.
"""

SMALLEST = 1e-8
"""A difference below this may be rounding, and no diagnosis is built on it."""

FLOOR = 0.1 * SMALLEST / CLOSE
"""Gradients whose largest element is below this are compared as if it were this."""


def arrays_in(value: Any, label: str, depth: int = 4) -> Iterator[tuple[str, Array]]:
    """Yield ``(label, array)`` for every array in nested tuples, lists and dictionaries."""
    if isinstance(value, np.ndarray):
        yield label, value
    elif depth and isinstance(value, list | tuple):
        for k, item in enumerate(value):
            yield from arrays_in(item, f"{label}[{k}]", depth - 1)
    elif depth and isinstance(value, dict):
        for key, item in value.items():
            yield from arrays_in(item, f"{label}[{key!r}]", depth - 1)


def difference(a: Array, b: Array) -> float:
    """Return the largest difference, relative to the largest element of both."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0) / max(scale, FLOOR))


def same(a: Array, b: Array) -> bool:
    """Whether two gradients are the same but for rounding."""
    return difference(a, b) <= CLOSE


def same_rows(rows: Array, one: Array) -> Array:
    """Return which rows are the same as one flat array but for rounding."""
    scale = np.maximum(np.abs(rows).max(axis=1, initial=FLOOR), np.abs(one).max(initial=0.0))
    gaps: Array = np.abs(rows - one).max(axis=1, initial=0.0)
    return gaps <= CLOSE * scale


def copies(arrays: Mapping[Any, Array]) -> dict[Any, Array]:
    """Return a copy of each array, under the same name."""
    return {name: array.copy() for name, array in arrays.items()}


def changed(now: Mapping[Any, Array], before: Mapping[Any, Array]) -> dict[Any, float]:
    """Return the names of the arrays that are no longer as they were, and by how much at most."""
    return {
        name: float(np.nanmax(np.abs(now[name].astype(float) - old.astype(float)), initial=0.0))
        for name, old in before.items()
        if name in now and not np.array_equal(now[name], old, old.dtype.kind == "f")
    }
