"""Figure of ablation effects, class by class, compared with random sets of neurons."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation

from audio_neurons.ablation.effects import ALL
from audio_neurons.activations.statistics import natural
from audio_neurons.inference.significance import interval, q_values
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._reading import KINDS, MANY, ablated, classes_of, outcomes

# Measure → columns of its value, interval and p; factor that it is multiplied by; label.
MEASURES = {
    "log-probability": ("logprob_delta", "low", "high", "logprob_p", 1, "change of\nlog-probability\n(nats)"),
    "accuracy": ("delta", None, None, "delta_p", 100, "change of\naccuracy\n(% points)"),
}
OTHERS = "mean of the other classes"
OTHER: dict[str, Any] = {"marker": "|", "color": style.INK, "s": 22, "linewidth": 0.9, "zorder": 4}
COLUMNS = [
    "model", "model_title", "kind", "set", "set_kind", "targets", "neurons", "gain", "replacement", "class",
    "target", "n", "measure", "value", "low", "high", "others", "shifted", "controls", "control_low",
    "control_median", "control_high", "p_value", "family", "q_value",
]  # fmt: skip
# Inches: row of a class, space around a block of rows, and space around all blocks.
ROW, HEAD, PAGE = 0.125, 0.6, 1.3


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return one row per model, neuron set, class and measure.

    Gain and replacement are those by which effects are called: the gain nearest to 0, and the mean if it is
    there.
    A set specific to one class has a row for that class only, and ``others`` is the mean over the other
    classes. Other sets have a row for every class and one for all clips, ``*``; with more than ``MANY``
    classes, they have only their targets and ``others``. ``value`` is the change against no ablation (nats,
    or percentage points), ``low`` and ``high`` its interval; ``shifted`` is the change under the paper's
    control; ``control_*`` are the median of the random sets and the ends of the interval that holds
    ``level`` of them. ``p_value`` is one-sided, for harm, and ``q_value`` is adjusted after Benjamini and
    Hochberg over its ``family``: targets of a model's sets of one kind, or the other classes of one set.

    Parameters
    ----------
    inputs
        ``ablation`` tables, one per model.
    about
        ``models`` and ``level``; :func:`draw` also needs ``task`` and ``alpha``, the threshold of q.
    """
    table = ablated(outcomes(inputs["ablation"], about))
    classes = classes_of(table)
    sets = table.groupby(["model", "set"], sort=False)
    found = [row for _, one in sets for row in _rows(one, len(classes), about["level"])]
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    found = pd.DataFrame(found)
    tested = found.groupby(["model", "measure", "family"], sort=False)["p_value"]
    return found.assign(q_value=tested.transform(lambda p: q_values(p.to_numpy())))[COLUMNS]


def _rows(one: pd.DataFrame, classes: int, level: float) -> Iterator[dict]:
    """Yield the rows of a set: one per measure and class that is shown."""
    own = one[one["control"] == "none"].set_index("class")
    shifted = one[one["control"] == "shifted"].set_index("class")
    random = one[one["control"] == "random"]
    facts = own.iloc[0][
        ["model", "model_title", "kind", "set", "set_kind", "targets", "neurons", "gain", "replacement"]
    ].to_dict()
    few = facts["set_kind"] == "class" or classes > MANY
    shown = own.index[own["target"]] if few else own.index
    rest = own.index[~own["target"] & (own.index != ALL)]
    rows, nulls = own.to_dict("index"), dict(list(random.groupby("class")))
    for measure, (value, low, high, p, scale, _) in MEASURES.items():
        others = scale * own.loc[rest, value].mean() if few else np.nan
        for name in shown:
            row = rows[name]
            null = scale * nulls[name][value].to_numpy() if name in nulls else np.empty(0)
            ends = interval(null[:, None], level)[:, 0] if len(null) else (np.nan, np.nan)
            yield {
                **facts,
                "class": name,
                "target": row["target"],
                "n": row["n"],
                "measure": measure,
                "value": scale * row[value],
                "low": scale * row[low] if low else np.nan,
                "high": scale * row[high] if high else np.nan,
                "others": others,
                "shifted": scale * shifted.loc[name, value] if len(shifted) else np.nan,
                "controls": len(null),
                "control_low": ends[0],
                "control_median": np.median(null) if len(null) else np.nan,
                "control_high": ends[1],
                "p_value": row[p],
                "family": f"targets of {facts['set_kind']} sets"
                if row["target"]
                else f"others of {facts['set']}",
            }


@dataclass(frozen=True)
class Block:
    """One row of panels: all sets specific to single classes, or one other set."""

    title: str
    sets: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]  # (set, class), from the top


def blocks(data: pd.DataFrame) -> list[Block]:
    """Return the blocks from the top: sets of single classes, then shared ones, then lists."""
    found = []
    single = data[data["set_kind"] == "class"]
    if len(single):
        names = sorted(single["class"].unique(), key=natural)
        sets = tuple(f"class:{name}" for name in names)
        found.append(Block("Specific to the row's class", sets, tuple(zip(sets, names, strict=True))))
    sets = data[data["set_kind"] != "class"].groupby("set", sort=False)
    for name, one in sorted(sets, key=lambda named: KINDS.index(named[1]["set_kind"].iloc[0])):
        title = title_of(name, one["set_kind"].iloc[0], one["targets"].iloc[0])
        rows = sorted(one["class"].unique(), key=lambda c: (c == ALL, natural(c)))
        found.append(Block(title, (name,), tuple((name, c) for c in rows)))
    return found


def title_of(name: str, kind: str, targets: str) -> str:
    """Return the title of a set that is not specific to one class."""
    targets = " and ".join(style.readable(t) for t in targets.split("+"))
    return {
        "shared": f"Specific to {targets} alike",
        "exact": f"Specific to {targets} alike, and to no other class",
        "list": f"List “{name.partition(':')[2]}”" + (f", for {targets}" if targets else ""),
    }[kind]


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw a column of panels per measure and model, and a row of panels per block of sets."""
    style.style()
    models, shown = about["models"], blocks(data)
    if not shown:
        return nothing()
    heights = [len(block.rows) * ROW for block in shown]
    columns = list(product(MEASURES, models))
    figure, grid = plt.subplots(
        len(shown),
        len(columns),
        figsize=(style.WIDE, sum(heights) + HEAD * len(shown) + PAGE),
        height_ratios=heights,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    style.spaced(figure, wspace=0.03, h_pad=0.09)
    colours, markers = style.colours(models), style.markers(models)
    for panels, block in zip(grid, shown, strict=True):
        here = data[data["set"].isin(block.sets)]
        for panel, (measure, model) in zip(panels, columns, strict=True):
            own = here[(here["measure"] == measure) & (here["model"] == model["name"])]
            look = {"color": colours[model["name"]], "marker": markers[model["name"]]}
            _panel(panel, own.set_index(["set", "class"]), block, look, about["alpha"])
            low, high = _limits(here[here["measure"] == measure])
            panel.set_xlim(low, high)
            panel.set_xticks(_ticks(low, high))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.tick_params(axis="x", labelsize=style.SMALL)
        _rows_named(panels[0], here, block)
    for top, bottom, (measure, model) in zip(grid[0], grid[-1], columns, strict=True):
        _above(top, textwrap.fill(model["title"], 12), 20, ha="center", x=0.5)
        bottom.set_xlabel(MEASURES[measure][-1], size=style.SMALL)
    sns.despine(figure, left=True)
    title = f"{about['task']}: what probes lose without these neurons (in brackets: clips)"
    style.legend(figure, _handles(about["level"], about["alpha"]), title=title)
    return figure


def nothing() -> Figure:
    """Return the figure that is shown if nothing was ablated."""
    figure = plt.figure(figsize=(style.COLUMN, 0.6))
    figure.text(0.5, 0.5, "no neurons were ablated", ha="center", va="center")
    return figure


def _panel(panel: Axes, own: pd.DataFrame, block: Block, look: Mapping, alpha: float) -> None:
    places = {row: i for i, row in enumerate(block.rows)}
    panel.set_ylim(len(places) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    if own.empty:
        panel.text(
            0.5, 0.5, "not ablated", ha="center", va="center", size=style.SMALL, transform=panel.transAxes
        )
        return
    panel.axvline(0, color=style.INK, linewidth=0.5, zorder=1)
    if own["measure"].iloc[0] == next(iter(MEASURES)):
        number = own["neurons"].mean()
        unit = "per class" if len(block.sets) > 1 else "neuron" if number == 1 else "neurons"
        _above(panel, f"{number:.0f} {unit}", 2, ha="right", x=1)
    at = np.array([places[row] for row in own.index])
    panel.barh(at, own["control_high"] - own["control_low"], 0.8, left=own["control_low"], **style.BAND)
    panel.vlines(own["control_median"], at - 0.4, at + 0.4, color="white", linewidth=1.0, zorder=2)
    panel.hlines(at, own["low"], own["high"], **style.INTERVAL)
    panel.scatter(own["others"], at, **OTHER)
    panel.scatter(own["shifted"], at, **style.NULL)
    face = [look["color"] if q < alpha else (1, 1, 1) for q in own["q_value"]]
    panel.scatter(
        own["value"], at, s=13, marker=look["marker"], facecolor=face, edgecolor=look["color"], zorder=5
    )


def _limits(here: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of an axis that has room for a whole block."""
    drawn = here[["value", "low", "high", "others", "shifted", "control_low", "control_high"]].to_numpy()
    low, high = np.nanmin(drawn, initial=0.0), np.nanmax(drawn, initial=0.0)
    room = 0.08 * (high - low) or 0.05
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Return 0 and the largest round number on its longer side: panels have no room for more ticks."""
    side = -1 if -low > high else 1
    reach = 0.95 * max(-low, high)
    power = 10.0 ** np.floor(np.log10(reach))
    halves = np.floor(2 * reach / power)
    return sorted([0.0, side * power * halves / 2])


def _rows_named(panel: Axes, here: pd.DataFrame, block: Block) -> None:
    """Label rows with classes and numbers of clips; targets are bold if other classes are shown too."""
    clips, targets = here.groupby("class")["n"].first(), set(here.loc[here["target"], "class"])
    names = ["all clips" if c == ALL else style.readable(c) for _, c in block.rows]
    labels = [f"{name} ({clips[c]})" for name, (_, c) in zip(names, block.rows, strict=True)]
    panel.set_yticks(range(len(labels)), labels)
    if here["set_kind"].iloc[0] != "class":
        for text, (_, name) in zip(panel.get_yticklabels(), block.rows, strict=True):
            text.set_fontweight("bold" if name in targets else "normal")
    _above(panel, block.title, 10, ha="left", x=0, fontweight="bold").set_in_layout(
        False
    )  # wider than its panel


def _above(panel: Axes, text: str, points: float, x: float, **more: Any) -> Annotation:
    return panel.annotate(
        text, (x, 1), (0, points), xycoords="axes fraction", textcoords="offset points", va="bottom",
        size=style.SMALL, **more,
    )  # fmt: skip


def _handles(level: float, alpha: float) -> list:
    point: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3.6, "color": style.INK}
    return [
        Line2D([], [], **point, label=f"more harm than random sets, q < {alpha:g}"),
        Line2D([], [], **point, markerfacecolor="white", label="not so"),
        Line2D([], [], color=style.INTERVAL["color"], linewidth=0.9, label=f"{level:.0%} interval"),
        Patch(**style.BAND, label=f"{level:.0%} of random sets, median in white"),
        Line2D([], [], label="paper's control (index + 1)", **style.NULL_HANDLE),
        Line2D([], [], color=style.INK, linestyle="", marker="|", label=OTHERS),
    ]
