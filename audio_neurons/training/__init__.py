"""Training of encoders from scratch: self-supervised by M2D's objective, or supervised by tags.

Both objectives share the pool of clips, the schedule and the loop, so that two models may differ in
nothing but what they were asked to learn. An objective is a module with ``encoder``, ``loss(batch)``
and ``after_step(progress)``; ``OBJECTIVES`` in ``loop`` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path


class TrainingError(ValueError):
    """A training cannot start or go on; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """``training`` of a model's block of configuration.

    Attributes
    ----------
    objective
        ``m2d`` or ``supervised``.
    learning_rate
        The highest one: after ``warmup_steps`` of linear rise, before a cosine's fall to zero.
    clip_seconds
        Length read of every clip; a random window of the model's input length is taken from it.
    steps
        0 writes the start itself: the honest baseline of what training adds.
    whiten
        Principal components of the pool's patches to start the patch embedding from (0: Xavier).
    mask_ratio, predictor_depth, predictor_dim, ema, target_norm
        Of M2D: share of patches masked, blocks and width of the predictor, decay of the target encoder
        at the first and the last step, and what targets are standardised over: each ``patch``, or the
        ``batch``, which a short training needs (see `masked`). Defaults are M2D's as remembered, not yet
        checked against its released training arguments.
    patchout, mixup
        Of supervised training: share of patches left out (PaSST), and the parameter of mixup's Beta
        distribution (0: none).
    """

    objective: str
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    seed: int
    clip_seconds: float
    whiten: int = 0
    mask_ratio: float = 0.7
    predictor_depth: int = 8
    predictor_dim: int = 512
    ema: tuple[float, float] = (0.99995, 0.99999)
    target_norm: str = "patch"
    patchout: float = 0.0
    mixup: float = 0.3

    @classmethod
    def of(cls, block: Mapping) -> Settings:
        """From a block of configuration; unknown and missing keys are errors."""
        values = {k: v for k, v in block["training"].items() if k != "pool"}
        if unknown := values.keys() - {f.name for f in fields(cls)}:
            raise TrainingError(f"training has no setting {', '.join(sorted(unknown))}")
        if "ema" in values:
            values["ema"] = tuple(values["ema"])
        try:
            return cls(**values)
        except TypeError as error:
            raise TrainingError(f"training: {error}") from error


def train(
    block: Mapping,
    clips: Path,
    out: Path,
    log: Path,
    *,
    label: str = "tags",
    device: str = "cpu",
    name: str = "model",
) -> None:
    """Train the encoder of a configuration block on a pool of clips.

    Parameters
    ----------
    block
        A model's block: its architecture, and ``training`` (see `Settings`).
    clips
        Table ``clips``; supervised training reads the comma-joined classes in its column ``label``.
    out
        Checkpoint of the encoder alone, safetensors under M2D's names, for `audio_neurons.models.load`.
    name
        What lines of progress call the model.
    log
        Table ``training``: mean loss of about 50 stretches of the training.

    Raises
    ------
    TrainingError
        If the pool is empty, too short or without the label, or if the loss is not finite.

    The same seed gives the same files on the same machine with the same number of threads. The global
    random state is left as it was.
    """
    from audio_neurons import tables
    from audio_neurons.models.checkpoint import write_checkpoint
    from audio_neurons.models.vit import Architecture
    from audio_neurons.training import loop
    from audio_neurons.training.pool import read_pool

    settings, architecture = Settings.of(block), Architecture.of(block)
    if settings.objective not in loop.OBJECTIVES:
        raise TrainingError(f"training.objective is {settings.objective}, not one of {list(loop.OBJECTIVES)}")
    with loop.seeded(settings.seed):
        wanted = label if settings.objective == "supervised" else None
        pool = read_pool(clips, architecture, settings.clip_seconds, wanted, name)
        objective = loop.OBJECTIVES[settings.objective](architecture, settings, pool)
        rows = loop.fit(objective.to(device), pool, settings, name)
    encoder = objective.encoder
    state = {**encoder.vit.state_dict(), "norm_stats": encoder.norm_stats}
    told = {"architecture": architecture.as_dict(), "training": asdict(settings), "classes": pool.classes}
    # Under one key, since safetensors writes several in random order.
    write_checkpoint(Path(out), state, {"audio_neurons": told})
    with tables.writer(log, "training") as table:
        table.append({name: [row[name] for row in rows] for name in ("step", "loss", "learning_rate")})
