"""What is checked, copies of it, and what its calls leave behind."""

from __future__ import annotations

import copy
import sys
from types import FunctionType
from typing import Any

import numpy as np

from minirnn.core import Layer, Parameter
from minirnn.data.nested import each
from minirnn.gradcheck.arrays import mapped
from minirnn.losses import Loss
from minirnn.testing.arrays import cast, copied, masks, padded, part
from minirnn.testing.report import NotApplicableError
from minirnn.typing import Array

__all__ = [
    "LayerSubject",
    "OptimizerSubject",
    "TargetSubject",
    "both",
    "draw",
    "gradients_of",
    "importable",
    "snapshot",
    "values_of",
]


class LayerSubject:
    """A layer, what it takes, and copies of it to experiment on.

    Attributes
    ----------
    inputs : tuple
        The arguments of forward, in float64; each an array, or a tuple or dictionary of arrays.
    mask : boolean array, or None
    """

    def __init__(self, layer: Layer, inputs: tuple[Any, ...], mask: Any) -> None:
        if not inputs:
            raise TypeError("check_layer: takes the layer and what its forward takes, got no input")
        self.layer, self.mask = layer, mask
        arrays = tuple(each(np.asarray, x) for x in inputs)
        self.inputs: tuple[Any, ...] = cast(arrays, np.float64)
        self.name = type(layer).__name__

    def made(self, dtype: Any = np.float64) -> Any:
        """Return a copy with parameters of this dtype, as fresh as the layer was."""
        layer = copy.deepcopy(self.layer)
        for parameter in layer.parameters():
            shape = parameter.shape
            parameter.move(np.empty(shape, dtype), np.empty(shape, dtype))
        layer.zero_grad()
        return layer

    @property
    def x(self) -> Array | None:
        """The input, if it is one array."""
        x = self.inputs[0]
        return x if len(self.inputs) == 1 and isinstance(x, np.ndarray) else None

    @property
    def has_time(self) -> bool:
        """Whether the input is (batch, time, features), or (batch, time) of tokens."""
        return self.x is not None and self.x.ndim == (3 if self.x.dtype.kind == "f" else 2)

    def sequence(self) -> Array:
        """Return the input if it has a time axis; the check does not apply if it has none."""
        if self.x is None or not self.has_time:
            raise NotApplicableError("the input has no time axis (batch, time, features)")
        return self.x

    def others(self) -> tuple[Any, ...]:
        """Return inputs of the same shapes with other numbers: the batch in the opposite order."""
        reversed_: tuple[Any, ...] = part(self.inputs, slice(None, None, -1))
        return tuple(mapped(reversed_, lambda a: 0.5 * a if a.dtype.kind == "f" else a))

    def masks(self) -> dict[str, Array]:
        """Return the masks to try, and the one that was given."""
        given = {} if self.mask is None else {"the mask": np.asarray(self.mask)}
        return masks(*self.sequence().shape[:2]) | given


class TargetSubject:
    """A loss or a metric, a prediction and a target."""

    def __init__(self, thing: Any, inputs: tuple[Any, ...], mask: Any) -> None:
        if len(inputs) != 2:
            raise TypeError(
                f"check_layer: {type(thing).__name__} takes the prediction and the target"
            )
        self.thing, self.mask, self.is_loss = thing, mask, isinstance(thing, Loss)
        self.prediction: Array = np.asarray(inputs[0], np.float64)
        self.target: Any = mapped(inputs[1], np.asarray)

    def made(self) -> Any:
        """Return a fresh copy."""
        return copy.deepcopy(self.thing)

    def results(self, prediction: Any, target: Any, **mask: Any) -> tuple[Any, ...]:
        """Return the loss and its gradient, or the value of the metric, of a fresh copy."""
        thing = self.made()
        if self.is_loss:
            return thing.forward(prediction, target, **mask), thing.backward()
        thing.update(prediction, target, **mask)
        return (thing.value,)

    @property
    def has_time(self) -> bool:
        """Whether prediction and target have the axes batch and time."""
        shape = self.prediction.shape[:2]
        return self.prediction.ndim == 3 and np.shape(self.target)[:2] == shape

    def masked(self) -> Array:
        """Return the mask, or one with gaps, if there is a time axis."""
        if not self.has_time:
            raise NotApplicableError(
                "prediction and target have no time axis (batch, time, ...) in common"
            )
        drawn = masks(*self.prediction.shape[:2])["gaps in the mask"]
        return drawn if self.mask is None else np.asarray(self.mask)

    def padded(self, mask: Array, filling: float) -> tuple[Array, Array]:
        """Return prediction and target with something else in the padding."""
        token = int(filling) if np.isfinite(filling) else -7
        return padded(self.prediction, mask, filling), padded(self.target, mask, filling, token)

    def others(self) -> tuple[Array, Any]:
        """Return another prediction and target of the same shapes."""
        return 0.5 * self.prediction[::-1] + 0.25, part(self.target, slice(None, None, -1))


class OptimizerSubject:
    """An optimizer, or the class of one, and copies of it over parameters of their own."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        if isinstance(thing, type):
            rng = np.random.default_rng(0)
            weights = Parameter(rng.standard_normal((3, 4)))
            bias = Parameter(rng.standard_normal(4), decay=False)
            self.thing = thing([weights, bias], 0.01)

    def made(self, *seeds: int, **settings: Any) -> Any:
        """Return a copy with these settings, after a step with random gradients for each seed."""
        optimizer = copy.deepcopy(self.thing)
        optimizer.zero_grad()
        for name, value in settings.items():
            setattr(optimizer, name, value)
        self.steps(optimizer, *seeds)
        return optimizer

    def fill(self, optimizer: Any, seed: int) -> list[Array]:
        """Give every parameter a random gradient, and return them."""
        rng = np.random.default_rng(seed)
        for parameter in optimizer.parameters:
            parameter.grad = rng.standard_normal(parameter.shape)
        return [parameter.grad.copy() for parameter in optimizer.parameters]

    def steps(self, optimizer: Any, *seeds: int) -> None:
        """Take a step with random gradients for each seed."""
        for seed in seeds:
            self.fill(optimizer, seed)
            optimizer.step()


def draw(y: Array, seed: int = 1) -> Array:
    """Return a random gradient for an output, of its dtype."""
    return np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)


def gradients_of(layer: Any) -> dict[str, Array]:
    """Return copies of the gradients of all parameters."""
    return {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}


def values_of(optimizer: Any) -> list[Array]:
    """Return copies of the values of all parameters."""
    return [parameter.value.copy() for parameter in optimizer.parameters]


def both(layer: Any, inputs: tuple[Any, ...], grad: Array | None = None, **mask: Any) -> Any:
    """Run forward and backward; return output, gradient on the input, and of the parameters."""
    y = layer.forward(*inputs, **mask)
    grad_x = layer.backward(draw(y) if grad is None else grad)
    return y, grad_x, gradients_of(layer)


def importable(kind: type | FunctionType) -> bool:
    """Whether pickle can find a class or a function: under its name, in its module."""
    module = sys.modules.get(kind.__module__)
    return kind.__module__ != "__main__" and getattr(module, kind.__qualname__, None) is kind


def snapshot(layer: Layer) -> dict[str, Any]:
    """Copy all that a refused call must leave as it was."""
    found: dict[str, Any] = {}
    for name, parameter in layer.named_parameters():
        found |= {name: parameter.value.copy(), f"the gradient of {name}": parameter.grad.copy()}
    for path, one in layer.named_layers():
        for attribute in ("state", "carried_state", "grad_state"):
            state = getattr(one, attribute, None)
            if state is not None:
                found[f"{path}.{attribute}".lstrip(".")] = copied(state)
    return found
