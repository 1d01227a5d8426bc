"""Confusion matrices of the probe: before an ablation, under it, and the cells that change."""

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

from audio_neurons import tables
from audio_neurons.ablation.effects import MEAN
from audio_neurons.activations.statistics import natural
from audio_neurons.inference.significance import q_values
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._reading import KINDS, ablated
from audio_neurons.report.figures.ablation import nothing
from audio_neurons.report.summary import named

COLUMNS = [
    "model", "model_title", "kind", "set", "set_kind", "targets", "neurons", "draws", "gain", "replacement",
    "class", "prediction", "n", "before", "clips", "lost", "gained", "mcnemar_p", "q_value", "random",
]  # fmt: skip
DESCRIBED = ["model_title", "kind", "set_kind", "targets", "neurons", "gain", "replacement"]
PANELS = ("before", "under the ablation", "difference", "difference by random sets")
NUMBER, NAME = 0.21, 0.11  # inches of a cell with room for a number, or for a name beside it
MOST = 12  # rows of panels


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return one row per model, neuron set, true ``class`` and ``prediction``.

    Values are those of the ``confusion`` table at the gain nearest to 0, means over probes. ``n`` is the
    number of the class's clips, and ``random`` the change of the cell by random sets, the mean over ``draws``
    of them. ``q_value`` is adjusted after Benjamini and Hochberg over the cells of a set's matrix.

    Parameters
    ----------
    inputs
        ``confusion`` tables, one per model.
    about
        ``models``.
    """
    found = []
    for path, model in zip(inputs["confusion"], about["models"], strict=True):
        table = tables.read(path, "confusion").rename(columns={"kind": "set_kind"})
        found.append(table[table["probe"] == MEAN].assign(**named(model)))
    table = ablated(pd.concat([one for one in found if len(one)] or found[:1], ignore_index=True))
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    cell = ["model", "set", "class", "prediction"]
    parts = {control: own.set_index(cell) for control, own in table.groupby("control", sort=False)}
    own, drawn = parts["none"], parts.get("random", parts["none"].iloc[:0])
    described = pd.concat([own, drawn])  # a cell may be empty in one of the two
    described = described[~described.index.duplicated()][DESCRIBED]
    values = own[["before", "clips", "lost", "gained"]].reindex(described.index, fill_value=0.0)
    table = described.assign(**values, mcnemar_p=own["mcnemar_p"].reindex(described.index, fill_value=1.0))
    table["random"] = (drawn["clips"] - drawn["before"]).reindex(table.index, fill_value=0.0)
    draws = drawn["draws"].groupby(["model", "set"]).first()
    table["draws"] = draws.reindex(table.index.droplevel([2, 3])).fillna(0).to_numpy(int)
    table = table.reset_index()
    table.loc[table["draws"] == 0, "random"] = np.nan
    by_class = table.groupby(["model", "set", "class"], sort=False)
    table["n"] = by_class["before"].transform("sum").round().astype(int)
    tested = table.groupby(["model", "set"], sort=False)["mcnemar_p"]
    return table.assign(q_value=tested.transform(lambda p: q_values(p.to_numpy())))[COLUMNS]


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw a row of panels per model and neuron set; ``about`` has ``task``, ``models`` and ``alpha``."""
    style.style()
    if data.empty:
        return nothing()
    rows = shown(data, [model["name"] for model in about["models"]])
    classes = sorted({*data["class"], *data["prediction"]}, key=natural)
    random = bool(data["draws"].max())
    panels = PANELS if random else PANELS[:-1]
    names = style.text_width([style.readable(name) for name in classes]) + 0.1
    cell = (style.WIDE - 0.5 - names) / len(panels) / len(classes) * 0.94
    height = len(rows) * (len(classes) * cell + 0.15) + names + 1.0
    figure, grid = plt.subplots(
        len(rows), len(panels), figsize=(style.WIDE, height), squeeze=False, sharex=True, sharey=True,
        layout="constrained",
    )  # fmt: skip
    share = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), style.SEQUENTIAL)
    for axes, (model, one) in zip(grid, rows, strict=True):
        own = data[(data["model"] == model) & (data["set"] == one)]
        _row(axes, own, classes, share, cell, about["alpha"])
        axes[0].set_ylabel(_title(own), size=style.TEXT)
    for axes in grid:
        _ticks(axes[0].yaxis, classes, cell)
    for panel in grid[-1]:
        _ticks(panel.xaxis, classes, cell, rotation=90)
    for panel, title in zip(grid[0], panels, strict=True):
        panel.set_title(title)
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 2, "color": style.INK}
    handles = [Line2D([], [], **dot, label=f"changed, q < {about['alpha']:g} (McNemar's exact test)")]
    left = data.groupby(["model", "set"]).ngroups - len(rows)
    title = f"{about['task']}: clips of each class (rows) by the class that the probe predicts (columns)"
    if left:
        title += f"; {left} more neuron sets are in the CSV"
    style.legend(figure, handles, title=title)
    return figure


def shown(data: pd.DataFrame, models: Sequence[str]) -> list[tuple[str, str]]:
    """Return the models and sets to draw: sets for several classes if there are any; at most `MOST`."""
    found = data.drop_duplicates(["model", "set"])
    several = found[found["set_kind"] != "class"]
    found = (several if len(several) else found).sort_values(
        ["model", "set_kind"],
        key=lambda column: column.map({name: i for i, name in enumerate([*models, *KINDS])}),
        kind="stable",
    )
    return list(found[["model", "set"]].itertuples(index=False, name=None))[:MOST]


def _title(own: pd.DataFrame) -> str:
    first = own.iloc[0]
    name = style.shortened(first["set"].partition(":")[2], style.LONGEST)
    return f"{first['model_title']}\n{first['set_kind']} {name}\n({first['neurons']} neurons)"


def _row(
    axes: Sequence[Axes],
    own: pd.DataFrame,
    classes: Sequence[str],
    share: mpl.cm.ScalarMappable,
    cell: float,
    alpha: float,
) -> None:
    size = own.groupby("class")["n"].first().reindex(classes).to_numpy()[:, None]

    def matrix(values: pd.Series, missing: float = 0.0) -> np.ndarray:
        wide = values.to_numpy(float)
        place = own.assign(value=wide).pivot(index="class", columns="prediction", values="value")
        return place.reindex(index=classes, columns=classes).fillna(missing).to_numpy(float)

    counts = [matrix(own["before"]), matrix(own["clips"])]
    changes = [counts[1] - counts[0]]
    if own["draws"].iloc[0]:
        changes.append(matrix(own["random"]))
    elif len(axes) == len(PANELS):
        axes[-1].set_visible(False)
    top = max(float(np.nanmax(np.abs(np.array(changes) / size))), 1e-9)
    change = mpl.cm.ScalarMappable(mpl.colors.Normalize(-top, top), style.DIVERGING)
    scales = [share, share, change, change]
    for panel, values, scale in zip(axes, counts + changes, scales, strict=False):
        colours = scale.to_rgba(values / size)
        colours[np.isnan(values / size)] = style.UNDEFINED  # classes without clips
        panel.pcolormesh(colours, edgecolors="0.88", linewidth=0.3)
        panel.set_aspect("equal")
        panel.set_ylim(len(classes), 0)
        for (row, column), value in np.ndenumerate(values):
            if cell >= NUMBER and abs(value) >= 0.05:
                panel.text(
                    column + 0.5, row + 0.5, _number(value, signed=scale is change), ha="center", va="center",
                    size=style.SMALL, color=style.ink(colours[row, column]),
                )  # fmt: skip
        panel.tick_params(length=0)
        for side in panel.spines.values():
            side.set_visible(False)
    rows, columns = np.nonzero(matrix(own["q_value"], 1.0) < alpha)
    axes[2].scatter(columns + 0.86, rows + 0.14, s=2.5, color=style.INK)


def _number(value: float, signed: bool) -> str:
    """Format a count: whole from 10 on, with one decimal below, without a trailing zero."""
    text = f"{abs(value):.0f}" if abs(value) >= 9.95 else f"{abs(value):.1f}".removesuffix(".0")
    return f"−{text}" if value < 0 else f"+{text}" if signed else text


def _ticks(axis: mpl.axis.Axis, classes: Sequence[str], cell: float, **more: Any) -> None:
    """Name every class, or as many as there is room for."""
    step = max(1, int(np.ceil(NAME / cell)))
    axis.set_ticks(
        np.arange(0, len(classes), step) + 0.5, [style.readable(c) for c in classes[::step]], **more
    )
