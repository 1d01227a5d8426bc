"""From archives to clips: 16 kHz mono FLAC in Parquet shards, with labels, splits and groups."""

from __future__ import annotations

import csv
import fnmatch
import inspect
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from audio_neurons import audio, datasets, tables
from audio_neurons.datasets import SPLITS, Recording, reader, source
from audio_neurons.files import atomic
from audio_neurons.runtime import progress, tell

ROWS = 64  # clips per row group: some 10 MB, the unit in which extraction reads them
IN_FLIGHT = 4  # recordings per worker that wait or are being decoded
EXAMPLES = 20  # refused recordings that an error names
# Clips by which a part may be ahead of another before a group is continued elsewhere: more than most
# speakers and instruments have, and little beside the thousands of a part.
AHEAD = 256


class PreparationError(RuntimeError):
    """A dataset could not be prepared; the message says what to look at or change."""


class Excluded(audio.AudioError):
    """A recording that is left out on purpose; the message is the reason."""


@dataclass(frozen=True)
class Summary:
    """What was prepared: numbers of clips, of recordings refused and left out, and the clips' seconds."""

    clips: int
    rejected: int
    excluded: int
    seconds: float


def prepare(
    adapter: str,
    archives: Mapping[str, Path | Sequence[Path]],
    parts: Sequence[Path],
    rejected: Path,
    *,
    max_rejected: float = 0.01,
    max_seconds: float = 60.0,
    workers: int = 1,
    options: Mapping[str, object] = {},
    excluded: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Summary:
    """Decode a dataset's recordings into tables of clips; every table appears, or none does.

    Clips of a group go to the same part as far as that keeps the parts alike (`Dealer`). The result
    does not depend on ``workers``; memory holds a row group per part and a few recordings per worker,
    whatever the dataset's size.

    Parameters
    ----------
    adapter
        Name of the dataset's module.
    archives
        Path of each archive by its role; a list of paths for a role of many small files.
    parts, rejected
        Tables to write: ``clips`` shards, and the recordings that are not used with the reason.
    max_rejected
        Share of the recordings that may be unusable; those left out on purpose do not count.
    max_seconds
        Longer recordings are stored from their start up to this length.
    workers
        Threads that decode (the decoder and the encoder both release Python's lock).
    options
        The adapter's own options; they override those of the dataset's YAML file.
    excluded
        Recordings to leave out: shell patterns of their ``clip_id``, each with the reason. ``None``
        for those of the dataset's YAML file.
    name
        What progress and errors call the dataset; by default as its module.

    Raises
    ------
    PreparationError
        If there are no recordings, two of the same ``clip_id``, a label is missing, an option or a
        role is unknown, all recordings are left out, or too many are unusable; then these are listed
        in ``<rejected>.failed.csv``.
    DatasetError, ArchiveError
        If an archive has another layout, or is damaged.
    """
    if not parts:
        raise ValueError("no parts to write to")
    paths = {role: _paths(given) for role, given in archives.items()}
    labels = datasets.labels(adapter, paths)
    recordings = _checked(_open(adapter, paths, options), adapter, labels)
    if excluded is None:
        excluded = source(adapter).get("excluded", {})
    listing = Path(f"{rejected}.failed.csv")
    listing.unlink(missing_ok=True)
    unused: list[tuple[str, audio.AudioError]] = []
    in_vain = set(excluded) - set(source(adapter).get("excluded", {}))  # of all that a dataset ever was
    clips, frames = 0, 0
    dealer = Dealer(len(parts))
    with ExitStack() as stack:
        shards = [_Shard(stack.enter_context(tables.writer(p, "clips", labels)), labels) for p in parts]
        converted = in_order(recordings, max_seconds, workers, excluded)
        for recording, clip in progress(converted, None, f"prepare {name or adapter}", "recordings"):
            if isinstance(clip, audio.AudioError):
                unused.append((recording.clip_id, clip))
                in_vain.difference_update(p for p in excluded if fnmatch.fnmatchcase(recording.clip_id, p))
                continue
            shards[dealer.part(recording.group)].add(recording, *clip)
            clips, frames = clips + 1, frames + clip[1]
        refused = [(clip_id, str(why)) for clip_id, why in unused if not isinstance(why, Excluded)]
        _judge(name or adapter, clips, refused, max_rejected, listing, paths.get("files"))
        for shard in shards:
            shard.flush()
        table = stack.enter_context(tables.writer(rejected, "rejected"))
        table.append({"clip_id": [i for i, _ in unused], "reason": [str(why) for _, why in unused]})
    if in_vain:
        tell(f"{name or adapter}: no recording is called like {', '.join(sorted(in_vain))} (`excluded`)")
    return Summary(clips, len(refused), len(unused) - len(refused), frames / tables.SAMPLE_RATE)


def _paths(given: str | Path | Sequence[str | Path]) -> Path | list[Path]:
    return Path(given) if isinstance(given, str | os.PathLike) else [Path(path) for path in given]


def _open(
    adapter: str, archives: Mapping[str, Path | list[Path]], options: Mapping[str, object]
) -> Iterator[Recording]:
    facts = source(adapter)
    if missing := [role for role in facts["archives"] if role not in archives]:
        raise PreparationError(f"{adapter}: no archive given as {', '.join(missing)}")
    recordings = reader(adapter)
    known = [n for n, p in inspect.signature(recordings).parameters.items() if p.kind is p.KEYWORD_ONLY]
    options = {**facts.get("options", {}), **options}
    if unknown := [name for name in options if name not in known]:
        raise PreparationError(
            f"{adapter}: unknown option {', '.join(unknown)}; there are: {', '.join(known) or 'none'}"
        )
    return recordings(archives, **options)


def _checked(recordings: Iterable[Recording], adapter: str, labels: Sequence[str]) -> Iterator[Recording]:
    """Pass on recordings that keep what `Recording` promises."""
    seen: set[str] = set()  # identifiers only: tens of megabytes for the largest dataset
    for recording in recordings:
        where = f"{adapter}: recording '{recording.clip_id}'"
        if recording.clip_id in seen:
            raise PreparationError(f"{where} occurs twice; is an archive given in two roles?")
        seen.add(recording.clip_id)
        if recording.split not in SPLITS:
            raise PreparationError(f"{where}: split '{recording.split}' is none of {', '.join(SPLITS)}")
        if set(recording.labels) != set(labels):
            raise PreparationError(f"{where}: labels {sorted(recording.labels)}, expected {sorted(labels)}")
        for label, value in recording.labels.items():
            if not isinstance(value, str) or not value.strip():
                raise PreparationError(f"{where}: no value for label '{label}'")
        yield recording
    if not seen:
        raise PreparationError(f"{adapter}: its archives hold no recordings")


def _convert(
    recording: Recording, seconds: float, excluded: Mapping[str, str]
) -> tuple[bytes, int] | audio.AudioError:
    """A recording as FLAC, with its frames; or why it is not used."""
    for pattern, reason in excluded.items():
        if fnmatch.fnmatchcase(recording.clip_id, pattern):
            return Excluded(f"excluded: {reason}")
    try:
        samples = audio.decode(recording.data, seconds)
        return audio.encode(samples), len(samples)
    except audio.AudioError as error:
        return error


def in_order(
    recordings: Iterable[Recording], seconds: float, workers: int, excluded: Mapping[str, str] = {}
) -> Iterator[tuple[Recording, tuple[bytes, int] | audio.AudioError]]:
    """Decode recordings side by side, a bounded number at a time, and yield them in their order."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for recording in recordings:
            waiting.append((recording, pool.submit(_convert, recording, seconds, excluded)))
            if len(waiting) >= IN_FLIGHT * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for recording, future in waiting:
            yield recording, future.result()


class Dealer:
    """Deals clips out to parts: a group's to one part, while none is more than `AHEAD` clips ahead.

    What extraction keeps of a part grows with the groups in it: dealt out one by one, every group would
    be in every part. A group too large for that goes on in the part that has fewest clips.
    """

    def __init__(self, parts: int):
        self._clips = [0] * parts
        self._part_of: dict[str, int] = {}

    def part(self, group: str) -> int:
        """The part that takes the next clip, which is of ``group``."""
        least = self._clips.index(min(self._clips))
        part = self._part_of.get(group, least)
        if self._clips[part] - self._clips[least] >= AHEAD:
            part = least
        self._part_of[group] = part
        self._clips[part] += 1
        return part


def row_of(recording: Recording, flac: bytes, frames: int) -> dict:
    """A clip's row of the table ``clips``, by column."""
    fixed = {name: getattr(recording, name) for name in ("clip_id", "split", "fold", "group")}
    return {**fixed, "audio": flac, "frames": frames, **recording.labels}


class _Shard:
    """Collects clips and writes them in row groups."""

    def __init__(self, writer: tables.Writer, labels: Sequence[str]):
        self._writer, self._names = writer, tables.schema_of("clips", labels).names
        self._rows: list[dict] = []

    def add(self, recording: Recording, flac: bytes, frames: int) -> None:
        self._rows.append(row_of(recording, flac, frames))
        if len(self._rows) == ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.append({name: [row[name] for row in self._rows] for name in self._names})
            self._rows = []


def _judge(
    name: str,
    clips: int,
    refused: list[tuple[str, str]],
    share: float,
    listing: Path,
    own: Path | list[Path] | None,
) -> None:
    """Raise, and leave a listing, if too many recordings were refused; ``own`` are the user's own files."""
    total = clips + len(refused)
    if clips and len(refused) <= share * total:
        return
    if not total:
        raise PreparationError(f"{name}: all recordings are left out (`excluded`)")
    with atomic(listing) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("clip_id", "reason"), *refused])
    examples = "".join(f"\n  {clip_id}: {reason}" for clip_id, reason in refused[:EXAMPLES])
    raise PreparationError(
        f"{name}: {len(refused)} of {total} recordings ({len(refused) / total:.1%}) cannot be used; "
        f"`preparation.max_rejected` allows {share:.1%}. All of them are listed in {listing.resolve()}; "
        f"the first:{examples}\nRemedy: {_remedy(own)}; otherwise raise `preparation.max_rejected`."
    )


def _remedy(own: Path | list[Path] | None) -> str:
    if not isinstance(own, Path):
        return "replace the archive if it is damaged or incomplete"
    if own.is_dir():
        return f"replace these files in {own.resolve()}, or take them out"
    return f"correct them in {own.resolve()} (paths are relative to its folder), or take them out"
