"""Expectations: patterns that the paper or its readers report, or that a user has, read from CSV files."""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

RATIO = "ratio"  # a contrast of common-neuron ratios; the other quantities are differences between models
QUANTITIES = (
    RATIO,
    "auroc",
    "classes_per_neuron",
    "coverage",
    "neurons_per_class",
    "contrast",
    "normalised",
    "transfer",
)
KINDS = ("ssl", "sl", "random")
DIRECTIONS = ("more", "less")
EVERY = "*"  # of all tasks


class ExpectationError(ValueError):
    """A file of expectations cannot be read, or says something that cannot be tested."""


@dataclass(frozen=True)
class Expectation:
    """One pattern.

    Attributes
    ----------
    id, statement
        Its name, and what is expected in a sentence.
    tasks
        A task, or two of a comparison, ``first x second``; ``*`` stands for every task.
    kinds
        Kinds of models that it is reported of, joined by ``+``; it is tested in all.
    quantity
        ``ratio``, or a quantity of the table ``differences``.
    inside, against
        Pairs of classes that should share more, and less (:func:`sides`); of a difference, kinds of models.
        An empty ``against`` stands for all other pairs.
    direction
        ``more`` or ``less``.
    standing, source
        Who says so, and where.
    """

    id: str
    statement: str
    tasks: str
    kinds: str
    quantity: str
    inside: str
    against: str
    direction: str
    standing: str
    source: str


COLUMNS = tuple(field.name for field in fields(Expectation))
MAY_BE_EMPTY = ("against", "standing", "source", "kinds")


def read(paths: Iterable[str | os.PathLike]) -> list[Expectation]:
    """Read expectations from CSV files with a column for each attribute of :class:`Expectation`.

    Raises
    ------
    ExpectationError
        With every problem, one a line: the file, the row, and what would be right.
    """
    found: dict[str, Expectation] = {}
    problems: list[str] = []
    for path in paths:
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, strict=True)
                rows, header = list(reader), list(reader.fieldnames or ())
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            problems.append(f"{path}: not a readable table in UTF-8 ({error})")
            continue
        if missing := [name for name in COLUMNS if name not in header]:
            near = difflib.get_close_matches(missing[0], [name for name in header if name not in COLUMNS], 1)
            hint = f"; is it '{near[0]}'?" if near else ""
            problems.append(f"{path}: no column {', '.join(missing)}{hint}")
            continue
        for number, row in enumerate(rows, 2):
            one = Expectation(**{name: (row[name] or "").strip() for name in COLUMNS})
            told = [*_problems(one), *([f"'{one.id}' is twice"] if one.id in found else [])]
            problems += [f"{path}, row {number}: {problem}" for problem in told]
            found[one.id] = one
    if problems:
        raise ExpectationError("\n".join(problems))
    return list(found.values())


def _problems(one: Expectation) -> Iterable[str]:
    for name in COLUMNS:
        if not getattr(one, name) and name not in MAY_BE_EMPTY:
            yield f"{name} is empty"
    for name, known in (("quantity", QUANTITIES), ("direction", DIRECTIONS)):
        value = getattr(one, name)
        if value and value not in known:
            yield f"no {name} '{value}'; there are {', '.join(known)}"
    if one.quantity != RATIO:
        for side in ("inside", "against"):
            if getattr(one, side) not in KINDS:
                yield f"{side} of {one.quantity} is a kind of model, one of {', '.join(KINDS)}"
    for kind in filter(None, one.kinds.split("+")):
        if kind not in KINDS:
            yield f"no kind of model '{kind}'; there are {', '.join(KINDS)}"


MATCHED, OTHERS = "matched", "others"  # pairs that mean the same, and those that do not and are not inside


def sides(
    one: Expectation,
) -> tuple[list[Sequence[Sequence[str]] | str], list[Sequence[Sequence[str]] | str]]:
    """Return what stands inside and against: a word, or the classes of a block.

    ``;`` separates blocks. ``a+b`` is all pairs of these classes, ``a+b:c+d`` all pairs of a class before and
    one after the colon (of the first and of the second task). ``matched`` are the pairs that mean the same,
    ``others`` those that do not and are not inside. A backslash before ``;``, ``+``, ``:`` makes it part of a
    class's name.
    """
    return _blocks(one.inside), _blocks(one.against)


def _blocks(text: str) -> list[Sequence[Sequence[str]] | str]:
    found: list[Sequence[Sequence[str]] | str] = []
    for block in _split(text, ";"):
        if block in (MATCHED, OTHERS):
            found.append(block)
        elif block:
            found.append([[_name(name) for name in _split(side, "+")] for side in _split(block, ":")])
    return found


def _split(text: str, sign: str) -> list[str]:
    return [part.strip() for part in re.split(rf"(?<!\\)\{sign}", text)]


def _name(text: str) -> str:
    return re.sub(r"\\([;+:])", r"\1", text)
