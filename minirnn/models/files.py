"""Complete models in a file: what they are made of, their weights, and what belongs to them.

The file is in the format of safetensors (`minirnn.files.safetensors`). Its metadata say in JSON
which classes were called with which arguments (`minirnn.models.architecture`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter
from minirnn.errors import CheckpointError
from minirnn.files.safetensors import MODEL, read_content, write_content
from minirnn.models.architecture import BoundedGenerator, Builder, Describer, known_classes
from minirnn.typing import Array


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
    checks.instance("save", "model", model, Layer)
    describer = Describer()
    extras = {**getattr(model, "extras", {}), **extras}
    with checks.located("save"):
        content = {
            "model": describer.described(model, "model"),
            "shared": [places for places in _places(model).values() if len(places) > 1],
            "extras": describer.described(extras, "extras"),
        }
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    try:
        _built(Builder(describer.own, weights, describer.arrays), copy.deepcopy(content), weights)
    except ValueError as error:
        raise ValueError(
            f"save: {type(model).__name__} cannot be built again from the arguments of its "
            f"layers; was a layer changed after it was made? {error}"
        ) from None
    write_content(path, MODEL, weights | describer.arrays, content)


def load(path: str | os.PathLike[str], classes: Iterable[type] = ()) -> Any:
    """Return the model that `save` wrote, in training mode; ``model.extras`` came with it.

    Parameters
    ----------
    path : path of the file
    classes : iterable of classes
        Your own layers and cells that the file names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If the file is damaged, or something else, or names a class that is neither minirnn's
        nor among `classes`. Nothing has been built then.
    """
    own: dict[str, type] = {}
    if isinstance(classes, type):
        raise TypeError(f"load: classes go in a list: write classes=[{classes.__name__}]")
    for one in classes:
        if not isinstance(one, type):
            raise TypeError(f"load: classes should be classes, got a {type(one).__name__}")
        if known_classes().get(one.__name__, one) is not one:
            raise TypeError(f"load: {one.__name__} is the name of a class of minirnn: rename yours")
        own[one.__name__] = one
    arrays, content = read_content(path, MODEL)
    try:
        weights = {name: array for name, array in arrays.items() if name.startswith("model.")}
        builder = Builder(own, weights, arrays)
        builder.refuse_unknown(content)
        model = _built(builder, content, weights)
        vars(model)["extras"] = builder.value(content["extras"])
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IndexError) as error:
        raise CheckpointError(f"{path} holds no complete model: {error}") from None
    return model


def _built(builder: Builder, content: Mapping[str, Any], weights: Mapping[str, Array]) -> Layer:
    """Return the model of the description, with these weights."""
    model = builder.value(content["model"])
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
            if isinstance(value, BoundedGenerator):
                setattr(part, attribute, np.random.default_rng())
    model.load_state_dict({name.removeprefix("model."): one for name, one in weights.items()})
    for name, parameter in model.named_parameters():
        if weights[f"model.{name}"].dtype != parameter.dtype:
            raise ValueError(f"its {name} is of another dtype than its architecture")
    return model


def _at(parts: Mapping[str, Layer], place: str) -> Parameter:
    name, _, attribute = place.rpartition(".")
    parameter = vars(parts[name]).get(attribute) if name in parts else None
    if not isinstance(parameter, Parameter):
        raise ValueError(f"{place} is no parameter")
    return parameter


def _places(model: Layer) -> dict[int, list[str]]:
    """Return for each parameter all the attributes that hold it."""
    found: dict[int, list[str]] = {}
    for name, layer in model.named_layers():
        for attribute, value in vars(layer).items():
            if isinstance(value, Parameter):
                found.setdefault(id(value), []).append(f"{name}.{attribute}")
    return found
