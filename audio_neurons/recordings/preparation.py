"""Conversion of archives to clips: mono FLAC in Parquet shards, with labels, splits and groups."""

from __future__ import annotations

import csv
import fnmatch
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from audio_neurons import tables
from audio_neurons.datasets import registry as datasets
from audio_neurons.datasets.registry import NO_SPLIT, SPLITS, Recording, reader, source
from audio_neurons.recordings import audio, sampling
from audio_neurons.recordings.conversion import Clip, Excluded, SilentWindow, convert
from audio_neurons.recordings.counting import Inventory
from audio_neurons.recordings.windows import Cut, Tally, cut
from audio_neurons.running.files import atomic
from audio_neurons.running.runtime import progress, tell
from audio_neurons.settings.datasets import Sample, Windows

ROWS = 64  # clips per row group: about 10 MB, the unit in which extraction reads clips
EXAMPLES = 20  # rejected recordings that an error message names
# Clips by which a shard may be ahead of the smallest before its group continues there: more than most
# speakers and instruments have, and few against the thousands of a shard.
AHEAD = 256


class PreparationError(RuntimeError):
    """A dataset could not be prepared; the message says what to check or change."""


@dataclass(frozen=True)
class Summary:
    """Numbers of clips written, recordings rejected and excluded; seconds of the clips; clips scaled."""

    clips: int
    rejected: int
    excluded: int
    seconds: float
    scaled: int = 0


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
    windows: Windows | None = None,
    clip_seconds: float | None = None,
    sample: Sample | None = None,
    inventory: Path | None = None,
    rate: int = tables.SAMPLE_RATE,
) -> Summary:
    """Decode a dataset's recordings into tables of clips, written atomically.

    A recording is one clip, or its windows are. Of a sample, only the clips that are drawn are decoded; its
    archives are then read twice, first for the names. Clips of a group go to the same shard as long as that
    keeps the shards of similar size (`Dealer`). The result does not depend on ``workers``. Memory holds one
    row group per shard and a few clips per worker, whatever the dataset's size; and of a sample all names.

    Parameters
    ----------
    adapter
        Name of the dataset's module.
    archives
        Path of each archive by role; a list of paths for a role of many small files.
    parts, rejected
        Tables to write: shards of ``clips``, and the unused recordings with the reason.
    max_rejected
        Largest allowed share of unusable recordings; those left out on purpose do not count.
    max_seconds
        Length to which longer recordings are cut.
    workers
        Threads that decode and encode (both release the GIL).
    options
        Options of the adapter; they override those of the dataset's YAML file.
    excluded
        Recordings to leave out: shell pattern of the ``clip_id`` → reason. ``None`` for the patterns
        of the dataset's YAML file.
    name
        Name of the dataset in progress and errors; by default the module's name.
    windows, clip_seconds
        Which parts of the recordings are clips, and their length; windows other than the start need one.
    sample
        Draw of some of the clips; recordings that are left out by ``excluded`` are not drawn.
    inventory
        Table to write: clips by label, class and split, before and after the sample.
    rate
        Sampling rate of the clips, in Hz. The same recordings are usable at every rate.

    Raises
    ------
    PreparationError
        If there are no recordings, two have the same ``clip_id``, a label or an archive is missing, an
        option is unknown, all recordings are left out, or too many are unusable. In the last case,
        ``<rejected>.failed.csv`` lists them.
    SampleError
        If the sample has fewer clips than classes, or no training clip.
    DatasetError, ArchiveError
        If an archive has an unexpected layout, or is damaged.
    """
    if not parts:
        raise ValueError("no parts to write to")
    paths = {role: _paths(given) for role, given in archives.items()}
    labels = datasets.labels(adapter, paths, options)
    if excluded is None:
        excluded = source(adapter).get("excluded", {})
    windows = windows or Windows()
    seconds = max_seconds if clip_seconds is None else clip_seconds

    def cuts(tally: Tally | None = None) -> Iterator[Cut]:
        recordings = _checked(_open(adapter, paths, options), adapter, labels)
        return _kept(recordings, excluded, windows, seconds, tally)

    chosen = None if sample is None else _drawn(cuts(), sample, name or adapter)
    listing = Path(f"{rejected}.failed.csv")
    listing.unlink(missing_ok=True)
    unused: list[tuple[str, audio.AudioError]] = []
    # Patterns of the YAML file are not reported: they cover every version of the dataset.
    in_vain = set(excluded) - set(source(adapter).get("excluded", {}))
    scaled: list[tuple[str, int]] = []
    clips = frames = cropped = slower = 0
    counted, tally = Inventory(), Tally()
    noted: list[tuple[str, str]] = []
    dealer = Dealer(len(parts))
    with ExitStack() as stack:
        shards = [_Shard(stack.enter_context(tables.writer(p, "clips", labels)), labels) for p in parts]
        converted = convert(counted.of(cuts(tally), chosen, Excluded), max_seconds, workers, rate)
        for recording, clip in progress(converted, None, f"prepare {name or adapter}", "recordings"):
            if isinstance(clip, audio.AudioError):
                unused.append((recording.clip_id, clip))
                in_vain.difference_update(p for p in excluded if fnmatch.fnmatchcase(recording.clip_id, p))
                continue
            shards[dealer.part(recording.group)].add(recording, clip)
            counted.add(recording.labels, recording.split)
            cropped += _lacks(recording, clip, max_seconds, rate)
            clips, frames = clips + 1, frames + clip.frames
            slower += clip.rate < rate
            if clip.halvings:
                scaled.append((recording.clip_id, clip.halvings))
            noted += [(recording.clip_id, note) for note in clip.notes]
        refused = [(clip_id, str(why)) for clip_id, why in unused if not isinstance(why, Excluded)]
        _judge(name or adapter, clips, refused, max_rejected, listing, paths.get("files"))
        for shard in shards:
            shard.flush()
        table = stack.enter_context(tables.writer(rejected, "rejected"))
        table.append({"clip_id": [i for i, _ in unused], "reason": [str(why) for _, why in unused]})
        if inventory is not None:
            stack.enter_context(tables.writer(inventory, "inventory")).append(counted.table())
    if in_vain:
        tell(f"{name or adapter}: no recording matches {', '.join(sorted(in_vain))} (`excluded`)")
    told = [tally.words(windows, seconds), *counted.words(sample), _silent_windows(unused)]
    told += [f"{cropped} clips end before their offset, where their files end"] * bool(cropped)
    for line in filter(None, told):
        tell(f"{name or adapter}: {line}")
    tell_scaled(name or adapter, scaled, clips)
    if slower and rate != tables.SAMPLE_RATE:
        tell(
            f"{name or adapter}: {slower} of {clips} recordings have a sampling rate below the {rate} Hz of "
            "their clips: above half of their own rate, a model hears nothing of them"
        )
    tell_noted(name or adapter, noted, clips)
    return Summary(clips, len(refused), len(unused) - len(refused), frames / rate, len(scaled))


def _kept(
    recordings: Iterable[Recording],
    excluded: Mapping[str, str],
    windows: Windows,
    seconds: float,
    tally: Tally | None,
) -> Iterator[Cut]:
    """Yield the clips of all recordings; one that is left out on purpose is one clip with that problem."""
    for recording in recordings:
        reason = next((why for p, why in excluded.items() if fnmatch.fnmatchcase(recording.clip_id, p)), None)
        if recording.left_out:
            yield Cut(recording, problem=Excluded(recording.left_out))
        elif recording.fault and not recording.data:
            yield Cut(recording, problem=audio.AudioError(recording.fault))
        elif reason is not None:
            yield Cut(recording, problem=Excluded(f"excluded: {reason}"))
        else:
            yield from cut([recording], windows, seconds, tally)


def _drawn(cuts: Iterable[Cut], sample: Sample, name: str) -> frozenset[str]:
    """Return the clips of a sample; those that turn out unusable are drawn too, and are not replaced."""
    candidates = [
        sampling.Candidate(r.clip_id, r.group, r.split, r.labels)
        for r, *_, problem in progress(cuts, None, f"list {name}", "clips")
        if not isinstance(problem, Excluded)
    ]
    if not candidates:
        return frozenset()
    if sample.per and sample.whole_groups and (mixed := sampling.mixed(candidates, sample.per)):
        tell(
            f"{name}: {mixed} groups have clips of several classes of {sample.per}; in the draw, a group is "
            "of the class of most of its clips"
        )
    return sampling.draw(candidates, sample)


def _lacks(recording: Recording, clip: Clip, seconds: float, rate: int) -> bool:
    """Return whether a file ends some 10 ms and more before the offset of a clip."""
    offset = recording.offset
    wanted = 0.0 if offset is None else min(seconds, offset - recording.onset)
    return clip.frames < (wanted - 0.01) * rate


def _silent_windows(unused: Sequence[tuple[str, audio.AudioError]]) -> str:
    silent = [clip_id for clip_id, why in unused if isinstance(why, SilentWindow)]
    examples = f"{', '.join(silent[:3])}{', ...' if len(silent) > 3 else ''}"
    return f"{len(silent)} windows are silent, and left out: {examples}" if silent else ""


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
    """Yield recordings, after checking identifiers, splits and labels (see `Recording`)."""
    seen: set[str] = set()  # identifiers only: tens of megabytes for the largest dataset
    for recording in recordings:
        where = f"{adapter}: recording '{recording.clip_id}'"
        if recording.clip_id in seen:
            raise PreparationError(f"{where} occurs twice; is an archive given in two roles?")
        seen.add(recording.clip_id)
        if recording.left_out:
            yield recording
            continue
        if recording.split not in (*SPLITS, NO_SPLIT):
            raise PreparationError(f"{where}: split '{recording.split}' is not one of {', '.join(SPLITS)}")
        if set(recording.labels) != set(labels):
            raise PreparationError(f"{where}: labels {sorted(recording.labels)}, expected {sorted(labels)}")
        for label, value in recording.labels.items():
            if not isinstance(value, str) or not value.strip():
                raise PreparationError(f"{where}: no value for label '{label}'")
        yield recording
    if not seen:
        raise PreparationError(f"{adapter}: its archives hold no recordings")


def tell_scaled(name: str, scaled: Sequence[tuple[str, int]], clips: int) -> None:
    """Tell which recordings, of so many, went beyond full scale: names and numbers of halvings."""
    if not scaled:
        return
    strongest = sorted(scaled, key=lambda one: -one[1])
    least, most = 2 ** strongest[-1][1], 2 ** strongest[0][1]
    examples = ", ".join(f"{clip_id} (1/{2**halvings})" for clip_id, halvings in strongest[:3])
    tell(
        f"{name}: {len(scaled)} of {clips} recordings go beyond full scale and are stored at 1/{least}"
        f"{f' to 1/{most}' if most > least else ''} of their level, which keeps their shape: {examples}"
        f"{', ...' if len(scaled) > 3 else ''}"
    )


def tell_noted(name: str, noted: Sequence[tuple[str, str]], clips: int) -> None:
    """Tell which recordings, of so many, are damaged or of another length than their headers say."""
    if noted:
        examples = "; ".join(f"{clip_id}: {note}" for clip_id, note in noted[:EXAMPLES])
        tell(
            f"{name}: {len({clip_id for clip_id, _ in noted})} of {clips} recordings are damaged, or not as "
            f"long as their headers say, and are read as far as they go: {examples}"
            f"{'; ...' if len(noted) > EXAMPLES else ''}"
        )


class Dealer:
    """Assignment of clips to shards that keeps each group in as few shards as possible.

    A group stays in one shard until that shard is `AHEAD` clips ahead of the smallest one; the group
    then continues in the smallest. The memory of extraction grows with the number of groups in a shard,
    and dealing clips out one by one would put every group into every shard.
    """

    def __init__(self, parts: int):
        self._clips = [0] * parts
        self._part_of: dict[str, int] = {}

    def part(self, group: str) -> int:
        """Return the shard for the next clip, which belongs to ``group``, and count the clip."""
        least = self._clips.index(min(self._clips))
        part = self._part_of.get(group, least)
        if self._clips[part] - self._clips[least] >= AHEAD:
            part = least
        self._part_of[group] = part
        self._clips[part] += 1
        return part


def row_of(recording: Recording, clip: Clip) -> dict:
    """Return a clip's row of the table ``clips``: column → value."""
    fixed = {name: getattr(recording, name) for name in ("clip_id", "split", "fold", "group")}
    return {**fixed, "audio": clip.flac, "frames": clip.frames, **recording.labels}


class _Shard:
    """Buffer that writes clips to a table in row groups."""

    def __init__(self, writer: tables.Writer, labels: Sequence[str]):
        self._writer, self._names = writer, tables.schema_of("clips", labels).names
        self._rows: list[dict] = []

    def add(self, recording: Recording, clip: Clip) -> None:
        self._rows.append(row_of(recording, clip))
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
    """Raise, and write a listing, if too many recordings were rejected; ``own``: the user's own files."""
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


def clips_of(
    adapter: str,
    archives: Mapping[str, Path | Sequence[Path]],
    *,
    options: Mapping[str, object] = {},
    excluded: Mapping[str, str] = {},
    windows: Windows | None = None,
    clip_seconds: float = 0.0,
    sample: Sample | None = None,
    name: str | None = None,
) -> Iterator[Cut]:
    """Yield the clips that :func:`prepare` decodes, and those that are left out on purpose, in its order.

    Raises
    ------
    PreparationError, SampleError, DatasetError, ArchiveError
        As :func:`prepare`.
    """
    paths = {role: _paths(given) for role, given in archives.items()}
    labels = datasets.labels(adapter, paths, options)

    def cuts() -> Iterator[Cut]:
        recordings = _checked(_open(adapter, paths, options), adapter, labels)
        return _kept(recordings, excluded, windows or Windows(), clip_seconds, None)

    chosen = None if sample is None else _drawn(cuts(), sample, name or adapter)
    for one in cuts():
        if chosen is None or one.recording.clip_id in chosen or isinstance(one.problem, Excluded):
            yield one
