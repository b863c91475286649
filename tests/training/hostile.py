"""Checkpoint files as a stranger could make them: every byte as it should be but for one lie."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minirnn.files import archive as zipped
from minirnn.files import tree as format_


def header(**changed: Any) -> bytes:
    """Return the JSON of a checkpoint."""
    whole = {"format": "minirnn checkpoint", "version": format_._VERSION, "tree": {}} | changed
    return json.dumps(whole, separators=(",", ":")).encode()


def text_of(tree: bytes) -> bytes:
    """Return the JSON of a checkpoint whose tree is this text."""
    return header(tree="TREE").replace(b'"TREE"', tree)


def archive(*entries: tuple[str, bytes], directory: Any = lambda entries: entries) -> bytes:
    """Return an archive of these files in the form that `write_tree` gives it."""
    file = io.BytesIO()
    written = [zipped.write_entry(file, name, b"", data) for name, data in entries]
    file.write(zipped.directory_of(directory(written), file.tell()))
    return file.getvalue()


def checkpoint(tree: bytes, *arrays: bytes) -> bytes:
    """Return a checkpoint with this text as its tree, and these bytes as its arrays."""
    named = [(f"a{k}.npy", data) for k, data in enumerate(arrays)]
    return archive(("tree.json", text_of(tree)), *named)


def npy(dtype: str, shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """Return an array with a header that says this."""
    return zipped.npy_header(dtype, shape) + data


def leaf(dtype: Any, shape: Any) -> bytes:
    """Return what stands in the JSON for an array."""
    return json.dumps({"a": {"minirnn.array": [dtype, shape]}}, separators=(",", ":")).encode()


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    """Return a safetensors file."""
    return len(header).to_bytes(8, "little") + header + data


def tensor(name: str, dtype: str, shape: Any, offsets: Any) -> bytes:
    """Return an entry of a safetensors header."""
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    return json.dumps({name: entry})[1:-1].encode()


def damaged(path: Path) -> Iterator[str]:
    """Change each bit of a file, one after the other, then cut it shorter and shorter.

    The file is kept open, for opening is what takes time.
    """
    whole = path.read_bytes()
    with path.open("r+b") as file:

        def put(place: int, byte: int) -> None:
            file.seek(place)
            file.write(bytes([byte]))
            file.flush()

        for place, byte in enumerate(whole):
            for bit in range(8):
                put(place, byte ^ 1 << bit)
                yield f"bit {bit} of byte {place}"
            put(place, byte)
        for length in reversed(range(len(whole))):
            file.truncate(length)
            yield f"the first {length} bytes"
