"""Figure of what stays of a task's classes without acoustics, and of neurons' correlations with acoustics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFTBASE, CARETRIGHTBASE

from audio_neurons import tables
from audio_neurons.activations import correlations
from audio_neurons.activations.features import FEATURES
from audio_neurons.report.figures import _style as style
from audio_neurons.report.summary import named

FAMILIES = {"f0": "f0", "loudness": "loudness", "spectrum": "spectrum", "all": "all of these"}
QUANTILES = {"low": 0.05, "lower": 0.25, "value": 0.5, "upper": 0.75, "high": 0.95}
SHORT = {"no effect": "no effect", "acoustics tell the class": "class is told", "too few clips": "few clips"}
STAYS, CORRELATION = "stays", "correlation"
CHOSEN, EVERY = "specific", "all"
LEAST, MOST = -0.5, 1.5  # the shown part of the shares that stay


def data(inputs: Mapping[str, Sequence[str]], about: Mapping) -> pd.DataFrame:
    """Return one row per model, class and family (part `STAYS`), and per model and feature (`CORRELATION`).

    In `STAYS`, ``value`` is the share of the effect that stays, with its interval ``low`` and ``high``, or
    ``reason`` says why it cannot be told. In `CORRELATION`, they are quantiles (0.05 to 0.95) of the
    correlations of ``neurons``: those that are specific to a class, or all.

    Parameters
    ----------
    inputs
        Tables ``classes`` (``acoustic_classes``), ``neurons`` and ``correlations`` of all models.
    about
        ``models``, ``task`` (its title) and ``split``, of the correlations.
    """
    found = []
    roles = (inputs[role] for role in ("classes", "neurons", "correlations"))
    for model, classes, neurons, correlated in zip(about["models"], *roles, strict=True):
        table = tables.read(classes, "acoustic_classes").rename(
            columns={"family": "name", "stays": "value", "low": "effect_low", "high": "effect_high"}
        )
        table = table.rename(columns={"stays_low": "low", "stays_high": "high"}).assign(part=STAYS)
        columns = ["part", "class", "name", "neurons", "effect", "untold", "value", "low", "high", "reason"]
        found.append(table[columns].assign(**named(model)))
        every = correlations.chosen(correlated, about["split"])
        assigned = _assigned(neurons).reindex(every.index)
        for which, some in ((CHOSEN, every[assigned]), (EVERY, every)):
            rows = some.quantile(list(QUANTILES.values())).T.set_axis(list(QUANTILES), axis=1)
            rows = rows.rename_axis("name").reset_index()
            facts = {"part": CORRELATION, "class": which, "neurons": len(some), "reason": ""}
            found.append(rows.assign(**facts, **named(model)))
    return pd.concat(found, ignore_index=True)


def _assigned(neurons: str) -> pd.Series:
    """Return which neurons belong to a class, by layer and unit."""
    found: pd.Series | None = None
    for _, rows in tables.runs(neurons, "neurons", "class", ["layer", "neuron", "assigned"]):
        own = rows.set_index(["layer", "neuron"])["assigned"]
        found = own if found is None else found | own
    assert found is not None
    return found


def draw(data: pd.DataFrame, about: Mapping) -> Figure:
    """Draw what stays, with a panel for each family; below it the correlations."""
    style.style()
    import matplotlib.pyplot as plt

    models, stays = about["models"], data[data["part"] == STAYS]
    classes = list(dict.fromkeys(stays["class"]))
    upper = len(classes) * max(0.24, 0.17 * len(models)) + 0.5
    figure = plt.figure(figsize=(style.WIDE, upper + 2.6), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[upper, 2.0])
    top = grid[0].subgridspec(1, len(FAMILIES))
    first = None
    for i, (family, title) in enumerate(FAMILIES.items()):
        panel = figure.add_subplot(top[i], sharey=first)
        first = first or panel
        _stays(panel, stays[stays["name"] == family], classes, models)
        panel.set_title(f"without {title}")
        panel.tick_params(labelleft=i == 0)
    assert first is not None
    _correlations(figure.add_subplot(grid[1]), data[data["part"] == CORRELATION], models)
    sns.despine(figure)
    colours, markers = style.colours(models), style.markers(models)
    handles = [
        Line2D([], [], color=colours[m["name"]], marker=markers[m["name"]], label=m["title"]) for m in models
    ]
    handles.append(Line2D([], [], color="0.8", linewidth=4, label="all neurons of the model"))
    style.legend(figure, handles, title=about["task"])
    return figure


def _offsets(models: Sequence[Mapping], span: float) -> np.ndarray:
    """Return where the models of a row or column stand beside its middle."""
    return (np.arange(len(models)) - (len(models) - 1) / 2) * (span / len(models))


def _stays(panel: Any, rows: pd.DataFrame, classes: Sequence[str], models: Sequence[Mapping]) -> None:
    colours, markers = style.colours(models), style.markers(models)
    panel.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    panel.axvline(1, color="0.6", linewidth=0.6, linestyle=(0, (3, 2)), zorder=0)
    for model, offset in zip(models, _offsets(models, 0.7), strict=True):
        own = rows[rows["model"] == model["name"]].set_index("class").loc[list(classes)]
        colour, place = colours[model["name"]], np.arange(len(classes)) + offset
        low, high = own["low"].clip(LEAST, MOST), own["high"].clip(LEAST, MOST)
        panel.hlines(place, low, high, color=colour, linewidth=1.2)
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.4, "linestyle": "none", "color": colour}
        inside = own["value"].where(own["value"].between(LEAST, MOST))
        panel.plot(inside, place, marker=markers[model["name"]], markersize=4, **edge)
        for side, beyond, arrow in (
            (LEAST, own["value"] < LEAST, CARETLEFTBASE), (MOST, own["value"] > MOST, CARETRIGHTBASE),
        ):  # fmt: skip
            panel.plot(np.full(beyond.sum(), side), place[beyond], marker=arrow, markersize=5, **edge)
        for y, reason in zip(place, own["reason"], strict=True):
            if reason:
                text = SHORT[reason]
                panel.text(0.5, y, text, ha="center", va="center", size=style.SMALL, color="0.45")
    panel.set_xlim(LEAST - 0.05, MOST + 0.05)
    panel.set_ylim(len(classes) - 0.5, -0.5)
    panel.set_xticks([0, 0.5, 1], ["0", "", "1"])
    panel.set_yticks(range(len(classes)), [style.readable(name) for name in classes])
    panel.set_xlabel("share of the effect that stays")
    for between in range(1, len(classes)):
        panel.axhline(between - 0.5, color="0.92", linewidth=0.5, zorder=0)


def _correlations(panel: Any, rows: pd.DataFrame, models: Sequence[Mapping]) -> None:
    colours, markers = style.colours(models), style.markers(models)
    names = [feature.name for feature in FEATURES]
    panel.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    for model, offset in zip(models, _offsets(models, 0.7), strict=True):
        place = np.arange(len(names)) + offset
        own = rows[rows["model"] == model["name"]].set_index("name")
        every, chosen = (own[own["class"] == which].loc[names] for which in (EVERY, CHOSEN))
        colour = colours[model["name"]]
        panel.vlines(place, every["low"], every["high"], color="0.85", linewidth=5, zorder=1)
        panel.vlines(place, chosen["low"], chosen["high"], color=colour, linewidth=0.8)
        panel.vlines(place, chosen["lower"], chosen["upper"], color=colour, linewidth=2.4)
        panel.plot(
            place,
            chosen["value"],
            linestyle="none",
            color=colour,
            marker=markers[model["name"]],
            markersize=3.6,
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=4,
        )
    titles = [feature.title.replace("spectral ", "").replace("mel band ", "band ") for feature in FEATURES]
    panel.set_xticks(range(len(names)), titles, rotation=30, ha="right", rotation_mode="anchor")
    panel.set_xlim(-0.6, len(names) - 0.4)
    panel.set_ylabel("correlation of being active\nwith the token's acoustics")
    panel.grid(axis="y")
