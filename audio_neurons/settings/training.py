"""Models that are trained here: ``training`` of a model, and ``pools`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from audio_neurons.settings.section import FREE, NULLABLE, Count, Fraction, Seconds, Section, Seed, Text

AUDIOSET_SECONDS = 10.0  # length of AudioSet's clips


class Training(Section):
    """How an encoder is trained from scratch."""

    objective: Literal["m2d", "supervised"]
    """Masked Modeling Duo, or the pool's tags."""
    steps: Annotated[int, Field(ge=0)]
    """Optimiser steps; 0 gives the untrained start."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Clips per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    """Peak of the learning rate."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Steps of linear rise, before the cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Weight decay of AdamW."""
    clip_seconds: Seconds
    """Length read of each clip; a random window of the model's input length is taken from it."""
    seed: Seed = 0
    """Seed of initialisation, batches and masks."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """m2d: share of patches that are masked."""
    predictor_depth: Count = 8
    """m2d: blocks of the predictor."""
    predictor_dim: Count = 512
    """m2d: width of the predictor."""
    target_norm: Literal["patch", "batch"] = "patch"
    """m2d: over what targets are standardised; M2D's is each patch's own features."""
    patchout: Annotated[float, Field(ge=0, lt=1)] = 0
    """supervised: share of patches left out."""
    mixup: Annotated[float, Field(ge=0)] = 0.3
    """supervised: parameter of mixup's Beta; 0 is none."""
    whiten: Annotated[int, Field(ge=0)] = 0
    """Principal components of the pool that the patch embedding starts from; 0 is M2D's start."""
    ema: tuple[Fraction, Fraction] = (0.99995, 0.99999)
    """m2d: decay of the target encoder at the first and the last step."""
    predictor_heads: Annotated[int, Field(ge=0)] = 0
    """m2d: attention heads of the predictor; 0 is as many as the encoder's, M2D's has 16."""
    target_embedding: Literal["average", "shared"] = "average"
    """m2d: whether the target encoder averages the patch embedding too, or shares it, as M2D's does."""
    time_mask: Annotated[int, Field(ge=0)] = 0
    """supervised: frames that SpecAugment masks at most."""
    frequency_mask: Annotated[int, Field(ge=0)] = 0
    """supervised: mel bands that SpecAugment masks at most."""
    balance: Annotated[Annotated[float, Field(ge=0)] | None, NULLABLE] = None
    """AudioSet: draw a clip by the sum over its classes of 1 / (clips of the class + this); null draws all
    alike."""
    evaluate_steps: Annotated[int, Field(ge=0)] = 0
    """AudioSet, supervised: steps between evaluations on eval_segments; 0 is none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward and backward pass."""
    clip_gradient: Annotated[float, Field(ge=0)] = 0
    """Largest norm of the gradient; 0 is any."""
    checkpoint_minutes: Annotated[float, Field(ge=0), FREE] = 15
    """Minutes between two writes of the state from which an interrupted training resumes."""
    processes: Count = 1
    """AudioSet: processes that share every batch, one GPU each."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for name, value in (("evaluate_steps", self.evaluate_steps or None), ("balance", self.balance)):
            if value is not None and self.objective != "supervised":
                yield name, "only supervised training has it"


class PooledTraining(Training):
    """How a model is trained here; with weights.source training."""

    pool: str
    """Name under `pools`."""


class AudioSetPool(Section):
    """Clips of AudioSet that you have, instead of recordings that are made (docs/training.md)."""

    folder: Annotated[Text, FREE]
    """AudioSet's lists and, in folders of their names, its clips."""
    train: Literal["balanced", "balanced+unbalanced"] = "balanced"
    """Lists that models learn from (AS-20K or AS-2M); eval_segments evaluates."""
    shards: Annotated[int, Field(ge=1, le=999)] = 4
    """Parts that are decoded on their own."""
    max_missing: Annotated[Fraction, FREE] = 0.25
    """Largest share of a list's clips that may have no file."""


class Pool(Section):
    """Recordings that a model is trained on here."""

    clips: Count | None = None
    """Recordings to make."""
    clip_seconds: Seconds | None = None
    """Length of the recordings."""
    audioset: AudioSetPool | None = None
    """Clips of AudioSet that you have, instead of recordings that are made (docs/training.md)."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        made = ("clips", "clip_seconds")
        given = [name for name in made if getattr(self, name) is not None]
        if self.audioset is not None and given:
            yield given[0], "a pool of AudioSet's clips has no such key"
        elif self.audioset is None and len(given) < len(made):
            yield "", f"missing key(s) {', '.join(name for name in made if name not in given)}"
