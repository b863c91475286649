"""Checkpoints: a tree of dictionaries and lists with numbers, texts and arrays.

The file is in the format of safetensors, see there: the tree stands in its metadata as JSON, and
each array under its place in the tree, ``/model/layers.0.W``. Nothing is pickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minirnn.errors import CheckpointError
from minirnn.files.safetensors import CHECKPOINT, read_content, write_content
from minirnn.typing import Array

_ARRAY = "minirnn.array"  # the key under which an array leaves its name in the JSON
CLASS = "minirnn.class"  # and an object the name of its class


def write_tree(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write a tree of dictionaries, lists, None, bool, int, float, str and arrays of real numbers.

    TypeError for a leaf of another kind, named by its place, before anything is written;
    ValueError if the tree has more small dictionaries and lists than `read_tree` accepts.
    """
    arrays: dict[str, Array] = {}
    packed = pack(tree, "", arrays)
    try:
        write_content(path, CHECKPOINT, arrays, packed)
    except CheckpointError as error:
        raise ValueError(f"the tree cannot be saved: {error}; put the numbers in arrays") from None


def read_tree(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the tree that `write_tree` wrote; FileNotFoundError if there is no such file.

    CheckpointError if it is truncated, corrupted, no checkpoint, or of another version.
    """
    arrays, packed = read_content(path, CHECKPOINT)
    try:
        tree = unpack(packed, arrays)
    except (TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is corrupted: {error}") from None
    if arrays or not isinstance(tree, dict):
        raise CheckpointError(f"{path} is corrupted: its tree does not fit its arrays")
    return tree


def pack(
    value: Any,
    place: str,
    arrays: dict[str, Array],
    described: Callable[[Any, str], Any] | None = None,
) -> Any:
    """Return `value` as JSON knows it: the name of each array, which goes to `arrays`.

    Objects are what `described` makes of them and of their place; beside objects, only float32 and
    float64 are arrays.
    """
    if isinstance(value, np.ndarray) and (
        described is None or value.dtype in (np.float32, np.float64)
    ):
        while place in arrays:  # a key can have a slash in it
            place += "/"
        arrays[place] = value
        return {_ARRAY: place}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or key in (_ARRAY, CLASS)]
        if wrong:
            why = "is kept for arrays and objects" if isinstance(wrong[0], str) else "is not a str"
            raise TypeError(f"{place or 'the tree'} has the key {wrong[0]!r}, which {why}")
        return {key: pack(item, f"{place}/{key}", arrays, described) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [pack(item, f"{place}/{k}", arrays, described) for k, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if described is not None:
        return described(value, place)
    raise TypeError(
        f"{place or 'the tree'} is a {type(value).__name__}, which cannot be saved; numbers, "
        f"texts, arrays, and lists and dictionaries of them can"
    )


def unpack(
    value: Any, arrays: dict[str, Array], made: Callable[[dict[str, Any]], Any] | None = None
) -> Any:
    """Put each array in its place, once, and what is `made` of its description for each object."""
    if isinstance(value, dict) and _ARRAY in value:
        return arrays.pop(value[_ARRAY])
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            value[key] = unpack(item, arrays, made)
    return made(value) if made and isinstance(value, dict) and CLASS in value else value
