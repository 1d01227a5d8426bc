"""Conversion of recordings, or parts of them, to FLAC, in parallel and in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from audio_neurons import tables
from audio_neurons.datasets.registry import Recording
from audio_neurons.recordings import audio
from audio_neurons.recordings.windows import Cut, loudest
from audio_neurons.running import parallel


class Excluded(audio.AudioError):
    """A recording is left out on purpose; the message is the reason."""


class SilentWindow(Excluded):
    """One of the windows of a recording is silent."""


class Clip(NamedTuple):
    """Recording as it is stored: its halvings, its file's rate (Hz), and what is not as its header says."""

    flac: bytes
    frames: int
    halvings: int = 0
    rate: int = tables.SAMPLE_RATE
    notes: tuple[str, ...] = ()


def in_order(
    recordings: Iterable[Recording], seconds: float, workers: int
) -> Iterator[tuple[Recording, Clip | audio.AudioError]]:
    """Convert recordings in parallel, a bounded number at a time, and yield them in input order."""
    return convert(map(Cut, recordings), seconds, workers)


def convert(
    cuts: Iterable[Cut], seconds: float, workers: int, rate: int = tables.SAMPLE_RATE
) -> Iterator[tuple[Recording, Clip | audio.AudioError]]:
    """Convert parts of recordings as :func:`in_order` does; those of one file are read from it at once."""
    one = partial(_converted, seconds=seconds, rate=rate)
    for together in parallel.in_order(one, _together(cuts, seconds), workers):
        yield from together


def _converted(
    cuts: Sequence[Cut], seconds: float, rate: int
) -> list[tuple[Recording, Clip | audio.AudioError]]:
    """Convert clips of one file to FLAC; beside a clip that is not used stands the reason."""
    found: list[tuple[Recording, Clip | audio.AudioError]] = []
    if (problem := cuts[0].problem) is not None:
        return [(cuts[0].recording, problem)]
    try:
        with audio.opened(cuts[0].recording.data) as file:
            for recording, search, many, _ in cuts:
                found.append(_clip(recording, file, seconds, search, many, rate))
    except audio.AudioError as error:
        # Of an unreadable file, or unreadable from here on.
        found += ((one.recording, error) for one in cuts[len(found) :])
    return found


def _clip(
    recording: Recording,
    file: soundfile.SoundFile,
    seconds: float,
    search: float | None,
    many: bool,
    rate: int,
) -> tuple[Recording, Clip | audio.AudioError]:
    try:
        recording, samples, halvings = _part(recording, file, seconds, search, rate)
        encoded, notes = audio.encode(samples, rate), tuple(file.notes)
        return recording, Clip(encoded, len(samples), halvings, file.samplerate, notes)
    except audio.Silent as error:
        return recording, SilentWindow("silent window") if many else error
    except audio.AudioError as error:
        return recording, error


def _part(
    recording: Recording,
    file: soundfile.SoundFile,
    seconds: float,
    search: float | None,
    rate: int = tables.SAMPLE_RATE,
    watch: audio.Watch | None = None,
) -> tuple[Recording, np.ndarray, int]:
    """Return a clip's recording, where it was found if that is to be searched, its samples, and halvings."""
    recording = recording if search is None else loudest(recording, file, search)
    offset = recording.offset
    own = seconds if offset is None else min(seconds, offset - recording.onset)
    return recording, *audio.excerpt(file, recording.onset, own, rate, watch)


def _together(cuts: Iterable[Cut], seconds: float) -> Iterator[list[Cut]]:
    """Yield clips that are read from one opened file: neighbours that have so many seconds together."""
    waiting: list[Cut] = []
    length = 0.0
    for one in cuts:
        recording = one.recording
        own = seconds if recording.offset is None else recording.offset - recording.onset
        whole = one.problem is not None or one.search is not None
        if waiting and (whole or length + own > seconds or not _same(waiting[-1].recording, recording)):
            yield waiting
            waiting, length = [], 0.0
        waiting.append(one)
        length += seconds if whole else own
    if waiting:
        yield waiting


def _same(one: Recording, other: Recording) -> bool:
    """Return whether two clips are of one file."""
    return one.data is other.data or (isinstance(one.data, Path) and one.data == other.data)


def samples_of(
    one: Cut, max_seconds: float, watch: audio.Watch | None = None
) -> tuple[Recording, np.ndarray, int]:
    """Decode a clip as :func:`convert` does: its recording, samples at 16 kHz, and number of halvings.

    Raises
    ------
    AudioError
        If it cannot be used.
    """
    if one.problem is not None:
        raise one.problem
    with audio.opened(one.recording.data) as file:
        return _part(one.recording, file, max_seconds, one.search, watch=watch)
