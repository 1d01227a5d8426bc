"""Training pool in memory: log-mel spectrograms and classes of all clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from audio_neurons import tables
from audio_neurons.models.vit import HOP, Architecture, ViT
from audio_neurons.recordings import audio
from audio_neurons.running.runtime import progress
from audio_neurons.tables import SAMPLE_RATE
from audio_neurons.training import processes
from audio_neurons.training.errors import TrainingError
from audio_neurons.training.packed import LABEL


@dataclass(frozen=True)
class Batch:
    """Normalised log-mel (B, 1, bands, frames), and classes (B, C) as zeros and ones."""

    log_mel: Tensor
    targets: Tensor


class PoolLike(Protocol):
    """Interface of a pool for objectives, in memory (`Pool`) or on disk (`stream.Stream`)."""

    @property
    def log_mel(self) -> Tensor: ...

    @property
    def classes(self) -> list[str]: ...

    @property
    def norm_stats(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Pool:
    """Log-mel (N, bands, frames) float16, not normalised; targets (N, C); and the names of the classes.

    ``norm_stats`` are mean and standard deviation over the whole pool.
    """

    log_mel: Tensor
    targets: Tensor
    classes: list[str]
    norm_stats: tuple[float, float]

    @property
    def clips(self) -> int:
        return len(self.log_mel)

    def batches(
        self, steps: int, size: int, frames: int, seed: int, device: torch.device, done: int = 0
    ) -> Iterator[Batch]:
        """Yield this process's rows of the batches of steps ``done + 1`` to ``steps``.

        Rows are random windows of ``frames``; every clip is used once before any is used twice.
        """
        generator = torch.Generator().manual_seed(seed)
        mean, std = self.norm_stats
        queue = torch.empty(0, dtype=torch.long)
        mine = processes.mine(size // processes.count())
        for step in range(steps):
            while len(queue) < size:
                queue = torch.cat([queue, torch.randperm(len(self.log_mel), generator=generator)])
            chosen, queue = queue[:size], queue[size:]
            start = torch.randint(self.log_mel.shape[-1] - frames + 1, (size, 1, 1), generator=generator)
            if step < done:
                continue
            chosen, start = chosen[mine], start[mine]
            window = (start + torch.arange(frames)).expand(-1, self.log_mel.shape[1], -1)
            log_mel = (self.log_mel[chosen].gather(-1, window).float() - mean) / std
            yield Batch(log_mel.unsqueeze(1).to(device), self.targets[chosen].to(device))


def read_pool(clips: Path, architecture: Architecture, seconds: float, supervised: bool, name: str) -> Pool:
    """Decode a ``clips`` table and compute its log-mel with the model's own front end.

    The classes, comma-joined in the column ``tags``, are read for supervised training only.

    Raises
    ------
    TrainingError
        If the pool is empty or lacks the label, or ``seconds`` is less than the length of the model's input.
    """
    with tables.open_table(clips, "clips") as file:
        total, names = file.metadata.num_rows, file.schema_arrow.names
        if not total:
            raise TrainingError(f"{clips} has no clips to train on")
        if supervised and LABEL not in names:
            there = ", ".join(tables.labels_of("clips", names)) or "none"
            raise TrainingError(f"{clips} has no label '{LABEL}' to learn (labels there: {there})")
    log_mel, norm_stats = read_log_mel(
        (flac for (flac,) in _rows(clips, ["audio"])), total, architecture, seconds, name, clips
    )
    tags = [tag for (tag,) in _rows(clips, [LABEL])] if supervised else []
    sets = [{t.strip() for t in tag.split(",") if t.strip()} for tag in tags]
    classes = sorted(set().union(*sets))
    if supervised and not classes:
        raise TrainingError(f"{clips}: label '{LABEL}' is empty in every clip")
    targets = torch.tensor([[float(c in s) for c in classes] for s in sets] or [[]] * total)
    return Pool(log_mel, targets, classes, norm_stats)


def read_log_mel(
    flacs: Iterable[bytes], total: int, architecture: Architecture, seconds: float, name: str, where: object
) -> tuple[Tensor, tuple[float, float]]:
    """Return log-mel (total, bands, frames) float16 of prepared clips, and its mean and standard deviation.

    Raises
    ------
    TrainingError
        If ``seconds`` is less than the length of the model's input, or the log-mel is constant.
    """
    samples = round(seconds * SAMPLE_RATE)
    wanted = architecture.input_size[1]
    if samples // HOP + 1 < wanted:
        least = (wanted - 1) * HOP / SAMPLE_RATE
        raise TrainingError(f"training.clip_seconds is {seconds}; input_size needs at least {least:g}")
    front_end = ViT(architecture, norm_stats=(0.0, 1.0)).front_end
    log_mel = torch.empty(total, architecture.input_size[0], samples // HOP + 1, dtype=torch.float16)
    # Sums in double precision: a pool has tens of millions of values.
    mean, square = 0.0, 0.0
    for index, flac in enumerate(progress(flacs, total, f"log-mel for {name}", "clips")):
        mel = front_end(torch.from_numpy(audio.read(flac, samples))[None])[0, 0]
        mean += mel.mean(dtype=torch.float64).item() / total
        square += mel.double().square().mean().item() / total
        log_mel[index] = mel
    std = max(square - mean**2, 0.0) ** 0.5
    if std < 1e-3:
        raise TrainingError(f"{where} holds nothing but one constant sound: there is nothing to learn")
    return log_mel, (mean, std)


def _rows(clips: Path, columns: list[str]) -> Iterator[tuple]:
    for block in tables.blocks(clips, "clips", 64, columns):
        yield from zip(*(block[column] for column in columns), strict=True)
