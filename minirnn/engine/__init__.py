"""Any cell at native speed.

A cell's `forward` and `backward` are straight-line array code. They are run once on stand-ins for
arrays (`trace`), which gives a small program (`program`); it is laid out for a machine (`schedule`)
that runs whole sequences natively (`machine`, and ``native/``, in C). Where a cell cannot be
traced, or the C part was not built, the time loop in Python runs as ever.
"""

from minirnn.cells.cell import Cell
from minirnn.engine.code import Code, code_of, native
from minirnn.engine.machine import Machine
from minirnn.engine.settings import ENGINES, current, use
from minirnn.engine.trace import Untraceable

__all__ = [
    "ENGINES",
    "Code",
    "Machine",
    "Untraceable",
    "code_of",
    "current",
    "native",
    "program_of",
    "use",
]


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
    t0 = product(x, Wx, b)
    t1 = product(state[0], Wh, t0)
    t2 = tanh(t1)
    t3 = add(grad_y, grad_state[0])
    t4 = mulrest2(t3, 1, t2)
    t5 = product(t4, Wx.T)
    t6 = product(t4, Wh.T)
    y = t2
    state[0] = t2
    Wx.grad += x.T @ t4
    Wh.grad += state[0].T @ t4
    b.grad += sum over the batch of t4
    grad_x = t5
    grad_state[0] = t6
    """
    return str(Code(cell).program)
