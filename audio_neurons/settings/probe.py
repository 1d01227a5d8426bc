"""Linear probes: ``probe`` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from audio_neurons.settings.section import Count, Probability, Section, Seed


class Probe(Section):
    """Linear probes of clip features (results/probes), as EVAR's linear evaluation."""

    learning_rate: Annotated[float, Field(gt=0)] = 0.00003
    """Learning rate of Adam; EVAR's for M2D. Small features or few clips need a higher one."""
    batch_size: Count = 256
    """Clips per step."""
    epochs: Count = 200
    """Maximum number of passes over the training clips."""
    patience: Count = 20
    """Training stops after this many epochs without a better validation score; the best epoch's weights are
    kept."""
    score: Literal["accuracy", "loss"] = "accuracy"
    """Validation score that stops training: accuracy, or mean cross-entropy."""
    valid_share: Probability = 0.1
    """Share of training clips held out, by group, where a dataset has no validation split."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})] = (
        0,
        1,
        2,
        3,
        4,
    )
    """A probe for each; seeds of initial weights, order and held-out clips."""
    folds: bool = True
    """Cross-validate datasets that have folds (ESC-50)."""
