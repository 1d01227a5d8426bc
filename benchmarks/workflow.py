"""Cost of Snakemake itself: a dry run of the full configuration, and one figure drawn again.

The figure belongs to a small study of tones with a random model, in a separate folder. Everything derived
from the statistics (neurons, sharing, the figure) is removed and made again from them, which should take less
than 15 s.
"""

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import yaml

from benchmarks.common import HOME, Report, now, options, turns

TINY = {"kind": "random", "input_size": [80, 64], "embed_dim": 32, "depth": 2, "num_heads": 2}
CONFIG = {
    "datasets": {"tones": {"files": "tones.csv", "clip_seconds": 0.6}},
    "tasks": {"tones": {"dataset": "tones", "label": "pitch"}},
    "models": {"random": {**TINY, "weights": {"source": "random", "seed": 0}}},
    "comparisons": {"tones": {"tasks": ["tones"]}},
    "selection": {"selectors": {"aape": {"top_share": 0.1}}},
    "extraction": {"device": "cpu"},
}
FIGURE = "results/figures/tones.pdf"
DERIVED = ("neurons", "classes", "sharing", "figures")


def make_study(folder: Path, clips: int) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(9600) / 16_000
    rows = [("path", "pitch", "group")]
    for i in range(clips):
        pitch = (200, 400, 800)[i % 3]
        wave = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.01 * rng.standard_normal(len(time))
        soundfile.write(folder / f"{i}.wav", wave, 16_000)
        rows.append((f"{i}.wav", f"{pitch} Hz", f"take {i}"))
    with open(folder / "tones.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")


def snakemake(folder: Path, config: Path, *args: str) -> str:
    """Run Snakemake and return its output; if it fails, raise an error with the output."""
    command = [sys.executable, "-m", "snakemake", *args, "--cores", "2"]
    command += ["--snakefile", str(HOME / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout)
    return done.stdout


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"clips": 30, "runs": 1, "shards": []},
        clips=(120, "recordings of the small study"),
        shards=([100, 400], "shards of every dataset in further dry runs"),
    )
    with tempfile.TemporaryDirectory() as name, Report("workflow", args) as report:
        folder = Path(name)
        (folder / "empty").mkdir()
        make_study(folder, args.clips)
        snakemake(folder, folder / "config.yaml", FIGURE)

        def figure() -> None:
            for stage in DERIVED:
                shutil.rmtree(folder / "results" / stage)
            said = snakemake(folder, folder / "config.yaml", FIGURE)
            assert (folder / FIGURE).is_file(), said

        full = HOME / "config" / "config.yaml"
        ways = {"dry run": lambda: snakemake(folder / "empty", full, "-n"), "figure": figure}
        seconds = turns(ways, args.runs, warm=False)
        report.add("snakemake -n of the full configuration", seconds["dry run"], "s")
        for count in args.shards:
            many = yaml.safe_load(full.read_text(encoding="utf-8"))
            many["datasets"] = {name: {**block, "shards": count} for name, block in many["datasets"].items()}
            (folder / "many.yaml").write_text(yaml.safe_dump(many), encoding="utf-8")
            began = now("cpu")
            said = snakemake(folder / "empty", folder / "many.yaml", "-n")
            jobs = re.search(r"^total +(\d+)$", said, re.M)[1]
            report.add(f"snakemake -n of {jobs} jobs", now("cpu") - began, "s")
        report.add("one figure again, from finished statistics", seconds["figure"], "s")


if __name__ == "__main__":
    main()
