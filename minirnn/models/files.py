"""Complete models in a file: what they are made of, their weights, and what belongs to them.

The file is one of safetensors, see `minirnn.weights`; its metadata say in JSON which classes were
called with which arguments. Nothing in a file is imported or run: names are looked up among
minirnn's own classes and those that the reader hands over, and no more numbers are drawn or kept
than the file holds weights.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

import minirnn
from minirnn.core import Layer, Parameter, dtype_of
from minirnn.data.text import Vocabulary
from minirnn.data.windows import Scaler
from minirnn.errors import CheckpointError
from minirnn.files import existing, read_json
from minirnn.typing import Array
from minirnn.weights import WHOLE_MODEL, read_safetensors, write_safetensors

__all__ = ["load", "save"]

_VERSION = "1"
_CLASS, _ARRAY = "minirnn.class", "minirnn.array"
_NOT_KEPT = ("rng", "engine")  # what belongs to a run or a machine


def save(model: Layer, path: str | os.PathLike[str], **extras: Any) -> None:
    """Write a model to a file: its architecture, its weights, and what belongs to them.

    Parameters
    ----------
    model : Layer
        Every layer in it, your own too, keeps each argument of its constructor as an attribute of
        the same name. Weights that are shared stay shared.
    path : path of the file
        An old one is replaced only when the new one is complete and on disk.
    **extras
        What is needed to use the model: a `data.Vocabulary`, a `data.Scaler`, numbers, texts, float
        arrays, lists and dictionaries of these.

    Raises
    ------
    TypeError
        For a layer that does not keep its arguments, or an argument or extra that a file cannot
        hold: before anything is written.
    ValueError
        If the model could not be built again from its arguments.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from minirnn import GRU, Dense, Embedding, Sequential
    >>> from minirnn.data import Vocabulary
    >>> vocabulary = Vocabulary("abc")
    >>> model = Sequential([Embedding(3, 4, rng=0), GRU(4, 5, rng=1), Dense(5, 3, rng=2)])
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save(model, path, vocabulary=vocabulary)
    >>> again = load(path)
    >>> bool((again.predict([[0, 1]]) == model.predict([[0, 1]])).all())
    True
    >>> again.extras["vocabulary"]
    Vocabulary('abc')
    """
    writer = _Writer()
    content = {
        "model": writer.described(model, "model"),
        "shared": [places for places in _places(model).values() if len(places) > 1],
        "extras": writer.described({**getattr(model, "extras", {}), **extras}, "extras"),
    }
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    again = _built(_Reader(writer.own, weights, weights), content)
    if _form(again) != _form(model):
        raise ValueError(
            f"save: {type(model).__name__} cannot be built again from the arguments of its "
            f"layers: {_difference(_form(model), _form(again))}; was a layer changed after it was "
            f"made?"
        )
    metadata = {"format": WHOLE_MODEL, "version": _VERSION, "content": json.dumps(content)}
    write_safetensors(path, weights | writer.arrays, metadata)


def load(path: str | os.PathLike[str], classes: Iterable[type] = ()) -> Any:
    """Return the model that `save` wrote, in training mode, with `extras` as an attribute.

    Parameters
    ----------
    path : path of the file
    classes : iterable of classes
        Your own layers, cells and extras that the file names.

    Returns
    -------
    Layer
        ``model.extras`` is the dictionary of what was saved with it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If the file is damaged, or something else, or names a class that is neither minirnn's
        nor among `classes`. Nothing has been built then.
    """
    own: dict[str, type] = {}
    for one in classes:
        if not isinstance(one, type):
            raise TypeError(f"load: classes should be classes, got a {type(one).__name__}")
        if _known().get(one.__name__, one) is not one:
            raise TypeError(f"load: {one.__name__} is the name of a class of minirnn: rename yours")
        own[one.__name__] = one
    path = existing(path)
    arrays, metadata = read_safetensors(path)
    if metadata.get("format") != WHOLE_MODEL:
        raise CheckpointError(
            f"{path} has weights alone, and no architecture: build the model, then model.load(path)"
        )
    if metadata.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} was written by another version of minirnn (model format "
            f"{metadata.get('version')}; this one reads {_VERSION})"
        )
    try:
        content = read_json(metadata.get("content", "").encode(), path.stat().st_size)
        weights = {name: array for name, array in arrays.items() if name.startswith("model.")}
        reader = _Reader(own, weights, arrays)
        reader.refuse_unknown(content)
        model = _built(reader, content)
        model.load_state_dict({n.removeprefix("model."): a for n, a in weights.items()})
        dtypes = {f"model.{name}": one.value.dtype for name, one in model.named_parameters()}
        if any(weights[name].dtype != dtype for name, dtype in dtypes.items()):
            raise ValueError("its weights are of another dtype than its architecture")
        vars(model)["extras"] = reader.value(content["extras"])
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IndexError) as error:
        raise CheckpointError(f"{path} holds no complete model: {error}") from None
    return model


def _known() -> dict[str, type]:
    """Return the classes that a file may name without more ado."""
    found: dict[str, type] = {"Vocabulary": Vocabulary, "Scaler": Scaler}
    rooms = ("minirnn.layers", "minirnn.cells", "minirnn.recurrent", "minirnn.models")
    for name in minirnn.__all__:
        if name in vars(minirnn) or minirnn._LATER[name].startswith(rooms):
            one = getattr(minirnn, name)
            if isinstance(one, type) and issubclass(one, Layer):
                found[name] = one
    return found


def _built(reader: _Reader, content: Mapping[str, Any]) -> Layer:
    """Return the model of the description, with weights that are still to be loaded."""
    model = reader.value(content["model"])
    if not isinstance(model, Layer):
        raise ValueError("its model is no layer")
    parts = dict(model.named_layers())
    for first, *others in content["shared"]:
        parameter = _at(parts, first)
        for place in others:
            name, _, attribute = place.rpartition(".")
            if _at(parts, place).shape != parameter.shape:
                raise ValueError(f"{place} cannot be shared with {first}")
            setattr(parts[name], attribute, parameter)
    for part in parts.values():
        for attribute, value in vars(part).items():
            if isinstance(value, _Bounded):
                setattr(part, attribute, np.random.default_rng())
    return model


def _at(parts: Mapping[str, Layer], place: str) -> Parameter:
    name, _, attribute = place.rpartition(".")
    parameter = vars(parts[name])[attribute]
    if not isinstance(parameter, Parameter):
        raise TypeError(f"{place} is no parameter")
    return parameter


def _places(model: Layer) -> dict[int, list[str]]:
    """Return for each parameter all the attributes that hold it."""
    found: dict[int, list[str]] = {}
    for name, layer in model.named_layers():
        for attribute, value in vars(layer).items():
            if isinstance(value, Parameter):
                found.setdefault(id(value), []).append(f"{name}.{attribute}")
    return found


def _form(model: Layer) -> dict[str, tuple[Any, ...]]:
    """Return what the parameters of a model look like."""
    return {name: (one.shape, str(one.value.dtype)) for name, one in model.named_parameters()}


def _difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    name = next(name for name in [*one, *two] if one.get(name) != two.get(name))
    return f"{name} is {one.get(name, 'not there')}, and would be {two.get(name, 'not there')}"


class _Writer:
    """Describe objects as JSON: each as the call that makes it."""

    def __init__(self) -> None:
        self.own: dict[str, type] = {}
        self.arrays: dict[str, Array] = {}
        self._known = _known()
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
                raise ValueError(f"save: {place} is a layer that stands in another place, too")
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


class _Reader:
    """Make objects from their description, with no more numbers than the file has."""

    def __init__(
        self, own: Mapping[str, type], weights: Mapping[str, Array], arrays: Mapping[str, Array]
    ) -> None:
        self._classes = {**own, **_known()}
        self._arrays = arrays
        self._rng = _Bounded(np.random.PCG64())
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


class _Bounded(np.random.Generator):
    """A generator that draws initial weights, as many as there are in the file and no more."""

    left = 0

    def _charge(self, size: Any) -> None:
        count = (
            1 if size is None else int(np.prod([int(n) for n in np.atleast_1d(size)], dtype=object))
        )
        self.left -= count
        if self.left < 0:
            raise ValueError("its layers would be larger than the weights that it has")

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """Draw from ``[low, high)``."""
        self._charge(size)
        return super().uniform(low, high, size)

    def standard_normal(self, size: Any = None, *arguments: Any, **options: Any) -> Any:
        """Draw from the normal distribution."""
        self._charge(size)
        return super().standard_normal(size, *arguments, **options)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Draw from a normal distribution."""
        self._charge(size)
        return super().normal(loc, scale, size)

    def random(self, size: Any = None, *arguments: Any, **options: Any) -> Any:
        """Draw from ``[0, 1)``."""
        self._charge(size)
        return super().random(size, *arguments, **options)
