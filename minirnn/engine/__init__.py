"""Any cell at native speed.

A cell's `forward` and `backward` are straight-line array code. They are run once on stand-ins for
arrays (`trace`), which gives a small program (`program`); it is laid out for a machine (`schedule`)
that runs whole sequences natively (`machine`, and ``native/``, in C). Where a cell cannot be
traced, or the C part was not built, the time loop in Python runs as ever.
"""

from minirnn.engine.machine import Code, Machine, code_of, native
from minirnn.engine.settings import ENGINES, current, use
from minirnn.engine.trace import Untraceable

__all__ = ["ENGINES", "Code", "Machine", "Untraceable", "code_of", "current", "native", "use"]
