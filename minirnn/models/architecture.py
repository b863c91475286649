"""The architecture of a model as JSON: which classes are called with which arguments, and back.

Nothing is imported or run: names are looked up among minirnn's own classes and those that the
reader hands over, and no more numbers are drawn or kept than the file holds weights.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import minirnn
from minirnn.core import Layer, dtype_of
from minirnn.data.text import Vocabulary
from minirnn.data.windows import Scaler
from minirnn.errors import CheckpointError
from minirnn.typing import Array

__all__ = ["BoundedGenerator", "Builder", "Describer", "known_classes"]

_CLASS, _ARRAY = "minirnn.class", "minirnn.array"
_NOT_KEPT = ("rng", "engine")  # what belongs to a run or a machine


def known_classes() -> dict[str, type]:
    """Return the classes that a file may name without `classes`."""
    found: dict[str, type] = {"Vocabulary": Vocabulary, "Scaler": Scaler}
    rooms = ("minirnn.layers", "minirnn.cells", "minirnn.recurrent", "minirnn.models")
    for name in minirnn.__all__:
        if name in vars(minirnn) or minirnn._LAZY[name].startswith(rooms):
            one = getattr(minirnn, name)
            if isinstance(one, type) and issubclass(one, Layer):
                found[name] = one
    return found


class Describer:
    """Describe objects as JSON: each as the call that makes it."""

    def __init__(self) -> None:
        self.own: dict[str, type] = {}
        self.arrays: dict[str, Array] = {}
        self._known = known_classes()
        self._seen: set[int] = set()

    def described(self, value: Any, place: str) -> Any:
        """Return JSON for a value: plain, an array, or an object of a class that can be called."""
        if isinstance(value, np.generic) and not isinstance(value, np.floating):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value if not isinstance(value, np.floating) else float(value)
        if isinstance(value, list | tuple):
            return [self.described(item, f"{place}[{k}]") for k, item in enumerate(value)]
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str) or key in (_CLASS, _ARRAY):
                    raise TypeError(f"save: {place} has the key {key!r}; keys should be texts")
            return {key: self.described(item, f"{place}.{key}") for key, item in value.items()}
        if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float64):
            name = f"array.{len(self.arrays)}"
            self.arrays[name] = value
            return {_ARRAY: name}
        name = type(value).__name__
        is_layer = isinstance(value, Layer) and not place.startswith("extras")
        if is_layer or self._known.get(name) is type(value) in (Vocabulary, Scaler):
            return {_CLASS: name, "arguments": self._arguments(value, place)}
        raise TypeError(
            f"save: {place} is a {name}, which a file cannot hold; numbers, texts, float arrays, "
            f"layers, a Vocabulary, a Scaler, and lists and dictionaries of these it can"
        )

    def _arguments(self, thing: Any, place: str) -> dict[str, Any]:
        name = type(thing).__name__
        if isinstance(thing, Layer):
            if id(thing) in self._seen:
                raise ValueError(f"save: {place} is a layer that the model holds twice")
            self._seen.add(id(thing))
        known = self._known.get(name) or self.own.setdefault(name, type(thing))
        if known is not type(thing):
            raise ValueError(f"save: there are two classes named {name}: rename yours")
        arguments = {}
        for argument, parameter in inspect.signature(type(thing)).parameters.items():
            if argument in _NOT_KEPT or parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                continue
            value = self._argument(thing, argument, place)
            arguments[argument] = self.described(value, f"{place}.{argument}")
        return arguments

    @staticmethod
    def _argument(thing: Any, argument: str, place: str) -> Any:
        if argument == "dtype" and isinstance(thing, Layer):
            dtype = dtype_of(thing)
            return None if dtype is None else dtype.name
        try:
            return getattr(thing, argument)
        except AttributeError:
            raise TypeError(
                f"save: {place} ({type(thing).__name__}) does not keep its argument {argument!r}; "
                f"write self.{argument} = {argument} in __init__"
            ) from None


class Builder:
    """Make objects from their description, with no more numbers than the file has."""

    def __init__(
        self, own: Mapping[str, type], weights: Mapping[str, Array], arrays: Mapping[str, Array]
    ) -> None:
        self._classes = {**own, **known_classes()}
        self._arrays = arrays
        self._rng = BoundedGenerator(np.random.PCG64())
        self._left = self._rng.left = 1000 + sum(array.size for array in weights.values())

    def refuse_unknown(self, content: Any) -> None:
        """Raise if there are classes that are neither minirnn's nor the reader's."""
        unknown = sorted(set(_named(content)) - set(self._classes))
        if unknown:
            listed = ", ".join(unknown[:5])
            raise CheckpointError(
                f"names {listed}, not among the classes of minirnn; for classes of your own, "
                f"write load(path, classes=[{listed}])"
            )

    def value(self, described: Any) -> Any:
        """Return what is described."""
        if isinstance(described, list):
            return [self.value(item) for item in described]
        if not isinstance(described, dict):
            return described
        if _ARRAY in described:
            return self._arrays[described[_ARRAY]]
        if _CLASS not in described:
            return {key: self.value(item) for key, item in described.items()}
        return self._made(self._classes[described[_CLASS]], described["arguments"])

    def _made(self, kind: type, described: Mapping[str, Any]) -> Any:
        parameters = inspect.signature(kind).parameters
        arguments: dict[str, Any] = {}
        for name, item in described.items():
            if name not in parameters or name in _NOT_KEPT:
                raise TypeError(f"{kind.__name__} has no argument {name!r}")
            value = self.value(item)
            if isinstance(value, list) and isinstance(parameters[name].default, tuple):
                value = tuple(value)
            if name == "dtype" and value is None:
                continue
            arguments[name] = value
        sizes = [value for value in arguments.values() if type(value) is int]
        self._left -= max(sizes, default=0)
        if self._left < 0:
            raise ValueError("its layers would be larger than the weights that it has")
        if "rng" in parameters:
            arguments["rng"] = self._rng
        return kind(**arguments)


def _named(content: Any) -> Iterator[str]:
    """Yield the names of all classes in a description."""
    if isinstance(content, dict):
        if _CLASS in content:
            yield str(content[_CLASS])
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _named(item)


def _bounded(name: str, place: int) -> Any:
    """Return a method that draws as the generator's own does; `size` is its argument at `place`."""

    def draw(self: BoundedGenerator, *arguments: Any, **options: Any) -> Any:
        size = options.get("size", arguments[place] if len(arguments) > place else None)
        self.left -= math.prod(np.atleast_1d(1 if size is None else size).tolist())
        if self.left < 0:
            raise ValueError("its layers would be larger than the weights that it has")
        return getattr(np.random.Generator, name)(self, *arguments, **options)

    return draw


class BoundedGenerator(np.random.Generator):
    """A generator that draws initial weights, as many as there are in the file and no more."""

    left = 0
    uniform, normal = _bounded("uniform", 2), _bounded("normal", 2)
    standard_normal, random = _bounded("standard_normal", 0), _bounded("random", 0)
