"""The runner of all cells that the engine can trace."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.engine import native
from minirnn.engine.code import Code, code_of
from minirnn.engine.machine import Machine
from minirnn.recurrent.loop import Loop, method_key

__all__ = ["NativeRunner", "native_runner"]


class NativeRunner(Machine, Loop):
    """Whole sequences in the native machine, from the cell's own forward and backward."""

    native = True

    def __init__(self, cell: Cell, code: Code) -> None:
        Machine.__init__(self, cell, code)

    def describe(self) -> str:
        """Say that it is the machine, and of which kind."""
        return f"the native machine ({native().instruction_set()})"


def native_runner(cell: Cell) -> Loop | str:
    """Return a runner for the cell, or the reason in words why it can have none."""
    code = code_of(cell, method_key(cell), lambda code: _verify(cell, code))
    return code if isinstance(code, str) else NativeRunner(cell, code)


def _verify(cell: Cell, code: Code) -> str:
    """Run a small random problem through machine and loop; return what is wrong, or "".

    Two batch sizes, three steps, with a mask that has gaps and without one: whatever tracing has
    misunderstood shows.
    """
    rng, cell = np.random.default_rng(0), copy.deepcopy(cell)
    noise = 0.1 * rng.standard_normal(1009).astype(code.dtype)
    for parameter in cell.parameters():  # which may be zeros still, or worse
        parameter.value[~(np.abs(parameter.value) < 10)] = 0
        parameter.value += np.resize(noise, parameter.shape)
    tolerance = 1e-9 if code.dtype == np.float64 else 1e-3

    def draw(*shape: int) -> Any:
        return np.asarray(rng.standard_normal(shape), code.dtype)

    gaps = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    for batch, mask in ((3, gaps), (1, None)):
        x, grad = draw(batch, 3, code.inputs), draw(batch, 3, code.outputs)
        state, grad_state = (tuple(draw(batch, n) for n in code.widths) for _ in range(2))
        results = []
        for runner in (Loop(cell), Machine(cell, code)):
            cell.zero_grad()
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                y, final, kept = runner.forward(x, mask, state, reverse=False, keep=True)
                grad_x, first = runner.backward(grad, grad_state, kept, need_grad_x=True)
            grads = [p.grad.copy() for p in cell.parameters()]
            results.append([y, *final, grad_x, *first, *grads])
        for a, b in zip(*results, strict=True):
            scale = tolerance * max(1.0, np.abs(a).max(initial=0, where=np.isfinite(a)))
            with np.errstate(invalid="ignore"):
                wrong = (np.abs(a - b) > scale) | (np.isnan(a) != np.isnan(b))
            if wrong.any():
                warnings.warn(
                    f"{type(cell).__name__}: the engine and the time loop do not agree on a small "
                    f"random problem, so the time loop runs. Does the cell do something else from "
                    f"call to call, or with other rows?",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return "engine and loop do not agree on a small random problem"
    return ""
