"""Windows: which parts of a recording become clips, and where they are.

A window is as long as what the encoder hears (``clip_seconds``). Places are frames at the recording's own
rate, inside the part of the file that the recording is (``onset`` to ``offset``: an event). A recording that
is not longer than a window is one clip under its own name; a window is called ``RECORDING@START``, in seconds
of the file.

``centre``
    As much is left out before the window as behind it (behind it one frame more, if the number is odd).
``loudest``
    The window of the largest mean square, of the mean of the channels, among those that start at multiples
    of a tenth of a window; of equal ones the first. Less than that tenth may be left over at the end.
``every``
    Windows that start at multiples of ``every`` and end inside the recording; the rest behind is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import soundfile

from audio_neurons.datasets.registry import Recording
from audio_neurons.recordings import audio
from audio_neurons.settings.datasets import Windows

STEPS = 10  # starts of candidates for the loudest window, in the length of a window
UNKNOWN = 1 << 40  # frames from which on a header does not tell a length


class Cut(NamedTuple):
    """A clip that is to be decoded: ``recording`` has its name, onset and offset.

    ``search``: its start is still to be looked for, as the loudest window of so many seconds. ``many``: it is
    one of several windows, of which a silent one is left out and is no fault. ``problem``: why it cannot be
    decoded.
    """

    recording: Recording
    search: float | None = None
    many: bool = False
    problem: audio.AudioError | None = None


@dataclass
class Tally:
    """What the windows of a dataset hear; in seconds."""

    recordings: int = 0
    short: int = 0
    windows: int = 0
    total: float = 0.0
    heard: float = 0.0

    def words(self, windows: Windows, seconds: float) -> str:
        """Return a line about all recordings, or about none an empty one."""
        if not self.recordings:
            return ""
        short = f"; {self.short} recordings are not longer than that, and whole" if self.short else ""
        return (
            f"{windows.words()}: {self.windows} windows of {seconds:g} s from {self.recordings} recordings "
            f"hear {_duration(self.heard)} of {_duration(self.total)}{short}"
        )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.1f} s"


def cut(
    recordings: Iterable[Recording], windows: Windows, seconds: float, tally: Tally | None = None
) -> Iterator[Cut]:
    """Yield the clips of recordings: those of a recording one after the other.

    Only headers are read, and nothing at all where each recording is one clip from its start. A recording
    whose header cannot be read is one clip with a ``problem``.
    """
    tally = tally or Tally()
    for recording in recordings:
        if windows.plain:
            yield Cut(recording)
            continue
        try:
            with audio.opened(recording.data) as file:
                yield from _windows(recording, file, windows, seconds, tally)
        except audio.AudioError as error:
            yield Cut(recording, problem=error)


def _windows(
    recording: Recording, file: soundfile.SoundFile, windows: Windows, seconds: float, tally: Tally
) -> list[Cut]:
    rate, (first, last) = file.samplerate, extent(recording, file)
    length, whole = round(seconds * rate), last - first
    tally.recordings += 1
    tally.total += whole / rate
    if whole <= length:
        tally.short += 1
        tally.heard += whole / rate
        return [Cut(recording)]
    if windows.at == "loudest":
        tally.windows, tally.heard = tally.windows + 1, tally.heard + seconds
        return [Cut(recording, search=seconds)]
    if windows.every is None:
        starts = [first + (whole - length) // 2]
    else:
        count, step = 1 + int((whole - length) / rate / windows.every + 1e-9), windows.every * rate
        starts = [first + round(k * step) for k in range(count)]
        while starts[-1] + length > last:
            starts.pop()
    tally.windows += len(starts)
    tally.heard += (length + sum(min(length, b - a) for a, b in pairwise(starts))) / rate
    many = windows.every is not None
    return [Cut(_window(recording, start / rate, seconds), many=many) for start in starts]


def extent(recording: Recording, file: soundfile.SoundFile) -> tuple[int, int]:
    """Return the first frame of a recording in its file, and the one after its last.

    Raises
    ------
    AudioError
        If the recording begins after the end of its file.
    """
    rate, frames = file.samplerate, file.frames
    if frames >= UNKNOWN:
        frames = _counted(file)
    first = round(recording.onset * rate)
    last = frames if recording.offset is None else min(frames, round(recording.offset * rate))
    if first >= last:
        raise audio.AudioError(audio.BEYOND.format(first / rate, frames / rate) if first else "no samples")
    return first, last


def _counted(file: soundfile.SoundFile) -> int:
    frames = 0
    while read := len(file.read(audio.block(file), dtype="float32")):
        frames += read
    file.seek(0)
    return frames


def _window(recording: Recording, start: float, seconds: float) -> Recording:
    name = f"{recording.clip_id}@{clock(start)}"
    return replace(recording, clip_id=name, onset=start, offset=start + seconds)


def clock(seconds: float) -> str:
    """Return a time in names of clips: seconds, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def loudest(recording: Recording, file: soundfile.SoundFile, seconds: float) -> Recording:
    """Return the loudest window of a recording, in one pass that reads each block once.

    Raises
    ------
    AudioError
        If there are NaN or infinite samples.
    """
    rate, (first, last) = file.samplerate, extent(recording, file)
    step = max(1, round(seconds * rate / STEPS))
    powers: list[np.ndarray] = []
    audio.skip(file, first)
    steps = max(1, audio.block(file) // step)
    for begin in range(first, last, steps * step):
        mono = file.read(min(steps * step, last - begin), dtype="float32", always_2d=True).mean(axis=1)
        whole = mono[: len(mono) // step * step].astype(np.float64).reshape(-1, step)
        powers.append(np.square(whole).sum(axis=1))
    power = np.concatenate(powers or [np.zeros(0)])
    if not np.isfinite(power).all():
        raise audio.AudioError("NaN or infinite samples")
    best = int(np.convolve(power, np.ones(STEPS), "valid").argmax()) if len(power) > STEPS else 0
    return _window(recording, min(first + best * step, last - round(seconds * rate)) / rate, seconds)
