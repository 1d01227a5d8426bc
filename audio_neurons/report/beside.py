"""Fourth section of the findings: the run beside what the paper's authors published, or readers report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from audio_neurons.ablation.effects import ALL, mcnemar
from audio_neurons.report.layout import AGAINST, NO, YES, Cell, Detail, Head, Part, Section, Table
from audio_neurons.report.summary import with_interval
from audio_neurons.report.words import by, many, p_text


def section(found: Mapping, about: Mapping, expected: Sequence[Part]) -> Section:
    """Return the expected patterns, and the published numbers, each with this run's."""
    alpha = about["alpha"]
    tables = [t for t in (_numbers(found["published"]), _overlap(found["overlap"], alpha)) if t.rows]
    beside = [row for row in found["ablation"] if row["list"]]
    ablated = _ablated([row for row in beside if not math.isnan(row["delta"])], alpha)
    tables += [ablated] if ablated.rows else []
    notes = [] if tables else ["No number of this run is one that the paper has published too."]
    if any(
        row["quantity"] == "neurons_per_class" and not math.isnan(row["ours"]) for row in found["published"]
    ):
        notes.append(
            "More neurons per class, of a fixed number of chosen neurons, are more classes per neuron: see "
            "Classes per chosen neuron for which model's neurons belong to fewer."
        )
    details = []
    if ablated.rows:
        heads = [
            Head("list"),
            Head("class"),
            Head("clips that are right"),
            Head("p at least", "mcnemar"),
            Head(""),
        ]
        cells = [line for rows in by(beside, "list").values() for line in _theirs(rows, alpha)]
        title = "What the published changes of accuracy say by themselves, whatever this run found"
        details.append(Detail(title, [Table("", heads, cells, "ablation")]))
    if silent := _silent(found, beside):
        items = [[f"{number:,}", remark] for remark, number in silent.items()]
        title = f"{many(silent.total(), 'published number')} without one of ours"
        details.append(Detail(title, [Table("", [Head("numbers"), Head("why")], items)]))
    question = "Is what the paper reports found here too?"
    parts = [*expected, Part("Published numbers", notes, tables=tables, details=details)]
    return Section("paper", "Beside the paper", question, parts)


def _numbers(rows: Sequence[Mapping]) -> Table:
    heads = [
        Head("task"), Head("quantity"), Head("model"), Head("published", "standing"),
        Head("ours", "interval"), Head("remark"),
    ]  # fmt: skip
    cells = []
    for row in rows:
        if math.isnan(row["ours"]):
            continue
        inside = ""
        if not math.isnan(row["low"]):
            within = row["low"] <= row["published"] <= row["high"]
            inside = f"the published number is {'inside' if within else 'outside'} our interval"
        cells.append(
            [
                row["task"],
                row["quantity"].replace("_", " "),
                row["model_title"],
                Cell(f"{row['published']:g}", row["standing"]),
                Cell(with_interval(row["ours"], row["low"], row["high"]), inside),
                row["remark"],
            ]
        )
    return Table("Coverage and neurons per class", heads, cells, "published")


def _overlap(rows: Sequence[Mapping], alpha: float) -> Table:
    heads = [
        Head("list"), Head("model"), Head("our neurons"), Head("of the published"), Head("in common"),
        Head("by chance", "overlap"), Head("", "overlap"),
    ]  # fmt: skip
    cells = []
    for row in rows:
        if row["remark"]:
            continue
        more = bool(row["q_value"] < alpha)
        kind = "specific to" if row["set"] == "shared" else "specific to exactly"
        cells.append(
            [
                row["targets"],
                row["model_title"],
                Cell(f"{row['ours']:.0f}", f"{kind} these classes"),
                f"{row['theirs']:.0f}",
                f"{row['common']:.0f}",
                f"{row['expected']:.2f}",
                Cell(
                    "", f"q {p_text(row['q_value'])}", "more than chance" if more else "", YES if more else NO
                ),
            ]
        )
    return Table("Neurons in common with the published lists", heads, cells, "overlap")


def _ablated(rows: Sequence[Mapping], alpha: float) -> Table:
    heads = [
        Head("set"), Head("model"), Head("accuracy of"), Head("published change", "standing"), Head("ours"),
        Head("McNemar's p", "mcnemar"), Head("remark"),
    ]  # fmt: skip
    cells = []
    for row in rows:
        change = row["mcnemar_high"] <= alpha
        p = f"{p_text(row['mcnemar_low'])} to {p_text(row['mcnemar_high'])}"
        cells.append(
            [
                row["set"],
                row["model_title"],
                _of(row["class"]),
                f"{100 * row['published_delta']:+.2f} points",
                f"{100 * row['delta']:+.2f} points",
                Cell(p, "", "a change" if change else "", YES if change else NO),
                row["remark"],
            ]
        )
    return Table("Changes of accuracy by ablation", heads, cells, "ablation")


def _theirs(rows: Sequence[Mapping], alpha: float) -> Iterator[list[Cell | str]]:
    """Yield the least p that McNemar's test can give: all clips change in the same direction."""
    for row in {row["class"]: row for row in rows}.values():
        clips = round(row["published_delta"] * row["published_n"])
        p = mcnemar(abs(clips), 0)
        could = bool(clips) and p <= alpha
        yield [
            row["targets"],
            _of(row["class"]),
            f"{clips:+d} of {row['published_n']:.0f}" if clips else f"none of {row['published_n']:.0f}",
            f"{p:.3g}" if clips else "-",
            Cell("", "", "could be a change" if could else "", AGAINST if could else NO),
        ]


def _silent(found: Mapping, beside: Sequence[Mapping]) -> Counter[str]:
    """Count the published numbers that have none of ours beside them, by reason."""
    silent = Counter(row["remark"] for row in found["published"] if math.isnan(row["ours"]))
    silent.update(row["remark"] for row in found["overlap"] if row["remark"])
    silent.update(row["remark"] for row in beside if math.isnan(row["delta"]))
    return silent


def _of(name: str) -> str:
    return "all clips" if name == ALL else name
