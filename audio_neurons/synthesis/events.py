"""Everyday sounds, made by small algorithms.

Every event that ESC-50 and GISE-51 share has two unrelated algorithms, one for each dataset: the two have
in common what a listener would name, not a formula. Each maker returns float32 ``(n,)`` at 16 kHz, of
arbitrary level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audio_neurons.synthesis import waves
from audio_neurons.synthesis.waves import RATE, band, bump, glide, modes, noise, phase, place, shaped, strike

Rng = np.random.Generator
Piece = Callable[[], np.ndarray]


def _repeat(rng: Rng, n: int, every: tuple[float, float], jitter: float, piece: Piece) -> np.ndarray:
    """Repeat a piece at a random, slightly irregular pace."""
    out = np.zeros(n, np.float32)
    period, at = rng.uniform(*every), rng.uniform(0, 0.15)
    while at < n / RATE:
        place(out, piece(), at, rng.uniform(0.6, 1.0))
        at += max(period * (1 + jitter * rng.normal()), 0.03)
    return out


def _scatter(rng: Rng, n: int, rate: float, piece: Piece) -> np.ndarray:
    """Place pieces at random times, ``rate`` per second on average."""
    out = np.zeros(n, np.float32)
    for at in rng.uniform(-0.1, n / RATE, rng.poisson(rate * n / RATE) + 1):
        place(out, piece(), at, rng.uniform(0.2, 1.0))
    return out


def _harmonics(hertz: np.ndarray, count: int, slope: float) -> np.ndarray:
    angle = phase(hertz, len(hertz))
    top = min(count, max(int(7500 / np.max(hertz)), 1))
    return sum(np.sin(k * angle) * k**-slope for k in range(1, top + 1)).astype(np.float32)


# --- shared events, in ESC-50's version


def _dog_voiced(rng: Rng, n: int) -> np.ndarray:
    size, formant = rng.uniform(0.7, 1.5), rng.uniform(600, 1400)

    def bark() -> np.ndarray:
        m = int(rng.uniform(0.09, 0.22) * RATE)
        hertz = rng.uniform(280, 520) / size * (0.7 + 0.6 * bump(m))
        sound = (_harmonics(hertz, 14, 0.5) + noise(rng, m, 300, 5000) * 0.6) * bump(m, 0.7)
        return shaped(sound, lambda f: np.exp(-(((f - formant) / 600) ** 2)) + 0.2)

    return _repeat(rng, n, (0.25, 0.6), 0.25, bark)


def _birds_swept(rng: Rng, n: int) -> np.ndarray:
    low = rng.uniform(1800, 4500)

    def chirp() -> np.ndarray:
        m = int(rng.uniform(0.04, 0.16) * RATE)
        sweep = low * 2 ** (rng.uniform(-0.6, 0.6) * np.linspace(-1, 1, m) + rng.uniform(0, 0.5))
        return np.sin(phase(sweep, m)) * bump(m)

    return _repeat(rng, n, (0.09, 0.3), 0.4, chirp)


def _crickets_pulsed(rng: Rng, n: int) -> np.ndarray:
    pulses, carrier, group = rng.uniform(22, 45), rng.uniform(3000, 5500), rng.uniform(1.5, 5)
    gate = np.maximum(np.sin(phase(pulses, n)), 0) * (np.sin(phase(group, n) + rng.uniform(0, 6)) > -0.3)
    return (np.sin(phase(carrier * (1 + 0.01 * glide(rng, n, 5)), n)) * gate).astype(np.float32)


def _footsteps_thumped(rng: Rng, n: int) -> np.ndarray:
    top, second = rng.uniform(150, 900), rng.uniform(0.04, 0.11)

    def step() -> np.ndarray:
        m = int(0.25 * RATE)
        sound = noise(rng, m, 40, top) * strike(m, 0.025)
        place(sound, noise(rng, m // 2, 200, 3 * top) * strike(m // 2, 0.03), second, rng.uniform(0.2, 0.6))
        return sound

    return _repeat(rng, n, (0.32, 0.62), 0.04, step)


def _clapping_crowd(rng: Rng, n: int) -> np.ndarray:
    def clap() -> np.ndarray:
        m = int(0.06 * RATE)
        centre = rng.uniform(700, 2600)
        return noise(rng, m, centre * 0.6, centre * 1.8) * strike(m, rng.uniform(0.004, 0.012), 0.0005)

    return _scatter(rng, n, rng.uniform(12, 45), clap)


def _train_rails(rng: Rng, n: int) -> np.ndarray:
    low, gap = rng.uniform(80, 250), rng.uniform(0.08, 0.16)

    def joint() -> np.ndarray:
        m = int(0.3 * RATE)
        sound = modes(rng.uniform(150, 1500, 5), rng.uniform(0.01, 0.06, 5), rng.uniform(0.2, 1, 5), m)
        place(sound, sound[: m // 2].copy(), gap, 0.8)
        return sound

    rumble = noise(rng, n, 30, low, -0.5) * (0.5 + 0.2 * glide(rng, n, 3)) + 0.15 * noise(rng, n, 500, 3000)
    return rumble + 1.2 * _repeat(rng, n, (0.4, 0.75), 0.03, joint)


def _wind_gusts(rng: Rng, n: int) -> np.ndarray:
    bands = [noise(rng, n, f, 2 * f) * (1 + glide(rng, n, 2)) ** 2 for f in (100, 200, 400, 800)]
    return np.tensordot(2 ** (-rng.uniform(0.3, 1.2) * np.arange(4)), bands, 1)


# --- shared events, in GISE-51's version


def _dog_rough(rng: Rng, n: int) -> np.ndarray:
    base, spread = rng.uniform(350, 900), rng.uniform(1, 4)

    def bark() -> np.ndarray:
        m = int(rng.uniform(0.08, 0.25) * RATE)
        rough = spread * np.sin(phase(rng.uniform(60, 130) * (1 + 0.3 * glide(rng, m, 40)), m))
        sound = np.sin(phase(base * 2 ** (-0.8 * np.linspace(0, 1, m)), m) + rough + 0.8 * rng.normal(size=m))
        return sound * strike(m, 0.3 * m / RATE, 0.015) * rng.uniform(0.5, 1)

    return _repeat(rng, n, (0.2, 0.7), 0.35, bark)


def _birds_trilled(rng: Rng, n: int) -> np.ndarray:
    def song() -> np.ndarray:
        m = int(rng.uniform(0.2, 0.6) * RATE)
        hertz = rng.uniform(2200, 6000) * (1 + rng.uniform(0.02, 0.2) * np.sin(phase(rng.uniform(14, 45), m)))
        return np.sin(phase(hertz, m) + np.sin(2 * phase(hertz, m))) * bump(m, 0.5)

    return _repeat(rng, n, (0.4, 0.9), 0.3, song)


def _crickets_hissed(rng: Rng, n: int) -> np.ndarray:
    centre, pulse = rng.uniform(2800, 6000), int(rng.uniform(0.008, 0.02) * RATE)
    hiss = noise(rng, n, centre * 0.97, centre * 1.03)
    gate = _repeat(rng, n, (0.1, 0.35), 0.05, lambda: np.tile(bump(pulse), 3))
    return hiss * gate


def _footsteps_gravel(rng: Rng, n: int) -> np.ndarray:
    body, count = rng.uniform(70, 260), int(rng.integers(8, 60))

    def step() -> np.ndarray:
        m = int(0.22 * RATE)
        sound = modes([body, body * 1.6, body * 2.7], [0.03, 0.02, 0.015], [1, 0.6, 0.4], m)
        grains = np.zeros(m, np.float32)
        grains[rng.integers(0, m, count)] = rng.normal(0, 3, count)
        return sound + shaped(grains, band(800, 6000)) * bump(m)

    return _repeat(rng, n, (0.33, 0.66), 0.05, step)


def _clapping_hands(rng: Rng, n: int) -> np.ndarray:
    hands = [rng.uniform(500, 2500, 4) for _ in range(rng.integers(1, 4))]
    out = np.zeros(n, np.float32)
    for palm in hands:
        taus = rng.uniform(0.003, 0.012, 4)

        def clap(palm: np.ndarray = palm, taus: np.ndarray = taus) -> np.ndarray:
            return modes(palm * rng.uniform(0.9, 1.1, 4), taus, rng.normal(0, 1, 4), int(0.08 * RATE))

        out += _repeat(rng, n, (0.14, 0.4), 0.06, clap)
    return out


def _train_steam(rng: Rng, n: int) -> np.ndarray:
    rate = rng.uniform(2.5, 7)
    puffs = np.maximum(np.sin(phase(rate, n) + rng.uniform(0, 6)), 0) ** 2
    sound = noise(rng, n, 60, rng.uniform(600, 2500), -0.4) * (0.2 + puffs)
    if rng.random() < 0.5:
        chord = rng.uniform(260, 420) * np.array([1, 1.26, 1.5])
        whistle = sum(np.sin(phase(f, n)) + 0.4 * np.sin(phase(2 * f, n)) for f in chord)
        sound += 0.5 * whistle * (glide(rng, n, 2) > -0.2)
    return sound.astype(np.float32)


def _wind_howl(rng: Rng, n: int) -> np.ndarray:
    out = 0.5 * noise(rng, n, 40, 500, -0.5) * (1 + 0.6 * glide(rng, n, 3))
    for _ in range(rng.integers(1, 4)):  # a narrow resonance that wanders: noise times a carrier
        carrier = np.sin(phase(rng.uniform(250, 1100) * 2 ** (0.3 * glide(rng, n, 2)), n))
        out += carrier * noise(rng, n, 1, 25) * (1 + glide(rng, n, 2)) * 0.5
    return out.astype(np.float32)


# --- events of one dataset only


def _clock_alarm(rng: Rng, n: int) -> np.ndarray:
    beeps, hertz = rng.uniform(4, 12), rng.uniform(1200, 3200)
    gate = (np.sin(phase(beeps, n)) > 0) & (np.sin(phase(beeps / 4, n) + rng.uniform(0, 6)) > -0.8)
    return ((np.sin(phase(hertz, n)) + 0.4 * np.sin(phase(3 * hertz % 7000, n))) * gate).astype(np.float32)


def _church_bells(rng: Rng, n: int) -> np.ndarray:
    def bell() -> np.ndarray:
        f = rng.uniform(180, 700) * np.array([0.5, 1, 1.19, 1.5, 2, 2.66, 3.0, 4.1])
        return modes(f, rng.uniform(0.2, 1.2, 8), rng.uniform(0.2, 1, 8), int(1.6 * RATE))

    return _repeat(rng, n, (0.5, 1.1), 0.1, bell)


def _siren(rng: Rng, n: int) -> np.ndarray:
    sweep = np.sin(phase(rng.uniform(0.4, 4), n) + rng.uniform(0, 6))
    if rng.random() < 0.4:
        sweep = np.sign(sweep) * 0.5
    return _harmonics(rng.uniform(500, 1100) * 2 ** (0.5 * sweep), 6, rng.uniform(0.8, 2))


def _vacuum_cleaner(rng: Rng, n: int) -> np.ndarray:
    hum = _harmonics(rng.uniform(110, 380) * (1 + 0.01 * glide(rng, n, 3)), 12, rng.uniform(0.3, 1.2))
    return hum * rng.uniform(0.15, 0.5) + noise(rng, n, rng.uniform(200, 800), rng.uniform(3000, 7000))


def _keyboard_typing(rng: Rng, n: int) -> np.ndarray:
    key = rng.uniform(1500, 4500)

    def press() -> np.ndarray:
        m = int(0.12 * RATE)
        sound = noise(rng, m, key * 0.6, key * 1.5) * strike(m, 0.006, 0.0005)
        place(sound, sound[: m // 2].copy(), rng.uniform(0.04, 0.08), rng.uniform(0.2, 0.6))
        return sound

    return _scatter(rng, n, rng.uniform(5, 12), press)


def _coin(rng: Rng, n: int) -> np.ndarray:
    f, taus = rng.uniform(1800, 7500, 6), rng.uniform(0.02, 0.15, 6)
    out, gap, at, gain = np.zeros(n, np.float32), rng.uniform(0.18, 0.4), 0.0, 1.0
    while gap > 0.02 and at < n / RATE:
        place(out, modes(f, taus, rng.uniform(0, 1, 6), int(0.3 * RATE)), at, gain)
        at, gap, gain = at + gap, gap * rng.uniform(0.6, 0.85), gain * 0.85
    return out


def _hi_hat(rng: Rng, n: int) -> np.ndarray:
    base = rng.uniform(300, 600)

    def hit() -> np.ndarray:
        m = int(0.3 * RATE)
        metal = sum(np.sign(np.sin(phase(base * k, m))) for k in (1, 1.34, 1.79, 2.11, 2.55, 2.91))
        return shaped(metal + noise(rng, m), band(4500, 8000)) * strike(m, 10 ** rng.uniform(-2, -1), 0.001)

    return _repeat(rng, n, (0.12, 0.4), 0.02, hit)


def _tearing(rng: Rng, n: int) -> np.ndarray:
    grains = rng.standard_normal(n, dtype=np.float32) * (rng.random(n) < 0.02 + 0.03 * (1 + glide(rng, n, 8)))
    out = shaped(grains, band(900, 7000)) * (0.6 + 0.4 * glide(rng, n, 5))
    return _repeat(rng, n, (0.5, 1.0), 0.2, lambda: bump(int(rng.uniform(0.3, 0.7) * RATE), 0.5)) * out


# --- events of the pool only


def _water(rng: Rng, n: int) -> np.ndarray:
    def drop() -> np.ndarray:
        m = int(rng.uniform(0.02, 0.08) * RATE)
        return np.sin(phase(rng.uniform(500, 3000) * np.linspace(1, rng.uniform(1.1, 1.8), m), m)) * bump(m)

    return _scatter(rng, n, rng.uniform(5, 60), drop) + rng.uniform(0, 0.4) * noise(rng, n, 300, 6000)


def _engine(rng: Rng, n: int) -> np.ndarray:
    speed = rng.uniform(30, 140) * 2 ** (0.3 * glide(rng, n, 1))
    return _harmonics(speed, 20, rng.uniform(0.5, 1.3)) * (1 + 0.3 * glide(rng, n, 30)) + 0.3 * noise(
        rng, n, 60, 900
    )


def _drum(rng: Rng, n: int) -> np.ndarray:
    f = rng.uniform(60, 350)

    def hit() -> np.ndarray:
        m = int(0.4 * RATE)
        skin = np.sin(phase(f * (1 + 0.6 * np.exp(-waves.times(m) / 0.02)), m)) * strike(m, 0.12)
        return skin + rng.uniform(0, 0.8) * noise(rng, m, 500, 6000) * strike(m, 0.06)

    return _repeat(rng, n, (0.15, 0.6), 0.05, hit)


# Category: (GISE-51's name, maker for ESC-50, maker for GISE-51, tag in the pool).
SHARED = {
    "dog": ("Dog", _dog_voiced, _dog_rough, "animal"),
    "chirping_birds": ("Chirp_and_tweet", _birds_swept, _birds_trilled, "animal"),
    "crickets": ("Cricket", _crickets_pulsed, _crickets_hissed, "animal"),
    "footsteps": ("Walk_and_footsteps", _footsteps_thumped, _footsteps_gravel, "impact"),
    "clapping": ("Clapping", _clapping_crowd, _clapping_hands, "impact"),
    "train": ("Train", _train_rails, _train_steam, "engine"),
    "wind": ("Wind", _wind_gusts, _wind_howl, "water_wind"),
}
_ESC50_ONLY = {
    "clock_alarm": (_clock_alarm, "alarm_bell"), "church_bells": (_church_bells, "alarm_bell"),
    "siren": (_siren, "alarm_bell"), "vacuum_cleaner": (_vacuum_cleaner, "engine"),
    "keyboard_typing": (_keyboard_typing, "impact"),
}  # fmt: skip
_GISE51_ONLY = {
    "Coin_(dropping)": (_coin, "impact"), "Hi-hat": (_hi_hat, "drum"), "Tearing": (_tearing, "impact"),
}  # fmt: skip
ESC50 = {name: row[1] for name, row in SHARED.items()} | {name: row[0] for name, row in _ESC50_ONLY.items()}
GISE51 = {row[0]: row[2] for row in SHARED.values()} | {name: row[0] for name, row in _GISE51_ONLY.items()}
POOL = [
    *((maker, row[3]) for row in SHARED.values() for maker in row[1:3]),
    *_ESC50_ONLY.values(), *_GISE51_ONLY.values(),
    (_water, "water_wind"), (_engine, "engine"), (_drum, "drum"),
]  # fmt: skip
