"""The user's own recordings: a CSV that lists them, or a folder with one folder per class."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audio_neurons.datasets import events as annotated
from audio_neurons.datasets import folders, groups, lists
from audio_neurons.datasets._spelling import Speller
from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording
from audio_neurons.running.runtime import tell

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
NOTHING = "lists no recordings"
LARGEST_FOLD = 32767
EXAMPLES = 3  # recordings that a message names

Listed = tuple[Path, Recording]


def recordings(
    archives: Mapping[str, Path],
    *,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    group_pattern: str | None = None,
    events: str | None = None,
    event_label: str = "event",
    columns: Mapping[str, object] | None = None,
    folder: str | None = None,
) -> Iterator[Recording]:
    """Yield the recordings of a CSV, in its order, or of a folder, in the order of their paths.

    A CSV has a column ``path`` (absolute, or relative to the CSV's folder) and optionally ``split``,
    ``group`` and ``fold``; every other column is a label. A row without a value in one of them is left out.
    With ``onset`` and ``offset`` (in seconds), each line is an event, and events of a recording are of one
    group. A folder is ``<class>/**`` or ``<split>/<class>/**``; with ``events``, any folder of recordings.
    Files that hold no sound are passed over, and told.

    Parameters
    ----------
    archives
        ``files``: the CSV (with commas, semicolons or tabs), or the folder.
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
    columns
        Names of columns of a CSV that are called otherwise, by ``path``, ``split``, ``group`` and ``fold``,
        and as ``labels`` the list of those that are labels; rows need no value in any other column.
    folder
        Folder that paths are relative to; itself relative to the CSV's folder, which is the default.

    Raises
    ------
    DatasetError
        If a line of the CSV or a folder has another form, an option is invalid, nothing is listed or left,
        or no label has two classes.
    """
    if "files" not in archives:
        raise DatasetError("custom: needs the path of your recordings, as `files`")
    path = Path(archives["files"])
    names = labels(path, events=events, event_label=event_label, columns=columns)
    draw, group_of = groups.drawing(shares, seed), groups.grouping(group_pattern)
    listed = []
    for file, recording in _listed(path, columns, folder, events, quiet=False):
        if recording.left_out:
            listed.append((file, recording))
            continue
        if group_pattern is not None and recording.group:
            raise DatasetError(f"{path}: has a column group; remove the option `group_pattern`")
        group = recording.group or group_of(recording.clip_id)
        listed.append((file, replace(recording, group=group, split=recording.split or draw(group))))
    left_out = [one for one in listed if one[1].left_out]
    listed = [one for one in listed if not one[1].left_out]
    if events is not None:
        listed = list(annotated.of_files(listed, _beside(path), events, event_label, str(path)))
    listed = [*annotated.named(listed), *left_out]
    used = [recording for _, recording in listed if not recording.left_out]
    _refuse_too_few(path, names, used, len(listed))
    bounded = groups.bounded(used, path)
    for file, recording in listed:
        if recording.left_out:
            yield recording
        else:
            joined = bounded.get((recording.group, recording.split, tuple(recording.labels.values())))
            yield replace(recording, data=_found(file), group=joined or recording.group)


def _beside(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def labels(
    path: Path,
    *,
    events: str | None = None,
    event_label: str = "event",
    columns: Mapping[str, object] | None = None,
    **others: object,
) -> list[str]:
    """Return the label columns of a CSV, from its first line, or ``class`` for a folder, and of its events.

    Options are those of `recordings`.

    Raises
    ------
    DatasetError
        If there is no such file, or it has no column ``path`` or a column that cannot be a label.
    """
    of_events = [event_label] * (events is not None)
    if path.is_dir():
        return of_events or ["class"]
    found = lists.columns(path, columns, annotated=events is not None)
    if events is not None and event_label in found.labels:
        raise DatasetError(
            f"{path}: has a column {event_label}; give the events' label another `event_label`"
        )
    if events is not None and "onset" in found.own:
        raise DatasetError(f"{path}: has events of its own (onset, offset); remove the option `events`")
    return [*found.labels, *of_events]


def listing(
    path: Path,
    content: Callable[[Collection[Path]], Mapping[Path, str]],
    *,
    columns: Mapping[str, object] | None = None,
    folder: str | None = None,
    events: str | None = None,
    **others: object,
) -> str:
    """Return a digest that changes with a CSV, events, or the name or content of any recording.

    Parameters
    ----------
    content
        Function from paths to digests of the files there are.
    columns, folder
        As in `recordings`.

    Raises
    ------
    DatasetError
        If there are no recordings, or the CSV or a folder cannot be read.
    """
    digest = hashlib.sha256()
    found = {
        recording.clip_id: file for file, recording in _listed(path, columns, folder, events, quiet=True)
    }
    files = list(found.values()) if path.is_dir() else [path, *found.values()]
    if not found:
        raise DatasetError(f"{path}: {NOTHING}")
    if events is not None:
        own = sorted({annotated.annotation(_beside(path), events, name) for name in found})
        files += [file for file in own if file.is_file()]
    known = content(files)
    if not path.is_dir():
        digest.update(known[path].encode())
    if events is not None:
        digest.update("".join(known.get(file, "") for file in own).encode())
    for name in sorted(found):  # one without content is missing; preparation rejects it
        digest.update(f"{name}\0{known.get(found[name], '')}\0".encode())
    return digest.hexdigest()[:16]


def _listed(
    path: Path, columns: Mapping[str, object] | None, folder: str | None, events: str | None, quiet: bool
) -> Iterator[Listed]:
    """Yield files and recordings; ``split`` and ``group`` are empty where none is given."""
    say = _silently if quiet else tell
    if path.is_dir():
        if columns or folder:
            raise DatasetError(f"{path}: the options `columns` and `folder` are for lists, not for folders")
        yield from folders.recordings(path, say, of_classes=events is None)
    else:
        yield from _of_list(path, lists.columns(path, columns, events is not None), folder, say)


def _of_list(
    path: Path, columns: lists.Columns, folder: str | None, say: Callable[[str], None]
) -> Iterator[Listed]:
    """Yield the files that a CSV lists; rows without a value that is asked for are left out."""
    own = columns.own
    lines = lists.lines(path, own["path"])
    _, header = next(lines)
    place = {column: header.index(column) for column in columns.asked}
    base = path.parent / (folder or "")
    if folder is not None and not base.is_dir():
        raise DatasetError(f"{path}: option `folder`: no such folder: {base}")
    speller = Speller(base)
    seen: dict[tuple, int] = {}
    lacking: Counter[str] = Counter()
    without: list[str] = []
    for number, fields in lines:
        where = f"{path}: line {number}"
        if len(fields) != len(header):
            raise DatasetError(
                f"{where} has {len(fields)} values, the first line names {len(header)} columns; a value with "
                "the delimiter in it needs double quotes"
            )
        row = {column: fields[i] for column, i in place.items()}
        name = row[own["path"]]
        times = [own[role] for role in ("onset", "offset") if role in own]
        if empty := [column for column, value in row.items() if not value and column not in times]:
            lacking.update(empty)
            without.append(name or f"line {number}")
            reason = f"line {number} of the list: no value for {', '.join(empty)}"
            yield path, Recording(f"line {number}: {name}", b"", "", "", {}, left_out=reason)
            continue
        split, fold = row.get(own.get("split", ""), ""), row.get(own.get("fold", ""), "0")
        if "split" in own and split not in SPLITS:
            raise DatasetError(f"{where}: split '{split}' is not one of {', '.join(SPLITS)}")
        onset, offset = annotated.extent({role: row[own[role]] for role in own}, where)
        file, fault = speller.find(name)
        # The same times may have several labels.
        labelled = [row[column] for column in columns.labels if offset is not None]
        key = (os.path.normpath(file), onset, offset, *labelled)
        if key in seen:
            raise DatasetError(f"{where}: {name} is in line {seen[key]} already")
        seen[key] = number
        if not re.fullmatch("[0-9]{1,5}", fold) or int(fold) > LARGEST_FOLD:
            raise DatasetError(f"{where}: fold '{fold}' is not an integer from 0 to {LARGEST_FOLD}")
        yield file, Recording(
            clip_id=name, data=b"", split=split, group=row.get(own.get("group", ""), ""),
            labels={column: row[column] for column in columns.labels}, fold=int(fold), fault=fault,
            onset=onset, offset=offset,
        )  # fmt: skip
    if lacking and not seen:
        raise DatasetError(
            f"{path}: no row has a value in every column that is asked for; of {len(without)} rows, so many "
            f"lack one: {_counts(lacking)}. Name the labels that you use: "
            f"`options: {{columns: {{labels: [{columns.labels[0]}]}}}}`"
        )
    if lacking:
        say(
            f"{path}: {len(without)} of {len(without) + len(seen)} rows are left out, since they have no "
            f"value for {_counts(lacking)}: {_examples(without)}"
        )
    if speller.respelt:
        examples = _examples([f"{file.name} for {name}" for name, file in speller.respelt.items()])
        say(
            f"{path}: {len(speller.respelt)} paths are spelt otherwise than their files (case, Unicode form, "
            f"separators or spaces), which are used: {examples}"
        )


def _silently(line: str) -> None:
    """Tell nothing: who asks for a digest was told, or will be, when the recordings are read."""


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in found.most_common())


def _examples(found: Sequence[str]) -> str:
    return ", ".join(found[:EXAMPLES]) + (", ..." if len(found) > EXAMPLES else "")


def _refuse_too_few(path: Path, columns: Sequence[str], found: list[Recording], rows: int) -> None:
    if not rows:
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
