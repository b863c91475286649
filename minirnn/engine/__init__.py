"""Any cell at native speed.

A cell's `forward` and `backward` are straight-line array code. They are run once on stand-ins for
arrays (`trace`), which gives a small program (`program`); it is laid out for a machine (`schedule`)
that runs whole sequences natively (`machine`, and ``native/``, in C). Where a cell cannot be
traced, or the C part was not built, the time loop in Python runs as ever.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from minirnn.engine.settings import ENGINES, current, native, outdated, use
from minirnn.errors import Untraceable

if TYPE_CHECKING:
    from minirnn.cells.cell import Cell

__all__ = ["ENGINES", "Untraceable", "current", "native", "outdated", "program_of", "use"]


def program_of(cell: Cell) -> str:
    """Return the program of a cell as text: what its forward and backward do, line by line.

    Raises
    ------
    Untraceable
        With the reason why the cell runs in the loop.

    Examples
    --------
    >>> from minirnn import RNNCell
    >>> print(program_of(RNNCell(3, 4)))
    t0 = x @ Wx + state[0] @ Wh + b
    t1 = tanh(t0)
    t2 = grad_y + grad_state[0]
    t3 = t2 * (1 - t1**2)
    t4 = t3 @ Wx.T
    t5 = t3 @ Wh.T
    y = t1
    state[0] = t1
    Wx.grad += x.T @ t3
    Wh.grad += state[0].T @ t3
    b.grad += sum over the batch of t3
    grad_x = t4
    grad_state[0] = t5
    """
    from minirnn.engine.code import Code  # here, so that minirnn is imported sooner
    from minirnn.engine.program import written

    return written(Code(copy.deepcopy(cell)).program)
