"""What a table or figure is told of its own making: the same words for the same work, on any day.

A job says once what it does (:func:`begin`); what it writes carries :func:`stamp` under ``KEY``, as JSON:

- ``version``, ``python``, ``packages``: of this package, and of those that decide numbers and files;
- ``table``: the name of its schema, where it has one;
- ``rule``, ``params``: the rule of the workflow, and what of the configuration decides its result, with a
  digest of the code that it ran (``code``) and its seeds.

There are no dates, folders, hosts or numbers of shards in it: they would make other bytes of the same
numbers.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import audio_neurons

KEY = "audio_neurons"
PACKAGES = ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "timm", "torch", "torchaudio")
# The environment, since processes that a job starts write tables too.
_JOB = "AUDIO_NEURONS_JOB"
# What is there for Snakemake to see a change: a digest of the times of files, and the number of parts.
UNTOLD = ("listing", "shards")


def begin(rule: str, params: Mapping[str, Any]) -> None:
    """Say what this process, and those that it starts, write tables and figures for.

    Parameters
    ----------
    params
        What JSON can hold; text that is JSON itself is told as what it holds.
    """
    told = {name: _decoded(value) for name, value in params.items() if name not in UNTOLD}
    os.environ[_JOB] = json.dumps({"rule": rule, "params": told}, sort_keys=True)


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith(("{", "[")) else value


def stamp(**more: str) -> str:
    """JSON of what is written now, with ``more`` beside what the job said; ASCII, keys in order."""
    job = json.loads(os.environ.get(_JOB, "{}"))
    made = {"version": audio_neurons.__version__, "python": platform.python_version()}
    return json.dumps({**made, "packages": _packages(), **job, **more}, sort_keys=True)


@cache
def _packages() -> dict[str, str]:
    return versions(PACKAGES)  # looked up anew, they took longer than writing a table


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package → version, of those that are installed; none of them is imported."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
