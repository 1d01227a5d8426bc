"""Common parts of the benchmarks: options, the machine, paired runs, and the history of measurements.

The machine may be shared with other work. Compared variants therefore run in turns, in alternating order,
and ratios are taken within one turn; reported are the median and the quartiles over the turns.
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

from audio_neurons import tables
from audio_neurons.recordings import audio
from audio_neurons.running import runtime
from audio_neurons.running.files import atomic

if TYPE_CHECKING:  # torch is imported late: memory is also measured of code that does not need it
    from audio_neurons.models.encoder import Encoder

HOME = Path(__file__).parents[1]
HISTORY = HOME / "benchmarks" / "results" / "history.parquet"  # outside results/, which belongs to the study

RANDOM = {"source": "random", "seed": 0}
VIT_BASE = {"adapter": "vit", "weights": RANDOM}
TINY = {**VIT_BASE, "input_size": [80, 64], "embed_dim": 32, "depth": 2, "num_heads": 2}

# A process reads its own peak: the system's value for a child includes the size of the parent.
PEAK = """
import importlib, json, sys
from pathlib import Path
module, function, arguments = json.loads(sys.argv[1])
getattr(importlib.import_module(module), function)(*arguments)
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def options(doc: str, argv: Sequence[str] | None, quick: Mapping = {}, **defaults) -> argparse.Namespace:
    """Parse the options of a benchmark: those of ``defaults``, and those that all benchmarks have.

    Parameters
    ----------
    doc
        Description in ``--help``.
    argv
        The command line; ``None`` for that of this process.
    quick
        Option → value set by ``--quick``: tiny sizes that only check that the script runs.
    defaults
        Option → its default, its help and, if limited, its choices. A list as default means an option with
        several values.
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
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only check that it runs")
    if "--quick" in (sys.argv[1:] if argv is None else argv):
        parser.set_defaults(**{"runs": 2, "device": "cpu", **quick})
    given = parser.parse_args(argv)
    runtime.limit_threads(given.threads)
    runtime.INTERVAL = float("inf")  # no progress lines among the results
    return given


def full_size(given: argparse.Namespace) -> Encoder:
    """Return ViT-Base with random weights; with ``--quick``, a tiny encoder."""
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
    """Return seconds of each way in each of ``runs`` turns, in alternating order, after a warm-up turn."""
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
    """Return the peak memory, in MB, of a separate process that makes a call; NaN where unknown."""
    if not Path("/proc/self/status").is_file():
        return float("nan")
    call = json.dumps([module, function, [str(a) if isinstance(a, Path) else a for a in arguments]])
    done = subprocess.run([sys.executable, "-c", PEAK, call], cwd=HOME, stdout=subprocess.PIPE, check=True)
    return int(done.stdout.split()[-1]) / 1024


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return b of the power law seconds = a * size ** b that fits best: 1 is linear.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@contextmanager
def recorded(owner: object, name: str, seconds: dict[str, float], key: str, device: str) -> Iterator[None]:
    """Add the time of every call of a function of ``owner`` to ``seconds[key]``, inside the block."""
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
            vars(owner).pop(name, None)  # uncovers the class's own


def make_clips(path: Path, clips: int, seconds: float, groups: int | None = None, distinct: int = 0) -> Path:
    """Write a clips table of noise: the measured costs do not depend on the content.

    Parameters
    ----------
    groups
        Number of groups to which clips are dealt; ``None`` makes each clip a group.
    distinct
        Number of different recordings; 0 for as many as clips.
    """
    rng = np.random.default_rng(0)
    frames = round(seconds * tables.SAMPLE_RATE)
    flac = [audio.encode(0.1 * rng.standard_normal(frames)) for _ in range(distinct or clips)]
    with tables.writer(path, "clips", ["kind"]) as writer:
        for start in range(0, clips, 64):  # in blocks, as preparation writes them
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
    """Describe the processor or card, cores, threads and torch version."""
    import torch

    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    where = torch.cuda.get_device_name() if device == "cuda" else (*named, platform.machine())[0]
    return f"{where}, {os.cpu_count()} cores, {threads} threads, torch {torch.__version__}"


def commit() -> str:
    """Return the commit that is measured, with a + if files differ from it; empty outside of git."""
    said = []
    for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", *command], cwd=HOME, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")


class Report:
    """Prints the measurements of a benchmark and, at the end of its block, adds them to the history.

    Columns of the history: ``when`` (UTC), ``commit``, ``machine``, ``benchmark``, ``what``, ``value``
    (the median), ``unit`` ("ratio" for a ratio), ``low`` and ``high`` (the quartiles), ``runs``.
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
        """Record and print a measurement: one value, or one per run."""
        values = np.atleast_1d(np.asarray(values, np.float64))
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        figures = {"value": middle, "unit": unit, "low": low, "high": high, "runs": len(values)}
        self._rows.append({**self._common, "what": what, **figures})
        print(f"  {line(self._rows[-1])}", flush=True)


def line(row: Mapping) -> str:
    """Format a measurement as a line of text."""
    unit = "" if row["unit"] == "ratio" else f" {row['unit']}"
    spread = f" [{row['low']:.3g}, {row['high']:.3g}], {row['runs']} runs" if row["runs"] > 1 else ""
    return f"{row['what']}: {row['value']:.3g}{unit}{spread}"
