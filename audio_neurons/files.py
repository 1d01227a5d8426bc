"""Files that are either complete or absent, whatever interrupts the process that writes them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` that takes its name only if the block succeeds.

    The temporary name keeps the suffix, since some writers choose the format by it. What writers that
    were killed left of ``path`` is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    temporary = Path(name)
    try:
        _claimed(handle)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's 0600 would hide results from the rest of a lab
        os.replace(temporary, path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _claimed(handle: int) -> bool:
    """Whether this process has the file for itself; the system lets go of what a dead process had."""
    with suppress(OSError):  # another has it, or a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _remove_left(path: Path) -> None:
    """Remove temporary siblings of ``path`` that nobody writes any more: they can be gigabytes."""
    temporary = re.compile(rf"\.{re.escape(path.stem)}\.\w{{8}}{re.escape(path.suffix)}")
    for name in filter(temporary.fullmatch, os.listdir(path.parent)):
        with suppress(OSError), open(path.with_name(name), "r+b") as file:
            if _claimed(file.fileno()):
                os.unlink(file.name)


def reserve(file: BinaryIO, size: int) -> None:
    """Give an open file ``size`` bytes of zeros that the disk is known to have.

    Written to as memory, a file for which the disk turns out too small ends the process without a word.

    Raises
    ------
    OSError
        If there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS
        os.ftruncate(file.fileno(), size)


def checksum(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
