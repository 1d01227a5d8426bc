"""Digest of the code that a stage runs, so that an edit re-runs the stage and its dependants."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


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
    lines = sorted(f"{path.relative_to(PACKAGE).as_posix()} {text}" for path, text in found.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _file(module: str) -> Path:
    file = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise ValueError(f"no module {PACKAGE.name}.{module}")
    return file


@cache
def _parse(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the digest of a module's syntax tree, and the files of this package that it imports."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, path)
    names = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstrings(node)
    _drop_docstrings(tree)
    imports = []
    for name in names:
        if name.startswith(f"{PACKAGE.name}."):
            try:
                imports.append(_file(name.removeprefix(f"{PACKAGE.name}.")))
            except ValueError:
                continue  # a function, class or subpackage, not a module
    text = ast.dump(tree).encode() + (_templates(path, tree) if "PackageLoader" in source else b"")
    return hashlib.sha256(text).hexdigest(), tuple(imports)


def _templates(path: Path, tree: ast.Module) -> bytes:
    """Return the templates beside a module that loads them, whole."""
    if not any(isinstance(node, ast.Attribute) and node.attr == "PackageLoader" for node in ast.walk(tree)):
        return b""
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
