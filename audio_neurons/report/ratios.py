"""Second section of the findings: what do classes share?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from audio_neurons.report.layout import NO, YES, Cell, Detail, Figure, Head, Part, Section, Table
from audio_neurons.report.summary import with_interval
from audio_neurons.report.words import beside_null, by, called, difference, many, p_text, percent

SCALES = ("contrast", "normalised", "transfer")
LISTED = 40  # pairs that stand out, in a table


def beyond_chance(low: float, q: float, alpha: float) -> bool:
    """Return whether a contrast is more than chance: q, and an interval above 0; False for NaN."""
    return bool(q < alpha and low > 0)


def agreed(contrast: Mapping, normalised: Mapping | None, alpha: float) -> str:
    """Return the direction of a difference of contrasts on which both scales agree, ``"scale"`` or ``""``.

    ``"scale"``: each or one calls a difference, but not the same.
    """
    verdicts = {called(row, alpha) for row in (contrast, normalised) if row is not None}
    return verdicts.pop() if len(verdicts) == 1 else "scale"


def shares(row: Mapping, alpha: float) -> bool:
    """Return whether classes that mean the same share more than others, beyond chance."""
    return beyond_chance(row["contrast_low"], row["contrast_q"], alpha)


def transfers(row: Mapping, alpha: float) -> bool:
    """Return whether neurons of one dataset tell the matching classes of the other."""
    return bool(row["transfer_q"] < alpha and row["transfer_low"] > 0.5)


def standing_out(rows: Sequence[Mapping], alpha: float) -> tuple[list[Mapping], int]:
    """Return the pairs that share more than their classes share with others, and how many were tested."""
    tested = [row for row in rows if not math.isnan(row["centred_q"])]
    return sorted((r for r in tested if r["centred_q"] < alpha), key=lambda r: -r["centred"]), len(tested)


def section(found: Mapping, about: Mapping) -> Section:
    """Return what classes share, comparison by comparison."""
    pairs = by(found["pairs"], "comparison")
    compared = by([r for r in found["differences"] if r["quantity"] in SCALES], "name")
    parts = [
        _part(rows, pairs.get((name,), []), compared.get((name,), []), about["alpha"])
        for (name,), rows in by(found["sharing"], "comparison").items()
    ]
    question = "Which classes, and which datasets, have neurons in common?"
    return Section("sharing", "Sharing", question, parts or [Part(notes=["This run compares no classes."])])


def _part(
    rows: Sequence[Mapping], pairs: Sequence[Mapping], compared: Sequence[Mapping], alpha: float
) -> Part:
    first = rows[0]
    across = not all(math.isnan(row["same"]) for row in rows)
    title = first["comparison_title"]
    named = first["tasks"] not in (first["comparison"], title)
    figure = Figure(
        first["comparison"], f"{title}: neurons that classes share, as observed and over permuted labels."
    )
    ranked = by(pairs, "model")
    tables = [_means(rows, across, alpha), _by_pair(rows, ranked, alpha)]
    details = [_pairs(rows, ranked, alpha), _models(compared, alpha)]
    return Part(
        f"{title} ({first['tasks']})" if named else title,
        list(_cautions(rows)),
        [figure],
        tables,
        [detail for detail in details if detail],
    )


def _means(rows: Sequence[Mapping], across: bool, alpha: float) -> Table:
    heads = [Head("model"), Head("others" if across else "all pairs", "ratio")]
    if across:
        heads[1:1] = [Head("same meaning", "ratio")]
        heads += [Head("contrast", "contrast"), Head("relative", "normalised"), Head("transfer", "transfer")]
        heads += [Head("other matches as good", "identity")]
    cells: list[list[Cell | str]] = []
    for row in rows:
        line: list[Cell | str] = [row["model_title"]]
        line += [_ratio(row, what, alpha) for what in (("same", "other") if across else ("other",))]
        if across:
            line += [_contrast(row, alpha), _relative(row), _transfer(row, alpha), _identity(row)]
        cells.append(line)
    return Table("Common-neuron ratios, means over pairs of classes", heads, cells, "sharing")


def _by_pair(rows: Sequence[Mapping], pairs: Mapping, alpha: float) -> Table:
    heads = [Head("model"), Head("pairs that stand out", "pair"), Head("greatest ratio", "first")]
    cells = [
        [row["model_title"], _outstanding(own, alpha), _greatest(own)]
        for row in rows
        for own in [pairs.get((row["model"],), [])]
    ]
    return Table("Single pairs of classes", heads, cells, "pairs")


def _ratio(row: Mapping, what: str, alpha: float) -> Cell:
    if math.isnan(row[what]):
        return Cell("-", "no specific neuron")
    cell = beside_null(row, what, what, "{:.3f}", alpha)
    sets = f"random sets {row[f'{what}_expected']:.3f}"
    return Cell(
        cell.text, f"{cell.beside}; {sets}", "less" if cell.verdict == "fewer" else cell.verdict, cell.tone
    )


def _contrast(row: Mapping, alpha: float) -> Cell:
    text = with_interval(row["contrast"], row["contrast_low"], row["contrast_high"], "{:.3f}")
    if math.isnan(row["contrast"]):
        return Cell("-")
    if not math.isnan(row["labels_association"]):
        return Cell(text, "not tested: labels of the same recordings")
    yes = shares(row, alpha)
    return Cell(text, f"q {p_text(row['contrast_q'])}", "more than chance" if yes else "", YES if yes else NO)


def _relative(row: Mapping) -> Cell:
    return Cell(with_interval(row["normalised"], row["normalised_low"], row["normalised_high"]))


def _transfer(row: Mapping, alpha: float) -> Cell:
    if math.isnan(row["transfer"]):
        return Cell("-")
    text = with_interval(row["transfer"], row["transfer_low"], row["transfer_high"])
    beside = f"permuted {row['transfer_null']:.2f}, q {p_text(row['transfer_q'])}"
    yes = transfers(row, alpha)
    return Cell(text, beside, "more than chance" if yes else "", YES if yes else NO)


def _identity(row: Mapping) -> Cell:
    if not row["identities"] > 0:
        return Cell("-")
    return Cell(p_text(row["identity_p"]), f"of {row['identities']:,.0f} ways")


def _outstanding(rows: Sequence[Mapping], alpha: float) -> Cell:
    more, tested = standing_out(rows, alpha)
    if not tested:
        return Cell("-")
    beside = "; ".join(_names(row) for row in more[:3]) + (", ..." if len(more) > 3 else "")
    return Cell(f"{len(more):,} of {tested:,}", beside, tone=YES if more else NO)


def _greatest(rows: Sequence[Mapping]) -> Cell:
    ranked = [row for row in rows if not (math.isnan(row["first"]) or math.isnan(row["ratio"]))]
    if len(ranked) < 2:
        return Cell("-")
    top = max(ranked, key=lambda row: row["ratio"])
    return Cell(
        f"{_names(top)} {top['ratio']:.3f}",
        f"greatest in {percent(top['first'])} of the resamples, among three in {percent(top['top3'])}",
    )


def _pairs(rows: Sequence[Mapping], pairs: Mapping, alpha: float) -> Detail | None:
    """List the pairs that stand out, of all models."""
    heads = [Head("model"), Head("pair"), Head("ratio", "ratio"), Head("centred", "pair"), Head("p", "pair")]
    cells, left = [], 0
    for row in rows:
        more, _ = standing_out(pairs.get((row["model"],), []), alpha)
        left += max(len(more) - LISTED, 0)
        for pair in more[:LISTED]:
            ratio = with_interval(pair["ratio"], pair["low"], pair["high"], "{:.3f}")
            cells.append(
                [
                    row["model_title"],
                    _names(pair),
                    Cell(ratio, f"permuted {pair['null']:.3f}"),
                    f"{pair['centred']:+.3f}",
                    p_text(pair["centred_q"]),
                ]
            )
    note = f"{left:,} more are in the file." if left else ""
    table = Table("Pairs that share more than their classes share with others", heads, cells, "pairs", note)
    number = len(cells) + left
    return Detail(f"{many(number, 'pair')} that stand{'s' * (number == 1)} out", [table]) if cells else None


def _models(compared: Sequence[Mapping], alpha: float) -> Detail | None:
    """Compare the models; a difference of contrasts is called only where both scales agree."""
    cells: list[list[Cell | str]] = []
    heads = [
        Head("models"), Head("contrast", "contrast"), Head("relative", "normalised"),
        Head("transfer", "transfer"), Head("called", "agreed"),
    ]  # fmt: skip
    for rows in by(compared, "model_a", "model_b").values():
        of = {row["quantity"]: row for row in rows}
        if "contrast" not in of or math.isnan(of["contrast"]["difference"]):
            continue
        verdict = agreed(of["contrast"], of.get("normalised"), alpha)
        words = {"more": "higher", "fewer": "lower", "scale": "depends on the scale", "": ""}[verdict]
        cells.append(
            [
                f"{rows[0]['model_a_title']} less {rows[0]['model_b_title']}",
                *(
                    difference(of[scale], "{:+.3f}" if scale == "contrast" else "{:+.2f}", alpha)
                    if scale in of
                    else Cell("-")
                    for scale in SCALES
                ),
                Cell("", "", words, YES if verdict in ("more", "fewer") else NO),
            ]
        )
    if not cells:
        return None
    return Detail(
        "Differences between models", [Table("Differences of sharing", heads, cells, "differences")]
    )


def _cautions(rows: Sequence[Mapping]) -> Iterator[str]:
    association = next(
        (r["labels_association"] for r in rows if not math.isnan(r["labels_association"])), None
    )
    if association is not None:
        yield (
            "Nothing is called: both labels are of the same recordings and go together (Cramér's V "
            f"{association:.2f})."
        )
    if any(row["identities"] == 2 for row in rows):
        yield (
            "With two classes this is one observation: any one thing in which both datasets' classes differ "
            "alike, such as level, gives the same."
        )


def _names(row: Mapping) -> str:
    return f"{row['class_a']} and {row['class_b']}"
