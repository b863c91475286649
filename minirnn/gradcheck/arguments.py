"""From the arguments of `check_gradients` to the function that is checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minirnn import checks, masks
from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.data.nested import leaves
from minirnn.gradcheck.arrays import Names, flattened, mapped
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.kinds import CellFunction, LayerFunction, LossFunction
from minirnn.losses import Loss
from minirnn.typing import Array


def check_arguments(caller: str, layer: Any, inputs: tuple[Any, ...], mask: Any) -> None:
    """Raise unless the inputs are as many as forward takes, numbers, and a few of them.

    `caller` is whose name stands in front of the message. Of a loss, the prediction alone is looked
    at: what may stand in targets is for the loss to say.
    """
    if isinstance(layer, Layer) and not isinstance(layer, Cell):
        forward = f"{caller}: {type(layer).__name__}.forward"
        try:
            given = inspect.signature(layer.forward).bind_partial(*inputs).arguments
        except TypeError as error:
            raise TypeError(f"{forward}: {error}; several in one are a tuple") from None
        if {"mask", "state"} & given.keys():
            raise TypeError(f"{forward}: a mask or a state goes by its name, mask=...")
    alone = len(inputs) == 1 or isinstance(layer, Loss)
    for name, value in leaves(inputs[0] if alone else inputs, "the input"):
        array = checks.as_array(caller, value, name)
        if array.dtype.kind not in "fiub":
            got = f"an array of {array.dtype}" if array.ndim else type(value).__name__
            raise TypeError(f"{caller}: {name} should hold real numbers, got {got}")
        if array.size == 0:
            raise ValueError(f"{caller}: {name} is empty, {array.shape}: take a batch of two or so")
        if mask is None and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(
                f"{caller}: {name} holds NaN or infinity, which no gradient can be compared at; "
                f"for padding, give its mask"
            )
    if not (mask is None or isinstance(mask, tuple | dict) or isinstance(inputs[0], tuple | dict)):
        shape = np.shape(inputs[0])
        if alone and len(shape) >= 2:
            checks.as_mask(layer, mask, shape[:2] if isinstance(layer, Layer) else shape[:-1])


def _arguments(method: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(method).parameters)


def checked_function(
    layer: Any,
    inputs: tuple[Any, ...],
    mask: Any = None,
    state: Any = None,
    rng: np.random.Generator | None = None,
) -> CheckedFunction:
    """Return the function of a cell, a loss, or any other layer."""
    what, rng = type(layer).__name__, rng or np.random.default_rng(0)
    if not isinstance(layer, Layer | Loss):
        if isinstance(layer, type):
            what = f"the class {layer.__name__}: write {layer.__name__}(...)"
        raise TypeError(f"check_gradients: takes a Layer, a Cell or a Loss, got {what}")
    if not inputs:
        raise TypeError("check_gradients: takes the layer and what its forward takes, got no input")
    given: dict[str, Array] = {}
    names: dict[str, Names] = {}

    def add(name: str, value: Any) -> None:
        if value is not None:
            names[name] = flattened(name, value, given, _movable)

    kind: type[CheckedFunction]
    if isinstance(layer, Loss):
        if len(inputs) != 2:
            raise TypeError("check_gradients: a loss takes the prediction and the target")
        kind = LossFunction
        add("input", np.asarray(inputs[0], np.float64))
        add("target", inputs[1])
        add("mask", mask)
    elif isinstance(layer, Cell):
        if len(inputs) > 2:
            raise TypeError("check_gradients: a cell takes x_t and the state")
        kind = CellFunction
        add("input", np.asarray(inputs[0], np.float64))
        state = inputs[1] if len(inputs) == 2 else state
        if state is None:
            state = _random(layer.initial_state(len(given["input"])), rng)
        add("state", tuple(state))
    else:
        kind = LayerFunction
        add("input", inputs if len(inputs) > 1 else inputs[0])
        arguments = names.pop("input")
        names["inputs"] = arguments if len(inputs) > 1 else (arguments,)
        if mask is not None and not layer.uses_mask:
            masks.refuse_lost(layer)
            raise TypeError(f"check_gradients: {what} takes no mask (uses_mask is False)")
        add("mask", mask)
        if {"state", "grad_state"} <= _arguments(layer.forward) | _arguments(layer.backward):
            if state is None:  # built as the one that a forward without it leaves behind
                function = LayerFunction(layer, given, names, rng)
                function.forward()
                state = getattr(function.layer, "state", None)  # a Residual may hold none
                known = any(array is not None for _, array in leaves(state))
                state = _random(state, rng) if known else None
            if state is not None:
                add("state", tuple(state))
        elif state is not None:
            raise TypeError(f"check_gradients: {what} takes no state")
    return _neutral_disturbed(kind(layer, given, names, rng))


def _random(state: Any, rng: np.random.Generator) -> Any:
    return mapped(state, lambda array: rng.standard_normal(np.shape(array)) * 0.5)


def _neutral_disturbed(function: CheckedFunction) -> CheckedFunction:
    """Move parameters away from where a mistake cannot be seen: all ones, all zeros, constants.

    With a gain of 1, a backward that forgets the gain is right; so is one that forgets the bias
    where that is 0. The gradient has to be right at any value, so the copy takes others.
    """
    rng = np.random.default_rng(0)
    for parameter in function.parameters.values():
        value = parameter.value
        if np.ptp(value) == 0 or np.isin(value, (0, 1)).all():
            noise = rng.uniform(0.1, 0.5, value.shape) * rng.choice((-1, 1), value.shape)
            value += np.where(value == 0, noise, value * noise)
    return function


def _movable(x: Any) -> Array:
    """Return a copy that can be moved: float64, or the integers themselves."""
    array = np.array(x)
    return array if array.dtype.kind in "iub" else array.astype(np.float64)
