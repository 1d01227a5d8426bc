"""Run Snakemake many times after one import; JSON in: command lines, JSON out: exit codes and outputs."""

import json
import multiprocessing
import os
import sys
import tempfile

from snakemake_server import main, warm


def run(arguments: list[str]) -> tuple[int, str]:
    """Run Snakemake once in this process, and return its exit code and output."""
    with tempfile.TemporaryFile("w+") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            main(arguments)
            code = 0
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        output.seek(0)
        return code, output.read()


if __name__ == "__main__":
    warm()
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        outcomes = pool.map(run, json.load(sys.stdin), chunksize=1)
    json.dump(outcomes, sys.stdout)
