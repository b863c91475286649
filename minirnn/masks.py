"""How a mask goes through a model: checked and applied once, handed on from layer to layer.

A mask is a boolean array ``(batch, time)``, True where the step is valid. For several inputs, a
tuple or a dictionary of arrays, it is one of the same kind, with None for an input without padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import Array, Mask

LEAVES: set[type] = {np.ndarray, bool, int, float, str, type(None)}
"""Kinds of attributes that hold no layers."""


def checked(owner: object, x: Any, mask: Any) -> tuple[Any, Any]:
    """Return the inputs with zeros in place of the padding, and the mask, checked.

    So whatever stood in the padding, NaN included, reaches no layer.
    """
    if mask is None:
        return x, None
    if isinstance(x, tuple):
        if not isinstance(mask, tuple | list) or len(mask) != len(x):
            raise TypeError(
                f"{checks.name_of(owner)}: for {len(x)} inputs the mask should be a tuple of "
                f"{len(x)}, None for an input without padding, got {type(mask).__name__}"
            )
        pairs = [checked(owner, one, its) for one, its in zip(x, mask, strict=True)]
        return tuple(one for one, _ in pairs), tuple(its for _, its in pairs)
    if isinstance(x, dict):
        if not isinstance(mask, dict) or not mask.keys() <= x.keys():
            raise TypeError(
                f"{checks.name_of(owner)}: for inputs in a dictionary the mask should be one with "
                f"some of the names {', '.join(x)}, got {type(mask).__name__}"
            )
        named = {name: checked(owner, one, mask.get(name)) for name, one in x.items()}
        return {k: one for k, (one, _) in named.items()}, {k: m for k, (_, m) in named.items()}
    if type(x) is not np.ndarray:
        x = checks.as_array(owner, x, "the input")
    if x.ndim < 2:
        raise ValueError(
            f"{checks.name_of(owner)}: with a mask, the input should have the axes batch and time, "
            f"got shape {x.shape}"
        )
    mask = checks.as_mask(owner, mask, x.shape[:2])
    return without_padding(x, mask), mask


def without_padding(x: Array, mask: Mask | None) -> Array:
    """Return x with zeros where its mask is False, whatever stood there, NaN included."""
    if mask is None:
        return x
    valid = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    return np.where(valid, x, x.dtype.type(0))


def apply(layer: Any, x: Any, mask: Any = None, state: Any = None) -> Any:
    """Return the layer's output, with the mask and the initial state if it takes them.

    TypeError for a state that it does not take, or a mask that only something inside it would;
    ValueError where a layer without the mask takes the time axis away.
    """
    if state is not None:
        if not layer.uses_state:
            raise TypeError(f"{type(layer).__name__}: has no state, so it takes none")
        return layer.forward(x, mask=mask, state=state)
    if mask is None:
        return layer.forward(x)
    if layer.uses_mask:
        return layer.forward(x, mask=mask)
    if not LEAVES.issuperset(map(type, vars(layer).values())):
        refuse_lost(layer)
    y = layer.forward(x)
    lost = (
        isinstance(y, np.ndarray)
        and isinstance(mask, np.ndarray)
        and (y.ndim < np.ndim(x) or (y.ndim < 3 and y.shape != mask.shape))
    )
    if lost and layer.keeps_time:
        raise ValueError(
            f"{type(layer).__name__}: its output {y.shape} has no time axis, and it does not take "
            f"the mask, so padding would count; write uses_mask = True in the class and "
            f"forward(self, x, mask=None), or keeps_time = False if padding does no harm there"
        )
    return y


def refuse_lost(layer: Any) -> None:
    """Raise a TypeError if something inside takes a mask, which a layer without one would lose."""
    own = type(layer).__name__
    for name, inside in layer.named_layers():
        if inside.uses_mask:
            raise TypeError(
                f"{own}: there is a mask, which its {name} ({type(inside).__name__}) would need, "
                f"but {own} does not take it; write uses_mask = True in the class and "
                f"forward(self, x, mask=None), and hand the mask on"
            )


def through(layer: Any, x: Any, mask: Any, state: Any = None) -> tuple[Any, Any]:
    """Return the layer's output, and the mask of that, or None once there is no time axis."""
    if state is None and mask is not None and layer.uses_mask:
        y = layer.forward(x, mask=mask)  # the common case
    else:
        y = apply(layer, x, mask, state)
    if mask is None or not layer.keeps_time:
        return y, None
    mask = layer.output_mask(mask)
    if mask is None or (np.ndim(y) < 3 and layer.uses_mask):
        return y, None
    if y.shape[:2] != mask.shape:
        raise ValueError(
            f"{type(layer).__name__}: its output {y.shape} no longer has the (batch, time) = "
            f"{mask.shape} of the mask; a layer that takes the time axis away says so with "
            f"keeps_time = False"
        )
    return y, mask
