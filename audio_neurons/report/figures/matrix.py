"""Class x class figure: effects of ablating the neurons of one class on every class."""

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

from audio_neurons.activations.statistics import natural
from audio_neurons.inference.significance import q_values
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._reading import ablated, classes_of, outcomes
from audio_neurons.report.figures.ablation import nothing

COLUMNS = [
    "model", "model_title", "kind", "ablated", "class", "neurons", "n", "gain", "replacement",
    "logprob_delta", "low", "high", "logprob_p", "family", "q_value",
]  # fmt: skip
NUMBER, NAME = 0.23, 0.12  # inches of a cell with room for a number, or for a name beside it


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return one row per model, class whose ``neurons`` are ``ablated``, and class that is measured.

    Values are those of the ``ablation`` table at the gain nearest to 0, means over probes, in nats.
    ``q_value`` is adjusted after Benjamini and Hochberg over a model's ``family``: the ablated classes
    themselves, or the others.

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
    """Draw a panel per model; ``about`` has ``task``, ``models`` and ``alpha``, the threshold of q."""
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
    """Return panels per row and inches per cell: as many panels as leave room for numbers, or for names."""
    sizes = {n: (style.WIDE - 0.6 - n * beside) / n / classes for n in range(models, 0, -1)}
    for least, fewest in ((NUMBER, min(2, models)), (NAME, 1)):
        for across, size in sizes.items():
            if across >= fewest and size >= least:
                return across, min(size, 0.4)
    return 1, sizes[1]


def _number(value: float) -> str:
    """Format a value in at most three characters and a sign; values that round to 0 have no sign."""
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
