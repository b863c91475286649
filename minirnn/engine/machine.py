"""A traced cell, bound to the arrays of a layer: forward, backward, step."""

from __future__ import annotations

from operator import attrgetter, is_
from typing import Any, NamedTuple

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Parameter
from minirnn.engine.code import PLAIN, Code, frozen, native
from minirnn.engine.settings import current
from minirnn.typing import Array, Mask, State

__all__ = ["Machine"]

_values, _grads = attrgetter("value"), attrgetter("grad")
LEAST_WORK = 5_000_000  # multiplications: some tenths of a millisecond


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
        self.cell, self.code, self._native = cell, code, native()
        self._parameters = cell.parameters()
        self._memory = np.empty(0, np.uint8)
        self._calls = 0
        self._sizes: tuple[Any, ...] = ()
        self._bytes = 0
        self._attributes = tuple(vars(cell).values())
        plain = (*PLAIN, Parameter)
        self._frozen = None if all(isinstance(a, plain) for a in self._attributes) else frozen(cell)

    def stands_for(self, cell: Cell) -> bool:
        """Whether nothing of the cell has changed that the code was made from."""
        if not self._native.holds(vars(cell), self._attributes):
            return False
        if self._frozen is None:
            return True
        now = cell.parameters()
        same = len(now) == len(self._parameters) and all(map(is_, now, self._parameters))
        return same and self._frozen == frozen(cell)

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
        values = (*map(_values, self._parameters), *code.arrays)
        rest = mask, y, state, final, values, memory
        try:
            self._native.forward(code.native, threads, reverse, x, *rest)
        except ValueError:  # numbers of a row that do not lie side by side, or a wrong state
            if [a.shape for a in state] != [a.shape for a in final]:
                raise ValueError(
                    f"{type(self.cell).__name__}: the state should be arrays of the shapes "
                    f"{[a.shape for a in final]}, got {[a.shape for a in state]}: does "
                    f"initial_state return (batch, n) for the batch size that it is given?"
                ) from None
            x, state = np.array(x, order="C"), tuple(np.array(a, order="C") for a in state)
            rest = mask, y, state, final, values, memory
            self._native.forward(code.native, threads, reverse, x, *rest)
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
        values = (*map(_values, self._parameters), *code.arrays)
        grads = tuple(map(_grads, self._parameters))
        self._native.backward(
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
            self._bytes = self._native.kept_bytes(self.code.native, *sizes)
        if len(self._memory) < self._bytes:
            memory = np.empty(self._bytes + 64, np.uint8)
            self._memory = memory[-memory.ctypes.data % 64 :]
        return self._memory


def _rows_whole(a: Array) -> Array:
    """Return the array, or a copy, with the numbers of a row side by side."""
    if a.strides[-1] == a.itemsize and a.flags.aligned:
        return a
    return np.array(a, order="C")
