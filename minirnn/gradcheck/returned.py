"""What backward should return, and what is said where it does not."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import numpy as np

from minirnn.gradcheck.nested import Names, items, kind_of, mapped
from minirnn.gradcheck.report import wrong_kind, wrong_shape
from minirnn.typing import Array

__all__ = ["matched", "one_gradient"]


def matched(
    where: str, label: str, names: Names, gradient: Any, moved: Container[str]
) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, gradient)`` for each array of an argument; raise if they are built otherwise.

    Parameters
    ----------
    where : str
        Class and method, for the error.
    label : str
        What the argument is called.
    names : names of its arrays
    gradient : what backward gave for it
    moved : names of the arrays that are moved; tokens are not, and need no gradient
    """
    if isinstance(names, str):
        yield names, gradient
    elif names is not None:
        if gradient is None and not any(name in moved for name in _leaves(names)):
            return
        own = items(names)
        if not isinstance(gradient, dict if isinstance(names, dict) else tuple | list) or (
            {key for key, _ in items(gradient)} != {key for key, _ in own}
        ):
            raise wrong_kind(
                where,
                label,
                f"the gradient on {label} should be a {type(names).__name__} of {len(own)} "
                f"arrays, as {label} is, and is {kind_of(gradient)}",
            )
        for key, item in own:
            yield from matched(where, f"{label}[{key!r}]", item, gradient[key], moved)


def _leaves(names: Names) -> list[str]:
    found: list[str] = []
    mapped(names, found.append)
    return found


def one_gradient(where: str, name: str, gradient: Any, shape: tuple[int, ...]) -> Array:
    """Return a copy of a gradient in float64; raise if it is none, or has another shape."""
    if gradient is None or np.asarray(gradient).dtype.kind not in "fiub":
        said = f"backward gives {type(gradient).__name__} for it; end it with `return grad_x`"
        raise wrong_kind(where, name, said, "a missing return")
    if np.shape(gradient) != shape:
        raise wrong_shape(where, name, np.shape(gradient), shape)
    copied: Array = np.array(gradient, np.float64)  # the layer may go on to use its array
    return copied
