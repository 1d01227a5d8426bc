"""Inventory of a run: configuration, code, packages, seeds, and the checksum of every file."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import audio_neurons
from audio_neurons.running.digest import PACKAGE, code_digest
from audio_neurons.running.files import atomic, checksum
from audio_neurons.running.runtime import progress
from audio_neurons.settings.section import serialise
from audio_neurons.tables import REMEDY, TableError, made_by


def write_files(paths: Iterable[str], out: str | os.PathLike) -> None:
    """Write the :func:`facts` of files (size, checksum, provenance) as JSON by path."""
    _write(_facts(paths), out)


def write_provenance(
    config: Mapping, paths: Iterable[str], listed: Iterable[str | os.PathLike], out: str | os.PathLike
) -> None:
    """Write the inventory of a run as JSON; equal runs give equal JSON.

    ``configuration`` is complete, with its defaults; ``configuration_sha256`` is the checksum of its
    canonical text, and ``seeds`` are its seeds by path. ``version`` and ``code`` (see :func:`library_code`)
    are those of this package when it writes the inventory, and ``commit`` is that of its checkout; the code
    that made a file is in the file's ``made_by``. ``files`` are by path relative to the working directory.

    Parameters
    ----------
    paths
        Files to list.
    listed
        Lists of further files, written by :func:`write_files`.
    """
    files = _facts(paths)
    for path in listed:
        try:
            files |= json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise TableError(f"{path}: damaged ({error}); {REMEDY}") from error
    found = {
        "version": audio_neurons.__version__,
        "commit": commit(),
        "code": library_code(),
        "python": platform.python_version(),
        "packages": packages(),
        "configuration": config,
        "configuration_sha256": hashlib.sha256(serialise(config).encode()).hexdigest(),
        "seeds": dict(seeds(config)),
        "files": files,
    }
    _write(found, out)


def _write(found: Mapping, out: str | os.PathLike) -> None:
    with atomic(out) as temporary:
        text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def _facts(paths: Iterable[str]) -> dict[str, dict]:
    listed = sorted(set(paths))
    return {path: facts(path) for path in progress(listed, len(listed), "checksums", "files")}


def facts(path: str | os.PathLike) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of a file, and ``made_by`` of a table that records it.

    For a file that no longer exists, such as an archive removed after preparation, only ``absent`` is true.
    For a folder, such as one of a user's own recordings, only ``folder`` is true: its clips hold its content.

    Raises
    ------
    TableError
        If a table is damaged.
    """
    path = Path(path)
    if not path.exists():
        return {"absent": True}
    if path.is_dir():
        return {"folder": True}
    made = made_by(path) if path.suffix == ".parquet" else None
    found = {"bytes": path.stat().st_size, "sha256": checksum(path)}
    return {**found, "made_by": made} if made else found


def library_code() -> str:
    """Return a digest of the code of the whole package, without comments, docstrings and layout."""
    modules = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return code_digest(*(".".join(module.parts) for module in modules))


def commit(root: Path = PACKAGE.parent) -> str | None:
    """Return the checkout's commit, with ``-dirty`` if files are modified; None without checkout or git."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return told.stdout.strip() or None


def packages() -> dict[str, str]:
    """Return package → version of all installed packages, as `pip freeze` lists them."""
    found: dict[str, str] = {}
    for package in distributions():
        # If a package is installed twice, Python imports the first.
        found.setdefault(package.metadata["Name"].lower(), package.version)
    return found


def seeds(block: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted path and value of every ``seed`` and ``seeds`` in a configuration."""
    for key, value in block.items() if isinstance(block, Mapping) else ():
        name = f"{path}.{key}".lstrip(".")
        if key in ("seed", "seeds"):
            yield name, value
        yield from seeds(value, name)
