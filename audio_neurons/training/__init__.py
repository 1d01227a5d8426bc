"""Training of encoders from scratch: self-supervised by M2D's objective, or supervised by tags.

Both objectives share the pool of clips, the schedule and the loop, so that two models may differ in
nothing but what they were asked to learn. An objective is a module with ``encoder``, ``loss(batch)``
and ``after_step(progress)``; ``OBJECTIVES`` in ``loop`` names them.

A pool is a table of clips that is held in memory as log-mel (the demo's), or Arrow files that are read as
they are needed (AudioSet). `audioset` makes the latter, `processes` and `launch` train on several GPUs,
and `resume` continues what was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
        ``batch``, which a short training needs (see `masked`). Defaults are those of M2D's released
        training code.
    predictor_heads, target_embedding
        Of M2D: attention heads of the predictor (0: as many as the encoder's; M2D's has 16), and whether
        the target encoder's patch embedding and CLS token are a moving ``average`` too, or ``shared``
        with the online encoder, as M2D's are.
    patchout, mixup
        Of supervised training: share of patches left out (PaSST), and the parameter of mixup's Beta
        distribution (0: none).
    time_mask, frequency_mask
        Of supervised training: frames and mel bands that SpecAugment's masks cover at most (0: none).
    balance
        Draw clips by their classes (see `sampling.balanced`), with this offset; ``None`` draws all alike.
    evaluate_steps
        Steps between two evaluations on the pool's evaluation set; the last step is one too (0: none).
    precision
        ``float32``, or ``bfloat16`` where autocast allows it.
    clip_gradient
        Largest norm of the gradient (0: any).
    checkpoint_minutes
        Minutes between two writes of the state from which an interrupted training goes on.
    processes
        That train together, each with its share of ``batch_size``, on a GPU each.
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
    predictor_heads: int = 0
    target_embedding: str = "average"
    time_mask: int = 0
    frequency_mask: int = 0
    balance: float | None = None
    evaluate_steps: int = 0
    precision: str = "float32"
    clip_gradient: float = 0.0
    checkpoint_minutes: float = 15.0
    processes: int = 1

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

    def told(self) -> dict:
        """What decides the result, for a checkpoint's header; what was left at "none" goes without saying."""
        given = {f.name: f.default for f in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in RUNNING and not (name in OPTIONAL and value == given[name])
        }


# Settings that change nothing of what is learned, but for the order of sums of several processes; and those
# whose defaults leave something out.
RUNNING = ("checkpoint_minutes", "processes")
OPTIONAL = (
    "predictor_heads", "target_embedding", "time_mask", "frequency_mask", "balance", "evaluate_steps",
    "precision", "clip_gradient",
)  # fmt: skip


def train(
    block: Mapping,
    clips: Path | Sequence[Path],
    out: Path,
    log: Path,
    *,
    device: str = "cpu",
    name: str = "model",
    evaluation: Path | None = None,
    workers: int = 0,
) -> None:
    """Train the encoder of a configuration block on a pool of clips.

    Parameters
    ----------
    block
        A model's block: its architecture, and ``training`` (see `Settings`).
    clips
        Table ``clips``; supervised training reads the comma-joined classes in its column ``tags``. Or
        the Arrow parts of a pool that is too large for memory (see `packed`).
    out
        Checkpoint of the encoder alone, safetensors under M2D's names, for `audio_neurons.models.load`.
        Until it is complete, ``checkpoint.pt`` beside it holds the state of the training.
    name
        What lines of progress call the model.
    log
        Table ``training``: mean loss of about 50 stretches of the training.
    evaluation
        Table ``evaluation``: average precision of every class, at each evaluation.
    workers
        Processes that decode Arrow parts; they do not change the result.

    Raises
    ------
    TrainingError
        If the pool is empty, too short or without the label, if a setting does not fit, if the loss is not
        finite, or if the state beside ``out`` is that of another training.

    The same seed gives the same files on the same machine with the same number of threads, also after an
    interruption. The global random state is left as it was.
    """
    from audio_neurons import tables
    from audio_neurons.models.checkpoint import write_checkpoint
    from audio_neurons.models.vit import Architecture
    from audio_neurons.training import loop, processes
    from audio_neurons.training.packed import SUFFIX
    from audio_neurons.training.pool import Pool, read_pool
    from audio_neurons.training.resume import Keeper
    from audio_neurons.training.stream import Stream

    settings, architecture, out = Settings.of(block), Architecture.of(block), Path(out)
    _refuse(block, settings, tuple(loop.OBJECTIVES))
    parts = [Path(clips)] if isinstance(clips, str | os.PathLike) else [Path(part) for part in clips]
    supervised, streamed = settings.objective == "supervised", parts[0].suffix == SUFFIX
    with processes.joined(device) as place, loop.seeded(settings.seed):
        if settings.batch_size % processes.count():
            raise TrainingError(
                f"training.batch_size {settings.batch_size} cannot be shared by {processes.count()} processes"
            )
        if streamed:
            pool: Stream | Pool = Stream(
                parts, architecture, settings.clip_seconds, supervised, name,
                seed=settings.seed, balance=settings.balance, workers=workers,
            )  # fmt: skip
        else:
            pool = read_pool(parts[0], architecture, settings.clip_seconds, supervised, name)
        if settings.evaluate_steps and not (isinstance(pool, Stream) and pool.evaluation_clips):
            raise TrainingError("training.evaluate_steps is set, but the pool has no evaluation set")
        if settings.balance is not None and not streamed:
            raise TrainingError("training.balance needs a pool of Arrow parts")
        objective = loop.OBJECTIVES[settings.objective](architecture, settings, pool)
        told = {"architecture": architecture.as_dict(), "training": settings.told()}
        which = {"classes": pool.classes, "norm_stats": list(pool.norm_stats), "clips": pool.clips}
        keeper = Keeper(out.parent / "checkpoint.pt", {**told, "pool": which}, settings.checkpoint_minutes)
        history = loop.fit(objective.to(place), pool, settings, name, keeper)
        if processes.rank():
            return
    encoder = objective.encoder
    state = {**encoder.vit.state_dict(), "norm_stats": encoder.norm_stats}
    # Under one key, since safetensors writes several in random order.
    write_checkpoint(out, state, {"audio_neurons": {**told, "classes": pool.classes}})
    outputs = [(log, "training", history.rows), (evaluation, "evaluation", history.scores)]
    for path, table, rows in outputs:
        if path is not None:
            with tables.writer(path, table) as file:
                file.append({column: [row[column] for row in rows] for column in tables.SCHEMAS[table].names})
    keeper.forget()


def _refuse(block: Mapping, settings: Settings, objectives: Sequence[str]) -> None:
    """Raise if settings are none, or exclude one another."""
    choices = {
        "target_norm": ("patch", "batch"),
        "target_embedding": ("average", "shared"),
        "precision": ("float32", "bfloat16"),
    }
    if settings.objective not in objectives:
        raise TrainingError(f"training.objective is {settings.objective}, not one of {list(objectives)}")
    for name, allowed in choices.items():
        if (value := getattr(settings, name)) not in allowed:
            raise TrainingError(f"training.{name} is {value}, not {' or '.join(allowed)}")
    for name, value in (("evaluate_steps", settings.evaluate_steps or None), ("balance", settings.balance)):
        if value is not None and settings.objective != "supervised":
            raise TrainingError(f"training.{name} is of supervised training")
    if block.get("adapter", "vit") != "vit" or block.get("front_end", "logmel") != "logmel":
        raise TrainingError("only a model of adapter vit with front_end logmel is trained here")
    if block.get("special_tokens", 1) != 1:
        raise TrainingError("only a model with one special token is trained here")
