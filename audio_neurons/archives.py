"""Members of zip and tar archives, streamed: nothing is ever unpacked to disk."""

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

# Bytes. Members are read whole, and so are their descriptions (long names, extended headers), by tarfile
# itself; what is larger is no recording but a few kilobytes of compressed zeros.
LARGEST = 1 << 31
LARGEST_DESCRIPTION = 1 << 20


class ArchiveError(ValueError):
    """An archive is damaged, or of no known kind."""


class MissingMember(ArchiveError):
    """An archive does not hold a member that was asked for."""


def members(
    source: str | os.PathLike | BinaryIO, suffixes: str | Sequence[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (path inside the archive, content) of regular files, in the archive's order.

    Folders, links and macOS' AppleDouble companions (``._*``, ``__MACOSX/``) are skipped; what
    kind of archive it is (zip, tar, tar.gz) is told by its content.

    Parameters
    ----------
    source
        The archive, or an open binary file that holds one.
    suffixes
        Endings of the names to yield, in any case (``(".wav",)``); ``None`` for all files.

    Raises
    ------
    ArchiveError
        If the archive is truncated, corrupt, or not an archive, or a member is larger than `LARGEST`.
    """
    endings = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes or ("",))
    return _files(source, lambda name: name.lower().endswith(endings))


def read(source: str | os.PathLike | BinaryIO, wanted: Callable[[str], bool] | str) -> bytes:
    """Content of the first member that ``wanted`` accepts.

    ``wanted`` is a function of the member's path, or a shell pattern of its last components:
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


# Names and sizes of regular files, each with a function that loads it, before the next is taken.
_Entries = Iterator[tuple[str, int, Callable[[], bytes]]]

DESCRIPTIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


class _Member(tarfile.TarInfo):
    """A tar's header, of which no description may be so large that reading it fills the memory."""

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
    # gzip rather than tarfile's own reader, which checks neither the checksum nor the end.
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        yield from _tar(cast(BinaryIO, stream))
        while stream.read(1 << 20):
            pass


def _load(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    assert file  # of a regular file
    return file.read()


def _tar(file: BinaryIO) -> _Entries:
    with tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as archive:
        while info := archive.next():
            if info.isreg():
                yield info.name, info.size, partial(_load, archive, info)
            # tarfile keeps every header that it has seen: much memory for 300,000 members.
            archive.members.clear()  # type: ignore[attr-defined]  # which has no public name
        end = archive.offset
    if not isinstance(file, gzip.GzipFile):  # whose checksum tells
        # tarfile takes a cut between two members, and a damaged header, for the end of the archive.
        file.seek(end)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE or any(block):
            raise tarfile.ReadError(f"no member and no end at byte {end}")
