"""Zip archives in which every byte follows from the content: no compression, no time."""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any, NamedTuple

__all__ = ["Entry", "directory_of", "local_header", "npy_header", "write_entry"]


class Entry(NamedTuple):
    """A file in an archive."""

    name: str
    offset: int
    size: int
    checksum: int


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the beginning of an .npy file of version 1.0, padded to a multiple of 64 bytes."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    length = -(-(len(text) + 11) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + f"{text:<{length - 1}}\n".encode()


# The structures of PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16, with all sizes as 64 bit. The
# time is always 1 January 1980, so that the same tree is the same file.


def local_header(entry: Entry) -> bytes:
    """Return what stands before an entry."""
    start = struct.pack("<4s2H", b"PK\3\4", 45, 0)
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size)
    return start + _common(entry, extra) + entry.name.encode() + extra


def _common(entry: Entry, extra: bytes) -> bytes:
    """Return what an entry's header and its line in the directory have in common."""
    stored, time, date, elsewhere = 0, 0, 33, 2**32 - 1  # the sizes are in the extra field
    lengths = len(entry.name), len(extra)
    return struct.pack(
        "<3H3L2H", stored, time, date, entry.checksum, elsewhere, elsewhere, *lengths
    )


def directory_of(entries: list[Entry], offset: int) -> bytes:
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


def write_entry(file: IO[bytes], name: str, header: bytes, content: Any) -> Entry:
    """Write a header and a content as one entry, and return where it is."""
    checksum = zlib.crc32(content, zlib.crc32(header))
    entry = Entry(name, file.tell(), len(header) + len(content), checksum)
    file.write(local_header(entry))
    file.write(header)
    file.write(content)
    return entry
