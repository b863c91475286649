"""All that a cell's program depends on beside the numbers of its parameters, to be compared."""

from __future__ import annotations

import copy
import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dis import opmap
from functools import lru_cache, partial
from operator import is_
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, Parameter
from minirnn.engine.settings import compiled

_PLAIN: Any = (bool, int, float, complex, str, bytes, type, type(None), np.dtype, np.generic)
_BEHIND = {property: "fget", classmethod: "__func__", staticmethod: "__func__",
    MethodType: "__func__", partial: "func"}  # fmt: skip
_FIXED: Any = (*_PLAIN, ModuleType, FunctionType, *_BEHIND)
_LIBRARIES = {"minirnn", "numpy", *sys.stdlib_module_names}  # are not looked into


def _frozen(thing: Any, first: dict[int, int] | None = None, depth: int = 0) -> Any:
    """Return all that is known of a thing beside its parameters' numbers, to be compared.

    `first` numbers the parameters met so far: they may be met under several names.
    """
    first = {} if first is None else first

    def inside(items: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(_frozen(item, first, depth + 1) for item in items)

    kind: Any = type(thing)
    if isinstance(thing, Parameter):
        return kind, first.setdefault(id(thing), len(first)), thing.shape, thing.dtype
    if isinstance(thing, np.ndarray):
        return thing.shape, thing.dtype.str, thing.tobytes()
    if isinstance(thing, _PLAIN):
        return kind, thing
    itself = MethodType(type, thing)  # equal to that of the very same thing alone
    if isinstance(thing, _FIXED) or depth == 8:
        return itself
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return kind, *inside(thing)
    if isinstance(thing, dict):
        return kind, *thing, *inside(thing.values())
    if attributes := _attributes(thing):
        own = {name: value for name, value in attributes.items() if name != "training"}
        which = kind if isinstance(thing, Layer) or not callable(thing) else itself
        return which, getattr(thing, "training", None), *own, *inside(own.values())
    return itself


def _attributes(thing: Any) -> dict[str, Any]:
    """Return those that are kept in a dictionary, itself, or else those in slots."""
    slots = [name for base in type(thing).__mro__ for name in getattr(base, "__slots__", ())]
    found = {name: getattr(thing, name, None) for name in slots if hasattr(thing, name)}
    own = getattr(thing, "__dict__", None)
    return own if isinstance(own, dict) else found


def look(thing: Any, *methods: str, but: Iterable[str] = ()) -> tuple[Any, ...]:
    """Return what `holds` compares: the class, methods of it, and all attributes but some."""
    kind = type(thing)
    values = [... if name in but else value for name, value in vars(thing).items()]
    return kind, {name: getattr(kind, name) for name in methods}, tuple(values)


class Dependencies:
    """What the methods of a cell read: of the cell, and class attributes, globals, closures.

    So do the functions and the objects that they name; those of minirnn, NumPy and the standard
    library are not looked into.

    Attributes
    ----------
    key
        All of it, equal for cells alike.
    outside : list of (name, thing)
        What was found that is not of the cell.
    """

    def __init__(self, cell: Cell) -> None:
        self._cells, self._looks = (cell,), (look(cell, "forward", "backward"),)
        self._holds, self._parameters = compiled and compiled.holds, cell.parameters()
        self._reads: dict[Any, tuple[Callable[[str], Any], str]] = {}
        self.outside: list[tuple[str, Any]] = []
        waiting: list[Any] = [layer for _, layer in cell.named_layers()]
        met = set[int]()
        for thing in waiting:  # grows on the way
            if id(thing) not in met:
                met.add(id(thing))
                waiting += self._inside(thing)
        self._things = things = [thing for _, thing in self.outside]
        self._plain = all(isinstance(v, (*_PLAIN, Parameter)) for v in vars(cell).values())
        self._changeable = [thing for thing in things if not isinstance(thing, _FIXED)]
        self._before = _frozen(cell), _frozen(self._changeable)
        self.key = *self._looks[0][1].values(), *self._before, _frozen(things)

    def same(self) -> bool:
        """Whether all of it is as it was."""
        if not self._holds(self._cells, self._looks) or (self._things and self.changed()):
            return False
        of_cell, outside = self._before
        if self._changeable and outside != _frozen(self._changeable):
            return False
        (cell,) = self._cells
        return self._plain or (
            all(map(is_, cell.parameters(), self._parameters)) and of_cell == _frozen(cell)
        )

    def changed(self) -> list[str]:
        """Return the names outside the cell that stand for something else now, or for nothing."""
        try:
            now = [read(name) for read, name in self._reads.values()]
        except (AttributeError, ValueError):
            return ["a name"]
        if all(map(is_, now, self._things)):
            return []
        pairs = zip(self.outside, now, strict=True)
        return [name for (name, before), thing in pairs if thing is not before]

    # ------------------------------------------------------------ what is read

    def _read(self, owner: Any, name: str, label: str) -> Any:
        """Return what a name stands for; take note of it."""
        read: Any = owner.get if isinstance(owner, dict) else partial(getattr, owner)
        value, key = read(name), (id(owner), name)
        if key not in self._reads and value is read(name):  # a class method is made anew
            self._reads[key] = read, name
            self.outside.append((label, value))
        return value

    def _inside(self, thing: Any) -> Iterable[Any]:
        """Take note of what a thing reads; return what that is."""
        if isinstance(thing, FunctionType):
            return self._function(thing) if _is_own(thing, thing.__module__) else ()
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, list | tuple | set | frozenset):
            return thing
        if isinstance(thing, dict):
            return thing.values()
        if type(thing) in _BEHIND:
            return (getattr(thing, _BEHIND[type(thing)]),)
        kind = type(thing)
        if isinstance(thing, Layer) or _is_own(kind, kind.__module__):
            return kind, *_attributes(thing).values()
        return ()

    def _class(self, kind: type) -> Iterable[Any]:
        for base in kind.__mro__:
            for name in list(vars(base)) if _is_own(base, base.__module__) else ():
                value = vars(base)[name]
                method = isinstance(value, FunctionType) and name != "__init__"
                if method or not name.startswith("__"):
                    self._read(kind, name, f"{base.__qualname__}.{name}")
                    yield value

    def _function(self, function: FunctionType) -> Iterable[Any]:
        space, code, label = function.__globals__, function.__code__, function.__module__
        names, attributes = _names(code)
        found = [self._read(space, n, f"{label}.{n}") for n in names if n in space]
        variables = zip(code.co_freevars, function.__closure__ or (), strict=True)
        places: list[Any] = [(cell, "cell_contents", name) for name, cell in variables]
        defaults = [n for n in ("__defaults__", "__kwdefaults__") if getattr(function, n)]
        places += [(function, name, name) for name in defaults]
        for owner, attribute, name in places:
            with suppress(ValueError):  # it has no value yet
                found.append(self._read(owner, attribute, f"{function.__qualname__}.{name}"))
        found += [sys.modules[n] for n in sorted(attributes) if n in sys.modules]  # imported in it
        for thing in found:  # grows by what is read of modules
            if isinstance(thing, ModuleType) and _is_own(thing, thing.__name__):
                for n in sorted(attributes & vars(thing).keys()):
                    if (id(thing), n) not in self._reads:
                        found.append(self._read(thing, n, f"{thing.__name__}.{n}"))
        return found


def _is_own(thing: Any, module: Any) -> bool:
    """Whether something may change: what is in libraries does not, but for attributes of cells."""
    if not isinstance(module, str) or module.partition(".")[0] in _LIBRARIES:
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "site-packages" not in file or (isinstance(thing, type) and issubclass(thing, Layer))


@lru_cache
def _names(code: CodeType) -> tuple[tuple[str, ...], set[str]]:
    """Return the globals that some code reads, and all names in it."""
    found, every = dict[str, None](), set(code.co_names)
    operations, low = np.frombuffer(code.co_code, np.uint8).reshape(-1, 2).astype(int).T
    for at in np.flatnonzero(operations == opmap["LOAD_GLOBAL"]):
        high = low[at - 1] if operations[at - 1] == opmap["EXTENDED_ARG"] else 0
        found[code.co_names[(high << 8 | low[at]) >> 1]] = None
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names, attributes = _names(inner)
            found |= dict.fromkeys(names)
            every |= attributes
    return tuple(found), every


# ---------------------------------------------------------------- what may not be changed


class Contents:
    """What stands in some things and all that is in them: to be compared, and put back."""

    def __init__(self, things: Iterable[tuple[str, Any]]) -> None:
        self._held: dict[int, tuple[str, Any, Any]] = {}
        for name, thing in things:
            self._hold(name, thing)

    def _hold(self, name: str, thing: Any) -> None:
        kinds: Any = list | dict | set | deque | np.ndarray
        held = thing if isinstance(thing, kinds) else getattr(thing, "__dict__", None)
        if isinstance(thing, _FIXED) or id(held) in self._held:
            return
        if isinstance(held, kinds):
            self._held[id(held)] = name, held, copy.copy(held)
        for key, item in held.items() if isinstance(held, dict) else ():
            self._hold(f"{name}.{key}", item)
        for item in thing if isinstance(thing, list | tuple | set | frozenset | deque) else ():
            self._hold(name, item)

    def put_back(self) -> list[str]:
        """Undo what has changed since; return the names of it."""
        changed = []
        for name, held, before in self._held.values():
            if isinstance(held, np.ndarray):
                where = [name] * (held.tobytes() != before.tobytes())
            elif isinstance(held, dict):
                names = [n for n in before | held if before.get(n, ...) is not held.get(n, ...)]
                where = [f"{name}.{n}" for n in names]
            else:
                where = [name] * (len(held) != len(before) or not all(map(is_, held, before)))
            changed += where
            if where and isinstance(held, np.ndarray):
                held[...] = before
            elif where:
                held.clear()
                (held.update if isinstance(held, dict | set) else held.extend)(before)
        return changed
