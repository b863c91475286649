"""Several inputs at once: a tuple or a dictionary of arrays, treated as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def each(function: Callable[..., Any], value: Any) -> Any:
    """Return what `function` makes of each array, in the form in which they were given."""
    if isinstance(value, tuple):
        return tuple(each(function, item) for item in value)
    if isinstance(value, dict):
        return {name: each(function, item) for name, item in value.items()}
    return function(value)


def rows_of(value: Any, rows: Any) -> Any:
    """Return these rows of each array; None stays None."""
    return each(lambda array: None if array is None else array[rows], value)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each array with a name that says which it is: ``inputs[0]``, ``inputs['facts']``."""
    items: Any = ()
    if isinstance(value, tuple):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    else:
        yield name, value
    for key, item in items:
        yield from leaves(item, f"{name}[{key!r}]")
