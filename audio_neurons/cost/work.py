"""Amounts of work, as arithmetic: operations of encoders, and conditions and draws of ablations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from audio_neurons.ablation.conditions import by_mean
from audio_neurons.ablation.rounds import LEAST, TOGETHER
from audio_neurons.settings.ablation import Conditions

LAYERS, DIM = 12, 768  # ViT-Base


@cache
def facts() -> Mapping[str, Any]:
    """Return what is taken from elsewhere (``cost/facts.yaml``)."""
    return yaml.safe_load((resources.files(__package__) / "facts.yaml").read_text(encoding="utf-8"))


def speeds() -> dict[tuple[str, str], float]:
    """Return (card, precision) → operations per second: arithmetic, nothing was measured.

    >>> f"{speeds()['H100 SXM', 'tf32']:.3g}"
    '1.48e+14'
    """
    known = facts()
    return {
        (card, precision): tera * 1e12 * known["utilisation"][precision]
        for card, peaks in known["cards"].items()
        for precision, tera in peaks.items()
    }


def transformer(tokens: int) -> int:
    """Return the operations of ViT-Base over one sequence: its matrix products and attention."""
    return LAYERS * (24 * tokens * DIM**2 + 4 * tokens**2 * DIM)


def vit(seconds: float) -> int:
    """Return the operations over a clip with M2D: chunks of at most 38 columns of 5 patches, and CLS.

    >>> round(8 * vit(5) / 1e9)
    226
    """
    columns = math.ceil((int(seconds * 100) + 1) / 16)
    return sum(transformer(5 * min(38, columns - start) + 1) for start in range(0, columns, 38))


def ast(seconds: float) -> int:
    """Return the operations over a clip with AST at its own length: 12 patches a column, and 2 tokens.

    >>> round(ast(5) / transformer(1214), 2), round(ast(30) / transformer(1214), 2)
    (0.43, 4.16)
    """
    columns = (int(seconds * 100) - 2 - 16) // 10 + 1
    return transformer(12 * columns + 2)


def own_conditions(settings: Conditions, sets: int) -> int:
    """Return the conditions of neuron sets without random ones: gains, replacements and shifted controls.

    >>> own_conditions(Conditions(gains=(0, 0.5, 2)), 12)
    96
    """
    return sets * (len(settings.gains) + settings.shifted) * len(settings.replacements)


def compared_conditions(settings: Conditions, sets: int) -> int:
    """Return the conditions for which random sets are drawn."""
    if not settings.random:
        return 0
    if settings.random_at == "all":
        return sets * len(settings.gains) * len(settings.replacements)
    return sets * len(by_mean(settings.replacements))


def fewest_draws(settings: Conditions) -> int:
    """Return the mean number of random sets that are drawn for a condition without any effect.

    For one statistic, whose p is uniform, it is h (1 + 1/(h+1) + ... + 1/N), for N sets at most and drawing
    that ends with the h-th as extreme: of n draws fewer than h are so extreme with probability h / (n + 1).
    Drawing waits for two statistics, which takes somewhat more (`facts`).

    >>> [fewest_draws(Conditions(**s)) for s in ({}, {"random": 20}, {"stop_after": 0})]
    [42, 20, 100]
    """
    h, most = settings.stop_after, settings.random
    if not 0 < h < most:
        return most
    one = h * (1 + sum(1 / n for n in range(h + 1, most + 1)))
    return min(most, round(one * facts()["two_statistics"]))


def rounds_of(settings: Conditions, compared: int, draws: int) -> int:
    """Return how often clips are taken through an encoder unchanged: once for each round of random sets.

    >>> rounds_of(Conditions(), 6, 100), rounds_of(Conditions(random=0), 6, 0)
    (13, 1)
    """
    if not compared:
        return 1
    first = min(max(settings.stop_after, LEAST), settings.random)
    return 1 + math.ceil((draws - first) / max(LEAST, math.ceil(TOGETHER / compared)))


def before_sequential(settings: Conditions, sets: int) -> int:
    """Return the conditions of the way that draws all random sets, and runs all controls, everywhere."""
    return sets * len(settings.gains) * len(settings.replacements) * (1 + settings.shifted + settings.random)
