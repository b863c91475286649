"""What the base class of optimizers sees to in its subclasses, one's own included."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.optimizers.buffer import Buffer, Slots
from minirnn.typing import Array

if TYPE_CHECKING:
    from minirnn.optimizers.base import Optimizer

__all__ = ["show_options", "update_and_check"]


def show_options(cls: type[Optimizer]) -> None:
    """Let the signature of a constructor with ``**options`` list them by name."""
    above: Any = cls.__mro__[1]
    base = inspect.signature(above.__init__).parameters
    method: Any = vars(cls).get("__init__")
    if method is None:
        return
    signature = inspect.signature(method)
    own = list(signature.parameters.values())
    if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD and own[-1].name == "options":
        own.pop()
        known = {parameter.name for parameter in own}
        keywords = [p for p in base.values() if p.kind is p.KEYWORD_ONLY and p.name not in known]
        method.__signature__ = signature.replace(parameters=[*own, *keywords])


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
