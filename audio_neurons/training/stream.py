"""Training pool on disk: worker processes decode and crop clips when a step needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from audio_neurons import tables
from audio_neurons.models.vit import HOP, Architecture, ViT
from audio_neurons.recordings import audio
from audio_neurons.tables import SAMPLE_RATE
from audio_neurons.training import processes
from audio_neurons.training.errors import TrainingError
from audio_neurons.training.packed import LABEL, column, mapped
from audio_neurons.training.pool import Batch, read_log_mel
from audio_neurons.training.sampling import Plan, balanced
from audio_neurons.training.start import CLIPS

EVALUATED, TRAINED = "test", "train"


class Clips(Dataset):
    """Waveforms (samples,) float32 and classes (C,) of clips in Arrow parts, by number and place.

    Parameters
    ----------
    members
        Class numbers of every clip.
    whole
        Samples read per clip; shorter clips are padded with silence.
    window
        Samples of a window.
    """

    def __init__(
        self, parts: Sequence[Path], members: list[np.ndarray], classes: int, whole: int, window: int
    ):
        self._parts = [os.fspath(part) for part in parts]
        self._members, self._first = np.concatenate(members), np.cumsum([0, *map(len, members)])
        self._classes, self._whole, self._window = classes, whole, window

    @cached_property
    def _opened(self) -> tuple[list[Any], np.ndarray]:
        parts = [mapped(part) for part in self._parts]
        return parts, np.cumsum([0, *(len(part) for part in parts)])

    def __getstate__(self) -> dict:
        """Leave out the mapped files: another process maps them itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def flac(self, number: int) -> tuple[bytes, int]:
        """Return a clip as it is stored, and its number of samples."""
        parts, first = self._opened
        part = int(np.searchsorted(first, number, side="right")) - 1
        row = number - int(first[part])
        return parts[part]["audio"][row].as_py(), parts[part]["frames"][row].as_py()

    def __getitem__(self, item: tuple[int, float | None]) -> tuple[np.ndarray, np.ndarray]:
        """Return the window at a place, a share of the possible ones (None: the whole clip), and classes."""
        number, place = item
        flac, frames = self.flac(number)
        try:
            wave = audio.read(flac, self._whole)
        except audio.AudioError as error:
            raise TrainingError(
                f"clip {number} of {self._parts[0]}, ...: {error}; {tables.REMEDY}"
            ) from error
        if place is not None:
            start = int(place * max(min(frames, self._whole) - self._window + 1, 1))
            wave = wave[start : start + self._window]
        classes = np.zeros(self._classes, np.float32)
        classes[self._members[self._first[number] : self._first[number + 1]]] = 1
        return wave, classes


class Stream:
    """Pool with the interface of `pool.Pool`, whose clips are read on demand.

    ``log_mel`` is that of a sample of the pool, not of the whole pool.

    Parameters
    ----------
    parts
        Arrow files of clips; the split ``train`` is for training, the split ``test`` for evaluation.
    seconds
        Length read of every clip.
    supervised
        Whether classes are read.
    balance
        Offset of balanced sampling (see `sampling.balanced`); ``None`` uses all clips equally often.
    workers
        Decoding processes; their number does not change the result.

    Raises
    ------
    TrainingError
        If there are no clips to train on or no classes, or ``seconds`` is less than the length of the
        model's input.
    """

    def __init__(
        self, parts: Sequence[Path], architecture: Architecture, seconds: float, supervised: bool, name: str,
        *, seed: int = 0, balance: float | None = None, workers: int = 0,
    ):  # fmt: skip
        opened = [mapped(part) for part in parts]
        splits = np.array(column(opened, "split"))
        self._rows = {split: np.flatnonzero(splits == split) for split in (TRAINED, EVALUATED)}
        if not len(self._rows[TRAINED]):
            raise TrainingError(f"{parts[0]}, ...: no clips to train on")
        tags = [tag.split(",") for tag in column(opened, LABEL)] if supervised else [[]] * len(splits)
        self.classes = sorted({tag for some in tags for tag in some if tag})
        if supervised and not self.classes:
            raise TrainingError(f"{parts[0]}, ...: label '{LABEL}' is empty in every clip")
        number = {tag: i for i, tag in enumerate(self.classes)}
        members = [np.array([number[tag] for tag in some if tag], np.int32) for some in tags]
        self._weights = None
        if balance is not None:
            self._weights = balanced([members[r] for r in self._rows[TRAINED]], len(number), balance)
        whole, window = round(seconds * SAMPLE_RATE), (architecture.input_size[1] - 1) * HOP
        self._clips = Clips(parts, members, len(self.classes), whole, window)
        self._workers = workers
        self.clips = len(self._rows[TRAINED])
        some = np.sort(np.random.default_rng([2, seed]).permutation(self._rows[TRAINED])[:CLIPS])
        flacs = (self._clips.flac(row)[0] for row in some)
        self.log_mel, self.norm_stats = read_log_mel(flacs, len(some), architecture, seconds, name, parts[0])
        # Only the front end is needed: it has no weights.
        self._front_end = ViT(replace(architecture, depth=0), self.norm_stats).requires_grad_(False)

    def batches(
        self, steps: int, size: int, frames: int, seed: int, device: torch.device, done: int = 0
    ) -> Iterator[Batch]:
        """Yield this process's rows of the batches of steps ``done + 1`` to ``steps``."""
        rows = self._rows[TRAINED]
        plan = Plan(len(rows), size, seed, self._weights)
        share = processes.mine(size // processes.count())
        wanted = ([(rows[c], p) for c, p in plan.batch(step)[share]] for step in range(done, steps))
        yield from self._loaded(wanted, device)

    def evaluated(self, size: int, device: torch.device) -> Iterator[Batch]:
        """Yield this process's share of the evaluation set, as whole clips."""
        rows = self._rows[EVALUATED][processes.rank() :: processes.count()]
        yield from self._loaded(
            ([(r, None) for r in rows[i : i + size]] for i in range(0, len(rows), size)), device
        )

    @property
    def evaluation_clips(self) -> int:
        return len(self._rows[EVALUATED])

    def _loaded(self, wanted: Iterator[list], device: torch.device) -> Iterator[Batch]:
        loader = DataLoader(
            self._clips, batch_sampler=wanted, num_workers=self._workers, pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # a separate one, so as not to draw from the training's
            # A process that is started otherwise imports the main module, here a script of the workflow.
            multiprocessing_context="fork" if self._workers else None,
        )  # fmt: skip
        front_end = self._front_end.to(device)
        for wave, classes in loader:
            with torch.no_grad():
                log_mel = front_end.front_end(wave.to(device, non_blocking=True))
            yield Batch(log_mel, classes.to(device, non_blocking=True))
