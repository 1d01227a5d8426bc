"""A tiny AudioSet in the layout of Google's lists and EVAR's folders."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

# Names contain commas and quotes; the last class occurs in no list.
CLASSES = {
    "/m/0tone1": "Tone, low",
    "/m/0tone2": 'Tone, "high"',
    "/t/dd0099": "Noise",
    "/m/0none0": "Nothing, ever",
}
SOUNDS = list(CLASSES)[:3]
LISTS = {"balanced_train_segments": 60, "eval_segments": 30, "unbalanced_train_segments": 12}
HEAD = """\
# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=1, num_segs=1
# YTID, start_seconds, end_seconds, positive_labels
"""


def identifier(name: str, number: int) -> str:
    """Return an identifier of eleven characters; some begin with a character that shells may misread."""
    return f"{'-_aB0'[number % 5]}{name[0]}x-_{number:06d}"


def sound(tags: list[str], rng: np.random.Generator, rate: int, seconds: float = 0.8) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.002 * rng.standard_normal(len(time))
    for tag, (low, high) in zip(SOUNDS, [(200, 400), (1500, 3000), (0, 0)], strict=True):
        if tag in tags:
            tone = 0.2 * np.sin(2 * np.pi * rng.uniform(low, high) * time)
            wave += tone if high else 0.05 * rng.standard_normal(len(time))
    return wave * rng.uniform(0.5, 1.0)


def make(folder: Path, missing: int = 3, lists: dict[str, int] = LISTS, seed: int = 0) -> Path:
    """Write lists and clips; ``missing`` clips of every list have no file, one file is damaged."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "class_labels_indices.csv", "w", newline="") as file:
        rows = [(number, *names) for number, names in enumerate(CLASSES.items())]
        csv.writer(file, lineterminator="\n").writerows([("index", "mid", "display_name"), *rows])
    for name, clips in lists.items():
        lines = []
        for number in range(clips):
            clip = identifier(name, number)
            # The first class is rare, so that balanced sampling has an effect.
            rare = number % 10 == 0
            tags = [SOUNDS[0]] if rare else [SOUNDS[1 + number % 2]] + [SOUNDS[0]] * (number % 15 == 7)
            lines.append(f'{clip}, {number}.000, {number + 10}.000, "{",".join(tags)}"')
            if number < missing:
                continue
            rate, kind = [(48_000, "flac"), (44_100, "wav"), (16_000, "wav")][number % 3]
            wave = sound(tags, rng, rate)
            place = folder / name / (f"part{number % 2}" if "un" in name else "")
            place.mkdir(parents=True, exist_ok=True)
            wave = np.stack([wave, wave], 1) if number % 3 == 0 else wave
            soundfile.write(place / f"{clip}_{number}.000.{kind}", wave, rate)
        (folder / f"{name}.csv").write_text(HEAD + "\n".join(lines) + "\n")
    (folder / "eval_segments" / f"{identifier('eval', 5)}_5.000.wav").unlink(missing_ok=True)
    (folder / "eval_segments" / f"{identifier('eval', 5)}.wav").write_bytes(b"RIFF nonsense")
    (folder / "eval_segments" / "._resource.wav").write_bytes(b"")
    return folder
