"""The user's own recordings: a CSV that lists them, or a folder with one folder per class."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from audio_neurons.datasets import events as annotated
from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
SUFFIXES = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav")
# Formats that cannot be decoded: listed as rejected, with the reason, rather than skipped silently.
UNREAD = (".aac", ".ac3", ".amr", ".ape", ".m4a", ".mp4", ".webm", ".wma", ".wv")
NOTHING = "lists no recordings"
NO_SOUNDS = f"holds no {', '.join(SUFFIXES)} in a folder per class"
SPLIT_OF_FOLDER = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip

# Columns of a list that are not labels, and names that columns of the workflow's tables already have.
# Repeated here so that checking a configuration does not import pandas.
OWN = ("path", "split", "group", "fold", "onset", "offset")
RESERVED = ("clip_id", "audio", "frames", "cell", "clips", "tokens", "active")
LARGEST_FOLD = 32767


def recordings(
    archives: Mapping[str, Path],
    *,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    group_pattern: str | None = None,
    events: str | None = None,
    event_label: str = "event",
) -> Iterator[Recording]:
    """Yield the recordings of a CSV, in its order, or of a folder, in the order of their paths.

    A CSV has a column ``path`` (absolute, or relative to the CSV's folder) and optionally ``split``,
    ``group`` and ``fold``; every other column is a label. With ``onset`` and ``offset`` (in seconds), each
    line is an event, and events of a recording are of one group. A folder is ``<class>/**`` or
    ``<split>/<class>/**``; with ``events``, any folder of recordings.

    Parameters
    ----------
    archives
        ``files``: the CSV (comma-separated; tab-separated if it is called ``.tsv``), or the folder.
    shares
        Share of the groups in each split, for recordings without a split of their own. The split of a
        group depends on its name alone: adding recordings does not change it.
    seed
        Seed of the random splits.
    group_pattern
        Regular expression that finds the group in a ``clip_id``: its first capturing group, or else its
        whole match. By default, each recording without a group is its own group.
    events, event_label
        Files with the events of the recordings, relative to the CSV's folder or to the folder, and the name
        of the label that their classes have (see `audio_neurons.datasets.events`).

    Raises
    ------
    DatasetError
        If a line of the CSV or a folder has another form, an option is invalid, nothing is listed, or
        no label has two classes.
    """
    if "files" not in archives:
        raise DatasetError("custom: needs the path of your recordings, as `files`")
    path = Path(archives["files"])
    columns = labels(path, events=events, event_label=event_label)
    draw, group_of = draws(shares, seed), _grouping(group_pattern)
    listed = []
    for file, recording in _listed(path, events):
        if group_pattern is not None and recording.group:
            raise DatasetError(f"{path}: has a column group; remove the option `group_pattern`")
        group = recording.group or group_of(recording.clip_id)
        listed.append((file, replace(recording, group=group, split=recording.split or draw(group))))
    if events is not None:
        folder = path if path.is_dir() else path.parent
        listed = list(annotated.of_files(listed, folder, events, event_label, str(path)))
    listed = annotated.named(listed)
    _refuse_too_few(path, columns, [recording for _, recording in listed])
    for file, recording in listed:
        yield replace(recording, data=_found(file))


def _listed(path: Path, events: str | None) -> Iterator[tuple[Path, Recording]]:
    """Yield the recordings of a CSV or a folder; of a folder with events, the folders are no classes."""
    if not path.is_dir():
        return _of_list(path, labels(path, events=events, event_label=""))
    if events is None:
        return _of_folder(path)
    found = ((file, _name(file, path)) for file in _sounds(path))
    return ((f, Recording(clip_id=n, data=b"", split="", group="", labels={})) for f, n in found)


def labels(
    path: Path, *, events: str | None = None, event_label: str = "event", **options: object
) -> list[str]:
    """Return the label columns of a CSV, from its first line, or ``class`` for a folder, and of its events.

    Raises
    ------
    DatasetError
        If there is no such file, or it has no column ``path`` or a column that cannot be a label.
    """
    of_events = [event_label] * (events is not None and event_label != "")
    if path.is_dir():
        return of_events or ["class"]
    _, columns = next(_lines(path), (0, []))
    if "path" not in columns:
        raise DatasetError(
            f"{path}: no column path in its first line; there are: {', '.join(columns) or 'none'}. The first "
            "line names the columns, separated by commas (by tabs where the file is called .tsv)"
        )
    for i, column in enumerate(columns):
        if not column:
            raise DatasetError(f"{path}: column {i + 1} has no name; name it or remove it")
        if column in columns[:i]:
            raise DatasetError(f"{path}: two columns are called {column}; rename one")
        if column in RESERVED:
            raise DatasetError(
                f"{path}: a label cannot be called {column}, as the workflow's own tables have a column of "
                "that name; rename the column"
            )
    if ("onset" in columns) != ("offset" in columns):
        raise DatasetError(
            f"{path}: the columns onset and offset go together; add the other, or rename this one"
        )
    found = [column for column in columns if column not in OWN]
    if events is not None and event_label in found:
        raise DatasetError(
            f"{path}: has a column {event_label}; give the events' label another `event_label`"
        )
    if events is not None and "onset" in columns:
        raise DatasetError(f"{path}: has events of its own (onset, offset); remove the option `events`")
    if not (found or events is not None):
        raise DatasetError(f"{path}: no label; add a column with each recording's class, of any name")
    return found + of_events


def listing(path: Path, *, events: str | None = None, **options: object) -> str:
    """Return a digest that changes with a CSV, events, or the name, size or time of any recording.

    Raises
    ------
    DatasetError
        If there are no recordings, or the CSV or a folder cannot be read.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        found = {_name(file, path): file for file in _sounds(path)}
    else:
        found = {recording.clip_id: file for file, recording in _listed(path, events)}
        digest.update(path.read_bytes())
    if not found:
        raise DatasetError(f"{path}: {NO_SOUNDS if path.is_dir() else NOTHING}")
    if events is not None:
        folder = path if path.is_dir() else path.parent
        for file in sorted({annotated.annotation(folder, events, name) for name in found}):
            digest.update(file.read_bytes() if file.is_file() else b"")
    for name in sorted(found):
        try:
            facts = found[name].stat()
            told = f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0"
        except (OSError, ValueError):  # missing; preparation rejects it
            told = f"{name}\0"
        digest.update(told.encode())
    return digest.hexdigest()[:16]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV that are not blank, with their numbers."""
    number = 1
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            table = csv.reader(file, delimiter=delimiter, strict=True)
            for fields in table:
                if any(fields):
                    yield number, [field.strip() for field in fields]
                number = table.line_num + 1  # where the next row starts; values may contain line breaks
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: no such file or folder; give the path of a CSV or of a folder of recordings, absolute "
            f"or relative to the working directory, which is {Path.cwd()} (--directory sets another); "
            "~ and variables are not expanded"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text ({error}); save the list as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: line {number}: {error}") from error


def _of_list(path: Path, columns: list[str]) -> Iterator[tuple[Path, Recording]]:
    """Yield the files that a CSV lists; ``split`` and ``group`` are empty without such a column."""
    lines = _lines(path)
    _, header = next(lines)
    seen: dict[tuple, int] = {}
    for number, fields in lines:
        where = f"{path}: line {number}"
        if len(fields) != len(header):
            raise DatasetError(
                f"{where} has {len(fields)} values, the first line names {len(header)} columns; a value with "
                "the delimiter in it needs double quotes"
            )
        row = dict(zip(header, fields, strict=True))
        if "split" in row and row["split"] not in SPLITS:
            raise DatasetError(f"{where}: split '{row['split']}' is not one of {', '.join(SPLITS)}")
        onset, offset = annotated.extent(row, where)
        if empty := [n for n, value in row.items() if not value and n not in ("onset", "offset")]:
            raise DatasetError(f"{where}: no value for {', '.join(empty)}")
        name = row["path"]
        file = os.path.normpath(path.parent / name)
        # The same times may have several labels.
        key = (file, onset, offset, *(row[column] for column in columns if offset is not None))
        if key in seen:
            raise DatasetError(f"{where}: {name} is in line {seen[key]} already")
        seen[key] = number
        fold = row.get("fold", "0")
        if not re.fullmatch("[0-9]{1,5}", fold) or int(fold) > LARGEST_FOLD:
            raise DatasetError(f"{where}: fold '{fold}' is not an integer from 0 to {LARGEST_FOLD}")
        yield path.parent / name, Recording(
            clip_id=name, data=b"", split=row.get("split", ""), group=row.get("group", ""),
            labels={column: row[column] for column in columns}, fold=int(fold),
            onset=onset, offset=offset,
        )  # fmt: skip


def _of_folder(folder: Path) -> Iterator[tuple[Path, Recording]]:
    """Yield the sound files of ``<class>/**`` or ``<split>/<class>/**``; ``group`` is empty."""
    found = {_name(file, folder): file for file in _sounds(folder)}
    if not found:
        raise DatasetError(f"{folder}: {NO_SOUNDS}")
    tops = sorted({name.partition("/")[0] for name in found if "/" in name})
    splits = [top for top in tops if top.lower() in SPLIT_OF_FOLDER]
    if len(splits) > 1 and splits != tops:
        others = ", ".join(top for top in tops if top not in splits)
        raise DatasetError(
            f"{folder}: {', '.join(splits)} look like splits, but there is {others} too; keep only split "
            "folders or only class folders, or list the files in a CSV"
        )
    layout = "<split>/<class>/<file>" if splits == tops else "<class>/<file>"
    for name in sorted(found):
        parts = name.split("/")
        if len(parts) <= layout.count("/"):
            raise DatasetError(f"{folder}: {name}: looked for {layout}; move it into its class's folder")
        split = SPLIT_OF_FOLDER[parts.pop(0).lower()] if splits == tops else ""
        yield found[name], Recording(
            clip_id=name, data=b"", split=split, group="", labels={"class": parts[0]}
        )  # fmt: skip


def _sounds(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the sound files below a folder, following links and skipping hidden files and folders."""
    real = folder.resolve()
    if real in above:  # a link to an enclosing folder
        return
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror or error}") from error
    for file in files:
        if file.name.startswith("."):
            continue
        if file.is_dir():
            yield from _sounds(file, (*above, real))
        elif file.suffix.lower() in SUFFIXES + UNREAD:
            yield file


def _name(file: Path, folder: Path) -> str:
    name = file.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:  # undecodable bytes became lone surrogates
        raise DatasetError(f"{folder}: {name!a}: the name is not UTF-8; rename it") from error
    return name


def _grouping(pattern: str | None) -> Callable[[str], str]:
    """Return the function from a ``clip_id`` to its group."""
    if pattern is None:
        return lambda clip_id: clip_id
    try:
        expression = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise DatasetError(f"option `group_pattern`: '{pattern}': {error}") from error

    def group_of(clip_id: str) -> str:
        match = expression.search(clip_id)
        group = match and match[1 if expression.groups else 0]
        if not group:
            raise DatasetError(f"option `group_pattern`: '{pattern}' finds no group in '{clip_id}'")
        return group

    return group_of


def draws(shares: Mapping[str, float], seed: int) -> Callable[[str], str]:
    """Return the function from a group to its split, which a hash of the group's name decides."""
    if (
        not isinstance(shares, Mapping)
        or not set(shares) <= set(SPLITS)
        or not all(isinstance(share, int | float) and share >= 0 for share in shares.values())
        or abs(sum(shares.values()) - 1) > 1e-6
    ):
        raise DatasetError(
            f"option `shares`: {shares}: looked for shares of {', '.join(SPLITS)} that add up to 1"
        )
    edges = list(accumulate(shares.get(split, 0) for split in SPLITS))

    def draw(group: str) -> str:
        digest = hashlib.sha256(f"{seed}/{group}".encode()).hexdigest()
        # 52 bits give an exact float below 1, so that the last edge is never reached.
        return SPLITS[bisect_right(edges, int(digest[:13], 16) / 16**13 * edges[-1])]

    return draw


def _refuse_too_few(path: Path, columns: Iterable[str], found: list[Recording]) -> None:
    if not found:
        raise DatasetError(f"{path}: {NOTHING}")
    classes = {column: {recording.labels[column] for recording in found} for column in columns}
    if all(len(values) < 2 for values in classes.values()):
        told = ", ".join(f"{column} is always '{min(values)}'" for column, values in classes.items())
        raise DatasetError(f"{path}: no label has two classes: {told}")


def _found(file: Path) -> Path | bytes:
    """Return the path of a sound file, of which preparation reads what it keeps; no content if it is none."""
    try:
        facts = file.stat()
    except (OSError, ValueError):  # preparation rejects recordings without data
        return b""
    return file if stat.S_ISREG(facts.st_mode) and facts.st_size else b""
