"""Digest of the code that a stage runs, so that an edit re-runs the stage and its dependants."""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path

from audio_neurons.running.files import write_text

PACKAGE = Path(__file__).parents[1]
# Parsing takes a fifth of Snakemake's start. As Python keeps bytecode, this keeps what was read of each
# source, in the same folder: path -> [digest of the source, digest of its syntax tree, what it imports].
KEPT = Path(cache_from_source(__file__)).with_suffix(".json")


def code_digest(*modules: str) -> str:
    """Return a digest of modules of this package and of all its modules that they import, recursively.

    The sources are parsed, not imported. Comments, docstrings and layout do not count: a reworded
    comment re-runs nothing. The templates of a module that loads some count with it.

    Parameters
    ----------
    modules
        Dotted names of modules below the package: ``"activations.extraction"``, ``"datasets.esc50"``.

    Raises
    ------
    ValueError
        If there is no such module, or it is a subpackage rather than a module.
    """
    found: dict[Path, str] = {}
    waiting = [_file(m) for m in modules]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path], imports = _parse(path)
            waiting.extend(imports)
    return hashlib.sha256("\n".join(sorted(found.values())).encode()).hexdigest()[:16]


def _file(module: str) -> Path:
    file = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise ValueError(f"no module {PACKAGE.name}.{module}")
    return file


@cache
def _parse(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return a module's path with the digest of its syntax tree, and the files here that it imports."""
    source = path.read_bytes()
    place, now = path.relative_to(PACKAGE).as_posix(), hashlib.sha256(source).hexdigest()
    kept = _kept()
    if kept.get(place, [""])[0] != now:
        kept[place] = [now, *_read(source)]
        _keep_at_exit()
    _, text, names = kept[place]
    if b"PackageLoader" in source:
        text = hashlib.sha256(text.encode() + _templates(path)).hexdigest()
    imports = []
    for name in names:
        with suppress(ValueError):  # a function, class or subpackage, not a module
            imports.append(_file(name))
    return f"{place} {text}", tuple(imports)


def _read(source: bytes) -> tuple[str, list[str]]:
    """Return the digest of a syntax tree, and dotted names below this package that its module imports."""
    tree = ast.parse(source)
    names = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstrings(node)
    _drop_docstrings(tree)
    own = f"{PACKAGE.name}."
    below = [name.removeprefix(own) for name in names if name.startswith(own)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), below


@cache
def _kept() -> dict[str, list]:
    """Return what earlier processes have read of sources, with this module as it is."""
    with suppress(OSError, ValueError):
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and kept.pop("by", "") == _by():
            return kept
    return {}


def _by() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


@cache
def _keep_at_exit() -> None:
    if not sys.dont_write_bytecode:
        atexit.register(_keep)


def _keep() -> None:
    with suppress(OSError):  # the installation may not be written
        write_text(KEPT, json.dumps({"by": _by()} | _kept()))


def _templates(path: Path) -> bytes:
    """Return the templates beside a module that loads them, whole."""
    return b"".join(
        file.name.encode() + file.read_bytes() for file in sorted(path.parent.glob("templates/*"))
    )


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements, outer ones first, without a look at the expressions, which are most of a tree."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for node in getattr(tree, field, ()):
            yield node
            yield from _statements(node)


def _drop_docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Remove docstrings, including those of class attributes."""
    node.body = [statement for statement in node.body if not _is_text(statement)]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
