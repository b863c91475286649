"""One BLAS thread for the many products of a training step.

They take 1 to 500 us each: too short to be shared. On an idle machine with two cores, a second
thread gained 17 to 27 per cent of a training step at hidden sizes 128 and 256, and nothing below.
On a busy one it has to wait for its core each time: a step of a small LSTM took 64 ms in place of
9, and one of a large LSTM up to 490 in place of 173. What is worth sharing is the batch, by rows,
which the engine does (`minirnn.engine.use`).

The number of threads belongs to the process. Setting it takes half a microsecond through NumPy's
own OpenBLAS; where NumPy was built with another BLAS, the package threadpoolctl does it if it is
installed, and else the number stays what it is.
"""

from __future__ import annotations

import ctypes
import os
from _thread import RLock  # at a tenth of the time that threading takes to import
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["one_blas_thread"]

_OPENBLAS_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads",
                   "openblas_{}_num_threads64_", "openblas_{}_num_threads")  # fmt: skip


class _Blas(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], Any]


class _Process:
    """Which blocks are open in this process, and how many threads there were before them."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.blocks: set[int] = set()
        self.inside = False  # whether BLAS has been told that there are blocks
        self.outside = 1  # how many threads it had before

    def settle(self) -> None:
        """Give BLAS the number of threads that it should have now; may be called at any time."""
        with self.lock:
            while bool(self.blocks) != self.inside:  # again, should a block have come meanwhile
                blas = _blas()
                if not self.inside:
                    self.outside, self.inside = 1 if blas is None else blas.get(), True
                    if blas is not None and self.outside > 1:
                        blas.set(1)
                else:
                    if blas is not None and self.outside > 1 and blas.get() == 1:
                        blas.set(self.outside)  # else somebody has set it
                    self.inside = False

    def forked(self) -> None:
        """Forget, in the child of a fork, the blocks of threads that are not there."""
        self.lock = RLock()
        self.blocks = set()
        self.settle()


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forked)


class one_blas_thread:  # noqa: N801  (a function, to the reader, that stands in a with statement)
    """A block in which BLAS has one thread; such blocks may stand inside one another.

    An interrupt at whatever moment leaves the number of threads that there was: a block that is
    lost between its first instruction and its end ends when its object does.

    Examples
    --------
    >>> import numpy as np
    >>> with one_blas_thread():
    ...     product = np.ones((2, 3)) @ np.ones((3, 2))
    """

    def __enter__(self) -> None:
        _process.blocks.add(id(self))
        if not _process.inside:
            _process.settle()

    def __exit__(self, *error: object) -> None:
        _process.blocks.discard(id(self))
        if not _process.blocks:
            _process.settle()

    def __del__(self) -> None:
        if id(self) in _process.blocks or (_process.inside and not _process.blocks):
            self.__exit__()


@cache
def _blas() -> _Blas | None:
    """Find out how to ask for the number of threads, and how to set it."""
    try:
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__ or "")
    except (ImportError, OSError):  # another layout of NumPy, or a system without such libraries
        return _other_blas()
    for name in _OPENBLAS_NAMES:
        try:
            get, set_ = (library[name.format(verb)] for verb in ("get", "set"))
        except AttributeError:
            continue
        get.restype, get.argtypes = ctypes.c_int, []
        set_.restype, set_.argtypes = None, [ctypes.c_int]
        return _Blas(get, set_)
    return _other_blas()


def _other_blas() -> _Blas | None:
    try:
        threadpoolctl = import_module("threadpoolctl")
    except ImportError:
        return None
    found = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    if not found:
        return None
    return _Blas(found[0].get_num_threads, found[0].set_num_threads)
