"""Arrays by themselves and in nested tuples and dictionaries: found, named, compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minirnn.data.nested import each, leaves
from minirnn.typing import Array

CLOSE = 1e-5
"""Two gradients that differ by less than this, relative to their largest element, are the same.

Central differences are good to about 1e-9; a wrong guess that comes this near by chance, in every
element, is not to be expected.
"""

SMALLEST = 1e-8
"""A difference below this may be rounding, and no diagnosis is built on it."""

FLOOR = 0.1 * SMALLEST / CLOSE
"""Gradients whose largest element is below this are compared as if it were this."""


def difference(a: Array, b: Array) -> float:
    """Return the largest difference, relative to the largest element of both."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0) / max(scale, FLOOR))


def same(a: Array, b: Array) -> bool:
    """Whether two gradients are the same but for rounding."""
    return difference(a, b) <= CLOSE


def same_rows(rows: Array, others: Array) -> Array:
    """Return which rows are the same as the others, or as one, but for rounding."""
    scale = np.maximum(*(np.abs(a).max(axis=-1, initial=FLOOR) for a in (rows, others)))
    close: Array = np.abs(rows - others).max(axis=-1, initial=0.0) <= CLOSE * scale
    return close


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


# ---------------------------------------------------------------- nested tuples and dictionaries

Names = Any
"""The name of an array, or a tuple or dictionary of them; None where there is no array."""


def flattened(
    name: str, value: Any, arrays: dict[str, Array], convert: Callable[[Any], Array] = np.asarray
) -> Names:
    """Put the arrays of nested tuples and dictionaries into `arrays`; return their names."""
    found = {path: convert(one) for path, one in leaves(value, name) if one is not None}
    arrays.update(found)
    names = iter(found)
    return each(lambda one: None if one is None else next(names), value)


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return nested tuples and dictionaries with `function` of everything in them; None stays."""
    if isinstance(value, dict):
        return {key: mapped(item, function) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(mapped(item, function) for item in value)
    return None if value is None else function(value)
