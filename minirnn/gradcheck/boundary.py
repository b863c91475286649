"""What is asked of the arguments of `check_gradients` and `check_layer` before anything runs."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.data.nested import leaves
from minirnn.losses import Loss

__all__ = ["check_arguments"]


def check_arguments(caller: str, layer: Any, inputs: tuple[Any, ...], mask: Any) -> None:
    """Raise unless the inputs are as many as forward takes, numbers, and a few of them.

    Parameters
    ----------
    caller : str
        Whose name stands in front of the message.
    layer : Layer, Cell or Loss
    inputs : tuple
        What forward is to be given. Of a loss, the prediction alone is looked at: what may stand
        in targets is for the loss to say.
    mask : as the caller was given it
    """
    what = type(layer).__name__
    if isinstance(layer, Layer) and not isinstance(layer, Cell):
        takes = _inputs_of(layer)
        if takes is not None and len(inputs) > takes:
            raise TypeError(
                f"{caller}: {what}.forward takes {takes} input{'s' * (takes > 1)}, got "
                f"{len(inputs)}; several in one are a tuple, a mask or a state goes by its name"
            )
    for name, value in leaves(inputs[0] if len(inputs) == 1 or isinstance(layer, Loss) else inputs,
                              "the input"):  # fmt: skip
        array = np.asarray(value)
        if value is None or array.dtype.kind not in "fiub":
            raise TypeError(f"{caller}: {name} should hold real numbers, got {_kind(value, array)}")
        if array.size == 0:
            raise ValueError(f"{caller}: {name} is empty, {array.shape}: take a batch of two or so")
        if mask is None and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(
                f"{caller}: {name} holds NaN or infinity, which no gradient can be compared at; "
                f"for padding, give its mask"
            )
    if isinstance(mask, np.ndarray) and len(inputs) == 1 and isinstance(layer, Layer):
        x = np.asarray(inputs[0])
        if x.ndim >= 2:
            checks.as_mask(layer, mask, x.shape[:2])


def _inputs_of(layer: Layer) -> int | None:
    """Return how many inputs forward takes beside mask and state; None if any number."""
    found = inspect.signature(layer.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in found):
        return None
    by_position = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.name not in ("mask", "state", "target_mask") for p in by_position)


def _kind(value: Any, array: Any) -> str:
    return type(value).__name__ if array.ndim == 0 else f"an array of {array.dtype}"
