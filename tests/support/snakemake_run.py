"""Run the workflow in a separate folder, as a user would."""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import forks
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


@cache
def _server(root: Path, *what: str) -> tuple[str, subprocess.Popen, tempfile.TemporaryDirectory]:
    """Start it once for a copy of the project; what is returned ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    address = str(Path(folder.name) / "socket")
    process = subprocess.Popen(
        [sys.executable, forks.__file__, address, *what],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, **forks.OWN},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return address, process, folder


def server() -> str:
    """Return the socket of the process that runs Snakemake and scripts without importing all anew."""
    return _server(ROOT)[0]


def run(
    folder: Path, config: dict, *args: str, check: bool = True, cores: str | None = "2", firsts: bool = False
) -> subprocess.CompletedProcess:
    """Run Snakemake; its output is in ``stdout`` and in the message of a failure.

    With ``firsts``, the first job of each script imports what it needs itself (see `forks`).
    """
    asked = command(folder, config, *args, cores=cores)
    code, told = python(asked[1:], firsts)
    assert not check or code == 0, told[-8000:]
    return subprocess.CompletedProcess(asked, code, told)


def python(arguments: list[str], firsts: bool = False, folder: Path | None = None) -> tuple[int, str]:
    """Run ``python ARGUMENTS`` in a folder, by default the current one; return its exit code and output."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    folder = folder or Path.cwd()
    with tempfile.TemporaryFile() as output:
        files = (output.fileno(), output.fileno())
        own = _server(ROOT, "libraries")[0] if firsts else ""
        code = forks.Forked(server(), arguments, environment, files, str(folder), own).wait()
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def snakemake(commands: list[list[str]]) -> list[tuple[int, str]]:
    """Run Snakemake in the checkout with each list of arguments, two at a time; return codes and outputs."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda words: python(["-m", "snakemake", *words], folder=ROOT), commands))


def planned(output: str) -> dict[str, int]:
    """Return the number of jobs by rule, from the job table of a dry run."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.M | re.S)
    return {name: int(n) for name, n in re.findall(r"^(\S+) +(\d+)$", table[1], re.M)} if table else {}
