"""The format of checkpoints: a tree of dictionaries and lists with numbers, texts and arrays.

The file is a zip archive that NumPy and every unpacker read: ``tree.json`` first, then each array
as ``a0.npy``, ``a1.npy``, ..., nothing compressed, nothing pickled.

Files may come from strangers, so reading trusts nothing. Each entry has one possible form, given
its name, its size and its content: the reader works out what should be there and compares. A size
is believed only if the file has that many bytes left, and JSON is weighed before it is parsed.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from minirnn.errors import CheckpointError
from minirnn.files.archive import Entry, directory_of, local_header, npy_header, write_entry
from minirnn.files.parsing import check_weight, read_json
from minirnn.files.replacing import existing, replacing

__all__ = ["read_tree", "write_tree"]

_FORMAT = "minirnn checkpoint"
_VERSION = 3  # since 3, every byte of a file is determined by its content
_JSON = "tree.json"
_ARRAY = "minirnn.array"  # the key under which an array leaves its dtype and shape in the JSON


def write_tree(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write a tree of dictionaries, lists, numbers, texts and arrays.

    Parameters
    ----------
    path : path of the file, with any ending
    tree : dictionary
        Its leaves: None, bool, int, float, str, NumPy scalars and arrays of numbers.

    Raises
    ------
    TypeError
        For a leaf of another kind, named by its place, before anything is written.
    ValueError
        If the tree has more small dictionaries and lists than `read_tree` accepts.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    packed = {"format": _FORMAT, "version": _VERSION, "tree": _pack(tree, "", arrays)}
    text = json.dumps(packed, separators=(",", ":")).encode()
    size = len(text) + sum(array.nbytes for array in arrays)
    try:
        check_weight(text, size)
    except CheckpointError as error:
        raise ValueError(f"the tree cannot be saved: {error}; put the numbers in arrays") from None
    with replacing(path) as file:
        entries = [write_entry(file, _JSON, b"", text)]
        for k, array in enumerate(arrays):
            header = npy_header(array.dtype.str, array.shape)
            content = array.reshape(-1).view(np.uint8)
            entries.append(write_entry(file, f"a{k}.npy", header, content))
        file.write(directory_of(entries, file.tell()))


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
    path = existing(path)
    with path.open("rb") as file:
        beginning = file.read(4)
        if beginning[:2] != b"PK":
            what = "is empty" if not beginning else "is not a minirnn checkpoint"
            if path.suffix == ".safetensors":
                what += "; weights alone are for the model's load"
            raise CheckpointError(f"{path} {what}")
        try:
            return _Reader(file).tree()
        except (CheckpointError, RecursionError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, CheckpointError):
        return str(error)
    return f"is truncated or corrupted: {error}"


class _Reader:
    """Read entry after entry, each only if it is what `write_tree` would have written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.entries: list[Entry] = []
        file.seek(0)

    def tree(self) -> dict[str, Any]:
        """Return the tree, when the file has been found to be right to its end."""
        text = self.text()
        packed = read_json(text, self.size)
        self.check_header(packed)
        tree = self.unpack(packed["tree"])
        if not isinstance(tree, dict):
            raise ValueError("its tree is no dictionary")
        directory = directory_of(self.entries, self.file.tell())
        if self.file.read(len(directory) + 1) != directory:
            raise ValueError("its directory does not fit its entries")
        return tree

    def text(self) -> bytes:
        """Return the JSON; its size is the only one that is taken from the file."""
        expected = local_header(Entry(_JSON, 0, 0, 0))
        start = self.file.read(len(expected))
        if len(start) == len(expected) and (start[:14], start[30:39]) != (
            expected[:14],
            expected[30:39],
        ):
            raise CheckpointError(
                "is not a minirnn checkpoint, or one that an earlier version wrote"
            )
        size = self.claim(int.from_bytes(start[-8:], "little"))
        text = self.file.read(size)
        self.finish(Entry(_JSON, 0, size, zlib.crc32(text)), start)
        return text

    def check_header(self, packed: Any) -> None:
        """Raise unless the JSON says that it is a checkpoint of this version."""
        if not isinstance(packed, dict) or packed.get("format") != _FORMAT:
            raise CheckpointError("is not a minirnn checkpoint")
        version = packed.get("version")
        if version != _VERSION:
            earlier = isinstance(version, int) and version < _VERSION
            raise CheckpointError(
                f"was written by {'an earlier' if earlier else 'a later'} version of minirnn "
                f"(format {version}; this one reads {_VERSION})"
            )

    def unpack(self, value: Any) -> Any:
        """Put the arrays in their places, in the order in which they were written."""
        if isinstance(value, dict) and _ARRAY in value:
            return self.array(*value[_ARRAY])
        if isinstance(value, dict):
            for key, item in value.items():
                value[key] = self.unpack(item)
        elif isinstance(value, list):
            for k, item in enumerate(value):
                value[k] = self.unpack(item)
        return value

    def array(self, dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:
        """Return the next array."""
        kind = np.dtype(dtype)
        if kind.kind not in "biufc" or kind.str != dtype:
            raise ValueError(f"it has an array of {dtype!r}")
        if len(shape) > 32 or any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
            raise ValueError("it has an array of a shape that cannot be")
        size = self.claim(math.prod(shape) * kind.itemsize)
        header = npy_header(dtype, tuple(shape))
        entry = Entry(f"a{len(self.entries) - 1}.npy", self.file.tell(), len(header) + size, 0)
        start = self.file.read(len(local_header(entry)))
        if self.file.read(len(header)) != header:
            raise ValueError(f"{entry.name} has another dtype or shape than the tree says")
        array = np.empty(shape, kind)
        content: Any = array.reshape(-1).view(np.uint8)
        if self.file.readinto(content) != size:  # type: ignore[attr-defined]
            raise ValueError("it ends too early")
        checksum = zlib.crc32(content, zlib.crc32(header))
        self.finish(entry._replace(checksum=checksum), start)
        return array

    def claim(self, size: int) -> int:
        """Return the size, if the file has that many bytes left."""
        if size > self.size - self.file.tell():
            raise ValueError("it says that it has more than it has")
        return size

    def finish(self, entry: Entry, start: bytes) -> None:
        """Compare an entry's header with what should stand there."""
        if start != local_header(entry):
            raise ValueError(f"{entry.name} does not have the checksum or header that it should")
        self.entries.append(entry)


def _pack(value: Any, place: str, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Return `value` as JSON knows it: dtype and shape of each array, which goes to `arrays`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufc":
            raise TypeError(f"{place or 'the tree'} is an array of {value.dtype}, not of numbers")
        arrays.append(np.ascontiguousarray(value) if value.ndim else value)
        return {_ARRAY: [value.dtype.str, list(value.shape)]}
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
