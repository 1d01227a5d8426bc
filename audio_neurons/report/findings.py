"""Findings page: sentences that fixed rules derive from the tables, and these rules.

No sentence is written by hand: words like "more" or "effect" appear only where a rule below allows them, and
"no ... can be called" everywhere else. The page is reStructuredText, rendered by docutils.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from docutils.core import publish_string

from audio_neurons.ablation.clustered import FEWEST
from audio_neurons.ablation.effects import ALL, mcnemar
from audio_neurons.report import recordings
from audio_neurons.report.ratios import sharing
from audio_neurons.report.specificity import counts, replication, specificity
from audio_neurons.report.summary import CAVEAT, with_interval
from audio_neurons.report.words import by, listed, many, p_text, plain
from audio_neurons.running.files import atomic

NAMED = 8  # at most so many sets are named one by one

RULES = """\
Intervals hold {level} of the resamples of groups (speakers, songs, sources), drawn with all their clips. A
resample has fewer different groups than the data, so that numbers of classes and of neurons are biased in
it: an interval may miss its value. p-values of permutations repeat the whole selection with labels permuted
among groups, of like size where sizes go with the class. q is p after Benjamini and Hochberg over the family
that is named; the p of models' differences are those of the bootstrap. Neurons are *assigned* to the classes
to which they respond above a threshold; they are specific to a class only if it is the only one. The rules,
with alpha = {alpha:g}:

- *What replicates* is the primary outcome of a task: neurons are chosen on one half of the groups, and judged
  on the other, over many splits. The area under the ROC curve (AUROC) is the probability that a neuron is
  active more often in a group of its class than in one of another; it is 0.5 by chance, and does not depend
  on how often neurons are active. It replicates where q < alpha over the tasks of the model.
- *A difference between two models* is called one if the interval of the paired difference (both models
  resampled alike) excludes 0 on the side of the value, and q < alpha over all tasks of that quantity and
  pair of models. Two models are equivalent where two one-sided tests say that they differ by less than
  {equivalence:g}.
- *Counts and ratios* are more or less than with permuted labels where the two-sided q < alpha (over the tasks
  or comparisons of the model). More is not better: permuted labels make classes alike, so that chosen
  neurons belong to many classes, and classes share many neurons.
- *The contrast*, what classes that mean the same share more than others, is the primary outcome of a
  comparison. It is more than chance if q < alpha and its interval is above 0. That says that both tasks have
  structure that aligns, not why. A difference of contrasts between models is called only if it is one both
  as it is and relative to what is shared at all. *A pair* shares more than its classes share with others
  where the p of its double-centred ratio, for the greatest of all pairs, is below alpha.
- *An ablation* does more harm to a target class than to other classes and than matched sets if q < alpha of
  the specificity and of the log-probability, where p is the share of random sets of neurons, matched in
  number, layer and response to the class, that lower it as much, and the family is all target classes of a
  task and model; and if the interval of the difference to the random sets' mean is below 0, of at least
  {fewest} groups. If it does so only in log-probability, it is harm, not shown to be specific. With N random
  sets p is at least 1 / (1 + N). Effects are called where activations are replaced by their mean, if they
  are: zeroing also shifts what probes were trained on.
- *Accuracy* changes if q < alpha over the sets of a task and model, where p is that of sign flips of the
  groups' net changes: clips of one group change together, which McNemar's test takes for as many
  observations. Only beside the paper's changes stands McNemar's exact p, which is to be at most alpha with
  every probe seed.
- *Neurons in common with a published list* are more than chance if q < alpha over all such counts; chance is
  that of sets with as many neurons in each layer and part of it by response.

Everywhere else nothing can be called, which is not to say that there is nothing."""


UNLIKE = 0.1  # difference of two classes in their share of padding that is told


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


def page(found: Mapping[str, pd.DataFrame], about: Mapping) -> str:
    """Return the page as reStructuredText.

    Parameters
    ----------
    found
        Tables by name: ``coverage``, ``sharing``, ``pairs`` (:mod:`~audio_neurons.report.summary`),
        ``differences`` (:mod:`audio_neurons.inference.differences`), ``published``, ``ablation``, ``overlap``
        (:mod:`audio_neurons.report.published`), ``checks`` (:mod:`audio_neurons.recordings.checks`).
    about
        ``models`` and ``tasks`` (mappings with ``name`` and ``title``; models also with ``kind`` and
        optionally ``note``), ``level``, ``confidence`` (of the ablation intervals), ``alpha``,
        ``equivalence``, ``draws``, ``demo``, and
        ``left_out``: titles of tasks that could not be run.
    """
    alpha = about["alpha"]
    levels = [f"{about[key]:.0%}".replace("%", " %") for key in ("level", "confidence")]
    level = levels[0] if levels[0] == levels[1] else f"{levels[0]} (those of ablation: {levels[1]})"
    found = {name: table.to_dict("records") for name, table in found.items()}
    sections = [
        (
            "Rules",
            [RULES.format(level=level, fewest=FEWEST, **{k: about[k] for k in ("alpha", "equivalence")})],
        ),
        (
            "Recordings",
            [*_recordings(found.get("clips", [])), *recordings.paragraphs(found["checks"], plain)],
        ),
        ("What replicates", replication(found, alpha)),
        ("Specificity", specificity(found, alpha)),
        ("Coverage and neurons per class", counts(found, alpha)),
        ("Sharing", sharing(found, alpha)),
        ("Ablation", _ablation(found["ablation"], alpha)),
        ("Beside the paper", _paper(found, alpha)),
        ("What this run cannot say", _limits(found, about)),
    ]
    lines = ["Findings", "========", ""]
    for title, paragraphs in sections:
        lines += [title, "-" * len(title), ""]
        for paragraph in list(paragraphs) or ["Nothing: this run has no such table."]:
            lines += [paragraph, ""]
    return "\n".join(lines[:-1]) + "\n"


def render(text: str) -> str:
    """Render a page as one self-contained HTML file.

    Raises
    ------
    docutils.utils.SystemMessage
        If the text is not clean reStructuredText.
    """
    settings = {
        "_disable_config": True,
        "embed_stylesheet": True,
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "halt_level": 2,
        "output_encoding": "unicode",
    }
    return publish_string(text, writer="html5", settings_overrides=settings)


def write(
    found: Mapping[str, pd.DataFrame], about: Mapping, rst: str | os.PathLike, html: str | os.PathLike
) -> None:
    """Write the page as reStructuredText and as HTML."""
    text = page(found, about)
    for path, content in ((rst, text), (html, render(text))):
        with atomic(path) as temporary:
            temporary.write_text(content, encoding="utf-8")


# Recordings


def _recordings(rows: Sequence[Mapping]) -> Iterator[str]:
    """Say of which clips each dataset is, and how many of them each split has."""
    items = []
    for (name,), own in by([row for row in rows if row["label"] == ALL], "dataset").items():
        used = ", ".join(f"{row['split']} {row['clips']:,}" for row in own)
        items.append(f"{plain(name)}: {plain(own[0]['conditions'])} (used: {used}).")
    if items:
        yield "Every number below is of these clips:"
        yield listed(items)


# Ablation


def _ablation(rows: Sequence[Mapping], alpha: float) -> Iterator[str]:
    zeroed = [row for row in rows if row["gain"] == 0]
    if not zeroed:
        yield "Nothing was ablated in this run."
    judged = {row["task_title"] for row in zeroed if row["replacement"] == "mean"}
    for (task, replacement), of_task in by(zeroed, "task_title", "replacement").items():
        yield f"**{plain(task)}**, activations replaced by {REPLACED.get(replacement, replacement)}"
        if replacement == "zero":
            remedy = (
                "Effects are called below, where activations are replaced by their mean."
                if task in judged
                else "Add mean to ablation.replacements to tell this apart."
            )
            yield (
                "Zeroing, the paper's ablation, also shifts what the probes were trained on, even by neurons "
                f"that are equally active in all classes. {remedy}"
            )
        described = replacement != "mean" and task in judged
        yield listed([_effects(own, alpha, described) for own in by(of_task, "model").values()])


REPLACED = {"zero": "0", "mean": "their mean", "resample": "those in another clip"}


def _effects(rows: Sequence[Mapping], alpha: float, described: bool = False) -> str:
    """Describe, for one model and task, the sets that affect their classes and the change of accuracy.

    If effects are only ``described``, none is called: they are called by another replacement.
    """
    targets = [row for row in rows if row["target"] and row["class"] != ALL]
    tested = [row for row in targets if not math.isnan(row["logprob_q"])]
    needed, harmed = (
        sorted((row for row in tested if harmful(row, alpha) == kind), key=lambda row: row["logprob_delta"])
        for kind in ("specific", "harm")
    )
    said = [f"{plain(rows[0]['model_title'])}: "]
    if not targets:
        said.append("no set has a target class that was measured.")
    elif not tested:
        said.append("without random sets no effect can be called.")
    elif described:
        mean = sum(row["logprob_delta"] for row in tested) / len(tested)
        control = sum(row["control_logprob_delta"] for row in tested) / len(tested)
        said.append(
            f"log-probability of {many(len(tested), 'target class', 'es')} changes by {mean:+.2f} on "
            f"average, with random sets by {control:+.2f}. "
        )
    else:
        sets = min(row["controls"] for row in tested)
        verdict = (
            "More harm than to other classes and than by matched sets to"
            if needed
            else "No effect can be called specific, of"
        )
        of = f"{len(needed)} of " if needed else ""
        said.append(f"{verdict} {of}{many(len(tested), 'target class', 'es')}")
        names = [
            f"{plain(row['class'])} of {plain(row['set'])} "
            f"{with_interval(row['logprob_delta'], row['low'], row['high'])} "
            f"(random sets {row['control_logprob_delta']:.2f}, q = {p_text(row['logprob_q'])}; more than "
            f"other classes by {row['specificity']:.2f}, q = {p_text(row['specificity_q'])})"
            for row in needed[:NAMED]
        ]
        said.append(f", strongest {', '.join(names)}. " if names else ". ")
        if harmed:
            named = ", ".join(f"{plain(row['class'])} of {plain(row['set'])}" for row in harmed[:NAMED])
            more = f" and {len(harmed) - NAMED} more" if len(harmed) > NAMED else ""
            said.append(f"Harm, not shown to be specific: {named}{more}. ")
        # q is p times the number of tests, divided by the number of tests whose p is as low.
        least = math.floor(round(len(tested) / (1 + sets) / alpha, 9)) + 1
        if least > 1:
            fits = f"{least} of the {len(tested)} must be that low together for any to be called"
            so = fits if least <= len(tested) else "no effect could have been called, whatever happened"
            said.append(f"With {sets:.0f} random sets p is at least {p_text(1 / (1 + sets))}: {so}. ")
    few = [row for row in tested if row["groups"] < FEWEST and not described]
    if few:
        least = min(row["groups"] for row in few)
        said.append(
            f"Nothing can be called of {many(len(few), 'target class', 'es')}: of fewer than {FEWEST} groups "
            f"(at least {least:.0f}), intervals hold too little. "
        )
    said.append(_area(tested))
    overall = [row for row in rows if row["class"] == ALL]
    if overall:
        moved = [row for row in overall if changed(row, alpha)]
        low, high = (f(row["delta"] for row in overall) * 100 for f in (min, max))
        said.append(
            f"Accuracy over all {overall[0]['n']:.0f} clips changes by {low:+.2f} to {high:+.2f} points over "
            f"{many(len(overall), 'set')}; called a change in {len(moved)}."
        )
    return "".join(said).strip()


def _area(rows: Sequence[Mapping]) -> str:
    """Say how the area under the ROC curve of target classes changes, on average."""
    known = [row for row in rows if not math.isnan(row["auroc_delta"])]
    if not known:
        return ""
    before, after, control = (
        sum(row[name] for row in known) / len(known)
        for name in ("auroc_before", "auroc", "control_auroc_delta")
    )
    return (
        f"The area under the ROC curve of target classes, which no shift of all clips moves, is {after:.3f} "
        f"on average instead of {before:.3f} (with random sets {before + control:.3f}). "
    )


# Beside the paper


def _paper(found: Mapping, alpha: float) -> Iterator[str]:
    items = []
    silent: Counter[str] = Counter()
    for row in found["published"]:
        if math.isnan(row["ours"]):
            silent[row["remark"]] += 1
            continue
        published, value = row["published"], with_interval(row["ours"], row["low"], row["high"])
        said = [f"{plain(row['task'])}, {row['quantity'].replace('_', ' ')} of {plain(row['model_title'])}:"]
        said.append(f"published {published:g} ({plain(row['standing'])}), ours {value}.")
        if not math.isnan(row["low"]):
            inside = "inside" if row["low"] <= published <= row["high"] else "outside"
            said.append(f"The published number is {inside} our interval.")
        items.append(" ".join([*said, plain(row["remark"])]).strip())
    for row in found["overlap"]:
        if row["remark"]:
            silent[row["remark"]] += 1
            continue
        verdict = "more than chance" if row["q_value"] < alpha else "not called more than chance"
        kind = "specific to" if row["set"] == "shared" else "specific to exactly"
        items.append(
            f"{plain(row['targets'])}: of the {row['theirs']} published neurons, {row['common']:.0f} are "
            f"among the {row['ours']:.0f} that are {kind} these classes in {plain(row['model_title'])}, by "
            f"chance {row['expected']:.2f}; q = {p_text(row['q_value'])}: {verdict}."
        )
    beside = [row for row in found["ablation"] if row["list"]]
    for row in beside:
        if math.isnan(row["delta"]):
            silent[row["remark"]] += 1
            continue
        p = f"{p_text(row['mcnemar_low'])} to {p_text(row['mcnemar_high'])}"
        verdict = "a change" if row["mcnemar_high"] <= alpha else "no change can be called"
        items.append(
            f"Ablating {plain(row['set'])} in {plain(row['model_title'])}, accuracy of {_of(row['class'])}: "
            f"published {100 * row['published_delta']:+.2f} points, ours {100 * row['delta']:+.2f} "
            f"(McNemar's p {p}): {verdict}." + (f" Remark: {plain(row['remark'])}." if row["remark"] else "")
        )
    if any(
        row["quantity"] == "neurons_per_class" and row["ours"] == row["ours"] for row in found["published"]
    ):
        yield (
            "More neurons per class, of a fixed number of chosen neurons, are more classes per neuron: see "
            "Specificity for which model's neurons belong to fewer."
        )
    yield listed(items) if items else "No number of this run is one that the paper has published too."
    if items and beside:
        yield "What the published changes of accuracy say by themselves, whatever this run found:"
        yield listed([_theirs(rows, alpha) for rows in by(beside, "list").values()])
    if silent:
        yield "Published numbers that have none of ours beside them:"
        yield listed([f"{number}: {plain(remark)}." for remark, number in silent.items()])


def _theirs(rows: Sequence[Mapping], alpha: float) -> str:
    """Describe the least p that McNemar's test can give: all clips change in the same direction."""
    said = []
    for row in {row["class"]: row for row in rows}.values():
        clips = round(row["published_delta"] * row["published_n"])
        if clips:
            p = mcnemar(abs(clips), 0)
            verdict = "could be a change" if p <= alpha else "no change can be called"
            said.append(
                f"{_of(row['class'])} {clips:+d} of {row['published_n']:.0f} (p at least {p:.3g}: {verdict})"
            )
    if ALL not in {row["class"] for row in rows if round(row["published_delta"] * row["published_n"])}:
        said.append("all clips unchanged in number")
    return f"{plain(rows[0]['targets'])}, clips that are right: {', '.join(said)}."


def _of(name: str) -> str:
    return "all clips" if name == ALL else plain(name)


# Limits of the run


def _limits(found: Mapping, about: Mapping) -> Iterator[str]:
    items = []
    if about["demo"]:
        items.append(" ".join(CAVEAT.split()))
    kinds = {model["kind"] for model in about["models"]}
    for kind, what in (("ssl", "self-supervised"), ("sl", "supervised")):
        if kind not in kinds:
            items.append(f"There is no {what} model in this run, so nothing is said of one.")
    if "random" not in kinds:
        items.append("There is no random model in this run: what training adds cannot be told.")
    items += [f"{plain(m['title'])}: {plain(m['note'])}" for m in about["models"] if m.get("note")]
    if about["left_out"]:
        items.append(f"Left out, since recordings are missing: {plain(', '.join(about['left_out']))}.")
    if any(math.isnan(row["coverage_p"]) for row in found["coverage"]):
        items.append("The selector cannot be resampled: there are neither intervals nor permutations.")
    bare = dict.fromkeys(
        f"{plain(row['task_title'])} in {plain(row['model_title'])}"
        for row in found["coverage"]
        if row["neurons_per_class"] == 0
    )
    if bare:
        items.append(
            f"No class has a specific neuron: {', '.join(bare)}. With few recordings, or very uniform ones, "
            "so many neurons are active all the time in some class that no response exceeds the response "
            "filter's percentile."
        )
    single = dict.fromkeys(row["task_title"] for row in found["coverage"] if row["fewest_groups"] == 1)
    if single:
        items.append(
            f"Some class of {plain(', '.join(single))} has a single group: intervals do not see how much "
            "groups of that class differ."
        )
    items += _padding(found["coverage"], about["count"])
    items += _design(found, about)
    items.append(
        "Level, duration, pitch and recording conditions are not controlled: neurons may tell a class by any "
        "of them. Groups that share a speaker or a place are treated as independent."
    )
    items.append(
        "Each model is one checkpoint: intervals say how much other recordings would change, not how much "
        "another training would."
    )
    yield listed(items)


def _padding(rows: Sequence[Mapping], count: str) -> Iterator[str]:
    """Yield a warning for tasks whose classes differ in the silence that is added after their recordings."""
    tasks: dict[str, str] = {}
    for row in rows:
        if row["padding_most"] - row["padding_least"] > UNLIKE:
            shares = f"{row['padding_least']:.0%} to {row['padding_most']:.0%}".replace("%", " %")
            tasks.setdefault(plain(row["task_title"]), shares)
    if tasks:
        named = ", ".join(f"{title} ({shares})" for title, shares in tasks.items())
        counted = {
            "window": "These tokens are counted, so neurons that hear silence are chosen for classes of "
            "short recordings; ``extraction.count: recording`` leaves them out.",
            "recording": "These tokens are not counted, but attention sees them.",
        }
        what = "Classes differ in the share of tokens after the end of their recordings"
        yield f"{what}: {named}. {counted[count]}"


ASSOCIATED, FEW = 0.1, 5  # sizes that go with the class; effective groups below which a class is told


def _design(found: Mapping, about: Mapping) -> Iterator[str]:
    """Yield what the numbers and sizes of groups, and common recordings, let the tests not say."""
    tasks = {row["task"]: row for row in found["coverage"] if not math.isnan(row["fewest_effective"])}
    for row in tasks.values():
        title = plain(row["task_title"])
        if row["size_association"] > ASSOCIATED:
            stay = (
                "labels of some class cannot change at all, and nothing can be called of it"
                if row["least_movable"] == 0
                else f"of the class with the fewest, {row['least_movable']:.0%} can change".replace("%", " %")
            )
            yield (
                f"{title}: the amount of recordings per group goes with the class (ε² "
                f"{row['size_association']:.2f}), so labels change places between groups of like size only; "
                f"{stay}. Recordings that are left out (datasets.NAME.excluded) can even the sizes out."
            )
    few = {plain(row["task_title"]): row["fewest_effective"] for row in tasks.values()}
    told = [f"{title} {number:.1f}" for title, number in few.items() if number < FEW]
    if told:
        yield f"Fewest effective groups of a class, where they are below {FEW}: {', '.join(told)}."
    common = {plain(row["comparison_title"]): row["common_groups"] for row in found["sharing"]}
    for title, number in common.items():
        if number > 0:
            yield (
                f"{title}: {many(int(number), 'group')} of the two datasets have the same name. If they are "
                "the same recordings or speakers, what is shared is partly the same sound: leave them out of "
                "one."
            )
    if "draws" in about:
        least = 1 / (about["draws"] + 1)
        yield (
            f"p of {about['draws']} permutations is at least {p_text(least)}, two-sided {p_text(2 * least)}; "
            f"of replication at least {p_text(1 / (about['replications'] + 1))}."
        )
    if about.get("selection_split") == "all":
        yield (
            "Neurons were chosen on all clips, also those that score the ablation: its effects are circular "
            "(selection.statistics_split)."
        )
