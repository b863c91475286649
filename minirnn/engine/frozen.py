"""All that a cell's code depends on beside the numbers of its parameters, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dis import get_instructions
from functools import lru_cache, partial
from operator import is_
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, Parameter

__all__ = ["PLAIN", "Outside", "frozen"]

PLAIN = (bool, int, float, complex, str, bytes, type, type(None), np.dtype, np.generic)


def frozen(thing: Any, first: dict[int, int] | None = None, depth: int = 0) -> Any:
    """Return all that is known of a thing beside its parameters' numbers, to be compared.

    `first` numbers the parameters met so far: they may be met under several names.
    """
    first = {} if first is None else first

    def inside(items: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(frozen(item, first, depth + 1) for item in items)

    kind: Any = type(thing)
    looked_into = isinstance(thing, Layer) or (hasattr(thing, "__dict__") and not callable(thing))
    if isinstance(thing, Parameter):
        return kind, first.setdefault(id(thing), len(first)), thing.shape, thing.dtype
    if isinstance(thing, np.ndarray):
        return thing.shape, thing.dtype.str, thing.tobytes()
    if isinstance(thing, PLAIN):
        return kind, thing
    if isinstance(thing, list | tuple | set | frozenset) and depth < 8:
        return kind, *inside(thing)
    if isinstance(thing, dict) and depth < 8:
        return kind, *thing, *inside(thing.values())
    if looked_into and depth < 8:
        own = {name: value for name, value in vars(thing).items() if name != "training"}
        return kind, getattr(thing, "training", None), *own, *inside(own.values())
    return MethodType(type, thing)  # equal to that of the very same thing alone


class Outside:
    """What the methods of a cell read that is not of it: class attributes, globals, closures.

    So do the functions that they call by name; those of minirnn and of NumPy are not looked into.

    Attributes
    ----------
    values : dict
        What was found under which name.
    """

    def __init__(self, cell: Cell) -> None:
        self._reads: list[tuple[Callable[[str], Any], str]] = []
        self.values: dict[str, Any] = {}
        functions: list[FunctionType] = []
        for one in {type(one): one for _, one in cell.named_layers()}.values():
            for base in [base for base in type(one).__mro__ if _is_own(base.__module__)]:
                for name in [name for name in vars(base) if not name.startswith("__")]:
                    self._read(partial(getattr, type(one)), name, f"{base.__qualname__}.{name}")
                    functions += _function(vars(base)[name])
            for value in vars(one).values():
                functions += _function(value)
        for function in functions:  # grows on the way
            if _is_own(function.__module__):
                found = [self._read(*place) for place in _places(function)]
                functions += [f for v in found for f in _function(v) if f not in functions]
        changeable = [v for v in self.values.values() if not isinstance(v, (*PLAIN, ModuleType))]
        self._changeable = [value for value in changeable if not callable(value)]
        self._before = frozen(self._changeable)

    def frozen(self) -> Any:
        """Return all of it, to be compared."""
        return frozen([v for v in self.values.values() if not isinstance(v, ModuleType)])

    def same(self) -> bool:
        """Whether each name still stands for what it did."""
        try:
            now = [read(name) for read, name in self._reads]
        except (AttributeError, ValueError):  # a name is gone
            return False
        return all(map(is_, now, self.values.values())) and (
            not self._changeable or self._before == frozen(self._changeable)
        )

    def _read(self, read: Callable[[str], Any], name: str, label: str) -> Any:
        value = read(name)
        if label not in self.values and value is read(name):  # a class method is made anew
            self._reads.append((read, name))
            self.values[label] = value
        return value


def _is_own(module: str) -> bool:
    return module.partition(".")[0] not in ("minirnn", "numpy", "builtins")


def _function(value: Any) -> list[FunctionType]:
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, staticmethod | classmethod | MethodType):
        value = value.__func__
    return [value] if isinstance(value, FunctionType) else []


def _places(function: FunctionType) -> Iterable[tuple[Callable[[str], Any], str, str]]:
    """Return how to read each name that a function reads, the name, and the whole name."""
    space = function.__globals__
    for name in _globals(function.__code__):
        if name in space:
            yield space.get, name, f"{function.__module__}.{name}"
    closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, variable in closed:
        with suppress(ValueError):  # it has no value yet
            _ = variable.cell_contents
            yield variable.__getattribute__, "cell_contents", f"{function.__qualname__}.{name}"


@lru_cache
def _globals(code: CodeType) -> tuple[str, ...]:
    inside = [_globals(one) for one in code.co_consts if isinstance(one, CodeType)]
    own = [one.argval for one in get_instructions(code) if one.opname == "LOAD_GLOBAL"]
    return tuple(dict.fromkeys([*own, *[name for names in inside for name in names]]))
