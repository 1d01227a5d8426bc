"""Training of encoders from scratch: self-supervised by M2D's objective, or supervised by tags.

Both objectives share the pool of clips, the schedule and the loop, so that two models can differ in
nothing but their objective. An objective is a module with ``encoder``, ``loss(batch)`` and
``after_step(progress)``; ``OBJECTIVES`` in ``loop`` names them.

A pool is a table of clips that is held in memory as log-mel (the demo's), or Arrow files that are read on
demand (AudioSet). `audioset` makes the Arrow files, `processes` and `launch` train on several GPUs, and
`resume` continues interrupted trainings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from audio_neurons.training.block import settings_of, told
from audio_neurons.training.errors import TrainingError


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
        A model's block: its architecture, and ``training`` (see `Training`).
    clips
        Table ``clips``; supervised training reads the comma-joined classes in its column ``tags``. Or
        the Arrow parts of a pool that is too large for memory (see `packed`).
    out
        Checkpoint of the encoder alone, safetensors under M2D's names, for `audio_neurons.models.load`.
        Until it is complete, ``checkpoint.pt`` beside it holds the state of the training.
    name
        Name of the model in progress messages.
    log
        Table ``training``: mean losses over about 50 equal parts of the training.
    evaluation
        Table ``evaluation``: average precision of every class, at each evaluation.
    workers
        Processes that decode Arrow parts; their number does not change the result.

    Raises
    ------
    TrainingError
        If the pool is empty or lacks the label, its clips are too short, a setting does not fit, the loss is
        not finite, or the state beside ``out`` is that of another training.

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

    settings, architecture, out = settings_of(block), Architecture.of(block), Path(out)
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
        header = {"architecture": architecture.as_dict(), "training": told(settings)}
        which = {"classes": pool.classes, "norm_stats": list(pool.norm_stats), "clips": pool.clips}
        keeper = Keeper(out.parent / "checkpoint.pt", {**header, "pool": which}, settings.checkpoint_minutes)
        history = loop.fit(objective.to(place), pool, settings, name, keeper)
        if processes.rank():
            return
    encoder = objective.encoder
    state = {**encoder.vit.state_dict(), "norm_stats": encoder.norm_stats}
    # Under one key, since safetensors writes several keys in random order.
    write_checkpoint(out, state, {"audio_neurons": {**header, "classes": pool.classes}})
    outputs = [(log, "training", history.rows), (evaluation, "evaluation", history.scores)]
    for path, table, rows in outputs:
        if path is not None:
            with tables.writer(path, table) as file:
                file.append({column: [row[column] for row in rows] for column in tables.SCHEMAS[table].names})
    keeper.forget()
