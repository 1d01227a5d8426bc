"""Decoding and encoding of sound files; arrays are 16 kHz, mono, float32 in [-1, 1)."""

from __future__ import annotations

import io
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from audio_neurons.recordings import opening
from audio_neurons.tables import SAMPLE_RATE

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

# Peak below which a clip counts as silent: -80 dBFS, about three steps of 16-bit audio.
SILENCE = 1e-4

BLOCK = 1 << 22  # samples, over all channels, that are read at a time

# Largest resampling kernel, in elements: rates that share no divisor with 16 kHz would need gigabytes.
LARGEST_KERNEL = 1 << 25

# Words of libsndfile's errors when memory runs out; initialising libFLAC fails for no other reason.
SHORT_OF_MEMORY = ("malloc", "initialization of the flac")


class AudioError(ValueError):
    """A recording cannot be used; the message is the reason, in a few words."""


def decode(data: bytes, seconds: float | None = None) -> np.ndarray:
    """Decode a sound file to float32 ``(frames,)`` at 16 kHz, the mean of its channels.

    Parameters
    ----------
    data
        Content of the file (WAV, FLAC, OGG, MP3, AU, ...).
    seconds
        Read at most this much from the start.

    Raises
    ------
    AudioError
        If the file is missing (no bytes), unreadable, without samples, holds NaN or infinite
        samples, or is silent (its peak is below `SILENCE`).
    """
    if not data:
        raise AudioError("missing, or an empty file")
    if data.startswith(b"version https://git-lfs"):
        raise AudioError("a Git LFS pointer, not the recording itself")
    try:
        with opening.stream(data) as stream, opening.sound(stream) as file:
            rate = file.samplerate
            mono = _mono(file, file.frames if seconds is None else int(seconds * rate))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _reason(error) from error
    if not len(mono):
        raise AudioError("no samples")
    if not np.isfinite(mono).all():
        raise AudioError("NaN or infinite samples")
    if rate != SAMPLE_RATE:
        mono = _resample(mono, rate)
    if np.abs(mono).max() < SILENCE:
        raise AudioError("silent")
    return np.ascontiguousarray(mono)


def _reason(error: Exception) -> Exception:
    """Return the exception for an error of libsndfile: lack of memory is not the recording's fault."""
    reason = str(getattr(error, "error_string", error))
    if any(words in reason for words in SHORT_OF_MEMORY):
        return MemoryError(reason)
    return AudioError(f"unreadable: {reason}")


def _mono(file: soundfile.SoundFile, frames: int) -> np.ndarray:
    """Read the mean of the channels, up to ``frames`` frames; in blocks, since headers may be wrong."""
    parts = [np.zeros(0, np.float32)]
    while frames > 0:
        part = file.read(min(frames, max(BLOCK // file.channels, 1)), dtype="float32", always_2d=True)
        if not len(part):
            break
        with np.errstate(over="ignore", invalid="ignore"):  # `decode` refuses what is not finite
            parts.append(part[:, 0] if file.channels == 1 else part.mean(axis=1))
        frames -= len(part)
    return parts[1] if len(parts) == 2 else np.concatenate(parts)


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    import torch  # imported late: recordings at 16 kHz do not need it

    divisor = gcd(rate, SAMPLE_RATE)
    if rate * SAMPLE_RATE // divisor**2 > LARGEST_KERNEL:
        raise AudioError(f"sampling rate of {rate} Hz is not supported")
    with torch.inference_mode():
        return _resampler(rate)(torch.from_numpy(np.ascontiguousarray(samples))).numpy()


@lru_cache(4)  # each kernel has up to 128 MB
def _resampler(rate: int) -> Resample:
    from torchaudio.transforms import Resample

    return Resample(rate, SAMPLE_RATE)


def encode(samples: np.ndarray) -> bytes:
    """Encode float samples ``(frames,)``, clipped to [-1, 1), as FLAC (16 kHz, mono, 16 bits).

    Lossless for 16-bit mono audio at 16 kHz: `read` returns identical samples.
    """
    integers = np.clip(np.rint(np.asarray(samples, np.float64) * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    try:
        soundfile.write(file, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise _reason(error) from error
    return file.getvalue()


def read(flac: bytes, frames: int) -> np.ndarray:
    """Read the first ``frames`` samples of a prepared clip, zero-padded: float32 ``(frames,)``.

    Raises
    ------
    AudioError
        If ``flac`` is not a prepared clip.
    """
    try:
        samples, rate = soundfile.read(io.BytesIO(flac), frames, dtype="float32", fill_value=0.0)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _reason(error) from error
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise AudioError(f"not a prepared clip: {rate} Hz, {samples.ndim} channel(s)")
    return samples
