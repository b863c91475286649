"""What forward and backward should return, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import numpy as np

from minirnn.data.nested import leaves
from minirnn.gradcheck.arrays import Names, kind_of
from minirnn.gradcheck.report import GradientError, wrong_kind, wrong_shape
from minirnn.typing import Array

__all__ = ["matched", "one_gradient", "step_gradients", "step_result", "wrong_forward"]


def matched(
    where: str, label: str, names: Names, gradient: Any, moved: Container[str]
) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, gradient)`` for each array of an argument; raise if they are built otherwise.

    Tokens are not moved, and need no gradient: None will do for what holds tokens alone.
    """
    if isinstance(names, str):
        yield names, gradient
        return
    if names is None:
        return
    if gradient is None and not any(name in moved for _, name in leaves(names)):
        return
    kind = dict if isinstance(names, dict) else tuple | list
    keys = names.keys() if isinstance(names, dict) else range(len(names))
    if (
        not isinstance(gradient, kind)
        or len(gradient) != len(names)
        or (isinstance(gradient, dict) and gradient.keys() != keys)
    ):
        raise wrong_kind(
            where,
            label,
            f"the gradient on {label} should be a {type(names).__name__} of {len(names)} "
            f"arrays, as {label} is, and is {kind_of(gradient)}",
        )
    for key in keys:
        yield from matched(where, f"{label}[{key!r}]", names[key], gradient[key], moved)


def one_gradient(where: str, name: str, gradient: Any, shape: tuple[int, ...]) -> Array:
    """Return a copy of a gradient in float64; raise if it is none, or has another shape."""
    if gradient is None or np.asarray(gradient).dtype.kind not in "fiub":
        said = f"backward gives {type(gradient).__name__} for it; end it with `return grad_x`"
        raise wrong_kind(where, name, said, "a missing return")
    if np.shape(gradient) != shape:
        raise wrong_shape(where, name, np.shape(gradient), shape)
    copied: Array = np.array(gradient, np.float64)  # the layer may go on to use its array
    return copied


def wrong_forward(layer: Any, name: str, expected: str, result: Any) -> GradientError:
    """Return the error about a forward that returns something else than one array, or number."""
    said = f"forward should return {expected}, and gives {kind_of(result)}"
    return wrong_kind(f"{type(layer).__name__}.forward", name, said)


def step_result(cell: Any, result: Any, states: int, where: str = "") -> tuple[Any, Any, Any]:
    """Return the three things that a cell's forward gives; raise if it does not."""
    if not isinstance(result, tuple) or len(result) != 3:
        said = "three things, (y_t, state, cache)"
    elif not isinstance(result[1], tuple) or len(result[1]) != states:
        said = f"(y_t, state, cache) with state a tuple of {states} arrays, as the one given"
        result = result[1]
    else:
        return result
    raise wrong_kind(
        where or f"{type(cell).__name__}.forward",
        "output",
        f"a cell's forward gives {said}; this one gives {kind_of(result)}",
    )


def step_gradients(cell: Any, result: Any, where: str = "") -> tuple[Any, Any]:
    """Return the two things that a cell's backward gives; raise if it does not."""
    pair = isinstance(result, tuple) and len(result) == 2
    if pair and isinstance(result[1], tuple | list):
        return result[0], result[1]
    got = f"(grad_x, {kind_of(result[1])})" if pair else kind_of(result)
    raise wrong_kind(
        where or f"{type(cell).__name__}.backward",
        "input",
        f"a cell's backward gives two things, (grad_x, grad_state), the second a tuple with an "
        f"array for each state; this one gives {got}",
        "a missing return" if result is None else "a wrong return",
    )
