"""Class x class: what ablating the neurons of one class changes in every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from audio_neurons.figures import style
from audio_neurons.figures.ablation import nothing
from audio_neurons.figures.reading import ablated, classes_of, outcomes
from audio_neurons.significance import q_values
from audio_neurons.statistics import natural

COLUMNS = [
    "model", "model_title", "kind", "ablated", "class", "neurons", "n", "gain", "replacement",
    "logprob_delta", "low", "high", "logprob_p", "family", "q_value",
]  # fmt: skip
NUMBER, NAME = 0.23, 0.12  # inches of a cell that has room for a number, or for a name beside it


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """One row per model, class whose ``neurons`` are ``ablated``, and class in which it is measured.

    Numbers are those of the ``ablation`` table at the lowest gain, means over probes, in nats. ``q_value``
    is Benjamini and Hochberg's over a model's ``family``: the ablated classes themselves, or the others.

    Parameters
    ----------
    inputs
        ``ablation`` tables, one per model.
    about
        ``models``.
    """
    table = ablated(outcomes(inputs["ablation"], about))
    order = classes_of(table)
    table = table[(table["set_kind"] == "class") & (table["control"] == "none") & table["class"].isin(order)]
    table = table.assign(
        ablated=table["targets"], family=np.where(table["target"], "the ablated class", "other classes")
    )
    tested = table.groupby(["model", "family"], sort=False)["logprob_p"]
    return table.assign(q_value=tested.transform(lambda p: q_values(p.to_numpy())))[COLUMNS]


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """A panel per model; ``about`` has ``task``, ``models`` and the ``alpha`` by which q is judged."""
    style.style()
    if data.empty:
        return nothing()
    models, classes = about["models"], sorted(data["class"].unique(), key=natural)
    beside = style.text_width([style.readable(c) + " (100)" for c in classes]) + 0.1
    across, cell = _across(len(models), len(classes), beside)
    down = -(-len(models) // across)
    height = down * (len(classes) * cell + beside + 0.3) + 1.1
    figure, grid = plt.subplots(
        down, across, figsize=(style.WIDE, height), squeeze=False, layout="constrained"
    )
    top = np.nanmax(np.abs(data["logprob_delta"]), initial=0.0) or 1.0
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-top, top), style.DIVERGING)
    for panel in grid.ravel()[len(models) :]:
        panel.set_visible(False)
    for panel, model in zip(grid.ravel(), models, strict=False):
        own = data[data["model"] == model["name"]]
        _panel(panel, own, classes, scale, cell >= NUMBER, about["alpha"])
        panel.set_title(model["title"])
    for first in grid[:, 0]:
        first.set_ylabel("class whose neurons are\nablated (their number)")
    for lowest in grid.ravel()[max(0, len(models) - across) : len(models)]:
        lowest.set_xlabel("class in which the\nchange is measured")
    bar: dict[str, Any] = {"location": "top", "fraction": 0.15 / height, "aspect": 40, "shrink": 0.6}
    figure.colorbar(scale, ax=grid, label="change of log-probability (nats)", **bar)
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 2, "color": style.INK}
    label = f"more harm than random sets, q < {about['alpha']:g}"
    handles = [Line2D([], [], **dot, label=label), Patch(color=style.UNDEFINED, label="no neurons to ablate")]
    title = f"{about['task']}: what probes lose without the neurons of each class"
    style.legend(figure, handles, title=title)
    return figure


def _across(models: int, classes: int, beside: float) -> tuple[int, float]:
    """Panels in a row and inches of a cell: as many as leave room for numbers, or else for names."""
    sizes = {n: (style.WIDE - 0.6 - n * beside) / n / classes for n in range(models, 0, -1)}
    for least, fewest in ((NUMBER, min(2, models)), (NAME, 1)):
        for across, size in sizes.items():
            if across >= fewest and size >= least:
                return across, min(size, 0.4)
    return 1, sizes[1]


def _number(value: float) -> str:
    """Three letters beside the sign; what rounds to nothing has none."""
    if abs(value) < 0.005:
        return "0"
    text = f"{abs(value):.2f}".removeprefix("0") if abs(value) < 0.995 else f"{abs(value):.1f}"
    return f"−{text}" if value < 0 else text


def _panel(
    panel: Axes,
    own: pd.DataFrame,
    classes: Sequence[str],
    scale: mpl.cm.ScalarMappable,
    numbers: bool,
    alpha: float,
) -> None:
    wide, q = (
        own.pivot(index="ablated", columns="class", values=value).reindex(index=classes, columns=classes)
        for value in ("logprob_delta", "q_value")
    )
    values = wide.to_numpy(float)
    colours = scale.to_rgba(values)
    colours[np.isnan(values)] = style.UNDEFINED
    panel.pcolormesh(colours, edgecolors="white", linewidth=0.4)
    panel.set_aspect("equal")
    panel.set_ylim(len(classes), 0)
    for (row, column), value in np.ndenumerate(values):
        if numbers and not np.isnan(value):
            panel.text(
                column + 0.5, row + 0.5, _number(value), ha="center", va="center", size=style.SMALL,
                color=style.ink(colours[row, column]),
            )  # fmt: skip
    rows, columns = np.nonzero(q.to_numpy(float) < alpha)
    panel.scatter(columns + 0.86, rows + 0.16, s=2.5, color=[style.ink(c) for c in colours[rows, columns]])
    count = own.groupby("ablated")["neurons"].first().reindex(classes, fill_value=0)
    places = np.arange(len(classes)) + 0.5
    panel.set_yticks(places, [f"{style.readable(c)} ({count[c]})" for c in classes])
    panel.set_xticks(places, [style.readable(c) for c in classes], rotation=90)
    panel.tick_params(length=0)
    for side in panel.spines.values():
        side.set_visible(False)
