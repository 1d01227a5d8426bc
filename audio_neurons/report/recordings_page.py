"""Page on recordings: the report of `report.recordings` with histograms, as one self-contained HTML file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from audio_neurons.datasets.registry import SPLITS
from audio_neurons.recordings import checks
from audio_neurons.recordings.checks import Terms
from audio_neurons.recordings.facts import used
from audio_neurons.report import recordings
from audio_neurons.report.layout import template
from audio_neurons.report.recordings import Checked

TEMPLATE = "recordings_page.html.jinja"
WIDTH, HEIGHT = 220, 84  # of a histogram, in units of its drawing
TICKS = 4


def page(found: Sequence[Checked], title: str) -> str:
    """Return the report as HTML that refers to no other file.

    Parameters
    ----------
    found
        The datasets, and what their checks found.
    title
        Name of the study.
    """
    return template(TEMPLATE).render(
        title=title,
        verdict=recordings.verdict(found),
        worst=min((result.level for one in found for result in one.results), key=_rank, default="good"),
        datasets=[_dataset(one) for one in found],
        splits=SPLITS,
        width=WIDTH,
        height=HEIGHT,
    )


def _rank(level: str) -> int:
    return checks.LEVELS.index(level)


def _dataset(one: Checked) -> dict[str, Any]:
    counts = [(level, sum(result.level == level for result in one.results)) for level in checks.LEVELS]
    about: dict[str, Any] = {
        "name": one.dataset,
        "where": one.where,
        "absent": one.absent,
        "results": one.results,
        "counts": [(level, checks.many(number, level)) for level, number in counts if number],
        "overview": [],
        "histograms": [],
        "labels": [],
    }
    if one.facts is not None:
        about["overview"] = list(recordings.overview(one.facts, one.terms))
        about["histograms"] = list(_histograms(used(one.facts), one.terms))
        about["labels"] = [_label(one.facts, one.terms, label) for label in one.terms.labels]
    return about


def _histograms(left: pd.DataFrame, terms: Terms) -> Iterator[Mapping[str, Any]]:
    if left.empty:
        return
    silence = 100 * checks.silence(left, terms)
    yield histogram(left["seconds"], "Length in seconds", terms.clip_seconds, "heard")
    yield histogram(left["peak"], "Peak in dBFS")
    yield histogram(left["rms"], "Level (RMS) in dBFS")
    yield histogram(silence, "Silence in what counts, in %")


def histogram(
    values: pd.Series, title: str, mark: float | None = None, mark_means: str = ""
) -> dict[str, Any]:
    """Return the bars, ticks and words of a histogram, in units of `WIDTH` and `HEIGHT`.

    Parameters
    ----------
    mark, mark_means
        A value that a line marks, and what it means; none outside the values.
    """
    counts, edges, grows = recordings.bins(values)
    if not len(counts):
        return {"title": title, "bars": [], "ticks": [], "mark": None, "most": 0, "log": False}

    def place(value: float) -> float:
        low, high, at = (math.log(v) if grows else v for v in (edges[0], edges[-1], value))
        return round(WIDTH * (at - low) / (high - low), 2)

    most = int(counts.max())
    bars = [
        {
            "x": place(left),
            "width": round(max(place(right) - place(left) - 1, 1), 2),
            "height": round(HEIGHT * int(count) / most, 2),
            "told": f"{left:.3g} to {right:.3g}: {checks.many(int(count))}",
        }
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    ticks = [{"x": place(tick), "text": f"{tick:g}"} for tick in _ticks(edges[0], edges[-1], grows)]
    inside = mark is not None and edges[0] <= mark <= edges[-1]
    marked = {"x": place(mark), "text": f"{mark_means}: {mark:g}"} if mark is not None and inside else None
    return {"title": title, "bars": bars, "ticks": ticks, "mark": marked, "most": most, "log": grows}


def _ticks(low: float, high: float, grows: bool) -> list[float]:
    if not grows:
        return [float(tick) for tick in MaxNLocator(TICKS).tick_values(low, high) if low <= tick <= high]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) <= TICKS + 2:
            break
    return ticks


def _label(facts: pd.DataFrame, terms: Terms, label: str) -> dict[str, Any]:
    table = recordings.classes(facts, terms, label)
    most = max(int(table["recordings"].max()), 1)
    rows = []
    for row in table.to_dict("records"):
        widths = [100 * row[split] / most for split in SPLITS]
        starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
        bars = [
            {"split": split, "x": round(float(x), 3), "width": round(width, 3), "number": row[split]}
            for split, x, width in zip(SPLITS, starts, widths, strict=True)
            if width
        ]
        rows.append({**row, "bars": bars, "known": row["recordings"] > 0})
    return {"name": label, "rows": rows}
