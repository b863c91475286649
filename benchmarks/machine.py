"""What a figure was measured on, and how many threads it was allowed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["blas_threads", "describe", "limited", "run_again", "thread_variables"]

_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# ---------------------------------------------------------------- threads


def _threadpoolctl() -> Any:
    try:
        import threadpoolctl
    except ImportError:
        return None
    return threadpoolctl


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment that gives a BLAS so many threads when it is loaded."""
    return {**os.environ, **dict.fromkeys(_VARIABLES, str(threads))}


@contextmanager
def limited(threads: int) -> Iterator[bool]:
    """Run the block with so many BLAS threads.

    Yields False if that cannot be done any more: without the package threadpoolctl, a BLAS reads
    its number of threads from the environment while it is loaded, and never again. Then
    `run_again` helps.
    """
    threadpoolctl = _threadpoolctl()
    if threadpoolctl is not None:
        with threadpoolctl.threadpool_limits(limits=threads, user_api="blas"):
            yield True
        return
    yield all(os.environ.get(name) == str(threads) for name in _VARIABLES)


def run_again(arguments: Sequence[str], threads: int) -> int:
    """Run ``python -m benchmarks`` in a new process with the environment set; its exit status."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    root = Path(__file__).parent.parent
    environment = thread_variables(threads)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(root), *filter(None, [environment.get("PYTHONPATH")])]
    )
    return subprocess.run(command, env=environment, check=False).returncode


def blas_threads() -> int | None:
    """Return how many threads NumPy's BLAS has now, where that can be known."""
    threadpoolctl = _threadpoolctl()
    if threadpoolctl is None:
        return None
    pools = threadpoolctl.threadpool_info()
    return max((pool["num_threads"] for pool in pools if pool["user_api"] == "blas"), default=None)


# ---------------------------------------------------------------- description


def describe(threads: int) -> dict[str, Any]:
    """Return the machine, the versions, the threads and the date."""
    import numpy as np

    import minirnn
    from benchmarks.peers import find_torch

    torch = find_torch()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": threads,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "vector_unit": _vector_unit(),
            "system": f"{platform.system()} {platform.machine()}",
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        },
        "versions": {
            "minirnn": minirnn.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "blas": _blas(np),
            "torch": None if torch is None else str(torch.__version__),
        },
    }


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _processor() -> str:
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    megahertz = _cpuinfo("cpu MHz")
    return f"{name}, {float(megahertz) / 1000:.1f} GHz" if megahertz else name


def _vector_unit() -> str | None:
    flags = _cpuinfo("flags").split()
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    return next((name for flag, name in known.items() if flag in flags), None)


def _blas(np: Any) -> str:
    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    except (TypeError, KeyError):
        return "unknown"
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()
