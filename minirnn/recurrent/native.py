"""The runner of all cells that the engine can trace."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.engine import native
from minirnn.engine.code import Code, code_of
from minirnn.engine.machine import Machine
from minirnn.recurrent.loop import Loop
from minirnn.typing import Array


class NativeRunner(Machine, Loop):
    """Whole sequences in the native machine, from the cell's own forward and backward."""

    native = True

    def describe(self) -> str:
        """Say that it is the machine, and of which kind."""
        return f"the native machine ({native().instruction_set()})"


def native_runner(cell: Cell) -> Loop | str:
    """Return a runner for the cell, or the reason in words why it can have none."""
    code, dependencies = code_of(cell, _verify)
    return code if isinstance(code, str) else NativeRunner(cell, code, dependencies)


def _verify(cell: Cell, code: Code) -> str:
    """Run a small random problem through machine and loop; return what is wrong, or "".

    Of one row over one step, twice in the loop, and of three rows over three, with gaps. The cell
    is a copy, which gets other numbers.
    """
    rng, machine, parameters = np.random.default_rng(0), Machine(cell, code), cell.parameters()
    noise = 0.1 * rng.standard_normal(1009).astype(code.dtype)
    for parameter in parameters:  # which may be zeros still, or worse
        parameter.value[~(np.abs(parameter.value) < 10)] = 0
        parameter.value += np.resize(noise, parameter.shape)
    tolerance = 1e-9 if code.dtype == np.float64 else 1e-3

    def draw(*shape: int) -> Any:
        return np.asarray(rng.standard_normal(shape), code.dtype)

    def results(mask: Any, batch: int, time: int, *runners: Any) -> list[list[Array]]:
        """Return the numbers that each of the runners gives."""
        x, grad = draw(batch, time, code.inputs), draw(batch, time, code.outputs)
        state, grad_state = [tuple(draw(batch, n) for n in code.widths) for _ in range(2)]
        found = []
        for runner in runners:
            for parameter in parameters:
                parameter.zero_grad()
            y, final, kept = runner.forward(x, mask, state, reverse=False, keep=True)
            grad_x, first = runner.backward(grad, grad_state, kept, need_grad_x=True)
            found.append([y, *final, grad_x, *first, *[p.grad.copy() for p in parameters]])
        return found

    gaps, loop = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool), Loop(cell)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once, again, found = results(None, 1, 1, loop, loop, machine)
        if [a.tobytes() for a in once] != [a.tobytes() for a in again]:
            return "its numbers change from call to call"
        pairs = [(once, found), results(gaps, 3, 3, loop, machine)]
        if all(_close(a, b, tolerance) for pair in pairs for a, b in zip(*pair, strict=True)):
            return ""
    why = "the engine and the time loop do not agree on a small random problem"
    warnings.warn(
        f"{type(cell).__name__}: {why}, so the time loop runs. Does the cell do something else "
        f"from call to call, or with other rows?",
        RuntimeWarning,
        stacklevel=2,
    )
    return why


def _close(a: Array, b: Array, tolerance: float) -> bool:
    """Whether numbers differ by little, beside the largest of `a`; what is not finite is equal."""
    distance = np.abs(a - b)
    if (distance <= tolerance).all():
        return True
    far = ~(distance <= tolerance * np.abs(a).max(initial=1, where=np.isfinite(a)))
    return np.array_equal(a[far], b[far], equal_nan=True)
