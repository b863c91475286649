"""The runner of all cells that the engine can trace."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.engine import Code, Machine, code_of, native
from minirnn.kernels import one_blas_thread
from minirnn.recurrent.loop import loop_backward, loop_forward
from minirnn.recurrent.runner import Runner, method_key

__all__ = ["NativeRunner", "native_runner"]


class NativeRunner(Machine, Runner):
    """Whole sequences in the native machine, from the cell's own forward and backward."""

    def __init__(self, cell: Cell, code: Code) -> None:
        Machine.__init__(self, cell, code)
        self.why = ""

    def describe(self) -> str:
        """Say that it is the machine, and of which kind."""
        return f"the native machine ({native().instruction_set()})"


def native_runner(cell: Cell) -> Runner | str:
    """Return a runner for the cell, or the reason in words why it can have none."""
    code = code_of(cell, method_key(cell), lambda code: _verify(cell, code))
    return code if isinstance(code, str) else NativeRunner(cell, code)


def _verify(cell: Cell, code: Code) -> str:
    """Run a small random problem through machine and loop; return what is wrong, or "".

    A mask with gaps, two batch sizes, three steps: whatever tracing has misunderstood shows.
    """
    rng = np.random.default_rng(0)
    by_machine = copy.deepcopy(cell)
    for parameter in by_machine.parameters():  # which may be zeros still, or worse
        value = np.where(
            np.abs(parameter.value) < 10, parameter.value, parameter.value.dtype.type(0)
        )
        value += np.resize(0.1 * rng.standard_normal(1009).astype(code.dtype), parameter.shape)
        parameter.value = value
    by_loop = copy.deepcopy(by_machine)
    for batch in (3, 1):
        by_machine.zero_grad()
        by_loop.zero_grad()
        mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)[:batch]

        def draw(*shape: int) -> Any:
            return np.asarray(rng.standard_normal(shape), code.dtype)

        x, grad_y = draw(batch, 3, code.inputs), draw(batch, 3, code.outputs)
        state, grad_state = (tuple(draw(batch, n) for n in code.widths) for _ in range(2))
        with one_blas_thread(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y, final, steps = loop_forward(by_loop, x, mask, state, reverse=False, keep=True)
            expected = [y, *final]
            grad_x, first = loop_backward(
                by_loop, grad_y, grad_state, mask, steps or [], input_size=code.inputs,
                reverse=False,
            )  # fmt: skip
            expected += [grad_x, *first, *[p.grad for p in by_loop.parameters()]]
        machine = Machine(by_machine, code)
        y, final, kept = machine.forward(x, mask, state, reverse=False, keep=True)
        found: list[Any] = [y, *final]
        grad_x_, first = machine.backward(grad_y, grad_state, kept, need_grad_x=True)
        found += [grad_x_, *first, *[p.grad for p in by_machine.parameters()]]
        tolerance = 1e-9 if code.dtype == np.float64 else 1e-3
        for a, b in zip(expected, found, strict=True):
            scale = max(1.0, float(np.abs(a).max(initial=0, where=np.isfinite(a))))
            with np.errstate(invalid="ignore"):
                same = (np.abs(a - b) <= tolerance * scale) | (a == b) | ((a != a) & (b != b))
            if not same.all():
                warnings.warn(
                    f"{type(cell).__name__}: the engine and the time loop do not agree on a small "
                    f"random problem, so the time loop runs. Does the cell do something else from "
                    f"call to call, or with other rows?",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return "engine and loop do not agree on a small random problem"
    return ""
