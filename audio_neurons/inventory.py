"""The list of what a run is made of: configuration, code, packages, seeds, and every file's checksum."""

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

import pyarrow as pa
import pyarrow.parquet as pq

import audio_neurons
from audio_neurons.config import canonical
from audio_neurons.digest import PACKAGE, code_digest
from audio_neurons.files import atomic, checksum
from audio_neurons.provenance import KEY
from audio_neurons.runtime import progress
from audio_neurons.tables import REMEDY, TableError


def write_files(paths: Iterable[str], out: str | os.PathLike) -> None:
    """Write size, checksum and making of files, as :func:`facts` has them, as JSON by path."""
    _write(_facts(paths), out)


def write_provenance(
    config: Mapping, paths: Iterable[str], listed: Iterable[str | os.PathLike], out: str | os.PathLike
) -> None:
    """Write what a run is made of as JSON that is the same whenever the run is.

    ``configuration`` is complete, with its defaults, and ``configuration_sha256`` of its canonical text;
    ``seeds`` are those in it, by path. ``version`` and ``code`` (see :func:`library_code`) are of this
    package as it writes the list, ``commit`` that of its checkout; what made a file is told by that file's
    ``made_by``. ``files`` are by path relative to the working directory.

    Parameters
    ----------
    paths
        Files to list.
    listed
        What :func:`write_files` wrote of others.
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
        "configuration_sha256": hashlib.sha256(canonical(config).encode()).hexdigest(),
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
    """``bytes`` and ``sha256`` of a file, and ``made_by`` of a table that tells it.

    Of a file that is no more, as archives may be once they are prepared, ``absent`` is true; of a folder,
    as that of one's own recordings, ``folder``: what was taken from it is in its clips.

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


def made_by(path: str | os.PathLike) -> dict | None:
    """What a table tells of its making, if it does.

    Raises
    ------
    TableError
        If it is damaged.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return json.loads(metadata[KEY.encode()]) if KEY.encode() in metadata else None
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise TableError(f"{path}: damaged ({error}); {REMEDY}") from error


def library_code() -> str:
    """Digest of the code of this whole package, without comments and layout."""
    modules = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return code_digest(*(".".join(module.parts) for module in modules))


def commit(root: Path = PACKAGE.parent) -> str | None:
    """The checkout's commit, ``-dirty`` if files of it are changed; None if there is none, or no git."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return told.stdout.strip() or None


def packages() -> dict[str, str]:
    """Package → version of all that is installed beside this one, as `pip freeze` has them."""
    found: dict[str, str] = {}
    for package in distributions():
        # Where there are two, Python imports the first.
        found.setdefault(package.metadata["Name"].lower(), package.version)
    return found


def seeds(block: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every ``seed`` and ``seeds`` in a configuration."""
    for key, value in block.items() if isinstance(block, Mapping) else ():
        name = f"{path}.{key}".lstrip(".")
        if key in ("seed", "seeds"):
            yield name, value
        yield from seeds(value, name)
