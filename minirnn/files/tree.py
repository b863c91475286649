"""Checkpoints: a tree of dictionaries and lists with numbers, texts and arrays.

The file is in the format of safetensors, see there: the tree stands in its metadata as JSON, and
each array under its place in the tree, ``/model/layers.0.W``. Nothing is pickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn.errors import CheckpointError
from minirnn.files.safetensors import CHECKPOINT, read_content, write_content
from minirnn.typing import Array

__all__ = ["read_tree", "write_tree"]

_ARRAY = "minirnn.array"  # the key under which an array leaves its name in the JSON


def write_tree(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write a tree of dictionaries, lists, numbers, texts and arrays.

    Parameters
    ----------
    path : path of the file, with any ending
    tree : dictionary
        Its leaves: None, bool, int, float, str, NumPy scalars and arrays of real numbers.

    Raises
    ------
    TypeError
        For a leaf of another kind, named by its place, before anything is written.
    ValueError
        If the tree has more small dictionaries and lists than `read_tree` accepts.
    """
    arrays: dict[str, Array] = {}
    packed = _pack(tree, "", arrays)
    try:
        write_content(path, CHECKPOINT, arrays, packed)
    except CheckpointError as error:
        raise ValueError(f"the tree cannot be saved: {error}; put the numbers in arrays") from None


def read_tree(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the tree that `write_tree` wrote.

    No file takes more memory than ten times its size and some constant.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is truncated, corrupted, not a checkpoint, or of another version of the format.
    """
    arrays, packed = read_content(path, CHECKPOINT)
    try:
        tree = _unpack(packed, arrays)
    except (TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is corrupted: {error}") from None
    if arrays or not isinstance(tree, dict):
        raise CheckpointError(f"{path} is corrupted: its tree does not fit its arrays")
    return tree


def _pack(value: Any, place: str, arrays: dict[str, Array]) -> Any:
    """Return `value` as JSON knows it: the name of each array, which goes to `arrays`."""
    if isinstance(value, np.ndarray):
        while place in arrays:  # a key can have a slash in it
            place += "/"
        arrays[place] = value
        return {_ARRAY: place}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or key == _ARRAY]
        if wrong:
            why = "is kept for arrays" if wrong[0] == _ARRAY else "is not a str"
            raise TypeError(f"{place or 'the tree'} has the key {wrong[0]!r}, which {why}")
        return {key: _pack(item, f"{place}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{place}/{k}", arrays) for k, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{place or 'the tree'} is a {type(value).__name__}, which cannot be saved; numbers, "
        f"texts, arrays, and lists and dictionaries of them can"
    )


def _unpack(value: Any, arrays: dict[str, Array]) -> Any:
    """Put each array in its place, once."""
    if isinstance(value, dict) and _ARRAY in value:
        return arrays.pop(value[_ARRAY])
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _unpack(item, arrays)
    elif isinstance(value, list):
        for k, item in enumerate(value):
            value[k] = _unpack(item, arrays)
    return value
