"""Run Snakemake many times after one import, which takes more than half of a dry run's time.

A line of JSON in: arguments, environment, working directory and the file for the output; a line out: the exit
code. Each run is a process of its own, forked from this one.
"""

import gc
import json
import os
import sys

sys.path[0] = os.getcwd()  # as `python -m snakemake`

from snakemake.cli import main  # noqa: E402

import audio_neurons.study.loading  # noqa: E402, F401
from audio_neurons.running.digest import PACKAGE, code_digest  # noqa: E402


def run(arguments: list[str], environment: dict[str, str], folder: str, output: str) -> None:
    """Run Snakemake in this process, which ends with it."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0], sys.argv = folder, ["snakemake", *arguments]
    main(arguments)


def warm() -> None:
    """Compute once what every run asks for, and leave what is imported out of the search for garbage."""
    modules = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    code_digest(*map(".".join, modules))
    gc.freeze()


if __name__ == "__main__":
    warm()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            sys.stdout.reconfigure(line_buffering=True)
            sys.exit(run(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
