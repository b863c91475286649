"""Which runner a cell gets: the fastest there is for it, or the loop."""

from __future__ import annotations

from minirnn.cells.cell import Cell
from minirnn.recurrent.loop import Loop

__all__ = ["runner_for"]


def runner_for(cell: Cell, engine: str) -> Loop:
    """Return what runs the cell over time.

    Parameters
    ----------
    cell : Cell
    engine : "auto", "off" or "require"
        "auto" takes the fastest that can run the cell, "off" the loop; "require" raises where only
        the loop could.

    Raises
    ------
    RuntimeError
        With "require", if there is only the loop; it says why.
    """
    runner = Loop(cell, 'engine="off"') if engine == "off" else _fastest(cell, engine)
    runner.engine = engine
    return runner


def _fastest(cell: Cell, engine: str) -> Loop:
    from minirnn.recurrent.fast import kernel_runner  # here, so that minirnn is imported sooner
    from minirnn.recurrent.native import native_runner

    reasons = []
    for make in (native_runner, kernel_runner):
        made = make(cell)
        if isinstance(made, Loop):
            return made
        reasons.append(made)
    if engine == "require":
        raise RuntimeError(
            f'{type(cell).__name__}: engine="require", but only the time loop in Python can run '
            f"it: {'; '.join(reasons)}"
        )
    return Loop(cell, "; ".join(reasons))
