"""What the datasets' modules share: reading lists of files, and matching archives against them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from audio_neurons import archives
from audio_neurons.datasets import SPLITS, DatasetError, Recording


def rows(data: bytes, columns: Sequence[str], where: str | os.PathLike, delimiter: str = ",") -> list[dict]:
    """Rows of a delimited table with a header, which must have ``columns`` and may have more.

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
    """``data`` as UTF-8, with or without a byte-order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8 text ({error})") from error


def load(path: Path) -> bytes:
    """Content of a list that is a file of its own."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


def member(path: Path, pattern: str) -> bytes:
    """Content of the archive's member whose last components match ``pattern``."""
    try:
        return archives.read(path, pattern)
    except archives.MissingMember as error:
        raise DatasetError(f"{path}: looked for a member */{pattern}, there is none") from error


def tail(name: str, components: int = 1) -> str:
    """The last components of a path inside an archive, whatever the folders above are called."""
    return "/".join(PurePosixPath(name).parts[-components:])


def matched(
    listed: Mapping[str, Recording],
    files: Iterable[tuple[str, bytes]],
    key: Callable[[str], str],
    where: object,
) -> Iterator[Recording]:
    """Recordings of a list, with the content that an archive holds of them.

    In the archive's order; files not in the list are skipped. Then come the listed files that the
    archive lacks, without content: preparation counts them as refused.

    Parameters
    ----------
    listed
        Recordings without data, by a key.
    files
        Members of one or several archives.
    key
        The key of a member's path.
    where
        Name of what ``files`` come from, for the error.

    Raises
    ------
    DatasetError
        If none of the listed files is there: the archive is another one, or of another layout.
    """
    seen: set[str] = set()
    for name, data in files:
        name = key(name)
        if name in listed:
            seen.add(name)
            yield replace(listed[name], data=data)
    if not listed:
        raise DatasetError(f"{where}: the list of its files names none in {', '.join(SPLITS)}")
    if not seen:
        example = next(iter(listed))
        raise DatasetError(f"{where}: has none of the {len(listed)} listed files; looked for */{example} ...")
    for name, recording in listed.items():
        if name not in seen:
            yield recording
