"""Figure of class coverage and specific neurons per class, for every task and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from audio_neurons.report import summary
from audio_neurons.report.figures import _style as style

# Column of the value, prefix of its interval and null, number format, label.
SHOWN = (
    ("coverage", "coverage", "{:.2f}", "share of classes that have\na specific neuron"),
    ("neurons_per_class", "neurons", "{:.1f}", "specific neurons per class\n(mean)"),
)


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return :func:`audio_neurons.report.summary.coverage_table` of ``classes`` and ``inference`` tables.

    Both inputs list, for each task, the tables of all models; ``about`` has ``models`` and ``tasks``.
    """
    return summary.coverage_table(inputs["classes"], inputs["inference"], about["models"], about["tasks"])


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw bars with intervals, and means under permuted labels; ``about`` has ``models`` and ``level``."""
    style.style()
    models, tasks = about["models"], list(dict.fromkeys(data["task_title"]))
    colours, hatches = style.colours(models), style.hatches(models)
    thickness = 0.8 / len(models)
    height = len(tasks) * max(0.3, 0.15 * len(models)) + 1.0
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDE, height), sharey=True, layout="constrained")
    for side, (value, prefix, number, label) in zip(axes, SHOWN, strict=True):
        for i, model in enumerate(models):
            own = data[data["model"] == model["name"]].set_index("task_title").loc[tasks]
            places = np.arange(len(tasks)) + (i + 0.5) * thickness - 0.4
            side.barh(
                places,
                own[value],
                thickness,
                color=colours[model["name"]],
                hatch=hatches[model["name"]],
                edgecolor="white",
                linewidth=0.5,
            )
            low, high, null = (own[f"{prefix}_{what}"] for what in ("low", "high", "null"))
            side.hlines(places, low, high, **style.INTERVAL)
            side.scatter(null, places, **style.NULL)
            for place, x in zip(places, own[value], strict=True):  # numbers in a column right of the bars
                beside = side.get_yaxis_transform()
                side.text(1.02, place, number.format(x), va="center", size=style.SMALL, transform=beside)
        side.set_xlabel(label)
        side.set_xlim(left=0)
        side.grid(axis="x")
        side.set_axisbelow(True)
    axes[0].set(xlim=(0, 1.02), xticks=np.linspace(0, 1, 6), ylim=(len(tasks) - 0.5, -0.5))
    sizes = data.drop_duplicates("task_title").set_index("task_title")["classes"]
    axes[0].set_yticks(range(len(tasks)), [f"{t} ({sizes[t]} classes)" for t in tasks])
    sns.despine(figure)
    style.legend(figure, _handles(data, about))
    return figure


def _handles(data: pd.DataFrame, about: Mapping) -> list:
    colours, hatches = style.colours(about["models"]), style.hatches(about["models"])
    handles: list[Artist] = [
        Patch(facecolor=colours[m["name"]], hatch=hatches[m["name"]], edgecolor="white", label=m["title"])
        for m in about["models"]
    ]
    if data["coverage_low"].notna().any():
        handles.append(style.interval_handle(f"{about['level']:.0%} interval"))
        handles.append(Line2D([], [], label="permuted labels, mean", **style.NULL_HANDLE))
    return handles
