"""A traced cell, bound to the arrays of a layer: forward, backward, step."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.engine.code import Code
from minirnn.engine.dependencies import Dependencies
from minirnn.engine.settings import current, native
from minirnn.typing import Array, Mask, State

# glibc gives freed memory back to the system, and page faults to have it again took 2 to 6 % of a
# training step. Once a large array has been freed, it keeps what is smaller than that.
np.empty(2**25 - 2**13, np.uint8)


class _Kept(NamedTuple):
    """What forward keeps for backward."""

    memory: Array
    number: int  # of the forward call
    x: Array
    mask: Mask | None
    reverse: bool
    threads: int


class Machine:
    """The code of a cell with the arrays of that cell; the methods are those of `Loop`.

    Without the cell's dependencies it is for one use.
    """

    def __init__(self, cell: Cell, code: Code, dependencies: Dependencies | None = None) -> None:
        self.cell, self.code, self._native = cell, code, native()
        self._parameters = (*cell.parameters(), *code.arrays)
        self._memory, self._calls = np.empty(0, np.uint8), 0
        self._dependencies = dependencies
        #: What the native step needs.
        self.of_step = code.dtype, code.native, self._parameters, (code.outputs, *code.widths)

    def serving(self, cell: Cell) -> Self | None:
        """Return this machine for `cell`, or None if anything has changed that it was made from."""
        if cell is self.cell and self._dependencies is not None and self._dependencies.same():
            return self
        return None

    def forward(
        self, x: Array, mask: Mask | None, state: State, *, reverse: bool, keep: bool
    ) -> tuple[Array, State, Any]:
        """Run over whole sequences."""
        threads, memory = current.threads, self._memory if keep else None
        x, y, final = self._run(x, mask, state, threads, reverse, memory)
        if not keep:
            return y, final, None
        self._calls += 1
        return y, final, _Kept(self._memory, self._calls, x, mask, reverse, threads)

    def step(self, x_t: Array, state: State) -> tuple[Array, State]:
        """Run one step."""
        made: tuple[Array, State] | None
        try:
            made = self._native.step(self.of_step, x_t, state)
        except ValueError:  # rows that are not whole, or a wrong state: `_run` copies, or says so
            made = None
        if made is not None:
            return made
        _, y, final = self._run(x_t, None, state, 1, False, None)
        return y, final

    def _run(
        self, x: Array, mask: Any, state: State, threads: int, reverse: bool, memory: Any
    ) -> tuple[Array, Array, State]:
        """Return x, or a copy of it that the machine can read, y and the final state."""
        code, run = self.code, partial(self._native.run, self.code.native, threads, reverse)
        y = np.empty((*x.shape[:-1], code.outputs), code.dtype)
        final = [np.empty((len(x), n), code.dtype) for n in code.widths]
        arrays = x, y, None, None, mask, *state, *final
        try:
            needed = run(arrays, self._parameters, memory)
        except ValueError:  # numbers of a row that do not lie side by side, or a wrong state
            if [a.shape for a in state] != [a.shape for a in final]:
                raise ValueError(
                    f"{type(self.cell).__name__}: the state should be arrays of the shapes "
                    f"{[a.shape for a in final]}, got {[a.shape for a in state]}: does "
                    f"initial_state return (batch, n) for the batch size that it is given?"
                ) from None
            x = _rows_whole(x)
            arrays = x, y, None, None, mask, *map(_rows_whole, state), *final
            needed = run(arrays, self._parameters, memory)
        if needed:
            self._memory = np.empty(needed, np.uint8)
            run(arrays, self._parameters, self._memory)
        return x, y, tuple(final)

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
        absent = (None,) * len(code.widths)
        grad_x = np.empty(kept.x.shape, code.dtype) if need_grad_x else None
        last = absent if grad_state is None else map(_rows_whole, grad_state)
        first = tuple([np.empty((len(grad), n), code.dtype) for n in code.widths])
        arrays = kept.x, None, _rows_whole(grad), grad_x, kept.mask, *absent, *absent, *last, *first
        self._native.run(
            code.native, kept.threads, kept.reverse, arrays, self._parameters, kept.memory
        )
        return grad_x, first


def _rows_whole(a: Array) -> Array:
    """Return the array, or a copy, with the numbers of a row side by side."""
    if a.strides[-1] == a.itemsize and a.flags.aligned:
        return a
    return np.array(a, order="C")
