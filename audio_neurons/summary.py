"""Tables over all tasks and models, and what they say in a few lines."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from audio_neurons import tables
from audio_neurons.files import atomic
from audio_neurons.selection import coverage, neurons_per_class
from audio_neurons.sharing import mean_ratios

CAVEAT = """\
This was the demo: synthetic recordings and two tiny models. It shows that every stage works and what
comes out. It is no evidence for or against the paper: read every number beside the random model's
and beside its chance level."""

SHARING = [
    *("comparison", "comparison_title", "tasks", "model", "model_title", "kind"),
    *("same", "same_expected", "other", "other_expected"),
]


def coverage_table(
    classes: Sequence[str], models: Sequence[Mapping], tasks: Sequence[Mapping]
) -> pd.DataFrame:
    """One row per task and model: classes, how many have a specific neuron, neurons per class.

    ``classes`` are paths of ``classes`` tables, for every task in turn those of all models; models and
    tasks are mappings with ``name`` and ``title``, models with ``kind`` too.
    """
    rows = []
    for (task, model), path in zip(product(tasks, models), classes, strict=True):
        table = tables.read(path, "classes")
        counted = table[table["clips"] > 0]
        rows.append(
            {
                "task": task["name"],
                "task_title": task["title"],
                "model": model["name"],
                "model_title": model["title"],
                "kind": model["kind"],
                "classes": len(counted),
                "covered": int(counted["covered"].sum()),
                "coverage": coverage(table),
                "neurons_per_class": neurons_per_class(table),
            }
        )
    return pd.DataFrame(rows)


def sharing_table(
    sharing: Sequence[str], models: Sequence[Mapping], comparisons: Sequence[Mapping]
) -> pd.DataFrame:
    """One row per comparison and model: mean common-neuron ratios and their chance levels.

    ``same`` are pairs of classes that mean the same in two datasets, ``other`` all other pairs.
    """
    rows = []
    for (comparison, model), path in zip(product(comparisons, models), sharing, strict=True):
        rows.append(
            {
                "comparison": comparison["name"],
                "comparison_title": comparison["title"],
                "tasks": " x ".join(comparison["tasks"]),
                "model": model["name"],
                "model_title": model["title"],
                "kind": model["kind"],
                **mean_ratios(tables.read(path, "sharing"), within=len(comparison["tasks"]) == 1),
            }
        )
    return pd.DataFrame(rows, columns=SHARING)  # which a configuration without comparisons has too


def published_table(
    coverage: pd.DataFrame, published: str | os.PathLike, models: Sequence[Mapping], demo: bool
) -> pd.DataFrame:
    """The paper's numbers with ours beside them: one row per published number and model of its kind.

    ``published`` is a CSV of task, kind, quantity (a column of `coverage_table`), the number, its standing
    and source. Where this run has no number to set beside it, ``remark`` says why. Models are mappings
    with ``name``, ``title``, ``kind``, and a ``note`` where they stand in for the paper's.
    """
    rows = []
    for theirs in pd.read_csv(published).to_dict("records"):
        alike = [model for model in models if model["kind"] == theirs["kind"]]
        for model in alike or [{"name": "", "title": ""}]:
            of_model = (coverage["task"] == theirs["task"]) & (coverage["model"] == model["name"])
            ours = coverage.loc[of_model, theirs["quantity"]]
            if not alike:
                remark = f"this run has no model of kind {theirs['kind']}"
            elif ours.empty:
                remark = "this run has no such task"
            else:
                remark = (
                    "the demo's recordings and models are not the paper's" if demo else model.get("note", "")
                )
            comparable = len(ours) and not demo
            rows.append(
                {
                    **theirs,
                    "model": model["name"],
                    "model_title": model["title"],
                    "ours": ours.iloc[0] if comparable else float("nan"),
                    "difference": ours.iloc[0] - theirs["published"] if comparable else float("nan"),
                    "remark": remark,
                }
            )
    return pd.DataFrame(rows)


def write_csv(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a table for people: numbers to six digits."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def write_text(
    coverage: pd.DataFrame,
    sharing: pd.DataFrame,
    path: str | os.PathLike,
    demo: bool,
    notes: Sequence[str] = (),
) -> None:
    """Write what was found, in a few lines for a terminal; ``notes`` are what is to be said of models."""
    models = list(dict.fromkeys(coverage["model_title"]))
    width = max(18, *(len(m) + 2 for m in models))
    first = max(map(len, [*coverage["task_title"], *sharing["comparison_title"]])) + 9

    def line(name: str, cells: Sequence[str]) -> str:
        return f"  {name:<{first}}" + "".join(f"{cell:>{width}}" for cell in cells)

    lines = ["Class coverage (class-specific neurons per class)", line("", models)]
    for task, group in coverage.groupby("task_title", sort=False):
        lines.append(
            line(task, [f"{r.coverage:.2f} ({r.neurons_per_class:.1f})" for r in group.itertuples()])
        )
    if len(sharing):
        lines += ["", "Common-neuron ratio, mean over pairs of classes (by chance)", line("", models)]
    for name, group in sharing.groupby("comparison_title", sort=False):
        for what in ("same", "other"):
            if group[what].notna().any() or what == "other":
                cells = [_ratio(getattr(r, what), getattr(r, f"{what}_expected")) for r in group.itertuples()]
                lines.append(line(f"{name}, {what}", cells))
    for note in notes:
        lines += ["", *textwrap.wrap(note, 100)]
    if demo:
        lines += ["", CAVEAT]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _ratio(value: float, expected: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3f} ({expected:.3f})"
