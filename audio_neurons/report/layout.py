"""What pages are made of: tables, figures, details and sections, which templates lay out."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

# Tones of a verdict: called, called in the other direction, nothing
YES, AGAINST, NO = "yes", "against", "no"


@cache
def template(name: str) -> jinja2.Template:
    """Return a template of this package; what it is given is text, and escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("audio_neurons.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a value, what stands below it in small print, and a verdict with its tone.

    ``term`` is the term of the glossary that defines it.
    """

    text: str
    beside: str = ""
    verdict: str = ""
    tone: str = NO
    term: str = ""


@dataclass(frozen=True)
class Head:
    """Head of a column, and the term of the glossary that defines what stands in it."""

    text: str
    term: str = ""


@dataclass(frozen=True)
class Table:
    """A table, the file under ``tables/`` that its numbers are from, and the term that defines them."""

    title: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell | str]]
    source: str = ""
    note: str = ""
    term: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of the run by its name, and what it shows."""

    name: str
    caption: str


@dataclass(frozen=True)
class Detail:
    """What unfolds below a summary."""

    summary: str
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A part of a section: one comparison, or one ablated task."""

    title: str = ""
    notes: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    details: Sequence[Detail] = ()
    anchor: str = ""


@dataclass(frozen=True)
class Section:
    """A section: its anchor, its title, the question that it answers, and its parts."""

    anchor: str
    title: str
    question: str
    parts: Sequence[Part] = field(default_factory=list)


def matrix(
    title: str,
    corner: str,
    columns: Mapping[str, str],
    rows: Mapping[str, Mapping[str, Cell]],
    source: str,
    term: str = "",
    note: str = "",
) -> Table:
    """Return a table of cells by row title and column name; a cell that is missing is empty.

    Parameters
    ----------
    columns
        Name of each column → its head.
    """
    heads = [Head(corner), *(Head(head) for head in columns.values())]
    cells: list[list[Cell | str]] = [
        [row, *(own.get(name, Cell("")) for name in columns)] for row, own in rows.items()
    ]
    return Table(title, heads, cells, source, note, term)


def embedded(path: str | os.PathLike) -> str:
    """Return an image as a data URI, so that a page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def figures_of(paths: Iterable[str], folder: str = "figures") -> dict[str, str]:
    """Return the paths of figures by name: what follows the folder, without the ending."""
    found = {}
    for path in paths:
        parts = Path(path).with_suffix("").parts
        place = len(parts) - 1 - parts[::-1].index(folder)
        found["/".join(parts[place + 1 :])] = path
    return found


def titles(models: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the title of each model by its name."""
    return {model["name"]: model["title"] for model in models}
