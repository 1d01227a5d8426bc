"""Single notes: SoundFont instruments in NSynth's families, and synthesiser tones for Surge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft

from audio_neurons.synthesis import soundfont
from audio_neurons.synthesis.waves import RATE, glide, noise, phase, shaped, times

# General MIDI programs (from 0) of NSynth's families: neither two splits nor a split and the pool share one.
FAMILIES = {
    "bass": {"train": (32, 34, 36, 38), "valid": (35,), "test": (33, 39), "pool": (37, 87)},
    "brass": {"train": (56, 58, 60, 61, 62), "valid": (63,), "test": (57,), "pool": (59,)},
    "flute": {"train": (73, 75, 76), "valid": (77,), "test": (72, 74), "pool": (79,)},
    "guitar": {"train": (24, 27, 28, 30), "valid": (26,), "test": (25, 29), "pool": (31, 106)},
    "keyboard": {"train": (0, 3, 4, 6), "valid": (7,), "test": (1, 5), "pool": (2,)},
    "mallet": {"train": (9, 11, 12, 14), "valid": (10,), "test": (8, 13), "pool": (108, 114)},
    "organ": {"train": (16, 18, 19, 20, 21), "valid": (23,), "test": (17,), "pool": (22,)},
    "reed": {"train": (64, 66, 68, 71), "valid": (70,), "test": (65, 67), "pool": (69, 111)},
    "string": {"train": (40, 42, 48, 50), "valid": (43,), "test": (41, 49), "pool": (44, 51)},
    "synth_lead": {"train": (80, 82, 84, 98), "valid": (86,), "test": (81, 83), "pool": (90, 96)},
    "vocal": {"train": (52, 54), "valid": (85,), "test": (53,), "pool": (91,)},
}
LOWEST, OCTAVES = 24, 7  # MIDI 24-107, C1 to B7
COMPASS = {  # octaves a family plays, as a half-open range above LOWEST
    "bass": (0, 4), "brass": (1, 5), "flute": (3, 7), "guitar": (1, 6), "keyboard": (0, 7), "mallet": (2, 7),
    "organ": (0, 7), "reed": (1, 6), "string": (0, 7), "synth_lead": (1, 7), "vocal": (2, 6),
}  # fmt: skip

_ELECTRONIC = {4, 5, 7, 16, 17, 18, 26, 27, 28, 29, 30, 31, 33, 34, 35, 36, 37}
_SYNTHETIC = {38, 39, 50, 51, 54, 62, 63, 80, 81, 82, 83, 84, 85, 86, 87, 90, 91, 96, 98}


def source(program: int) -> int:
    """Return NSynth's instrument source: 0 acoustic, 1 electronic, 2 synthetic."""
    return 1 if program in _ELECTRONIC else 2 if program in _SYNTHETIC else 0


@dataclass(frozen=True)
class Instrument:
    """A SoundFont program with the traits of an individual instrument."""

    program: int
    detune: float  # semitones
    bright: float  # dB per octave about 1 kHz
    vibrato: float  # semitones
    release: float  # s before the end at which the key is released


def instrument(rng: np.random.Generator, program: int) -> Instrument:
    """Return a random instrument of a program."""
    return Instrument(
        program, rng.normal(0, 0.08), rng.uniform(-1.5, 1.5), rng.exponential(0.03), rng.uniform(0, 0.5)
    )


def play(
    rng: np.random.Generator, which: Instrument, pitch: int, velocity: int, seconds: float
) -> np.ndarray:
    """Return one note of an instrument, float32 at 16 kHz, of unit peak."""
    sound = soundfont.note(which.program, pitch + which.detune, velocity, seconds, seconds - which.release)
    n = len(sound)
    wobble = which.vibrato * np.log(2) / 12 * np.sin(phase(5.5, n)) / (2 * np.pi * 5.5) * RATE
    sound = np.interp(np.arange(n) + wobble, np.arange(n), sound).astype(np.float32)
    # Some samples have an offset, which would be the strongest component of a looped note.
    sound = shaped(sound, lambda f: ((f + 50) / 1000) ** (which.bright / 6.02) * f**2 / (f**2 + 100))
    peak = np.abs(sound).max()
    if peak < 1e-4:  # a sample shorter than the note's attack: a plain tone is better than silence
        sound = np.sin(phase(440 * 2 ** ((pitch - 69) / 12), n)).astype(np.float32) * np.exp(-3 * times(n))
        peak = 1.0
    return sound / peak


@dataclass(frozen=True)
class Tone:
    """A patch of a subtractive and frequency-modulating synthesiser."""

    shape: float  # exponent of the harmonics' decay: 0.6 harsh to 2.5 soft
    odd: float  # gain of even harmonics
    partner: float  # second oscillator, semitones away
    partner_gain: float
    index: float  # frequency modulation
    ratio: float
    cutoff: float  # octaves above the fundamental
    resonance: float
    envelope: tuple[float, float, float, float]  # attack, decay, release in s; sustain as gain
    hiss: float
    vibrato: float


def tone(rng: np.random.Generator) -> Tone:
    """Return a random patch."""
    return Tone(
        shape=rng.uniform(0.6, 2.2),
        odd=float(rng.choice([0.0, 0.3, 1.0])),
        partner=float(rng.choice([0, 0, 7, 12, 12, -12, 19])) + rng.normal(0, 0.06),
        partner_gain=rng.uniform(0, 0.9),
        index=rng.exponential(0.8) if rng.random() < 0.5 else 0.0,
        ratio=float(rng.choice([0.5, 1, 1, 2, 3, 1.41])),
        cutoff=rng.uniform(1, 6),
        resonance=rng.uniform(0, 3),
        envelope=(
            10 ** rng.uniform(-2.7, -0.7),
            10 ** rng.uniform(-1, 0.3),
            rng.uniform(0.05, 0.4),
            rng.uniform(0, 1),
        ),
        hiss=rng.exponential(0.06),
        vibrato=rng.exponential(0.05),
    )


def _cycle(patch: Tone, hertz: float) -> np.ndarray:
    """Return one period of the oscillator without harmonics that alias; its last sample repeats the first."""
    size = 512
    number = np.arange(1.0, size // 2 + 1)
    gain = number**-patch.shape * np.where(number % 2, 1, patch.odd)
    octave = np.log2(number)
    gain = gain / (1 + 2.0 ** (3 * (octave - patch.cutoff)))
    gain *= 1 + patch.resonance * np.exp(-(((octave - patch.cutoff) / 0.3) ** 2))
    gain[number * hertz > 7600] = 0
    period = irfft(np.concatenate([[0], -1j * gain]), size)
    return np.append(period, period[0]) / (np.abs(period).max() + 1e-9)


def synthesise(rng: np.random.Generator, patch: Tone, pitch: int, seconds: float) -> np.ndarray:
    """Return one note of a patch, float32 ``(seconds * 16000,)``, of unit peak."""
    n = round(seconds * RATE)
    t = times(n)
    sound = np.zeros(n)
    for offset, gain in ((0.0, 1.0), (patch.partner, patch.partner_gain)):
        hertz = 440 * 2 ** ((pitch + offset - 69) / 12)
        angle = phase(hertz, n) + rng.uniform(0, 2 * np.pi)
        index = patch.index * min(1.0, 3000 / hertz) * np.exp(-t)
        angle += index * np.sin(angle * patch.ratio) + patch.vibrato * np.sin(phase(5.0, n))
        sound += gain * np.interp(angle / (2 * np.pi) % 1 * 512, np.arange(513), _cycle(patch, hertz))
    attack, decay, release, sustain = patch.envelope
    envelope = np.minimum(t / attack, 1) * (
        sustain + (1 - sustain) * np.exp(-np.maximum(t - attack, 0) / decay)
    )
    envelope *= np.exp(-np.maximum(t - seconds + 0.3, 0) / release)
    sound += patch.hiss * noise(rng, n, 100, 7000) * (1 + 0.3 * glide(rng, n, 4))
    return (sound * envelope / (np.abs(sound * envelope).max() + 1e-9)).astype(np.float32)
