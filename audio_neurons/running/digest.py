"""Digest of the code that a stage runs, so that an edit re-runs the stage and its dependants."""

from __future__ import annotations

import ast
import hashlib
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
    tree = ast.parse(path.read_text(encoding="utf-8"), path)
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    imports = []
    for name in names:
        if name.startswith(f"{PACKAGE.name}."):
            try:
                imports.append(_file(name.removeprefix(f"{PACKAGE.name}.")))
            except ValueError:
                continue  # a function, class or subpackage, not a module
    text = ast.dump(_without_docstrings(tree)).encode() + _templates(path, tree)
    return hashlib.sha256(text).hexdigest(), tuple(imports)


def _templates(path: Path, tree: ast.Module) -> bytes:
    """Return the templates beside a module that loads them, whole."""
    if not any(isinstance(node, ast.Attribute) and node.attr == "PackageLoader" for node in ast.walk(tree)):
        return b""
    return b"".join(
        file.name.encode() + file.read_bytes() for file in sorted(path.parent.glob("templates/*"))
    )


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove docstrings from a tree, including those of class attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
