"""Findings page: sentences that fixed rules derive from the tables, and these rules.

No sentence is written by hand: words like "more" or "effect" appear only where a rule below allows them, and
"no ... can be called" everywhere else. The page is reStructuredText, rendered by docutils.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import pandas as pd
from docutils.core import publish_string

from audio_neurons.ablation.effects import ALL, mcnemar
from audio_neurons.report import recordings
from audio_neurons.report.summary import CAVEAT, with_interval
from audio_neurons.running.files import atomic

NAMED = 8  # at most so many pairs or sets are named one by one

RULES = """\
Intervals hold {level} of the resamples of groups (speakers, songs, sources), drawn with all their clips. A
resample has fewer different groups than the data, so that numbers of classes and of neurons are biased in
it: an interval may miss its value. p-values of permutations repeat the whole selection with labels permuted
among groups. q is p after Benjamini and Hochberg over the family that is named. The rules, with
alpha = {alpha:g}:

- *A difference between two models* is called one if the interval of the paired difference (both models
  resampled alike) excludes 0 on the side of the value, and q < alpha over all tasks of that quantity and
  pair of models.
- *Coverage* is trivial where permuted labels reach as much in more than alpha of the draws, and more than
  chance where q < alpha over the tasks of the model. Neurons per class likewise: there are often *fewer* than
  under permuted labels, which make classes alike.
- *A common-neuron ratio* is more than chance if q < alpha (permuted labels; over the comparisons of a model,
  or over the pairs of a comparison) and it exceeds that of random sets of the same sizes. The ceiling is
  what a class shares with itself between two halves of its groups. The contrast, what classes that mean the
  same share more than others, is more than chance if q < alpha and its interval is above 0.
- *An ablation* has an effect on a target class if q < alpha, where p is the share of random sets of neurons,
  matched in number, layer and response, that lower the log-probability of the true class as much, and the
  family is all target classes of a task and model; and if its interval is below 0. With N random sets p is
  at least 1 / (1 + N).
- *Accuracy* changes if McNemar's exact p is at most alpha with every probe seed.
- *Neurons in common with a published list* are more than chance if q < alpha over all such counts.

Everywhere else nothing can be called, which is not to say that there is nothing."""


UNLIKE = 0.1  # difference of two classes in their share of padding that is told


def called(row: Mapping, alpha: float) -> str:
    """Return ``"more"``, ``"fewer"`` or ``""`` for a row of ``differences_table``."""
    if not row["q_value"] < alpha:  # also if it is NaN
        return ""
    if row["low"] > 0 and row["difference"] > 0:
        return "more"
    return "fewer" if row["high"] < 0 and row["difference"] < 0 else ""


def against_null(row: Mapping, prefix: str, alpha: float) -> str:
    """Return ``"more"``, ``"trivial"``, ``""`` or ``"untested"`` for a value of the coverage table."""
    if math.isnan(row[f"{prefix}_p"]):
        return "untested"
    if row[f"{prefix}_p"] > alpha:
        return "trivial"
    return "more" if row[f"{prefix}_q"] < alpha else ""


def beyond_chance(ratio: float, expected: float, q: float, alpha: float) -> bool:
    """Return whether a common-neuron ratio exceeds chance; False for NaN."""
    return bool(q < alpha and ratio > expected)


def harmful(row: Mapping, alpha: float) -> bool:
    """Return whether an ablation lowers the true class's log-probability more than random sets do."""
    return bool(row["logprob_q"] < alpha and row["high"] < 0)


def changed(row: Mapping, alpha: float) -> bool:
    """Return whether an ablation changes the accuracy with every probe seed."""
    return bool(row["mcnemar_high"] <= alpha)


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
        optionally ``note``), ``level``, ``confidence`` (of the ablation intervals), ``alpha``, ``demo``, and
        ``left_out``: titles of tasks that could not be run.
    """
    alpha = about["alpha"]
    levels = [f"{about[key]:.0%}".replace("%", " %") for key in ("level", "confidence")]
    level = levels[0] if levels[0] == levels[1] else f"{levels[0]} (those of ablation: {levels[1]})"
    found = {name: table.to_dict("records") for name, table in found.items()}
    sections = [
        ("Rules", [RULES.format(level=level, alpha=alpha)]),
        (
            "Recordings",
            [*_recordings(found.get("clips", [])), *recordings.paragraphs(found["checks"], plain)],
        ),
        ("Coverage", _counts(found, "coverage", "coverage", "{:.2f}", alpha)),
        ("Neurons per class", _counts(found, "neurons_per_class", "neurons", "{:.1f}", alpha)),
        ("Sharing", _sharing(found, alpha)),
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


def plain(text: str) -> str:
    """Escape a text so that reStructuredText takes nothing in it for markup."""
    return re.sub(r"([\\*`|]|_(?=\W|_|$))", r"\\\1", text)


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _by(rows: Sequence[Mapping], *keys: str) -> dict[tuple, list[Mapping]]:
    """Group rows by these columns, in order of first appearance."""
    found: dict[tuple, list[Mapping]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


# Recordings


def _recordings(rows: Sequence[Mapping]) -> Iterator[str]:
    """Say of which clips each dataset is, and how many of them each split has."""
    items = []
    for (name,), own in _by([row for row in rows if row["label"] == ALL], "dataset").items():
        used = ", ".join(f"{row['split']} {row['clips']:,}" for row in own)
        items.append(f"{plain(name)}: {plain(own[0]['conditions'])} (used: {used}).")
    if items:
        yield "Every number below is of these clips:"
        yield _list(items)


# Coverage, neurons per class


def _counts(found: Mapping, quantity: str, prefix: str, number: str, alpha: float) -> Iterator[str]:
    differences = [row for row in found["differences"] if row["quantity"] == quantity]
    trivial = {
        (row["task"], row["model"])
        for row in found["coverage"]
        if quantity == "coverage" and against_null(row, prefix, alpha) == "trivial"
    }
    yield from _overview(differences, alpha, "task", trivial)
    yield "Task by task:"
    of_task = _by(differences, "name")
    items = []
    for (task,), rows in _by(found["coverage"], "task").items():
        values = [_count(row, quantity, prefix, number, alpha) for row in rows]
        said = [_difference(row, number, alpha, trivial) for row in of_task.get((task,), ())]
        about = f"**{plain(rows[0]['task_title'])}** ({_many(rows[0]['classes'], 'class', 'es')}): "
        items.append(about + "; ".join(values) + ". " + " ".join(said))
    yield _list([item.strip() for item in items])


def _many(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"


def _count(row: Mapping, quantity: str, prefix: str, number: str, alpha: float) -> str:
    value = with_interval(row[quantity], row[f"{prefix}_low"], row[f"{prefix}_high"], number)
    p, q, null = (row[f"{prefix}_{what}"] for what in ("p", "q", "null"))
    beside = "" if math.isnan(null) else f"permuted labels give {number.format(null)}"
    trivial = "trivial" if quantity == "coverage" else "not more than chance"
    verdict = {
        "untested": "not tested against permuted labels",
        "trivial": f"{trivial}: {beside}, p = {_p(p)}",
        "more": f"more than chance: {beside}, q = {_p(q)}",
        "": f"no difference from chance can be called: {beside}, p = {_p(p)}, q = {_p(q)}",
    }[against_null(row, prefix, alpha)]
    return f"{plain(row['model_title'])} {value} ({verdict})"


def _overview(
    differences: Sequence[Mapping], alpha: float, what: str, trivial: Collection[tuple] = ()
) -> Iterator[str]:
    """Count, per pair of models, the tasks in which a difference is called, and those where it is trivial."""
    items = []
    for (a, b), rows in _by(differences, "model_a_title", "model_b_title").items():
        verdicts = [called(row, alpha) for row in rows]
        more, fewer = verdicts.count("more"), verdicts.count("fewer")
        hollow = sum(_hollow(row, alpha, trivial) for row in rows)
        items.append(
            f"{plain(a)} against {plain(b)}: of {_many(len(rows), what)}, higher in {more}, lower in {fewer}"
            + (f" ({hollow} of these trivial in the higher model)" if hollow else "")
            + f"; in {len(rows) - more - fewer} no difference can be called."
        )
    if items:
        yield _list(items)


def _hollow(row: Mapping, alpha: float, trivial: Collection[tuple]) -> bool:
    """Return whether a difference is called although permuted labels also reach its higher value."""
    higher = {"more": row["model_a"], "fewer": row["model_b"]}.get(called(row, alpha))
    return (row["name"], higher) in trivial


def _difference(row: Mapping, number: str, alpha: float, trivial: Collection[tuple] = ()) -> str:
    a, b = plain(row["model_a_title"]), plain(row["model_b_title"])
    if math.isnan(row["q_value"]):
        value = number.format(row["difference"])
        return f"{a} against {b}: difference {value}, not resampled: no difference can be called."
    verdict = {
        "more": f"higher in {a}",
        "fewer": f"lower in {a}",
        "": "no difference can be called",
    }[called(row, alpha)]
    value = with_interval(row["difference"], row["low"], row["high"], number)
    if _hollow(row, alpha, trivial):
        verdict += ", where it is trivial: no sign of knowing the classes better"
    return f"{a} against {b}: difference {value}, q = {_p(row['q_value'])}: {verdict}."


# Sharing


def _sharing(found: Mapping, alpha: float) -> Iterator[str]:
    differences = [row for row in found["differences"] if row["quantity"] == "contrast"]
    if differences:
        yield "Differences of the contrast:"
        yield from _overview(differences, alpha, "comparison")
    of_comparison = _by(differences, "name")
    pairs = _by(found["pairs"], "comparison", "model")
    for (name, title), rows in _by(found["sharing"], "comparison", "comparison_title").items():
        items = []
        for row in rows:
            others = "classes" if math.isnan(row["same"]) else "others"
            said = [
                _mean(row, "same", "classes that mean the same", alpha),
                _mean(row, "other", others, alpha),
            ]
            if not math.isnan(row["contrast"]):
                value = with_interval(row["contrast"], row["contrast_low"], row["contrast_high"], "{:.3f}")
                more = beyond_chance(row["contrast_low"], 0, row["contrast_q"], alpha)
                verdict = "more than chance" if more else "no contrast can be called"
                said.append(f"contrast {value}, q = {_p(row['contrast_q'])}: {verdict}")
            told = "; ".join(filter(None, said)) or "no class has a specific neuron"
            of_pairs = _pairs(pairs.get((name, row["model"]), ()), alpha)
            items.append(f"{plain(row['model_title'])}: {told}. {of_pairs}".strip())
        items += [_difference(row, "{:.3f}", alpha) for row in of_comparison.get((name,), ())]
        tasks = rows[0]["tasks"]
        yield f"**{plain(title)}**" + (f" ({plain(tasks)})" if tasks not in (name, title) else "")
        yield _list(items)


def _mean(row: Mapping, what: str, words: str, alpha: float) -> str:
    value, expected, q = row[what], row[f"{what}_expected"], row[f"{what}_q"]
    if math.isnan(value):
        return ""
    told = with_interval(value, row[f"{what}_low"], row[f"{what}_high"], "{:.3f}")
    verdict = (
        "more than chance" if beyond_chance(value, expected, q, alpha) else "not called more than chance"
    )
    null = "" if math.isnan(row[f"{what}_null"]) else f"permuted labels {row[f'{what}_null']:.3f}, "
    return f"{words} share {told} (random sets {expected:.3f}, {null}q = {_p(q)}): {verdict}"


def _pairs(rows: Sequence[Mapping], alpha: float) -> str:
    more = [row for row in rows if beyond_chance(row["ratio"], row["expected"], row["q_value"], alpha)]
    if not rows:
        return ""
    more.sort(key=lambda row: -row["ratio"] / row["expected"])
    said = f"More than chance: {len(more)} of {len(rows)} pairs"
    names = [
        f"{plain(row['class_a'])} and {plain(row['class_b'])} {row['ratio']:.3f} "
        f"(random {row['expected']:.3f}, ceiling {row['ceiling']:.3f}, q = {_p(row['q_value'])})"
        for row in more[:NAMED]
    ]
    first = f", first of them {', '.join(names)}" if len(more) > NAMED else f": {', '.join(names)}"
    return said + (first if more else "") + "."


# Ablation


def _ablation(rows: Sequence[Mapping], alpha: float) -> Iterator[str]:
    zeroed = [row for row in rows if row["gain"] == 0]
    if not zeroed:
        yield "Nothing was ablated in this run."
    for (task, replacement), of_task in _by(zeroed, "task_title", "replacement").items():
        yield f"**{plain(task)}**, activations replaced by {REPLACED.get(replacement, replacement)}"
        yield _list([_effects(own, alpha) for own in _by(of_task, "model").values()])


REPLACED = {"zero": "0", "mean": "their mean", "resample": "those in another clip"}


def _effects(rows: Sequence[Mapping], alpha: float) -> str:
    """Describe, for one model and task, the sets that affect their classes and the change of accuracy."""
    targets = [row for row in rows if row["target"] and row["class"] != ALL]
    tested = [row for row in targets if not math.isnan(row["logprob_q"])]
    needed = sorted((row for row in tested if harmful(row, alpha)), key=lambda row: row["logprob_delta"])
    said = [f"{plain(rows[0]['model_title'])}: "]
    if not targets:
        said.append("no set has a target class that was measured.")
    elif not tested:
        said.append("without random sets no effect can be called.")
    else:
        sets = min(row["controls"] for row in tested)
        verdict = "An effect on" if needed else "No effect can be called on any of"
        of = f"{len(needed)} of " if needed else ""
        said.append(f"{verdict} {of}{_many(len(tested), 'target class', 'es')}")
        names = [
            f"{plain(row['class'])} of {plain(row['set'])} "
            f"{with_interval(row['logprob_delta'], row['low'], row['high'])} "
            f"(random sets {row['control_logprob_delta']:.2f}, q = {_p(row['logprob_q'])})"
            for row in needed[:NAMED]
        ]
        said.append(f", strongest {', '.join(names)}. " if names else ". ")
        # q is p times the number of tests, divided by the number of tests whose p is as low.
        least = math.floor(round(len(tested) / (1 + sets) / alpha, 9)) + 1
        if least > 1:
            fits = f"{least} of the {len(tested)} must be that low together for any to be called"
            so = fits if least <= len(tested) else "no effect could have been called, whatever happened"
            said.append(f"With {sets:.0f} random sets p is at least {_p(1 / (1 + sets))}: {so}. ")
    overall = [row for row in rows if row["class"] == ALL]
    if overall:
        moved = [row for row in overall if changed(row, alpha)]
        low, high = (f(row["delta"] for row in overall) * 100 for f in (min, max))
        said.append(
            f"Accuracy over all {overall[0]['n']:.0f} clips changes by {low:+.2f} to {high:+.2f} points over "
            f"{_many(len(overall), 'set')}; called a change in {len(moved)}."
        )
    return "".join(said).strip()


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
            f"chance {row['expected']:.2f}; q = {_p(row['q_value'])}: {verdict}."
        )
    beside = [row for row in found["ablation"] if row["list"]]
    for row in beside:
        if math.isnan(row["delta"]):
            silent[row["remark"]] += 1
            continue
        p = f"{_p(row['mcnemar_low'])} to {_p(row['mcnemar_high'])}"
        verdict = "a change" if changed(row, alpha) else "no change can be called"
        items.append(
            f"Ablating {plain(row['set'])} in {plain(row['model_title'])}, accuracy of {_of(row['class'])}: "
            f"published {100 * row['published_delta']:+.2f} points, ours {100 * row['delta']:+.2f} "
            f"(McNemar's p {p}): {verdict}." + (f" Remark: {plain(row['remark'])}." if row["remark"] else "")
        )
    yield _list(items) if items else "No number of this run is one that the paper has published too."
    if items and beside:
        yield "What the published changes of accuracy say by themselves, whatever this run found:"
        yield _list([_theirs(rows, alpha) for rows in _by(beside, "list").values()])
    if silent:
        yield "Published numbers that have none of ours beside them:"
        yield _list([f"{number}: {plain(remark)}." for remark, number in silent.items()])


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
    items.append(
        "Each model is one checkpoint: intervals say how much other recordings would change, not how much "
        "another training would."
    )
    yield _list(items)


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
