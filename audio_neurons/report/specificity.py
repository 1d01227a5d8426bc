"""First section of the findings: are there neurons for classes, and how specific are they?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import mean, stdev

from audio_neurons.report.layout import (
    NO,
    YES,
    Cell,
    Detail,
    Figure,
    Head,
    Part,
    Section,
    Table,
    matrix,
    titles,
)
from audio_neurons.report.summary import with_interval
from audio_neurons.report.words import beside_null, by, differences, p_text, percent, side

COVERAGE = Figure("coverage", "Class coverage and neurons per class, beside those with permuted labels.")
OTHERS = (
    Figure("entropy", "Selectivity of the chosen neurons, beside that under permuted labels."),
    Figure("layers", "Layers of the chosen neurons."),
)
MEASURES = ("log_odds", "again", "exclusive", "everywhere", "evenness", "colligation")


def section(found: Mapping, about: Mapping) -> Section:
    """Return what replicates, how specific neurons are, and how many there are."""
    rows, alpha, models = found["coverage"], about["alpha"], titles(about["models"])
    tested = [row for row in rows if not math.isnan(row["auroc"])]
    counted = [row for row in rows if not math.isnan(row["classes_per_neuron"])]
    tables = []
    if tested:
        title = "What replicates: AUROC of chosen neurons on groups that did not choose them"
        cells = _by_task(tested, lambda row: _replicated(row, alpha))
        tables.append(matrix(title, "task", models, cells, "coverage", "auroc"))
    if counted:
        title = "Classes per chosen neuron"
        cells = _by_task(counted, lambda row: _classes_per_neuron(row, alpha))
        note = "Fewer than with permuted labels is what neurons that tell classes apart give."
        tables.append(matrix(title, "task", models, cells, "coverage", "classes-per-neuron", note))
    notes = list(_silent(rows))
    return Section(
        "specific",
        "Class-specific neurons",
        "Are there neurons for the classes of tasks that the model never saw?",
        [Part("", notes, [COVERAGE], tables, list(_details(found, about, rows, counted)))],
    )


def _by_task(rows: Sequence[Mapping], cell: Callable[[Mapping], Cell]) -> dict[str, dict[str, Cell]]:
    return {
        f"{title} ({classes})": {row["model"]: cell(row) for row in own}
        for (title, classes), own in by(rows, "task_title", "classes").items()
    }


def replicates(row: Mapping, alpha: float) -> bool:
    """Return whether chosen neurons tell their class on groups that did not choose them."""
    return bool(row["auroc_q"] < alpha and row["auroc"] > row["auroc_null"])


def _replicated(row: Mapping, alpha: float) -> Cell:
    value = with_interval(row["auroc"], row["auroc_low"], row["auroc_high"])
    beside = f"permuted {row['auroc_null']:.2f}, q {p_text(row['auroc_q'])}"
    yes = replicates(row, alpha)
    return Cell(value, beside, "replicates" if yes else "", YES if yes else NO)


def _classes_per_neuron(row: Mapping, alpha: float) -> Cell:
    return beside_null(row, "classes_per_neuron", "classes_per_neuron", "{:.2f}", alpha)


def fewer_classes(row: Mapping, alpha: float) -> bool:
    """Return whether neurons belong to fewer classes than under permuted labels."""
    return side(row, "classes_per_neuron", "classes_per_neuron", alpha) == "fewer"


def _silent(rows: Sequence[Mapping]) -> Iterator[str]:
    if rows and all(row["coverage"] == 1 == row["coverage_null"] for row in rows):
        yield "Coverage is 1.00 in all tasks and models, as with permuted labels: it says nothing."
    if not rows:
        yield "This run has no task."


def _details(
    found: Mapping, about: Mapping, rows: Sequence[Mapping], counted: Sequence[Mapping]
) -> Iterator[Detail]:
    alpha, models = about["alpha"], titles(about["models"])
    if rows:
        note = (
            "The number of chosen neurons is fixed. Neurons per class are that number times the classes "
            "per neuron, divided by the classes: more neurons per class, of a "
            "fixed number, are less specific ones."
        )
        wanted = (
            ("coverage", "coverage", "{:.2f}", "Class coverage", "coverage", ""),
            ("neurons_per_class", "neurons", "{:.1f}", "Neurons per class", "neurons-per-class", note),
        )
        counts = []
        for value, prefix, number, title, term, said in wanted:
            cells = _by_task(
                rows, partial(beside_null, prefix=prefix, value=value, number=number, alpha=alpha)
            )
            counts.append(matrix(title, "task", models, cells, "coverage", term, said))
        yield Detail("Coverage and neurons per class (the paper's Table 1)", counts)
    if counted:
        yield Detail("Other measures of specificity", [_measures(counted)])
    tables = [
        differences(
            [r for r in found["differences"] if r["quantity"] == quantity], title, "task", number, alpha, term
        )
        for quantity, title, number, term in (
            ("auroc", "AUROC: what replicates", "{:+.2f}", "auroc"),
            (
                "classes_per_neuron",
                "Classes per neuron (lower: more specific)",
                "{:+.2f}",
                "classes-per-neuron",
            ),
            ("coverage", "Class coverage", "{:+.2f}", "coverage"),
            (
                "neurons_per_class",
                "Neurons per class (higher: less specific)",
                "{:+.1f}",
                "neurons-per-class",
            ),
        )
    ]
    twins = list(_among_twins(rows))
    if any(tables) or twins:
        yield Detail("Differences between models", [table for table in tables if table], notes=twins)
    yield Detail("Layers and entropies", figures=OTHERS)


def _measures(rows: Sequence[Mapping]) -> Table:
    heads = [
        Head("task"), Head("model"), Head("log odds", "log-odds"), Head("same class again", "again"),
        Head("one class only", "exclusive"), Head("all classes", "everywhere"),
        Head("entropy / maximum", "evenness"), Head("Yule's Y", "colligation"),
    ]  # fmt: skip
    numbers = dict(zip(MEASURES, ("{:.2f}", None, None, None, "{:.3f}", "{:.2f}"), strict=True))

    def cell(row: Mapping, name: str) -> Cell:
        number = numbers[name]
        text, null = (
            percent(value) if number is None else "-" if math.isnan(value) else number.format(value)
            for value in (row[name], row[f"{name}_null"])
        )
        return Cell(text, "" if null == "-" else f"permuted {null}")

    cells = [[row["task_title"], row["model_title"], *(cell(row, name) for name in MEASURES)] for row in rows]
    return Table("Specificity of the chosen neurons", heads, cells, "coverage")


def _among_twins(rows: Sequence[Mapping]) -> Iterator[str]:
    """Yield where each trained model is among several random ones: what another initialisation changes."""
    for own in by([row for row in rows if not math.isnan(row["auroc"])], "task").values():
        twins = [row["auroc"] for row in own if row["kind"] == "random"]
        for row in own if len(twins) > 1 else ():
            if row["kind"] != "random":
                above = sum(twin >= row["auroc"] for twin in twins)
                yield (
                    f"{row['task_title']}: of {len(twins)} random models (mean AUROC {mean(twins):.2f}, "
                    f"standard deviation {stdev(twins):.2f}), {above} reach {row['model_title']}: p = "
                    f"{p_text((1 + above) / (1 + len(twins)))}."
                )
