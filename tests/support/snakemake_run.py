"""Run the workflow in a separate folder, as a user would."""

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import yaml
from common import ROOT

OURS = ROOT
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
def _server() -> subprocess.Popen:
    """Return the process that runs Snakemake without importing it anew."""
    server = [sys.executable, str(ROOT / "tests" / "support" / "snakemake_server.py")]
    return subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def run(
    folder: Path, config: dict, *args: str, check: bool = True, cores: str | None = "2"
) -> subprocess.CompletedProcess:
    """Run Snakemake; its output is in ``stdout`` and in the message of a failure."""
    asked = command(folder, config, *args, cores=cores)
    if ROOT != OURS:  # a changed copy of the project, which the server has not imported
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(asked, **told, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        assert not check or done.returncode == 0, done.stdout[-8000:]
        return done
    with tempfile.NamedTemporaryFile() as output:
        request = {
            "arguments": asked[3:],
            "environment": {**os.environ, "PYTHONUNBUFFERED": "1"},
            "folder": os.getcwd(),
            "output": output.name,
        }
        print(json.dumps(request), file=_server().stdin, flush=True)
        code = int(_server().stdout.readline())
        told = output.read().decode("utf-8", "replace")
    assert not check or code == 0, told[-8000:]
    return subprocess.CompletedProcess(asked, code, told)


def planned(output: str) -> dict[str, int]:
    """Return the number of jobs by rule, from the job table of a dry run."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.M | re.S)
    return {name: int(n) for name, n in re.findall(r"^(\S+) +(\d+)$", table[1], re.M)} if table else {}
