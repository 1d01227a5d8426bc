"""Building blocks of the demo's sounds: mono float32 arrays at 16 kHz, nominally within [-1, 1]."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft

RATE = 16_000
Gain = Callable[[np.ndarray], np.ndarray]  # Hz to amplitude


def generator(seed: int, name: str, *index: int) -> np.random.Generator:
    """Return a random generator for one item of the demo; it depends only on these values."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *index])


def times(n: int) -> np.ndarray:
    """Return the times of ``n`` samples, in seconds."""
    return np.arange(n, dtype=np.float32) / RATE


def phase(hertz: float | np.ndarray, n: int) -> np.ndarray:
    """Return the phase in radians, ``(n,)``, of a frequency that is constant or given per sample."""
    if np.ndim(hertz) == 0:
        return 2 * np.pi * float(hertz) / RATE * np.arange(n)
    return 2 * np.pi / RATE * np.cumsum(hertz, dtype=np.float64)


def glide(rng: np.random.Generator, n: int, per_second: float) -> np.ndarray:
    """Return a random curve in [-1, 1] that turns about ``per_second`` times per second."""
    knots = rng.uniform(-1, 1, max(2, round(n / RATE * per_second) + 2))
    return np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots).astype(np.float32)


def strike(n: int, tau: float, attack: float = 0.002) -> np.ndarray:
    """Return the envelope of a struck body: linear attack, then decay with time constant ``tau``, in s."""
    t = times(n)
    return np.minimum(t / attack, 1) * np.exp(-t / tau, dtype=np.float32)


def bump(n: int, sharpness: float = 1.0) -> np.ndarray:
    """Return an envelope that rises and falls once."""
    return np.abs(np.sin(np.linspace(0, np.pi, n, dtype=np.float32))) ** np.float32(sharpness)


def shaped(audio: np.ndarray, gain: Gain) -> np.ndarray:
    """Filter ``audio`` by ``gain``, a function from Hz to amplitude; same length, zero phase."""
    size = next_fast_len(len(audio) + 512, real=True)
    spectrum = rfft(audio.astype(np.float32, copy=False), size)
    hertz = np.linspace(0, RATE / 2, len(spectrum), dtype=np.float32)
    return irfft(spectrum * gain(hertz).astype(np.float32, copy=False), size)[: len(audio)]


def band(low: float, high: float, slope: float = 0.0) -> Gain:
    """Return the gain of a soft-edged band, ``low`` to ``high`` Hz, with ``slope`` (0 white, -1 brown)."""

    def gain(hertz: np.ndarray) -> np.ndarray:
        f = hertz + 1.0
        edges = 1 / np.sqrt((1 + (low / f) ** 6) * (1 + (f / high) ** 6))
        return edges if slope == 0 else edges * (f / np.sqrt(low * high)) ** slope

    return gain


def noise(
    rng: np.random.Generator, n: int, low: float = 20, high: float = 9000, slope: float = 0
) -> np.ndarray:
    """Return noise in a band, of unit variance."""
    sound = shaped(rng.standard_normal(n, dtype=np.float32), band(low, high, slope))
    return sound / (sound.std() + 1e-9)


def modes(hertz: ArrayLike, taus: ArrayLike, gains: ArrayLike, n: int) -> np.ndarray:
    """Return the sound of a struck body: a sum of decaying sinusoids."""
    t = times(n)[:, None]
    f, tau, gain = (np.asarray(values, np.float32) for values in (hertz, taus, gains))
    return (np.sin(2 * np.pi * f * t) * np.exp(-t / tau)) @ gain


def place(out: np.ndarray, piece: np.ndarray, at: float, gain: float = 1.0) -> None:
    """Add ``piece`` to ``out`` from ``at`` seconds on; what exceeds ``out`` at either end is dropped."""
    start = round(at * RATE)
    if start < 0:
        piece, start = piece[-start:], 0
    piece = piece[: max(len(out) - start, 0)]
    out[start : start + len(piece)] += gain * piece
