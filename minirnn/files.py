"""Files that are either complete or absent, and the format of checkpoints.

A checkpoint is a tree of dictionaries and lists with numbers, texts and arrays at its leaves. The
file is a zip archive that NumPy and every unpacker read: ``tree.json`` first, then each array as
``a0.npy``, ``a1.npy``, ..., nothing compressed, nothing pickled.

Files may come from strangers, so reading trusts nothing. Each entry has one possible form, given
its name, its size and its content: the reader works out what should stand there and compares. A
size is believed only if so many bytes are left, and JSON is weighed before it is parsed.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from minirnn.errors import CheckpointError

__all__ = [
    "check_place",
    "check_weight",
    "existing",
    "read_json",
    "read_tree",
    "replacing",
    "write_tree",
]

_FORMAT = "minirnn checkpoint"
_VERSION = 3  # since 3, every byte of a file is determined by its content
_JSON = "tree.json"
_ROOM = 48 << 20  # bytes that reading a file may take beyond a multiple of its size
_ARRAY = "minirnn.array"  # the key under which an array leaves its dtype and shape in the JSON


class _Entry(NamedTuple):
    """A file in the archive."""

    name: str
    offset: int
    size: int
    checksum: int


# ---------------------------------------------------------------- complete or absent


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` only when all went well.

    The bytes go to a temporary name in the same folder, are flushed to disk, and the file is then
    renamed: whatever happens at whatever moment (a crash, a full disk, an exception in the block),
    `path` holds the old file or the new one, each complete.

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
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "note.txt") as file:
    ...     _ = file.write(b"whole")
    >>> [entry.name for entry in folder.iterdir()]
    ['note.txt']
    """
    check_place(path)
    path = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    mode = _mode(path)
    temporary = path.with_name(f".{path.name[:40]}.{os.urandom(6).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # The system applies the umask; an old file's permissions bound those of the new one.
        with os.fdopen(os.open(temporary, flags, 0o666 if mode is None else mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            with suppress(OSError):  # some file systems have no permissions to set
                os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise unless a file can have this path: its folder exists, and it is no folder itself."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the file in it a name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to save {path.name} in")


def existing(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that is there to be read."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    return path


def _mode(path: Path) -> int | None:
    """Return the permissions of the file, if there is one."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return None


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself last, where the system lets a folder be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
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
    ValueError
        If the tree has so many small dictionaries and lists that `read_tree` would refuse it.
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
        entries = [_write_entry(file, _JSON, b"", text)]
        for k, array in enumerate(arrays):
            header = _npy_header(array.dtype.str, array.shape)
            content = array.reshape(-1).view(np.uint8)
            entries.append(_write_entry(file, f"a{k}.npy", header, content))
        file.write(_directory(entries, file.tell()))


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
        self.entries: list[_Entry] = []
        file.seek(0)

    def tree(self) -> dict[str, Any]:
        """Return the tree, when the file has been found to be right to its end."""
        text = self.text()
        packed = read_json(text, self.size)
        self.check_header(packed)
        tree = self.unpack(packed["tree"])
        if not isinstance(tree, dict):
            raise ValueError("its tree is no dictionary")
        directory = _directory(self.entries, self.file.tell())
        if self.file.read(len(directory) + 1) != directory:
            raise ValueError("its directory does not fit its entries")
        return tree

    def text(self) -> bytes:
        """Return the JSON; its size is the only one that is taken from the file."""
        expected = _local_header(_Entry(_JSON, 0, 0, 0))
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
        self.finish(_Entry(_JSON, 0, size, zlib.crc32(text)), start)
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
        header = _npy_header(dtype, tuple(shape))
        entry = _Entry(f"a{len(self.entries) - 1}.npy", self.file.tell(), len(header) + size, 0)
        start = self.file.read(len(_local_header(entry)))
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
        """Return the size, if so many bytes are left."""
        if size > self.size - self.file.tell():
            raise ValueError("it says that it has more than it has")
        return size

    def finish(self, entry: _Entry, start: bytes) -> None:
        """Compare an entry's header with what should stand there."""
        if start != _local_header(entry):
            raise ValueError(f"{entry.name} does not have the checksum or header that it should")
        self.entries.append(entry)


def read_json(text: bytes, size: int) -> Any:
    """Return what the JSON in a file of `size` bytes says, if no key stands in it twice.

    Raises
    ------
    CheckpointError
        If it is too heavy, see `check_weight`.
    ValueError, RecursionError
        If it is no JSON, or nested too deeply.
    """
    check_weight(text, size)
    return json.loads(text.decode(), object_pairs_hook=_unique)


def check_weight(text: bytes, size: int) -> None:
    """Raise if parsing a file's JSON would take too much memory, for a file of `size` bytes.

    ``[],`` are three bytes in a file and a hundred in memory. The marks are counted, wherever they
    stand, before anything is parsed.
    """
    each = {b"{": 300, b"[": 120, b",": 50, b":": 120, b'"': 30}
    weight = sum(bytes_ * text.count(mark) for mark, bytes_ in each.items())
    weight += (8 if b"\\u" in text else 4) * len(text)
    if weight > 9 * size + _ROOM:
        raise CheckpointError(
            f"has {len(text):,} bytes of JSON that would take some {weight >> 20:,} MB in memory"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its JSON has a key twice")
    return found


def _pack(value: Any, place: str, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Return `value` as JSON knows it; arrays go to `arrays` and leave dtype and shape behind."""
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


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the beginning of an .npy file of version 1.0, padded to a multiple of 64 bytes."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    length = -(-(len(text) + 11) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + f"{text:<{length - 1}}\n".encode()


# ---------------------------------------------------------------- zip archives
# The structures of PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16, with all sizes as 64 bit. The
# time is always 1 January 1980, so that the same tree is the same file.


def _local_header(entry: _Entry) -> bytes:
    """Return what stands before an entry."""
    start = struct.pack("<4s2H", b"PK\3\4", 45, 0)
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size)
    return start + _common(entry, extra) + entry.name.encode() + extra


def _common(entry: _Entry, extra: bytes) -> bytes:
    """Return what an entry's header and its line in the directory have in common."""
    stored, time, date, elsewhere = 0, 0, 33, 2**32 - 1  # the sizes are in the extra field
    lengths = len(entry.name), len(extra)
    return struct.pack(
        "<3H3L2H", stored, time, date, entry.checksum, elsewhere, elsewhere, *lengths
    )


def _directory(entries: list[_Entry], offset: int) -> bytes:
    """Return the end of an archive, whose directory begins at `offset`."""
    lines = []
    for entry in entries:
        start = struct.pack("<4s3H", b"PK\1\2", 45, 45, 0)
        extra = struct.pack("<2H3Q", 1, 24, entry.size, entry.size, entry.offset)
        end = struct.pack("<3H2L", 0, 0, 0, 0, 2**32 - 1)
        lines.append(start + _common(entry, extra) + end + entry.name.encode() + extra)
    directory = b"".join(lines)
    size, count = len(directory), len(entries)
    return b"".join(
        [
            directory,
            struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset),
            struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1),
            struct.pack("<4s4H2LH", b"PK\5\6", *[2**16 - 1] * 4, *[2**32 - 1] * 2, 0),
        ]
    )


def _write_entry(file: IO[bytes], name: str, header: bytes, content: Any) -> _Entry:
    checksum = zlib.crc32(content, zlib.crc32(header))
    entry = _Entry(name, file.tell(), len(header) + len(content), checksum)
    file.write(_local_header(entry))
    file.write(header)
    file.write(content)
    return entry
