"""Errors inside a layer's own code: in which class and method, at which step, and on which line."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.kinds import step_gradients, step_result
from minirnn.gradcheck.report import (
    Diagnosis,
    GradientError,
    GradientShapeError,
    wrong_kind,
    wrong_shape,
)

__all__ = ["located"]


def located(function: CheckedFunction, error: Exception) -> Exception:
    """Return the error with the class, the method, the step and the line that raised it.

    The layer is run once more, with hooks on the forward and backward of every part. What
    they return is checked there, so that a part that returns nothing is named and not its
    neighbour; and a gradient that takes an array of another shape says so.
    """
    raised: list[tuple[str, Any, tuple[Any, ...]]] = []  # where, by which part, what; inside first

    def hooked(path: str, part: Any) -> dict[str, Callable[..., Any]]:
        calls: dict[str, list[tuple[Any, ...]]] = {"forward": [], "backward": []}

        def call(name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            calls[name].append(args)
            step = len(calls["forward"]) - (len(calls["backward"]) or 1)
            at = f" at step {step}" if path and isinstance(part, Cell) else ""
            where = f"{type(part).__name__}.{name}{at}" + (f" ({path})" if path else "")
            try:
                result = method(*args, **kwargs)
                if isinstance(part, Layer):
                    _check(part, name, result, calls["forward"][step], where)
            except Exception as error:
                raised.append((where, part, error.args))
                raise
            return result

        return {name: partial(call, name, getattr(part, name)) for name in calls}

    hooks = {path: hooked(path, part) for path, part in function.parts.items()}
    with function.replaced(hooks):
        try:
            function.gradients()
        except GradientError as found:
            found.args = raised[0][2] if raised else found.args  # without what a model put in front
            return found
        except RefusedError as refused:
            told = (f"{type(part).__name__}:" for part in function.parts.values())
            if not raised or str(refused.error).startswith(tuple(told)):
                return refused.error
            place, part, _ = raised[0]
            try:
                where = place + _line(refused.error.__traceback__, part, function)
            except GradientError as found:
                found.args = (f"{place}{found}",)
                return found
            checks.locate(refused.error, where)
            return refused.error
    return error


def _check(part: Any, name: str, result: Any, given: tuple[Any, ...], where: str) -> None:
    """Raise if a part returns something of another kind or shape than it should."""
    pairs: list[tuple[str, Any, tuple[int, ...]]] = []
    if isinstance(part, Cell):
        x, state = given
        if name == "forward":
            y, states, _ = step_result(where, result, len(state))
            pairs = [("output", y, (len(x), part.output_size))]
        else:
            grad_x, states = step_gradients(where, result)
            pairs = [("input", grad_x, np.shape(x))]
        if len(states) != len(state):
            said = f"the state has {len(state)} arrays, and {name} gives {len(states)}"
            raise wrong_kind(where, "state", said)
        for k, (new, old) in enumerate(zip(states, state, strict=True)):
            pairs.append((f"state[{k}]", new, np.shape(old)))
    elif name == "backward" and isinstance(given[0], np.ndarray) and given[0].dtype.kind == "f":
        pairs = [("input", result, given[0].shape)]
    elif result is None:
        pairs = [("output", result, ())]
    for what, array, shape in pairs:
        if array is None:
            said = f"{name} gives None for it; does the method end with a return?"
            raise wrong_kind(where, what, said, "a missing return")
        if np.shape(array) != shape and name == "forward":
            hint = "; set self.output_size where it is not the hidden size" * (what == "output")
            said = f"looks like a wrong shape: {np.shape(array)} where {shape} belongs{hint}"
            found = Diagnosis("shape", (what,), said)
            raise GradientShapeError(f"{where}: {found!r}", what, (found,))
        if np.shape(array) != shape:
            raise wrong_shape(where, what, np.shape(array), shape)


# ---------------------------------------------------------------- the line


def _line(raised: TracebackType | None, part: Any, function: CheckedFunction) -> str:
    """Return the source line of the part that raised an error, and the shapes of its arrays.

    Raises
    ------
    GradientShapeError
        If it adds to a gradient, or assigns to it, what has another shape.
    """
    found = None
    while raised is not None:
        found = raised if raised.tb_frame.f_locals.get("self") is part else found
        raised = raised.tb_next
    if found is None:
        return ""
    frame, source = found.tb_frame, found.tb_frame.f_code.co_filename
    lines = linecache.getlines(source, frame.f_globals)
    if not lines:
        return ""
    line = f", in `{lines[found.tb_lineno - 1].strip()}`"
    shapes, hint = {}, ""
    for node in _statement("".join(lines), found):
        value = _value(node, frame) if isinstance(node, ast.Name | ast.Attribute) else None
        if isinstance(value, np.ndarray):
            shapes[ast.unparse(node)] = value.shape
        elif isinstance(value, tuple | list) and isinstance(node, ast.Name):
            shapes[node.id] = f"a {type(value).__name__} of {len(value)}"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            hint = hint or _transposed(node, frame)
        if isinstance(node, ast.AugAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
            _look_at_gradient(_value(target, frame), _value(node.value, frame), function, line)
    outer = [name for name in shapes if not any(o.startswith(f"{name}.") for o in shapes)]
    known = ", ".join(f"{name} is {shapes[name]}" for name in outer)
    return line + (f" ({known})" if known else "") + hint


def _statement(source: str, raised: TracebackType) -> list[ast.AST]:
    """Return all that is in the innermost statement that raised."""
    position = [*raised.tb_frame.f_code.co_positions()][raised.tb_lasti // 2]
    start = position[0] or raised.tb_lineno, position[2] or 0
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt)
        and (node.lineno, node.col_offset) <= start
        and start < (node.end_lineno or 0, node.end_col_offset or 0)
    ]
    return [*ast.walk(around[-1])] if around else []  # from the outside to the inside


def _value(node: ast.AST, frame: FrameType) -> Any:
    """Return what an expression stands for in the frame; None if it has no value there."""
    with suppress(Exception):  # it is the code that has just raised
        return eval(ast.unparse(node), frame.f_globals, frame.f_locals)
    return None


def _look_at_gradient(grad: Any, new: Any, function: CheckedFunction, line: str) -> None:
    """Raise if what is to go into a gradient is its transpose, or lacks a sum."""
    if not isinstance(grad, np.ndarray) or not isinstance(new, np.ndarray):
        return
    for name, parameter in function.parameters.items():
        own = parameter.shape
        longer = new.ndim > len(own) and new.shape[new.ndim - len(own) :] == own
        if np.shares_memory(grad, parameter.grad) and (longer or new.shape == own[::-1] != own):
            raise wrong_shape(line, name, new.shape, own)


def _transposed(node: ast.BinOp, frame: FrameType) -> str:
    """Return advice where a product fits with the transpose of its second factor."""
    left, right = _value(node.left, frame), _value(node.right, frame)
    if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray) or right.ndim != 2:
        return ""
    if left.ndim < 1 or left.shape[-1] == right.shape[0] or left.shape[-1] != right.shape[1]:
        return ""
    v, weight = ast.unparse(node.left), ast.unparse(node.right)
    flipped = weight.removesuffix(".T") if weight.endswith(".T") else f"{weight}.T"
    hint = f"; the product fits as {v} @ {flipped} (for y = v @ W, grad_v = grad_y @ W.T)"
    if left.shape[:-1] == right.shape[:1]:
        hint += f", or as {v}.T @ {weight} (grad_W = v.T @ grad_y)"
    return hint
