"""Validated training settings of a model's block, and their record in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from audio_neurons.settings.section import contradictions
from audio_neurons.settings.training import Training
from audio_neurons.training.errors import TrainingError

# Settings that do not change what is learned, except for the order of sums over several processes; and
# settings that a checkpoint records only if they differ from their defaults.
RUNNING = ("checkpoint_minutes", "processes")
OPTIONAL = (
    "predictor_heads", "target_embedding", "time_mask", "frequency_mask", "balance", "evaluate_steps",
    "precision", "clip_gradient",
)  # fmt: skip


def settings_of(block: Mapping) -> Training:
    """Return the training settings of a model's block.

    Raises
    ------
    TrainingError
        If a setting is unknown, missing, out of bounds, or contradicts another one; or if the block's
        encoder cannot be trained here.
    """
    try:
        settings = Training(**{name: value for name, value in block["training"].items() if name != "pool"})
    except ValidationError as error:
        problems = [
            f"training.{'.'.join(map(str, one['loc']))}: {one['msg'].lower()} (it is {one['input']!r:.80})"
            for one in error.errors()
        ]
        raise TrainingError("; ".join(problems)) from None
    if problems := list(contradictions(settings, "training")):
        raise TrainingError("; ".join(problems))
    if block.get("adapter", "vit") != "vit" or block.get("front_end", "logmel") != "logmel":
        raise TrainingError("only models with adapter vit and front_end logmel can be trained here")
    if block.get("special_tokens", 1) != 1:
        raise TrainingError("only models with one special token can be trained here")
    return settings


def told(settings: Training) -> dict:
    """Return the settings that determine the result, for a checkpoint's header."""
    given = {name: field.default for name, field in Training.model_fields.items()}
    return {
        name: value
        for name, value in settings.model_dump().items()
        if name not in RUNNING and not (name in OPTIONAL and value == given[name])
    }
