"""Decoding and encoding of sound files; arrays are mono, float32 in [-1, 1), at 16 kHz by default."""

from __future__ import annotations

import errno
import io
import math
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audio_neurons.datasets import opening
from audio_neurons.datasets.headers import HeaderError
from audio_neurons.tables import SAMPLE_RATE

# Peak below which a clip counts as silent: -80 dBFS, about three steps of 16-bit audio.
SILENCE = 1e-4

# Peak below which 16 bits leave a clip less than 8: -48 dBFS.
QUIET = 2.0**-8

STEPS = 1 << 15  # of 16-bit audio, from 0 to full scale

BLOCK = 1 << 22  # samples, over all channels, that are read at a time

# Sampling rates in Hz that a recording of sound can have; others are those of wrong headers.
LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000

# Quality of soxr: what aliases is below -120 dB, where 16 bits end at -98 dB; "VHQ" takes longer.
QUALITY = "HQ"

# Bits of integers, without the sign, on whose scale files of floating point are written.
INTEGERS = (15, 23, 31)
# Peaks over full scale: what decoders of lossy formats stay below (they make noise of full scale normal, with
# peaks of some five times its level), and any headroom of a mix, 48 dB; what is above that is on the scale of
# integers, whole or not.
OVERSHOOT, HEADROOM = 8.0, 256.0

BEYOND = "begins at {:g} s, and the file has {:g} s"  # told of a part that its file does not have

# First bytes of files that stand for recordings.
STAND_INS = {
    b"version https://git-lfs": "a Git LFS pointer, not the recording itself",
    b"\x00\x05\x16\x07\x00\x02": "a companion file of macOS, not the recording itself",  # AppleDouble
}

# Too many open files, or no memory: no fault of the recording, which must not be left out for it.
FAULTS_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

# Told of every part of a sound file as it is read: the open file, and samples (frames, channels) in [-1, 1).
Watch = Callable[[soundfile.SoundFile, np.ndarray], None]

# Words of libsndfile's errors when memory runs out; initialising libFLAC fails for no other reason.
SHORT_OF_MEMORY = ("malloc", "initialization of the flac")


class AudioError(ValueError):
    """A recording cannot be used; the message is the reason, in a few words."""


class Silent(AudioError):
    """No sample reaches `SILENCE`."""


def decode(data: bytes | Path, seconds: float | None = None) -> np.ndarray:
    """Decode a sound file to float32 ``(frames,)`` at 16 kHz, the mean of its channels.

    What goes beyond full scale is scaled to keep its shape (see `decode_scaled`).

    Parameters
    ----------
    data
        Content of the file (WAV, FLAC, OGG, MP3, AU, ...), or its path: then only what is asked for is
        read, whatever the file's length.
    seconds
        Read at most this much from the start.

    Raises
    ------
    AudioError
        If the file is missing or empty, unreadable, without samples, holds NaN or infinite samples or
        such as no scale has, is silent (its peak is below `SILENCE`), or has a rate that no sound has.
    """
    return decode_scaled(data, seconds)[0]


def decode_scaled(
    data: bytes | Path,
    seconds: float | None = None,
    start: float = 0.0,
    rate: int = SAMPLE_RATE,
    watch: Watch | None = None,
    notes: list[str] | None = None,
) -> tuple[np.ndarray, int]:
    """Decode as `decode`, from ``start`` (seconds) and to ``rate`` (Hz), and return the number of halvings.

    ``watch`` sees what is read.

    To ``notes`` is added what is damaged, or not as its header says (see `opening.Sound`).

    Samples of floating point may go beyond full scale, where 16 bits would clip them. A recording on the
    scale of 16, 24 or 32-bit integers is divided by that scale, so that recordings keep their relation to
    each other; another is halved until its peak is below 1. Powers of two are exact. Integers have no
    samples beyond full scale, and decoders of MP3 or Vorbis overshoot it, which stays clipped.

    Whether a recording is silent is decided at 16 kHz, so that the same ones are usable at every rate.
    """
    with opened(data) as file:
        found = excerpt(file, start, seconds, rate, watch)
        if notes is not None:
            notes += file.notes
        return found


@contextmanager
def opened(data: bytes | Path) -> Iterator[opening.Sound]:
    """Open a sound file; what goes wrong with it, also while it is open, is an `AudioError`."""
    try:
        with opening.stream(data) as stream:
            head = stream.read(max(map(len, STAND_INS)))
            if told := next((told for first, told in STAND_INS.items() if head.startswith(first)), None):
                raise AudioError(told)
            stream.seek(0)
            with opening.sound(stream) as file:
                if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
                    raise AudioError(
                        f"a sampling rate of {file.samplerate} Hz; looked for {LOWEST_RATE} to {HIGHEST_RATE}"
                    )
                yield file
    except FileNotFoundError as error:
        raise AudioError("missing, or an empty file") from error
    except OSError as error:
        if error.errno in FAULTS_OF_THE_MACHINE:
            raise
        raise AudioError(f"cannot be opened: {error.strerror}") from error
    except HeaderError as error:
        raise AudioError(str(error)) from error
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _unread(data) or _reason(error) from error


def excerpt(
    file: soundfile.SoundFile,
    start: float,
    seconds: float | None,
    rate: int = SAMPLE_RATE,
    watch: Watch | None = None,
) -> tuple[np.ndarray, int]:
    """Return a part of an open file as `decode_scaled` does; it is cut at the file's own rate.

    Raises
    ------
    AudioError
        As `decode`.
    """
    first = round(start * file.samplerate)
    if first and first >= file.frames:
        raise AudioError(BEYOND.format(start, file.frames / file.samplerate))
    skip(file, first)
    samples, halvings, peak = _mono(file, seconds, rate, watch)
    if peak < SILENCE:
        raise Silent("silent")
    return np.ascontiguousarray(samples), halvings


def skip(file: soundfile.SoundFile, frames: int) -> None:
    """Go to a frame of a file, by reading up to it where the format has no other way."""
    if frames == file.tell():
        return
    try:
        file.seek(min(frames, file.frames))
    except soundfile.LibsndfileError:
        left = frames - file.tell()
        while left > 0 and (read := len(file.read(min(left, block(file)), dtype="float32"))):
            left -= read


def block(file: soundfile.SoundFile) -> int:
    """Return how many frames of a file are read at a time."""
    return max(BLOCK // file.channels, 1)


def _unread(data: bytes | Path) -> AudioError | None:
    """Return the error for sound of a kind that is never read here, with the remedy; None for others."""
    with opening.stream(data) as stream:
        kind = opening.kind(stream)
    name = data.name if isinstance(data, Path) else "FILE"
    if kind is None:
        return None
    return AudioError(f"{kind} is not read here; convert it: ffmpeg -i {shlex.quote(name)} FILE.wav")


def _reason(error: Exception) -> Exception:
    """Return the exception for an error of libsndfile: lack of memory is not the recording's fault."""
    reason = str(getattr(error, "error_string", error))
    if any(words in reason for words in SHORT_OF_MEMORY):
        return MemoryError(reason)
    return AudioError(f"unreadable: {reason}")


def _mono(
    file: soundfile.SoundFile, seconds: float | None, wanted: int, watch: Watch | None
) -> tuple[np.ndarray, int, float]:
    """Read the mean of the channels at a rate, scaled, the number of halvings, and the peak at 16 kHz.

    Blocks are read, since headers may be wrong and rates high.
    """
    rate = file.samplerate
    resampler, scale = _Resampler(rate, wanted), _Scale(file.subtype)
    # Of clips at another rate, only the peak at 16 kHz is kept.
    heard = None if wanted == SAMPLE_RATE else _Peak(rate)
    frames = file.frames - file.tell() if seconds is None else round(seconds * rate)
    parts: list[np.ndarray] = []
    while frames > 0:
        part = file.read(min(frames, block(file)), dtype="float32", always_2d=True)
        if not len(part):
            break
        if watch is not None:
            watch(file, part)
        with np.errstate(over="ignore", invalid="ignore"):
            mono = part[:, 0] if file.channels == 1 else part.mean(axis=1)
        scale.add(part, mono)
        parts.append(resampler.add(mono))
        if heard is not None:
            heard.add(mono)
        frames -= len(part)
    if not parts:
        raise AudioError("no samples")
    if rate != wanted:
        parts.append(resampler.end())
    samples, halvings = parts[0] if len(parts) == 1 else np.concatenate(parts), scale.halvings()
    samples = np.ldexp(samples, -halvings) if halvings else samples
    peak = float(np.abs(samples).max()) if heard is None else math.ldexp(heard.end(), -halvings)
    return samples, halvings, peak


class _Scale:
    """Scale of a recording's samples, of which parts are seen before they are resampled."""

    def __init__(self, subtype: str):
        self._limit = 1.0 if subtype in ("FLOAT", "DOUBLE") else OVERSHOOT
        self._peak, self._whole = 0.0, True

    def add(self, part: np.ndarray, mono: np.ndarray) -> None:
        highest, lowest = float(mono.max()), float(mono.min())  # NaN if there is one
        if not (math.isfinite(highest) and math.isfinite(lowest)):
            raise AudioError("NaN or infinite samples")
        self._peak = max(self._peak, highest, -lowest)
        if self._peak > self._limit and self._whole:
            self._whole = bool(np.array_equal(part, np.rint(part)))

    def halvings(self) -> int:
        """Return by which power of two the samples are to be divided.

        Raises
        ------
        AudioError
            If they are beyond the scale of any integers: a damaged file.
        """
        if self._peak <= self._limit:
            return 0
        least = math.frexp(self._peak)[1]
        if least > INTEGERS[-1] + 1:
            raise AudioError(f"samples of up to {self._peak:.3g}, where full scale is 1")
        if self._whole:
            return next((bits for bits in INTEGERS if self._peak <= 2**bits), least)
        return max(least, INTEGERS[0]) if self._peak > HEADROOM else least


class _Resampler:
    """Resampling from one rate to another in parts; their lengths do not change the result."""

    def __init__(self, rate: int, wanted: int):
        self._rate, self._wanted, self._taken, self._given = rate, wanted, 0, 0
        if rate != wanted:
            self._stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality=QUALITY)

    def add(self, samples: np.ndarray) -> np.ndarray:
        if self._rate == self._wanted:
            return samples
        self._taken += len(samples)
        made = self._stream.resample_chunk(np.ascontiguousarray(samples))
        self._given += len(made)
        return made

    def end(self) -> np.ndarray:
        """Return what is left, so that all that began is there: the number of samples is rounded up."""
        silence = np.zeros(self._rate // self._wanted + 2, np.float32)
        wanted = -(-self._taken * self._wanted // self._rate)
        return self._stream.resample_chunk(silence, last=True)[: wanted - self._given]


class _Peak:
    """Largest absolute sample of a recording at 16 kHz, of which parts are seen."""

    def __init__(self, rate: int):
        self._rate, self._peak = rate, 0.0
        self._resampler = _Resampler(rate, SAMPLE_RATE)

    def add(self, samples: np.ndarray) -> None:
        self._see(self._resampler.add(samples))

    def _see(self, samples: np.ndarray) -> None:
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0)))

    def end(self) -> float:
        if self._rate != SAMPLE_RATE:
            self._see(self._resampler.end())
        return self._peak


def encode(samples: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    """Encode float samples ``(frames,)`` at ``rate`` (Hz), clipped to [-1, 1), as FLAC (mono, 16 bits).

    Lossless for 16-bit mono audio at that rate: `read` returns identical samples. Quiet samples (peak below
    `QUIET`) of finer steps are stored with 24 bits, since 16 would leave them less than 8.
    """
    steps = np.asarray(samples) * np.float32(32768)  # exact
    whole = np.rint(steps)
    integers, subtype = np.clip(whole, -32768, 32767, out=whole).astype(np.int16), "PCM_16"
    quiet = max(int(integers.max(initial=0)), -int(integers.min(initial=0))) < QUIET * 32768
    if quiet and not np.array_equal(steps, integers):
        # soundfile takes the upper 24 of 32 bits.
        integers, subtype = np.rint(steps * 256).astype(np.int32) << 8, "PCM_24"
    file = io.BytesIO()
    try:
        soundfile.write(file, integers, rate, format="FLAC", subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise _reason(error) from error
    return file.getvalue()


def read(flac: bytes, frames: int, rate: int = SAMPLE_RATE, integers: bool = False) -> np.ndarray:
    """Read the first ``frames`` samples of a prepared clip, zero-padded: float32 ``(frames,)``.

    With ``integers``, a clip of 16 bits is int16, of which 1 / `STEPS` are exactly these samples.

    Raises
    ------
    AudioError
        If ``flac`` is not a prepared clip of that rate (Hz).
    """
    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            own, dtype = file.samplerate, "int16" if integers and file.subtype == "PCM_16" else "float32"
            samples = file.read(frames, dtype=dtype, fill_value=0)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _reason(error) from error
    if own != rate or samples.ndim != 1:
        raise AudioError(f"not a prepared clip at {rate} Hz: {own} Hz, {samples.ndim} channel(s)")
    return samples
