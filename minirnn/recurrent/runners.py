"""Which runner a cell gets: the fastest there is for it, or the loop."""

from __future__ import annotations

from typing import Any

from minirnn.cells.cell import Cell
from minirnn.engine import current
from minirnn.recurrent.loop import Loop


def runner_of(layer: Any) -> Loop:
    """Return what runs the cell of a layer: the runner of the call before, while it stands for it.

    The layer's engine says what it may be: "auto" takes the fastest that can run the cell, "off"
    the loop; "require" raises a RuntimeError, which says why, where only the loop could.
    """
    cell = layer.cell
    if layer.observer is not None:
        return Loop(cell, "a recorder looks at every step", layer.observer)
    engine = current.engine if layer._engine == "auto" else layer._engine
    runner: Loop | None = layer._runner and layer._runner.serving(cell)
    if runner is None or runner.engine != engine:
        runner = Loop(cell, 'engine="off"') if engine == "off" else _fastest(cell, engine)
        runner.engine = engine
    if runner is not layer._runner:
        layer._runner = runner
    return runner


def _fastest(cell: Cell, engine: str) -> Loop:
    from minirnn.recurrent.native import native_runner  # here, so that minirnn is imported sooner

    native = native_runner(cell)
    if isinstance(native, Loop):
        return native
    from minirnn.recurrent.fast import kernel_runner  # the native runner does without the kernels

    kernel = kernel_runner(cell)
    if isinstance(kernel, Loop):
        return kernel
    if engine == "require":
        raise RuntimeError(
            f'{type(cell).__name__}: engine="require", but only the time loop in Python can run '
            f"it: {native}; {kernel}"
        )
    return Loop(cell, f"{native}; {kernel}")
