"""A layer, a cell or a loss as one number that depends on arrays."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.gradcheck.report import GradientError
from minirnn.layers.bidirectional import Bidirectional
from minirnn.layers.cell import Cell
from minirnn.layers.recurrent import Recurrent
from minirnn.losses import Loss
from minirnn.typing import Array

__all__ = ["Probe", "probe"]


class Probe:
    """A number that depends on arrays, and the gradients on them that backward gives.

    `variables` are moved in place; `outputs` runs forward and returns the arrays that the number
    is made of; `run_backward` returns the gradients on all variables but the parameters.
    """

    def __init__(self, layer: Any, rng: np.random.Generator) -> None:
        self.layer = copy.deepcopy(layer)
        self.rng = rng
        self.variables: dict[str, Array] = {}
        self.parts: list[Layer] = []
        if isinstance(self.layer, Layer):
            self.parts = [part for _, part in self.layer.named_layers()]
            for parameter in self.layer.parameters():
                parameter.move(np.empty(parameter.shape), np.empty(parameter.shape))
        self._start = [dict(vars(part)) for part in self.parts]
        self._generators = _generators(self.parts)
        self.weights: list[Array] = []

    def add_parameters(self) -> None:
        """Let every parameter's value be moved."""
        for name, parameter in self.layer.named_parameters():
            self.variables[name] = parameter.value

    def outputs(self) -> list[Array]:
        """Run forward and return the arrays that the number is made of."""
        raise NotImplementedError

    def run_backward(self) -> dict[str, Any]:
        """Run backward and return the gradients on inputs and state."""
        raise NotImplementedError

    def restart(self) -> None:
        """Put the layers back to where they began, their random generators included."""
        for part, attributes in zip(self.parts, self._start, strict=True):
            vars(part).clear()
            vars(part).update(attributes)
        for generator, generator_state in self._generators:
            generator.bit_generator.state = generator_state

    def __call__(self) -> float:
        """Return the number, from a fresh start."""
        self.restart()
        outputs = self.outputs()
        if not self.weights:
            self.weights = [self.rng.standard_normal(output.shape) for output in outputs]
        return float(sum(float((w * y).sum()) for w, y in zip(self.weights, outputs, strict=True)))

    def gradients(self) -> dict[str, Array]:
        """Return what backward gives, with parameter gradients that did not begin at zero."""
        self()
        if isinstance(self.layer, Layer):
            named = dict(self.layer.named_parameters())
            for parameter in named.values():
                parameter.grad = np.ones(parameter.shape)
        before = {name: array.copy() for name, array in self.variables.items()}
        gradients = self.run_backward()
        for name, array in self.variables.items():
            if not np.array_equal(array, before[name], equal_nan=True):
                raise GradientError(
                    f"{type(self.layer).__name__}: {name} was changed in place by forward or "
                    f"backward",
                    name,
                    (),
                    np.nan,
                    np.nan,
                )
        if isinstance(self.layer, Layer):
            gradients |= {name: parameter.grad - 1 for name, parameter in named.items()}
        return {
            name: checks.check_shape(
                self.layer, gradients[name], array.shape, np.float64, f"the gradient on {name}"
            )
            for name, array in self.variables.items()
        }


class _LayerProbe(Probe):
    def __init__(
        self, layer: Layer, inputs: tuple[Any, ...], mask: Any, state: Any, rng: Any
    ) -> None:
        super().__init__(layer, rng)
        if len(inputs) != 1:
            raise TypeError(
                f"check_gradients: {type(layer).__name__}.forward takes one input, got "
                f"{len(inputs)}"
            )
        (self.x,) = (_movable(array) for array in inputs)
        if mask is not None and not layer.uses_mask:
            raise TypeError(
                f"check_gradients: {type(layer).__name__} takes no mask; a layer that does sets "
                f"uses_mask = True"
            )
        self.mask = mask
        self.state: tuple[Array, ...] = ()
        self.has_state = isinstance(layer, Recurrent | Bidirectional)
        if self.has_state:
            self.state = self._initial(state)
        if self.x.dtype.kind == "f":
            self.variables["input"] = self.x
        self.variables |= {f"state[{k}]": array for k, array in enumerate(self.state)}
        self.add_parameters()

    def _initial(self, state: Any) -> tuple[Array, ...]:
        if state is not None:
            return tuple(np.array(array, np.float64) for array in state)
        layers = [self.layer]
        if isinstance(self.layer, Bidirectional):
            layers = [self.layer.forward_layer, self.layer.backward_layer]
        zeros = [array for one in layers for array in one.cell.initial_state(len(self.x))]
        return tuple(self.rng.standard_normal(np.shape(array)) * 0.5 for array in zeros)

    def outputs(self) -> list[Array]:
        arguments: dict[str, Any] = {}
        if self.mask is not None:
            arguments["mask"] = self.mask
        if self.has_state:
            arguments["state"] = self.state
        y = self.layer.forward(self.x, **arguments)
        return [y, *(self.layer.state if self.has_state else ())]

    def run_backward(self) -> dict[str, Any]:
        if not self.has_state:
            return {"input": self.layer.backward(self.weights[0].copy())}
        grad_y, *grad_state = (weight.copy() for weight in self.weights)
        gradients = {"input": self.layer.backward(grad_y, tuple(grad_state))}
        return gradients | {f"state[{k}]": g for k, g in enumerate(self.layer.grad_state)}


class _CellProbe(Probe):
    def __init__(self, cell: Cell, inputs: tuple[Any, ...], state: Any, rng: Any) -> None:
        super().__init__(cell, rng)
        if len(inputs) > 2:
            raise TypeError("check_gradients: a cell takes x_t and the state")
        self.x = np.array(inputs[0], np.float64)
        state = inputs[1] if len(inputs) == 2 else state
        if state is None:
            zeros = self.layer.initial_state(len(self.x))
            state = [rng.standard_normal(np.shape(array)) * 0.5 for array in zeros]
        self.state = tuple(np.array(array, np.float64) for array in state)
        self.variables["input"] = self.x
        self.variables |= {f"state[{k}]": array for k, array in enumerate(self.state)}
        self.add_parameters()

    def outputs(self) -> list[Array]:
        y, state, self.cache = self.layer.forward(self.x, self.state)
        return [y, *state]

    def run_backward(self) -> dict[str, Any]:
        grad_y, *grad_state = (weight.copy() for weight in self.weights)
        grad_x, grad_state = self.layer.backward(grad_y, tuple(grad_state), self.cache)
        return {"input": grad_x} | {f"state[{k}]": g for k, g in enumerate(grad_state)}


class _LossProbe(Probe):
    def __init__(self, loss: Loss, inputs: tuple[Any, ...], mask: Any, rng: Any) -> None:
        super().__init__(loss, rng)
        if len(inputs) != 2:
            raise TypeError("check_gradients: a loss takes the prediction and the target")
        self.prediction = np.array(inputs[0], np.float64)
        self.target, self.mask = inputs[1], mask
        self.variables["input"] = self.prediction

    def outputs(self) -> list[Array]:
        return [np.asarray(self.layer.forward(self.prediction, self.target, self.mask))]

    def run_backward(self) -> dict[str, Any]:
        return {"input": self.weights[0] * self.layer.backward()}


def probe(
    layer: Any, inputs: tuple[Any, ...], mask: Any, state: Any, rng: np.random.Generator
) -> Probe:
    """Return the probe that suits: for a cell, a loss, or any other layer."""
    if isinstance(layer, Cell):
        return _CellProbe(layer, inputs, state, rng)
    if isinstance(layer, Loss):
        return _LossProbe(layer, inputs, mask, rng)
    if isinstance(layer, Layer):
        return _LayerProbe(layer, inputs, mask, state, rng)
    raise TypeError(f"check_gradients: takes a Layer, a Cell or a Loss, got {type(layer).__name__}")


def _movable(x: Any) -> Array:
    """Return a copy that can be moved: float64, or the integers themselves."""
    array = np.array(x)
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


def _generators(layers: list[Layer]) -> list[tuple[np.random.Generator, Any]]:
    found = (value for layer in layers for value in vars(layer).values())
    return [
        (value, value.bit_generator.state)
        for value in found
        if isinstance(value, np.random.Generator)
    ]
