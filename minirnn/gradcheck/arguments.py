"""From the arguments of a check to the function that is checked: of a layer, a cell or a loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.nested import Names, flattened, kind_of, mapped
from minirnn.gradcheck.report import wrong_kind
from minirnn.losses import Loss
from minirnn.typing import Array

__all__ = ["CellFunction", "LossFunction", "checked_function", "step_gradients", "step_result"]


class CellFunction(CheckedFunction):
    """A cell: one time step."""

    cache: Any = None

    @property
    def kept(self) -> dict[str, Any]:
        """The cache, and what there is on the cell itself."""
        return {"cache": self.cache} | super().kept

    def outputs(self) -> list[Array]:
        """Return the output of the step, then the next state."""
        state = self.hand(self.names["state"])
        result = self.layer.forward(self.hand(self.names["input"]), state)
        y, state, self.cache = step_result(self.layer, result, len(state))
        return [np.asarray(y), *map(np.asarray, state)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on the input and on the state."""
        grad_y = self._hand_back("grad", weights[0])
        states = [self._hand_back(f"grad_state[{k}]", w) for k, w in enumerate(weights[1:])]
        result = self.layer.backward(grad_y, tuple(states), self.cache)
        grad_x, grad_state = step_gradients(self.layer, result)
        return {"input": grad_x} | {f"state[{k}]": a for k, a in enumerate(grad_state)}


class LossFunction(CheckedFunction):
    """A loss; its gradient is multiplied by the weight from outside."""

    def outputs(self) -> list[Array]:
        """Return the loss."""
        masks = {k: self.hand(k) for k in ("mask", "target_mask") if k in self.names}
        loss = self.layer.forward(self.hand("input"), self.hand(self.names["target"]), **masks)
        if loss is None or np.ndim(loss):
            raise wrong_kind(
                f"{type(self.layer).__name__}.forward",
                "loss",
                f"forward should return one number, the mean over the positions, and gives "
                f"{kind_of(loss)}",
            )
        return [np.asarray(loss, np.float64)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradient on the prediction."""
        gradient = self.layer.backward()
        return {"input": None if gradient is None else weights[0] * gradient}


# ---------------------------------------------------------------- what a cell should return


def step_result(cell: Any, result: Any, states: int, where: str = "") -> tuple[Any, Any, Any]:
    """Return the three things that a cell's forward gives; raise if it does not."""
    if not isinstance(result, tuple) or len(result) != 3:
        said = "three things, (y_t, state, cache)"
    elif not isinstance(result[1], tuple) or len(result[1]) != states:
        said = f"(y_t, state, cache) with state a tuple of {states} arrays, as the one given"
        result = result[1]
    else:
        return result
    raise wrong_kind(
        where or f"{type(cell).__name__}.forward",
        "output",
        f"a cell's forward gives {said}; this one gives {kind_of(result)}",
    )


def step_gradients(cell: Any, result: Any, where: str = "") -> tuple[Any, Any]:
    """Return the two things that a cell's backward gives; raise if it does not."""
    pair = isinstance(result, tuple) and len(result) == 2
    if pair and isinstance(result[1], tuple | list):
        return result[0], result[1]
    got = f"(grad_x, {kind_of(result[1])})" if pair else kind_of(result)
    raise wrong_kind(
        where or f"{type(cell).__name__}.backward",
        "input",
        f"a cell's backward gives two things, (grad_x, grad_state), the second a tuple with an "
        f"array for each state; this one gives {got}",
        "a missing return" if result is None else "a wrong return",
    )


# ---------------------------------------------------------------- from the arguments


def checked_function(
    layer: Any,
    inputs: tuple[Any, ...],
    mask: Any,
    target_mask: Any,
    state: Any,
    rng: np.random.Generator,
) -> CheckedFunction:
    """Return the function of a cell, a loss, or any other layer."""
    what = type(layer).__name__
    if not isinstance(layer, Layer | Loss):
        raise TypeError(f"check_gradients: takes a Layer, a Cell or a Loss, got {what}")
    if not inputs:
        raise TypeError("check_gradients: takes the layer and what its forward takes, got no input")
    given: dict[str, Array] = {}
    names: dict[str, Names] = {}

    def add(name: str, value: Any, convert: Callable[[Any], Array]) -> None:
        names[name] = flattened(name, value, given, convert)

    if isinstance(layer, Loss):
        if len(inputs) != 2:
            raise TypeError("check_gradients: a loss takes the prediction and the target")
        add("input", inputs[0], _floats)
        add("target", inputs[1], np.array)
        if target_mask is not None and "target_mask" in _arguments(layer.forward):
            add("target_mask", target_mask, np.array)
        elif target_mask is not None:
            mask = target_mask
        if mask is not None:
            add("mask", mask, np.array)
        return _neutral_disturbed(LossFunction(layer, given, names, rng))
    if isinstance(layer, Cell):
        if len(inputs) > 2:
            raise TypeError("check_gradients: a cell takes x_t and the state")
        add("input", inputs[0], _floats)
        state = inputs[1] if len(inputs) == 2 else state
        if state is None:
            state = layer.initial_state(len(given["input"]))
            state = tuple(rng.standard_normal(np.shape(array)) * 0.5 for array in state)
        add("state", tuple(state), _floats)
        return _neutral_disturbed(CellFunction(layer, given, names, rng))
    add("input", inputs if len(inputs) > 1 else inputs[0], _movable)
    if len(inputs) > 1:
        names["several"] = True
    if mask is not None:
        _demand_mask(layer)
        add("mask", mask, np.array)
    if target_mask is not None:
        given["target_mask"] = np.array(target_mask)
    if {"state", "grad_state"} <= {*_arguments(layer.forward), *_arguments(layer.backward)}:
        if state is not None and not isinstance(state, tuple | list | dict):
            raise TypeError(
                f"check_gradients: the state should be a tuple of arrays, as {what}.state is, got "
                f"{kind_of(state)}"
            )
        state = _random_state(layer, given, names, rng) if state is None else tuple(state)
        add("state", state, _floats)
    elif state is not None:
        raise TypeError(f"check_gradients: {what} takes no state")
    return _neutral_disturbed(CheckedFunction(layer, given, names, rng))


def _demand_mask(layer: Layer) -> None:
    if layer.uses_mask:
        return
    inside = [(path, part) for path, part in layer.named_layers() if part.uses_mask]
    hint = "; a layer that does sets uses_mask = True"
    if inside:
        path, part = inside[0]
        hint = (
            f", but {path} ({type(part).__name__}) inside it does, and would not get it: set "
            f"uses_mask = True and hand the mask on, forward(x, mask=None)"
        )
    raise TypeError(f"check_gradients: {type(layer).__name__} takes no mask{hint}")


def _arguments(method: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(method).parameters)


def _random_state(
    layer: Any, given: dict[str, Array], names: dict[str, Names], rng: np.random.Generator
) -> Any:
    """Return a random initial state, built as the one that a forward without it leaves behind."""
    first = CheckedFunction(layer, given, names, rng)
    first.forward()
    like: dict[str, Array] = {}
    built = flattened("state", first.layer.state, like)
    return mapped(built, lambda name: rng.standard_normal(like[name].shape) * 0.5)


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


def _floats(x: Any) -> Array:
    array: Array = np.array(x, np.float64)
    return array
