"""Section of the findings about the neurons that classes share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from audio_neurons.report.summary import with_interval
from audio_neurons.report.words import by, called, difference, listed, many, overview, p_text, plain, side

NAMED = 8  # at most so many pairs are named one by one


def beyond_chance(low: float, q: float, alpha: float) -> bool:
    """Return whether a contrast is more than chance: q, and an interval above 0; False for NaN."""
    return bool(q < alpha and low > 0)


def agreed(contrast: Mapping, normalised: Mapping | None, alpha: float) -> str:
    """Return the direction of a difference of contrasts on which both scales agree, ``"scale"`` or ``""``.

    ``"scale"``: each or one calls a difference, but not the same.
    """
    verdicts = {called(row, alpha) for row in (contrast, normalised) if row is not None}
    return verdicts.pop() if len(verdicts) == 1 else "scale"


def sharing(found: Mapping, alpha: float) -> Iterator[str]:
    """Yield what classes share, in each comparison and model."""
    differences = {
        quantity: by([r for r in found["differences"] if r["quantity"] == quantity], "name")
        for quantity in ("contrast", "normalised", "transfer")
    }
    pairs = by(found["pairs"], "comparison", "model")
    verdicts: dict[tuple[str, str], list[str]] = {}
    blocks = []
    for (name, title), rows in by(found["sharing"], "comparison", "comparison_title").items():
        items = []
        for row in rows:
            of_pairs = _pairs(pairs.get((name, row["model"]), ()), alpha)
            items.append(f"{plain(row['model_title'])}: {_row(row, alpha)}. {of_pairs}".strip())
        beside = {
            quantity: {(r["model_a"], r["model_b"]): r for r in of.get((name,), ())}
            for quantity, of in differences.items()
        }
        for models, contrast in beside["contrast"].items():
            normalised, transfer = (beside[quantity].get(models) for quantity in ("normalised", "transfer"))
            verdict = agreed(contrast, normalised, alpha)
            key = (contrast["model_a_title"], contrast["model_b_title"])
            verdicts.setdefault(key, []).append("" if verdict == "scale" else verdict)
            items.append(_difference(contrast, normalised, transfer, verdict, alpha))
        tasks = rows[0]["tasks"]
        blocks.append(f"**{plain(title)}**" + (f" ({plain(tasks)})" if tasks not in (name, title) else ""))
        blocks.append(listed(items))
    if verdicts:
        yield "Differences of the contrast, on both scales:"
        yield from overview(verdicts, "comparison")
    yield from blocks


def _row(row: Mapping, alpha: float) -> str:
    others = "classes" if math.isnan(row["same"]) else "others"
    said = [_mean(row, "same", "classes that mean the same", alpha), _mean(row, "other", others, alpha)]
    if not math.isnan(row["contrast"]):
        said.append(_contrast(row, alpha))
    if not math.isnan(row["transfer"]):
        value = with_interval(row["transfer"], row["transfer_low"], row["transfer_high"])
        more = row["transfer_q"] < alpha and row["transfer_low"] > 0.5
        verdict = "more than chance" if more else "not called"
        said.append(
            f"neurons of one dataset tell the matching class of the other with an area under the ROC curve "
            f"of {value} (permuted labels {row['transfer_null']:.2f}, q = {p_text(row['transfer_q'])}): "
            f"{verdict}"
        )
    return "; ".join(filter(None, said)) or "no class has a specific neuron"


def _mean(row: Mapping, what: str, words: str, alpha: float) -> str:
    value, q = row[what], row[f"{what}_q"]
    if math.isnan(value):
        return ""
    told = with_interval(value, row[f"{what}_low"], row[f"{what}_high"], "{:.3f}")
    sets = f"random sets of these sizes {row[f'{what}_expected']:.3f}"
    if math.isnan(row[f"{what}_null"]):
        return f"{words} share {told} ({sets}; not tested)"
    verdict = {
        "more": f"more, q = {p_text(q)}",
        "fewer": f"less, q = {p_text(q)}" + (": their neurons differ" if words == "classes" else ""),
        "": f"no difference can be called, q = {p_text(q)}",
        "untested": "not tested",
    }[side(row, what, what, alpha)]
    return f"{words} share {told} (permuted labels {row[f'{what}_null']:.3f}: {verdict}; {sets})"


def _contrast(row: Mapping, alpha: float) -> str:
    value = with_interval(row["contrast"], row["contrast_low"], row["contrast_high"], "{:.3f}")
    said = f"contrast {value}, q = {p_text(row['contrast_q'])}"
    if not math.isnan(row["normalised"]):
        share = with_interval(row["normalised"], row["normalised_low"], row["normalised_high"])
        said += f", relative to what is shared at all {share}"
    if not math.isnan(row["labels_association"]):
        return (
            f"{said}: nothing is called, for both labels are of the same recordings and go together "
            f"(Cramér's V {row['labels_association']:.2f})"
        )
    more = beyond_chance(row["contrast_low"], row["contrast_q"], alpha)
    said += ": more than chance" if more else ": no contrast can be called"
    if row["identities"] > 0:
        said += (
            f" (of {row['identities']:.0f} ways to match these classes, a share of "
            f"{p_text(row['identity_p'])} does at least as well)"
        )
    if more and row["identities"] == 2:
        said += (
            ". With two classes this is one observation: any one thing in which both datasets' classes "
            "differ alike, such as level, gives the same"
        )
    return said


def _difference(
    contrast: Mapping, normalised: Mapping | None, transfer: Mapping | None, verdict: str, alpha: float
) -> str:
    a, b = plain(contrast["model_a_title"]), plain(contrast["model_b_title"])
    if normalised is None or math.isnan(contrast["low"]):
        return difference(contrast, "{:.3f}", alpha)
    values = [
        f"{words} {with_interval(row['difference'], row['low'], row['high'], number)}, "
        f"q = {p_text(row['q_value'])}"
        for words, row, number in (
            ("contrast", contrast, "{:+.3f}"),
            ("relative to what is shared at all", normalised, "{:+.2f}"),
            ("across datasets, area", transfer, "{:+.2f}"),
        )
        if row is not None
    ]
    told = {
        "more": f"higher in {a}",
        "fewer": f"lower in {a}",
        "scale": "depends on the scale; nothing is called",
        "": "no difference can be called",
    }[verdict]
    return f"{a} against {b}: difference of the {'; '.join(values)}: {told}."


def _pairs(rows: Sequence[Mapping], alpha: float) -> str:
    rows = [row for row in rows if not math.isnan(row["ratio"])]
    tested = [row for row in rows if not math.isnan(row["centred_q"])]
    said = []
    if tested:
        more = sorted((r for r in tested if r["centred_q"] < alpha), key=lambda r: -r["centred"])
        names = [
            f"{_names(row)} {row['ratio']:.3f} (permuted {row['null']:.3f}, p = {p_text(row['centred_q'])})"
            for row in more[:NAMED]
        ]
        first = "first of them " if len(more) > NAMED else ""
        said.append(
            f"Of {many(len(tested), 'pair')}, {len(more)} share{'s' * (len(more) == 1)} more than their "
            "classes share with others" + (f": {first}{', '.join(names)}." if more else ".")
        )
    ranked = [row for row in rows if not math.isnan(row["first"])]
    if len(ranked) > 1:
        top = max(ranked, key=lambda row: row["ratio"])
        said.append(
            f"The greatest ratio is that of {_names(top)}; it is the greatest in {top['first']:.0%} of the "
            f"resamples, among the three greatest in {top['top3']:.0%}.".replace("%", " %")
        )
    return " ".join(said)


def _names(row: Mapping) -> str:
    return f"{plain(row['class_a'])} and {plain(row['class_b'])}"
