"""Provenance of tables and figures, stored in their metadata and identical for identical work.

A job calls :func:`begin` once; every table or figure that it writes carries :func:`stamp` as JSON under
the key ``KEY``:

- ``version``, ``python``, ``packages``: versions of this package, of Python, and of the packages that
  affect numbers and files;
- ``table``: the name of the table's schema, if it has one;
- ``rule``, ``params``: the workflow's rule, and the settings that affect its result, with its seeds and a
  digest of the code that it ran (``code``);
- ``device``: of a job that ran an encoder, ``cpu``, or the GPU with the versions of CUDA and cuDNN. Devices
  round differently;
- ``fused``: in how many of the job's models kernels computed the activation functions (see
  :mod:`audio_neurons.activations.fused`), if in any.

Dates, folders, hosts and numbers of shards are left out: with them, the same numbers would give files
with different bytes.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import audio_neurons

KEY = "audio_neurons"
PACKAGES = ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "soxr", "timm", "torch", "torchaudio")
# An environment variable, so that child processes of a job, which write tables too, inherit it.
_JOB = "AUDIO_NEURONS_JOB"
# Parameters that say how work was divided.
UNTOLD = ("shards", "parts")


def begin(rule: str, params: Mapping[str, Any]) -> None:
    """Set the rule and parameters that this process and its children record in what they write.

    Parameters
    ----------
    params
        Values that JSON can hold; text that is a JSON object or array is decoded first. Other text stays as
        it is, such as a label that begins with a brace.
    """
    told = {name: _decoded(value) for name, value in params.items() if name not in UNTOLD}
    os.environ[_JOB] = json.dumps({"rule": rule, "params": told}, sort_keys=True)


def note(name: str, value: str) -> None:
    """Add an entry to what a job, its children included, records in what it writes from now on."""
    if _JOB in os.environ:
        os.environ[_JOB] = json.dumps({**json.loads(os.environ.get(_JOB, "{}")), name: value}, sort_keys=True)


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(ValueError):
            return json.loads(value)
    return value


def stamp(**more: str) -> str:
    """Return the provenance as JSON in ASCII with sorted keys, with the entries of ``more`` added."""
    job = json.loads(os.environ.get(_JOB, "{}"))
    made = {"version": audio_neurons.__version__, "python": platform.python_version()}
    return json.dumps({**made, "packages": _packages(), **job, **more}, sort_keys=True)


@cache
def _packages() -> dict[str, str]:
    return versions(PACKAGES)  # cached: the look-up takes longer than writing a table


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package → version for those of ``packages`` that are installed, without importing them."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
