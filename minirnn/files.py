"""Files that are either whole or not there: written aside, flushed to disk, then renamed.

A checkpoint is a tree of dictionaries and lists with numbers, texts and arrays at its leaves, kept
as an ``.npz`` archive: each array as it is, and one entry of JSON that holds the rest. Nothing is
pickled, so reading a stranger's file cannot run code.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from minirnn.errors import CheckpointError

__all__ = ["CheckpointError", "check_place", "read_tree", "replacing", "write_tree"]

_FORMAT = "minirnn checkpoint"
_VERSION = 2  # since 2, Adam keeps its moments without their factors (1 - beta)
_JSON = "tree.json"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` only when all went well.

    The bytes go to a temporary name in the same folder, are flushed to disk, and the file is then
    renamed: whatever happens at whatever moment (a crash, a full disk, an exception in the block),
    `path` holds the old file whole or the new file whole.

    Parameters
    ----------
    path : path of the file

    Yields
    ------
    a binary file, open for writing

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or `path` is a folder itself.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "note.txt") as file:
    ...     _ = file.write(b"whole")
    >>> [entry.name for entry in folder.iterdir()]
    ['note.txt']
    """
    check_place(path)
    path = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _usual_mode(path))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise unless a file can have this path: its folder exists, and it is no folder itself."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the file in it a name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to save {path.name} in")


def _usual_mode(path: Path) -> int:
    """Return the old file's permissions, or those that any new file would have."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself last, where the system lets a folder be flushed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- trees


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
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    packed = {"format": _FORMAT, "version": _VERSION, "tree": _pack(tree, "", arrays)}
    text = json.dumps(packed).encode()
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_JSON, text)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read_tree(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the tree that `write_tree` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is truncated, corrupted, not a checkpoint, or of another version of the format.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        beginning = file.read(2)
    if beginning != b"PK":
        what = "is empty" if not beginning else "is not a minirnn checkpoint"
        if path.suffix == ".safetensors":
            what += "; weights alone are for the model's load"
        raise CheckpointError(f"{path} {what}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _JSON not in names:
                raise CheckpointError(f"{path} is not a minirnn checkpoint: it has no {_JSON}")
            packed = json.loads(archive.read(_JSON))
            _check_header(path, packed)
            arrays = {
                name.removesuffix(".npy"): _read_array(archive.read(name))
                for name in names
                if name != _JSON
            }
            tree = _unpack(packed["tree"], arrays)
    except (CheckpointError, MemoryError):
        raise
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is truncated or corrupted: {error}") from None
    except Exception as error:  # whatever zipfile, json and NumPy say of bytes without sense
        raise CheckpointError(f"{path} is corrupted: {error}") from None
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path} is corrupted: its tree is no dictionary")
    return tree


def _read_array(data: bytes) -> np.ndarray[Any, Any]:
    """Read an array from bytes, which the archive has compared with their checksum."""
    file = io.BytesIO(data)
    array = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):
        raise ValueError("an array is longer than its header says")
    return array


def _check_header(path: Path, packed: Any) -> None:
    if not isinstance(packed, dict) or packed.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not a minirnn checkpoint")
    version = packed.get("version")
    if version != _VERSION:
        other = "an earlier" if version in range(_VERSION) else "a later"
        raise CheckpointError(
            f"{path} was written by {other} version of minirnn (format {version}; this one reads "
            f"{_VERSION})"
        )


def _pack(value: Any, place: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Return `value` as JSON knows it; arrays go to `arrays` and leave their name behind."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufc":
            raise TypeError(f"{place or 'the tree'} is an array of {value.dtype}, not of numbers")
        name = f"a{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value) if value.ndim else value
        return {"array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise TypeError(f"{place or 'the tree'} has the key {wrong[0]!r}, which is not a str")
        return {"dict": {key: _pack(item, f"{place}/{key}", arrays) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{place}/{k}", arrays) for k, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{place or 'the tree'} is a {type(value).__name__}, which cannot be saved; numbers, "
        f"texts, arrays, and lists and dictionaries of them can"
    )


def _unpack(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {key: _unpack(item, arrays) for key, item in value["dict"].items()}
    return value
