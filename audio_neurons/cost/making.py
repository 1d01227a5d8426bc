"""Measured rates of what the workflow makes itself: synthetic recordings, and trained models."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audio_neurons.cost.clock import line, spent

RECORDINGS = 60, 120  # with sixty, every class of a stand-in is in every split
CLASSES, READ = 16, 32  # classes of a noise pool, and its clips that are read
STEPS = 2
Archives = Mapping[str, str | Sequence[str]]


def recordings(adapter: str, archives: Archives, seconds: float) -> list[float]:
    """Return the processor time of making a dataset's recordings: a constant, and of each.

    Parameters
    ----------
    archives
        Role → path of an archive, or paths; their names are used, in a temporary folder.
    """
    from audio_neurons.synthesis.making import make_archives

    def make(folder: Path, clips: int) -> None:
        given = {
            role: folder / Path(path).name
            if isinstance(path, str)
            else [folder / Path(one).name for one in path]
            for role, path in archives.items()
        }
        make_archives(adapter, given, clips=clips, seconds=seconds, seed=0)

    return _made(make)


def pool(seconds: float) -> list[float]:
    """Return the processor time of making a training pool: a constant, and of each clip."""
    from audio_neurons.synthesis.making import make_pool

    def make(folder: Path, clips: int) -> None:
        make_pool(folder / "pool.parquet", clips=clips, seconds=seconds, seed=0)

    return _made(make)


def _made(make: Callable[[Path, int], None]) -> list[float]:
    found = []
    for clips in (RECORDINGS[0], *RECORDINGS):  # first with the imports, which are part of a job's start
        with tempfile.TemporaryDirectory() as place, redirect_stderr(io.StringIO()):  # progress
            before = sum(os.times()[:4])  # speech is made by a process of its own
            make(Path(place), clips)
            found.append(sum(os.times()[:4]) - before)
    return line(RECORDINGS, found[1:])


def training(block: Mapping[str, Any], device: str, once: float) -> dict[str, Any]:
    """Measure the training of a model's block on noise.

    Parameters
    ----------
    once
        Seconds of one clip's forward pass. Where those of a whole batch take more than a second, a smaller
        batch is measured.

    Returns
    -------
    ``step``: seconds of a step, a constant and of each clip; ``read``: of a clip of the pool, once.
    """
    import torch

    from audio_neurons.models.vit import Architecture
    from audio_neurons.recordings import audio
    from audio_neurons.tables import SAMPLE_RATE
    from audio_neurons.training import loop
    from audio_neurons.training.block import settings_of
    from audio_neurons.training.pool import Pool, read_log_mel

    architecture, settings = Architecture.of(block), settings_of(block)
    settings = settings.changed(steps=STEPS, warmup_steps=0, evaluate_steps=0, balance=None, processes=1)
    rng = np.random.default_rng(0)
    waves = 0.1 * rng.standard_normal((READ, round(settings.clip_seconds * SAMPLE_RATE))).astype(np.float32)
    flacs = [audio.encode(wave, SAMPLE_RATE) for wave in waves]
    most = min(settings.batch_size, max(4, int(1 / once)))
    sizes = max(2, most // 2), max(3, most)
    with redirect_stderr(io.StringIO()), loop.seeded(0):  # progress
        read = partial(read_log_mel, flacs, READ, architecture, settings.clip_seconds, "noise", "noise")
        log_mel, statistics = read()
        took = spent(read, least=0.0) / READ
        targets = torch.rand(READ, CLASSES).round()
        noise = Pool(log_mel, targets, [str(n) for n in range(CLASSES)], statistics)
        objective = loop.OBJECTIVES[settings.objective](architecture, settings, noise).to(device)
        found = []
        for size in sizes:
            asked = settings.changed(batch_size=size)
            found.append(spent(partial(loop.fit, objective, noise, asked, "noise"), device) / STEPS)
    return {"step": line(sizes, found), "read": took}
