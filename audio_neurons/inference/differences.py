"""Differences between models, resample by resample: SSL against SL and random, SL against random.

All models of a task are resampled alike (:func:`~audio_neurons.inference.inference.draws_table`), so
effects that a resample has on all of them cancel. The interval of a difference is therefore narrower than
the intervals of the two values suggest, and is the one to use.

A resample holds fewer distinct groups than the data. Statistics that count, such as coverage and neurons
per class, are therefore biased in it: percentile intervals may lie to one side of the value or even
exclude it. The bias is not corrected, so the interval shows the draws as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.inference.significance import interval, q_values

KINDS = ("ssl", "sl", "random")  # a model is compared with those of later kinds
# What is compared, and of what; the first is the primary outcome of tasks, `normalised` that of comparisons.
QUANTITIES = {
    "auroc": "task",
    "classes_per_neuron": "task",
    "coverage": "task",
    "neurons_per_class": "task",
    "contrast": "comparison",
    "normalised": "comparison",
    "transfer": "comparison",
}
# On a scale of its own on which a difference can be too small to matter.
SCALED = ("auroc", "normalised", "transfer")
DETECTED = 2.8  # standard deviations that are seen in 80 % of the cases at a two-sided .05: 1.96 + 0.84
COLUMNS = [
    *(
        "quantity",
        "name",
        "title",
        "model_a",
        "model_a_title",
        "kind_a",
        "model_b",
        "model_b_title",
        "kind_b",
    ),
    *("value_a", "value_b", "difference", "low", "high", "draws", "p_value", "family", "q_value"),
    *("equivalence", "equivalence_p", "detectable"),
]


def differences_table(
    coverage: pd.DataFrame,
    sharing: pd.DataFrame,
    draws: Sequence[str],
    sharing_draws: Sequence[str],
    models: Sequence[Mapping],
    level: float,
    equivalence: float = 0.05,
) -> pd.DataFrame:
    """Build a table with one row per quantity, task or comparison (``name``), and pair of models.

    The two models have different kinds. ``low`` and ``high`` are percentiles of the paired differences,
    ``p_value`` is two-sided (:func:`two_sided`), and ``q_value`` is adjusted after Benjamini and Hochberg
    over the ``family``: all tasks, or all comparisons, of one quantity and one pair of models, in which the
    difference varies at all. ``equivalence_p`` is that of two one-sided tests (:func:`equivalent`) of less
    than ``equivalence``, for the quantities `SCALED`, and ``detectable`` the smallest difference that would
    have been seen in 80 % of such data: `DETECTED` standard deviations of the draws.

    Parameters
    ----------
    coverage, sharing
        :func:`~audio_neurons.report.summary.coverage_table`,
        :func:`~audio_neurons.report.summary.sharing_table`.
    draws, sharing_draws
        Paths of ``draws`` tables, in the row order of these; empty if nothing was resampled.
    """
    found = []
    for quantity, place in QUANTITIES.items():
        table, paths = (coverage, draws) if place == "task" else (sharing, sharing_draws)
        drawn: list[np.ndarray | None] = [_values(path, quantity) for path in paths]
        drawn = drawn or [None] * len(table)
        of = {
            (row[place], row["model"]): (row[quantity], row[f"{place}_title"], values)
            for row, values in zip(table.to_dict("records"), drawn, strict=True)
        }
        for a, b in pairs(models):
            names = dict.fromkeys(table[place])
            rows = [_difference(quantity, name, of, a, b, level, equivalence) for name in names]
            found.append(_adjusted([row for row in rows if row["difference"] == row["difference"]], place))
    return pd.concat(found) if found else pd.DataFrame(columns=COLUMNS)


def pairs(models: Sequence[Mapping]) -> Iterator[tuple[Mapping, Mapping]]:
    """Yield pairs of models of different kinds, the earlier kind first."""
    of = {kind: [m for m in models if m["kind"] == kind] for kind in KINDS}
    for i, kind in enumerate(KINDS):
        for other in KINDS[i + 1 :]:
            yield from product(of[kind], of[other])


def two_sided(draws: np.ndarray) -> float:
    """Return the bootstrap p-value of B differences: twice the smaller tail at 0, at most 1.

    A tail of # differences has the probability (1 + #) / (B + 1).
    """
    tails = np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0)
    return min(1.0, 2 * (1 + min(tails)) / (len(draws) + 1))


def equivalent(draws: np.ndarray, bound: float) -> float:
    """Return the p of two one-sided tests that a difference is within ±``bound`` (Schuirmann 1987).

    It is the greater of the shares of draws beyond either bound, each (1 + #) / (B + 1).
    """
    beyond = max(np.count_nonzero(draws <= -bound), np.count_nonzero(draws >= bound))
    return (1 + beyond) / (len(draws) + 1)


def _values(path: str, statistic: str) -> np.ndarray:
    """Return a statistic's values by draw number."""
    table = tables.read(path, "draws")
    return table[table["statistic"] == statistic].sort_values("draw")["value"].to_numpy()


def _difference(
    quantity: str, name: str, of: Mapping, a: Mapping, b: Mapping, level: float, equivalence: float
) -> dict[str, object]:
    (value_a, title, first), (value_b, _, second) = of[name, a["name"]], of[name, b["name"]]
    row = {"quantity": quantity, "name": name, "title": title}
    for side, model in (("a", a), ("b", b)):
        about = {f"model_{side}": model["name"], f"model_{side}_title": model["title"]}
        row |= {**about, f"kind_{side}": model["kind"]}
    row |= {"value_a": value_a, "value_b": value_b, "difference": value_a - value_b, "draws": 0}
    if first is not None and len(first):
        if len(first) != len(second):
            raise tables.TableError(
                f"{name}: {a['name']} and {b['name']} differ in their number of draws; run the workflow again"
            )
        paired = first - second
        paired = paired[~np.isnan(paired)]
        if len(paired):
            row["low"], row["high"] = interval(paired[:, None], level)[:, 0]
            row |= {"draws": len(paired), "p_value": two_sided(paired)}
            row["detectable"] = DETECTED * paired.std()
            if quantity in SCALED:
                row |= {"equivalence": equivalence, "equivalence_p": equivalent(paired, equivalence)}
    return row


def _adjusted(rows: Sequence[Mapping], place: str) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=COLUMNS)  # columns that need draws are NaN without them
    if rows:
        what = {"task": "tasks", "comparison": "comparisons"}[place]
        first = rows[0]
        table["family"] = (
            f"{first['quantity']} of {len(rows)} {what}, {first['model_a']} - {first['model_b']}"
        )
        varied = ~np.isclose(table["detectable"].astype(float), 0)  # the same in all draws: no test
        table["q_value"] = q_values(table["p_value"].where(varied).to_numpy(float))
    return table
