"""Figure of the neurons that classes share: observed, over permuted labels, and means."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from audio_neurons import tables
from audio_neurons.report.figures import _crowded
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._panels import Panels
from audio_neurons.report.summary import compared_means

PAIR = ["matched", "neurons_a", "neurons_b", "common"]
INFERRED = [
    "value",
    "low",
    "high",
    "null_mean",
    "null_low",
    "null_high",
    "p_value",
    "q_value",
    "repeatability",
]
MEANS = {"mean_matched": "same", "mean_other": "other", "contrast": "contrast"}
MARKS = {"mean_matched": "o", "mean_other": "s"}
BARS = {"value": "observed\nratio", "relative": "observed /\npermuted"}

FURTHEST = 7  # power of two beyond which relative ratios have the same colour


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return one row per model and pair of classes (``ratio``), and one per model and mean.

    Parameters
    ----------
    inputs
        ``sharing`` and ``inference`` tables of the comparison, one per model. Without ``inference``, as for
        a selector that cannot be resampled, the columns taken from it are NaN.
    about
        ``models``, and the ``comparison``: ``name``, ``title``, titles of its one or two ``tasks``.

    Returns
    -------
    The columns of ``inference``, and those of ``sharing`` that apply. ``value`` is the ratio of a pair, the
    mean ratio of pairs that mean the same (``mean_matched``) or do not (``mean_other``), or the difference
    of these means (``contrast``). ``expected`` is the ratio of random sets of the same sizes. ``relative`` is
    the value divided by its mean under permuted labels, or by ``expected`` if the selector cannot be
    resampled; NaN if that is 0.
    """
    comparison = about["comparison"]
    within = len(comparison["tasks"]) == 1
    found = []
    none = tables.SCHEMAS["inference"].empty_table().to_pandas()
    inferences: Sequence[str | None] = inputs["inference"] or [None] * len(about["models"])
    for model, sharing, inference in zip(about["models"], inputs["sharing"], inferences, strict=True):
        table = tables.read(sharing, "sharing")
        inferred = tables.read(inference, "inference") if inference else none
        one = pd.concat([_pairs(table, inferred, within), _means(table, inferred, within)])
        one.insert(0, "model", model["name"])
        one.insert(1, "model_title", model["title"])
        one.insert(2, "kind", model["kind"])
        found.append(one)
    every = pd.concat(found, ignore_index=True)
    every.insert(0, "comparison", comparison["name"])
    every.insert(1, "tasks", " x ".join(comparison["tasks"]))
    return every


def _pairs(table: pd.DataFrame, inferred: pd.DataFrame, within: bool) -> pd.DataFrame:
    pairs = table.assign(statistic="ratio")
    # A pair is marked by its double-centred ratio: permuted labels raise all ratios.
    places = ["class_a", "class_b"]
    centred = inferred.loc[inferred["statistic"] == "centred", [*places, "q_value"]]
    inferred = inferred[inferred["statistic"] == "ratio"].drop(columns="q_value")
    inferred = inferred.merge(centred, on=places, how="left")
    if within:  # the table is symmetric: keep one triangle, without the diagonal
        order = pd.Index(table["class_a"].unique())
        pairs = pairs[order.get_indexer(pairs["class_a"]) > order.get_indexer(pairs["class_b"])]
        inferred = inferred.rename(columns={"class_a": "class_b", "class_b": "class_a"})
    merged = pairs[["statistic", "class_a", "class_b", *PAIR, "ratio", "expected"]].merge(
        inferred[["class_a", "class_b", *INFERRED]], on=["class_a", "class_b"], how="left"
    )
    # Not taken from inference, which has no pairs of classes without clips.
    merged["value"] = merged.pop("ratio")
    return _relative(merged)


def _means(table: pd.DataFrame, inferred: pd.DataFrame, within: bool) -> pd.DataFrame:
    ratios = compared_means(table, inferred, within)
    ratios["contrast"] = ratios["same"] - ratios["other"]
    names = ["mean_other"] if within else list(MEANS)
    means = pd.DataFrame({"statistic": names, "class_a": "", "class_b": ""})
    means["expected"] = [ratios.get(f"{MEANS[name]}_expected", np.nan) for name in names]
    means = means.merge(inferred[["statistic", *INFERRED]], on="statistic", how="left")
    if inferred.empty:
        means["value"] = [ratios[MEANS[name]] for name in names]
    return _relative(means)


def _relative(rows: pd.DataFrame) -> pd.DataFrame:
    by_chance = rows["null_mean"] if rows["null_mean"].notna().any() else rows["expected"]
    relative = rows["value"] / by_chance.where(by_chance > 0)
    rows.insert(rows.columns.get_loc("expected") + 1, "relative", relative)
    return rows


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw the ratios of all pairs, observed above and relative to permuted labels below, and means.

    ``about`` has ``models``, ``comparison``, ``level``, and ``alpha``: the p below which pairs
    that share more than their classes share with others are marked.
    """
    style.style()
    models, comparison = about["models"], about["comparison"]
    pairs = data[data["statistic"] == "ratio"]
    means = data[data["statistic"].isin(list(MARKS))].dropna(subset=["value"])
    contrasts = data[data["statistic"] == "contrast"].dropna(subset=["value", "low"])
    rows, columns = (pairs[side].unique().tolist() for side in ("class_a", "class_b"))
    unnamed, titles = _crowded.crowded(rows, columns), [comparison["tasks"][0], comparison["tasks"][-1]]
    if unnamed:
        rows, columns = _crowded.ordered(pairs, rows, columns)
        titles = [_crowded.described(*one) for one in zip(titles, map(len, (rows, columns)), strict=True)]
    beside, below = ([""] * len(names) if unnamed else names for names in (rows, columns))
    panels = Panels.of(beside, below, models, lines=len(means))
    figure = plt.figure(figsize=(style.WIDE, panels.height))
    figure.suptitle(f"{comparison['title']}: common-neuron ratio of classes", y=1, va="top")
    for row, (value, scale) in enumerate((("value", _observed(pairs)), ("relative", _against_chance(pairs)))):
        for i, model in enumerate(models):
            axes = figure.add_axes(panels.panel(i, row))
            own = pairs[pairs["model"] == model["name"]]
            first, lowest = i % panels.across == 0, row == 1
            if unnamed:
                _crowded.image(axes, own, value, scale, rows, columns)
            else:
                _heatmap(axes, own, value, scale, panels, about["alpha"])
                _name(axes.yaxis, rows, first, rotation=0)
                _name(axes.xaxis, columns, lowest, rotation=90)
            if lowest:
                axes.set_xlabel(textwrap.fill(titles[-1], max(20, int(panels.slot / 0.06))))
            else:
                axes.set_title(panels.titles[i], loc="left", pad=3)
        for block in range(panels.blocks):
            _colour_bar(figure.add_axes(panels.bar(block, row)), scale, BARS[value])
    for block in range(panels.blocks):
        place: dict[str, Any] = {"ha": "left", "va": "center", "rotation": 90, "size": style.TEXT}
        figure.text(*panels.side(block), titles[0], **place)
    if len(means):
        _draw_means(figure.add_axes(panels.means(bool(len(contrasts)))), means, contrasts, models)
    if handles := _handles(pairs.assign(q_value=np.nan) if unnamed else pairs, means, about):
        style.legend(figure, handles, "upper center", bbox_to_anchor=panels.legend)
    return figure


def _observed(pairs: pd.DataFrame) -> ScalarMappable:
    top = max(0.05, np.ceil(pairs["value"].max() * 20) / 20) if pairs["value"].notna().any() else 1.0
    return ScalarMappable(Normalize(0, top), style.SEQUENTIAL)


def _against_chance(pairs: pd.DataFrame) -> ScalarMappable:
    """Return a logarithmic colour scale that is white at 1 and reaches as far as the pairs.

    Pairs that share nothing have the colour of the lower end: they should not stand out where chance
    expects next to nothing.
    """
    powers = np.log2(pairs["relative"][pairs["relative"] > 0])
    low = int(np.clip(np.floor(powers.min()), -FURTHEST, -1)) if len(powers) else -1
    high = int(np.clip(np.ceil(powers.max()), 1, FURTHEST)) if len(powers) else 1
    far = max(-low, high)
    part = style.DIVERGING(np.linspace(0.5 + low / far / 2, 0.5 + high / far / 2, 256))
    return ScalarMappable(LogNorm(2.0**low, 2.0**high), ListedColormap(part))


def _heatmap(
    axes: Axes, own: pd.DataFrame, value: str, scale: ScalarMappable, panels: Panels, alpha: float
) -> None:
    axes.tick_params(length=0, labelsize=style.TEXT - 0.5 if panels.numbered else style.SMALL)
    sns.despine(ax=axes, left=True, bottom=True)
    if own.empty:
        axes.text(0.5, 0.5, "one class", ha="center", va="center", transform=axes.transAxes)
        return
    # Pairs that were not compared, such as those above the diagonal, have no row and no colour.
    colours = np.zeros((len(panels.rows), len(panels.columns), 4))
    for pair in own.itertuples():
        row, column = panels.rows.index(pair.class_a), panels.columns.index(pair.class_b)
        number = getattr(pair, value)
        colour = style.UNDEFINED if np.isnan(number) else scale.to_rgba(np.clip(number, *scale.get_clim()))
        colours[row, column] = colour
        ink = style.ink(colour)
        if panels.numbered and not np.isnan(number):
            size = style.TEXT if panels.cell > 0.25 else style.SMALL
            axes.text(
                column + 0.5, row + 0.55, _brief(number), ha="center", va="center", color=ink, size=size
            )
        if pair.q_value < alpha:
            place = (column + 0.86, row + 0.14) if panels.numbered else (column + 0.5, row + 0.5)
            axes.plot(*place, "o", color=ink, markersize=1.8, markeredgewidth=0)
    axes.pcolormesh(colours, edgecolors="white", linewidth=0.4)
    axes.set(xlim=(0, len(panels.columns)), ylim=(len(panels.rows), 0))


def _brief(number: float) -> str:
    """Format a number in three characters: .12, 1.3, 13, 130."""
    if number == 0 or number >= 9.95:
        return f"{number:.0f}"
    text = f"{number:.2f}"
    return text[1:] if text.startswith("0") else f"{number:.1f}"


def _name(axis: Axis, names: Sequence[str], shown: bool, rotation: float) -> None:
    labels = [style.readable(name) if shown else "" for name in names]
    axis.set_ticks(np.arange(len(names)) + 0.5, labels, rotation=rotation)


def _colour_bar(bar: Axes, scale: ScalarMappable, label: str) -> None:
    drawn = bar.figure.colorbar(scale, cax=bar, label=label)
    bar.tick_params(length=2)
    if not isinstance(scale.norm, LogNorm):
        drawn.locator = MaxNLocator(4)
        return
    low, high = (round(np.log2(end)) for end in scale.get_clim())
    step = -(-(high - low) // 5)
    powers = [p for p in range(low, high + 1) if p % step == 0]
    drawn.set_ticks([2.0**p for p in powers], labels=[f"{2**p}" if p >= 0 else f"1/{2**-p}" for p in powers])
    drawn.minorticks_off()


def _draw_means(axes: Axes, means: pd.DataFrame, contrasts: pd.DataFrame, models: Sequence[Mapping]) -> None:
    colours = style.colours(models)
    for y, mean in enumerate(means.itertuples()):
        axes.fill_betweenx([y - 0.35, y + 0.35], mean.null_low, mean.null_high, **style.BAND)
        axes.hlines(y, mean.low, mean.high, **style.INTERVAL)
        axes.plot(mean.value, y, MARKS[mean.statistic], color=colours[mean.model], zorder=5)
        axes.scatter(mean.expected if np.isnan(mean.null_mean) else mean.null_mean, y, **style.NULL)
    centres = means.assign(y=np.arange(len(means))).groupby("model", sort=False)["y"].mean()
    titles = {model["name"]: style.shortened(model["title"], 26) for model in models}
    axes.set_yticks(centres, [titles[name] for name in centres.index])
    for found in contrasts.itertuples():
        text = f"same - other: {found.value:+.3f}, p = {found.p_value:.2g}\n"
        text += f"[{found.low:+.3f}, {found.high:+.3f}]"
        beside: dict[str, Any] = {
            "va": "center",
            "size": style.SMALL,
            "transform": axes.get_yaxis_transform(),
        }
        axes.text(1.02, centres[found.model], text.replace("-", "−"), **beside)
    axes.set(ylim=(len(means) - 0.5, -0.5), xlabel="mean common-neuron ratio of the pairs")
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    sns.despine(ax=axes)


def _handles(pairs: pd.DataFrame, means: pd.DataFrame, about: Mapping) -> list:
    found = set(means["statistic"])
    names = {"mean_matched": "same class in both", "mean_other": "other pairs"}
    if len(found) == 1:
        names["mean_other"] = "pairs of classes"
    marker: dict[str, Any] = {"linestyle": "none", "color": style.INK}
    handles: list[Artist] = [
        Line2D([], [], marker=MARKS[s], label=names[s], **marker) for s in MARKS if s in found
    ]
    if handles:
        drawn = means["null_mean"].notna().any()
        label = "permuted labels, mean" if drawn else "random sets of these sizes"
        handles.append(Line2D([], [], label=label, **style.NULL_HANDLE))
    if means["low"].notna().any():
        level = f"{about['level']:.0%}"
        handles.append(style.interval_handle(f"{level} interval"))
        handles.append(Patch(label=f"permuted labels, {level}", **style.BAND))
    if (pairs["q_value"] < about["alpha"]).any():
        label = f"more than these classes share with others (p < {about['alpha']:g})"
        handles.append(Line2D([], [], marker="o", markersize=2, label=label, **marker))
    if pairs["relative"].isna().any():
        handles.append(Patch(facecolor=style.UNDEFINED, label="grey cell: no neurons to share"))
    return handles
