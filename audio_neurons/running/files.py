"""Atomic writes: a file is complete or absent, whatever interrupts the process that writes it."""

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
    """Yield a temporary file beside ``path`` that is renamed to ``path`` only if the block succeeds.

    The temporary name keeps the suffix, since some writers choose the format by it. Temporary files
    left behind by killed writers of ``path`` are removed first.
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


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8 that is there whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _claimed(handle: int) -> bool:
    """Try to lock a file for this process; the system releases the locks of dead processes."""
    with suppress(OSError):  # locked by another process, or a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _remove_left(path: Path) -> None:
    """Remove temporary files of ``path`` that no process writes any more: they can be gigabytes."""
    temporary = re.compile(rf"\.{re.escape(path.stem)}\.\w{{8}}{re.escape(path.suffix)}")
    for name in filter(temporary.fullmatch, os.listdir(path.parent)):
        with suppress(OSError), open(path.with_name(name), "r+b") as file:
            if _claimed(file.fileno()):
                os.unlink(file.name)


def reserve(file: BinaryIO, size: int) -> None:
    """Allocate ``size`` bytes of zeros on disk for an open file.

    Without this, a full disk kills a process that writes to the memory-mapped file, with no message.

    Raises
    ------
    OSError
        If the disk has too little space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS
        os.ftruncate(file.fileno(), size)


def checksum(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file, which is read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
