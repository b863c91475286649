"""Errors that have a meaning of their own here; all others are Python's."""

from __future__ import annotations


class NotFiniteError(FloatingPointError, ValueError):
    """The loss, or a gradient, is no longer a finite number: training cannot go on.

    The message says where the first such number stands. The parameters are those before the step
    that would have spoilt them.
    """


class CheckpointError(ValueError):
    """A file that is not a complete, readable checkpoint, or that belongs to something else."""


class Untraceable(Exception):  # noqa: N818  (a verdict on a cell, not a fault)
    """Why the engine cannot trace a cell, in words."""


def missing(library: str, extra: str) -> ImportError:
    """Return the error that says what to install."""
    return ImportError(
        f"this needs {library}, which is not installed; in the folder of minirnn's README.md: "
        f'pip install ".[{extra}]"'
    )
