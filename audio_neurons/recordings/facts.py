"""Facts about recordings as they are, one row each: length, rate, channels, levels, clipping, defects.

They are measured on what preparation would keep, by its own decoder, so that a recording is unusable here for
the same reason as there. `recordings.checks` says what follows from them.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from audio_neurons import tables
from audio_neurons.datasets import registry as datasets
from audio_neurons.datasets.registry import Recording
from audio_neurons.recordings import audio, conversion, preparation
from audio_neurons.recordings.windows import Cut
from audio_neurons.running.digest import code_digest
from audio_neurons.running.files import atomic
from audio_neurons.running.parallel import in_order
from audio_neurons.running.runtime import progress, tell
from audio_neurons.settings.datasets import Sample, Windows
from audio_neurons.settings.section import serialise

# Samples in a row at full scale that count as clipped: as many as Audacity's "Find Clipping" begins at.
RUN = 3

# Full scale is the highest positive integer; of formats of 16 bits and more it is that of 16 bits, since a
# recording may have been clipped before it was converted.
FULL_SCALE = {"PCM_S8": 1 - 2**-7, "PCM_U8": 1 - 2**-7, "ULAW": 32124 / 2**15, "ALAW": 32256 / 2**15}
FULL_SCALE_OF_16_BITS = 1 - 2**-15

BEGINNING = 0.1  # seconds that are read for a header
LABEL = "label_"  # before the name of a label, which may be that of a fact
LEFT_OUT = "excluded: "  # beginning of the problem of a recording that is left out on purpose
_KEPT = b"audio_neurons_facts"  # key of a cache's metadata


@dataclass(frozen=True)
class Facts:
    """Facts about one recording, as docs/tables.md describes them; of an unusable one as far as known.

    Levels are in dB relative to full scale, of the mean of the channels: 0 dB is the peak of the largest, and
    the root mean square of a square wave of it.
    """

    format: str = ""
    encoding: str = ""
    rate: int = 0
    channels: int = 0
    seconds: float = math.nan
    kept: float = math.nan
    peak: float = math.nan
    rms: float = math.nan
    heard_peak: float = math.nan
    heard_rms: float = math.nan
    silence: float = math.nan
    clipped: float = math.nan
    mixdown: float = math.nan
    halvings: int = 0
    digest: str = ""
    problem: str = ""


MEASURED = tuple(field.name for field in fields(Facts))


def length(data: bytes | Path) -> float:
    """Return the seconds that a recording's header tells; NaN if it has none. Little more is read."""
    watch = _Watch()
    with suppress(audio.AudioError):
        audio.decode_scaled(data, BEGINNING, watch=watch)
    return watch.seconds


def measure(one: Cut, max_seconds: float, clip_seconds: float) -> Facts:
    """Decode a clip as preparation does, and return its facts.

    Parameters
    ----------
    one
        A recording, or a part of one: an event or a window.
    max_seconds
        Length that is kept, from the start.
    clip_seconds
        Length of it that a model hears.
    """
    watch = _Watch()
    try:
        recording, samples, halvings = conversion.samples_of(one, max_seconds, watch)
    except audio.AudioError as error:
        return Facts(**watch.facts(one.recording), problem=_why(one, error))
    heard = samples[: round(clip_seconds * tables.SAMPLE_RATE)]
    integers = np.rint(samples * 32768).astype("<i2")  # a digest of sound, not of its last bits
    return Facts(
        **watch.facts(recording),
        kept=len(samples) / tables.SAMPLE_RATE,
        peak=_decibel(float(np.abs(samples).max())),
        rms=_decibel(_rms(samples)),
        heard_peak=_decibel(float(np.abs(heard).max())),
        heard_rms=_decibel(_rms(heard)),
        silence=_silence(heard) / tables.SAMPLE_RATE,
        halvings=halvings,
        digest=hashlib.blake2b(integers.tobytes(), digest_size=16).hexdigest(),
    )


def _why(one: Cut, error: audio.AudioError) -> str:
    """Return the problem of a clip; a silent one of many windows is left out, as preparation does."""
    return f"{LEFT_OUT}silent window" if one.many and isinstance(error, audio.Silent) else str(error)


def _rms(samples: np.ndarray) -> float:
    return math.sqrt(np.square(samples, dtype=np.float64).mean())


def _silence(samples: np.ndarray) -> int:
    """Return how many samples are silent before the first sound and after the last."""
    loud = np.flatnonzero(np.abs(samples) >= audio.SILENCE)
    return len(samples) - (int(loud[-1] - loud[0]) + 1 if len(loud) else 0)


def _decibel(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


class _Watch:
    """Facts that the mean of the channels at 16 kHz no longer has, taken from each part as it is read."""

    def __init__(self) -> None:
        self._header: dict[str, str | int] = {}
        self.seconds = math.nan  # of the whole file, by its header
        self._frames, self._clipped = 0, 0
        self._squares: np.ndarray = np.zeros(0)
        self._mono = 0.0

    def __call__(self, file: soundfile.SoundFile, part: np.ndarray) -> None:
        if not self._header:
            self._header = {
                "format": file.format,
                "encoding": file.subtype,
                "rate": file.samplerate,
                "channels": file.channels,
            }
            self.seconds = file.frames / file.samplerate
            self._squares = np.zeros(file.channels)
            self._full = FULL_SCALE.get(file.subtype, FULL_SCALE_OF_16_BITS)
        self._frames += len(part)
        self._clipped += clipped_samples(part, self._full)
        if file.channels > 1:
            with np.errstate(over="ignore", invalid="ignore"):
                self._squares += np.square(part, dtype=np.float64).sum(axis=0)
                self._mono += float(np.square(part.mean(axis=1), dtype=np.float64).sum())

    def facts(self, recording: Recording) -> dict:
        if not self._header:
            return {}
        end = self.seconds if recording.offset is None else min(self.seconds, recording.offset)
        return {
            **self._header,
            "seconds": end - recording.onset,
            "clipped": self._clipped / (self._frames * int(self._header["channels"])),
            "mixdown": _lost(float(self._squares.max()), self._mono),
        }


def _lost(loudest: float, mean: float) -> float:
    """Return by how many dB the mean of channels is quieter than the loudest of them; 0 for one channel."""
    if not (loudest > 0 and math.isfinite(loudest)):
        return 0.0
    return 10 * math.log10(loudest / mean) if mean > 0 else math.inf


def clipped_samples(part: np.ndarray, full: float) -> int:
    """Return how many samples (frames, channels) stand in runs of at least `RUN` at ``full`` scale or above.

    A run that parts of a recording divide counts as two.
    """
    if not (part.max() >= full or part.min() <= -full):
        return 0
    at = np.zeros((len(part) + 2, part.shape[1]), bool)
    at[1:-1] = np.abs(part) >= full
    # Channel after channel; the borders of silence keep their runs apart.
    edges = np.flatnonzero(np.diff(at.T.reshape(-1).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= RUN].sum())


def read(
    adapter: str,
    archives: Mapping[str, Path | Sequence[Path]],
    *,
    max_seconds: float,
    clip_seconds: float,
    options: Mapping[str, object] = {},
    excluded: Mapping[str, str] | None = None,
    windows: Windows | None = None,
    sample: Sample | None = None,
    workers: int = 1,
    cache: Path | None = None,
    name: str | None = None,
) -> pd.DataFrame:
    """Return the facts about a dataset's recordings, one row for each clip, in its order.

    Columns are ``clip_id``, ``split``, ``fold``, ``group``, each label after `LABEL`, and those of `Facts`.

    Parameters
    ----------
    adapter, archives, options, excluded, windows, sample, workers, name
        As :func:`audio_neurons.recordings.preparation.prepare`.
    max_seconds, clip_seconds
        As :func:`measure`.
    cache
        File that keeps the facts. A sound file of the same path, size and time is not read again, nor are
        archives of which none has changed. It can be deleted at any time.

    Raises
    ------
    PreparationError, SampleError, DatasetError, ArchiveError
        As :func:`audio_neurons.recordings.preparation.prepare`; not for unusable recordings.
    """
    own = not datasets.source(adapter)["archives"]
    if excluded is None:
        excluded = datasets.source(adapter).get("excluded", {})
    asked: dict[str, Any] = {"options": options, "excluded": excluded, "windows": windows, "sample": sample}
    limits = (max_seconds, clip_seconds)
    known: list[Any] = [code_digest("recordings.facts"), *limits, windows]
    if not own:
        known += [code_digest(f"datasets.{adapter}"), asked, _stamps(archives)]
    store = _Cache(cache, hashlib.sha256(serialise(known).encode()).hexdigest())
    if not own and (found := store.all()) is not None:
        return found
    cuts = preparation.clips_of(adapter, archives, **asked, clip_seconds=clip_seconds, name=name)
    listed = list(cuts) if own else None
    rows: list[dict] = []

    def one(cut: Cut) -> dict:
        return store.row(cut, limits)

    found_rows = in_order(one, cuts if listed is None else listed, workers)
    total = None if listed is None else len(listed)
    try:
        for row in progress(found_rows, total, f"check {name or adapter}", "recordings"):
            rows.append(row)
    finally:
        # What was read of own recordings is kept if this is interrupted; archives are read as a whole.
        complete = bool(rows) and (listed is None or len(rows) == len(listed))
        if rows and (own or complete):
            store.write(pd.DataFrame(rows))
    return pd.DataFrame(rows).drop(columns=["path", "stamp"])


def _stamps(archives: Mapping[str, Path | Sequence[Path]]) -> list[list]:
    found = []
    for role, given in archives.items():
        for path in [given] if isinstance(given, str | os.PathLike) else given:
            facts = Path(path).stat()
            found.append([role, Path(path).name, facts.st_size, facts.st_mtime_ns])
    return found


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # gone since it was listed; reading it says so
        return None


class _Cache:
    """Rows of an earlier reading, by path; only of the same settings and code."""

    def __init__(self, file: Path | None, settings: str):
        self._file, self._settings = file, settings
        self._found: pd.DataFrame | None = None
        self._rows: dict[tuple[str, str], Sequence] = {}
        self._changed = False
        if file is not None and file.is_file():
            try:
                table = pq.read_table(file, page_checksum_verification=True)
            except (pa.ArrowInvalid, OSError):
                return  # damaged, or another file: made anew
            if (table.schema.metadata or {}).get(_KEPT) == settings.encode():
                self._found = table.to_pandas()
                keys = zip(self._found["path"], self._found["stamp"], strict=True)
                values = self._found[list(MEASURED)].itertuples(index=False, name=None)
                self._rows = {key: row for key, row in zip(keys, values, strict=True) if key[1]}

    def all(self) -> pd.DataFrame | None:
        return None if self._found is None else self._found.drop(columns=["path", "stamp"])

    def row(self, cut: Cut, limits: tuple[float, float]) -> dict:
        path, stamp, recording = "", "", cut.recording
        if isinstance(recording.data, Path) and (facts := _stat(recording.data)):
            place = [facts.st_size, facts.st_mtime_ns, recording.onset, recording.offset, cut.search]
            path, stamp = os.path.abspath(recording.data), " ".join(map(str, place))
        if isinstance(cut.problem, conversion.Excluded):
            path = stamp = ""
            measured: Sequence = astuple(Facts(problem=str(cut.problem)))
        else:
            known = self._rows.get((path, stamp)) if stamp else None
            self._changed |= known is None
            measured = known or astuple(measure(cut, *limits))
        fixed = {name: getattr(recording, name) for name in ("clip_id", "split", "fold", "group")}
        told = dict(zip(MEASURED, measured, strict=True))
        labels = {f"{LABEL}{label}": value for label, value in recording.labels.items()}
        return {**fixed, **labels, **told, "path": path, "stamp": stamp}

    def write(self, rows: pd.DataFrame) -> None:
        if self._file is None or not self._changed:
            return
        table = pa.Table.from_pandas(rows, preserve_index=False)
        try:
            with atomic(self._file) as temporary:
                pq.write_table(table.replace_schema_metadata({_KEPT: self._settings.encode()}), temporary)
        except OSError as error:
            tell(f"{self._file}: the facts are not kept for the next time ({error.strerror or error})")


def used(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the recordings that can be used."""
    return facts[facts["problem"] == ""]
