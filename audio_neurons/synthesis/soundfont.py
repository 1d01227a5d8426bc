"""A small renderer of SoundFont 2 instruments: samples, loops, tuning and volume envelopes.

The SoundFont is TimGM6mb (GPL-2.0-only, from the package pretty_midi; used only here). Filters,
modulators and stereo are ignored: the demo needs many distinguishable instruments, not realistic ones.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from audio_neurons.synthesis.waves import RATE, times

DRUMS = 128  # the bank of drum kits

# Generators by number, with their defaults (SoundFont 2.04, section 8.1.3).
_ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE = 34, 35, 36, 37, 38
_INSTRUMENT, _KEYS, _VELOCITIES, _SAMPLE, _MODES, _SCALE, _ROOT = 41, 43, 44, 53, 54, 56, 58
_COARSE, _FINE, _ATTENUATION = 51, 52, 48
_OFFSETS = {
    0: (0, 1),
    4: (0, 32768),
    1: (1, 1),
    12: (1, 32768),
    2: (2, 1),
    45: (2, 32768),
    3: (3, 1),
    50: (3, 32768),
}
_DEFAULTS = {_ATTACK: -12000, _HOLD: -12000, _DECAY: -12000, _RELEASE: -12000, _SCALE: 100}
_ADDED = (_ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE, _COARSE, _FINE, _ATTENUATION)


class DemoPackageMissing(ImportError):
    """A package of the optional extra ``demo`` is not installed."""

    def __init__(self, package: str):
        super().__init__(f"the demo's recordings need '{package}': pip install 'audio-neurons[demo]'")


@dataclass(frozen=True)
class Zone:
    """One sample of an instrument, and the keys and velocities that it covers."""

    keys: tuple[int, int]
    velocities: tuple[int, int]
    span: tuple[int, int]  # first and one past last sample
    loop: tuple[int, int] | None
    rate: int
    root: float  # MIDI pitch at which the sample sounds unchanged
    scale: float  # semitones per key
    envelope: tuple[float, float, float, float, float]  # attack, hold, decay, release in s; sustain as gain
    gain: float


@cache
def _font() -> tuple[np.ndarray, dict[tuple[int, int], list[Zone]]]:
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise DemoPackageMissing("pretty_midi")
    data = path.read_bytes()
    chunks = dict(_chunks(data, 12, len(data)))
    return np.frombuffer(chunks["smpl"], "<i2"), _presets(chunks)


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[str, bytes]]:
    while at < end:
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"LIST":
            yield from _chunks(data, at + 12, at + 8 + size)
        else:
            yield name.decode(), data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _bags(
    bags: Sequence[tuple], generators: Sequence[tuple], first: int, last: int, terminal: int
) -> Iterator[dict[int, int]]:
    """Yield the generators of each zone between two bags, overriding those of a global zone."""
    common: dict[int, int] = {}
    for bag in range(first, last):
        zone = dict(generators[bags[bag][0] : bags[bag + 1][0]])
        if terminal in zone:
            yield common | zone
        elif bag == first:
            common = zone


def _presets(chunks: dict[str, bytes]) -> dict[tuple[int, int], list[Zone]]:
    table = {
        name: list(struct.iter_unpack(form, chunks[name]))
        for name, form in (
            ("phdr", "<20sHHHIII"), ("pbag", "<HH"), ("pgen", "<Hh"), ("inst", "<20sH"), ("ibag", "<HH"),
            ("igen", "<Hh"), ("shdr", "<20sIIIIIBbHH"),
        )
    }  # fmt: skip
    presets: dict[tuple[int, int], list[Zone]] = {}
    for head, following in zip(table["phdr"], table["phdr"][1:], strict=False):
        zones = presets.setdefault((head[2], head[1]), [])
        for outer in _bags(table["pbag"], table["pgen"], head[3], following[3], _INSTRUMENT):
            number = outer[_INSTRUMENT]
            span = table["inst"][number][1], table["inst"][number + 1][1]
            for inner in _bags(table["ibag"], table["igen"], *span, _SAMPLE):
                zones.append(_zone(outer, inner, table["shdr"][inner[_SAMPLE]]))
    return presets


def _range(generators: dict[int, int], number: int) -> tuple[int, int]:
    value = generators.get(number, 127 << 8) & 0xFFFF
    return value & 0xFF, value >> 8


def _zone(outer: dict[int, int], inner: dict[int, int], sample: tuple) -> Zone:
    _, *points, rate, pitch, correction, _, _ = sample
    for number, (point, factor) in _OFFSETS.items():
        points[point] += factor * inner.get(number, 0)
    get = _DEFAULTS | inner
    value = {g: get.get(g, 0) + outer.get(g, 0) for g in _ADDED}
    attack, hold, decay, release = (2 ** (value[g] / 1200) for g in (_ATTACK, _HOLD, _DECAY, _RELEASE))
    keys, wider = _range(inner, _KEYS), _range(outer, _KEYS)
    soft, louder = _range(inner, _VELOCITIES), _range(outer, _VELOCITIES)
    root = get.get(_ROOT, -1)
    return Zone(
        keys=(max(keys[0], wider[0]), min(keys[1], wider[1])),
        velocities=(max(soft[0], louder[0]), min(soft[1], louder[1])),
        span=(points[0], points[1]),
        loop=(points[2], points[3]) if get.get(_MODES, 0) & 1 and points[3] > points[2] + 8 else None,
        rate=rate,
        root=(root if root >= 0 else pitch) - (value[_COARSE] + (value[_FINE] + correction) / 100),
        scale=get[_SCALE] / 100,
        envelope=(attack, hold, decay, release, 10 ** (-min(max(value[_SUSTAIN], 0), 1000) / 200)),
        gain=10 ** (-0.4 * value[_ATTENUATION] / 200),
    )


@lru_cache(maxsize=2048)
def _samples(first: int, last: int, level: int) -> np.ndarray:
    """Return a sample as float32, decimated by ``2 ** level`` so that high notes do not alias."""
    sound = _font()[0][first:last].astype(np.float32) / 32768
    return resample_poly(sound, 1, 2**level).astype(np.float32) if level else sound


def _envelope(zone: Zone, n: int, held: float) -> np.ndarray:
    attack, hold, decay, release, sustain = zone.envelope
    t = times(n)
    rise = np.minimum(t / max(attack, 1e-3), 1)
    fall = np.exp(-np.maximum(t - attack - hold, 0) / max(decay, 1e-3) * 11.5)  # 100 dB in `decay` seconds
    end = np.exp(-np.maximum(t - held, 0) / max(min(release, 1.0), 0.03) * 11.5)
    return rise * np.maximum(fall, sustain) * end


def note(program: int, pitch: float, velocity: int, seconds: float, held: float, bank: int = 0) -> np.ndarray:
    """Return one note of a SoundFont instrument.

    Parameters
    ----------
    pitch
        MIDI pitch, fractions allowed; on a drum kit, the drum.
    velocity
        MIDI velocity, 1-127.
    seconds, held
        Length of the result, and time at which the key is released.

    Returns
    -------
    float32 ``(seconds * 16000,)``.
    """
    zones = _font()[1][bank, program]
    key = round(pitch)
    fits = [
        z for z in zones if z.keys[0] <= key <= z.keys[1] and z.velocities[0] <= velocity <= z.velocities[1]
    ]
    if not fits:  # outside the instrument's range, use its nearest sample
        fits = [min(zones, key=lambda z: max(z.keys[0] - key, key - z.keys[1]))]
    n = round(seconds * RATE)
    out = np.zeros(n, np.float32)
    for zone in fits[:2]:
        ratio = 2 ** ((pitch - zone.root) * zone.scale / 12) * zone.rate / RATE
        level = int(np.clip(round(np.log2(ratio)), 0, 5))
        sound, step = _samples(*zone.span, level), 2**level
        position = np.arange(n, dtype=np.float64) * (ratio / step)
        if zone.loop:
            start, end = ((point - zone.span[0]) / step for point in zone.loop)
            late = position >= end
            position[late] = start + (position[late] - start) % (end - start)
        position = position[: np.searchsorted(position, len(sound) - 2)] if not zone.loop else position
        whole = np.minimum(position.astype(np.int64), len(sound) - 2)
        rest = (position - whole).astype(np.float32)
        wave = sound[whole] * (1 - rest) + sound[whole + 1] * rest
        out[: len(wave)] += zone.gain * wave * _envelope(zone, n, held)[: len(wave)]
    return out * (velocity / 127) ** 1.5
