"""What is checked, copies of it, and what its calls leave behind."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np

from minirnn.core import Layer
from minirnn.data.nested import each
from minirnn.gradcheck.arrays import mapped
from minirnn.losses import Loss
from minirnn.testing.arrays import cast, copied, part, same
from minirnn.testing.report import NotApplicableError
from minirnn.typing import Array


class Subject:
    """A layer, cell, loss or metric, what its calls take (in float64), and copies to try it on."""

    def __init__(self, thing: Any, inputs: tuple[Any, ...], mask: Any) -> None:
        self.thing, self.mask, self.name = thing, mask, type(thing).__name__
        arrays = tuple(each(np.asarray, x) for x in inputs)
        self.inputs: tuple[Any, ...] = cast(arrays, np.float64)

    def made(self, dtype: Any = np.float64) -> Any:
        """Return a copy with parameters of this dtype, as fresh as the thing was."""
        thing = copy.deepcopy(self.thing)
        if isinstance(thing, Layer):
            for parameter in thing.parameters():
                shape = parameter.shape
                parameter.move(np.empty(shape, dtype), np.empty(shape, dtype))
            thing.zero_grad()
        return thing

    def results(self, thing: Any, inputs: Any, seed: int = 1, **mask: Any) -> dict[str, Any]:
        """Return all that the calls of a copy give, by what it is called in a sentence."""
        raise NotImplementedError

    def others(self) -> tuple[Any, ...]:
        """Return inputs of the same shapes with other numbers: the batch in the opposite order."""
        first, *rest = part(self.inputs, slice(None, None, -1))
        return mapped(first, lambda a: 0.5 * a if a.dtype.kind == "f" else a), *rest

    @property
    def has_time(self) -> bool:
        """Whether a mask (batch, time) fits."""
        return False

    def sequence(self) -> Array:
        """Return the input, or the prediction, with a time axis; else the check does not apply."""
        if not self.has_time:
            raise NotApplicableError("the input has no time axis (batch, time, features)")
        x: Array = self.inputs[0]
        return x

    def masks(self) -> dict[str, Array]:
        """Return masks to try, each row with a valid step, and last the one that was given."""
        batch, time = self.sequence().shape[:2]
        steps, rows = np.arange(time), np.arange(batch)[:, None]
        gaps = (steps + rows) % 3 != 0
        gaps[:, time - 1] |= ~gaps.any(axis=1)
        tried = {"padding at the end": steps < np.maximum(1, time - rows), "gaps in the mask": gaps}
        return tried if self.mask is None else tried | {"the mask": np.asarray(self.mask)}

    def padded(self, mask: Array, filling: float, token: int) -> tuple[Any, ...]:
        """Return the inputs with something else wherever a step is masked; tokens get the token."""
        inputs: tuple[Any, ...] = copied(self.inputs)
        for x in inputs:
            x[~mask] = filling if x.dtype.kind == "f" else token
        return inputs

    def variants(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield what gradients are checked on: its name, the inputs, and the mask or None."""
        yield "", self.inputs, None
        yield "a batch of one", part(self.inputs, slice(1)), None

    def remembers(self) -> bool:
        """Whether a call on other numbers changes the results of the next."""
        once, twice = self.made(), self.made()
        is_layer = isinstance(self.thing, Layer)
        if is_layer and any("rng" in vars(one) for _, one in self.thing.named_layers()):
            once, twice = once.eval(), twice.eval()  # else the second call draws other numbers
        self.results(twice, self.others())
        if is_layer:
            twice.zero_grad()
            twice.reset_state()
        return not same(self.results(once, self.inputs), self.results(twice, self.inputs))


class LayerSubject(Subject):
    """A layer, and the arguments of its forward."""

    def results(self, thing: Any, inputs: Any, seed: int = 1, **mask: Any) -> dict[str, Any]:
        """Return output, gradients and states."""
        y = thing.forward(*inputs, **mask)
        return {"the output": y} | self.after(thing, draw(y, seed))

    def after(self, thing: Any, grad: Array) -> dict[str, Any]:
        """Run backward and return gradients and states."""
        found = {"the gradient on the input": thing.backward(grad)}
        found["the gradient of the parameters"] = gradients_of(thing)
        return found | {name: getattr(thing, name, None) for name in ("state", "grad_state")}

    @property
    def x(self) -> Array | None:
        """The input, if it is one array."""
        x = self.inputs[0]
        return x if len(self.inputs) == 1 and isinstance(x, np.ndarray) else None

    @property
    def has_time(self) -> bool:
        """Whether the input is (batch, time, features), or (batch, time) of tokens."""
        return self.x is not None and self.x.ndim == (3 if self.x.dtype.kind == "f" else 2)

    def variants(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield also one step, and the masks: padding at the end of every other row, then gaps."""
        yield from super().variants()
        if self.x is None and self.mask is not None:
            yield "the mask", self.inputs, self.mask
        if self.has_time:
            yield "a single step", part(self.inputs, (slice(None), slice(1))), None
            if self.thing.uses_mask:
                trailing, gaps, *given = self.masks().values()
                mixed = np.where(np.arange(len(gaps))[:, None] % 2, trailing, gaps)
                names = ("padding and gaps in the mask", "the mask")
                for name, mask in zip(names, (mixed, *given), strict=False):
                    yield name, self.padded(mask, np.nan, 10**6), mask


class CellSubject(Subject):
    """A cell, one step, and a state."""

    def results(self, thing: Any, inputs: Any, seed: int = 1, **mask: Any) -> dict[str, Any]:
        """Return output, state and gradients of the step."""
        y, state, cache = thing.forward(*inputs)
        grads = draw(np.asarray(y), seed), mapped(state, lambda a: draw(a, seed))
        grad_x, grad_state = thing.backward(*grads, cache)
        found = {"the output": y, "the new state": state, "the gradient on the input": grad_x}
        return found | {"the gradient on the state": grad_state}


class TargetSubject(Subject):
    """A loss or a metric, a prediction and a target."""

    def __init__(self, thing: Any, inputs: tuple[Any, ...], mask: Any) -> None:
        if len(inputs) != 2:
            raise TypeError(
                f"check_layer: {type(thing).__name__} takes the prediction and the target"
            )
        super().__init__(thing, (np.asarray(inputs[0], np.float64), inputs[1]), mask)
        self.prediction: Array = self.inputs[0]
        self.target: Any = self.inputs[1]
        self.is_loss = isinstance(thing, Loss)

    def results(self, thing: Any, inputs: Any, seed: int = 1, **mask: Any) -> dict[str, Any]:
        """Return the loss and its gradient, or the value of the metric."""
        if self.is_loss:
            return {"the loss": thing.forward(*inputs, **mask), "the gradient": thing.backward()}
        thing.update(*inputs, **mask)
        return {"the value": thing.value}

    @property
    def has_time(self) -> bool:
        """Whether prediction and target have the axes batch and time."""
        shape = self.prediction.shape[:2]
        return self.prediction.ndim == 3 and np.shape(self.target)[:2] == shape

    def takes_mask(self) -> bool:
        """Whether forward or update takes a mask."""
        method = self.thing.forward if self.is_loss else self.thing.update
        found = inspect.signature(method).parameters.values()
        return any(p.name == "mask" or p.kind is p.VAR_KEYWORD for p in found)

    def variants(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield also a masked one."""
        yield from super().variants()
        if self.has_time and self.takes_mask():
            *_, mask = self.masks().values()
            yield "masked", self.padded(mask, 0, 0), mask


def draw(y: Array, seed: int = 1) -> Array:
    """Return a random gradient for an output, of its dtype."""
    return np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)


def gradients_of(layer: Any) -> dict[str, Array]:
    """Return copies of the gradients of all parameters."""
    return {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}


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
