"""The acoustic features of tokens, and how whole clips are described by them.

Apart from :mod:`audio_neurons.activations.acoustics`, which measures them: statistics need no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BANDS = 8  # mel bands from 50 to 8000 Hz
REFERENCE = 27.5  # Hz, of semitones, as in eGeMAPS


@dataclass(frozen=True)
class Feature:
    """An acoustic feature of a token.

    Attributes
    ----------
    name, title, unit
        Name in tables, and title and unit in figures.
    where
        Tokens on which it is defined: all, those with sound, or those with a voiced frame.
    step
        Values are rounded to multiples of this.
    """

    name: str
    title: str
    unit: str
    where: str = "all"
    step: float = 0.01


FEATURES = (
    Feature("loudness", "loudness", "dBFS"),
    Feature("centroid", "spectral centroid", "Hz", "sounding", 1.0),
    Feature("flatness", "spectral flatness", "dB", "sounding"),
    Feature("f0", "f0", "semitones", "voiced"),
    Feature("voicing", "voicing", "", step=0.0001),
    *(Feature(f"band_{i}", f"mel band {i}", "dBFS") for i in range(1, BANDS + 1)),
)
WHERE = ("all", "sounding", "voiced")
STEPS = np.array([feature.step for feature in FEATURES])
PLACES = np.array([WHERE.index(feature.where) for feature in FEATURES])
NAMES = tuple(feature.name for feature in FEATURES)

# Knots of hat functions, in the units of the features: half octaves from 55 Hz on, and 10 dB.
KNOTS = {"f0": np.arange(12.0, 67.0, 6.0), "loudness": np.arange(-100.0, 1.0, 10.0)}
