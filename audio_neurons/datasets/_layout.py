"""Helpers shared by the datasets' modules: read lists of files and match archives against them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

from audio_neurons.datasets import archives
from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording


def rows(data: bytes, columns: Sequence[str], where: str | os.PathLike, delimiter: str = ",") -> list[dict]:
    """Return the ``columns`` of each row of a delimited table, whose header may name more columns.

    Raises
    ------
    DatasetError
        If a column is missing, a row is short, or the text is not a UTF-8 table.
    """
    table = csv.DictReader(io.StringIO(text(data, where), newline=""), delimiter=delimiter)
    if missing := [c for c in columns if c not in (table.fieldnames or [])]:
        raise DatasetError(
            f"{where}: no column {', '.join(missing)}; there are: {', '.join(table.fieldnames or ['none'])}"
        )
    result = []
    try:
        for row in table:
            if any(row[c] is None for c in columns):
                raise DatasetError(f"{where}: line {table.line_num} is too short")
            result.append({c: row[c].strip() for c in columns})
    except csv.Error as error:
        raise DatasetError(f"{where}: line {table.line_num}: {error}") from error
    return result


def text(data: bytes, where: str | os.PathLike) -> str:
    """Decode ``data`` as UTF-8, with or without a byte-order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8 text ({error})") from error


def load(path: Path) -> bytes:
    """Return the content of a list that is a separate file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


def member(path: Path, pattern: str) -> bytes:
    """Return the content of the first member whose last path components match ``pattern``."""
    try:
        return archives.read(path, pattern)
    except archives.MissingMember as error:
        raise DatasetError(f"{path}: looked for a member */{pattern}, there is none") from error


def members_of(paths: Path | Iterable[Path], suffixes: str | Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of one archive, or of several in sequence (see `archives.members`)."""
    for path in [paths] if isinstance(paths, Path) else paths:
        yield from archives.members(path, suffixes)


def title(paths: Path | Sequence[Path]) -> str:
    """Return how an error message names one or several archives."""
    return str(paths) if isinstance(paths, Path) else f"{paths[0]} ... {paths[-1].name}"


def tail(name: str, components: int = 1) -> str:
    """Return the last components of a path inside an archive."""
    return "/".join(PurePosixPath(name).parts[-components:])


def matched(
    listed: Mapping[str, Recording],
    files: Iterable[tuple[str, bytes]],
    key: Callable[[str], str],
    where: object,
) -> Iterator[Recording]:
    """Yield the listed recordings with their content from an archive.

    Recordings come in the archive's order; files that are not listed are skipped. Listed files that the
    archive lacks follow, without content: preparation rejects them.

    Parameters
    ----------
    listed
        Recordings without data, by key.
    files
        Members of one or several archives.
    key
        Function that returns the key of a member's path.
    where
        Origin of ``files``, for error messages.

    Raises
    ------
    DatasetError
        If nothing is listed, or no listed file is there: it is the wrong archive or layout.
    """
    seen: set[str] = set()
    for name, data in files:
        name = key(name)
        if name in listed:
            seen.add(name)
            yield replace(listed[name], data=data)
    if not listed:
        raise DatasetError(f"{where}: the list of its files has no file in the splits {', '.join(SPLITS)}")
    if not seen:
        example = next(iter(listed))
        raise DatasetError(f"{where}: has none of the {len(listed)} listed files; looked for */{example} ...")
    for name, recording in listed.items():
        if name not in seen:
            yield recording


def named(
    files: Iterable[tuple[str, bytes]],
    pattern: str,
    read: Callable[[re.Match], Recording],
    where: object,
) -> Iterator[Recording]:
    """Yield a recording for each file of an archive whose names alone say what the recordings are.

    A name that occurs twice, as in copies that hold a corpus twice, counts once if the content is the same.

    Parameters
    ----------
    files
        Members of an archive.
    pattern
        Regular expression that the last component of every name matches.
    read
        Function from the match to the recording, without data.
    where
        Origin of ``files``, for error messages.

    Raises
    ------
    DatasetError
        If there is no file, one has another name, or two of the same name differ: it is the wrong archive.
    """
    seen: dict[str, str] = {}
    for name, data in files:
        match = re.fullmatch(pattern, tail(name))
        if match is None:
            raise DatasetError(f"{where}: {name}: looked for names of the form {pattern}")
        recording, digest = read(match), _md5(data)
        if recording.clip_id not in seen:
            seen[recording.clip_id] = digest
            yield replace(recording, data=data)
        elif seen[recording.clip_id] != digest:
            raise DatasetError(f"{where}: {name}: there are two different recordings of this name")
    if not seen:
        raise DatasetError(f"{where}: has no recording; looked for names of the form {pattern}")


def verified(recordings: Iterable[Recording], manifest: str, where: object) -> Iterator[Recording]:
    """Yield recordings, after comparing those that ``manifest`` lists with upstream's MD5.

    Recordings that are not listed pass, so subsets and additions work. Recordings without data pass
    too; preparation rejects them.

    Raises
    ------
    DatasetError
        If a recording differs from upstream's recording of the same name.
    """
    expected = checksums(manifest)
    for recording in recordings:
        wanted = expected.get(recording.clip_id) if recording.data else None
        if wanted and (actual := _md5(recording.data)) != wanted:
            raise DatasetError(
                f"{where}: {recording.clip_id} is not upstream's recording of that name: its md5 is "
                f"{actual}, expected {wanted}. Delete the archive and run again to download it anew; if it "
                "is meant to be a converted copy, set the dataset's option `verify_members: false`."
            )
        yield recording


def _md5(data: bytes | Path) -> str:
    content = data if isinstance(data, bytes) else data.read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@cache
def checksums(manifest: str) -> dict[str, str]:
    """Return MD5 by ``clip_id`` from a list (``filename,md5``) that is stored beside the modules."""
    data = resources.files(__package__).joinpath(manifest).read_bytes()
    return {row["filename"]: row["md5"] for row in rows(data, ("filename", "md5"), manifest)}
