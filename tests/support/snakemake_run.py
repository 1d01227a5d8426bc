"""Run the workflow in a separate folder, as a user would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from common import ROOT

CONFIGURATIONS = ROOT / "tests" / "configurations"


def configuration(name: str, **changes) -> dict:
    """Return a configuration of tests/configurations by its name, with some sections replaced."""
    text = (CONFIGURATIONS / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text) | changes


def demo(**changes) -> dict:
    """Return the small demo: three small datasets and two models, one of them trained for a few steps."""
    return configuration("small", **changes)


def command(folder: Path, config: dict, *args: str, cores: str | None = "2") -> list[str]:
    """Return the command line; with ``cores=None``, a profile in ``args`` sets the cores."""
    file = folder / "config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    snakefile = str(ROOT / "Snakefile")
    where = ["--snakefile", snakefile, "--directory", str(folder), "--configfile", str(file)]
    return [sys.executable, "-m", "snakemake", *args, *(["--cores", cores] if cores else []), *where]


def run(
    folder: Path, config: dict, *args: str, check: bool = True, cores: str | None = "2"
) -> subprocess.CompletedProcess:
    """Run Snakemake; its output is in ``stdout`` and in the message of a failure."""
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
    """Return the number of jobs by rule, from the job table of a dry run."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.M | re.S)
    return {name: int(n) for name, n in re.findall(r"^(\S+) +(\d+)$", table[1], re.M)} if table else {}
