"""Which runner a cell gets."""

from __future__ import annotations

from collections.abc import Callable

from minirnn.cells.cell import Cell
from minirnn.recurrent.fast import kernel_runner
from minirnn.recurrent.runner import LoopRunner, Runner

__all__ = ["ENGINES", "runner_for"]

ENGINES = ("auto", "off", "require")

# Faster than the loop, best first. Each returns a runner, or the reason in words why the cell
# cannot have this one.
_FASTER: tuple[Callable[[Cell], Runner | str], ...] = (kernel_runner,)


def runner_for(cell: Cell, engine: str = "auto", previous: Runner | None = None) -> Runner:
    """Return what runs the cell over time.

    Parameters
    ----------
    cell : Cell
    engine : "auto", "off" or "require"
        "auto" takes the fastest that can run the cell; "off" takes the loop; "require" raises
        where only the loop could.
    previous : Runner, optional
        The one of the call before, taken again if it still stands for the cell.

    Raises
    ------
    RuntimeError
        With "require", if there is only the loop; it says why.
    """
    if previous is not None:
        same = previous.serving(cell)
        if same is not None:
            return same
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
