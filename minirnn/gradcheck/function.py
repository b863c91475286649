"""The checked function: a layer, a cell or a loss as one number that depends on arrays."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minirnn.core import Layer, Parameter
from minirnn.data.nested import leaves
from minirnn.gradcheck.arrays import Names, mapped
from minirnn.gradcheck.report import GradientError, wrong_kind, wrong_shape
from minirnn.typing import Array


class RefusedError(Exception):
    """The layer's own code raised `error` on what `function` gave it."""

    def __init__(self, function: CheckedFunction, error: Exception) -> None:
        super().__init__(str(error))
        self.function, self.error = function, error


class CheckedFunction:
    """A number that depends on arrays, and the gradients on them that backward gives.

    The number is ``sum(r * y)``, over the output ``y`` and the final state; the `weights` r are
    drawn at the first call. There is a subclass for layers, for cells and for losses.

    `given` are the arrays of forward's arguments, ``"input"``, ``"state[0]"``, ``"mask"`` and
    ``"target"``, and `names` how the arguments are made up of them: ``{"input": ("input[0]",
    "input[1]")}``. Each call is handed copies, and `handed` are the latest. `variables` is what is
    moved, in place: the float arrays of `given`, and the values of the parameters.
    """

    def __init__(
        self,
        layer: Any,
        given: dict[str, Array],
        names: dict[str, Names],
        rng: np.random.Generator,
    ) -> None:
        self.layer, self.given, self.names, self.rng = copy.deepcopy(layer), given, names, rng
        self.kind = type(layer).__name__
        self.handed: dict[str, Array] = {}
        self.parts: dict[str, Any] = {"": self.layer}
        self.parameters: dict[str, Parameter] = {}
        if isinstance(self.layer, Layer):
            self.parts = dict(self.layer.named_layers())
            self.parameters = dict(self.layer.named_parameters())
        for parameter in self.parameters.values():
            parameter.move(np.empty(parameter.shape), np.empty(parameter.shape))
        for part in self.parts.values():
            getattr(part, "engine", None)  # found once, and not anew after each fresh start
        self._start = {path: dict(vars(part)) for path, part in self.parts.items()}
        self._chance = copy.deepcopy(
            {path: {k: v for k, v in own.items() if _draws(v)} for path, own in self._start.items()}
        )
        self.weights: list[Array] = []
        movable = {name: a for name, a in given.items() if a.dtype.kind == "f"}
        self.variables = {k: a for k, a in movable.items() if not k.startswith("target")}
        self.variables |= {name: p.value for name, p in self.parameters.items()}

    cache: Any = None  # what a cell's forward returned for backward

    # ------------------------------------------------------------ what each kind writes

    def outputs(self) -> list[Array]:
        """Run forward and return the arrays that the number is made of."""
        raise NotImplementedError

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Run backward and return the gradients on what forward was given."""
        raise NotImplementedError

    def kept_arrays(self) -> dict[str, Array]:
        """Return the arrays in what forward kept for backward, under the names they have there."""
        kept = {"cache": self.cache}
        for path, part in self.parts.items():
            kept |= {f"{path or 'self'}.{name}": value for name, value in vars(part).items()}
        nested = (leaves(mapped(value, lambda one: one), name) for name, value in kept.items())
        return {
            name: array
            for found in nested
            for name, array in found
            if isinstance(array, np.ndarray)
        }

    # ------------------------------------------------------------ running

    @property
    def x(self) -> Array:
        """The input; of several, the first."""
        return next(array for name, array in self.given.items() if name.startswith("input"))

    def hand(self, names: Names) -> Any:
        """Return copies of given arrays, and remember them."""

        def copied(name: str) -> Array:
            self.handed[name] = self.given[name].copy()
            return self.handed[name]

        return mapped(names, copied)

    def hand_back(self, name: str, weight: Array) -> Array:
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
    def hooked(self, call: Callable[..., Any]) -> Iterator[None]:
        """Let forward and backward of every part be run by ``call(path, name, method, ...)``."""
        start = self._start
        self._start = {
            path: own
            | {
                name: partial(call, path, name, getattr(self.parts[path], name))
                for name in ("forward", "backward")
            }
            for path, own in start.items()
        }
        try:
            yield
        finally:
            self._start = start
            self.restart()

    def rewind(self) -> None:
        """Give the layers their random generators as they were at the beginning."""
        for path, generators in copy.deepcopy(self._chance).items():
            vars(self.parts[path]).update(generators)

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
        return outputs

    def flat_outputs(self) -> Array:
        """Return all outputs of a fresh start, one after the other."""
        return np.concatenate([np.ravel(y).astype(np.float64) for y in self.fresh_outputs()])

    def gradients(self, weights: Sequence[Array] | None = None) -> dict[str, Array]:
        """Return what backward gives after a fresh forward."""
        self.fresh_outputs()
        return self.backward(self.weights if weights is None else weights)

    def backward(self, weights: Sequence[Array], clear: bool = True) -> dict[str, Array]:
        """Return what backward gives after the latest forward, from gradients of zero or as is."""
        for parameter in self.parameters.values() if clear else ():
            parameter.grad = np.zeros(parameter.shape)
        with self._parameters_kept():
            found = self.go_back(weights)
        found |= {name: parameter.grad for name, parameter in self.parameters.items()}
        return {
            name: _one_gradient(f"{self.kind}.backward", name, found.get(name), variable.shape)
            for name, variable in self.variables.items()
        }

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
        before = [parameter.value.copy() for parameter in self.parameters.values()]
        yield
        for parameter, value in zip(self.parameters.values(), before, strict=True):
            parameter.value = value


def _draws(value: Any) -> bool:
    """Whether it is a random generator, or a list with one."""
    items = value if isinstance(value, list | tuple) else [value]
    kinds = np.random.Generator | np.random.RandomState | random.Random
    return any(isinstance(item, kinds) for item in items)


def _one_gradient(where: str, name: str, gradient: Any, shape: tuple[int, ...]) -> Array:
    """Return a copy of a gradient in float64; raise if it is none, or has another shape."""
    if gradient is None or np.asarray(gradient).dtype.kind not in "fiub":
        said = f"backward gives {type(gradient).__name__} for it; end it with `return grad_x`"
        raise wrong_kind(where, name, said, "a missing return")
    if np.shape(gradient) != shape:
        raise wrong_shape(where, name, np.shape(gradient), shape)
    copied: Array = np.array(gradient, np.float64)  # the layer may go on to use its array
    return copied
