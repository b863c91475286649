"""The code of a cell: traced once, tried out, and shared by all cells alike."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import suppress
from inspect import getclosurevars
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, Parameter
from minirnn.engine.graph import Graph
from minirnn.engine.program import fused, masked, merged
from minirnn.engine.schedule import Schedule
from minirnn.engine.settings import compiled as _native
from minirnn.engine.trace import Trace, sizes_of, trace
from minirnn.errors import Untraceable

__all__ = ["Code", "code_of", "frozen"]

PRIMES = 997, 1009, 1013, 1019, 1021, 1031, 1033, 1039  # batch sizes of a trace
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
        self._sizes = sizes_of(cell, self.widths)
        self._parameters = {name: p.size for name, p in parameters}
        traces = self._trace(cell)
        self.program, arrays = fused(merged(traces)), traces[0].arrays
        self.arrays = tuple(Parameter(a.astype(self.dtype)) for a in arrays)
        self._parameters |= {f"#{k}": a.size for k, a in enumerate(arrays)}
        self.plain, self.masked = map(self._compiled, (self.program, masked(self.program)))

    def _compiled(self, program: Graph) -> Any:
        s = Schedule(program, self._sizes, self._parameters)
        if _native is None:
            return None
        tables = [np.array(t, np.int64).tobytes() for t in (s.slots, s.outers, *s.tables)]
        tables.insert(2, np.array(s.constants, float).tobytes())
        counts = self.dtype.itemsize, len(self.widths), len(self._parameters)
        return _native.compile(*counts, tuple(tables))

    def _trace(self, cell: Cell) -> list[Trace]:
        for name in {"forward", "backward"} & vars(cell).keys():
            raise Untraceable(f"{name} was put on this object")
        # The numbers of the parameters are not needed, and may be many.
        arrays = [a for p in cell.parameters() for a in (p.value, p.grad)]
        model = copy.deepcopy(cell, {id(a): a for a in arrays})
        before, outside = _attributes(model), _containers(type(cell))
        held = {name: copy.copy(thing) for name, thing in outside.items()}
        # A batch size that nothing else has, and one: what differs depends on the batch size.
        taken = {n for p in cell.parameters() for n in p.shape} | set(self._sizes.values())
        prime = next(n for n in PRIMES if n not in taken)
        try:
            traces = [trace(model, n, self.dtype, self._sizes) for n in (prime, 1)]
        finally:
            changed = [name for name, thing in outside.items() if len(thing) != len(held[name])]
            for name in changed:
                thing: Any = outside[name]
                thing.clear()
                thing.extend(held[name]) if isinstance(thing, list) else thing.update(held[name])
        if changed:
            raise Untraceable(f"forward or backward changes {changed[0]}, which is not of the cell")
        after = _attributes(model)
        for name in after | before:
            if after.get(name) != before.get(name):
                raise Untraceable(f"forward or backward sets self.{name}")
        return traces


def _containers(kind: type) -> dict[str, Any]:
    """Return the lists, dictionaries and sets beside a cell that its methods know by name."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        for function in vars(base).values():
            own = base.__module__.partition(".")[0] == "minirnn"
            if isinstance(function, FunctionType) and not own:
                with suppress(ValueError):  # a name that has no value yet
                    known = getclosurevars(function)
                    found |= {**known.globals, **known.nonlocals}
    return {name: thing for name, thing in found.items() if isinstance(thing, list | dict | set)}


def _attributes(cell: Cell) -> dict[str, Any]:
    first: dict[int, int] = {}
    return {name: frozen(value, first) for name, value in vars(cell).items()}


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
        key = methods, frozen(cell)
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
    from traceback import walk_tb  # here, so that a cell that runs is not kept waiting

    text = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
    frames = list(walk_tb(error.__traceback__))
    for frame, line in reversed(frames):
        module = f"{frame.f_globals.get('__name__')}."
        if module == "minirnn.recurrent.native.":
            break
        if not module.startswith(("minirnn.engine.", "minirnn.checks.", "numpy.", "copy.")):
            return f"{text} in {frame.f_code.co_qualname}, line {line}"
    return text
