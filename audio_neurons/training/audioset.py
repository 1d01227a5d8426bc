"""AudioSet as a training pool: convert a folder of clips and Google's lists to Arrow parts.

Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017. Google
distributes the lists and no audio. The folder is laid out as EVAR's (nttcslab/eval-audio-repr)::

    class_labels_indices.csv
    {balanced_train,unbalanced_train,eval}_segments.csv
    {balanced_train,unbalanced_train,eval}_segments/**/<YTID><anything>.<wav, flac, ...>

``YTID`` is the first eleven characters of a file's name. Tags are machine identifiers ("/m/09x0r"), because
names of classes contain commas.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from audio_neurons import tables
from audio_neurons.datasets.registry import Recording
from audio_neurons.recordings.audio import AudioError
from audio_neurons.recordings.conversion import in_order
from audio_neurons.recordings.preparation import EXAMPLES, PreparationError, row_of, tell_scaled
from audio_neurons.running.runtime import progress
from audio_neurons.settings.training import AUDIOSET_SECONDS
from audio_neurons.training.packed import writer

CLASSES = "class_labels_indices.csv"
# Training set → its lists, with the split of each.
LISTS = {
    "balanced": {"balanced_train_segments": "train", "eval_segments": "test"},
    "balanced+unbalanced": {
        "balanced_train_segments": "train", "unbalanced_train_segments": "train", "eval_segments": "test",
    },
}  # fmt: skip
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au")
ID = 11  # characters
BLOCK = 10_000  # rows of a list written at once

NEEDED = """\
Google distributes AudioSet's lists and no audio. Put into that folder
  {lists}
    from storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/, and
  {folders}
    with a sound file per clip ({suffixes}; any rate; folders inside are searched too) whose name begins
    with the clip's YouTube identifier of eleven characters;
or set pools.{pool}.audioset.folder to the folder that has them. See docs/training.md about copies."""


def find(
    folder: Path, train: str, recordings: Path, missing: Path, *, max_missing: float, pool: str = "NAME"
) -> None:
    """List the clips of AudioSet that a folder contains, and those that are missing.

    Parameters
    ----------
    train
        ``balanced`` (AS-20K) or ``balanced+unbalanced`` (AS-2M).
    recordings, missing
        Tables to write: ``recordings``, and ``rejected`` for the clips without a file.
    max_missing
        Share of a list's clips that may be missing.
    pool
        Name of the pool in the configuration, for error messages.

    Raises
    ------
    PreparationError
        If the folder or a list does not exist, a list has another format, or too many clips are missing.
    """
    _demand(folder, train, pool)
    known = _classes(folder / CLASSES)
    with tables.writer(recordings, "recordings") as found, tables.writer(missing, "rejected") as lost:
        for name, split in LISTS[train].items():
            files = _files(folder, name)
            here, gone = [], []
            for clip, tags in _rows(folder / f"{name}.csv", known):
                if clip in files:
                    here.append({"clip_id": clip, "path": files[clip], "split": split, "tags": tags})
                else:
                    gone.append({"clip_id": clip, "reason": f"no file in {name}"})
            for table, rows in ((found, here), (lost, gone)):
                for start in range(0, len(rows), BLOCK):
                    block = rows[start : start + BLOCK]
                    table.append({column: [row[column] for row in block] for column in block[0]})
            total = len(here) + len(gone)
            print(f"{name}: {len(here)} of {total} clips")
            if not here or len(gone) > max_missing * total:
                raise PreparationError(
                    f"{folder / name} has files of {len(here)} of the {total} clips in {name}.csv; "
                    f"pools.{pool}.audioset.max_missing allows {max_missing:.1%} to be missing. File "
                    "names must begin with the clip's identifier; the first clips without a file: "
                    f"{', '.join(row['clip_id'] for row in gone[:5])}"
                )


def _demand(folder: Path, train: str, pool: str) -> None:
    lists = [CLASSES, *(f"{name}.csv" for name in LISTS[train])]
    absent = [name for name in lists if not (folder / name).is_file()]
    absent += [f"{name}/" for name in LISTS[train] if not (folder / name).is_dir()]
    if absent:
        what = f"no folder {folder}" if not folder.is_dir() else f"{folder} has no {', '.join(absent)}"
        folders = ", ".join(f"{name}/" for name in LISTS[train])
        raise PreparationError(
            f"{what}.\n" + NEEDED.format(
                lists=", ".join(lists), folders=folders, suffixes=", ".join(SUFFIXES), pool=pool
            )
        )  # fmt: skip


def _classes(path: Path) -> set[str]:
    """Read the identifiers of the classes from ``index,mid,display_name``."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not rows[0].get("mid"):
        raise PreparationError(f"{path}: no column 'mid', or no rows")
    return {row["mid"] for row in rows}


def _rows(path: Path, known: set[str]) -> Iterator[tuple[str, str]]:
    """Yield identifier and tags of every row ``YTID, start, end, "mid,mid"``; skip comment lines."""
    seen: set[str] = set()
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True)
        for row in reader:
            if not row or row[0].startswith("#"):
                continue
            where = f"{path}, line {reader.line_num}"
            if len(row) != 4 or len(row[0]) != ID:
                raise PreparationError(f'{where}: not YTID, start, end, "classes": {", ".join(row)}')
            if row[0] in seen:
                raise PreparationError(f"{where}: {row[0]} is listed twice")
            if unknown := [tag for tag in row[3].split(",") if tag not in known]:
                raise PreparationError(f"{where}: class {unknown[0]} is not in {CLASSES}")
            seen.add(row[0])
            yield row[0], row[3]


def _files(folder: Path, name: str) -> dict[str, str]:
    """Return identifier → path below ``folder`` of its sound file, the first by name if there are several."""
    files: dict[str, str] = {}
    for place, _, names in os.walk(folder / name):
        for file in names:
            if file.lower().endswith(SUFFIXES) and not file.startswith("."):
                path = os.path.relpath(os.path.join(place, file), folder)
                files[file[:ID]] = min(path, files.get(file[:ID], path))
    return files


def pack(
    folder: Path, recordings: Path, part: Path, rejected: Path, *,
    shard: int = 0, shards: int = 1, max_rejected: float = 0.01, workers: int = 1, name: str = "audioset",
) -> None:  # fmt: skip
    """Convert every ``shards``-th recording, from the ``shard``-th on, to an Arrow part of 16 kHz mono FLAC.

    Parameters
    ----------
    recordings
        Table written by `find`.
    part, rejected
        Files to write: the clips (see `packed`), and the table of recordings that cannot be used.
    max_rejected
        Share of the recordings that may be unusable.
    workers
        Decoding threads; their number does not change the result.

    Raises
    ------
    PreparationError
        If too many recordings are unusable.
    """
    rows = tables.read(recordings, "recordings").iloc[shard::shards].to_dict("records")
    refused: list[tuple[str, str]] = []
    scaled: list[tuple[str, int]] = []
    with writer(part) as append:
        decoded = in_order((_recording(folder, row) for row in rows), AUDIOSET_SECONDS, workers)
        for recording, clip in progress(decoded, len(rows), f"pack {name}, shard {shard}", "clips"):
            if isinstance(clip, AudioError):
                refused.append((recording.clip_id, str(clip)))
                continue
            append(row_of(recording, clip))
            if clip.halvings:
                scaled.append((recording.clip_id, clip.halvings))
        if len(refused) > max_rejected * len(rows):
            examples = "".join(f"\n  {clip}: {reason}" for clip, reason in refused[:EXAMPLES])
            raise PreparationError(
                f"{len(refused)} of {len(rows)} recordings of shard {shard} cannot be used; "
                f"`preparation.max_rejected` allows {max_rejected:.1%}. The first:{examples}"
            )
    tell_scaled(f"{name}, shard {shard}", scaled, len(rows) - len(refused))
    with tables.writer(rejected, "rejected") as table:
        table.append({"clip_id": [clip for clip, _ in refused], "reason": [why for _, why in refused]})


def _recording(folder: Path, row: dict[str, str]) -> Recording:
    clip, path = row["clip_id"], folder / row["path"]
    return Recording(clip_id=clip, data=path, split=row["split"], group=clip, labels={"tags": row["tags"]})
