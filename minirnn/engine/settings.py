"""What is set for the whole library: which engine runs, and with how many threads."""

from __future__ import annotations

import os
from importlib import import_module
from operator import attrgetter
from typing import Any, Self
from zlib import crc32

ENGINES = ("auto", "off", "require")

compiled: Any
try:
    compiled = import_module("minirnn.engine._native")
except ImportError:  # built without a C compiler
    compiled = None


def _changed(built_from: int | None) -> bool:
    """Whether the C sources beside this file are others: a checkout has moved on."""
    folder, checksum = os.path.join(os.path.dirname(__file__), "native"), 0
    for name in sorted(os.listdir(folder)):
        if name.endswith((".c", ".h")):
            with open(os.path.join(folder, name), "rb") as file:
                checksum = crc32(file.read(), checksum)
    return built_from not in (None, checksum)


outdated = _changed(getattr(compiled, "sources", None))
if outdated:
    compiled = None


def native() -> Any:
    """Return the compiled module, or None where there is none that can be used."""
    return compiled


class _Settings:
    native: Any  # what is compiled, and None while the engine is off: one attribute to look at
    threads: int

    def _set_engine(self, engine: str) -> None:
        self._engine = engine
        self.native = None if engine == "off" else compiled

    engine = property(attrgetter("_engine"), _set_engine)


def default_engine() -> str:
    """Return MINIRNN_ENGINE where it is set, else "auto"."""
    engine = os.environ.get("MINIRNN_ENGINE") or "auto"
    if engine not in ENGINES:
        raise ValueError(f"MINIRNN_ENGINE should be one of {', '.join(ENGINES)}, got {engine!r}")
    return engine


def _default_threads() -> int:
    """Return OMP_NUM_THREADS where it is set, else the number of processors for this process."""
    try:
        return max(1, int(os.environ.get("OMP_NUM_THREADS", "")))
    except ValueError:
        pass
    available = getattr(os, "sched_getaffinity", None)
    return len(available(0)) if available is not None else os.cpu_count() or 1


current = _Settings()
current.engine, current.threads = default_engine(), _default_threads()


class use:  # noqa: N801  (a function, to the reader, that may stand in a with statement)
    """Choose the engine, for all layers; as a context manager, until the end of the block.

    Parameters
    ----------
    engine : "auto", "off" or "require", optional
        "auto" runs each cell as fast as it can be run; "off" runs the plain time loop in Python,
        everywhere; "require" raises where a cell would have to run in the loop. A layer's own
        ``engine=`` keyword is stronger where it is not "auto". At first it is the environment's
        MINIRNN_ENGINE, or else "auto".
    threads : int, optional
        How many threads share the rows of a batch. Results are the same, bit for bit, with the
        same number, and to rounding with another. At first it is OMP_NUM_THREADS, or else the
        number of processors.

    Raises
    ------
    TypeError, ValueError
        For threads that are no whole number of at least 1, and another engine; nothing is set.

    Examples
    --------
    >>> import numpy as np
    >>> import minirnn
    >>> layer = minirnn.LSTM(3, 4, rng=0)
    >>> with minirnn.engine.use("off"):
    ...     print(layer.engine)
    the time loop in Python: engine="off"
    """

    def __init__(self, engine: str | None = None, *, threads: int | None = None) -> None:
        if engine is not None and engine not in ENGINES:
            kind = ValueError if isinstance(engine, str) else TypeError
            raise kind(f"use: engine should be one of {', '.join(ENGINES)}, got {engine!r}")
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool)):
            raise TypeError(f"use: threads should be a whole number, got {threads!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"use: threads should be at least 1, got {threads}")
        self._before = current.engine, current.threads
        current.engine = engine or current.engine
        current.threads = threads or current.threads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        current.engine, current.threads = self._before
