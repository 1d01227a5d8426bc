"""Figure of class specificity: AAPE of all active neurons, of the chosen ones, and by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from audio_neurons import tables
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._multiples import multiples
from audio_neurons.report.figures._reading import cases, per_neuron

# AAPE piles up just below its maximum, so bins are logarithmic in the distance from the maximum.
LEAST = 1e-8  # smaller distances are counted in the first bin
EDGES = np.logspace(np.log10(LEAST), 0, 65)


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return histograms: one row per task, model, kind of neurons (``of``) and bin that is not empty.

    ``of`` is ``active`` (every neuron that has an entropy), ``chosen``, or ``null``: the active neurons'
    mean entropies under permuted labels. ``share`` is the fraction of ``neurons`` in the bin from ``low`` to
    ``high``. Bins and ``median`` are values of 1 - AAPE / ln ``classes``: 0 if a neuron is equally active in
    every class, 1 if it is active in only one.

    Parameters
    ----------
    inputs
        ``neurons``, ``classes`` and, if the selection is resampled, ``stability`` tables: for each task,
        those of all models.
    about
        ``tasks`` and ``models``.
    """
    found = []
    for facts, neurons, stability, classes in cases(inputs, about, "neurons", "stability", "classes"):
        counted = int((tables.read(classes, "classes", ["clips"])["clips"] > 0).sum())
        table = per_neuron(neurons, "neurons", ["entropy", "selected"])
        table = table[table["entropy"].notna()]
        values = {"active": table["entropy"], "chosen": table.loc[table["selected"], "entropy"]}
        if stability:
            null = per_neuron(stability, "stability", ["null_entropy"])
            values["null"] = null.loc[table.index, "null_entropy"]
        for of, entropy in values.items():
            bins = _histogram(entropy.to_numpy(), counted)
            found.append(bins.assign(**facts, classes=counted, of=of, neurons=len(entropy)))
    first = ["task", "task_title", "model", "model_title", "kind", "classes", "of", "neurons", "median"]
    return pd.concat(found, ignore_index=True)[[*first, "low", "high", "share"]]


def _histogram(entropy: np.ndarray, classes: int) -> pd.DataFrame:
    """Return the non-empty bins of (N,) entropies in nats; none for a single class, which has no entropy."""
    if not len(entropy) or classes < 2:
        return pd.DataFrame(columns=["median", "low", "high", "share"], dtype=float)
    lacking = np.clip(1 - entropy / np.log(classes), LEAST, 1)
    counts, _ = np.histogram(lacking, EDGES)
    some = np.flatnonzero(counts)
    return pd.DataFrame(
        {
            "median": np.median(lacking),
            "low": EDGES[some],
            "high": EDGES[some + 1],
            "share": counts[some] / len(entropy),
        }
    )


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw a panel per task with a row per model; every histogram is as high as its row."""
    style.style()
    tasks, models = about["tasks"], about["models"]
    colours = style.colours(models)
    figure, shown = multiples(len(tasks), 0.32 * len(models) + 0.45)
    rows = {model["name"]: len(models) - 1 - i for i, model in enumerate(models)}
    for panel, task in zip(shown, tasks, strict=True):
        panel.set_title(task["title"])
        own = data[data["task"] == task["name"]]
        for (name, of), bins in own.groupby(["model", "of"], sort=False):
            _outline(panel, bins, of, rows[name], colours[name])
        panel.grid(axis="x")
        panel.set_axisbelow(True)
    _axes(shown[0], data, [models[-1 - i]["title"] for i in range(len(models))])
    figure.supxlabel("selectivity, 1 − AAPE / ln(number of classes)", size=style.TEXT)
    sns.despine(figure, left=True)
    handles = [
        Patch(facecolor="0.75", edgecolor=style.INK, linewidth=0.5, label="active neurons"),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle="--", label="active, permuted labels"),
        Patch(facecolor="none", edgecolor=style.INK, hatch="//////", linewidth=0.6, label="chosen neurons"),
    ]
    style.legend(figure, handles)
    return figure


def _outline(panel: Axes, bins: pd.DataFrame, of: str, row: int, colour: tuple) -> None:
    heights = np.zeros(len(EDGES) - 1)
    heights[np.searchsorted(EDGES, bins["low"])] = 0.85 * bins["share"] / bins["share"].max()
    looks: dict[str, dict[str, Any]] = {
        "active": {"fill": True, "facecolor": (*colour[:3], 0.6), "edgecolor": style.INK, "linewidth": 0.4},
        "chosen": {"fill": True, "facecolor": "none", "edgecolor": style.INK, "hatch": "//////"},
        "null": {"fill": False, "edgecolor": style.INK, "linestyle": (0, (2, 1))},
    }
    first, last = (f(np.flatnonzero(heights)) for f in (np.min, np.max))
    panel.stairs(
        row + heights[first : last + 1],
        EDGES[first : last + 2],
        baseline=row,
        **{"linewidth": 0.7, **looks[of]},
    )


def _axes(panel: Axes, data: pd.DataFrame, titles: Sequence[str]) -> None:
    panel.set_xscale("log")
    panel.set_xlim(data["low"].min() if len(data) else LEAST, 1)
    # Not at the ends, where labels of neighbouring panels would touch.
    panel.xaxis.set_major_locator(
        FixedLocator([10.0**power for power in range(round(np.log10(LEAST)) + 1, 0, 2)])
    )
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(-0.1, len(titles))
    panel.set_yticks(np.arange(len(titles)) + 0.35, titles)
    panel.tick_params(axis="y", length=0)
