"""Third section of the findings: do the neurons matter for classification?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from audio_neurons.ablation.clustered import FEWEST
from audio_neurons.ablation.conditions import by_mean
from audio_neurons.ablation.effects import ALL
from audio_neurons.report.layout import NO, YES, Cell, Detail, Figure, Head, Part, Section, Table
from audio_neurons.report.summary import with_interval
from audio_neurons.report.words import by, many, p_text

REPLACED = {"zero": "0", "mean": "the mean", "resample": "another clip's"}
LISTED = 40  # effects that are called, in a table


def harmful(row: Mapping, alpha: float) -> str:
    """Return ``"specific"``, ``"harm"`` or ``""`` for an ablation's effect on a target class.

    ``"harm"``: it lowers the true class's log-probability more than random sets do, with an interval of the
    difference below 0; ``"specific"``: also more than that of other classes, compared with the same sets.
    """
    if not (row["logprob_q"] < alpha and row["excess_high"] < 0 and row["groups"] >= FEWEST):
        return ""
    return "specific" if row["specificity_q"] < alpha else "harm"


def changed(row: Mapping, alpha: float) -> bool:
    """Return whether an ablation changes the accuracy, by sign flips of groups, over all sets."""
    return bool(row["flip_q"] < alpha)


def judged(rows: Sequence[Mapping]) -> list[Mapping]:
    """Return the rows by which effects are called: by the mean where it is a replacement, else all.

    Zeroing also shifts what probes were trained on.
    """
    own = {task: by_mean({r["replacement"] for r in its}) for (task,), its in by(rows, "task").items()}
    return [row for row in rows if row["replacement"] in own[row["task"]]]


def tested_targets(rows: Sequence[Mapping]) -> list[Mapping]:
    """Return the effects on target classes that were compared with random sets, of neurons set to 0 gain."""
    return [
        row
        for row in rows
        if row["gain"] == 0 and row["target"] and row["class"] != ALL and not math.isnan(row["logprob_q"])
    ]


def section(found: Mapping, about: Mapping) -> Section:
    """Return the effects of ablations, task by task."""
    zeroed = [row for row in found["ablation"] if row["gain"] == 0]
    parts = [_part(rows, about["alpha"]) for rows in by(zeroed, "task").values()]
    question = "Does a classifier need these neurons?"
    return Section(
        "ablation", "Ablation", question, parts or [Part(notes=["Nothing was ablated in this run."])]
    )


def _part(rows: Sequence[Mapping], alpha: float) -> Part:
    task = rows[0]["task"]
    figures = [
        Figure(f"ablation/{task}", "Change of the true class's log-probability, beside that by random sets."),
        Figure(
            f"confusion/{task}",
            "Confusion matrices of the probe: before, under the ablation, and what changes.",
        ),
    ]
    more = (
        Figure(f"ablation_matrix/{task}", "Effects of each set on each class."),
        Figure(f"dose/{task}", "Effects by gain."),
    )
    details = [_effects(rows, alpha), Detail("All classes, and other gains", figures=more)]
    return Part(
        rows[0]["task_title"],
        list(_cautions(rows, alpha)),
        figures,
        [_overview(rows, alpha)],
        [detail for detail in details if detail],
    )


def _overview(rows: Sequence[Mapping], alpha: float) -> Table:
    heads = [
        Head("model"), Head("replaced by", "replacement"), Head("target classes", "target"),
        Head("log-probability", "log-probability"), Head("AUROC", "area"), Head("specific harm", "specific"),
        Head("harm", "harm"), Head("accuracy, all clips", "accuracy"),
    ]  # fmt: skip
    cells, called, anywhere = [], {id(row) for row in judged(rows)}, bool(tested_targets(rows))
    for (_, replacement), own in by(rows, "model", "replacement").items():
        tested = tested_targets(own)
        verdicts = [harmful(row, alpha) for row in tested if id(row) in called]
        harms = [_number(verdicts.count(kind), len(verdicts)) for kind in ("specific", "harm")]
        elsewhere = anywhere and not any(id(row) in called for row in own)
        if elsewhere:
            harms = [Cell("-", "called by the mean")] * 2
        cells.append(
            [
                own[0]["model_title"],
                REPLACED.get(replacement, replacement),
                _targets(own, tested, elsewhere),
                _log_probability(_targeted(own)),
                _area(_targeted(own)),
                *harms,
                _accuracy([row for row in own if row["class"] == ALL], alpha),
            ]
        )
    return Table("Effects of ablation, means over target classes", heads, cells, "ablation")


def _log_probability(rows: Sequence[Mapping]) -> Cell:
    if not rows:
        return Cell("-")
    change, control = (mean(row[name] for row in rows) for name in ("logprob_delta", "control_logprob_delta"))
    return Cell(f"{change:+.2f}", "" if math.isnan(control) else f"random sets {control:+.2f}")


def _area(rows: Sequence[Mapping]) -> Cell:
    known = [row for row in rows if not math.isnan(row["auroc_delta"])]
    if not known:
        return Cell("-")
    before, after, control = (
        mean(row[name] for row in known) for name in ("auroc_before", "auroc", "control_auroc_delta")
    )
    sets = "" if math.isnan(control) else f", random sets {before + control:.3f}"
    return Cell(f"{after:.3f}", f"before {before:.3f}{sets}")


def _targeted(rows: Sequence[Mapping]) -> list[Mapping]:
    """Return the effects on target classes."""
    return [row for row in rows if row["target"] and row["class"] != ALL]


def _targets(own: Sequence[Mapping], tested: Sequence[Mapping], elsewhere: bool) -> Cell:
    """Return how many target classes there are; ``elsewhere``: effects are called at another replacement."""
    targets = _targeted(own)
    sets = many(len({row["set"] for row in targets}), "set")
    if tested:
        drawn = [int(row["controls"]) for row in tested]
        few = f"{min(drawn)} to {max(drawn)}" if min(drawn) < max(drawn) else f"{max(drawn)}"
        return Cell(
            f"{len(tested):,}",
            f"of {many(len({row['set'] for row in tested}), 'set')}, {few} random sets each",
        )
    if targets and elsewhere:
        return Cell(f"{len(targets):,}", f"of {sets}, no random sets here")
    return Cell(
        f"{len(targets):,}", "without random sets nothing can be called" if targets else "none measured"
    )


def _number(number: int, of: int) -> Cell:
    return Cell(f"{number:,} of {of:,}" if of else "-", tone=YES if number else NO)


def _accuracy(rows: Sequence[Mapping], alpha: float) -> Cell:
    if not rows:
        return Cell("-")
    low, high = (extreme(row["delta"] for row in rows) * 100 for extreme in (min, max))
    moved = sum(changed(row, alpha) for row in rows)
    return Cell(
        f"{low:+.2f} to {high:+.2f} points",
        f"{many(len(rows), 'set')}, {rows[0]['n']:.0f} clips",
        f"a change in {moved}" if moved else "",
        YES if moved else NO,
    )


def _effects(rows: Sequence[Mapping], alpha: float) -> Detail | None:
    """List the target classes that an ablation harms, the strongest effects first."""
    heads = [
        Head("model"), Head("set", "target"), Head("class"), Head("log-probability", "log-probability"),
        Head("less random sets", "harm"), Head("more than other classes", "specific"), Head("called", "harm"),
    ]  # fmt: skip
    harmed = [(row, verdict) for row in tested_targets(judged(rows)) if (verdict := harmful(row, alpha))]
    harmed.sort(key=lambda one: one[0]["logprob_delta"])
    cells = [
        [
            f"{row['model_title']}, replaced by {REPLACED.get(row['replacement'], row['replacement'])}",
            row["set"],
            row["class"],
            Cell(
                with_interval(row["logprob_delta"], row["low"], row["high"]),
                f"random sets {row['control_logprob_delta']:.2f}",
            ),
            Cell(
                with_interval(row["excess"], row["excess_low"], row["excess_high"]),
                f"q {p_text(row['logprob_q'])}",
            ),
            Cell(f"{row['specificity']:.2f}", f"q {p_text(row['specificity_q'])}"),
            Cell("", "", "specific" if verdict == "specific" else "harm, not shown to be specific", YES),
        ]
        for row, verdict in harmed[:LISTED]
    ]
    if not cells:
        return None
    note = f"{len(harmed) - LISTED:,} more are in the file." if len(harmed) > LISTED else ""
    table = Table("Target classes that are harmed", heads, cells, "ablation", note)
    return Detail(f"{many(len(harmed), 'target class', 'es')} harmed", [table])


def _cautions(rows: Sequence[Mapping], alpha: float) -> Iterator[str]:
    replacements = {row["replacement"] for row in rows}
    if "zero" in replacements:
        remedy = (
            "Effects are called where activations are replaced by their mean."
            if "mean" in replacements
            else "Add mean to `ablation.replacements` to tell this apart."
        )
        yield (
            "Zeroing, the paper's ablation, also shifts what the probes were trained on, even by neurons "
            f"that are equally active in all classes. {remedy}"
        )
    rows = judged(rows)
    few = [row for row in tested_targets(rows) if row["groups"] < FEWEST]
    if few:
        least = min(row["groups"] for row in few)
        yield (
            f"Nothing can be called of {many(len(few), 'target class', 'es')}: of fewer than {FEWEST} groups "
            f"(at least {least:.0f}), intervals hold too little."
        )
    floors: dict[str, list[str]] = {}
    for own in by(rows, "model", "replacement").values():
        if floor := _floor(tested_targets(own), alpha):
            floors.setdefault(floor, []).append(own[0]["model_title"])
    for floor, models in floors.items():
        yield f"{', '.join(dict.fromkeys(models))}: {floor}"


def _floor(tested: Sequence[Mapping], alpha: float) -> str:
    """Return what the number of random sets lets a test say; empty where it is no limit."""
    if not tested:
        return ""
    sets = min(row["controls_limit"] for row in tested)
    # q is p times the number of tests, divided by the number of tests whose p is as low.
    least = math.floor(round(len(tested) / (1 + sets) / alpha, 9)) + 1
    if least <= 1:
        return ""
    fits = f"{least} of the {len(tested)} must be that low together for any to be called"
    so = fits if least <= len(tested) else "no effect could have been called, whatever happened"
    return f"with {sets:.0f} random sets p is at least {p_text(1 / (1 + sets))}: {so}."
