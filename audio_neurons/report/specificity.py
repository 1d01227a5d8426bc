"""Sections of the findings about tasks: what replicates, how specific neurons are, and how many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev

from audio_neurons.report.summary import with_interval
from audio_neurons.report.words import by, called, difference, listed, many, overview, p_text, plain, side

FEWER_CLASSES = {
    "more": "its neurons belong to more classes each",
    "fewer": "its neurons belong to fewer classes each",
}


def replication(found: Mapping, alpha: float) -> Iterator[str]:
    """Yield what neurons that half of the groups chose do on the others: the primary outcome of a task."""
    rows = [row for row in found["coverage"] if not math.isnan(row["auroc"])]
    if not rows:
        return
    differences = [row for row in found["differences"] if row["quantity"] == "auroc"]
    verdicts = {
        pair: [called(row, alpha) for row in own]
        for pair, own in by(differences, "model_a_title", "model_b_title").items()
    }
    yield from overview(verdicts, "task")
    yield "Task by task:"
    of_task = by(differences, "name")
    items = []
    for (task,), own in by(rows, "task").items():
        said = [difference(row, "{:.2f}", alpha) for row in of_task.get((task,), ())]
        said += _among_twins(own)
        items.append(
            _heading(own[0]) + "; ".join(_replicated(row, alpha) for row in own) + ". " + " ".join(said)
        )
    yield listed([item.strip() for item in items])


def _among_twins(rows: Sequence[Mapping]) -> Iterator[str]:
    """Yield where each trained model is among several random ones: what another initialisation changes."""
    twins = [row["auroc"] for row in rows if row["kind"] == "random"]
    if len(twins) < 2:
        return
    for row in rows:
        if row["kind"] != "random":
            above = sum(twin >= row["auroc"] for twin in twins)
            yield (
                f"Of {len(twins)} random models (mean {mean(twins):.2f}, standard deviation "
                f"{stdev(twins):.2f}), {above} reach {plain(row['model_title'])}: p = "
                f"{p_text((1 + above) / (1 + len(twins)))}."
            )


def _heading(row: Mapping) -> str:
    return f"**{plain(row['task_title'])}** ({many(row['classes'], 'class', 'es')}): "


def replicates(row: Mapping, alpha: float) -> bool:
    """Return whether chosen neurons tell their class on groups that did not choose them."""
    return bool(row["auroc_q"] < alpha and row["auroc"] > row["auroc_null"])


def _replicated(row: Mapping, alpha: float) -> str:
    value = with_interval(row["auroc"], row["auroc_low"], row["auroc_high"])
    verdict = "replicates" if replicates(row, alpha) else "not shown to replicate"
    return (
        f"{plain(row['model_title'])} {value} (permuted labels {row['auroc_null']:.2f}, "
        f"q = {p_text(row['auroc_q'])}: {verdict}), log odds {row['log_odds']:.2f}, the same class again in "
        f"{row['again']:.0%} (permuted {row['again_null']:.0%})".replace("%", " %")
    )


def specificity(found: Mapping, alpha: float) -> Iterator[str]:
    """Yield how many classes a chosen neuron belongs to, and how uneven its responses are."""
    rows = [row for row in found["coverage"] if not math.isnan(row["classes_per_neuron"])]
    if not rows:
        return
    differences = by([r for r in found["differences"] if r["quantity"] == "classes_per_neuron"], "name")
    items = []
    for (task,), own in by(rows, "task").items():
        said = [difference(row, "{:.2f}", alpha, FEWER_CLASSES) for row in differences.get((task,), ())]
        items.append(
            _heading(own[0]) + "; ".join(_specific(row, alpha) for row in own) + ". " + " ".join(said)
        )
    yield listed([item.strip() for item in items])


def _specific(row: Mapping, alpha: float) -> str:
    value = with_interval(
        row["classes_per_neuron"], row["classes_per_neuron_low"], row["classes_per_neuron_high"]
    )
    direction = {
        "more": "more, ",
        "fewer": "fewer, as where neurons tell classes apart, ",
        "": "no difference can be called, ",
        "untested": "",
    }[side(row, "classes_per_neuron", "classes_per_neuron", alpha)]
    said = (
        f"{plain(row['model_title'])} {value} classes per neuron (permuted labels "
        f"{row['classes_per_neuron_null']:.2f}: {direction}q = {p_text(row['classes_per_neuron_q'])}), "
        f"{row['exclusive']:.0%} of one class only, {row['everywhere']:.0%} of all"
    ).replace("%", " %")
    if not math.isnan(row["evenness"]):
        said += (
            f", entropy {row['evenness']:.3f} of its maximum (permuted {row['evenness_null']:.3f}, "
            f"q = {p_text(row['evenness_q'])}), Yule's Y {row['colligation']:.2f} "
            f"(permuted {row['colligation_null']:.2f})"
        )
    return said


def counts(found: Mapping, alpha: float) -> Iterator[str]:
    """Yield coverage and neurons per class, which are in the paper, and say nothing of specificity."""
    rows = found["coverage"]
    if rows and all(row["coverage"] == 1 == row["coverage_null"] for row in rows):
        yield "Coverage is 1.00 in all tasks and models, as with permuted labels: it says nothing."
    elif rows:
        yield _each(rows, "coverage", "coverage", "{:.2f}", alpha, "share of classes with a neuron")
    if rows:
        yield _each(rows, "neurons_per_class", "neurons", "{:.1f}", alpha, "neurons per class")
    if rows and not all(math.isnan(row["classes_per_neuron"]) for row in rows):
        yield (
            "The number of chosen neurons is fixed. Neurons per class are that number times the classes per "
            "neuron, divided by the classes: the more classes a neuron is assigned to, the more neurons each "
            "class has. More neurons per class are less specific ones."
        )


def _each(rows: Sequence[Mapping], quantity: str, prefix: str, number: str, alpha: float, what: str) -> str:
    items = []
    for (_,), own in by(rows, "task").items():
        said = "; ".join(_count(row, quantity, prefix, number, alpha) for row in own)
        items.append(f"{_heading(own[0])}{what}: {said}.")
    return listed(items)


def _count(row: Mapping, quantity: str, prefix: str, number: str, alpha: float) -> str:
    value = with_interval(row[quantity], row[f"{prefix}_low"], row[f"{prefix}_high"], number)
    verdict = side(row, prefix, quantity, alpha)
    if verdict == "untested":
        return f"{plain(row['model_title'])} {value} (not tested against permuted labels)"
    null, q = number.format(row[f"{prefix}_null"]), row[f"{prefix}_q"]
    if math.isnan(q):
        return f"{plain(row['model_title'])} {value} (permuted labels {null}: the same)"
    words = {
        "more": f"more, q = {p_text(q)}",
        "fewer": f"fewer, q = {p_text(q)}",
        "": f"no difference can be called, p = {p_text(row[f'{prefix}_p'])}, q = {p_text(q)}",
    }[verdict]
    return f"{plain(row['model_title'])} {value} (permuted labels {null}: {words})"
