"""The code of a cell: traced once, tried out, and shared by all cells alike."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Parameter
from minirnn.engine.dependencies import Contents, Dependencies
from minirnn.engine.program import fuse, merged, narrow
from minirnn.engine.schedule import Schedule
from minirnn.engine.settings import compiled as _native
from minirnn.engine.trace import Trace, sizes_of, trace
from minirnn.errors import Untraceable

_PRIMES = 997, 1009, 1013, 1019, 1021, 1031, 1033, 1039  # batch sizes of a trace


# ---------------------------------------------------------------- the code of a cell


class Code:
    """What runs for a kind of cell, read from a copy of one: shared by all with the same key."""

    def __init__(self, cell: Cell, dependencies: Dependencies | None = None) -> None:
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
        traces = self._trace(cell, dependencies or Dependencies(cell))
        self.program, arrays = fuse(narrow(merged(traces))), traces[0].arrays
        self.arrays = tuple(Parameter(a.astype(self.dtype)) for a in arrays)
        self._parameters |= {f"#{k}": a.size for k, a in enumerate(arrays)}
        self.native = None if _native is None else self._compiled()

    def _compiled(self) -> Any:
        s = Schedule(self.program, self._sizes, self._parameters)
        tables = [np.array(t, np.int64).tobytes() for t in (s.slots, s.outers, *s.tables)]
        tables.insert(2, np.array(s.constants, float).tobytes())
        counts = self.dtype.itemsize, len(self.widths), len(self._parameters)
        return _native.compile(*counts, tuple(tables))

    def _trace(self, cell: Cell, dependencies: Dependencies) -> list[Trace]:
        for name in {"forward", "backward"} & vars(cell).keys():
            raise Untraceable(f"{name} was put on this object")
        held = Contents([("self", cell), *dependencies.outside])
        # A batch size that nothing else has, and one, if the cell looks at the batch size.
        taken = {n for p in cell.parameters() for n in p.shape} | set(self._sizes.values())
        prime = next(n for n in _PRIMES if n not in taken)
        try:
            traces = [trace(cell, prime, self.dtype, self._sizes)]
            if traces[0].graph.batch_seen:
                traces.append(trace(cell, 1, self.dtype, self._sizes))
        finally:
            changed = held.put_back() + dependencies.changed()
        if changed:
            raise Untraceable(f"forward or backward changes {changed[0]}")
        return traces


# ---------------------------------------------------------------- one code for all cells alike

_codes: dict[Any, Code | str] = {}
_MOST_CODES = 256


def code_of(
    cell: Cell, verify: Callable[[Cell, Code], str]
) -> tuple[Code | str, Dependencies | None]:
    """Return the code of a cell, or the reason in words why it has none; and what it depends on.

    `verify` is given a copy of a cell not met before and its code; it says what is wrong, or "".
    """
    if _native is None:
        return "the native engine was not built (python -m minirnn says more)", None
    try:
        _ = cell.output_size  # an attribute of the cell from the first time on
        dependencies = Dependencies(cell)
        known = _codes.get(dependencies.key)
    except Exception as error:
        return _reason(error), None
    if known is None:
        try:
            model = copy.deepcopy(cell)
            code = Code(model, dependencies)
            known = verify(model, code) or code
        except Exception as error:  # whatever tracing raises, the loop runs
            known = _reason(error)
        while len(_codes) >= _MOST_CODES:
            _codes.pop(next(iter(_codes)), None)
        _codes[dependencies.key] = known
    return known, dependencies


def _reason(error: Exception) -> str:
    """Say what stopped the tracing, and in which line of the user's code."""
    from traceback import walk_tb  # here, so that a cell that runs is not kept waiting

    text = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
    frames = list(walk_tb(error.__traceback__))
    for frame, line in reversed(frames):
        module = f"{frame.f_globals.get('__name__')}."
        if module == "minirnn.recurrent.native.":
            break
        ours = "minirnn.engine.", "minirnn.checks.", "numpy.", "copy.", "functools."
        if not module.startswith(ours):
            return f"{text} in {frame.f_code.co_qualname}, line {line}"
    return text
