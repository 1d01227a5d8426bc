"""Figure of the distribution of chosen neurons over layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from audio_neurons import tables
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures._multiples import multiples
from audio_neurons.report.figures._reading import cases, per_neuron

RESAMPLED: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 0.9}
CHANCE: dict[str, Any] = {"color": "0.75", "linewidth": 2.2, "zorder": 0, "solid_capstyle": "butt"}


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return one row per task, model and layer.

    The layer has ``neurons``, of which ``chosen`` were chosen; ``share`` is their fraction of all chosen
    neurons (NaN if none), and ``chance`` the fraction expected if neurons were chosen regardless of layer.
    ``resampled`` is the share over resamples of the groups: each neuron counts as often as it was chosen.
    ``block`` and ``ffn`` are the network's place: a block may have several feed-forward networks.

    Parameters
    ----------
    inputs
        ``neurons`` and, if the selection is resampled, ``stability`` tables: for each task, those of all
        models; ``networks`` of each model.
    about
        ``tasks`` and ``models``.
    """
    networks = {
        model["name"]: tables.read(path, "networks", ["layer", "block", "ffn"]).set_index("layer")
        for model, path in zip(about["models"], inputs["networks"], strict=True)
    }
    found = []
    for facts, neurons, stability in cases(inputs, about, "neurons", "stability"):
        table = per_neuron(neurons, "neurons", ["selected"])
        table["resampled"] = np.nan
        if stability:
            table["resampled"] = per_neuron(stability, "stability", ["selected"])["selected"]
        layers = table.groupby("layer").agg(
            neurons=("selected", "size"), chosen=("selected", "sum"), resampled=("resampled", "sum")
        )
        layers = layers.assign(
            share=layers["chosen"] / (layers["chosen"].sum() or np.nan),
            resampled=layers["resampled"] / (layers["resampled"].sum() or np.nan),
            chance=layers["neurons"] / layers["neurons"].sum(),
        )
        found.append(layers.join(networks[facts["model"]]).reset_index().assign(**facts))
    first = [
        "task",
        "task_title",
        "model",
        "model_title",
        "kind",
        "layer",
        "block",
        "ffn",
        "neurons",
        "chosen",
    ]
    return pd.concat(found, ignore_index=True)[[*first, "share", "resampled", "chance"]]


def _counted(data: pd.DataFrame) -> str:
    """Say how layers are counted: of models whose blocks have several networks, each of these is one."""
    networks = 1 + data.groupby("model_title", sort=False)["ffn"].max()
    several = [f"{model}: {number} per block" for model, number in networks.items() if number > 1]
    return "; ".join(["the first is 0", *several])


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw a panel per task with a line per model."""
    style.style()
    tasks, models = about["tasks"], about["models"]
    colours, markers = style.colours(models), style.markers(models)
    figure, shown = multiples(len(tasks), 1.15)
    for panel, task in zip(shown, tasks, strict=True):
        for model in models:
            own = data[(data["task"] == task["name"]) & (data["model"] == model["name"])]
            colour = colours[model["name"]]
            panel.plot(own["layer"], own["chance"], **CHANCE)
            panel.plot(own["layer"], own["resampled"], color=colour, **RESAMPLED)
            panel.plot(
                own["layer"],
                own["share"],
                color=colour,
                marker=markers[model["name"]],
                markersize=2.8,
                markeredgecolor="white",
                markeredgewidth=0.3,
            )
        panel.set_title(task["title"])
        panel.grid(axis="y")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    shown[0].set_ylim(bottom=0)  # shared by all panels, so set after drawing
    figure.supxlabel(f"layer ({_counted(data)})", size=style.TEXT)
    figure.supylabel("share of the chosen neurons", size=style.TEXT)
    sns.despine(figure)
    handles = [
        Line2D([], [], color=colours[m["name"]], marker=markers[m["name"]], label=m["title"]) for m in models
    ]
    handles += [
        Line2D([], [], color=style.INK, label="over resampled groups", **RESAMPLED),
        Line2D([], [], label="all neurons of the model", **CHANCE),
    ]
    style.legend(figure, handles)
    return figure
