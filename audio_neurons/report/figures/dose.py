"""Dose-response figure: effects of silencing, weakening or strengthening neurons."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from audio_neurons.ablation.effects import ALL
from audio_neurons.inference.significance import interval
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._reading import KINDS, outcomes
from audio_neurons.report.figures.ablation import nothing, title_of

NUMBERS = ["value", "low", "high", "control_low", "control_median", "control_high"]
COLUMNS = [
    "model", "model_title", "kind", "group", "title", "sets", "replacement", "gain", "measured", "series",
    "class", "controls", *NUMBERS,
]  # fmt: skip
READ = [
    "model", "model_title", "kind", "set", "set_kind", "targets", "replacement", "gain", "control", "draw",
    "class", "target", "logprob_delta", "low", "high",
]  # fmt: skip
SINGLE = "class"  # the group of all sets that are specific to one class
# Replacement → line style, marker and label.
LOOKS: dict[str, tuple[Any, str, str]] = {
    "zero": ("-", "o", "around 0"),
    "mean": ((0, (4, 1.5)), "s", "around the mean"),
    "resample": ((0, (1, 1)), "^", "around another clip's activation"),
}
OTHER: dict[str, Any] = {
    "color": style.INK,
    "linewidth": 0.7,
    "markerfacecolor": "white",
    "markeredgewidth": 0.7,
}
BAR: dict[str, Any] = {"color": style.BAND["color"], "linewidth": 4, "zorder": 0.5}
MOST_TICKS = 7


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return changes of log-probability (nats) per model, group of sets, replacement, gain and series.

    A group is one set, or the mean over all sets specific to one class each. The series ``targets`` is the
    mean over target classes, with the median of the same mean over random sets and the ends of the interval
    that holds ``level`` of them, where such sets ran (``controls``); ``others`` is the mean over non-target
    classes; ``target`` is one target ``class``, with its interval from ``low`` to ``high``. Gain 1 changes
    nothing: if it was not ``measured``, its rows are 0.

    Parameters
    ----------
    inputs
        ``ablation`` tables, one per model.
    about
        ``models`` and ``level``.
    """
    table = outcomes(inputs["ablation"], about)
    table = table.loc[table["class"] != ALL, READ]
    table = table.assign(group=table["set"].where(table["set_kind"] != "class", SINGLE))
    found = []
    for (_, group, _), one in table.groupby(["model", "group", "replacement"], sort=False):
        first = one.iloc[0]
        facts = first[["model", "model_title", "kind", "group", "replacement"]].to_dict()
        facts["sets"] = one["set"].nunique()
        facts["title"] = "Specific to one class (mean over classes)"
        if group != SINGLE:
            facts["title"] = title_of(group, first["set_kind"], first["targets"])
        for _, same in one.groupby("gain"):
            found += [facts | row for row in _rows(same, about["level"])]
        if 1.0 not in one["gain"].to_numpy():
            found += [facts | row for row in _unchanged(same, about["level"])]
    return pd.DataFrame(found, columns=COLUMNS)


def _rows(same: pd.DataFrame, level: float) -> Iterator[dict]:
    """Yield the series at one gain."""
    own, random = same[same["control"] == "none"], same[same["control"] == "random"]
    facts = {"gain": own["gain"].iloc[0], "measured": True, "class": "", "controls": 0}
    facts |= dict.fromkeys(NUMBERS, np.nan)
    null = random[random["target"]].groupby("draw")["logprob_delta"].mean().to_numpy()
    row = {**facts, "series": "targets", "value": own.loc[own["target"], "logprob_delta"].mean()}
    if len(null):
        low, high = interval(null[:, None], level)[:, 0]
        row |= {"control_low": low, "control_median": np.median(null), "control_high": high}
    yield row | {"controls": len(null)}
    yield {**facts, "series": "others", "value": own.loc[~own["target"], "logprob_delta"].mean()}
    for one in own[own["target"]].to_dict("records"):
        numbers = {"value": one["logprob_delta"], "low": one["low"], "high": one["high"]}
        yield {**facts, "series": "target", "class": one["class"], **numbers}


def _unchanged(same: pd.DataFrame, level: float) -> Iterator[dict]:
    """Yield the same series at gain 1, where all changes are 0."""
    for row in _rows(same, level):
        yield row | {"gain": 1.0, "measured": False} | {k: 0.0 * row[k] for k in NUMBERS}


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw a column of panels per model and a row of panels per group of sets."""
    style.style()
    if data.empty:
        return nothing()
    models, groups = about["models"], list(dict.fromkeys(data["group"]))
    groups.sort(key=lambda group: KINDS.index(group.partition(":")[0]))
    width = style.COLUMN if len(models) < 3 else style.WIDE
    figure, grid = plt.subplots(
        len(groups),
        len(models),
        figsize=(width, 1.45 * len(groups) + 1.0),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    colours = style.colours(models)
    letters = int((width - 0.7) / 0.065)
    titles = data.drop_duplicates("group").set_index("group")["title"]
    heads = {group: textwrap.fill(titles[group], letters) for group in groups}
    lines = max(head.count("\n") + 1 for head in heads.values())
    style.spaced(figure, h_pad=0.09 * lines)
    for panels, group in zip(grid, groups, strict=True):
        here = data[data["group"] == group]
        for panel, model in zip(panels, models, strict=True):
            _panel(panel, here[here["model"] == model["name"]], colours[model["name"]])
        head = panels[0].annotate(
            heads[group], (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points",
            size=style.SMALL, fontweight="bold",
        )  # fmt: skip
        head.set_in_layout(False)  # wider than its panel
    gains = sorted(data["gain"].unique())
    if len(gains) <= MOST_TICKS:
        grid[0, 0].set_xticks(gains, [f"{gain:g}" for gain in gains])
    for panel, model in zip(grid[0], models, strict=True):
        panel.set_title(textwrap.fill(model["title"], letters // len(models)), pad=4 + 9 * lines)
    figure.supxlabel("gain of the neurons (0 silences, 1 changes nothing)", size=style.TEXT)
    figure.supylabel("change of log-probability (nats)", size=style.TEXT)
    sns.despine(figure)
    title = f"{about['task']}: neurons silenced and strengthened"
    style.legend(figure, _handles(data, about["level"]), title=title)
    return figure


def _panel(panel: Axes, own: pd.DataFrame, colour: tuple) -> None:
    if own.empty:
        panel.text(
            0.5, 0.5, "not ablated", ha="center", va="center", size=style.SMALL, transform=panel.transAxes
        )
        return
    panel.axhline(0, color=style.INK, linewidth=0.5, zorder=1)
    panel.axvline(1, color="0.8", linewidth=0.5, zorder=0)
    for replacement, lines in own.groupby("replacement", sort=False):
        dash, marker, _ = LOOKS[replacement]
        every = {series: one.sort_values("gain") for series, one in lines.groupby("series")}
        mean, others = every["targets"], every["others"]
        panel.fill_between(
            mean["gain"], mean["control_low"], mean["control_high"], **(style.BAND | {"alpha": 0.7})
        )
        known = mean[mean["controls"] > 0]  # at one gain only, an area has no width
        panel.vlines(known["gain"], known["control_low"], known["control_high"], **BAR)
        # A list may have no targets, and targets may have no test clips.
        for _, one in every.get("target", mean.iloc[:0]).groupby("class"):
            panel.plot(one["gain"], one["value"], color=colour, linestyle=dash, linewidth=0.5, alpha=0.6)
            if lines["sets"].iloc[0] == 1:
                panel.vlines(one["gain"], one["low"], one["high"], color=colour, linewidth=0.7)
        look: dict[str, Any] = {"linestyle": dash, "marker": marker, "markersize": 3}
        panel.plot(others["gain"], others["value"], **OTHER, **look)
        panel.plot(mean["gain"], mean["value"], color=colour, zorder=4, linewidth=1.2, **look)


def _handles(data: pd.DataFrame, level: float) -> list:
    ink = style.INK
    handles = [
        Line2D([], [], color=ink, marker="o", markersize=3, label="target classes, mean"),
        Line2D([], [], color=ink, linewidth=0.5, label=f"one target class, {level:.0%} interval"),
        Line2D([], [], **OTHER, marker="o", markersize=3, label="other classes, mean"),
        Patch(**style.BAND, label=f"target classes, {level:.0%} of random sets"),
    ]
    shown = [name for name in LOOKS if name in set(data["replacement"])]
    if len(shown) > 1:
        for dash, marker, title in (LOOKS[name] for name in shown):
            handles.append(
                Line2D([], [], color=ink, linestyle=dash, marker=marker, markersize=3, label=title)
            )
    return handles
