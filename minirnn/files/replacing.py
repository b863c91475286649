"""Files that are either complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file for writing that takes the place of `path` only when all went well.

    The bytes go to a temporary name in the same folder, are flushed to disk, and the file is then
    renamed: whatever happens at whatever moment (a crash, a full disk, an exception in the block),
    `path` holds the old file or the new one, each complete. FileNotFoundError or IsADirectoryError
    if there can be no such file.
    """
    check_place(path)
    path = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    mode = None
    with suppress(OSError):  # of the file that is replaced, if there is one
        mode = path.stat().st_mode & 0o777
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
    with suppress(OSError):  # the renaming itself lasts, where the system lets a folder be flushed
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
    return path
