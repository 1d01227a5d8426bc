"""Report on recordings: for a terminal, for the summary of a run, and the numbers of it and of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from audio_neurons.datasets.registry import SPLITS
from audio_neurons.recordings import checking, checks
from audio_neurons.recordings.checks import ERROR, NOTE, WARNING, Result, Terms, many
from audio_neurons.recordings.facts import LABEL, used

CLASSES = 12  # classes of a label that are listed in a terminal
KINDS = 4  # rates, numbers of channels and encodings that are listed


@dataclass(frozen=True)
class Checked:
    """A dataset, and what its check has found.

    Attributes
    ----------
    dataset, where
        Its name, and where its recordings are.
    terms
        What the study asks of it.
    facts
        Table of :func:`audio_neurons.recordings.facts.read`; ``None`` if the recordings cannot be listed.
    results
        What the checks found.
    absent
        Why there is nothing to check; empty if there is.
    """

    dataset: str
    where: str
    terms: Terms
    facts: pd.DataFrame | None = None
    results: Sequence[Result] = field(default_factory=list)
    absent: str = ""


def stops(found: Sequence[Checked]) -> int:
    """Return the number of results that stop a run."""
    return sum(result.level == ERROR for one in found for result in one.results)


def verdict(found: Sequence[Checked]) -> str:
    """Return one sentence on whether the study can run."""
    errors = stops(found)
    warnings = sum(result.level == WARNING for one in found for result in one.results)
    if errors:
        return f"{many(errors, 'problem')} {'stops' if errors == 1 else 'stop'} a run."
    if warnings:
        return (
            f"Nothing stops a run. {many(warnings, 'warning')} {'says' if warnings == 1 else 'say'} what "
            "endangers its results."
        )
    return "Nothing stops a run, and nothing was found that endangers its results."


def text(found: Sequence[Checked]) -> str:
    """Return the report for a terminal."""
    blocks = []
    for one in found:
        lines = [f"{one.dataset} ({one.where})"]
        if one.absent:
            lines.append(f"  not checked: {one.absent}")
        if one.facts is not None:
            lines += [f"  {name:<11}{value}" for name, value in overview(one.facts, one.terms)]
            for label in one.terms.labels:
                lines += ["", *(f"  {line}" for line in _table(one.facts, one.terms, label))]
            lines.append("")
        lines += [f"  {_worded(result._asdict())}" for result in one.results]
        if one.facts is not None and not one.results:
            lines.append("  no check found anything")
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, verdict(found)])


def overview(facts: pd.DataFrame, terms: Terms) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each line about a dataset as a whole."""
    left = used(facts)
    count = (
        many(len(facts)) if len(left) == len(facts) else f"{len(left):,} of {many(len(facts))} can be used"
    )
    groups = many(left["group"].nunique(), "group")
    yield "recordings", f"{count}, {groups}, {duration(left['seconds'].sum())}"
    if left.empty:
        return
    splits = left["split"].value_counts()
    yield "splits", ", ".join(f"{split} {splits.get(split, 0):,}" for split in SPLITS)
    seconds = left["seconds"]
    lengths = (
        duration(seconds.iloc[0])
        if seconds.nunique() == 1
        else f"{duration(seconds.min())} to {duration(seconds.max())}, median {duration(seconds.median())}"
    )
    yield "length", f"{lengths}; the model hears {terms.clip_seconds:g} s"
    yield from kinds(left).items()
    yield (
        "level",
        f"peak {_spread(left['peak'])}, RMS {_spread(left['rms'])} dBFS: median (lowest to highest)",
    )
    share = checks.silence(left, terms).mean()
    yield "silence", f"{share:.1%} of what counts, at the ends of recordings{' or padded' * terms.padded}"


def kinds(facts: pd.DataFrame) -> dict[str, str]:
    """Return the sampling rates, numbers of channels and encodings, the most frequent first."""
    values = {
        "rate": facts["rate"].map("{:,} Hz".format),
        "channels": facts["channels"].map(lambda number: {1: "mono", 2: "stereo"}.get(number, str(number))),
        "encoding": facts["format"] + " " + facts["encoding"],
    }
    told = {}
    for name, column in values.items():
        counts = column.value_counts()
        listed = [f"{value} ({number:,})" for value, number in counts.iloc[:KINDS].items()]
        told[name] = ", ".join([*listed, *["..."] * (len(counts) > KINDS)])
    return told


def classes(facts: pd.DataFrame, terms: Terms, label: str) -> pd.DataFrame:
    """Return one row per class: usable recordings in each split and in all, groups, and medians.

    Columns are ``class``, the splits, ``recordings``, ``groups``, ``seconds`` and ``rms`` (medians of what is
    kept), and ``silence``, the mean share of it in what is heard.
    """
    left = used(facts)
    left = left.assign(silence=checks.silence(left, terms))
    by = left.groupby(f"{LABEL}{label}")
    rows = pd.crosstab(left[f"{LABEL}{label}"], left["split"]).reindex(columns=list(SPLITS), fill_value=0)
    rows = rows.assign(
        recordings=by.size(),
        groups=by["group"].nunique(),
        seconds=by["kept"].median(),
        rms=by["rms"].median(),
        silence=by["silence"].mean(),
    )
    rows = rows.reindex(sorted(set(facts[f"{LABEL}{label}"])))
    numbers = [*SPLITS, "recordings", "groups"]
    rows[numbers] = rows[numbers].fillna(0).astype(int)
    return rows.rename_axis("class").reset_index()


def _table(facts: pd.DataFrame, terms: Terms, label: str) -> Iterator[str]:
    """Yield the lines of a table of classes; of many classes, those with the fewest recordings."""
    every = classes(facts, terms, label)
    shown = every
    if len(every) > CLASSES:
        shown = every.sort_values("recordings", kind="stable").iloc[:CLASSES]
    width = max(len(name) for name in [label, *shown["class"]]) + 2
    yield f"{label:<{width}}" + "".join(f"{name:>8}" for name in (*SPLITS, "groups"))
    for row in shown.to_dict("records"):
        yield f"{row['class']:<{width}}" + "".join(f"{row[name]:>8,}" for name in (*SPLITS, "groups"))
    if len(every) > len(shown):
        rest = every.drop(shown.index)["recordings"]
        yield f"... and {len(rest):,} more classes, of {rest.min():,} to {rest.max():,} recordings"


def _spread(values: pd.Series) -> str:
    return f"{values.median():.1f} ({values.min():.1f} to {values.max():.1f})"


def duration(seconds: float) -> str:
    """Return a length of time in words."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def warnings(rows: Sequence[Mapping]) -> list[str]:
    """Return what endangers the results, for the summary of a run."""
    return [f"{row['dataset']}: {_worded(row)}" for row in rows if row["level"] != NOTE]


def _worded(row: Mapping) -> str:
    return checking.worded(row["level"], row["label"], row["message"])


def bins(values: pd.Series, number: int = 32) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return counts and edges of a histogram, and whether the edges grow by a factor (lengths do)."""
    finite = values[np.isfinite(values)].to_numpy()
    if not len(finite):
        return np.zeros(0, int), np.zeros(0), False
    low, high = float(finite.min()), float(finite.max())
    grows = low > 0 and high / low > 20
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.geomspace(low, high, number + 1) if grows else np.linspace(low, high, number + 1)
    edges[0], edges[-1] = low, high  # rounding must not leave out the extremes
    return np.histogram(finite, edges)[0], edges, grows
