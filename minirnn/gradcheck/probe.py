"""What a layer, a cell and a loss have in common when they are checked."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn.core import Layer, Parameter
from minirnn.gradcheck.report import Diagnosis, GradientKindError, GradientShapeError
from minirnn.typing import Array

__all__ = ["Probe"]


class Probe:
    """A number that depends on arrays, and the gradients on them that backward gives.

    Attributes
    ----------
    layer : the copy that is run, its parameters in float64
    given : dict of str to array
        What forward is given, never handed out itself but copied for each call: ``"input"``,
        ``"state[0]"``, ``"mask"``, ``"target"``.
    handed : dict of str to array
        The copies that the latest forward and backward were handed.
    variables : dict of str to array
        What is moved, in place: the float arrays of `given`, and the parameters' values.
    weights : list of arrays
        ``r``: what each output is multiplied by. Drawn at the first call.
    """

    def __init__(self, layer: Any, rng: np.random.Generator) -> None:
        self.layer = copy.deepcopy(layer)
        self.rng = rng
        self.given: dict[str, Array] = {}
        self.handed: dict[str, Array] = {}
        self.variables: dict[str, Array] = {}
        self.parameters: dict[str, Parameter] = {}
        self.parts: list[Any] = [self.layer]
        self._is_layer = isinstance(self.layer, Layer)
        if self._is_layer:
            self.parts = [part for _, part in self.layer.named_layers()]
            self.parameters = dict(self.layer.named_parameters())
        for parameter in self.parameters.values():
            parameter.move(np.empty(parameter.shape), np.empty(parameter.shape))
        self._start = [dict(vars(part)) for part in self.parts]
        self._generators = list(_generators(self.parts))
        self.weights: list[Array] = []

    # ------------------------------------------------------------ what each kind writes

    def outputs(self) -> list[Array]:
        """Run forward and return the arrays that the number is made of."""
        raise NotImplementedError

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Run backward and return the gradients on inputs and state."""
        raise NotImplementedError

    def similar(self, **changes: Any) -> Probe:
        """Return a probe of the same layer with other inputs, named as in `given`."""
        raise NotImplementedError

    @property
    def kept(self) -> dict[str, Any]:
        """What forward kept for backward, under the names it has there."""
        names = [name for name, _ in self.layer.named_layers()] if self._is_layer else [""]
        return {
            f"{f'{name}.' if name else 'self.'}{attribute}": value
            for name, part in zip(names, self.parts, strict=False)
            for attribute, value in vars(part).items()
        }

    # ------------------------------------------------------------ running

    def add_variables(self) -> None:
        """Let every float array of `given` be moved, and every parameter's value."""
        floats = {name: a for name, a in self.given.items() if a.dtype.kind == "f"}
        self.variables = {name: a for name, a in floats.items() if name != "target"}
        self.variables |= {name: p.value for name, p in self.parameters.items()}

    def hand(self, name: str) -> Array:
        """Return a copy of a given array, and remember it."""
        copied: Array = self.given[name].copy()
        self.handed[name] = copied
        return copied

    def hand_back(self, weights: Sequence[Array]) -> list[Array]:
        """Return copies of the gradients on the outputs, and remember them."""
        copies = [weight.copy() for weight in weights]
        names = ["grad", *(f"grad_state[{k}]" for k in range(len(copies) - 1))]
        self.handed |= dict(zip(names, copies, strict=True))
        return copies

    def restart(self) -> None:
        """Put the layers back to where they began, their random generators included."""
        for part, attributes in zip(self.parts, self._start, strict=True):
            vars(part).clear()
            vars(part).update(attributes)
        self.rewind()

    @contextmanager
    def replaced(self, forwards: dict[int, Callable[..., Any]]) -> Iterator[None]:
        """Put other forward methods on parts of the layer, by position in `parts`, for a while."""
        start = self._start
        self._start = [
            attributes | ({"forward": forwards[k]} if k in forwards else {})
            for k, attributes in enumerate(start)
        ]
        try:
            yield
        finally:
            self._start = start
            self.restart()

    def evaluate(self) -> None:
        """Put every layer into evaluation mode, from the next fresh start on."""
        for attributes in self._start:
            attributes["training"] = False

    def rewind(self) -> None:
        """Put the random generators back to where they began."""
        for generator, state in self._generators:
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = state
            elif isinstance(generator, random.Random):
                generator.setstate(state)
            else:
                generator.set_state(state)

    def fresh_outputs(self) -> list[Array]:
        """Run forward from a fresh start; a parameter that it changes is put back."""
        self.restart()
        before = [parameter.value.copy() for parameter in self.parameters.values()]
        outputs = [np.asarray(output) for output in self.outputs()]
        for parameter, value in zip(self.parameters.values(), before, strict=True):
            parameter.value[...] = value
        if not self.weights:
            self.weights = [self.rng.standard_normal(output.shape) for output in outputs]
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
        before = [parameter.value.copy() for parameter in self.parameters.values()]
        for parameter in self.parameters.values():
            parameter.grad = np.full(parameter.shape, start)
        found = self.try_backward(weights)
        for parameter, value in zip(self.parameters.values(), before, strict=True):
            parameter.value[...] = value
        found |= {name: parameter.grad - start for name, parameter in self.parameters.items()}
        return {name: self._checked(name, found.get(name)) for name in self.variables}

    def try_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Run backward; a sum over the batch that was forgotten is called by its name."""
        try:
            return self.run_backward(weights)
        except ValueError as error:
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error

    # ------------------------------------------------------------ malformed gradients

    def _checked(self, name: str, gradient: Any) -> Array:
        shape, what = self.variables[name].shape, type(self.layer).__name__
        if gradient is None or np.asarray(gradient).dtype.kind not in "fiub":
            text = f"looks like a missing return: backward gives {type(gradient).__name__} for it"
            message = f"{what}: the gradient on {name} should be an array {shape}"
            found = Diagnosis("kind", (name,), text)
            raise GradientKindError(f"{message}\n- {found!r}", name, (), np.nan, np.nan, (found,))
        array = np.asarray(gradient)
        if array.shape != shape:
            found = Diagnosis("shape", (name,), _about_shape(array.shape, shape))
            message = f"{what}: the gradient on {name} should have shape {shape}, got {array.shape}"
            raise GradientShapeError(f"{message}\n- {found!r}", name, (), np.nan, np.nan, (found,))
        # A copy: the layer may go on to use this array.
        copied: Array = np.array(array, np.float64)
        return copied

    def _explained(self, error: ValueError) -> ValueError:
        """Return a sum over the batch that was forgotten as what it is; else the error itself."""
        shapes = [_numbers(text) for text in re.findall(r"\((\d[\d, ]*)\)", str(error))]
        for name, parameter in self.parameters.items():
            for shape in shapes:
                if parameter.shape in shapes and shape[-parameter.value.ndim :] == parameter.shape:
                    if len(shape) <= parameter.value.ndim:
                        continue
                    text = (
                        f"looks like a sum over the batch that is missing: backward adds an array "
                        f"{shape} to a gradient {parameter.shape}; write .sum(axis=0), over all "
                        f"axes but the last"
                    )
                    found = Diagnosis("not summed", (name,), text)
                    return GradientShapeError(
                        f"{type(self.layer).__name__}: {error}\n- {found!r}",
                        name, (), np.nan, np.nan, (found,),
                    )  # fmt: skip
        return error


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _about_shape(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if got == expected[::-1]:
        return "looks like a transposed array: its axes come in the opposite order"
    if len(got) > len(expected) and got[-len(expected) :] == expected:
        return f"looks like a sum that is missing, over the first {len(got) - len(expected)} axes"
    if len(got) < len(expected):
        return "looks like a sum too many: it has fewer axes than the array it belongs to"
    return "looks like the gradient of another array: compare the two shapes"


def _generators(parts: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield every random generator that the parts hold, and the state it is in."""
    for part in parts:
        for value in vars(part).values():
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, np.random.Generator):
                    yield item, item.bit_generator.state
                elif isinstance(item, random.Random):
                    yield item, item.getstate()
                elif isinstance(item, np.random.RandomState):
                    yield item, item.get_state()
