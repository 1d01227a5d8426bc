"""The answer at the top of the findings: five sentences, and one table of what is called, model by model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from audio_neurons.inference.patterns import FOUND, OPPOSITE
from audio_neurons.report import ablations, expectations, ratios, specificity
from audio_neurons.report.layout import AGAINST, NO, YES, Cell, Head, Table, titles
from audio_neurons.report.words import by, called


@dataclass(frozen=True)
class Said:
    """A sentence, what it is about, and the anchor of the section behind it."""

    lead: str
    text: str
    anchor: str


@dataclass(frozen=True)
class Answer:
    """The sentences, and the table of numbers behind them."""

    sentences: Sequence[Said]
    table: Table


Counts = Mapping[str, tuple[int, int]]  # model → how many are called, of how many


def answer(found: Mapping, about: Mapping) -> Answer:
    """Return what the page says of each question, from rows of tables."""
    alpha, models = about["alpha"], titles(about["models"])
    counts = {name: dict(_counted(rows)) for name, rows in _called(found, alpha).items()}
    return Answer(list(_sentences(found, about, counts, models)), _table(counts, models))


def _counted(rows: Sequence[tuple[str, bool]]) -> Iterator[tuple[str, tuple[int, int]]]:
    for (model,), own in by([{"model": model, "yes": yes} for model, yes in rows], "model").items():
        yield model, (sum(row["yes"] for row in own), len(own))


def _called(found: Mapping, alpha: float) -> dict[str, list[tuple[str, bool]]]:
    """Return what is called of each model: one row per test."""
    coverage, sharing = found["coverage"], found["sharing"]
    pairs = [row for row in found["pairs"] if not math.isnan(row["centred_q"])]
    tested = ablations.tested_targets(ablations.judged(found["ablation"]))
    return {
        "auroc": _each(coverage, "auroc", lambda row: specificity.replicates(row, alpha)),
        "fewer": _each(coverage, "classes_per_neuron", lambda row: specificity.fewer_classes(row, alpha)),
        "contrast": _each(sharing, "contrast_p", lambda row: ratios.shares(row, alpha)),
        "transfer": _each(sharing, "transfer", lambda row: ratios.transfers(row, alpha)),
        "pairs": [(row["model"], bool(row["centred_q"] < alpha)) for row in pairs],
        "specific": [(row["model"], ablations.harmful(row, alpha) == "specific") for row in tested],
        "expected": [(r["model"], r["verdict"] == FOUND) for r in expectations.tested(found)],
        "opposite": [(r["model"], r["verdict"] == OPPOSITE) for r in expectations.tested(found)],
    }


def _each(rows: Sequence[Mapping], value: str, yes: Callable[[Mapping], bool]) -> list[tuple[str, bool]]:
    return [(row["model"], yes(row)) for row in rows if not math.isnan(row[value])]


LINES = (
    ("auroc", "Tasks whose neurons replicate on other groups", "auroc"),
    ("fewer", "Tasks with fewer classes per neuron than permuted labels", "classes-per-neuron"),
    ("contrast", "Comparisons in which the same classes share more than others", "contrast"),
    ("transfer", "Comparisons whose neurons tell the other dataset's classes", "transfer"),
    ("pairs", "Pairs of classes that stand out", "pair"),
    ("specific", "Target classes that an ablation harms specifically", "specific"),
    ("expected", "Expected patterns that are found", "expectation"),
    ("opposite", "Expected patterns of which the opposite is found", "expectation"),
)


def _table(counts: Mapping[str, Counts], models: Mapping[str, str]) -> Table:
    cells: list[list[Cell | str]] = []
    for name, text, term in LINES:
        if counts[name]:
            own = [counts[name].get(model) for model in models]
            tone = AGAINST if name == "opposite" else YES
            cells.append([Cell(text, term=term), *(_of(one, tone) for one in own)])
    heads = [Head("what is called"), *(Head(title) for title in models.values())]
    return Table("What is called, of how many", heads, cells)


def _of(count: tuple[int, int] | None, tone: str) -> Cell:
    if count is None:
        return Cell("-")
    yes, of = count
    return Cell(f"{yes:,} of {of:,}", tone=tone if yes else NO)


def _sentences(
    found: Mapping, about: Mapping, counts: Mapping[str, Counts], models: Mapping[str, str]
) -> Iterator[Said]:
    def told(name: str, what: str) -> str:
        own = [(title, counts[name][model]) for model, title in models.items() if model in counts[name]]
        said = [f"{_none(yes)} of {of:,} for {title}" for title, (yes, of) in own]
        return ", ".join([said[0].replace(" for ", f" {what} for ", 1), *said[1:]])

    if counts["auroc"]:
        text = "what half of the groups choose tells the same classes apart in the other half in "
        yield Said("Neurons for classes:", f"{text}{told('auroc', 'tasks')}.", "specific")
    else:
        yield Said("Neurons for classes:", "whether they replicate was not tested.", "specific")
    yield Said("What training adds:", _beyond_random(found, about), "specific")
    parts = []
    if counts["contrast"]:
        text = "classes that mean the same share more neurons across datasets than others in"
        parts.append(f"{text} {told('contrast', 'comparisons')}")
    if counts["pairs"]:
        text = "share more than their classes do with others"
        parts.append(f"{told('pairs', 'pairs of classes')} {text}")
    yield Said("What classes share:", f"{'; '.join(parts) or 'not tested'}.", "sharing")
    if counts["specific"]:
        text = "ablation harms them more than other classes, and more than random sets of neurons do, in"
        yield Said("Whether they matter:", f"{text} {told('specific', 'target classes')}.", "ablation")
    else:
        yield Said("Whether they matter:", "not tested; no ablation has random sets.", "ablation")
    if counts["expected"]:
        opposite = [f"{counts['opposite'][m][0]:,} for {title}" for m, title in models.items()
                    if counts["opposite"].get(m, (0, 0))[0]]  # fmt: skip
        against = f"; the opposite of {', '.join(opposite)}" if opposite else ""
        text = f"of the patterns that are expected, {told('expected', 'patterns')} are found{against}."
        yield Said("Beside the paper:", text, "paper")
    else:
        yield Said("Beside the paper:", "this run tests no pattern that is expected.", "paper")


def _none(number: int) -> str:
    return f"{number:,}" if number else "none"


def _beyond_random(found: Mapping, about: Mapping) -> str:
    """Return in how many tasks each trained model's neurons replicate better than those of a random one."""
    if not any(model["kind"] == "random" for model in about["models"]):
        return "cannot be told, for this run has no random model."
    compared = [
        row
        for row in found["differences"]
        if row["quantity"] == "auroc" and row["kind_b"] == "random" and row["kind_a"] != "random"
    ]
    if not compared:
        return "not tested."
    told, undecided = [], False
    for (title, other), rows in by(compared, "model_a_title", "model_b_title").items():
        verdicts = [called(row, about["alpha"]) for row in rows]
        more, fewer = verdicts.count("more"), verdicts.count("fewer")
        worse = f" and worse in {fewer:,}" if fewer else ""
        undecided |= more + fewer < len(rows)
        told.append(f"{title} does so better than {other} in {_none(more)} of {len(rows):,} tasks{worse}")
    others = "; in the others no difference can be called" if undecided else ""
    return f"{'; '.join(told)}{others}."
