"""Ten genres as rules for a band: tempo, groove, harmony and instruments; none alone tells the genre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np

from audio_neurons.synthesis import soundfont
from audio_neurons.synthesis.waves import RATE, place, shaped

T = TypeVar("T")

KICK, SNARE, CLAP, CLOSED, OPEN, RIDE, SHAKER = 36, 38, 39, 42, 46, 51, 70
MAJOR, MINOR, BLUES = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 6, 7, 10)
TRIAD, LESSER, SEVENTH, NINTH, POWER = (0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10, 14), (0, 7, 12)


@dataclass(frozen=True)
class Genre:
    """Rules of a genre; a pattern has sixteen steps per bar, and several patterns are alternatives."""

    tempo: tuple[float, float]
    swing: float  # delay of every second eighth, as part of an eighth
    kits: tuple[int, ...]  # () plays without drums
    drums: tuple[dict[int, str], ...]
    bass: tuple[int, ...]
    walk: tuple[str, ...]  # bass rhythm; r root, f fifth, o octave, w a step of the scale
    comp: tuple[int, ...]
    strum: tuple[str, ...]  # chord rhythm; x short, X held
    lead: tuple[int, ...]
    chords: tuple[tuple[int, ...], ...]
    roots: tuple[tuple[int, ...], ...] = ((0, 5, 7, 0), (0, 9, 5, 7), (0, 7, 9, 5))
    scale: tuple[int, ...] = MAJOR
    busy: float = 0.35  # probability of a lead note per step
    drive: float = 0.0
    levels: tuple[float, float, float, float] = field(default=(1.0, 0.8, 0.7, 0.6))  # drums, bass, comp, lead


EIGHTHS, FOUR, BACK = "x.x.x.x.x.x.x.x.", "x...x...x...x...", "....x.......x..."
BACKBEAT = {KICK: "x.......x.......", SNARE: BACK, CLOSED: EIGHTHS}
GENRES = {
    "blues": Genre(
        (65, 120), 0.33, (0, 8), (BACKBEAT, {**BACKBEAT, RIDE: FOUR}), (32, 33),
        ("r.r.f.f.w.w.f.f.", "r...f...w...f..."), (26, 27, 16, 0), (BACK, FOUR), (21, 27, 66, 29), (SEVENTH,),
        ((0, 5, 0, 7), (0, 0, 5, 5)), BLUES, 0.4,
    ),
    "classical": Genre(
        (60, 140), 0.0, (), ({},), (42, 43, 48), ("r.......f.......", "r...............", "r...f...r...f..."),
        (48, 0, 46, 49, 6), ("X.......X.......", EIGHTHS, "X..............."), (40, 73, 68, 71, 0),
        (TRIAD, LESSER), ((0, 7, 9, 5), (0, 5, 7, 0), (0, 2, 7, 0)), MAJOR, 0.55,
    ),
    "country": Genre(
        (85, 150), 0.08, (0, 40), ({KICK: "x.......x.......", SNARE: "x.xxx.xxx.xxx.xx"}, BACKBEAT), (32, 33),
        ("r.......f.......", "r...f...r...f..."), (25, 24, 3), (BACK, "..x...x...x...x."), (105, 110, 25, 21),
        (TRIAD,), ((0, 5, 7, 0), (0, 0, 7, 0)), MAJOR, 0.45,
    ),
    "disco": Genre(
        (105, 132), 0.0, (0, 8, 24),
        ({KICK: FOUR, SNARE: BACK, OPEN: "..x...x...x...x."}, {KICK: FOUR, CLAP: BACK, CLOSED: EIGHTHS}),
        (33, 36, 38), ("r.o.r.o.r.o.r.o.", "r..or..or..or.o."), (27, 4, 28),
        ("..x...x...x...x.", "x..x..x.x..x..x."), (48, 50, 61), (LESSER, NINTH),
        ((0, 5, 10, 3), (0, 0, 8, 10)), MINOR, 0.3,
    ),
    "hiphop": Genre(
        (75, 110), 0.12, (25, 24, 0),
        ({KICK: "x.....x...x.....", SNARE: BACK, CLOSED: "x.x.x.x.x.x.xxx."},
         {KICK: "x..x......x..x..", CLAP: BACK, CLOSED: "xxx.x.xxx.x.x.x."}),
        (38, 39, 32), ("r.....r...r.....", "r.........r..r.."), (4, 0, 5, 48),
        ("x...............", "x.....x........."), (11, 0, 62, 12), (LESSER, NINTH),
        ((0, 0, 8, 8), (0, 0, 0, 10)), MINOR, 0.15, 0.0, (1.2, 1.1, 0.5, 0.4),
    ),
    "jazz": Genre(
        (95, 210), 0.33, (32, 40, 0),
        ({RIDE: "x...x..xx...x..x", CLOSED: BACK},
         {RIDE: "x...x..xx...x..x", SNARE: ".......x......x.", KICK: "..........x....."}),
        (32, 35), ("r...w...f...w...", "r...w...w...w..."), (0, 26, 4, 11),
        ("...x......x.....", "x.....x.......x."), (66, 65, 56, 26, 71), (NINTH, SEVENTH),
        ((2, 7, 0, 9), (0, 9, 2, 7)), MAJOR, 0.5, 0.0, (0.7, 0.9, 0.6, 0.7),
    ),
    "metal": Genre(
        (100, 200), 0.0, (16, 0),
        ({KICK: "x" * 16, SNARE: BACK, RIDE: FOUR}, {KICK: "x.xxx.xxx.xxx.xx", SNARE: BACK, OPEN: FOUR}),
        (34, 33), ("rrrrrrrrrrrrrrrr", "r.rrr.rrr.rrr.rr"), (30, 29),
        ("x.xxx.xxx.xxx.xx", "xxxxxxxxxxxxxxxx", "X.......X..x.x.x"), (30, 29), (POWER,),
        ((0, 1, 0, 6), (0, 8, 10, 0)), MINOR, 0.25, 4.0,
    ),
    "pop": Genre(
        (90, 132), 0.0, (0, 24, 8),
        ({KICK: "x.....x.x.......", SNARE: BACK, CLOSED: EIGHTHS},
         {KICK: FOUR, CLAP: BACK, SHAKER: "x" * 16}),
        (33, 38, 39), ("r.r.r.r.r.r.r.r.", "r..r..r.r..r..r."), (0, 27, 50, 25),
        ("X.......X.......", EIGHTHS), (80, 81, 73, 54), (TRIAD, LESSER),
        ((0, 7, 9, 5), (9, 5, 0, 7)), MAJOR, 0.3,
    ),
    "reggae": Genre(
        (62, 100), 0.1, (0, 8),
        ({KICK: "........x.......", SNARE: "........x.......", CLOSED: EIGHTHS},
         {KICK: "x.......x.......", SNARE: BACK, CLOSED: "..x...x...x...x."}),
        (33, 35), ("r..r..f.r...w...", "....r.r.f..r...."), (28, 27, 16, 17),
        ("..x...x...x...x.", "..xx..xx..xx..xx"), (16, 73, 61, 21), (TRIAD, LESSER),
        ((0, 5, 0, 5), (0, 10, 0, 7)), MINOR, 0.2, 0.0, (0.8, 1.2, 0.7, 0.4),
    ),
    "rock": Genre(
        (90, 160), 0.0, (0, 16, 8), (BACKBEAT, {KICK: "x..x..x.x..x....", SNARE: BACK, OPEN: EIGHTHS}),
        (34, 33), ("r.r.r.r.r.r.r.r.", "r...r..rr...r.w."), (29, 27, 30, 25),
        (EIGHTHS, "X.......X...x...", "x..x..x.x..x..x."), (29, 30, 16, 27), (POWER, TRIAD),
        ((0, 5, 7, 5), (0, 10, 5, 0)), MAJOR, 0.3, 1.5,
    ),
}  # fmt: skip


@dataclass
class Player:
    """Places notes in a piece on a grid of sixteenths."""

    out: np.ndarray
    step: float  # s
    swing: float
    first: int  # step of the bar on which the piece begins

    def steps(self) -> Iterator[tuple[float, int]]:
        """Yield times in seconds and steps of the bar, to the end of the piece."""
        for i in range(int(len(self.out) / RATE / self.step) + 1):
            k = self.first + i
            late = self.swing * 2 * self.step if k % 4 == 2 else 0.0
            yield i * self.step + late, k

    def hit(
        self, at: float, program: int, pitch: float, velocity: int, held: float, gain: float, bank: int = 0
    ) -> None:
        """Place one note; notes that were played before are cached."""
        place(self.out, _note(program, pitch, velocity, round(held, 2), bank), at, gain)


@lru_cache(maxsize=256)
def _note(program: int, pitch: float, velocity: int, held: float, bank: int) -> np.ndarray:
    seconds = 0.35 if bank else min(held + 0.15, 1.6)
    return soundfont.note(program, pitch, velocity, seconds, held, bank)


def band(rng: np.random.Generator, rules: Genre, seconds: float) -> np.ndarray:
    """Return bars that follow the rules, from a random step on; float32 ``(seconds * 16000,)``."""
    step = 15 / rng.uniform(*rules.tempo)
    player = Player(np.zeros(round(seconds * RATE), np.float32), step, rules.swing, int(rng.integers(0, 16)))
    levels = np.array(rules.levels) * 2 ** rng.uniform(-0.6, 0.6, 4)
    key, roots = int(rng.integers(0, 12)), rules.roots[rng.integers(len(rules.roots))]
    chord = rules.chords[rng.integers(len(rules.chords))]
    bar = int(rng.integers(0, 4))

    def pick(options: Sequence[T]) -> T:
        return options[int(rng.integers(len(options)))]

    def root(k: int) -> int:
        return (key + roots[(bar + k // 16) % 4]) % 12

    if rules.kits and rng.random() < 0.96:
        kit = pick(rules.kits)
        for drum, pattern in pick(rules.drums).items():
            for at, k in player.steps():
                if pattern[k % 16] == "x" and rng.random() < 0.93:
                    player.hit(at, kit, drum, 80 + 15 * int(rng.integers(3)), 0.3, levels[0], soundfont.DRUMS)
    if rng.random() < 0.9:
        program, line = pick(rules.bass), pick(rules.walk)
        move = {"r": 0, "f": 7, "o": 12}
        for at, k in player.steps():
            if line[k % 16] != ".":
                interval = move.get(line[k % 16], rules.scale[rng.integers(len(rules.scale))])
                player.hit(at, program, 33 + root(k) + interval, 100, 2.5 * step, levels[1])
    program, rhythm, base = pick(rules.comp), pick(rules.strum), int(rng.integers(50, 62))
    for at, k in player.steps():
        if rhythm[k % 16] != "." or k == player.first:
            held = 7 * step if rhythm[k % 16] == "X" else 1.4 * step
            for interval in chord:
                player.hit(at, program, base + root(k) + interval, 85, held, 0.6 * levels[2])
    if rng.random() < 0.75:
        program, degree, base = pick(rules.lead), int(rng.integers(0, 7)), int(rng.integers(60, 74))
        for at, k in player.steps():
            if k % 2 == 0 and rng.random() < 2 * rules.busy:
                degree = int(np.clip(degree + rng.integers(-2, 3), -3, 9))
                octave, tone = divmod(degree, len(rules.scale))
                player.hit(at, program, base + key + rules.scale[tone] + 12 * octave, 95, 2 * step, levels[3])
    return _driven(player.out, rules.drive * rng.uniform(0.5, 1.2))


def _driven(sound: np.ndarray, drive: float) -> np.ndarray:
    """Overdrive a sound, like an amplifier and its loudspeaker."""
    sound = sound / (np.abs(sound).max() + 1e-6)
    return shaped(np.tanh((1 + drive) * sound), lambda f: 1 / (1 + (f / 5000) ** 2)) if drive else sound


# The pool's bands draw every rule at random and use programs that no genre above uses.
_POOL_PROGRAMS = {
    "keyboard": (2, 99), "plucked": (31, 45, 104, 106, 107), "strings": (44, 51), "bass": (37, 87),
    "wind_brass": (59, 69, 79, 109, 111), "synth": (88, 90, 93, 95, 96),
}  # fmt: skip
_POOL_DRUMS = (35, 37, 40, 44, 45, 49, 50, 54, 56, 63)


def pool_band(rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, set[str]]:
    """Return a piece without a genre, and the tags of its instruments."""

    def rhythm(symbols: str, low: int, high: int) -> str:
        line = ["."] * 16
        for k in rng.choice(16, rng.integers(low, high), replace=False):
            line[k] = str(rng.choice(list(symbols)))
        return "".join(line)

    kinds = [str(kind) for kind in rng.choice([k for k in _POOL_PROGRAMS if k != "bass"], 2)]
    drums = rng.random() < 0.7
    pattern = {int(d): rhythm("x", 2, 9) for d in rng.choice(_POOL_DRUMS, 3, replace=False)}
    rules = Genre(
        tempo=(60, 200), swing=rng.uniform(0, 0.33), kits=(48,) if drums else (), drums=(pattern,),
        bass=_POOL_PROGRAMS["bass"], walk=(rhythm("rfow", 3, 12),), comp=_POOL_PROGRAMS[kinds[0]],
        strum=(rhythm("xX", 2, 10),), lead=_POOL_PROGRAMS[kinds[1]],
        chords=((0, 5, 7), (0, 2, 7), (0, 4, 9), (0, 3, 8)),
        roots=(tuple(int(r) for r in rng.integers(0, 12, 4)),), scale=(0, 2, 4, 7, 9),
        busy=rng.uniform(0.1, 0.5), drive=float(rng.choice([0, 0, 2])),
    )  # fmt: skip
    return band(rng, rules, seconds), {"music", "bass", *kinds} | ({"drum"} if drums else set())
