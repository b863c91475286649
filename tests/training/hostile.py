"""Checkpoint files as a stranger could make them: every byte as it should be but for one lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def checkpoint(tree: bytes, *entries: bytes, data: bytes = b"", **changed: Any) -> bytes:
    """Return a checkpoint with this text as its tree, these entries for arrays, and this data."""
    metadata = {"format": "minirnn checkpoint", "version": "5", "content": "TREE"} | changed
    text = json.dumps(tree.decode("latin1"), ensure_ascii=False).encode("latin1")
    named = b'"__metadata__":' + json.dumps(metadata).encode().replace(b'"TREE"', text)
    return safetensors(b"{" + b",".join([named, *entries]) + b"}", data)


def leaf(name: Any) -> bytes:
    """Return a tree with what stands in the JSON for an array."""
    return json.dumps({"a": {"minirnn.array": name}}, separators=(",", ":")).encode()


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
