"""A traced cell, bound to the arrays of a layer: forward, backward, step."""

from __future__ import annotations

import copy
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, Parameter
from minirnn.engine.program import Program
from minirnn.engine.schedule import Schedule
from minirnn.engine.settings import current
from minirnn.engine.trace import Tape, Untraceable, trace
from minirnn.typing import Array, Mask, State

_native: Any
try:
    _native = import_module("minirnn.engine._native")
except ImportError:  # built without a C compiler
    _native = None

__all__ = ["Code", "Machine", "code_of", "frozen", "native", "reason"]

BATCHES = 997, 1009, 1  # while tracing: two sizes that nothing else has, and one


def native() -> Any:
    """Return the compiled module, or None where it was not built."""
    return _native


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
        program = Program(self._tapes(cell), len(self.widths))
        sizes = {name: p.size for name, p in parameters}
        self.arrays = tuple(a.astype(self.dtype) for a in program.arrays)
        sizes |= {f"#{k}": a.size for k, a in enumerate(self.arrays)}
        self.schedule = s = Schedule(program, sizes, self.inputs, self.outputs, self.widths)
        self.program = program
        self.work = sum(p.size for _, p in parameters)
        tables = [
            np.ascontiguousarray(part).tobytes()
            for table in (s.forward, s.backward, s.backward_x)
            for part in table
        ]
        rest = np.array(s.outers, np.int64).tobytes(), np.array(s.constants, float).tobytes()
        slots = np.array(s.slots, np.int64).tobytes()
        self.native = _native.compile(self.dtype.itemsize, slots, *tables, *rest)

    def _tapes(self, cell: Cell) -> list[Tape]:
        for name in ("forward", "backward"):
            if name in vars(cell):
                raise Untraceable(f"{name} was put on this object")
        model = copy.deepcopy(cell)
        before, outside = frozen(model), _Outside(type(cell))
        try:
            tapes = [trace(model, batch, self.dtype, self.widths) for batch in BATCHES]
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
    elif isinstance(thing, _PLAIN):
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


_PLAIN = (bool, int, float, complex, str, bytes, type, type(None), np.dtype, np.generic)


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
    own = Path(__file__).parent
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        code = frame.f_code
        path = Path(code.co_filename)
        if path.parent != own and "numpy" not in path.parts and path.name not in ("copy.py",):
            if path.name == "checks.py" and path.parent == own.parent:
                continue
            if path.name == "native.py" and path.parent.name == "recurrent":
                break
            return f"{text} in {code.co_qualname}, line {line}"
    return text


# ---------------------------------------------------------------- a cell, run


class _Kept(NamedTuple):
    """What forward keeps for backward."""

    memory: Array
    number: int  # of the forward call
    x: Array
    mask: Mask | None
    reverse: bool
    threads: int


class Machine:
    """The code of a cell with the arrays of that cell; the methods are those of `Runner`.

    Parameters
    ----------
    cell : Cell
    code : Code
    """

    def __init__(self, cell: Cell, code: Code) -> None:
        self.cell, self.code = cell, code
        self._parameters = cell.parameters()
        self._memory = np.empty(0, np.uint8)
        self._calls = 0
        self._sizes: tuple[Any, ...] = ()
        self._bytes = 0
        self._attributes = tuple(vars(cell).values())
        plain = (*_PLAIN, Parameter)
        self._frozen = None if all(isinstance(a, plain) for a in self._attributes) else frozen(cell)

    def stands_for(self, cell: Cell) -> bool:
        """Whether nothing of the cell has changed that the code was made from."""
        if not _native.holds(vars(cell), self._attributes):
            return False
        return self._frozen is None or self._frozen == frozen(cell)

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run over whole sequences."""
        code = self.code
        batch, time, _ = x.shape
        threads = self._threads(batch, time)
        y = np.empty((batch, time, code.outputs), code.dtype)
        memory = None
        if keep:
            self._calls += 1
            memory = self._room(batch, time, threads, mask is not None)
        x, final = self._run(threads, reverse, x, mask, y, state, memory)
        if memory is None:
            return y, final, None
        return y, final, _Kept(memory, self._calls, x, mask, reverse, threads)

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Run one step."""
        y = np.empty((len(x_t), self.code.outputs), self.code.dtype)
        return y, self._run(1, False, x_t, None, y, state, None)[1]

    def _run(
        self, threads: int, reverse: bool, x: Array, mask: Any, y: Array, state: State, memory: Any
    ) -> tuple[Array, State]:
        """Return x, or a copy of it that the machine can read, and the final state."""
        code, batch = self.code, len(x)
        final = tuple([np.empty((batch, n), code.dtype) for n in code.widths])
        values = (*[p.value for p in self._parameters], *code.arrays)
        rest = mask, y, state, final, values, memory
        try:
            _native.forward(code.native, threads, reverse, x, *rest)
        except ValueError:  # numbers of a row that do not lie side by side, or a wrong state
            if [a.shape for a in state] != [a.shape for a in final]:
                raise ValueError(
                    f"{type(self.cell).__name__}: the state should be arrays of the shapes "
                    f"{[a.shape for a in final]}, got {[a.shape for a in state]}: does "
                    f"initial_state return (batch, n) for the batch size that it is given?"
                ) from None
            x, state = np.array(x, order="C"), tuple(np.array(a, order="C") for a in state)
            rest = mask, y, state, final, values, memory
            _native.forward(code.native, threads, reverse, x, *rest)
        return x, final

    def backward(
        self, grad: Array, grad_state: State | None, caches: Any, *, need_grad_x: bool
    ) -> tuple[Array | None, State]:
        """Go back through the latest forward that kept something."""
        code, kept = self.code, caches
        if kept.number != self._calls:
            raise RuntimeError(
                f"{type(self.cell).__name__}: backward belongs to the latest forward, and there "
                f"was another one since"
            )
        grad = _rows_whole(grad)
        batch = len(grad)
        grad_x = np.empty(kept.x.shape, code.dtype) if need_grad_x else None
        if grad_state is not None:
            grad_state = tuple([_rows_whole(a) for a in grad_state])
        first = tuple([np.empty((batch, n), code.dtype) for n in code.widths])
        values = tuple([p.value for p in self._parameters]) + code.arrays
        grads = tuple([p.grad for p in self._parameters])
        _native.backward(
            code.native, kept.threads, kept.reverse, kept.x, kept.mask, grad, grad_x, grad_state,
            first, values, grads, kept.memory,
        )  # fmt: skip
        return grad_x, first

    def _threads(self, batch: int, time: int) -> int:
        """Return how many threads are worth their start: rows for each, and work for each."""
        threads = min(current.threads, batch // 4)
        return threads if threads > 1 and batch * time * self.code.work > LEAST_WORK else 1

    def _room(self, batch: int, time: int, threads: int, masked: bool) -> Array:
        """Return memory for what is kept: that of the call before, if it is large enough."""
        sizes = batch, time, threads, masked
        if sizes != self._sizes:
            self._sizes = sizes
            self._bytes = _native.kept_bytes(self.code.native, *sizes)
        if len(self._memory) < self._bytes:
            memory = np.empty(self._bytes + 64, np.uint8)
            self._memory = memory[-memory.ctypes.data % 64 :]
        return self._memory


LEAST_WORK = 5_000_000  # multiplications: some tenths of a millisecond


def _rows_whole(a: Array) -> Array:
    """Return the array, or a copy, with the numbers of a row side by side."""
    if a.strides[-1] == a.itemsize and a.flags.aligned:
        return a
    return np.array(a, order="C")
