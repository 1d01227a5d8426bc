"""How sure the selection is: ``inference`` and ``findings`` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from audio_neurons.settings.section import FREE, Count, Probability, Section, Seed, Text


class Inference(Section):
    """How sure the selection is (results/inference); every draw repeats all of it."""

    draws: Count = 1000
    """Permutations of the labels among groups."""
    exchange: Literal["rows", "clips"] = "rows"
    """What changes places within groups of several classes: all clips of a group and class together, or every
    clip by itself, which needs `extraction.responses` and 2 bytes of memory per clip and neuron."""
    bootstrap: Count = 1000
    """Resamples of the groups."""
    halves: Count = 100
    """Splits of the groups into halves."""
    replications: Count = 200
    """Permutations and resamples of what one half of the groups chooses and the other judges; at most draws
    and bootstrap."""
    splits: Count = 5
    """Splits into halves in each of these."""
    seed: Seed = 0
    """Seed of all draws."""
    level: Probability = 0.95
    """Probability that intervals are meant to cover."""
    block: Annotated[Count, FREE] = 32
    """Draws per matrix product; a matter of memory, not of results."""


class Findings(Section):
    """When the page of findings calls a difference one."""

    alpha: Probability = 0.05
    """The p, adjusted for the tests of its family, below which a difference is called."""
    equivalence: Probability = 0.05
    """Difference of two models' AUROC, or normalised contrast, below which they are called equivalent."""
    expectations: Text | None = None
    """CSV of patterns that you expect, beside the paper's; see docs/findings.md."""
