"""Events: parts of recordings with a label, from columns of a list or from files of annotation programs.

An event is a clip of its recording's group, called ``RECORDING@ONSET-OFFSET`` in seconds (and ``#2``, ``#3``
where several labels have the same times). Read are label tracks of Audacity (onset, offset, label, separated
by tabs), selection tables of Raven, and RTTM (lines ``SPEAKER``).
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from audio_neurons.datasets.registry import DatasetError, Recording
from audio_neurons.running.runtime import tell

BEGIN, END, BEGIN_FILE, FILE_OFFSET = "Begin Time (s)", "End Time (s)", "Begin File", "File Offset (s)"
# Columns that Raven itself makes, none of which is a class.
RAVEN = re.compile(
    r"(Selection|View|Channel|Occupancy|(Begin|End) (Time|Sample|Clock|Date|File|Path|Hour).*|File Offset.*|"
    r".*\((s|Hz|kHz|dB|dB FS|u|samples|%|smp|bits)\)|Begin|End)",
    re.IGNORECASE,
)
EXAMPLES = 3  # recordings that a message names


class Event(NamedTuple):
    """A labelled part of a recording, in seconds; ``file`` names the recording where its file tells it."""

    onset: float
    offset: float
    label: str
    file: str
    where: str


def extent(row: Mapping[str, str], where: str) -> tuple[float, float | None]:
    """Return onset and offset of a line of a list; the whole recording if it has none of the two.

    Raises
    ------
    DatasetError
        If it has only one of them, or the event has no length.
    """
    given = [row.get(name, "") for name in ("onset", "offset")]
    if not any(given):
        return 0.0, None
    if not all(given):
        raise DatasetError(f"{where}: onset and offset go together; give both, or none")
    return _times(given[0], given[1], where)


def _times(onset: str, offset: str, where: str) -> tuple[float, float]:
    return _checked(_seconds(onset, where), _seconds(offset, where), where)


def _seconds(text: str, where: str) -> float:
    try:
        value = float(text.replace(",", ".") if "." not in text else text)  # decimal commas of some countries
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DatasetError(f"{where}: '{text}' is not a time in seconds, such as 12.5")
    return value


def _checked(onset: float, offset: float, where: str) -> tuple[float, float]:
    if offset <= onset:
        what = "has no length (a point)" if offset == onset else "ends before it begins"
        raise DatasetError(f"{where}: the event from {onset:g} to {offset:g} s {what}; correct its times")
    return onset, offset


def named(recordings: Iterable[tuple[Path, Recording]]) -> list[tuple[Path, Recording]]:
    """Return recordings of a list with the names of clips: events are called by their times.

    Raises
    ------
    DatasetError
        If events of a recording are in several groups, splits or folds, or one is there twice.
    """
    seen: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    shared: dict[str, tuple] = {}
    found = []
    for file, recording in recordings:
        name = recording.clip_id
        own = recording.group, recording.split, recording.fold
        if shared.setdefault(name, own) != own:
            raise DatasetError(
                f"{name}: its events are in several groups, splits or folds ({_told(shared[name])}; "
                f"{_told(own)}); a recording belongs to one"
            )
        if recording.offset is not None:
            name = f"{name}@{_clock(recording.onset)}-{_clock(recording.offset)}"
            if recording.labels in seen[name]:
                raise DatasetError(f"{name}: the event is there twice, with the same labels; remove one")
            seen[name].append(recording.labels)
            if len(seen[name]) > 1:
                name = f"{name}#{len(seen[name])}"
        found.append((file, replace(recording, clip_id=name)))
    return found


def _told(shared: tuple) -> str:
    return "group {}, split {}, fold {}".format(*shared)


def _clock(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def of_files(
    recordings: Sequence[tuple[Path, Recording]], folder: Path, pattern: str, label: str, title: str
) -> Iterator[tuple[Path, Recording]]:
    """Yield the events of recordings, each with its text as the label ``label``.

    A recording without events is left out, which is told.

    Parameters
    ----------
    recordings
        Files, and recordings under the names that the list gives.
    folder, pattern
        Where the files with events are: ``{name}`` is a recording's name without its suffix, ``{stem}`` the
        last part of it; without either, one file has the events of all recordings.
    title
        The list, for messages.
    """
    all_of = None if "{" in pattern else _by_recording(recordings, folder / pattern, label)
    without = []
    for file, recording in recordings:
        if all_of is None:
            path = annotation(folder, pattern, recording.clip_id)
            own = list(read(path, label)) if path.is_file() else []
        else:
            own = all_of.get(recording.clip_id, [])
        if not own:
            without.append(recording.clip_id)
        for event in own:
            labels = {**recording.labels, label: event.label}
            yield file, replace(recording, labels=labels, onset=event.onset, offset=event.offset)
    if len(without) == len(recordings):
        raise DatasetError(
            f"{title}: option `events`: no recording has an event in {folder / pattern}; {{name}} in it is a "
            f"recording's path without its suffix, such as {PurePosixPath(without[0]).with_suffix('')}"
        )
    if without:
        more = ", ..." if len(without) > EXAMPLES else ""
        tell(
            f"{title}: {len(without)} of {len(recordings)} recordings have no events, and are left out: "
            f"{', '.join(without[:EXAMPLES])}{more}"
        )


def annotation(folder: Path, pattern: str, name: str) -> Path:
    """Return the path of the file with the events of a recording, or of all recordings."""
    path = PurePosixPath(name)
    return folder / pattern.replace("{name}", str(path.with_suffix(""))).replace("{stem}", path.stem)


def _by_recording(
    recordings: Sequence[tuple[Path, Recording]], path: Path, label: str
) -> dict[str, list[Event]]:
    """Return the events of one file by the name of the recording that each is of."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for _, recording in recordings:
        place = PurePosixPath(recording.clip_id)
        for known in {str(place), place.name, place.stem}:
            by_name[known].append(recording.clip_id)
    found: dict[str, list[Event]] = defaultdict(list)
    unknown = []
    for event in read(path, label):
        if not event.file:
            raise DatasetError(
                f"{event.where}: it does not say of which recording; give a file per recording, with "
                "{name} in the option `events`"
            )
        last = PurePosixPath(event.file.replace("\\", "/")).name
        own = by_name.get(event.file) or by_name.get(last, [])
        if len(own) > 1:
            raise DatasetError(f"{event.where}: '{event.file}' is {' or '.join(own[:2])}; rename one of them")
        if own:
            found[own[0]].append(event)
        else:
            unknown.append(event.file)
    if unknown:
        names = list(dict.fromkeys(unknown))
        more = ", ..." if len(names) > EXAMPLES else ""
        tell(
            f"{path}: {len(unknown)} events are of recordings that are not listed, and left out: "
            f"{', '.join(names[:EXAMPLES])}{more}"
        )
    return found


def read(path: Path, label: str) -> Iterator[Event]:
    """Yield the events of a file, whose format its content tells.

    ``label`` is the column of a Raven table that has the class, in any case; a table with a single column
    that Raven has not made needs no such name.

    Raises
    ------
    DatasetError
        If it is not there, not UTF-8, or has an event without a label or length.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DatasetError(f"option `events`: {path}: no such file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    first = next((line for line in lines if line.strip()), "")
    if BEGIN in first:
        return _of_raven(lines, path, label)
    if path.suffix.lower() == ".rttm" or first.startswith("SPEAKER "):
        return _of_rttm(lines, path)
    return _of_audacity(lines, path)


def _of_audacity(lines: Sequence[str], path: Path) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        if not line.strip() or line.startswith("\\"):  # frequencies of the label before
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 3 or not fields[2]:
            raise DatasetError(f"{where}: looked for onset, offset and label, separated by tabs (Audacity)")
        yield Event(*_times(fields[0], fields[1], where), fields[2], "", where)


def _of_rttm(lines: Sequence[str], path: Path) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
        where, fields = f"{path}: line {number}", line.split()
        if not fields or fields[0] != "SPEAKER":  # comments, and facts about speakers
            continue
        if len(fields) < 8:
            raise DatasetError(
                f"{where}: looked for SPEAKER, file, channel, onset, duration, two fields, name"
            )
        onset = _seconds(fields[3], where)
        offset = onset + _seconds(fields[4], where)
        yield Event(*_checked(onset, offset, where), fields[7], fields[1], where)


def _of_raven(lines: Sequence[str], path: Path, label: str) -> Iterator[Event]:
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = [column for column in table.fieldnames or [] if column]
    column = _class_column(columns, label, path)
    seen = set()
    for row in table:
        where = f"{path}: line {table.line_num}"
        row = {name: (row[name] or "").strip() for name in columns}
        # A selection has a line for each view (waveform, spectrogram).
        if (selection := row.get("Selection") or where) in seen:
            continue
        seen.add(selection)
        if not row[column]:
            raise DatasetError(f"{where}: no value for {column}")
        onset, offset = _times(row[BEGIN], row.get(END, ""), where)
        if row.get(FILE_OFFSET):  # of several files after one another, whose times go on
            start = _seconds(row[FILE_OFFSET], where)
            onset, offset = start, start + offset - onset
        yield Event(onset, offset, row[column], row.get(BEGIN_FILE, ""), where)


def _class_column(columns: Sequence[str], label: str, path: Path) -> str:
    own = [column for column in columns if not RAVEN.fullmatch(column)]
    named = [column for column in columns if column.lower() == label.lower()]
    if not named and len(own) != 1:
        raise DatasetError(
            f"{path}: no column {label} (option `event_label`); there are: {', '.join(own or columns)}"
        )
    return (named or own)[0]
