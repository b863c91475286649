"""Memory that a layer keeps for its kernel between calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from minirnn.typing import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = ["Workspace"]

_ALIGNMENT = 64  # bytes: one cache line, one AVX-512 register

Plan = TypeVar("Plan")


class Workspace:
    """Arrays, and views of them, that serve one layer call after call.

    A layer keeps one workspace and hands it to each call of its kernel. Then a steady training
    loop allocates only what it returns, and cuts its arrays into a view per step only when a
    shape changes. Nothing that a kernel returns to its caller lives here, except its cache, which
    is good until the next forward call that keeps one.

    A copy (`copy.deepcopy`, `pickle`) is an empty workspace: views would not survive a copy as
    views of one another.

    Attributes
    ----------
    generation : int
        How many caches were kept here; the newest one only is still valid.

    Examples
    --------
    >>> import numpy as np
    >>> workspace = Workspace()
    >>> large = workspace.array("hidden", (4, 3), np.float32)
    >>> small = workspace.array("hidden", (2, 3), np.float32)
    >>> np.shares_memory(large, small)
    True
    """

    def __init__(self) -> None:
        _keep_freed_memory()
        self.generation = 0
        self._lock = Lock()
        self._buffers: dict[str, Array] = {}
        self._plans: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def array(
        self, name: str, shape: tuple[int, ...], dtype: DTypeLike, order: Literal["C", "F"] = "C"
    ) -> Array:
        """Uninitialised array of this shape, in the memory kept under this name.

        The memory only grows, so that batches of changing length do not allocate either.

        Parameters
        ----------
        name : key of the memory; asking again under the same name hands out the same memory
        shape, dtype, order : as for `numpy.empty`
        """
        dtype = np.dtype(dtype)
        size = prod(shape) * dtype.itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < size:
            buffer = np.empty(size + _ALIGNMENT, np.uint8)
            buffer = buffer[-buffer.ctypes.data % _ALIGNMENT :]
            self._buffers[name] = buffer
        return buffer[:size].view(dtype).reshape(shape, order=order)

    def plan(self, name: str, build: Callable[..., Plan], *sizes: Any) -> Plan:
        """``build(self, name, *sizes)``, remembered until it is asked for with other sizes.

        Parameters
        ----------
        name : key of the plan
        build : takes its arrays from `array`, under names that no other plan uses
        sizes : all that the plan depends on
        """
        known = self._plans.get(name)
        if known is None or known[0] != sizes:
            known = self._plans[name] = (sizes, build(self, name, *sizes))
        plan: Plan = known[1]
        return plan

    @contextmanager
    def alone(self) -> Iterator[Workspace]:
        """Yield this workspace if no other thread has it, else a new one, for the block."""
        if not self._lock.acquire(blocking=False):
            yield Workspace()
            return
        try:
            yield self
        finally:
            self._lock.release()

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays for the next ones.

    What a layer returns is new in every step, and freed after it. glibc hands such memory back to
    the system and takes it again page by page, which made a GRU's training step 14 percent longer
    at hidden size 64, 7 at 128. Once an array of 32 MiB was freed, its own rule is to keep up to 64
    (mallopt(3), under M_MMAP_THRESHOLD); the array itself is never touched, so it takes no memory.
    Other systems do as they please.
    """
    np.empty(2**25 - 2**13, np.uint8)  # with its header just within the rule
