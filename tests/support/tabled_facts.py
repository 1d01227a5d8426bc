"""Facts about recordings that nothing is wrong with, and with what is to be wrong."""

from __future__ import annotations

import pandas as pd

from audio_neurons.recordings.checks import Terms

TERMS = Terms(
    labels=["kind"], clip_seconds=2.0, max_seconds=60.0, max_rejected=0.1, splits=["train"], padded=True
)
# Two classes in two groups each, in train and in test: nothing to find.
GOOD = [
    ("owl", "hill", "train"),
    ("wren", "hill", "train"),
    ("owl", "lake", "test"),
    ("wren", "lake", "test"),
]


def table(rows=GOOD, **columns):
    """Return facts of good recordings, with some columns changed: a value, or one for each row."""
    good = {
        "format": "WAV", "encoding": "PCM_16", "rate": 44_100, "channels": 1, "seconds": 2.0, "kept": 2.0,
        "peak": -3.0, "rms": -20.0, "heard_peak": -3.0, "heard_rms": -20.0, "silence": 0.0, "clipped": 0.0,
        "mixdown": 0.0, "halvings": 0, "problem": "",
    }  # fmt: skip
    made = pd.DataFrame(rows, columns=["label_kind", "group", "split"])
    made.insert(0, "clip_id", [f"{number}.wav" for number in range(len(made))])
    return made.assign(fold=0, **{**good, "digest": [f"d{number}" for number in range(len(made))], **columns})
