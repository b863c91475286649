"""The checked function: a layer, a cell or a loss as one number that depends on arrays."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer, Parameter
from minirnn.gradcheck.report import GradientError, wrong_kind, wrong_shape
from minirnn.losses import Loss
from minirnn.typing import Array

__all__ = ["CellFunction", "CheckedFunction", "LossFunction", "RefusedError", "checked_function"]

Names = Any
"""The name of an array, or a tuple or dictionary of them; None where there is no array."""


class RefusedError(Exception):
    """The layer's own code raised `error` on what `function` gave it."""

    def __init__(self, function: CheckedFunction, error: Exception) -> None:
        super().__init__(str(error))
        self.function, self.error = function, error


class CheckedFunction:
    """A number that depends on arrays, and the gradients on them that backward gives.

    The number is ``sum(r * y)``, over the output ``y`` and the final state. This class is that of a
    layer; those of a cell and of a loss are below.

    Attributes
    ----------
    layer : the copy that is run, its parameters in float64
    given : dict of str to array
        What forward is given, never handed out itself but copied for each call: ``"input"``,
        ``"state[0]"``, ``"mask"``, ``"target"``.
    names : dict of str to names
        How the arrays of `given` make up the arguments: ``{"input": ("input[0]", "input[1]")}``.
    handed : dict of str to array
        The copies that the latest forward and backward were handed.
    variables : dict of str to array
        What is moved, in place: the float arrays of `given`, and the parameters' values.
    weights : list of arrays
        ``r``: what each output is multiplied by. Drawn at the first call.
    """

    def __init__(
        self,
        layer: Any,
        given: dict[str, Array],
        names: dict[str, Names],
        rng: np.random.Generator,
    ) -> None:
        self.layer, self.given, self.names, self.rng = copy.deepcopy(layer), given, names, rng
        self.handed: dict[str, Array] = {}
        self.parts: dict[str, Any] = {"": self.layer}
        self.parameters: dict[str, Parameter] = {}
        if isinstance(self.layer, Layer):
            self.parts = dict(self.layer.named_layers())
            self.parameters = dict(self.layer.named_parameters())
        for parameter in self.parameters.values():
            parameter.move(np.empty(parameter.shape), np.empty(parameter.shape))
        self._start = {path: dict(vars(part)) for path, part in self.parts.items()}
        self._generators = list(_generators(self.parts.values()))
        self._final: Names = ()
        self.weights: list[Array] = []
        movable = {name: a for name, a in given.items() if a.dtype.kind == "f"}
        self.variables = {k: a for k, a in movable.items() if not k.startswith("target")}
        self.variables |= {name: p.value for name, p in self.parameters.items()}

    # ------------------------------------------------------------ what each kind writes

    def outputs(self) -> list[Array]:
        """Run forward and return the arrays that the number is made of."""
        keywords = {k: self.hand(self.names[k]) for k in ("mask", "state") if k in self.names}
        x = self.hand(self.names["input"])
        y = (
            self.layer.forward(*x, **keywords)
            if self.several
            else self.layer.forward(x, **keywords)
        )
        if not isinstance(y, np.ndarray | np.generic):
            raise wrong_kind(
                f"{type(self.layer).__name__}.forward",
                "output",
                f"forward should return one array, and gives {_kind(y)}",
            )
        if "state" not in self.names:
            return [np.asarray(y)]
        final: dict[str, Array] = {}
        self._final = _flattened("grad_state", self.layer.state, final)
        return [np.asarray(y), *final.values()]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Run backward and return the gradients on inputs and state."""
        grad_y = self._hand_back("grad", weights[0])
        if "state" not in self.names:
            return self._matched("input", self.layer.backward(grad_y))
        rest = iter(weights[1:])
        states = _mapped(self._final, lambda name: self._hand_back(name, next(rest)))
        gradients = self._matched("input", self.layer.backward(grad_y, states))
        return gradients | self._matched("state", self.layer.grad_state)

    @property
    def several(self) -> bool:
        """Whether forward takes its inputs as arguments of their own."""
        return "several" in self.names

    @property
    def kept(self) -> dict[str, Any]:
        """What forward kept for backward, under the names it has there."""
        return {
            f"{path or 'self'}.{attribute}": value
            for path, part in self.parts.items()
            for attribute, value in vars(part).items()
        }

    # ------------------------------------------------------------ running

    @property
    def x(self) -> Array:
        """The input; of several, the first."""
        return next(array for name, array in self.given.items() if name.startswith("input"))

    def similar(self, **changes: Array) -> CheckedFunction:
        """Return the function of the same layer with other arrays, named as in `given`."""
        self.restart()
        given = {name: array.copy() for name, array in (self.given | changes).items()}
        return type(self)(self.layer, given, self.names, np.random.default_rng(0))

    def hand(self, names: Names) -> Any:
        """Return copies of given arrays, and remember them."""

        def copied(name: str) -> Array:
            self.handed[name] = self.given[name].copy()
            return self.handed[name]

        return _mapped(names, copied)

    def _hand_back(self, name: str, weight: Array) -> Array:
        """Return a copy of the gradient on an output, and remember it."""
        self.handed[name] = weight.copy()
        return self.handed[name]

    def restart(self) -> None:
        """Put the layers back to where they began, their random generators included."""
        for path, part in self.parts.items():
            vars(part).clear()
            vars(part).update(self._start[path])
        self.rewind()

    @contextmanager
    def replaced(self, methods: Mapping[str, dict[str, Callable[..., Any]]]) -> Iterator[None]:
        """Put other methods on parts of the layer, by their path, for a while."""
        start = self._start
        self._start = {path: own | methods.get(path, {}) for path, own in start.items()}
        try:
            yield
        finally:
            self._start = start
            self.restart()

    def evaluate(self) -> None:
        """Put every layer into evaluation mode, from the next fresh start on."""
        for attributes in self._start.values():
            attributes["training"] = False

    def rewind(self) -> None:
        """Put the random generators back to where they began."""
        for set_state, state in self._generators:
            set_state(state)

    def forward(self) -> list[Array]:
        """Return the outputs of a forward from where the layer is now."""
        with self._refusals():
            return self.outputs()

    def fresh_outputs(self) -> list[Array]:
        """Run forward from a fresh start; a parameter that it changes is put back."""
        self.restart()
        with self._parameters_kept():
            outputs = self.forward()
        if not self.weights:
            self.weights = [self.rng.standard_normal(output.shape) for output in outputs]
            if "target_mask" in self.given and not isinstance(self, LossFunction):
                counted = self.given["target_mask"]
                self.weights[0] *= counted.reshape(
                    counted.shape + (1,) * (outputs[0].ndim - counted.ndim)
                )
        return outputs

    def terms(self) -> Array:
        """Return the terms whose sum is the number, ``r * y`` element by element, flat."""
        outputs = self.fresh_outputs()
        pairs = zip(outputs, self.weights, strict=True)
        return np.concatenate([np.ravel(weight * output) for output, weight in pairs])

    def __call__(self) -> float:
        """Return the number, from a fresh start."""
        return float(self.terms().sum())

    def gradients(
        self, weights: Sequence[Array] | None = None, start: float = 1.0
    ) -> dict[str, Array]:
        """Return what backward gives after a fresh forward.

        The gradients of parameters do not begin at zero but at `start`, so that one who assigns to
        them is found out.
        """
        self.fresh_outputs()
        return self.backward(self.weights if weights is None else weights, start)

    def backward(self, weights: Sequence[Array], start: float = 0.0) -> dict[str, Array]:
        """Return what backward gives after the latest forward."""
        for parameter in self.parameters.values():
            parameter.grad = np.full(parameter.shape, start)
        with self._parameters_kept():
            found = self.go_back(weights)
        found |= {name: parameter.grad - start for name, parameter in self.parameters.items()}
        return {name: self._checked(name, found.get(name)) for name in self.variables}

    def go_back(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Run backward as it is: what it does to the parameters stays."""
        with self._refusals():
            return self.run_backward(weights)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Mark what the layer's own code raises, so that it is not taken for an error of ours."""
        try:
            yield
        except GradientError:
            raise
        except Exception as error:
            raise RefusedError(self, error) from error

    @contextmanager
    def _parameters_kept(self) -> Iterator[None]:
        before = [(parameter, parameter.value.copy()) for parameter in self.parameters.values()]
        yield
        for parameter, value in before:
            parameter.value[...] = value

    # ------------------------------------------------------------ what backward should return

    def _matched(self, argument: str, gradient: Any) -> dict[str, Any]:
        """Return the gradients on the arrays of an argument, which should be built alike."""
        found: dict[str, Any] = {}
        self._match(self.names[argument], gradient, argument, found)
        return found

    def _match(self, names: Names, gradient: Any, label: str, found: dict[str, Any]) -> None:
        if isinstance(names, str):
            found[names] = gradient
        elif names is not None:
            items = _items(names)
            if not isinstance(gradient, dict if isinstance(names, dict) else tuple | list) or (
                {key for key, _ in _items(gradient)} != {key for key, _ in items}
            ):
                raise wrong_kind(
                    f"{type(self.layer).__name__}.backward",
                    label,
                    f"the gradient on {label} should be a {type(names).__name__} of {len(items)} "
                    f"arrays, as {label} is, and is {_kind(gradient)}",
                )
            for key, item in items:
                self._match(item, gradient[key], f"{label}[{key!r}]", found)

    def _checked(self, name: str, gradient: Any) -> Array:
        shape, where = self.variables[name].shape, f"{type(self.layer).__name__}.backward"
        if gradient is None or np.asarray(gradient).dtype.kind not in "fiub":
            said = f"backward gives {type(gradient).__name__} for it; end it with `return grad_x`"
            raise wrong_kind(where, name, said, "a missing return")
        if np.shape(gradient) != shape:
            raise wrong_shape(where, name, np.shape(gradient), shape)
        copied: Array = np.array(gradient, np.float64)  # the layer may go on to use its array
        return copied


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
                f"{_kind(loss)}",
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
        f"a cell's forward gives {said}; this one gives {_kind(result)}",
    )


def step_gradients(cell: Any, result: Any, where: str = "") -> tuple[Any, Any]:
    """Return the two things that a cell's backward gives; raise if it does not."""
    pair = isinstance(result, tuple) and len(result) == 2
    if pair and isinstance(result[1], tuple | list):
        return result[0], result[1]
    got = f"(grad_x, {_kind(result[1])})" if pair else _kind(result)
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
        names[name] = _flattened(name, value, given, convert)

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
        state = _random_state(layer, given, names, rng) if state is None else tuple(state)
        add("state", state, _floats)
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
    built = _flattened("state", first.layer.state, like)
    return _mapped(built, lambda name: rng.standard_normal(like[name].shape) * 0.5)


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


def _flattened(
    name: str,
    value: Any,
    arrays: dict[str, Array],
    convert: Callable[[Any], Array] = np.asarray,
) -> Names:
    """Put the arrays of nested tuples and dictionaries into `arrays`; return their names."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {k: _flattened(f"{name}[{k!r}]", v, arrays, convert) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(
            _flattened(f"{name}[{k}]", item, arrays, convert) for k, item in enumerate(value)
        )
    arrays[name] = convert(value)
    return name


def _mapped(names: Names, function: Callable[[str], Any]) -> Any:
    """Return what `function` makes of each name, built as the names are."""
    if isinstance(names, dict):
        return {key: _mapped(item, function) for key, item in names.items()}
    if isinstance(names, tuple):
        return tuple(_mapped(item, function) for item in names)
    return None if names is None else function(names)


def _items(values: Any) -> list[tuple[Any, Any]]:
    return list(values.items() if isinstance(values, dict) else enumerate(values))


def _movable(x: Any) -> Array:
    """Return a copy that can be moved: float64, or the integers themselves."""
    array = np.array(x)
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


def _floats(x: Any) -> Array:
    array: Array = np.array(x, np.float64)
    return array


def _kind(value: Any) -> str:
    """Return what something is, in words."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def _generators(parts: Any) -> Iterator[tuple[Callable[[Any], Any], Any]]:
    """Yield, for every random generator in the parts, how to set its state, and that of now."""
    for part in parts:
        for value in vars(part).values():
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, np.random.Generator):
                    yield partial(setattr, item.bit_generator, "state"), item.bit_generator.state
                elif isinstance(item, random.Random):
                    yield item.setstate, item.getstate()
                elif isinstance(item, np.random.RandomState):
                    yield item.set_state, item.get_state()
