"""A digest of the code that a stage runs, so that editing a stage re-runs it and what depends on it."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_digest(*modules: str) -> str:
    """Digest of modules of this package and of every module of it that they import, however deep.

    The sources are parsed, not imported, and compared without comments and layout: a reworded
    comment re-runs nothing.

    Parameters
    ----------
    modules
        Dotted names below the package: ``"extraction"``, ``"datasets.esc50"``.
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
    path = PACKAGE.joinpath(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    if not file.is_file():
        raise ValueError(f"no module {PACKAGE.name}.{module}")
    return file


@cache
def _parse(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Digest of a module's meaning, and the files of this package that it imports."""
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
                continue  # a function or class of a module that is already listed
    return hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest(), tuple(imports)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
