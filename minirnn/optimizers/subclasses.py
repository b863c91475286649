"""The first update of an optimizer, one's own included: whether it works."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.optimizers.buffer import Buffer, Slots
from minirnn.typing import Array

if TYPE_CHECKING:
    from minirnn.optimizers.base import Optimizer

__all__ = ["update_and_check"]


def update_and_check(optimizer: Optimizer, buffer: Buffer, grad: Array, rate: float) -> bool:
    """Call `update`, and raise if it cannot have worked; return whether it is known to work.

    What it did is known as soon as there is a gradient and a rate.
    """
    name = type(optimizer).__name__
    before = buffer.values.copy()
    update: Any = optimizer.update
    returned = update(buffer.values, grad, rate, buffer.slots)
    if returned is not None:
        buffer.values[:] = before
        raise TypeError(
            f"{name}: update returned {type(returned).__name__}, which is ignored; change "
            f"value in place, value -= ..., and return nothing"
        )
    if not rate or not grad.any():
        return False
    if np.array_equal(before, buffer.values) and not _moves(optimizer, buffer, grad):
        raise RuntimeError(
            f"{name}: update changed nothing, although there are a gradient and a learning rate; "
            f"value = value - ... makes a new array, write value -= ..., or value[:] = ..."
        )
    still = [key for key, vector in buffer.slots.items() if not vector.any()]
    if still:
        warnings.warn(
            f"{name}: slot {still[0]} is zero after an update with a gradient; {still[0]} = ... "
            f"makes a new array that is forgotten, write {still[0]}[:] = ..., or {still[0]} += ...",
            RuntimeWarning,
            stacklevel=3,
        )
    return True


def _moves(optimizer: Optimizer, buffer: Buffer, grad: Array) -> bool:
    """Return whether an update by a rate that cannot be lost in rounding changes anything."""
    for start in (buffer.values, np.zeros_like(buffer.values)):
        trial = start.copy()
        optimizer.update(trial, grad, 1.0, Slots(trial))
        if not np.array_equal(trial, start):
            return True
    return False
