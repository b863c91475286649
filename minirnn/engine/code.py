"""The code of a cell: traced once, tried out, and shared by all cells alike."""

from __future__ import annotations

import copy
from contextlib import suppress
from types import FunctionType
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, Parameter
from minirnn.engine.program import Program
from minirnn.engine.schedule import Schedule
from minirnn.engine.settings import compiled as _native
from minirnn.engine.trace import Tape, Untraceable, trace
from minirnn.typing import Array

__all__ = ["Code", "code_of", "frozen"]

PRIMES = 997, 1009, 1013, 1019, 1021, 1031, 1033, 1039
PLAIN = (bool, int, float, complex, str, bytes, type, type(None), np.dtype, np.generic)


# ---------------------------------------------------------------- the code of a cell


class Code:
    """What runs for a kind of cell: shared by all cells with the same key."""

    def __init__(self, cell: Cell) -> None:
        parameters = list(cell.named_parameters())
        if not parameters:
            raise Untraceable("it has no parameters")
        dtypes = {p.value.dtype for _, p in parameters}
        if len(dtypes) > 1:
            raise Untraceable("its parameters are of different dtypes")
        self.dtype = dtypes.pop()
        state = cell.initial_state(1)
        if any(a.ndim != 2 for a in state):
            raise Untraceable("a state array that is not (batch, n)")
        self.widths = tuple(a.shape[1] for a in state)
        self.inputs, self.outputs = cell.input_size, cell.output_size
        self._sizes = {name: p.size for name, p in parameters}
        self._tapes = self._trace(cell)
        self.program, self.plain = self._compile(masked=False)
        self._masked: Any = None
        self.arrays = tuple(Parameter(a.astype(self.dtype)) for a in self.program.arrays)

    def program_for(self, mask: Array | None) -> Any:
        """Return what the native module runs, with or without a mask."""
        if mask is None:
            return self.plain
        if self._masked is None:
            _, self._masked = self._compile(masked=True)
        return self._masked

    def _compile(self, *, masked: bool) -> tuple[Program, Any]:
        program = Program(self._tapes, len(self.widths), masked=masked)
        sizes = self._sizes | {f"#{k}": a.size for k, a in enumerate(program.arrays)}
        s = Schedule(program, sizes, self.inputs, self.outputs, self.widths)
        tables: list[Any] = [np.array(s.slots, np.int64), np.array(s.outers, np.int64)]
        tables += [np.array(s.constants, float), *s.forward, *s.backward, *s.backward_x]
        if _native is None:
            return program, None
        numbers = tuple(np.ascontiguousarray(table).tobytes() for table in tables)
        return program, _native.compile(self.dtype.itemsize, len(self.widths), len(sizes), numbers)

    def _trace(self, cell: Cell) -> list[Tape]:
        for name in ("forward", "backward"):
            if name in vars(cell):
                raise Untraceable(f"{name} was put on this object")
        # The numbers of the parameters are not needed, and may be many.
        arrays = [a for p in cell.parameters() for a in (p.value, p.grad)]
        model = copy.deepcopy(cell, {id(a): a for a in arrays})
        before, outside = frozen(model), _Outside(type(cell))
        # Two batch sizes that nothing else has, and one: what differs depends on the batch size.
        taken = {n for p in cell.parameters() for n in p.shape} | {self.inputs, self.outputs}
        primes = [n for n in PRIMES if n not in taken | set(self.widths)]
        try:
            tapes = [trace(model, n, self.dtype, self.widths) for n in (*primes[:2], 1)]
        finally:
            changed = outside.restore()
        if changed:
            raise Untraceable(f"forward or backward changes {changed}, which is not of the cell")
        after = frozen(model)
        if after != before:
            names = [k for k in after if k not in before or after[k] != before[k]]
            raise Untraceable(f"forward or backward sets self{(names or [''])[0]}")
        return tapes


class _Outside:
    """Lists, dictionaries and sets beside the cell that its methods know by name."""

    def __init__(self, kind: type) -> None:
        found: dict[str, Any] = {}
        for base in kind.__mro__:
            for function in vars(base).values():
                own = base.__module__.partition(".")[0] == "minirnn"
                if isinstance(function, FunctionType) and not own:
                    code, values = function.__code__, function.__closure__ or ()
                    found |= {n: function.__globals__.get(n) for n in code.co_names}
                    for name, cell in zip(code.co_freevars, values, strict=True):
                        with suppress(ValueError):  # not set yet
                            found[name] = cell.cell_contents
        self._before = {
            name: (thing, copy.copy(thing))
            for name, thing in found.items()
            if isinstance(thing, list | dict | set)
        }

    def restore(self) -> str:
        """Give all of them what they held before; return the name of one that was changed."""
        changed = ""
        for name, (thing, old) in self._before.items():
            if len(thing) != len(old):
                changed = name
                thing.clear()
                thing.extend(old) if isinstance(thing, list) else thing.update(old)
        return changed


def frozen(thing: Any) -> dict[str, Any]:
    """Return all that is known of a cell beside its parameters' numbers, by the path to it."""
    found: dict[str, Any] = {}
    _freeze(thing, "", found, {}, 0)
    return found


def _freeze(
    thing: Any, path: str, found: dict[str, Any], parameters: dict[int, str], depth: int
) -> None:
    items: Any = ()
    if isinstance(thing, Parameter):  # under its first name, should it have several
        shape, dtype = thing.shape, thing.value.dtype
        found[path] = parameters.setdefault(id(thing), path), shape, dtype
    elif isinstance(thing, np.ndarray):
        found[path] = thing.shape, thing.dtype.str, thing.tobytes()
    elif isinstance(thing, list | tuple | set | frozenset):
        found[path] = type(thing), len(thing)
        items = ((f"{path}[{k}]", item) for k, item in enumerate(thing))
    elif isinstance(thing, dict):
        found[path] = type(thing), len(thing)
        items = ((f"{path}[{k!r}]", item) for k, item in thing.items())
    elif isinstance(thing, PLAIN):
        found[path] = type(thing), thing
    elif isinstance(thing, Layer) or (hasattr(thing, "__dict__") and not callable(thing)):
        found[path] = type(thing), getattr(thing, "training", None)
        own = vars(thing).items()
        items = ((f"{path}.{name}", value) for name, value in own if name != "training")
    else:
        found[path] = _Same(thing)
    for where, item in items:
        if depth < 8:
            _freeze(item, where, found, parameters, depth + 1)


class _Same:
    """Equal to what holds the very same object."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


# ---------------------------------------------------------------- one code for all cells alike

_codes: dict[Any, Code | str] = {}
MOST_CODES = 256


def code_of(cell: Cell, methods: Any, verify: Any) -> Code | str:
    """Return the code of a cell, or the reason in words why it has none.

    Parameters
    ----------
    cell : Cell
    methods : what its forward and backward are
    verify : callable
        Is given the code of a cell not met before; returns what is wrong with it, or "".
    """
    if _native is None:
        return "the native engine was not built (python -m minirnn says more)"
    try:
        _ = cell.output_size  # an attribute of the cell from the first time on
        key = methods, tuple(frozen(cell).items())
        known = _codes.get(key)
    except Exception as error:
        return reason(error)
    if known is None:
        try:
            known = Code(cell)
            known = verify(known) or known
        except Exception as error:  # whatever tracing raises, the loop runs
            known = reason(error)
        while len(_codes) >= MOST_CODES:
            _codes.pop(next(iter(_codes)), None)
        _codes[key] = known
    return known


def reason(error: Exception) -> str:
    """Say what stopped the tracing, and in which line of the user's code."""
    text = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
    frames, at = [], error.__traceback__
    while at is not None:
        frames.append((at.tb_frame, at.tb_lineno))
        at = at.tb_next
    for frame, line in reversed(frames):
        module = f"{frame.f_globals.get('__name__')}."
        if module == "minirnn.recurrent.native.":
            break
        if not module.startswith(("minirnn.engine.", "minirnn.checks.", "numpy.", "copy.")):
            return f"{text} in {frame.f_code.co_qualname}, line {line}"
    return text
