"""Arrays under their names, and texts about them, in a file that other frameworks read too.

The format is safetensors: eight bytes with the length of a JSON header, the header (for each name
its dtype, shape, and place among the data), and the data, little-endian and without gaps.
https://github.com/huggingface/safetensors

Weights, models and checkpoints are such files; the metadata say under "format" which it is. They
may come from strangers, so reading trusts nothing: the header is weighed before it is parsed, and
may say nothing else than what must be.
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
from minirnn.files.replacing import existing, replacing
from minirnn.typing import Array

WEIGHTS, MODEL, CHECKPOINT = "minirnn", "minirnn model", "minirnn checkpoint"
_VERSIONS = {MODEL: "1", CHECKPOINT: "5"}
_READERS = {
    WEIGHTS: "weights alone, and no architecture: build the model, then model.load(path)",
    MODEL: "a complete model, architecture and weights: read it with minirnn.load(path)",
    CHECKPOINT: "the checkpoint of a run: it is for Trainer.resume(path)",
}
_DTYPES: dict[str, np.dtype[Any]] = {"BOOL": np.dtype(bool)} | {
    f"{kind.upper()}{8 * size}": np.dtype(f"<{kind}{size}")
    for kind, sizes in [("f", (8, 4, 2)), ("i", (8, 4, 2, 1)), ("u", (8, 4, 2, 1))]
    for size in sizes
}
_METADATA, _CHECKSUM = "__metadata__", "checksum"
_ROOM = 48 << 20  # bytes that reading a file may take beyond a multiple of its size


def write_safetensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays of numbers under their names, and texts about them.

    A checksum of all this is added to the metadata. TypeError for an array that the format does not
    have; before anything is written.
    """
    codes = {dtype: code for code, dtype in _DTYPES.items()}
    header: dict[str, Any] = {_METADATA: dict(metadata)} | dict.fromkeys(arrays)
    contents: list[Any] = []
    end = 0
    for name in sorted(arrays, key=lambda name: -arrays[name].itemsize):  # so all are aligned
        array = arrays[name]
        dtype = array.dtype.newbyteorder("<")
        if dtype not in codes:
            raise TypeError(f"{name} is an array of {array.dtype}, not of real numbers")
        content = np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8)
        place = [end, end := end + content.size]
        header[name] = {"dtype": codes[dtype], "shape": list(array.shape), "data_offsets": place}
        contents.append(content)
    header[_METADATA][_CHECKSUM] = _checksum(header, contents)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    _check_weight(text, len(text) + end)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for content in contents:
            file.write(content)


def read_safetensors(
    path: str | os.PathLike[str], kind: str = WEIGHTS
) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays of a safetensors file of a kind, and its metadata.

    `WEIGHTS` may be another framework's. No file takes more memory than ten times its size and some
    constant. FileNotFoundError if there is none; CheckpointError if it is truncated, corrupted,
    something else, of another kind, or, but for a checkpoint, holds other numbers than float32 and
    float64.
    """
    path = existing(path)
    with path.open("rb") as file:
        try:
            return _read(file, kind)
        except CheckpointError as error:
            raise CheckpointError(f"{path} {error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            what = CHECKPOINT if kind == CHECKPOINT else "safetensors file"
            raise CheckpointError(
                f"{path} is not a {what}, or it is truncated or corrupted: {error}"
            ) from None


def write_content(
    path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Array], content: Any
) -> None:
    """Write a `MODEL` or a `CHECKPOINT`: arrays, and what JSON can say about them."""
    text = json.dumps(content, separators=(",", ":"))
    metadata = {"format": kind, "version": _VERSIONS[kind], "content": text}
    write_safetensors(path, arrays, metadata)


def read_content(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Array], Any]:
    """Return the arrays and the content that `write_content` wrote; raises as above."""
    arrays, metadata = read_safetensors(path, kind)
    version = metadata.get("version")
    if version != _VERSIONS[kind]:
        raise CheckpointError(
            f"{path} was written by another version of minirnn ({kind}, format {version}; this one "
            f"reads {_VERSIONS[kind]})"
        )
    try:
        if set(metadata) != {"format", "version", "content"}:
            raise ValueError("its metadata are others")
        text = metadata.pop("content").encode("ascii")
        return arrays, _read_json(text, os.path.getsize(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is truncated or corrupted: {error}") from None


def _read(file: IO[bytes], kind: str) -> tuple[dict[str, Array], dict[str, str]]:
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ValueError("its header claims to be longer than the file" if size else "it is empty")
    text = file.read(length)
    header = _read_json(text, size)
    metadata = header.pop(_METADATA, {})
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata are not texts")
    found = metadata.get("format")
    found = found if found in _READERS else WEIGHTS  # of another framework
    if found != kind:
        raise CheckpointError(f"holds {_READERS[found]}")
    arrays, position = {}, 0
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        code = header[name]["dtype"]
        if code not in (_DTYPES if kind == CHECKPOINT else ("F64", "F32")):
            raise CheckpointError(
                f"has {name} as {code}, and only F32 and F64 are read. To convert in silence could "
                f"lose what matters; convert the arrays yourself and hand them to load_state_dict"
            )
        arrays[name] = _read_array(file, name, position, size - 8 - length, **header[name])
        position += arrays[name].nbytes
    if position != size - 8 - length:
        raise ValueError("it has more data than its header says")
    expected = metadata.pop(_CHECKSUM, None)
    if expected is not None and str(metadata.get("format")).startswith("minirnn"):
        contents = [array.reshape(-1).view(np.uint8) for array in arrays.values()]
        if expected != _checksum({_METADATA: metadata} | header, contents):
            raise ValueError("its checksum is another one")
    native = {dtype: dtype.newbyteorder("=") for dtype in _DTYPES.values()}
    return {n: arrays[n].astype(native[arrays[n].dtype], copy=False) for n in header}, metadata


def _read_array(
    file: IO[bytes], name: str, position: int, left: int, dtype: str, shape: Any, data_offsets: Any
) -> Array:
    """Return the next array, if the header says nothing else than what must be."""
    if len(shape) > 32 or any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
        raise ValueError(f"{name} has a shape that cannot be")
    end = position + math.prod(shape) * _DTYPES[dtype].itemsize
    if data_offsets != [position, end] or end > left:
        raise ValueError(f"the data of {name} are not where they should be")
    array: Array = np.empty(shape, _DTYPES[dtype])
    if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
        raise ValueError("it ends too early")
    return array


def _checksum(header: Mapping[str, Any], contents: list[Any]) -> str:
    """Return the checksum of a header, its metadata but for the checksum itself, and the data."""
    checksum = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for content in contents:
        checksum = zlib.crc32(content, checksum)
    return f"{checksum:08x}"


# ---------------------------------------------------------------- the JSON: weighed, then parsed


def _read_json(text: bytes, size: int) -> Any:
    """Return what the JSON in a file of `size` bytes says, if no key is in it twice.

    CheckpointError if it is too heavy, ValueError or RecursionError if it is no such JSON.
    """
    _check_weight(text, size)
    return json.loads(text.decode(), object_pairs_hook=_unique)


def _check_weight(text: bytes, size: int) -> None:
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
