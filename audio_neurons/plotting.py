"""Figures: every one readable without the code, in print and by colour-blind readers."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from audio_neurons import tables
from audio_neurons.files import atomic

COLOURS = "cividis"
# Okabe and Ito's colours: distinct for colour-blind readers. A hatch tells models apart in grey.
KINDS = {"ssl": "#0072B2", "sl": "#E69F00", "random": "#999999"}
HATCHES = ("", "///", "...", "xxx")
UNDEFINED = mpl.colors.to_rgba("0.85")
LETTER = 0.06  # inches that a letter of a tick label takes
ANNOTATED = 14  # more classes than this leave no room for numbers in the cells
LONGEST = 18


def style() -> None:
    sns.set_theme(style="white", context="paper", font="DejaVu Sans", font_scale=0.9)
    plt.rcParams.update({"pdf.fonttype": 42, "savefig.dpi": 200, "axes.titlesize": 9})


def save(figure: Figure, pdf: str | os.PathLike, png: str | os.PathLike) -> None:
    """Write a figure as PDF and PNG; the same figure gives the same bytes."""
    for path, metadata in ((pdf, {"CreationDate": None}), (png, {"Software": None})):
        with atomic(path) as temporary:
            figure.savefig(temporary, metadata=metadata, bbox_inches="tight")
    plt.close(figure)


def readable(name: str) -> str:
    """A class's name for an axis."""
    name = name.replace("_", " ")
    return name if len(name) <= LONGEST else name[: LONGEST - 1].rstrip() + "…"


def sharing(paths: Sequence[str], models: Sequence[Mapping], comparison: Mapping) -> Figure:
    """Common-neuron ratios of all pairs of classes: above as observed, below as chance would have it.

    Parameters
    ----------
    paths
        ``sharing`` tables, one per model.
    models
        ``name``, ``title`` and ``kind`` of each.
    comparison
        ``title``, and the titles of its one or two ``tasks``.
    """
    style()
    shared = [tables.read(path, "sharing") for path in paths]
    within = len(comparison["tasks"]) == 1
    grids = [[_grid(table, value, within) for table in shared] for value in ("ratio", "expected")]
    rows, columns = grids[0][0].shape
    cell = 0.36 if max(rows, columns) <= ANNOTATED else 0.17
    # What the names of classes take beside and below a panel.
    names = [
        max((len(readable(n)) for n in side), default=0) + 6 for side in (grids[0][0].index, grids[0][0])
    ]
    beside, below = (LETTER * n + 0.3 for n in names)
    panel = max(columns * cell, LETTER * 1.3 * max(len(m["title"]) for m in models)) + beside
    figure = plt.figure(
        figsize=(max(len(models) * panel + 0.8, 3.8), 2 * (max(1, rows) * cell + 0.35) + below + 0.8),
        layout="constrained",
    )
    layout = GridSpec(2, len(models) + 1, figure, width_ratios=[1.0] * len(models) + [0.16 / panel])
    top = np.nanmax([np.nanmax(g.to_numpy(), initial=0.0) for row in grids for g in row])
    top = max(0.05, np.ceil(top * 20) / 20)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, top), COLOURS)
    for row, what in enumerate(("observed", "by chance")):
        for column, model in enumerate(models):
            axes = figure.add_subplot(layout[row, column])
            _heatmap(axes, grids[row][column], shared[column], scale, within)
            axes.set_title(f"{model['title']}\n{what}" if row == 0 else what)
            axes.set_ylabel(comparison["tasks"][0] if column == 0 else "")
            if row == 1:
                axes.set_xlabel(comparison["tasks"][-1])
            else:  # as below
                axes.set_xticklabels([])
    bar = figure.add_subplot(layout[:, -1])
    figure.colorbar(scale, cax=bar, label="common-neuron ratio |A ∩ B| / |A ∪ B|")
    title = f"{comparison['title']}: neurons that classes share (number of specific neurons in brackets"
    undefined = (t.loc[(t["class_a"] != t["class_b"]) | (not within), "ratio"].isna().any() for t in shared)
    title += "; grey: no neurons in either)" if any(undefined) else ")"
    figure.suptitle(textwrap.fill(title, int(figure.get_figwidth() / LETTER / 1.5)))
    return figure


def _grid(table: pd.DataFrame, value: str, within: bool) -> pd.DataFrame:
    rows, columns = list(dict.fromkeys(table["class_a"])), list(dict.fromkeys(table["class_b"]))
    grid = table.pivot(index="class_a", columns="class_b", values=value).loc[rows, columns]
    if within:  # one triangle says it all; a class with itself says nothing
        return grid.where(np.tri(len(grid), k=-1, dtype=bool)).iloc[1:, :-1]
    return grid


def _heatmap(
    axes: plt.Axes, grid: pd.DataFrame, table: pd.DataFrame, scale: mpl.cm.ScalarMappable, within: bool
) -> None:
    axes.grid(False)
    axes.tick_params(length=0, labelsize=7)
    for side in axes.spines.values():
        side.set_visible(False)
    if grid.empty:
        axes.text(0.5, 0.5, "one class", ha="center", va="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    values = grid.to_numpy()
    colours = scale.to_rgba(values)
    # Pairs of two classes without neurons have no ratio: grey, which the scale does not contain at its
    # brightness. Above the diagonal there is nothing.
    colours[np.isnan(values)] = UNDEFINED
    if within:
        colours[~np.tri(len(values), dtype=bool)] = (1, 1, 1, 0)
    axes.pcolormesh(colours, edgecolors="white", linewidth=0.5)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    if max(grid.shape) <= ANNOTATED:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                ink = _ink(colours[row, column])
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color=ink, size=6.5
                )
    counts_a = table.drop_duplicates("class_a").set_index("class_a")["neurons_a"]
    counts_b = table.drop_duplicates("class_b").set_index("class_b")["neurons_b"]
    places = [np.arange(n) + 0.5 for n in grid.shape]
    axes.set_yticks(places[0], [f"{readable(c)} ({counts_a[c]})" for c in grid.index])
    axes.set_xticks(places[1], [f"{readable(c)} ({counts_b[c]})" for c in grid.columns], rotation=90)


def _ink(colour: Sequence[float]) -> str:
    """Black or white, whichever is read better on a colour (by the contrast ratio of WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "black" if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else "white"


def coverage(table: pd.DataFrame) -> Figure:
    """Class coverage and neurons per class of every task and model.

    Parameters
    ----------
    table
        As :func:`audio_neurons.summary.coverage_table` gives it.
    """
    style()
    tasks = list(dict.fromkeys(table["task_title"]))
    models = table.drop_duplicates("model")
    thickness = 0.8 / len(models)
    figure, axes = plt.subplots(
        1,
        2,
        figsize=(7.6, len(tasks) * max(0.3, 0.13 * len(models)) + 1.3),
        sharey=True,
        layout="constrained",
    )
    figure.get_layout_engine().set(wspace=0.06)
    shown = (
        ("coverage", "%.2f", "share of classes that have\na specific neuron"),
        ("neurons_per_class", "%.1f", "specific neurons per class\n(mean)"),
    )
    colours = _model_colours(list(models["kind"]))
    for side, (value, number, label) in zip(axes, shown, strict=True):
        for i, (model, colour) in enumerate(zip(models.itertuples(), colours, strict=True)):
            own = table[table["model"] == model.model].set_index("task_title")[value]
            places = np.arange(len(tasks)) + (i + 0.5) * thickness - 0.4
            bars = side.barh(
                places, own[tasks], thickness, color=colour, hatch=HATCHES[i % len(HATCHES)],
                edgecolor="white", linewidth=0.5, label=model.model_title,
            )  # fmt: skip
            side.bar_label(bars, fmt=number, padding=2, fontsize=6.5)
        side.set_xlabel(label)
        side.margins(x=0.14)
        side.set_xlim(left=0)
        side.grid(axis="x", linewidth=0.5)
        side.set_axisbelow(True)
    axes[0].set(xlim=(0, 1.14), xticks=np.linspace(0, 1, 6), ylim=(len(tasks) - 0.5, -0.5))
    sizes = table.drop_duplicates("task_title").set_index("task_title")["classes"]
    axes[0].set_yticks(range(len(tasks)), [f"{t} ({sizes[t]} classes)" for t in tasks])
    axes[1].legend(title="model", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    sns.despine(figure)
    figure.suptitle("Class coverage and class-specific neurons")
    return figure


def _model_colours(kinds: Sequence[str]) -> list:
    """A colour per model: its kind's, lighter for each further model of the kind."""
    seen: dict[str, int] = {}
    colours = []
    for kind in kinds:
        seen[kind] = seen.get(kind, 0) + 1
        colours.append(sns.light_palette(KINDS[kind], n_colors=seen[kind] + 1, reverse=True)[seen[kind] - 1])
    return colours
