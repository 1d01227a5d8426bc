"""What the benchmarks share: options, the machine, paired runs, and the history of what was measured.

The machine is seldom ours alone. So what is compared runs in turns, each time in the other order, and a
ratio is taken within one turn; told are the median and the quartiles over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from audio_neurons import audio, runtime, tables
from audio_neurons.files import atomic

if TYPE_CHECKING:  # torch is imported late: memory is also measured of what does without
    from audio_neurons.models.encoder import Encoder

HOME = Path(__file__).parents[1]
HISTORY = HOME / "benchmarks" / "results" / "history.parquet"  # not under results/: that is the study's

RANDOM = {"source": "random", "seed": 0}
VIT_BASE = {"adapter": "vit", "weights": RANDOM}
TINY = {**VIT_BASE, "input_size": [80, 64], "embed_dim": 32, "depth": 2, "num_heads": 2}

# A process reads its own peak: in what the system tells of a child, the parent's size is included.
PEAK = """
import importlib, json, sys
from pathlib import Path
module, function, arguments = json.loads(sys.argv[1])
getattr(importlib.import_module(module), function)(*arguments)
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def options(doc: str, argv: Sequence[str] | None, quick: Mapping = {}, **defaults) -> argparse.Namespace:
    """Options of a benchmark: those of ``defaults``, and those that all have.

    Parameters
    ----------
    doc
        What ``--help`` says.
    argv
        The command line; ``None`` for that of this process.
    quick
        Values of options that ``--quick`` sets: sizes at which the script runs and measures nothing.
    defaults
        Option → its default, its help, and what else there is to choose from, if it is limited. A list
        is an option of several values.
    """
    import torch

    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=doc, formatter_class=style)
    common = {
        "runs": (5, "turns over which medians and quartiles are taken"),
        "threads": (os.cpu_count(), "threads"),
        "device": ("cuda" if torch.cuda.is_available() else "cpu", "cpu or cuda"),
        "history": (HISTORY, "Parquet file to which measurements are added"),
    }
    for name, (default, help_, *choices) in {**defaults, **common}.items():
        several = isinstance(default, list)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=default,
            type=Path if isinstance(default, Path) else type(default[0] if several else default),
            nargs="*" if several else None,
            choices=choices[0] if choices else None,
            help=f"{help_} (default: {' '.join(map(str, default)) if several else default})",
        )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: see that it runs, measure nothing")
    if "--quick" in (sys.argv[1:] if argv is None else argv):
        parser.set_defaults(**{"runs": 2, "device": "cpu", **quick})
    given = parser.parse_args(argv)
    runtime.limit_threads(given.threads)
    runtime.INTERVAL = float("inf")  # no lines of progress among the figures
    return given


def full_size(given: argparse.Namespace) -> Encoder:
    """ViT-Base, random weights; a tiny one with ``--quick``."""
    from audio_neurons import models

    return models.load("vit-base", block_of(given), None, given.device)


def block_of(given: argparse.Namespace) -> dict:
    return TINY if given.quick else VIT_BASE


def now(device: str) -> float:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def turns(
    ways: Mapping[str, Callable[[], object]], runs: int, device: str = "cpu", warm: bool = True
) -> pd.DataFrame:
    """Seconds of each way in each of ``runs`` turns, every other one backwards, after one to get warm."""
    rows = []
    for turn in range(-1 if warm else 0, runs):
        row = {}
        for name in sorted(ways, reverse=turn % 2 == 1):
            began = now(device)
            ways[name]()
            row[name] = now(device) - began
        rows.append(row)
    return pd.DataFrame(rows[1:] if warm else rows)


def peak(module: str, function: str, *arguments: object) -> float:
    """Megabytes that a call takes at most, in a process of its own, from its start; NaN where unknown."""
    if not Path("/proc/self/status").is_file():
        return float("nan")
    call = json.dumps([module, function, [str(a) if isinstance(a, Path) else a for a in arguments]])
    done = subprocess.run([sys.executable, "-c", PEAK, call], cwd=HOME, stdout=subprocess.PIPE, check=True)
    return int(done.stdout.split()[-1]) / 1024


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """b of the power law seconds = a * size ** b that fits best: 1 is linear.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@contextmanager
def recorded(owner: object, name: str, seconds: dict[str, float], key: str, device: str) -> Iterator[None]:
    """While it is entered, the time of every call of ``owner``'s function is added to ``seconds``."""
    own = name in vars(owner)
    function = getattr(owner, name)

    def timed(*args, **kwargs):
        began = now(device)
        try:
            return function(*args, **kwargs)
        finally:
            seconds[key] = seconds.get(key, 0.0) + now(device) - began

    setattr(owner, name, timed)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, function)
        else:
            vars(owner).pop(name, None)  # the class's own is found again


def make_clips(path: Path, clips: int, seconds: float, groups: int | None = None, distinct: int = 0) -> Path:
    """A clips table of noise: enough for a cost that does not depend on what is heard.

    Parameters
    ----------
    groups
        Groups that the clips are dealt to; ``None`` makes each clip one.
    distinct
        Different recordings among the clips; 0 for as many as clips.
    """
    rng = np.random.default_rng(0)
    frames = round(seconds * tables.SAMPLE_RATE)
    flac = [audio.encode(0.1 * rng.standard_normal(frames)) for _ in range(distinct or clips)]
    with tables.writer(path, "clips", ["kind"]) as writer:
        for start in range(0, clips, 64):  # as preparation writes them
            here = range(start, min(start + 64, clips))
            columns = {
                "clip_id": [f"clip-{i:06d}" for i in here],
                "audio": [flac[i % len(flac)] for i in here],
                "frames": [frames] * len(here),
                "split": ["train"] * len(here),
                "fold": [0] * len(here),
                "group": [f"group {i % (groups or clips)}" for i in here],
                "kind": [f"class {i % (groups or clips) % 10}" for i in here],
            }
            writer.append(columns)
    return path


def machine(threads: int, device: str = "cpu") -> str:
    """The processor or card that measures, and with what."""
    import torch

    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    where = torch.cuda.get_device_name() if device == "cuda" else (*named, platform.machine())[0]
    return f"{where}, {os.cpu_count()} cores, {threads} threads, torch {torch.__version__}"


def commit() -> str:
    """The commit that is measured, with a + where files differ from it; empty outside of git."""
    said = []
    for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", *command], cwd=HOME, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")


class Report:
    """Prints what a benchmark measures and, at the end of its block, adds it to the history.

    A row of the history: ``when`` (UTC), ``commit``, ``machine``, ``benchmark``, ``what``, ``value``
    (the median), ``unit`` ("ratio" for one), ``low`` and ``high`` (the quartiles), ``runs``.
    """

    def __init__(self, benchmark: str, given: argparse.Namespace):
        self._path, self._rows = given.history, []
        self._common = {
            "when": pd.Timestamp(datetime.now(UTC)),
            "commit": commit(),
            "machine": machine(given.threads, given.device),
            "benchmark": benchmark,
        }

    def __enter__(self) -> Report:
        load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        print(f"{self._common['benchmark']}: {self._common['machine']}{load}", flush=True)
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        if kind or not self._rows:
            return
        rows = pd.DataFrame(self._rows)
        if self._path.is_file():
            rows = pd.concat([pd.read_parquet(self._path), rows], ignore_index=True)
        with atomic(self._path) as temporary:
            rows.to_parquet(temporary, index=False)

    def add(self, what: str, values: Sequence[float] | float, unit: str = "ratio") -> None:
        """Note a measurement: one value, or one per run."""
        values = np.atleast_1d(np.asarray(values, np.float64))
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        figures = {"value": middle, "unit": unit, "low": low, "high": high, "runs": len(values)}
        self._rows.append({**self._common, "what": what, **figures})
        print(f"  {line(self._rows[-1])}", flush=True)


def line(row: Mapping) -> str:
    """A measurement in words."""
    unit = "" if row["unit"] == "ratio" else f" {row['unit']}"
    spread = f" [{row['low']:.3g}, {row['high']:.3g}], {row['runs']} runs" if row["runs"] > 1 else ""
    return f"{row['what']}: {row['value']:.3g}{unit}{spread}"
