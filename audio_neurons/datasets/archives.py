"""Streaming of members from zip and tar archives, without unpacking to disk."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, Self, cast

REMEDY = "delete it and run again to download it anew"

# Limits in bytes of members and of their descriptions (long names, extended headers), both of which are
# read into memory whole: a few kilobytes of compressed zeros could otherwise fill it.
LARGEST = 1 << 31
LARGEST_DESCRIPTION = 1 << 20


class ArchiveError(ValueError):
    """An archive is damaged, or of an unknown format."""


class MissingMember(ArchiveError):
    """An archive lacks the requested member."""


def members(
    source: str | os.PathLike | BinaryIO, suffixes: str | Sequence[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (path inside the archive, content) of regular files, in the archive's order.

    Folders, links and AppleDouble files of macOS (``._*``, ``__MACOSX/``) are skipped. The format
    (zip, tar, tar.gz) is detected from the content.

    Parameters
    ----------
    source
        Path of the archive, or an open binary file that holds one.
    suffixes
        Case-insensitive endings of the names to yield (``(".wav",)``); ``None`` for all files.

    Raises
    ------
    ArchiveError
        If the archive is truncated, corrupt, or not an archive, or a member is larger than `LARGEST`.
    """
    endings = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes or ("",))
    return _files(source, lambda name: name.lower().endswith(endings))


def read(source: str | os.PathLike | BinaryIO, wanted: Callable[[str], bool] | str) -> bytes:
    """Return the content of the first member that ``wanted`` accepts.

    ``wanted`` is a predicate on the member's path, or a shell pattern of its last components:
    ``meta/esc50.csv`` finds ``ESC-50-master/meta/esc50.csv``.

    Raises
    ------
    MissingMember
        If no member is accepted.
    ArchiveError
        As `members`.
    """
    accepts = wanted if callable(wanted) else lambda name: PurePosixPath(name).match(wanted)
    for _, data in _files(source, accepts):
        return data
    raise MissingMember(f"{_name(source)}: holds no {'such member' if callable(wanted) else wanted}")


def _name(source: str | os.PathLike | BinaryIO) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "archive")


def _files(
    source: str | os.PathLike | BinaryIO, accepts: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    try:
        with open(source, "rb") if isinstance(source, str | os.PathLike) else nullcontext(source) as file:
            magic = file.read(2)
            file.seek(0)
            entries: Callable[[BinaryIO], _Entries] = {b"PK": _zip, b"\x1f\x8b": _tar_gz}.get(magic, _tar)
            for name, size, load in entries(file):
                parts = PurePosixPath(name).parts
                companion = not parts or parts[-1].startswith("._") or "__MACOSX" in parts
                if companion or not accepts(name):
                    continue
                if size > LARGEST:
                    raise ArchiveError(
                        f"{_name(source)}: {name} has {size / 1e9:.1f} GB unpacked, more than the "
                        f"{LARGEST / 1e9:.1f} GB that a recording may have; get the archive from its "
                        "publisher"
                    )
                yield name, load()
    except (
        zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError
    ) as error:  # fmt: skip
        raise ArchiveError(f"{_name(source)}: truncated or damaged ({error}); {REMEDY}") from error


# Name and size of each regular file, with a function that loads it; call it before taking the next.
_Entries = Iterator[tuple[str, int, Callable[[], bytes]]]

DESCRIPTIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


class _Member(tarfile.TarInfo):
    """Tar header that refuses descriptions above `LARGEST_DESCRIPTION`, which would fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in DESCRIPTIONS and header.size > LARGEST_DESCRIPTION:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _zip(file: BinaryIO) -> _Entries:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise zipfile.BadZipFile(f"{info.filename} is encrypted")
            if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                yield info.filename, info.file_size, partial(archive.read, info)


def _tar_gz(file: BinaryIO) -> _Entries:
    # GzipFile rather than tarfile's own reader, which checks neither the checksum nor the end.
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        yield from _tar(cast(BinaryIO, stream))
        while stream.read(1 << 20):
            pass


def _load(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    assert file  # never None for a regular file
    return file.read()


def _tar(file: BinaryIO) -> _Entries:
    with tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as archive:
        while info := archive.next():
            if info.isreg():
                yield info.name, info.size, partial(_load, archive, info)
            # tarfile keeps every header that it has read: much memory for 300,000 members.
            archive.members.clear()  # type: ignore[attr-defined]  # not in the type stubs
        end = archive.offset
    if not isinstance(file, gzip.GzipFile):  # gzip has a checksum
        # tarfile takes a truncation between two members, or a damaged header, for the end of the archive.
        file.seek(end)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE or any(block):
            raise tarfile.ReadError(f"no member and no end at byte {end}")
