"""Part G: steps of training per second; and whether a training that was interrupted is that which was not."""

from __future__ import annotations

import contextlib
import filecmp
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from audio_neurons.models.vit import Architecture
from audio_neurons.recordings import audio
from audio_neurons.training import loop, resume
from audio_neurons.training.block import settings_of
from audio_neurons.training.packed import writer
from audio_neurons.training.pool import Pool
from audio_neurons.training.run import train
from benchmarks.common import TINY, VIT_BASE, make_clips
from benchmarks.gpu.sheet import Measure, Sheet, replaced

OBJECTIVES = ("m2d", "supervised")
STEPS = 20  # of a training that is interrupted halfway


class Stopped(Exception):
    """A training that is interrupted on purpose."""


def _block(objective: str, precision: str, steps: int = STEPS, **more: object) -> dict:
    training = {
        "objective": objective, "steps": steps, "batch_size": 8, "clip_seconds": 1.0, "warmup_steps": 4,
        "predictor_depth": 1, "predictor_dim": 32, "precision": precision, "checkpoint_minutes": 0,
    }  # fmt: skip
    return {**TINY, "training": {**training, **more}}


def _stopping(after: int) -> Callable:
    """Return `Keeper.offer` that ends the training when ``after`` steps are saved."""
    offer = resume.Keeper.offer

    def stops(self, objective, optimiser, history) -> None:
        offer(self, objective, optimiser, history)
        if history.step == after:
            raise Stopped

    return stops


def _interrupted(block: dict, clips: Path | list[Path], out: Path, first: str, then: str, workers: int = 0):
    """Train until half of the steps on one device, and the rest on another; return the weights' file."""
    out.mkdir()
    files = (out / "model.safetensors", out / "losses.parquet")
    with (
        replaced(resume.Keeper, "offer", _stopping(block["training"]["steps"] // 2)),
        contextlib.suppress(Stopped),
    ):
        train(block, clips, *files, device=first, workers=workers)
    train(block, clips, *files, device=then, workers=workers)
    return files[0]


def _whole(block: dict, clips: Path | list[Path], out: Path, device: str, workers: int = 0) -> Path:
    out.mkdir()
    files = (out / "model.safetensors", out / "losses.parquet")
    train(block, clips, *files, device=device, workers=workers)
    return files[0]


def _clips(folder: Path) -> Path:
    """Write a table of noise with tags."""
    import pyarrow.parquet as pq

    from audio_neurons import tables

    table = pq.read_table(make_clips(folder / "noise.parquet", 24, 1.0))
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "kind"}
    with tables.writer(folder / "clips.parquet", "clips", ["tags"]) as file:
        file.append({**columns, "tags": [f"tag {i % 3}" for i in range(len(table))]})
    return folder / "clips.parquet"


def resumed(sheet: Sheet) -> None:
    """Compare the weights of interrupted trainings with those of others, by bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = _clips(folder)
        for objective in OBJECTIVES:
            for precision in ("float32", "bfloat16"):
                block, here = (
                    _block(objective, precision, sheet.sized(STEPS, 6)),
                    folder / f"{objective}-{precision}",
                )
                here.mkdir()
                whole = _whole(block, clips, here / "whole", sheet.device)
                again = _whole(block, clips, here / "again", sheet.device)
                two = _interrupted(block, clips, here / "two", sheet.device, sheet.device)
                for what, other in (("again", again), ("interrupted", two)):
                    same = filecmp.cmp(whole, other, shallow=False)
                    sheet.add(f"weights of a training differ: {objective}, {precision}, {what}", not same)
                sheet.check()


def elsewhere(sheet: Sheet) -> None:
    """Resume a training of a CPU on a GPU."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _interrupted(_block("supervised", "float32"), _clips(folder), folder / "two", "cpu", "cuda")
    sheet.add("a training of a CPU that a card resumes", note="ends, and is told")


def loaded(sheet: Sheet) -> None:
    """Train from Arrow files with and without decoding processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        with writer(folder / "pool.arrow") as append:
            for i in range(24):
                flac = audio.encode(0.1 * rng.standard_normal(16_000))
                append(
                    {
                        "clip_id": f"{i:03d}", "audio": flac, "frames": 16_000, "split": "train", "fold": 0,
                        "group": f"{i}", "tags": f"tag {i % 3}",
                    }
                )  # fmt: skip
        block, pool = _block("supervised", "float32", 6), [folder / "pool.arrow"]
        files = [_whole(block, pool, folder / f"{n}", sheet.device, n) for n in (0, 2)]
        same = filecmp.cmp(*files, shallow=False)
    sheet.add("weights of a training differ: two decoding processes, or none", not same)


def speed(sheet: Sheet) -> None:
    """Measure steps per second, and the card's peak memory."""
    block = sheet.sized(VIT_BASE, TINY)
    architecture = Architecture.of(block)
    bands, frames = architecture.input_size
    generator = torch.Generator().manual_seed(0)
    size = sheet.sized(256, 4)
    log_mel = torch.randn(size + 64, bands, frames + 32, generator=generator).half()
    targets = (torch.rand(size + 64, 527, generator=generator) < 0.01).float()
    pool = Pool(log_mel, targets, [f"{i}" for i in range(527)], (0.0, 1.0))
    device = torch.device(sheet.device)
    precisions = ("bfloat16", "float32") if sheet.cuda else ("float32",)
    for objective in OBJECTIVES:
        for precision in precisions:
            training = _block(objective, precision, batch_size=size, steps=sheet.sized(12, 2))["training"]
            training |= sheet.sized({"predictor_depth": 8, "predictor_dim": 512}, {})
            settings = settings_of({**block, "training": training})
            with loop.seeded(0):
                trained = loop.OBJECTIVES[objective](architecture, settings, pool).to(device)
                loop.fit(trained, pool, settings.model_copy(update={"steps": 2}), "warm-up")
                if sheet.cuda:
                    torch.cuda.reset_peak_memory_stats()
                began = sheet.wait()
                loop.fit(trained, pool, settings, "timed")
                seconds = sheet.wait() - began
            memory = f"peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if sheet.cuda else ""
            what = f"training, batches of {size}: {objective}, {precision}"
            sheet.add(what, settings.steps / seconds, "steps/s", memory)
            sheet.check()


def several(sheet: Sheet) -> None:
    """Say what one card cannot show."""
    sheet.add("several cards in one training (NCCL)", state="open", note="one card cannot show it")


RESUMING = (
    Measure("interrupted trainings", resumed),
    Measure("a training of a CPU that a card resumes", elsewhere, cuda=True),
    Measure("training with decoding processes", loaded),
)
MEASURES = (Measure("steps of training", speed), Measure("several cards", several))
