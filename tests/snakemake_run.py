"""Running the workflow for real, in a folder of its own, as a user would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def demo(**changes) -> dict:
    """The demo's configuration, cut down to three small datasets and two models of few steps."""
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    keep = ("esc50", "gise51", "gtzan")
    config["datasets"] = {d: {**config["datasets"][d], "synthesis": {"clips": 60}} for d in keep}
    config["tasks"] = {name: t for name, t in config["tasks"].items() if t["dataset"] in keep}
    config["comparisons"] = {name: config["comparisons"][name] for name in ("events", "genre")}
    config["pools"]["pool"]["clips"] = 48
    config["models"] = {name: config["models"][name] for name in ("ssl", "random")}
    config["models"]["ssl"]["training"].update(steps=3, batch_size=8, predictor_dim=32)
    config["models"]["random"].pop("training")
    config["models"]["random"]["weights"] = {"source": "random", "seed": 0}
    for model in config["models"].values():
        model.update(embed_dim=32, depth=2, num_heads=2)
    config["selection"]["selectors"]["aape"]["top_share"] = 0.1
    config["inference"] = {"draws": 19, "bootstrap": 9, "halves": 3}
    config["probe"] = {"learning_rate": 0.01, "epochs": 3, "seeds": [0]}
    ablated = {"classes": ["hiphop", "pop"], "shared": [["hiphop", "pop"]], "models": ["random"]}
    config["ablation"] = {"gains": [0, 2], "random": 3, "bootstrap": 9, "tasks": {"gtzan": ablated}}
    return config | changes


def command(folder: Path, config: dict, *args: str, cores: str | None = "2") -> list[str]:
    """The command line; ``cores`` of ``None`` leaves them to a profile that ``args`` name."""
    file = folder / "config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    snakefile = str(ROOT / "Snakefile")
    where = ["--snakefile", snakefile, "--directory", str(folder), "--configfile", str(file)]
    return [sys.executable, "-m", "snakemake", *args, *(["--cores", cores] if cores else []), *where]


def run(
    folder: Path, config: dict, *args: str, check: bool = True, cores: str | None = "2"
) -> subprocess.CompletedProcess:
    """Run Snakemake; its output is in ``stdout``, and in the failure's message."""
    result = subprocess.run(
        command(folder, config, *args, cores=cores),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert not check or result.returncode == 0, result.stdout[-8000:]
    return result


def planned(output: str) -> dict[str, int]:
    """Rules and numbers of jobs that a dry run's table of jobs names."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.M | re.S)
    return {name: int(n) for name, n in re.findall(r"^(\S+) +(\d+)$", table[1], re.M)} if table else {}
