"""Errors inside a layer's own code: in which class and method, at which step, and on which line."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.kinds import of_step
from minirnn.gradcheck.report import GradientError, wrong_kind, wrong_shape
from minirnn.models.chain_checks import explain_shapes

PRODUCTS = "for y = v @ W, grad_v is grad_y @ W.T, and grad_W is v.T @ grad_y"


def located(function: CheckedFunction, error: Exception) -> Exception:
    """Return the error with the class, the method, the step and the line that raised it.

    The layer is run once more, with hooks on the forward and backward of every part. What
    they return is checked there, so that a part that returns nothing is named and not its
    neighbour.
    """
    raised: list[tuple[str, Any, tuple[Any, ...]]] = []  # where, by which part, what; inside first
    calls: dict[tuple[str, str], list[tuple[Any, ...]]] = {}

    def call(path: str, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        part, forwards = function.parts[path], calls.setdefault((path, "forward"), [])
        calls.setdefault((path, name), []).append(args)
        step = len(forwards) - (len(calls[path, name]) if name == "backward" else 1)
        at = f" at step {step}" if path and isinstance(part, Cell) else ""
        where = f"{type(part).__name__}.{name}{at}" + (f" ({path})" if path else "")
        try:
            result = method(*args, **kwargs)
            if isinstance(part, Layer):
                _check(part, name, result, forwards[step], where)
        except Exception as error:
            raised.append((where, part, error.args))
            raise
        return result

    with function.hooked(call):
        try:
            function.gradients()
        except GradientError as found:
            found.args = raised[0][2] if raised else found.args  # without what a model put in front
            return found
        except RefusedError as refused:
            if not raised or type(raised[0][1]).__module__.startswith("minirnn."):
                return refused.error  # the library's own layers say what they refuse
            place, part, refused.error.args = raised[0]  # without what was put in front
            line = _line(refused.error.__traceback__, part)
            if isinstance(refused.error, ValueError):
                if ".grad" in line:
                    explain_shapes(refused.error, part)
                elif " @ " in line:
                    refused.error.args = (f"{refused.error} ({PRODUCTS})",)
            checks.locate(refused.error, place + line)
            return refused.error
    return error


def _check(part: Layer, name: str, result: Any, given: tuple[Any, ...], where: str) -> None:
    """Raise if a part returns something of another kind or shape than it should."""
    what = "output" if name == "forward" else "input"
    if isinstance(part, Cell):
        x, state = given
        of_step(part, name, result, x, state, where)
    elif result is None and (name == "forward" or _is_float(given[0])):
        said = f"{name} gives None for it; does the method end with a return?"
        raise wrong_kind(where, what, said, "a missing return")
    elif name == "backward" and _is_float(given[0]) and np.shape(result) != given[0].shape:
        raise wrong_shape(where, what, np.shape(result), given[0].shape)


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _line(raised: TracebackType | None, part: Any) -> str:
    """Return the last source line of the part on the way to where an error was raised."""
    lines = [
        linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
        for frame, number in traceback.walk_tb(raised)
        if frame.f_locals.get("self") is part
    ]
    return f", in `{lines[-1]}`" if lines and lines[-1] else ""
