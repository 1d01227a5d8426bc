"""Training pool of the demo: all its kinds of sound, with separate voices, programs and patches.

Its tags are coarse: they never reveal gender, octave, language, emotion or genre.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audio_neurons import tables
from audio_neurons.synthesis import events, instruments, music, speech
from audio_neurons.synthesis.channel import fit, frames, record
from audio_neurons.synthesis.packing import flac
from audio_neurons.synthesis.waves import RATE, generator

_FAMILY_TAGS = {
    "bass": "bass", "brass": "wind_brass", "flute": "wind_brass", "guitar": "plucked", "keyboard": "keyboard",
    "mallet": "keyboard", "organ": "keyboard", "reed": "wind_brass", "string": "strings", "vocal": "synth",
    "synth_lead": "synth",
}  # fmt: skip
KINDS = {"speech": 0.3, "note": 0.15, "patch": 0.12, "music": 0.15, "event": 0.28}
MIXED, BLOCK = 0.3, 256


def _source(rng: np.random.Generator, voice: speech.Voice, kind: str, n: int) -> tuple[np.ndarray, set[str]]:
    """Return one sound of a kind, float32 ``(n,)`` of unit peak, and its tags."""
    seconds = n / RATE
    if kind == "speech":
        language = str(rng.choice(speech.LANGUAGES))
        who = speech.speaker(rng, "pool", str(rng.choice(speech.GENDERS)), int(rng.integers(64)))
        mood = speech.EMOTIONS["NEU" if rng.random() < 0.4 else str(rng.choice(list(speech.EMOTIONS)))]
        words = speech.sentence(language, int(rng.integers(speech.SENTENCE_COUNT)))
        sound, tags = voice.say(rng, who, words, language, mood), {"speech"}
    elif kind == "music":
        sound, tags = music.pool_band(rng, seconds)
    elif kind == "event":
        maker, tag = events.POOL[rng.integers(len(events.POOL))]
        sound, tags = maker(rng, n), {tag}
    else:
        pitch = int(rng.integers(instruments.LOWEST, instruments.LOWEST + 12 * instruments.OCTAVES))
        if kind == "patch":
            sound, tags = instruments.synthesise(rng, instruments.tone(rng), pitch, seconds), {"synth"}
        else:
            family = str(rng.choice(list(instruments.FAMILIES)))
            build = instruments.instrument(rng, int(rng.choice(instruments.FAMILIES[family]["pool"])))
            sound = instruments.play(rng, build, pitch, int(rng.integers(25, 128)), seconds)
            tags = {_FAMILY_TAGS[family]}
    sound = fit(rng, sound, n)
    return sound / (np.abs(sound).max() + 1e-9), tags


def clip(seed: int, index: int, voice: speech.Voice, seconds: float) -> tuple[np.ndarray, set[str]]:
    """Return the pool's ``index``-th recording, float32 at 16 kHz, and its tags."""
    rng = generator(seed, "pool", index)
    n = frames(rng, seconds)
    kinds = rng.choice(list(KINDS), 2 if rng.random() < MIXED else 1, replace=False, p=list(KINDS.values()))
    mix, tags = np.zeros(n, np.float32), set()
    for kind in kinds:
        sound, names = _source(rng, voice, str(kind), n)
        mix += 10 ** (rng.uniform(-8, 0) / 20) * sound
        tags |= names
    return record(rng, mix), tags


def write(path: Path, clips: int, seconds: float, seed: int) -> None:
    """Write the pool as a ``clips`` table with the label column ``tags``, comma-joined."""
    with speech.voice() as voice, tables.writer(path, "clips", ["tags"]) as table:
        for start in range(0, clips, BLOCK):
            numbers = range(start, min(start + BLOCK, clips))
            made = [clip(seed, index, voice, seconds) for index in numbers]
            names = [f"pool/{index:06d}" for index in numbers]
            table.append({
                "clip_id": names,
                "audio": [flac(audio) for audio, _ in made],
                "frames": [len(audio) for audio, _ in made],
                "split": ["train"] * len(made),
                "fold": [0] * len(made),
                "group": names,
                "tags": [",".join(sorted(tags)) for _, tags in made],
            })  # fmt: skip
