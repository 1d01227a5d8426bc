"""What limits a run: warnings of the findings, grouped by what they are about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from audio_neurons.recordings.checks import LEVELS, NOTE
from audio_neurons.report.layout import Cell, Detail, Head, Part, Section, Table
from audio_neurons.report.summary import CAVEAT
from audio_neurons.report.words import by, many, p_text, percent

UNLIKE = 0.1  # difference of two classes in their share of padding that is told
ASSOCIATED, FEW = 0.1, 5  # sizes that go with the class; effective groups below which a class is told
ALWAYS = (
    "Level, duration, pitch and recording conditions are not controlled: neurons may tell a class by any of "
    "them. Groups that share a speaker or a place are treated as independent.",
    "Each model is one checkpoint: intervals say how much other recordings would change, not how much "
    "another training would.",
)


def section(found: Mapping, about: Mapping) -> Section:
    """Return all warnings in groups, the clips of every number, and the checks of the recordings."""
    parts = [*foremost(found, about), Part("Every run", [*_floors(found, about), *ALWAYS])]
    details = [
        Detail(f"All checks of {name} ({len(rows)})", [_checks(rows)])
        for (name,), rows in sorted(by(found["checks"], "dataset").items())
    ]
    parts.append(Part("Clips", tables=[_clips(found["clips"])], details=details))
    question = "What limits these numbers, and what can this run not say?"
    return Section("limits", "Read with care", question, parts)


def foremost(found: Mapping, about: Mapping) -> list[Part]:
    """Return the groups of warnings of this run; their titles stand at the top of the page."""
    groups = {
        "Recordings": _recordings(found["checks"]),
        "Padding": _padding(found["coverage"], about["count"]),
        "Circular selection": _circular(about),
        "Few or unlike groups": _design(found),
        "Models": _models(about),
        "What is missing": _missing(found, about),
    }
    told = {title: list(notes) for title, notes in groups.items()}
    return [
        Part(title, notes, anchor=f"limits-{title.lower().replace(' ', '-')}")
        for title, notes in told.items()
        if notes
    ]


def caveat(about: Mapping) -> str:
    """Return what has to be known before any number; empty if there is no such thing."""
    return " ".join(CAVEAT.split()) if about["demo"] else ""


def _recordings(rows: Sequence[Mapping]) -> Iterator[str]:
    for row in sorted(rows, key=lambda row: (row["dataset"], LEVELS.index(row["level"]))):
        if row["level"] != NOTE:
            label = f"{row['label']}: " if row["label"] else ""
            yield f"{row['dataset']}, {row['level']}: {label}{row['message']}"


def _checks(rows: Sequence[Mapping]) -> Table:
    heads = [Head("level"), Head("label"), Head("found")]
    ranked = sorted(rows, key=lambda row: LEVELS.index(row["level"]))
    return Table("", heads, [[row["level"], row["label"], row["message"]] for row in ranked])


def _clips(rows: Sequence[Mapping]) -> Table:
    heads = [Head("dataset"), Head("clips"), Head("used in each split")]
    cells: list[list[Cell | str]] = []
    for (name,), own in by([row for row in rows if row["label"] == "*"], "dataset").items():
        used = ", ".join(f"{row['split']} {row['clips']:,}" for row in own)
        cells.append([name, own[0]["conditions"], used])
    return Table("Every number is of these clips", heads, cells, "clips")


def _padding(rows: Sequence[Mapping], count: str) -> Iterator[str]:
    """Yield a warning for tasks whose classes differ in the silence that is added after their recordings."""
    tasks: dict[str, str] = {}
    for row in rows:
        if row["padding_most"] - row["padding_least"] > UNLIKE:
            shares = f"{percent(row['padding_least'])} to {percent(row['padding_most'])}"
            tasks.setdefault(row["task_title"], shares)
    if tasks:
        named = ", ".join(f"{title} ({shares})" for title, shares in tasks.items())
        counted = {
            "window": "These tokens are counted, so neurons that hear silence are chosen for classes of "
            "short recordings; `extraction.count: recording` leaves them out.",
            "recording": "These tokens are not counted, but attention sees them.",
        }
        what = "Classes differ in the share of tokens after the end of their recordings"
        yield f"{what}: {named}. {counted[count]}"


def _circular(about: Mapping) -> Iterator[str]:
    if about.get("selection_split") == "all":
        yield (
            "Neurons were chosen on all clips, also those that score the ablation: its effects are circular "
            "(`selection.statistics_split`)."
        )


def _design(found: Mapping) -> Iterator[str]:
    """Yield what the numbers and sizes of groups, and common recordings, let the tests not say."""
    tasks = {row["task"]: row for row in found["coverage"] if not math.isnan(row["fewest_effective"])}
    for row in tasks.values():
        if row["size_association"] > ASSOCIATED:
            stay = (
                "labels of some class cannot change at all, and nothing can be called of it"
                if row["least_movable"] == 0
                else f"of the class with the fewest, {percent(row['least_movable'])} can change"
            )
            yield (
                f"{row['task_title']}: the amount of recordings per group goes with the class (ε² "
                f"{row['size_association']:.2f}), so labels change places between groups of like size only; "
                f"{stay}. If groups have several classes, `inference.exchange: clips` lets single recordings "
                "change places. Recordings that are left out (`datasets.NAME.excluded`) even sizes out."
            )
    few = {row["task_title"]: row["fewest_effective"] for row in tasks.values()}
    told = [f"{title} {number:.1f}" for title, number in few.items() if number < FEW]
    if told:
        yield f"Fewest effective groups of a class, where they are below {FEW}: {', '.join(told)}."
    single = dict.fromkeys(row["task_title"] for row in found["coverage"] if row["fewest_groups"] == 1)
    if single:
        yield (
            f"Some class of {', '.join(single)} has a single group: intervals do not see how much groups "
            "of that class differ."
        )
    common = {row["comparison_title"]: row["common_groups"] for row in found["sharing"]}
    for title, number in common.items():
        if number > 0:
            yield (
                f"{title}: {many(int(number), 'group')} of the two datasets have the same name. If they are "
                "the same recordings or speakers, what is shared is partly the same sound: leave them out of "
                "one."
            )


def _floors(found: Mapping, about: Mapping) -> Iterator[str]:
    if any(math.isnan(row["coverage_p"]) for row in found["coverage"]):
        yield "The selector cannot be resampled: there are neither intervals nor permutations."
    else:
        least = 1 / (about["draws"] + 1)
        yield (
            f"p of {many(about['draws'], 'permutation')} is at least {p_text(least)}, two-sided "
            f"{p_text(2 * least)}; of replication at least {p_text(1 / (about['replications'] + 1))}."
        )


def _models(about: Mapping) -> Iterator[str]:
    kinds = {model["kind"] for model in about["models"]}
    for kind, what in (("ssl", "self-supervised"), ("sl", "supervised")):
        if kind not in kinds:
            yield f"There is no {what} model in this run, so nothing is said of one."
    if "random" not in kinds:
        yield "There is no random model in this run: what training adds cannot be told."
    yield from (f"{model['title']}: {model['note']}" for model in about["models"] if model.get("note"))


def _missing(found: Mapping, about: Mapping) -> Iterator[str]:
    if about["left_out"]:
        yield f"Left out, since recordings are missing: {', '.join(about['left_out'])}."
    bare = dict.fromkeys(
        f"{row['task_title']} in {row['model_title']}"
        for row in found["coverage"]
        if row["neurons_per_class"] == 0
    )
    if bare:
        yield (
            f"No class has a specific neuron: {', '.join(bare)}. With few recordings, or very uniform ones, "
            "so many neurons are active all the time in some class that no response exceeds the response "
            "filter's percentile."
        )
