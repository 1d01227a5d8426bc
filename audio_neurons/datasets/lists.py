"""Lists of recordings as people have them: encodings, delimiters and quotes, and the columns in use."""

from __future__ import annotations

import codecs
import csv
import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from audio_neurons.datasets.registry import DatasetError

# Columns of a list that are not labels, and names that columns of the workflow's tables already have.
# Repeated here so that checking a configuration does not import pandas.
OWN = ("path", "split", "group", "fold", "onset", "offset")
RESERVED = ("clip_id", "audio", "frames", "cell", "clips", "tokens", "active", "padded", "window")
DELIMITERS = ",;\t"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
HINT = re.compile(r'"?sep=(.)"?')  # first line by which Excel knows a delimiter
QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Columns:
    """Columns of a list in use: the name of each of `OWN` that there is, and the labels.

    ``chosen`` says that the configuration names the labels.
    """

    own: Mapping[str, str]
    labels: tuple[str, ...]
    chosen: bool

    @property
    def asked(self) -> list[str]:
        """Columns in which each row needs a value."""
        return [*self.own.values(), *self.labels]


def columns(path: Path, named: Mapping[str, object] | None, annotated: bool = False) -> Columns:
    """Return the columns of a list, from its first line and the option ``columns``.

    A list whose recordings are ``annotated`` by other files needs no label.

    Raises
    ------
    DatasetError
        If there is no such file, it lacks a column, or one cannot be a label.
    """
    known = [*OWN, "labels"]
    named = {} if named is None else named
    if not isinstance(named, Mapping) or not set(named) <= set(known):
        raise DatasetError(f"option `columns`: {named}: looked for names of columns by {', '.join(known)}")
    wanted = str(named.get("path", "path"))
    header = names(path, wanted)
    own = {role: str(named.get(role, role)) for role in OWN if role in named or role in header}
    own.setdefault("path", wanted)
    if ("onset" in own) != ("offset" in own):
        raise DatasetError(
            f"{path}: the columns onset and offset go together; add the other, or rename this one"
        )
    labels = named.get("labels")
    if labels is not None and (not isinstance(labels, list | tuple) or not labels):
        raise DatasetError(f"option `columns`: labels: {labels}: looked for a list of columns")
    chosen = [str(label) for label in labels] if isinstance(labels, list | tuple) else None
    for column in [*own.values(), *(chosen or [])]:
        if column not in header:
            raise DatasetError(f"{path}: no column {column} in its first line; {_there(column, header)}")
    if chosen is None:
        taken = {*OWN, *own.values()}
        found = [column for column in header if column not in taken]
        _refuse_names(path, header)
        if not (found or annotated):
            raise DatasetError(f"{path}: no label; add a column with each recording's class, of any name")
    else:
        found = list(dict.fromkeys(chosen))
    for column in found:
        if column in RESERVED or (column in OWN and column not in own):
            raise DatasetError(
                f"{path}: a label cannot be called {column}, as the workflow's own tables have a column of "
                "that name; rename the column"
            )
        if column in own.values():
            raise DatasetError(f"{path}: the column {column} is a label, and something else too")
    for column in own.values():
        if header.count(column) > 1:
            raise DatasetError(f"{path}: two columns are called {column}; rename one")
    return Columns(own, tuple(found), chosen is not None)


def _there(column: str, header: list[str]) -> str:
    near = difflib.get_close_matches(column, header, 1)
    told = f"did you mean {near[0]}? There are" if near else "there are"
    return (
        f"{told}: {', '.join(header) or 'none'}. The first line names the columns, separated by commas, "
        "semicolons or tabs; the option `columns` names those that are called otherwise"
    )


def _refuse_names(path: Path, header: list[str]) -> None:
    for i, column in enumerate(header):
        if not column:
            raise DatasetError(f"{path}: column {i + 1} has no name; name it or remove it")
        if column in header[:i]:
            raise DatasetError(f"{path}: two columns are called {column}; rename one")


def names(path: Path, wanted: str = "path") -> list[str]:
    """Return the names of the columns: the first line. Errors are those of `lines`."""
    with _errors(path), _open(path, None) as file:
        delimiter, skipped = _delimiter(path, wanted)
        if delimiter == "\t":
            first = next((line for number, line in enumerate(file) if number >= skipped and line.strip()), "")
            fields = [field.strip() for field in first.rstrip("\n").split("\t")]
            return _unquoted(fields) if all(map(_balanced, fields)) else fields
    return next(lines(path, wanted), (0, []))[1]


def lines(path: Path, wanted: str = "path") -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a list that are not blank, with their numbers.

    It is text in UTF-8, or in UTF-16 with its mark. The delimiter is the one, of commas, semicolons and tabs,
    by which the first line has a column ``wanted``. Double quotes enclose values. In a file with tabs, where
    every line has as many values as the first whatever its quotes mean, they are text unless all are balanced
    around values: programs that write no quotes leave lone ones as they are.
    """
    with _errors(path):
        delimiter, skipped = _delimiter(path, wanted)
        quoting = _quoting(path, skipped) if delimiter == "\t" else None
        if quoting is None:
            yield from _enclosed(path, delimiter, skipped)
        else:
            yield from _bare(path, skipped, unquote=quoting)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such file or folder; give the path of a CSV or of a folder of recordings, absolute "
            f"or relative to the working directory, which is {Path.cwd()} (--directory sets another); "
            "~ and variables are not expanded"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text ({error}); save the list as UTF-8") from error


def _open(path: Path, newline: str | None = "") -> TextIO:
    with open(path, "rb") as file:
        mark = file.read(4)
    encoding = next((name for start, name in MARKS.items() if mark.startswith(start)), "utf-8")
    return open(path, newline=newline, encoding=encoding)


def _delimiter(path: Path, wanted: str) -> tuple[str, int]:
    """Return the delimiter of a list, and the lines before the names of its columns."""
    with _open(path, None) as file:
        first = file.readline()
        if hint := HINT.fullmatch(first.strip()):
            return hint[1], 1
        while first and not first.strip():
            first = file.readline()
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    for delimiter in (usual, *DELIMITERS):
        names = next(csv.reader([first], delimiter=delimiter), [])
        if wanted in [name.strip() for name in names]:
            return delimiter, 0
    return usual, 0


def _quoting(path: Path, skipped: int) -> bool | None:
    """Return whether quotes enclose values of a list with tabs; None if they enclose tabs or line breaks."""
    width, balanced = 0, True
    with _open(path, None) as file:
        for number, line in enumerate(file):
            if number < skipped or not line.strip():
                continue
            if line.count("\t") + 1 != (width := width or line.count("\t") + 1):
                return None
            balanced = balanced and ('"' not in line or all(map(_balanced, line.rstrip("\n").split("\t"))))
    return balanced


def _balanced(field: str) -> bool:
    value = field.strip()
    return not value.startswith('"') or bool(QUOTED.fullmatch(value))


def _unquoted(fields: list[str]) -> list[str]:
    return [f[1:-1].replace('""', '"').strip() if f.startswith('"') else f for f in fields]


def _bare(path: Path, skipped: int, unquote: bool) -> Iterator[tuple[int, list[str]]]:
    with _open(path, None) as file:
        for number, line in enumerate(file, start=1):
            if number <= skipped:
                continue
            fields = [field.strip() for field in line.rstrip("\n").split("\t")]
            if any(fields):
                yield number, _unquoted(fields) if unquote else fields


def _enclosed(path: Path, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    number = skipped + 1
    with _open(path) as file:
        for _ in range(skipped):
            next(file)
        table = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for fields in table:
                if any(fields):
                    yield number, [field.strip() for field in fields]
                number = skipped + table.line_num + 1  # of the next row; values may have line breaks
        except csv.Error as error:
            raise DatasetError(f"{path}: line {number}: {error}") from error
