"""Which runner a cell gets."""

from __future__ import annotations

from collections.abc import Callable

from minirnn import engine as engines
from minirnn.cells.cell import Cell
from minirnn.engine import ENGINES
from minirnn.recurrent.runner import LoopRunner, Runner

__all__ = ["ENGINES", "runner_for"]


def _native(cell: Cell) -> Runner | str:
    from minirnn.recurrent.native import native_runner  # here, so that minirnn is imported sooner

    return native_runner(cell)


def _kernel(cell: Cell) -> Runner | str:
    from minirnn.recurrent.fast import kernel_runner

    return kernel_runner(cell)


# Faster than the loop, best first. Each returns a runner, or the reason in words why the cell
# cannot have this one.
_FASTER: tuple[Callable[[Cell], Runner | str], ...] = (_native, _kernel)


def runner_for(cell: Cell, engine: str = "auto", previous: Runner | None = None) -> Runner:
    """Return what runs the cell over time.

    Parameters
    ----------
    cell : Cell
    engine : "auto", "off" or "require"
        "auto" takes what `minirnn.engine.use` says, which at first is the fastest that can run the
        cell; "off" takes the loop; "require" raises where only the loop could.
    previous : Runner, optional
        The one of the call before, taken again if it still stands for the cell.

    Raises
    ------
    RuntimeError
        With "require", if there is only the loop; it says why.
    """
    if engine == "auto":
        engine = engines.current.engine
    if previous is not None and previous.engine == engine:
        same = previous.serving(cell)
        if same is not None:
            return same
    runner = _choose(cell, engine)
    runner.engine = engine
    return runner


def _choose(cell: Cell, engine: str) -> Runner:
    if engine == "off":
        return LoopRunner(cell, 'engine="off"')
    reasons = []
    for make in _FASTER:
        made = make(cell)
        if isinstance(made, Runner):
            return made
        reasons.append(made)
    if engine == "require":
        raise RuntimeError(
            f'{type(cell).__name__}: engine="require", but only the time loop in Python can run '
            f"it: {'; '.join(reasons)}"
        )
    return LoopRunner(cell, "; ".join(reasons))
