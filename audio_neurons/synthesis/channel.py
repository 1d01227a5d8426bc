"""Recording channel of the demo's sounds: position in time, room, microphone, noise and level.

Without it, plain log-mel statistics solve the demo's tasks and nothing is left to learn. Every
recording is therefore coloured, reverberated, disturbed and scaled at random, regardless of its class.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from audio_neurons.synthesis.waves import RATE, glide, times


def frames(rng: np.random.Generator, seconds: float) -> int:
    """Draw the samples of a recording: up to 20 % more than ``seconds``, one in ten up to 15 % less."""
    factor = rng.uniform(0.85, 1.0) if rng.random() < 0.1 else rng.uniform(1.0, 1.2)
    return round(seconds * factor * RATE)


def fit(rng: np.random.Generator, sound: np.ndarray, n: int, onset: float = 0.2) -> np.ndarray:
    """Fit ``sound`` into ``n`` samples: a random pause, then the sound or a random part of it.

    ``onset`` is the longest pause, in seconds.
    """
    out = np.zeros(n, np.float32)
    start = int(rng.uniform(0, onset) * RATE)
    first = int(rng.integers(0, max(len(sound) - n, 0) + 1))
    piece = sound[first : first + n - start]
    out[start : start + len(piece)] = piece
    return out


def _equaliser(rng: np.random.Generator, octaves: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Draw a gain over ``octaves`` (log2 of Hz): tilt, resonances and notches, sometimes a narrow band."""
    decibel = rng.uniform(-2.0, 2.0) * (octaves - 10)
    for _ in range(rng.integers(1, 5)):
        centre, width, height = rng.uniform(6.5, 13), rng.uniform(0.15, 0.9), rng.uniform(-9, 9)
        decibel += height * np.exp(-(((octaves - centre) / width) ** 2))
    if rng.random() < 0.2:
        decibel -= 12 * np.maximum(rng.uniform(6.5, 8.5) - octaves, 0)
    if rng.random() < 0.2:
        decibel -= 12 * np.maximum(octaves - rng.uniform(11.3, 12.7), 0)
    return 10 ** (strength * np.clip(decibel, -30, 20) / 20)


def _room(rng: np.random.Generator, size: int) -> np.ndarray | float:
    """Draw the spectrum of a room's impulse response, or 1 for outdoors."""
    if rng.random() < 0.35:
        return 1.0
    n = int(0.25 * RATE)
    tail = rng.standard_normal(n, dtype=np.float32) * np.exp(-times(n) / rng.uniform(0.02, 0.09))
    tail[: int(rng.uniform(0.001, 0.012) * RATE)] = 0
    tail *= rng.uniform(0.1, 0.6) / (np.sqrt(np.square(tail).sum()) + 1e-9)
    tail[0] += 1
    return rfft(tail, size)


def record(
    rng: np.random.Generator, sound: np.ndarray, snr: tuple[float, float] = (2.0, 24.0), colour: float = 1.0
) -> np.ndarray:
    """Return a recording of ``sound`` through a random room, microphone, noise and level.

    Parameters
    ----------
    sound
        float32 ``(n,)`` at 16 kHz, of any level.
    snr
        Range of the signal-to-noise ratio in dB, over the louder half of the sound.
    colour
        Strength of the microphone's colouring.

    Returns
    -------
    float32 ``(n,)``; its peak lies between -30 and -3 dB of full scale.
    """
    n = len(sound)
    size = next_fast_len(n + RATE // 4, real=True)
    octaves = np.log2(np.linspace(0, RATE / 2, size // 2 + 1, dtype=np.float32) + 20)
    microphone = _equaliser(rng, octaves, colour)
    signal = irfft(rfft(sound.astype(np.float32, copy=False), size) * microphone * _room(rng, size), size)[:n]

    slope = 2 ** (-rng.uniform(0.0, 1.0) * (octaves - 10)) * _equaliser(rng, octaves)
    hiss = rng.standard_normal(2 * len(octaves), dtype=np.float32).view(np.complex64) * slope
    disturbance = irfft(hiss, size)[:n]
    if rng.random() < 0.5:  # noise that comes and goes, like traffic or voices, instead of steady hiss
        disturbance *= 1 + 0.8 * glide(rng, n, rng.uniform(1, 8))

    blocks = np.square(signal[: n // 400 * 400]).reshape(-1, 400).mean(axis=1)
    loud = np.sort(blocks)[len(blocks) // 2 :].mean()
    ratio = np.sqrt(loud / (np.square(disturbance).mean() + 1e-20)) * 10 ** (-rng.uniform(*snr) / 20)
    out = signal + ratio * disturbance
    return (out * (10 ** (rng.uniform(-30, -3) / 20) / (np.abs(out).max() + 1e-9))).astype(np.float32)
