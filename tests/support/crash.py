"""Runs each stage in processes that die while they write, one after the other, until one completes.

``python tests/support/crash.py FOLDER`` prints as JSON, for each stage, how many processes died, and the
result files that were then neither absent nor correct. Half of the processes get SIGKILL, half SIGTERM.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from common import TINY

from audio_neurons import models
from audio_neurons.activations import extraction, statistics, units
from audio_neurons.fetching.download import fetch
from audio_neurons.recordings import preparation
from audio_neurons.settings.extraction import Pass
from audio_neurons.training import train

# Python's audit events for files: a process dies before it opens, renames or removes one.
STEPS = ("open", "os.chmod", "os.rename", "os.remove", "shutil.move", "tempfile.mkstemp")
TABLES = ("cells", "counts", "units", "top_clips")
TRAINING = {"objective": "m2d", "steps": 4, "batch_size": 4, "clip_seconds": 0.64, "warmup_steps": 1,
            "learning_rate": 1e-3, "weight_decay": 0.05, "seed": 1,
            "predictor_depth": 1, "predictor_dim": 16, "checkpoint_minutes": 0}  # fmt: skip


def download(given: Path, out: Path) -> None:
    fetch([str(given / "list.csv")], out / "list.csv")


def prepare(given: Path, out: Path) -> None:
    parts = [out / f"part-{i}.parquet" for i in (0, 1)]
    preparation.prepare("custom", {"files": given / "list.csv"}, parts, out / "rejected.parquet")


def extract(given: Path, out: Path) -> None:
    settings = Pass(clip_seconds=0.64, batch_size=4)
    encoder = models.load("tiny", TINY, None)
    extraction.extract(encoder, given / "clips" / "part-0.parquet", out, out / "embeddings.parquet", settings)


def merge(given: Path, out: Path) -> None:
    statistics.merge([given / "shard"] * 2, out, 5)
    units.merge([given / "shard" / "units.parquet"] * 2, out / "units.parquet")


def training(given: Path, out: Path) -> None:
    block = {**TINY, "weights": {}, "training": TRAINING}
    train(block, given / "clips" / "part-0.parquet", out / "m.safetensors", out / "log.parquet")


# Each stage with the number of steps between two deaths, larger for slower stages.
STAGES = {"download": (download, 1), "prepare": (prepare, 2), "extract": (extract, 4), "merge": (merge, 2),
          "train": (training, 4)}  # fmt: skip
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


def attempt(stage: str, given: Path, out: Path, step: int = 0, how: int = 0) -> int:
    """Run a stage in a process that dies at a step of writing to ``out`` (0: never); return its status."""
    if child := os.fork():
        return os.waitpid(child, 0)[1]
    left = step

    def die(event: str, details: tuple) -> None:
        nonlocal left
        if event in STEPS and any(str(detail).startswith(str(out)) for detail in details):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), how)

    try:
        if step:
            sys.addaudithook(die)
        STAGES[stage][0](given, out)
    except BaseException as error:
        print(f"{stage}: {error!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def crashed(stage: str, given: Path, whole: Path, out: Path) -> dict:
    """Run a stage once without interruption and then with a death at each step, and compare the results."""
    assert attempt(stage, given, whole) == 0
    wanted, wrong, deaths = contents(whole), [], 0
    every = STAGES[stage][1]
    while status := attempt(stage, given, out, 1 + every * deaths, how := SIGNALS[deaths % 2]):
        assert os.WTERMSIG(status) == how, (stage, status)
        deaths += 1
        found = contents(out)
        wrong += [f"{name} after {deaths}" for name in found.keys() & wanted if found[name] != wanted[name]]
    found = contents(out)
    wrong += [name for name in found.keys() | wanted if found.get(name) != wanted.get(name)]
    return {"deaths": deaths, "wrong": wrong, "files": sorted(wanted)}


def main(folder: Path) -> dict:
    torch.set_num_threads(1)
    models.load("tiny", TINY, None)  # imports the modules of the stages once
    given, told = folder / "given", {}
    for stage in STAGES:
        told[stage] = crashed(stage, given, folder / stage / "whole", folder / stage / "out")
        if stage in ("prepare", "extract"):  # their results are the input of the next stage
            (folder / stage / "whole").rename(given / "shard" if stage == "extract" else given / "clips")
    return told


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
