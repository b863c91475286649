"""Errors inside a layer's own code: in which class and method, at which step, and on which line."""

from __future__ import annotations

import ast
import linecache
import math
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.report import (
    Diagnosis,
    GradientError,
    GradientShapeError,
    wrong_kind,
    wrong_shape,
)
from minirnn.gradcheck.returned import step_gradients, step_result
from minirnn.typing import Array

__all__ = ["located"]


def located(function: CheckedFunction, error: Exception) -> Exception:
    """Return the error with the class, the method, the step and the line that raised it.

    The layer is run once more, with hooks on the forward and backward of every part. What
    they return is checked there, so that a part that returns nothing is named and not its
    neighbour; and a gradient that takes an array of another shape says so.
    """
    hooks = _Hooks(function)
    try:
        with function.replaced(hooks.methods()):
            function.fresh_outputs()
            for name, parameter in function.parameters.items():
                parameter.move(parameter.value, _Guarded.of(parameter.grad, name, hooks.running))
            function.backward(function.weights)
    except GradientError as found:
        found.args = hooks.said or found.args  # without what a model put in front of it
        return found
    except RefusedError as refused:
        told = (f"{type(part).__name__}:" for part in function.parts.values())
        if hooks.place is not None and not str(refused.error).startswith(tuple(told)):
            where = f"{hooks.place}{_line(refused.error, hooks.part)}"
            checks.locate(refused.error, where)
        return refused.error
    return error


class _Hooks:
    """Wrappers of every part's forward and backward that note where an error comes from."""

    def __init__(self, function: CheckedFunction) -> None:
        self.function = function
        self.place: str | None = None
        self.part: Any = None
        self.running: list[str] = []
        self.said: tuple[Any, ...] | None = None
        self._given: dict[str, list[tuple[Any, ...]]] = {path: [] for path in function.parts}
        self._back = dict.fromkeys(function.parts, 0)

    def methods(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Return the wrappers, by path and method."""
        return {
            path: {
                "forward": self._hooked(path, "forward", part.forward),
                "backward": self._hooked(path, "backward", part.backward),
            }
            for path, part in self.function.parts.items()
        }

    def _hooked(self, path: str, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        part = self.function.parts[path]

        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "forward":
                self._given[path].append(args)
                step = len(self._given[path]) - 1
            else:
                self._back[path] += 1
                step = len(self._given[path]) - self._back[path]
            where = f"{type(part).__name__}.{name}"
            if path and isinstance(part, Cell):
                where += f" at step {step}"
            if path:
                where += f" ({path})"
            self.running.append(where)
            try:
                result = method(*args, **kwargs)
                if isinstance(part, Layer):
                    self._check(part, name, result, self._given[path][step], where)
            except Exception as error:
                if self.place is None:
                    self.place, self.part, self.said = where, part, error.args
                raise
            self.running.pop()
            return result

        return call

    def _check(self, part: Any, name: str, result: Any, given: tuple[Any, ...], where: str) -> None:
        """Raise if a part returns something of another kind or shape than it should."""
        pairs: list[tuple[str, Any, tuple[int, ...]]] = []
        if isinstance(part, Cell):
            x, state = given
            if name == "forward":
                y, states, _ = step_result(part, result, len(state), where)
                pairs = [("output", y, (len(x), part.output_size))]
            else:
                grad_x, states = step_gradients(part, result, where)
                pairs = [("input", grad_x, np.shape(x))]
            if len(states) != len(state):
                said = f"the state has {len(state)} arrays, and {name} gives {len(states)}"
                raise wrong_kind(where, "state", said)
            pairs += [
                (f"state[{k}]", new, np.shape(old))
                for k, (new, old) in enumerate(zip(states, state, strict=True))
            ]
        elif name == "backward" and isinstance(given[0], np.ndarray) and given[0].dtype.kind == "f":
            pairs = [("input", result, given[0].shape)]
        elif result is None:
            pairs = [("output", result, ())]
        for what, array, shape in pairs:
            if array is None:
                said = f"{name} gives None for it; does the method end with a return?"
                raise wrong_kind(where, what, said, "a missing return")
            if np.shape(array) != shape:
                raise wrong_shape(where, what, np.shape(array), shape)


class _Guarded(np.ndarray[Any, Any]):
    """A gradient that refuses to add an array with more axes than its own, or a transposed one."""

    name = ""
    running: Sequence[str] = ()

    @classmethod
    def of(cls, grad: Array, name: str, running: Sequence[str]) -> _Guarded:
        view = np.array(grad).view(cls)
        view.name, view.running = name, running
        return view

    def _look(self, new: Any) -> None:
        shape, own = np.shape(new), self.shape
        if self.name and shape == own[::-1] != own:
            raise wrong_shape(self.running[-1], self.name, shape, own)
        if self.name and len(shape) > len(own) and shape[len(shape) - len(own) :] == own:
            text = (
                f"looks like a sum over the batch that is missing: an array {shape} is added to a "
                f"gradient {own}; write .sum(axis=0), over all axes but the last"
            )
            found = Diagnosis("not summed", (self.name,), text)
            message = f"{self.running[-1]}: {found!r}"
            raise GradientShapeError(message, self.name, (), math.nan, math.nan, (found,))

    def __add__(self, other: Any) -> Any:
        self._look(other)
        return np.asarray(self) + other

    def __iadd__(self, other: Any) -> Any:
        self._look(other)
        return np.ndarray.__iadd__(self, other)


# ---------------------------------------------------------------- the line


def _line(error: Exception, part: Any) -> str:
    """Return the source line of the part that raised the error, and the shapes of its arrays."""
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_locals.get("self") is part:
            found = frame, number
    if found is None:
        return ""
    frame, number = found
    line = linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
    if not line:
        return ""
    shapes, hint = {}, ""
    for node in _nodes(line):
        value = _value(node, frame)
        if isinstance(value, np.ndarray):
            shapes[ast.unparse(node)] = value.shape
        elif isinstance(value, tuple | list) and isinstance(node, ast.Name):
            shapes[node.id] = f"a {type(value).__name__} of {len(value)}"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            hint = hint or _transposed(node, frame)
        if isinstance(node, ast.Assign):
            hint = hint or _not_summed(node, frame)
    outer = [name for name in shapes if not any(o.startswith(f"{name}.") for o in shapes)]
    known = ", ".join(f"{name} is {shapes[name]}" for name in outer)
    return f", in `{line}`" + (f" ({known})" if known else "") + hint


def _nodes(line: str) -> list[ast.AST]:
    for source in (line, f"{line} pass"):  # the second for `if ...:` and the like
        with suppress(SyntaxError):
            return list(ast.walk(ast.parse(source)))
    return []


def _value(node: ast.AST, frame: FrameType) -> Any:
    """Return what a name, or an attribute of one, stands for in the frame; else None."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), node.attr, None)
    return None


def _not_summed(node: ast.Assign, frame: FrameType) -> str:
    """Return advice where an array with more axes than a gradient is assigned to it."""
    grad, new = _value(node.targets[0], frame), _value(node.value, frame)
    if not isinstance(grad, np.ndarray) or not isinstance(new, np.ndarray):
        return ""
    if grad.ndim == 0 or new.ndim <= grad.ndim or new.shape[-grad.ndim :] != grad.shape:
        return ""
    return "; a sum over the batch is missing: add .sum(axis=0), over all axes but the last"


def _transposed(node: ast.BinOp, frame: FrameType) -> str:
    """Return advice where a product fits with the transpose of its second factor."""
    left, right = _value(node.left, frame), _value(node.right, frame)
    if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray) or right.ndim != 2:
        return ""
    if left.ndim < 1 or left.shape[-1] == right.shape[0] or left.shape[-1] != right.shape[1]:
        return ""
    text = ast.unparse(node.right)
    text = text.removesuffix(".T") if text.endswith(".T") else f"{text}.T"
    return (
        f"; the product fits as {ast.unparse(node.left)} @ {text} "
        f"(for y = v @ W, grad_v = grad_y @ W.T)"
    )
