"""Data of a model's neurons: what every class and task says of each, and the clips that stand for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.rows import read as read_units
from audio_neurons.activations.units import Units
from audio_neurons.inference.responses import intervals
from audio_neurons.neurons.selection import select, weighted
from audio_neurons.report.atlas.packing import encoded, letters, rounded, thousandths
from audio_neurons.settings.selection import Rule
from audio_neurons.study import paths
from audio_neurons.study.paths import fill

SHARD = 768  # neurons whose data are loaded together
BRIEF = {"random": 3, "strongest": 2}  # clips of a neuron that no task assigns to a class
CARD = ("sample", "clip", "activation", "seconds", "response", "excerpt", "trace", "step", "scale")
CODES = {"random": "r", "low": "l", "middle": "m", "high": "h", "strongest": "s", "other": "o"}


@dataclass(frozen=True)
class OfTask:
    """What one task says of N neurons, of which K are assigned to one of C classes.

    Attributes
    ----------
    classes
        Names of the classes; ``clips`` their numbers of clips.
    response
        (C, N): probability of being active, NaN without clips.
    entropy
        (N,): AAPE.
    threshold
        Probability above which a neuron is assigned to a class; NaN if the selector has no such number.
    assigned
        bool (C, N).
    chosen
        (K,): numbers of the neurons that are assigned to a class.
    low, high
        (C, K): interval of the probability.
    null
        (K, 3): mean entropy under permuted labels, p and q; ``stable`` (K,) and ``again`` (C, K), shares of
        resamples in which the neuron is selected and assigned. None for a selector without resamples.
    estimates
        (C, K): change of the log-probability of the class if the neuron is zeroed; None without screening.
    """

    classes: list[str]
    clips: list[int]
    response: np.ndarray
    entropy: np.ndarray
    threshold: float
    assigned: np.ndarray
    chosen: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null: np.ndarray | None
    stable: np.ndarray | None
    again: np.ndarray | None
    estimates: np.ndarray | None

    def block(self, here: slice) -> dict[str, Any]:
        """Return what is stored of every neuron."""
        return {
            "p": letters(self.response[:, here].T),
            "h": thousandths(self.entropy[here]),
        }

    def card(self, number: int) -> dict[str, Any]:
        """Return what is stored of a chosen neuron beside that."""
        k = int(np.searchsorted(self.chosen, number))
        told: dict[str, Any] = {
            "a": np.flatnonzero(self.assigned[:, number]).tolist(),
            "p": thousandths(self.response[:, number]),
            "h": rounded(self.entropy[[number]])[0],
            "lo": thousandths(self.low[:, k]),
            "hi": thousandths(self.high[:, k]),
        }
        if self.null is not None and self.again is not None and self.stable is not None:
            told |= {"null": rounded(self.null[k]), "again": thousandths(self.again[:, k])}
            told["stable"] = round(float(self.stable[k]), 3)
        if self.estimates is not None:
            told["est"] = rounded(self.estimates[:, k], 3)
        return told

    def listing(self, everyone: np.ndarray) -> dict[str, Any]:
        """Return what lists of neurons by class are made of, one row per chosen neuron."""
        of = self.chosen
        found = {
            "number": of.tolist(),
            "layer": everyone[of, 0].tolist(),
            "unit": everyone[of, 1].tolist(),
            "h": rounded(self.entropy[of]),
            "p": thousandths(self.response[:, of].T),
            "a": [np.flatnonzero(self.assigned[:, one]).tolist() for one in of],
            "threshold": None if np.isnan(self.threshold) else round(float(self.threshold), 4),
        }
        if self.null is not None and self.again is not None:
            found |= {"q": rounded(self.null[:, 2]), "again": thousandths(self.again.T)}
        if self.estimates is not None:
            found["est"] = rounded(self.estimates.T.ravel(), 3)
        return found


def of_task(model: str, task: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[OfTask, np.ndarray]:
    """Return what a task says of a model's neurons, and their layers and units (N, 2)."""
    known = {"model": model, "task": task["name"], "selector": about["selector"]}

    def at(table: str) -> str:
        return fill(paths.OF_TASK, table=table, **known)

    described = tables.read(at("classes"), "classes")
    response, assigned = [], []
    columns = ["layer", "neuron", "response", "entropy", "assigned"]
    rows = pd.DataFrame()
    for _, rows in tables.runs(at("neurons"), "neurons", "class", columns):
        response.append(rows["response"].to_numpy())
        assigned.append(rows["assigned"].to_numpy(bool))
    everyone = rows[["layer", "neuron"]].to_numpy(np.int64)
    p, of = np.stack(response), np.stack(assigned)
    chosen = np.flatnonzero(of.any(0))
    rule = Rule(**task["rule"])
    statistics = fill(paths.STATISTICS, model=model, dataset=task["dataset"], table="units")
    counted = weighted(read_units(Path(statistics), task["label"], about["splits"]), rule)
    few = Units(counted.active[:, chosen], counted.tokens, counted.labels, counted.groups, counted.classes)
    low, high = intervals(few, about["level"])
    null = stable = again = None
    if about["resampled"]:
        share = []
        wanted = ["layer", "null_entropy", "p_value", "q_value", "selected", "assigned"]
        for _, draws in tables.runs(at("stability"), "stability", "class", wanted):
            null = draws[["null_entropy", "p_value", "q_value"]].to_numpy()[chosen]
            stable = draws["selected"].to_numpy()[chosen]
            share.append(draws["assigned"].to_numpy()[chosen])
        again = np.stack(share)
    classes = described["class"].tolist()
    return OfTask(
        classes,
        described["clips"].tolist(),
        p,
        rows["entropy"].to_numpy(),
        select(p, rule).assignment_threshold if rule.measure == "aape" else np.nan,
        of,
        chosen,
        low,
        high,
        null,
        stable,
        again,
        _estimates(model, task["name"], classes, chosen, everyone),
    ), everyone


def _estimates(
    model: str, task: str, classes: Sequence[str], chosen: np.ndarray, everyone: np.ndarray
) -> np.ndarray | None:
    """Return what screening estimates of chosen neurons (C, K); None where nothing was screened."""
    path = Path(fill(paths.SCREENING, table="screening", model=model, task=task))
    if not path.is_file():
        return None
    found = tables.read(path, "screening", ["layer", "neuron", "class", "estimate"])
    by = found.pivot(index="class", columns=["layer", "neuron"], values="estimate")
    columns = pd.MultiIndex.from_arrays(everyone[chosen].T)
    return by.reindex(index=list(classes), columns=columns).to_numpy(float)


class Shown:
    """The clips that stand for a model's neurons in a dataset.

    Parameters
    ----------
    clips
        The dataset's ``shown`` table; clips are numbered by its rows.
    """

    def __init__(self, model: str, dataset: str, everyone: np.ndarray, clips: pd.DataFrame):
        path = fill(paths.EXAMPLES, model=model, dataset=dataset)
        table = tables.read(path, "examples")
        of = pd.MultiIndex.from_arrays(everyone.T)
        number = of.get_indexer(pd.MultiIndex.from_frame(table[["layer", "neuron"]]))
        table["number"] = number
        table["clip"] = pd.Index(clips["clip_id"]).get_indexer(table["clip_id"])
        self.drawn = int(table["drawn_clips"].iloc[0]) if len(table) else 0
        self.active = np.zeros(len(everyone), int)
        self.active[number] = table["active_clips"]
        self._first = np.searchsorted(number, np.arange(len(everyone) + 1))
        self._table = table
        # Cards read arrays: a slice of a table takes ten times as long, and there is one per neuron.
        self._columns = {name: table[name].to_numpy() for name in CARD}

    def block(self, here: slice, chosen: np.ndarray) -> dict[str, Any]:
        """Return a few clips of every neuron that is not chosen, column by column."""
        rows = self._table.iloc[self._first[here.start] : self._first[here.stop]]
        most = rows["sample"].map(BRIEF).fillna(0)
        kept = rows[(rows["rank"] < most) & ~np.isin(rows["number"], chosen)]
        found: dict[str, Any] = {}
        for sample in BRIEF:
            own = kept[kept["sample"] == sample]
            counts = np.bincount(own["number"] - here.start, minlength=here.stop - here.start)
            found[CODES[sample]] = {"n": counts.tolist(), "c": own["clip"].tolist()}
        highest = kept.loc[kept["sample"] == "strongest", "activation"]
        found[CODES["strongest"]]["a"] = rounded(highest, 3)
        return {
            **found,
            "active": self.active[here].tolist(),
        }

    def card(self, number: int) -> dict[str, Any]:
        """Return all clips of a neuron, each with what is drawn over its spectrogram."""
        first, last = self._first[number], self._first[number + 1]
        own = {name: column[first:last] for name, column in self._columns.items()}
        rows = [
            [CODES[sample], clip, *told, excerpt, encoded(trace)]
            for sample, clip, *told, excerpt, trace in zip(
                own["sample"],
                own["clip"].tolist(),
                *(rounded(own[name]) for name in ("activation", "seconds", "response")),
                own["excerpt"].tolist(),
                own["trace"],
                strict=True,
            )
        ]
        step, scale = (float(own[name].max(initial=0)) for name in ("step", "scale"))
        return {"rows": rows, "step": round(step, 6), "scale": rounded([scale])[0]}


def shards(
    everyone: np.ndarray, tasks: Mapping[str, OfTask], shown: Mapping[str, Shown]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each shard, and the data of its neurons."""
    of = [one.chosen for one in tasks.values()]
    chosen = np.unique(np.concatenate(of)) if of else np.zeros(0, int)
    for place, start in enumerate(range(0, len(everyone), SHARD)):
        here = slice(start, min(start + SHARD, len(everyone)))
        own = chosen[(chosen >= here.start) & (chosen < here.stop)]
        yield (
            place,
            {
                "first": start,
                "layer": everyone[here, 0].tolist(),
                "unit": everyone[here, 1].tolist(),
                "tasks": {name: one.block(here) for name, one in tasks.items()},
                "shown": {name: one.block(here, chosen) for name, one in shown.items()},
                "chosen": {
                    int(number): {
                        "tasks": {
                            name: one.card(number) for name, one in tasks.items() if number in one.chosen
                        },
                        "shown": {name: one.card(number) for name, one in shown.items()},
                    }
                    for number in own
                },
            },
        )
