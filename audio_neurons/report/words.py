"""Words and cells that the sections of the findings have in common, and when a difference is called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from audio_neurons.report.layout import AGAINST, NO, YES, Cell, Table, matrix
from audio_neurons.report.summary import with_interval

TONES = {"more": YES, "fewer": AGAINST, "": NO, "untested": NO}


def p_text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def by(rows: Iterable[Mapping], *keys: str) -> dict[tuple, list[Mapping]]:
    """Group rows by these columns, in order of first appearance."""
    found: dict[tuple, list[Mapping]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def many(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}{plural}"


def called(row: Mapping, alpha: float) -> str:
    """Return ``"more"``, ``"fewer"`` or ``""`` for a row of ``differences_table``."""
    if not row["q_value"] < alpha:  # also if it is NaN
        return ""
    if row["low"] > 0 and row["difference"] > 0:
        return "more"
    return "fewer" if row["high"] < 0 and row["difference"] < 0 else ""


def side(row: Mapping, prefix: str, value: str, alpha: float) -> str:
    """Return ``"more"`` or ``"fewer"`` than under permuted labels, ``""``, or ``"untested"``.

    ``prefix`` and ``value`` are those of columns of a summary table; where all permutations give the value,
    there is no q and nothing to call.
    """
    if math.isnan(row[f"{prefix}_p"]):
        return "untested"
    if not row[f"{prefix}_q"] < alpha:
        return ""
    return "more" if row[value] > row[f"{prefix}_null"] else "fewer"


def beside_null(row: Mapping, prefix: str, value: str, number: str, alpha: float) -> Cell:
    """Return a cell of a value with its interval, beside what permuted labels give."""
    text = with_interval(row[value], row[f"{prefix}_low"], row[f"{prefix}_high"], number)
    verdict = side(row, prefix, value, alpha)
    if text == "-" or verdict == "untested":
        return Cell(text, "" if text == "-" else "not tested")
    null, q = number.format(row[f"{prefix}_null"]), row[f"{prefix}_q"]
    beside = f"permuted {null}" + (": the same" if math.isnan(q) else f", q {p_text(q)}")
    return Cell(text, beside, verdict, YES if verdict else NO)


def differences(
    rows: Iterable[Mapping], title: str, corner: str, number: str, alpha: float, term: str
) -> Table | None:
    """Return the differences of one quantity between models: tasks or comparisons by pairs of models."""
    pairs: dict[str, str] = {}
    cells: dict[str, dict[str, Cell]] = {}
    for row in rows:
        pair = f"{row['model_a']} {row['model_b']}"
        pairs[pair] = f"{row['model_a_title']} less {row['model_b_title']}"
        cells.setdefault(row["title"], {})[pair] = difference(row, number, alpha)
    return matrix(title, corner, pairs, cells, "differences", term) if cells else None


def difference(row: Mapping, number: str, alpha: float) -> Cell:
    """Return a cell of a row of ``differences_table``."""
    text = with_interval(row["difference"], row["low"], row["high"], number)
    if math.isnan(row["low"]):
        return Cell(text, "not resampled")
    verdict = called(row, alpha)
    tested = [] if math.isnan(row["q_value"]) else [f"q {p_text(row['q_value'])}"]
    beside = ", ".join([*tested, *resolution(row, number, alpha)])
    return Cell(text, beside, {"more": "higher", "fewer": "lower", "": ""}[verdict], TONES[verdict])


def resolution(row: Mapping, number: str, alpha: float) -> Sequence[str]:
    """Say whether models are equivalent, or what would have been seen, where no difference is called."""
    if called(row, alpha) or math.isnan(row["detectable"]):
        return []
    if row["equivalence_p"] < alpha:
        return [f"equivalent within {row['equivalence']:g}, p {p_text(row['equivalence_p'])}"]
    return [f"{number.format(row['detectable']).lstrip('+')} would have been seen"]
