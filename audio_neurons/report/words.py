"""Words that the sections of the findings have in common, and the rules of a difference between models."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from audio_neurons.report.summary import with_interval


def plain(text: str) -> str:
    """Escape a text so that reStructuredText takes nothing in it for markup."""
    return re.sub(r"([\\*`|]|_(?=\W|_|$))", r"\\\1", text)


def p_text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def listed(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def by(rows: Sequence[Mapping], *keys: str) -> dict[tuple, list[Mapping]]:
    """Group rows by these columns, in order of first appearance."""
    found: dict[tuple, list[Mapping]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def many(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"


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


def overview(verdicts: Mapping[tuple[str, str], Sequence[str]], what: str) -> Iterator[str]:
    """Count, per pair of models, the tasks or comparisons in which a difference is called."""
    items = []
    for (a, b), found in verdicts.items():
        more, fewer = found.count("more"), found.count("fewer")
        items.append(
            f"{plain(a)} against {plain(b)}: of {many(len(found), what)}, higher in {more}, lower in "
            f"{fewer}; in {len(found) - more - fewer} no difference can be called."
        )
    if items:
        yield listed(items)


def difference(row: Mapping, number: str, alpha: float, words: Mapping[str, str] | None = None) -> str:
    """Describe a row of ``differences_table``; ``words`` say what more and fewer mean of model a."""
    a, b = plain(row["model_a_title"]), plain(row["model_b_title"])
    if math.isnan(row["low"]):
        value = number.format(row["difference"])
        return f"{a} against {b}: difference {value}, not resampled: no difference can be called."
    means = words or {"more": f"higher in {a}", "fewer": f"lower in {a}"}
    verdict = {**means, "": "no difference can be called"}[called(row, alpha)]
    value = with_interval(row["difference"], row["low"], row["high"], number)
    tested = "" if math.isnan(row["q_value"]) else f", q = {p_text(row['q_value'])}"
    return f"{a} against {b}: difference {value}{tested}: {verdict}{resolution(row, number, alpha)}."


def resolution(row: Mapping, number: str, alpha: float) -> str:
    """Say whether models are equivalent, or what would have been seen, where no difference is called."""
    if called(row, alpha) or math.isnan(row["detectable"]):
        return ""
    if row["equivalence_p"] < alpha:
        return f" (equivalent within {row['equivalence']:g}, p = {p_text(row['equivalence_p'])})"
    return f" (one of {number.format(row['detectable'])} would have been, in 80 % of such data)"
