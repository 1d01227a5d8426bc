"""Comparison of numbers that the paper's authors published, or readers report, with those of a run.

Nothing is tuned to match, and nothing is filled in: if a run cannot have a number, its cell is empty and
``remark`` says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.ablation.conditions import common, read_list, response_bins
from audio_neurons.ablation.effects import ALL, MEAN
from audio_neurons.inference.significance import interval, q_values
from audio_neurons.neurons.selection import specific_neurons
from audio_neurons.neurons.sharing import matched_overlap, ratio
from audio_neurons.report.summary import named

DEMO = "the demo's recordings and models are not the paper's"
NO_TASK = "this run has no such task"
OURS = "neurons of our own selection, not the listed ones"
PARTS = 20  # of a layer, by response, within which random sets are matched with ours
SHAPE = (12, 3072)  # layers, and neurons per layer, of M2D's ViT-Base, whose neurons the lists name

EFFECTS = [
    *("accuracy_before", "accuracy", "delta", "mcnemar_low", "mcnemar_high", "logprob_before"),
    *("groups", "flip_p", "flip_q"),
    *("logprob_delta", "low", "high", "logprob_p", "logprob_q", "family", "delta_p", "specificity"),
    *(
        "specificity_p",
        "specificity_q",
        "controls",
        "controls_limit",
        "control_logprob_delta",
        "control_logprob_low",
        "control_logprob_high",
    ),
    *("control_delta", "shifted_logprob_delta", "shifted_delta"),
    *("excess", "excess_low", "excess_high", "auroc_before", "auroc", "auroc_delta", "auroc_p"),
    "control_auroc_delta",
]
ABLATION = [
    *("task", "task_title", "model", "model_title", "kind", "set", "targets", "neurons", "gain"),
    *("replacement", "selection_split", "probes", "class", "target", "n"),
    *EFFECTS,
    *("list", "published_n", "published_accuracy", "published_delta", "published_control_accuracy"),
    *("published_control_delta", "difference", "standing", "source", "remark"),
]
OVERLAP = [
    *("task", "list", "targets", "model", "model_title", "set", "theirs", "ours", "common", "ratio"),
    *("pool", "unmatched", "expected", "p_value", "q_value", "remark"),
]


def published_table(
    coverage: pd.DataFrame, published: str | os.PathLike, models: Sequence[Mapping], demo: bool
) -> pd.DataFrame:
    """Return the paper's numbers beside ours: one row per published number and model of its kind.

    ``published`` is a CSV of task, kind, quantity (a column of `coverage_table`), the number, its standing
    and source. If this run has no corresponding number, ``remark`` says why. Models are mappings with
    ``name``, ``title``, ``kind``, and a ``note`` if they stand in for the paper's.
    """
    rows = []
    for theirs in pd.read_csv(published).to_dict("records"):
        alike = [model for model in models if model["kind"] == theirs["kind"]]
        for model in alike or [{"name": "", "title": ""}]:
            of_model = (coverage["task"] == theirs["task"]) & (coverage["model"] == model["name"])
            ours = coverage.loc[of_model]
            if not alike:
                remark = f"this run has no model of kind {theirs['kind']}"
            elif ours.empty:
                remark = NO_TASK
            else:
                remark = DEMO if demo else model.get("note", "")
            value, low, high = [np.nan] * 3
            if len(ours) and not demo:
                prefix = {"neurons_per_class": "neurons"}.get(theirs["quantity"], theirs["quantity"])
                value, low, high = ours[[theirs["quantity"], f"{prefix}_low", f"{prefix}_high"]].iloc[0]
            rows.append(
                {
                    **theirs,
                    "model": model["name"],
                    "model_title": model["title"],
                    "ours": value,
                    "low": low,
                    "high": high,
                    "difference": value - theirs["published"],
                    "conditions": "".join(ours["conditions"]) if "conditions" in ours and not demo else "",
                    "remark": remark,
                }
            )
    return pd.DataFrame(rows)


def ablation_table(
    ablation: Sequence[str],
    cases: Sequence[Mapping],
    lists: Mapping[str, Mapping[str, Mapping]],
    published: str | os.PathLike,
    models: Sequence[Mapping],
    tasks: Sequence[Mapping],
    demo: bool,
    level: float,
) -> pd.DataFrame:
    """Return the effects of ablating each set, its controls, and the published numbers that apply.

    One row per task, model, set, gain, replacement and class (``"*"``: all clips), means over probes.
    Changes of accuracy, ours and published, are shares of clips. ``mcnemar_low`` and ``mcnemar_high`` are
    the least and greatest McNemar's p over the probes. ``control_*`` are the mean over random sets and the
    interval that holds ``level`` of them, ``shifted_*`` the paper's control. ``logprob_q`` and
    ``specificity_q`` are ``logprob_p`` and ``specificity_p`` adjusted after Benjamini and Hochberg over the
    target classes of all sets of a model and task, at one gain and replacement (``family``), and ``flip_q``,
    of all clips, ``flip_p`` over these sets.

    Published numbers are placed beside the same list in the same model, and beside the neurons that this
    run selects for the same classes. Published numbers without a counterpart follow at the end, with a
    remark.

    Parameters
    ----------
    ablation, cases
        Paths of ``ablation`` tables, and the task and model of each (``task``, ``model``: names).
    lists
        Task → name of an ablated list → ``published``, the name of its CSV, and ``models``.
    published
        CSV of task, list, targets, neurons, class, n, and the numbers; deltas are in percentage points.
    """
    theirs = pd.read_csv(published)
    for column in ("delta", "control_delta"):
        theirs[column] /= 100
    models_by, tasks_by = ({one["name"]: one for one in many} for many in (models, tasks))
    found = []
    for path, case in zip(ablation, cases, strict=True):
        model, task = models_by[case["model"]], tasks_by[case["task"]]
        about = {"task": task["name"], "task_title": task["title"], **named(model)}
        rows = _effects(tables.read(path, "ablation"), level).assign(**about)
        if not demo:
            rows = _beside(rows, theirs[theirs["task"] == task["name"]], lists.get(task["name"], {}))
        found.append(rows)
    ours = pd.concat(found).reindex(columns=ABLATION) if found else pd.DataFrame(columns=ABLATION)
    left = _left(theirs, ours, lists, models_by, tasks_by, demo).reindex(columns=ABLATION)
    table = pd.concat([part for part in (ours, left) if len(part)]) if len(ours) + len(left) else ours
    words = ["family", "list", "standing", "source", "remark", "task_title", "model", "model_title", "kind"]
    words += ["set", "targets", "replacement", "selection_split"]
    return table.assign(**table[words].astype(object).fillna("")).reset_index(drop=True)


def _effects(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return an ``ablation`` table whose controls are columns instead of rows."""
    keys = ["set", "gain", "replacement", "class"]
    of_mean = table[table["probe"] == MEAN]
    seeds = table[(table["probe"] != MEAN) & (table["control"] == "none")].groupby(keys, sort=False)
    ours = of_mean[of_mean["control"] == "none"].drop(columns="kind").set_index(keys)
    ours["mcnemar_low"], ours["mcnemar_high"] = seeds["mcnemar_p"].min(), seeds["mcnemar_p"].max()
    ours["probes"] = seeds.size()
    random = of_mean[of_mean["control"] == "random"].groupby(keys, sort=False)
    ours["control_logprob_delta"] = random["logprob_delta"].mean()
    for end, column in enumerate(("control_logprob_low", "control_logprob_high")):
        ours[column] = random["logprob_delta"].agg(lambda v, end=end: interval(v.to_numpy(), level)[end])
    ours["control_delta"] = random["delta"].mean()
    ours["control_auroc_delta"] = random["auroc_delta"].mean()
    shifted = of_mean[of_mean["control"] == "shifted"].set_index(keys)
    for column in ("logprob_delta", "delta"):
        ours[f"shifted_{column}"] = shifted[column]
    ours = ours.reset_index()
    ours["logprob_q"], ours["specificity_q"], ours["flip_q"], ours["family"] = np.nan, np.nan, np.nan, ""
    overall = ours[(ours["class"] == ALL) & ours["flip_p"].notna()]
    for _, rows in overall.groupby(["gain", "replacement"]):
        ours.loc[rows.index, "flip_q"] = q_values(rows["flip_p"].to_numpy())
    tested = ours[ours["target"] & ours["logprob_p"].notna()]
    for _, rows in tested.groupby(["gain", "replacement"]):
        for value in ("logprob", "specificity"):
            ours.loc[rows.index, f"{value}_q"] = q_values(rows[f"{value}_p"].to_numpy())
        ours.loc[rows.index, "family"] = f"{len(rows)} target classes of {rows['set'].nunique()} sets"
    return ours


def _beside(rows: pd.DataFrame, theirs: pd.DataFrame, lists: Mapping[str, Mapping]) -> pd.DataFrame:
    """Add to the effects in one model the published effects of the same neurons or the same classes."""
    model = rows["model"].iloc[0] if len(rows) else ""
    fits = {name: block["published"] for name, block in lists.items() if model in block["models"]}
    facts = ["n", "accuracy", "delta", "control_accuracy", "control_delta"]
    numbers = theirs.set_index(["list", "class"])
    ablated = (rows["gain"] == 0) & (rows["replacement"] == "zero")
    for name, targets in theirs[["list", "targets"]].drop_duplicates().itertuples(index=False):
        if name not in fits.values():
            continue
        of_list = rows["set"].isin([f"list:{own}" for own, stem in fits.items() if stem == name])
        alike = rows["targets"].map(_classes) == _classes(targets)
        own = alike & rows["set"].str.match("shared:|exact:")
        for i in rows.index[ablated & (of_list | own)]:
            if (name, rows.at[i, "class"]) not in numbers.index:
                continue
            number = numbers.loc[(name, rows.at[i, "class"])]
            rows.loc[i, [f"published_{fact}" for fact in facts]] = number[facts].to_numpy(float)
            remarks = [OURS] if own[i] else []
            if number["n"] != rows.at[i, "n"]:
                remarks.append("not as many clips")
            rows.loc[i, ["list", "standing", "source"]] = [name, number["standing"], number["source"]]
            rows.loc[i, "remark"] = "; ".join(remarks)
    if "published_delta" in rows:
        rows["difference"] = rows["delta"] - rows["published_delta"]
    return rows


def _left(
    theirs: pd.DataFrame,
    ours: pd.DataFrame,
    lists: Mapping,
    models: Mapping[str, Mapping],
    tasks: Mapping[str, Mapping],
    demo: bool,
) -> pd.DataFrame:
    """Return the published effects of lists that this run did not ablate, and why."""
    done = set(ours.loc[ours["set"].astype(str).str.startswith("list:"), "list"].dropna())
    rows = []
    for number in theirs[~theirs["list"].isin(done)].to_dict("records"):
        task = number["task"]
        if demo:
            remark = DEMO
        elif task not in tasks:
            remark = NO_TASK
        elif not _models_of(number["list"], lists.get(task, {}), models):
            remark = "this run has no model that the list is of"
        else:
            remark = "this run has not ablated the list"
        facts = {f"published_{k}": number[k] for k in ("n", "accuracy", "delta", "control_accuracy")}
        same = {k: number[k] for k in ("list", "targets", "class", "standing", "source")}
        title = tasks.get(task, {}).get("title", task)
        control = {"published_control_delta": number["control_delta"]}
        rows.append({"task": task, "task_title": title, **same, **facts, **control, "remark": remark})
    return pd.DataFrame(rows)


def _classes(targets: str) -> frozenset[str]:
    return frozenset(targets.split("+"))


def _models_of(name: str, lists: Mapping[str, Mapping], models: Mapping[str, Mapping]) -> list[str]:
    """Return the models of this run to which the configuration assigns a published list."""
    its = {m for block in lists.values() if block["published"] == name for m in block["models"]}
    return [m for m in models if m in its]


def overlap_table(
    neurons: Sequence[str],
    cases: Sequence[Mapping],
    lists: Mapping[str, Mapping[str, Mapping]],
    published: str | os.PathLike,
    models: Sequence[Mapping],
    tasks: Sequence[Mapping],
    demo: bool,
) -> pd.DataFrame:
    """Return the overlap of published neuron lists with our selection for the same classes.

    One row per list, SSL model and set: ``shared``, neurons specific to all classes of the list, and
    ``exact``, neurons specific to these classes and no other. ``expected`` is the mean overlap of the list
    with random sets that have as many neurons as ours in each layer and, within a layer, in each twentieth by
    response to the classes, ``p_value`` the probability that such a set overlaps as much, and ``q_value``
    the same adjusted after Benjamini and Hochberg over all rows. Without this matching, any two lists of
    neurons that are active on the classes would overlap more than by chance. ``pool`` is the number of all
    neurons, of which sets without any matching have ``unmatched`` in common. Indices of neurons have a
    meaning within one model only, so a list is compared with the models that the configuration assigns to it.

    Parameters
    ----------
    neurons, cases
        Paths of ``neurons`` tables, and the task and model of each (``task``, ``model``: names).
    lists
        As in :func:`ablation_table`.
    published
        Folder with ``ablation.csv`` and the lists, ``neurons/{list}.csv``.
    """
    paths = {(case["task"], case["model"]): path for case, path in zip(cases, neurons, strict=True)}
    names = {task["name"] for task in tasks}
    known = pd.read_csv(Path(published) / "ablation.csv")[["task", "list", "targets"]].drop_duplicates()
    ssl = [model for model in models if model["kind"] == "ssl"] or [{"name": "", "title": ""}]
    rows = []
    for (task, name, targets), model in product(known.itertuples(index=False), ssl):
        theirs = read_list(Path(published) / "neurons" / f"{name}.csv", name, targets.split("+")).neurons
        fits = _models_of(name, lists.get(task, {}), {m["name"]: m for m in models})
        remark = ""
        if demo:
            remark = DEMO
        elif not model["name"]:
            remark = "this run has no model of kind ssl"
        elif task not in names:
            remark = NO_TASK
        elif model["name"] not in fits:
            remark = "the configuration does not say that the list is of this model"
        found = {} if remark else _overlaps(paths[task, model["name"]], targets.split("+"), theirs)
        for kind in ("shared", "exact"):
            rows.append(
                {
                    **{"task": task, "list": name, "targets": targets, "set": kind, "theirs": len(theirs)},
                    **{"model": model["name"], "model_title": model["title"], "remark": remark},
                    **found.get(kind, {}),
                }
            )
    table = pd.DataFrame(rows, columns=OVERLAP)
    return table.assign(q_value=q_values(table["p_value"].to_numpy(float)))


def _overlaps(path: str, classes: Iterable[str], theirs: frozenset) -> dict[str, dict]:
    """Return the overlap of a list with the ``shared`` and the ``exact`` neurons of classes."""
    table = tables.read(path, "neurons", ["layer", "neuron", "class", "response", "assigned"])
    shape = table["layer"].nunique(), table["neuron"].nunique()
    specific, classes = specific_neurons(table), list(classes)
    missing = [name for name in classes if name not in specific]
    if shape != SHAPE:
        remark = f"the list is of {SHAPE[0]} layers of {SHAPE[1]} neurons, not {shape[0]} of {shape[1]}"
        return {kind: {"remark": remark} for kind in ("shared", "exact")}
    if missing:
        remark = f"this run has no class {', '.join(missing)}"
        return {kind: {"remark": remark} for kind in ("shared", "exact")}
    _, bins = response_bins(table, PARTS, classes)
    cells = bins + (bins.max() + 1) * np.arange(SHAPE[0])[:, None]
    return {kind: _overlap(ours, theirs, cells) for kind, ours in common(specific, classes).items()}


def _overlap(ours: frozenset, theirs: frozenset, cells: np.ndarray) -> dict:
    a, b = np.zeros((2, *cells.shape), bool)
    for mask, neurons in ((a, ours), (b, theirs)):
        mask[tuple(np.array(sorted(neurons), int).reshape(-1, 2).T)] = True
    expected, p = matched_overlap(a.ravel(), b.ravel(), cells.ravel())
    return {
        "ours": len(ours),
        "common": len(ours & theirs),
        "ratio": ratio(ours, theirs),
        "pool": cells.size,
        "unmatched": len(ours) * len(theirs) / cells.size,
        "expected": expected,
        "p_value": p if ours else np.nan,
    }
