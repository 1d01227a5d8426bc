"""Sound files as arrays: 16 kHz, mono, float32 in [-1, 1)."""

from __future__ import annotations

import io
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from audio_neurons.tables import SAMPLE_RATE

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

# Peak below which a clip counts as silent: -80 dBFS, some three steps of 16-bit audio.
SILENCE = 1e-4

BLOCK = 1 << 22  # samples, of all channels, that are read at a time

# Largest resampling kernel, in numbers: rates that share no divisor with 16 kHz would need gigabytes.
LARGEST_KERNEL = 1 << 25


# What libsndfile says where memory is short; setting up libFLAC fails of nothing else.
SHORT_OF_MEMORY = ("malloc", "initialization of the flac")


class AudioError(ValueError):
    """A recording that cannot be used; the message is the reason, in a few words."""


def decode(data: bytes, seconds: float | None = None) -> np.ndarray:
    """Samples of a sound file: float32 ``(frames,)`` at 16 kHz, the mean of its channels.

    Parameters
    ----------
    data
        The file (WAV, FLAC, OGG, MP3, AU, ...).
    seconds
        Read no more than this from the start.

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
        with soundfile.SoundFile(io.BytesIO(data)) as file:
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
    """What to raise for an error of libsndfile: a recording is not at fault where memory is short."""
    reason = str(getattr(error, "error_string", error))
    if any(words in reason for words in SHORT_OF_MEMORY):
        return MemoryError(reason)
    return AudioError(f"unreadable: {reason}")


def _mono(file: soundfile.SoundFile, frames: int) -> np.ndarray:
    """The mean of the channels, of up to ``frames`` frames; in parts, since headers may promise anything."""
    parts = [np.zeros(0, np.float32)]
    while frames > 0:
        part = file.read(min(frames, max(BLOCK // file.channels, 1)), dtype="float32", always_2d=True)
        if not len(part):
            break
        with np.errstate(over="ignore", invalid="ignore"):  # told by the result, which is then not finite
            parts.append(part[:, 0] if file.channels == 1 else part.mean(axis=1))
        frames -= len(part)
    return parts[1] if len(parts) == 2 else np.concatenate(parts)


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    import torch  # late: recordings at 16 kHz do without

    divisor = gcd(rate, SAMPLE_RATE)
    if rate * SAMPLE_RATE // divisor**2 > LARGEST_KERNEL:
        raise AudioError(f"sampling rate of {rate} Hz is not supported")
    with torch.inference_mode():
        return _resampler(rate)(torch.from_numpy(np.ascontiguousarray(samples))).numpy()


@lru_cache(4)  # each up to 128 MB
def _resampler(rate: int) -> Resample:
    from torchaudio.transforms import Resample

    return Resample(rate, SAMPLE_RATE)


def encode(samples: np.ndarray) -> bytes:
    """FLAC (16 kHz, mono, 16 bits) of float samples ``(frames,)``, clipped to [-1, 1).

    What was 16-bit audio at 16 kHz comes back from `read` bit by bit.
    """
    integers = np.clip(np.rint(np.asarray(samples, np.float64) * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    try:
        soundfile.write(file, integers, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise _reason(error) from error
    return file.getvalue()


def read(flac: bytes, frames: int) -> np.ndarray:
    """The first ``frames`` samples of a prepared clip, zero-padded at the end: float32 ``(frames,)``.

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
