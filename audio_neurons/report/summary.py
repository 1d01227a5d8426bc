"""Summary tables over all tasks and models, and a short text summary."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from operator import or_

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.inference.identities import identity_test
from audio_neurons.inference.significance import q_values
from audio_neurons.neurons.selection import coverage, neurons_per_class
from audio_neurons.neurons.sharing import mean_ratios
from audio_neurons.running.files import atomic

CAVEAT = """\
This was the demo: synthetic recordings and two tiny models. It shows that every stage works and what
comes out. It is no evidence for or against the paper: read every number beside the random model's
and beside its chance level."""

# Prefix of columns in these tables → statistic of the `inference` table.
NEURONS = {"coverage": "coverage", "neurons": "neurons_per_class"}
SPECIFIC = ("evenness", "classes_per_neuron", "exclusive", "everywhere", "colligation")
REPLICATED = ("auroc", "log_odds", "again")
RATIOS = {"same": "mean_matched", "other": "mean_other", "contrast": "contrast"}
RATIOS |= {"normalised": "normalised", "transfer": "transfer"}

SHARING = [
    *("comparison", "comparison_title", "tasks", "model", "model_title", "kind"),
    *("same", "same_expected", "other", "other_expected", "contrast", "normalised", "transfer"),
    *(f"{name}_{what}" for name in RATIOS for what in ("low", "high", "null", "p", "q")),
    *("identity_p", "identities", "common_groups", "labels_association"),
]
INFERRED = ("groups", "null", "null_low", "null_high", "p_value", "q_value", "low", "high", "repeatability")
PAIRS = [
    *("comparison", "comparison_title", "model", "model_title", "kind", "class_a", "class_b", "matched"),
    *("neurons_a", "neurons_b", "common", "ratio", "pool_a", "pool_b", "pool", "expected"),
    *("chance_p", "chance_q", "centred", "centred_p", "centred_q", "first", "top3"),
    *INFERRED,
]


# Statistic of the `inference` table → its columns there and here.
OF_PAIRS = {
    "centred": {"value": "centred", "p_value": "centred_p", "q_value": "centred_q"},
    "first": {"value": "first"},
    "top3": {"value": "top3"},
}


def coverage_table(
    classes: Sequence[str], inference: Sequence[str], models: Sequence[Mapping], tasks: Sequence[Mapping]
) -> pd.DataFrame:
    """Return one row per task and model: counts of classes and neurons, specificity, and what replicates.

    ``evenness`` is the mean AAPE of the selected neurons divided by its maximum, ln C; `SPECIFIC` and
    `REPLICATED` are those of :mod:`audio_neurons.neurons.specificity` and
    :mod:`audio_neurons.inference.replication`. ``*_low`` and ``*_high`` are the percentile interval over
    resampled groups, ``*_null`` the mean under permuted labels, ``*_p`` the p of permutations (two-sided,
    except of `REPLICATED`), and ``*_q`` the same adjusted after Benjamini and Hochberg over all tasks of a
    model in which permuted labels differ from the value. ``groups`` is the number of independent groups of
    the task, ``fewest_groups`` that of the class with the fewest, and ``fewest_effective`` the least
    effective number. ``size_association`` and ``least_movable`` say what a permutation can show
    (:func:`audio_neurons.inference.permutation.design`). ``padding_least`` and ``padding_most`` are the
    shares of tokens after the end of recordings in the class that has least, and most, of them.

    Parameters
    ----------
    classes, inference
        Paths of these tables: for each task, those of all models. Without ``inference``, as for a selector
        that cannot be resampled, the columns taken from it are NaN.
    models, tasks
        Mappings with ``name`` and ``title``; models also with ``kind``.
    """
    rows = []
    for (task, model), path, inferred in _cases(tasks, models, classes, inference):
        table = tables.read(path, "classes")
        counted = table[table["clips"] > 0]
        statistics = _statistics(inferred)
        groups = statistics.loc[statistics["statistic"] == "neurons", "groups"]
        total = statistics.loc[statistics["statistic"] == "coverage", "groups"]
        rows.append(
            {
                "task": task["name"],
                "task_title": task["title"],
                **named(model),
                "classes": len(counted),
                "covered": int(counted["covered"].sum()),
                "coverage": coverage(table),
                **_about(statistics, "coverage", NEURONS["coverage"]),
                "neurons_per_class": neurons_per_class(table),
                **_about(statistics, "neurons", NEURONS["neurons"]),
                **_evenness(statistics, len(counted)),
                **reduce(or_, (_valued(statistics, name) for name in (*SPECIFIC[1:], *REPLICATED))),
                "size_association": _fact(statistics, "size_association", max),
                "least_movable": _fact(statistics, "movable", min),
                "fewest_effective": _fact(statistics, "effective_groups", min),
                "groups": total.iloc[0] if len(total) else np.nan,
                "fewest_groups": groups.min() if len(groups) else np.nan,
                "padding_least": counted["padding"].min(),
                "padding_most": counted["padding"].max(),
            }
        )
    return _adjusted(pd.DataFrame(rows), {**NEURONS, **{name: name for name in (*SPECIFIC, *REPLICATED)}})


def sharing_table(
    sharing: Sequence[str],
    inference: Sequence[str],
    models: Sequence[Mapping],
    comparisons: Sequence[Mapping],
) -> pd.DataFrame:
    """Return one row per comparison and model: mean common-neuron ratios and their chance levels.

    ``same`` is the mean over pairs of classes with the same meaning in two datasets, ``other`` that over all
    other pairs, and ``contrast`` their difference; ``normalised`` and ``transfer`` are those of
    :func:`~audio_neurons.inference.sharing.infer_ratios`. ``*_expected`` is the mean for random sets of the
    same sizes; the other columns are as in :func:`coverage_table`, ``*_q`` over all comparisons of a model.
    ``identity_p`` is the p of ``identities`` permutations of the classes' names
    (:mod:`audio_neurons.inference.identities`).

    Parameters
    ----------
    sharing, inference
        Paths of these tables: for each comparison, those of all models; ``inference`` may be empty.
    """
    rows = []
    for (comparison, model), path, inferred in _cases(comparisons, models, sharing, inference):
        statistics = _statistics(inferred)
        shared, within = tables.read(path, "sharing"), len(comparison["tasks"]) == 1
        means = compared_means(shared, statistics, within)
        identity = (np.nan, 0) if within else identity_test(shared)
        told = (_about(statistics, name, statistic) for name, statistic in RATIOS.items())
        rows.append(
            {
                "comparison": comparison["name"],
                "comparison_title": comparison["title"],
                "tasks": " x ".join(comparison["tasks"]),
                **named(model),
                **means,
                "contrast": means["same"] - means["other"],
                **reduce(or_, told),
                **{name: _fact(statistics, name, max) for name in ("normalised", "transfer")},
                **dict(zip(("identity_p", "identities"), identity, strict=True)),
                **{n: _fact(statistics, n, max) for n in ("common_groups", "labels_association")},
            }
        )
    table = pd.DataFrame(rows, columns=SHARING)  # has its columns even without comparisons
    return _adjusted(table, {name: name for name in RATIOS})


def pairs_table(
    sharing: Sequence[str],
    inference: Sequence[str],
    models: Sequence[Mapping],
    comparisons: Sequence[Mapping],
) -> pd.DataFrame:
    """Return one row per pair of classes, comparison and model: shared neurons, chance level and null.

    ``chance_p`` is the hypergeometric tail, ``chance_q`` the same adjusted after Benjamini and Hochberg over
    the pairs of one comparison and model. ``centred`` is the ratio less what the two classes share with all
    others, ``centred_q`` its p for the greatest of all pairs, and ``first`` and ``top3`` say how often the
    pair shares most (:func:`~audio_neurons.inference.sharing.infer_ratios`). The other columns are those of
    the ``inference`` table. A pair within a task is listed once.
    """
    found = []
    for (comparison, model), path, inferred in _cases(comparisons, models, sharing, inference):
        table = tables.read(path, "sharing").rename(columns={"p_value": "chance_p"})
        if inferred:
            ratios = _statistics(inferred).rename(columns={"null_mean": "null"})
            table = _inferred_pairs(table, ratios)
            of_pairs = ratios.loc[ratios["statistic"] == "ratio", ["class_a", "class_b", *INFERRED]]
            table = table.merge(of_pairs, on=["class_a", "class_b"], validate="one_to_one")
            for name, columns in OF_PAIRS.items():
                more = ratios[ratios["statistic"] == name].rename(columns=columns)
                more = more[["class_a", "class_b", *columns.values()]]
                table = table.merge(more, on=["class_a", "class_b"], how="left", validate="one_to_one")
        elif len(comparison["tasks"]) == 1:
            table = table[table["class_a"] < table["class_b"]]
        about = {"comparison": comparison["name"], "comparison_title": comparison["title"]}
        about |= named(model)
        # Two sets without neurons cannot be tested.
        tested = table["chance_p"].where(table["ratio"].notna())
        found.append(table.assign(**about, chance_q=q_values(tested.to_numpy())))
    return pd.concat(found).reindex(columns=PAIRS) if found else pd.DataFrame(columns=PAIRS)


def compared_means(table: pd.DataFrame, statistics: pd.DataFrame, within: bool) -> dict[str, float]:
    """Return ``sharing.mean_ratios`` over the pairs of an ``inference`` table, if it has rows.

    Like the intervals of the means, these pairs leave out classes without clips. If the table is empty, the
    means are over all pairs.
    """
    if statistics.empty:  # the selector cannot be resampled
        return mean_ratios(table, within)
    # The inference table lists a pair within a task once, the sharing table twice.
    return mean_ratios(_inferred_pairs(table, statistics), within=False)


def named(model: Mapping) -> dict[str, str]:
    """Return the columns that identify a model in a table."""
    return {"model": model["name"], "model_title": model["title"], "kind": model["kind"]}


def _cases(
    subjects: Sequence[Mapping], models: Sequence[Mapping], paths: Sequence[str], inference: Sequence[str]
) -> Iterator[tuple[tuple[Mapping, Mapping], str, str | None]]:
    """Yield every task or comparison with every model, and the paths of their tables."""
    cases = list(product(subjects, models))
    inferences: Sequence[str | None] = inference or [None] * len(cases)
    yield from zip(cases, paths, inferences, strict=True)


def _statistics(path: str | None) -> pd.DataFrame:
    """Read an ``inference`` table; without a path, return an empty one."""
    names = tables.SCHEMAS["inference"].names
    return tables.read(path, "inference") if path else pd.DataFrame(columns=names)


def _about(statistics: pd.DataFrame, name: str, statistic: str) -> dict[str, float]:
    """Return interval, null and p of one statistic, as columns that begin with ``name``."""
    row = statistics[statistics["statistic"] == statistic]
    columns = {"low": "low", "high": "high", "null": "null_mean", "p": "p_value"}
    return {f"{name}_{c}": row[source].iloc[0] if len(row) else np.nan for c, source in columns.items()}


def _valued(statistics: pd.DataFrame, name: str) -> dict[str, float]:
    """Return the value of one statistic and what :func:`_about` returns of it."""
    return {name: _fact(statistics, name, max), **_about(statistics, name, name)}


def _evenness(statistics: pd.DataFrame, classes: int) -> dict[str, float]:
    """Return what :func:`_valued` returns of the entropy, over its maximum."""
    most = np.log(classes) if classes > 1 else np.nan
    found = _valued(statistics, "entropy")
    renamed = {name.replace("entropy", "evenness"): value for name, value in found.items()}
    return {name: value if name == "evenness_p" else value / most for name, value in renamed.items()}


def _fact(statistics: pd.DataFrame, name: str, of: Callable[[pd.Series], float]) -> float:
    """Return the value of one statistic, of the classes' values the one that ``of`` chooses; NaN without."""
    values = statistics.loc[statistics["statistic"] == name, "value"].astype(float).dropna()
    return float(of(values)) if len(values) else np.nan


def _adjusted(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Add ``*_q``: each ``*_p`` adjusted after Benjamini and Hochberg over the rows of a model.

    A value that all permutations have, such as a coverage of 1, is no test: it has no q. ``names`` maps
    prefixes to the columns of values.
    """
    for name, column in names.items():
        value, null = table[column].astype(float), table[f"{name}_null"].astype(float)
        p = table[f"{name}_p"].astype(float).where(~np.isclose(value, null, rtol=1e-9))
        table[f"{name}_q"] = p.groupby(table["model"]).transform(lambda p: q_values(p.to_numpy()))
    return table


def _inferred_pairs(table: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a ``sharing`` table whose pairs are in the ``inference`` table, in its order."""
    pairs = statistics.loc[statistics["statistic"] == "ratio", ["class_a", "class_b"]]
    return pairs.merge(table, on=["class_a", "class_b"])


def write_tables(found: Mapping[str, pd.DataFrame], out: Mapping[str, str | os.PathLike]) -> None:
    """Write tables to ``out[name]`` (CSV, numbers to six digits) and ``out[name_data]`` (Parquet)."""
    for name, table in found.items():
        tables.write_frame(out[f"{name}_data"], out[name], table)


def write_text(
    coverage: pd.DataFrame,
    sharing: pd.DataFrame,
    path: str | os.PathLike,
    demo: bool,
    notes: Sequence[str] = (),
    more: str = "",
    answers: Sequence[str] = (),
) -> None:
    """Write a short text summary for a terminal.

    ``answers`` are sentences that stand first, ``notes`` remarks about models; ``more`` says where to read
    on.
    """
    models = list(dict.fromkeys(coverage["model_title"]))
    found = [
        *(
            _cells(coverage, "task_title", *columns) if coverage[columns[0]].notna().any() else []
            for columns in COVERAGE_TEXT
        ),
        [
            # Without pairs that mean the same, all pairs are "other": no label is needed.
            (f"{name}, {what}" if group["same"].notna().any() else name, cells)
            for name, group in sharing.groupby("comparison_title", sort=False)
            for what in ("same", "other")
            if group[what].notna().any() or what == "other"
            for _, cells in _cells(group, "comparison_title", what, what, f"{what}_null", "{:.3f}")
        ],
    ]
    cells = [cell for block in found for _, row in block for cell in row]
    width = 2 + max(map(len, [*models, *cells]))
    first = 2 + max(len(name) for block in found for name, _ in block)

    def line(name: str, cells: Sequence[str]) -> str:
        return f"  {name:<{first}}" + "".join(f"{cell:>{width}}" for cell in cells)

    lines = [line for number, said in enumerate(answers, 1) for line in _numbered(number, said)]
    lines += [""] * bool(lines)
    for heading, block in zip(HEADINGS, found, strict=True):
        if block:
            lines += [heading, line("", models), *(line(*row) for row in block), ""]
    for note in notes:
        lines += [*textwrap.wrap(note, 100), ""]
    if demo:
        lines += [CAVEAT, ""]
    if more:
        lines += [more, ""]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")


def _numbered(number: int, text: str) -> list[str]:
    return textwrap.wrap(f"{number}. {text}", 100, subsequent_indent="   ")


HEADINGS = (
    "Area under the ROC curve of chosen neurons on groups that did not choose them [interval] (with "
    "permuted labels)",
    "Classes per chosen neuron [interval] (with permuted labels)",
    "Class coverage [interval] (with permuted labels)",
    "Class-specific neurons per class [interval] (with permuted labels)",
    "Common-neuron ratio, mean over pairs of classes [interval] (with permuted labels)",
)
# Column of the value, prefix of its interval, column to compare it with, number format.
COVERAGE_TEXT = (
    ("auroc", "auroc", "auroc_null", "{:.2f}"),
    ("classes_per_neuron", "classes_per_neuron", "classes_per_neuron_null", "{:.2f}"),
    ("coverage", "coverage", "coverage_null", "{:.2f}"),
    ("neurons_per_class", "neurons", "neurons_null", "{:.1f}"),
)


def _cells(
    table: pd.DataFrame, title: str, value: str, prefix: str, beside: str, number: str
) -> list[tuple[str, list[str]]]:
    """Return titles of rows, each with a cell for each model."""
    return [
        (
            name,
            [
                with_interval(row[value], row[f"{prefix}_low"], row[f"{prefix}_high"], number)
                + ("" if pd.isna(row[beside]) else f" ({number.format(row[beside])})")
                for row in group.to_dict("records")
            ],
        )
        for name, group in table.groupby(title, sort=False)
    ]


def with_interval(value: float, low: float, high: float, number: str = "{:.2f}") -> str:
    """Format as ``0.91 [0.84, 0.95]``, without the interval if there is none, and as ``-`` if no value."""
    if pd.isna(value):
        return "-"
    ends = "" if pd.isna(low) or pd.isna(high) else f" [{number.format(low)}, {number.format(high)}]"
    return number.format(value) + ends
