"""What else the neurons of classes hear: a table over all tasks and models, and a section of the findings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import median

import pandas as pd

from audio_neurons import tables
from audio_neurons.activations import correlations
from audio_neurons.activations.features import NAMES
from audio_neurons.report.layout import Cell, Detail, Figure, Head, Part, Section, Table, matrix, titles
from audio_neurons.report.summary import named, with_interval
from audio_neurons.report.words import by, percent

FAMILIES = {"f0": "f0", "loudness": "loudness", "spectrum": "spectrum", "all": "all of these"}
CORRELATED = [name for name in NAMES if not name.startswith("band")]


def table(
    classes: Sequence[str], neurons: Sequence[str], correlated: Sequence[str], about: Mapping
) -> pd.DataFrame:
    """Return one row per task, model, class and family of acoustics, as ``acoustic_classes``.

    ``r_NAME`` are the mean correlations of the neurons of the class with acoustic features, on the split that
    they were chosen on; NaN without neurons.

    Parameters
    ----------
    classes, neurons, correlated
        Paths of the tables ``acoustic_classes``, ``neurons`` and ``correlations``: for each task, those of
        all models.
    about
        ``tasks``, ``models`` and ``split``.
    """
    found = []
    cases = product(about["tasks"], about["models"])
    for (task, model), path, chosen, sums in zip(cases, classes, neurons, correlated, strict=True):
        own = tables.read(path, "acoustic_classes")
        every = correlations.chosen(sums, about["split"])
        means = {}
        for name, rows in tables.runs(chosen, "neurons", "class", ["layer", "neuron", "assigned"]):
            mine = rows.loc[rows["assigned"], ["layer", "neuron"]]
            means[name] = every.loc[pd.MultiIndex.from_frame(mine), CORRELATED].mean()
        more = pd.DataFrame(means).T.add_prefix("r_").rename_axis("class").reset_index()
        facts = {"task": task["name"], "task_title": task["title"], **named(model)}
        found.append(own.merge(more, on="class", how="left").assign(**facts))
    joined = pd.concat(found, ignore_index=True)
    first = ["task", "task_title", "model", "model_title", "kind"]
    return joined[[*first, *(name for name in joined if name not in first)]]


def sections(found: Mapping, about: Mapping) -> Iterator[Section]:
    """Yield the section of the findings, if acoustics were measured."""
    if rows := found.get("acoustics"):
        parts = [_part(name, own, about) for (name,), own in by(rows, "task").items()]
        yield Section(
            "acoustics",
            "What else a neuron hears",
            "How much of what neurons respond to in a class is its pitch, its level or its spectrum?",
            parts,
        )


def _part(task: str, rows: Sequence[Mapping], about: Mapping) -> Part:
    models = titles(about["models"])
    cells = {
        models[model]: {family: _median(own) for (family,), own in by(mine, "family").items()}
        for (model,), mine in by(rows, "model").items()
    }
    title = "Share of a class's effect that stays when these are partialled out"
    note = "Median over the classes of which it can be told, with the least and the most of them."
    summary = matrix(title, "model", FAMILIES, cells, "acoustics", "stays", note)
    return Part(
        rows[0]["task_title"],
        figures=[Figure(f"acoustics/{task}", "What stays of each class, and correlations with acoustics.")],
        tables=[summary],
        details=[Detail("Each class", [_classes(own, models[m]) for (m,), own in by(rows, "model").items()])],
    )


def _median(rows: Sequence[Mapping]) -> Cell:
    told = [row["stays"] for row in rows if not math.isnan(row["stays"])]
    of = f"{len(told)} of {len(rows)} classes"
    if not told:
        reasons = {row["reason"] for row in rows if row["reason"]}
        return Cell("-", "; ".join(sorted(reasons)) or of, term="stays")
    span = "" if len(told) == 1 else f", {percent(min(told))} to {percent(max(told))}"
    return Cell(percent(median(told)), of + span, term="stays")


def _classes(rows: Sequence[Mapping], model: str) -> Table:
    heads = [Head("class"), Head("neurons"), Head("effect"), *(Head(text) for text in FAMILIES.values())]
    lines: list[list[Cell | str]] = []
    for (name,), own in by(rows, "class").items():
        of = {row["family"]: row for row in own}
        first = own[0]
        effect = with_interval(first["effect"], first["low"], first["high"], "{:.3f}")
        lines.append([name, f"{first['neurons']:,}", effect, *(_stays(of[family]) for family in FAMILIES)])
    return Table(model, heads, lines, "acoustics", term="stays")


def _stays(row: Mapping) -> Cell:
    if math.isnan(row["stays"]):
        return Cell("-", row["reason"])
    return Cell(with_interval(row["stays"], row["stays_low"], row["stays_high"], "{:.2f}"))
