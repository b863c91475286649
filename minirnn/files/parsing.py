"""The JSON in a file from a stranger: weighed before it is parsed."""

from __future__ import annotations

import json
from typing import Any

from minirnn.errors import CheckpointError

__all__ = ["check_weight", "read_json"]

_ROOM = 48 << 20  # bytes that reading a file may take beyond a multiple of its size


def read_json(text: bytes, size: int) -> Any:
    """Return what the JSON in a file of `size` bytes says, if no key is in it twice.

    CheckpointError if it is too heavy, ValueError or RecursionError if it is no such JSON.
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
