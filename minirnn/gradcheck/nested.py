"""Arrays in nested tuples and dictionaries, and their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn.typing import Array

__all__ = ["Names", "flattened", "items", "kind_of", "mapped"]

Names = Any
"""The name of an array, or a tuple or dictionary of them; None where there is no array."""


def flattened(
    name: str,
    value: Any,
    arrays: dict[str, Array],
    convert: Callable[[Any], Array] = np.asarray,
) -> Names:
    """Put the arrays of nested tuples and dictionaries into `arrays`; return their names."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {k: flattened(f"{name}[{k!r}]", v, arrays, convert) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(
            flattened(f"{name}[{k}]", item, arrays, convert) for k, item in enumerate(value)
        )
    arrays[name] = convert(value)
    return name


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return nested tuples and dictionaries with `function` of everything in them; None stays."""
    if isinstance(value, dict):
        return {key: mapped(item, function) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(mapped(item, function) for item in value)
    return None if value is None else function(value)


def items(values: Any) -> list[tuple[Any, Any]]:
    """Return keys, or positions, and what stands there."""
    return list(values.items() if isinstance(values, dict) else enumerate(values))


def kind_of(value: Any) -> str:
    """Return what something is, in words."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__
