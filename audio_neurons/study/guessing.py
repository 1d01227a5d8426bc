"""Guesses about recordings of which only names are known: columns of a list, labels, groups, splits.

Guesses are conservative: what is not evident is not guessed. Each comes with the words that say from what.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from audio_neurons.datasets.custom import SHARES
from audio_neurons.datasets.folders import SPLIT_OF_FOLDER
from audio_neurons.datasets.groups import drawing

# Names of columns, in lower case, in order of preference.
GROUPS = (
    "group", "speaker", "speaker_id", "speakerid", "spk", "spk_id", "client_id", "subject", "subject_id",
    "participant", "actor", "singer", "artist", "performer", "player", "individual", "animal", "bird",
    "session", "source", "source_id", "src_file", "site", "location", "recorder", "device",
)  # fmt: skip
SPLITS = ("split", "set", "subset", "partition", "usage")
SAMPLED = 50  # rows of a list that are tried to find the column of paths
LONG_TEXT = 40  # characters of a value, on average, that make a column a text rather than a label
MANY_NUMBERS = 20  # different numbers that make a column a measurement rather than a label

# Evidence of a group in names: least values, and shares of values in several recordings and several classes.
FEWEST = 3
REPEATED = 0.9
CROSSING = 0.5
# A number of a source, such as Actor_01, spk3 or F12, but not one that counts the recordings of a source.
IDENTIFIER = re.compile(r"(?P<what>[a-z]*)[-_ ]?\d{1,6}[a-z]?", re.IGNORECASE)
COUNTED = (
    "take", "rep", "repetition", "trial", "part", "seg", "segment", "chunk", "clip", "rec", "recording", "no",
    "nr", "num", "file", "sample", "t", "r", "v", "ver", "version", "aug", "copy", "track", "ch", "channel",
    "fold", "set", "batch", "disc", "cd", "day", "snr", "db",
)  # fmt: skip
SEEDS = 100
LONGEST = 10.0  # seconds of a clip that are guessed


def path_column(rows: Sequence[Mapping[str, str]], folder: Path) -> tuple[str, Path] | None:
    """Return the column whose values name files, and the folder that they are relative to, or None.

    The folder is the list's own, or one in it. The column and the folder that find most are chosen.
    """
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    best: tuple[int, str, Path] | None = None
    for base in folders:
        for column in rows[0]:
            number = sum(_is_file(base / row[column]) for row in rows[:SAMPLED] if row[column])
            if number > (best[0] if best else 0):
                best = number, column, base
    return best and (best[1], best[2])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def group_column(rows: Sequence[Mapping[str, str]]) -> str | None:
    """Return the column that by its name is a group, and has recordings in common, or None."""
    for name in GROUPS:
        for column in rows[0]:
            if column.lower().replace(" ", "_") == name and _shared([row[column] for row in rows]):
                return column
    return None


def _shared(values: Sequence[str]) -> bool:
    return all(values) and len(set(values)) < len(values)


def split_column(rows: Sequence[Mapping[str, str]]) -> str | None:
    """Return the column whose values are all names of splits, or None."""
    for column in rows[0]:
        if column.lower() in SPLITS and all(row[column].lower() in SPLIT_OF_FOLDER for row in rows):
            return column
    return None


def label_columns(
    rows: Sequence[Mapping[str, str]], columns: Iterable[str], group: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the columns that are labels, and the reason for each of the others.

    Parameters
    ----------
    group
        Group of each row.
    """
    labels: list[str] = []
    reasons: dict[str, str] = {}
    for column in columns:
        values = [row[column] for row in rows]
        why = _no_label(values) or (
            "is the group" if _same(values, group) else _twin(rows, column, labels)
        )  # fmt: skip
        if why:
            reasons[column] = why
        else:
            labels.append(column)
    return labels, reasons


def _no_label(values: Sequence[str]) -> str:
    known = [value for value in values if value]
    different = set(known)
    if len(known) < len(values) / 2:
        return "is empty in most rows"
    if len(different) < 2:
        return "has one value"
    if len(different) > len(known) / 2:
        return "has a value of its own in most rows"
    numbers = [value for value in different if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value)]
    whole = all(re.fullmatch(r"[-+]?\d+", value) for value in numbers)
    if len(numbers) == len(different) and (not whole or len(different) > MANY_NUMBERS):
        return "is a measurement"
    if sum(map(len, known)) / len(known) > LONG_TEXT:
        return "is a text"
    return ""


def _same(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two columns divide the rows alike."""
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))


def _twin(rows: Sequence[Mapping[str, str]], column: str, labels: Sequence[str]) -> str:
    values = [row[column] for row in rows]
    twin = next((one for one in labels if _same(values, [row[one] for row in rows])), None)
    return f"divides the recordings as {twin} does" if twin else ""


def groups(names: Sequence[str], classes: Sequence[str]) -> tuple[list[str] | None, str]:
    """Return the group of each recording by a part of its name, or None, and from what, or why not.

    A part is a folder, or a piece of the file's name between ``_``, ``-``, ``.`` and spaces. It is a group
    where every recording has it, it numbers something, at least `FEWEST` values stand in several recordings,
    most values stand in several classes while each class has several, and no other part is like that.

    Parameters
    ----------
    names
        Paths of the recordings.
    classes
        Class of each recording.
    """
    split = [PurePosixPath(name) for name in names]
    above = range(2, 1 + min(len(path.parts) for path in split))
    folders = {_above(i - 1): [path.parts[-i] for path in split] for i in above}
    tokens = [re.split(r"[_\-. ]+", path.stem) for path in split]
    positions = range(min(map(len, tokens)) if len({len(one) for one in tokens}) == 1 else 1)
    pieces = {f"part {i + 1} of the file's name": [one[i] for one in tokens] for i in positions}
    maybe = []
    for candidates in (folders, pieces):
        shared = {where: found for where, found in candidates.items() if _shared_by_classes(found, classes)}
        fit = {where: found for where, found in shared.items() if _numbers(found, where in folders)}
        if len(fit) == 1:
            ((where, found),) = fit.items()
            return found, f"{_shown(where, found)}, as they stand in several classes"
        maybe += [_shown(where, found) for where, found in (fit or shared).items()]
    if maybe:
        return None, f"it is not evident; {' and '.join(maybe)} might be"
    return None, "no part of the names is shared by recordings of several classes"


def _above(levels: int) -> str:
    return "the folder above the file" if levels == 1 else f"the folder {levels} levels above the file"


def _shown(where: str, values: Sequence[str]) -> str:
    return f"{where} ({', '.join(sorted(set(values))[:3])}, ...)"


def _numbers(values: Sequence[str], folder: bool) -> bool:
    """Return whether values number something; digits alone do in a folder's name, not in a file's."""
    found = [IDENTIFIER.fullmatch(value) for value in set(values)]
    what = {match["what"].lower() for match in found if match}
    return all(found) and not what & set(COUNTED) and (folder or "" not in what)


def _shared_by_classes(values: Sequence[str], classes: Sequence[str]) -> bool:
    counts = Counter(values)
    if len(counts) < FEWEST or all(value.isdecimal() and len(value) < 3 for value in counts):
        return False
    if sum(number > 1 for number in counts.values()) < REPEATED * len(counts):
        return False
    classes_of, values_of = defaultdict(set), defaultdict(set)
    for value, name in zip(values, classes, strict=True):
        classes_of[value].add(name)
        values_of[name].add(value)
    crossing = sum(len(found) > 1 for found in classes_of.values())
    return crossing >= CROSSING * len(counts) and all(len(found) > 1 for found in values_of.values())


def seed(
    groups: Sequence[str], labels: Sequence[Sequence[str]], shares: Mapping[str, float] = SHARES
) -> int | None:
    """Return the first seed with which every class has recordings in train and in test, or None.

    Parameters
    ----------
    groups
        Group of each recording.
    labels
        Class of each recording, for each label.
    """
    pairs = [{(value, group) for value, group in zip(values, groups, strict=True)} for values in labels]
    for number in range(SEEDS):
        draw = drawing(shares, number)
        split = {group: draw(group) for group in set(groups)}
        if all(
            {value for value, group in of if split[group] == wanted} == {value for value, _ in of}
            for of in pairs
            for wanted in ("train", "test")
        ):
            return number
    return None


def clip_seconds(lengths: Sequence[float]) -> float:
    """Return a length that nine of ten recordings have, rounded down to two digits, and at most `LONGEST`."""
    known = sorted(length for length in lengths if length > 0)
    if not known:
        return LONGEST / 2
    length = min(known[len(known) // 10], LONGEST)
    step = 0.1 if length >= 1 else 0.01
    return round(max(int(length / step + 1e-9) * step, step), 2)
