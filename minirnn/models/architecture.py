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

from minirnn import cells, layers, recurrent
from minirnn.core import Layer, dtype_of
from minirnn.data.text import Vocabulary
from minirnn.data.windows import Scaler
from minirnn.errors import CheckpointError
from minirnn.files.tree import CLASS, pack, unpack
from minirnn.models.encoder_decoder import EncoderDecoder
from minirnn.models.sequential import Sequential
from minirnn.typing import Array

_NOT_KEPT = ("rng", "engine")  # what belongs to a run or a machine


def known_classes() -> dict[str, type]:
    """Return the classes that a file may name without `classes`."""
    kinds: list[Any] = [Vocabulary, Scaler, EncoderDecoder, Sequential]
    for room in (cells, layers, recurrent):
        members = [getattr(room, name) for name in room.__all__]
        kinds += [one for one in members if isinstance(one, type) and issubclass(one, Layer)]
    return {kind.__name__: kind for kind in kinds}


class Describer:
    """Describe objects as JSON: each as the call that makes it."""

    def __init__(self) -> None:
        self.own: dict[str, type] = {}
        self.arrays: dict[str, Array] = {}
        self._known = known_classes()
        self._seen: set[int] = set()

    def described(self, value: Any, place: str) -> Any:
        """Return JSON for a value: plain, an array, or an object of a class that can be called."""
        return pack(value, place, self.arrays, self._call)

    def _call(self, thing: Any, place: str) -> dict[str, Any]:
        name, kind = type(thing).__name__, type(thing)
        is_layer = isinstance(thing, Layer) and not place.startswith("extras")
        if not is_layer and kind not in (Vocabulary, Scaler):
            raise TypeError(
                f"{place} is a {name}, which a file cannot hold; numbers, texts, float arrays, "
                f"layers, a Vocabulary, a Scaler, and lists and dictionaries of these it can"
            )
        if is_layer and id(thing) in self._seen:
            raise ValueError(f"{place} is a layer that the model holds twice")
        self._seen.add(id(thing))
        if (self._known.get(name) or self.own.setdefault(name, kind)) is not kind:
            raise ValueError(f"there are two classes named {name}: rename yours")
        arguments = {}
        for argument, parameter in inspect.signature(kind).parameters.items():
            if argument in _NOT_KEPT or parameter.kind in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                continue
            value = self._argument(thing, argument, place)
            arguments[argument] = self.described(value, f"{place}/{argument}")
        return {CLASS: name, "arguments": arguments}

    @staticmethod
    def _argument(thing: Any, argument: str, place: str) -> Any:
        if argument == "dtype" and isinstance(thing, Layer):
            dtype = dtype_of(thing)
            return None if dtype is None else dtype.name
        try:
            return getattr(thing, argument)
        except AttributeError:
            raise TypeError(
                f"{place} ({type(thing).__name__}) does not keep its argument {argument!r}; "
                f"write self.{argument} = {argument} in __init__"
            ) from None


class Builder:
    """Make objects from their description, with no more numbers than the file has."""

    def __init__(
        self, own: Mapping[str, type], weights: Mapping[str, Array], arrays: Mapping[str, Array]
    ) -> None:
        self._classes = {**own, **known_classes()}
        self._arrays = dict(arrays)
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
        return unpack(described, self._arrays, self._made)

    def _made(self, described: Mapping[str, Any]) -> Any:
        kind = self._classes[described[CLASS]]
        parameters = inspect.signature(kind).parameters
        arguments: dict[str, Any] = {}
        for name, value in described["arguments"].items():
            if name not in parameters or name in _NOT_KEPT:
                raise TypeError(f"{kind.__name__} has no argument {name!r}")
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


def _named(content: Any) -> Iterator[str]:
    """Yield the names of all classes in a description."""
    if isinstance(content, dict):
        if CLASS in content:
            yield str(content[CLASS])
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _named(item)
