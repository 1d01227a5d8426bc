"""Part E: `extract` from clips to tables, beside the bare passes that it holds; and the start of a job."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.activations.extraction import extract
from audio_neurons.models.encoder import numerics
from audio_neurons.settings.extraction import Pass
from benchmarks.common import HOME, TINY, VIT_BASE, make_clips
from benchmarks.gpu.host import DISTINCT
from benchmarks.gpu.sheet import Measure, Sheet

_START = """
import json, sys, time
began = time.perf_counter()
import torch
from audio_neurons import models
import audio_neurons.activations.extraction
imported = time.perf_counter()
encoder = models.load("vit-base", json.loads(sys.argv[1]), None, sys.argv[2])
built = time.perf_counter()
with torch.inference_mode():
    encoder(torch.zeros(8, 80000, device=sys.argv[2])).cpu()
print(imported - began, built - imported, time.perf_counter() - built)
"""


def extraction(sheet: Sheet) -> None:
    encoder = sheet.vit()
    clips, seconds = sheet.sized((4096, 5.0), (8, 0.7))
    workers = max(1, (os.cpu_count() or 1) - 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make_clips(folder / "clips.parquet", clips, seconds, 40, sheet.sized(DISTINCT, 4))
        few = make_clips(folder / "few.parquet", sheet.sized(512, 4), seconds, 40, sheet.sized(16, 4))
        for precision in sheet.precisions:
            for asked in sheet.sized(("auto", 32), (2,)):
                size = clips_per_pass(encoder, asked, round(seconds * encoder.sample_rate))
                settings = Pass(clip_seconds=seconds, batch_size=size, precision=precision)
                wave = sheet.noise(size, seconds)

                def bare(wave=wave) -> None:
                    with torch.inference_mode():
                        encoder(wave)

                with numerics(encoder, precision):
                    device, _ = sheet.clock(bare, sheet.sized(5, 1))
                extract(encoder, few, folder, folder / "e.parquet", settings, workers=workers)  # warm-up
                if sheet.cuda:
                    torch.cuda.reset_peak_memory_stats()
                began = sheet.wait()
                extract(encoder, path, folder, folder / "e.parquet", settings, workers=workers)
                took = sheet.wait() - began
                ratio = took / (device * math.ceil(clips / size))
                memory = f"; peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if sheet.cuda else ""
                told = f"{clips / took:,.0f} clips/s, bare {size / device:,.0f}{memory}"
                sheet.add(f"extract, time / bare passes: {precision}, batch {size}", ratio, "", told)
                sheet.check()


def shards(sheet: Sheet) -> None:
    """Measure what a job of extraction takes beside its clips."""
    encoder, size = sheet.vit(), sheet.sized(128, 2)
    seconds, numbers = sheet.sized(5.0, 0.7), sheet.sized((1024, 8192), (4, 8))
    settings = Pass(clip_seconds=seconds, batch_size=size, precision="bf16")
    times = []
    with tempfile.TemporaryDirectory() as name:
        for clips in numbers:
            folder = Path(name) / f"{clips}"
            folder.mkdir()
            path = make_clips(folder / "clips.parquet", clips, seconds, 40, sheet.sized(64, 4))
            began = sheet.wait()
            extract(encoder, path, folder, folder / "e.parquet", settings, workers=os.cpu_count() or 1)
            times.append(sheet.wait() - began)
    each = (times[1] - times[0]) / (numbers[1] - numbers[0])
    few, many = (number / took for number, took in zip(numbers, times, strict=True))
    told = f"of {numbers[0]} clips {few:,.0f}; beside its clips {times[0] - each * numbers[0]:.1f} s"
    sheet.add(f"extract, bf16, {numbers[1]} clips in one job", many, "clips/s", told)


def start(sheet: Sheet) -> None:
    block = json.dumps(sheet.sized(VIT_BASE, TINY))
    began = time.perf_counter()
    command = [sys.executable, "-c", _START, block, sheet.device]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True)
    total = time.perf_counter() - began
    imported, built, first = map(float, done.stdout.split())
    told = f"imports {imported:.1f}, building {built:.1f}, first pass {first:.1f}"
    sheet.add("start of a job, with its first pass", total, "s", told)


MEASURES = (
    Measure("extract beside bare passes", extraction),
    Measure("start of a job", start),
    Measure("small and large shards", shards),
)
