"""One BLAS thread for the time loop, which two slow down.

The products of a time loop take 1 to 500 us each: too short to share. On a busy machine a second
thread that waits for its core made a step of a small LSTM 7 times slower, of a large one 3 times.
Setting the number of threads costs 11 us, as much as 2 steps of a small network, so do it once
around many calls (a whole training run), not in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["one_blas_thread"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the block with one BLAS thread, and restore the number after it.

    Does nothing if the package threadpoolctl is not installed. The setting is the process's own:
    other threads of the process see it too, while the block runs.

    Examples
    --------
    >>> with one_blas_thread():
    ...     pass  # many training steps
    """
    controller = _controller()
    if controller is None:
        yield
        return
    with controller.limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    """Find the loaded BLAS libraries: 9 ms, so once per process."""
    try:
        threadpoolctl = import_module("threadpoolctl")
    except ImportError:
        return None
    return threadpoolctl.ThreadpoolController()
