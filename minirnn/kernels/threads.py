"""One BLAS thread for the many small products, all of them for the few large ones.

A time loop multiplies hundreds of times, for 1 to 500 us each: too short to be shared. On an idle
machine with two cores, a second thread gained 17 to 27 per cent of a training step at hidden sizes
128 and 256, and nothing below. On a busy one it has to wait for its core each time: a step of a
small LSTM took 64 ms in place of 9, and one of a large LSTM up to 490 in place of 173. So
everything here runs with one thread, but for the products that take milliseconds: those over all
steps at once, of large layers.

The number of threads belongs to the process. Setting it takes half a microsecond through NumPy's
own OpenBLAS; where NumPy was built with another BLAS, the package threadpoolctl does it if it is
installed, and else the number stays what it is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, NamedTuple

from minirnn.typing import Array

__all__ = ["dot", "one_blas_thread"]

_LARGE = 10**8  # multiplications: from here on a product takes some milliseconds

_OPENBLAS_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads",
                   "openblas_{}_num_threads64_", "openblas_{}_num_threads")  # fmt: skip


class _Blas(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], Any]


class _OneThread:
    """A block in which BLAS has one thread; such blocks may stand inside one another.

    Examples
    --------
    >>> import numpy as np
    >>> with one_blas_thread:
    ...     product = np.ones((2, 3)) @ np.ones((3, 2))
    """

    def __init__(self) -> None:
        self.depth = 0
        self.threads = 1  # how many there were outside
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self.depth == 0:
                blas = _blas()
                if blas is not None:
                    self.threads = blas.get()
                    if self.threads > 1:
                        blas.set(1)
            self.depth += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.depth -= 1
            if self.depth == 0 and self.threads > 1:
                blas = _blas()
                if blas is not None:
                    blas.set(self.threads)
                self.threads = 1


one_blas_thread = _OneThread()


def dot(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return ``a @ b`` of two matrices, with all threads if that is large enough to be shared.

    Parameters
    ----------
    a, b : arrays (m, k) and (k, n)
    out : array (m, n), optional
    """
    threads, blas = one_blas_thread.threads, _blas()
    if threads == 1 or blas is None or len(a) * len(b) * b.shape[1] < _LARGE:
        return a.dot(b, out)
    blas.set(threads)
    try:
        return a.dot(b, out)
    finally:
        blas.set(1)


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
