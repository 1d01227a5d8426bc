"""Checks of a dataset's recordings: what stops a run, what endangers its results, and what is worth knowing.

Each check is a function of the table of :mod:`audio_neurons.recordings.facts`, and yields what it finds.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from audio_neurons.datasets.registry import SPLITS
from audio_neurons.recordings.audio import SILENCE
from audio_neurons.recordings.facts import LABEL, LEFT_OUT, RUN, used
from audio_neurons.tables import SAMPLE_RATE

# What stops a run; what endangers its results; what is worth knowing.
ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)

EXAMPLES = 20  # recordings, groups or classes that a result names
NAMED = 3  # of them, in a message
UNLIKE = 0.25  # difference between the shares of silence of two classes that endangers their comparison
SILENT_EDGE = 0.1  # silence at the ends of a recording that is told, as a share of what is heard
LOST = 5.5  # dB by which averaging makes the loudest channel quieter: 6 if one of two channels is silent
LITTLE = 0.05  # seconds that are not told: frames of lossy formats, and rounded lengths


class Result(NamedTuple):
    """What a check has found: a row of the table ``checks`` without its dataset."""

    check: str
    level: str
    label: str
    affected: int
    message: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Terms:
    """What the study asks of a dataset, which decides what counts as a fault.

    Parameters
    ----------
    labels
        Labels that tasks use.
    clip_seconds, max_seconds
        Length that a model hears of a recording, and that is stored of it.
    max_rejected
        Share of unusable recordings that stops the run if exceeded; 1 if nothing does.
    splits
        Splits whose recordings select neurons.
    padded
        Whether the silence after a recording shorter than ``clip_seconds`` counts.
    """

    labels: Sequence[str]
    clip_seconds: float
    max_seconds: float
    max_rejected: float = 1.0
    splits: Sequence[str] = SPLITS
    padded: bool = False


def check(facts: pd.DataFrame, terms: Terms) -> list[Result]:
    """Return what all checks find, the worst first, otherwise in the order of `CHECKS`."""
    found = [result for one in CHECKS for result in one(facts, terms)]
    return sorted(found, key=lambda result: LEVELS.index(result.level))


def silence(facts: pd.DataFrame, terms: Terms) -> pd.Series:
    """Return the share of what counts of each recording that is silence at its ends, or padded."""
    heard = facts["kept"].clip(upper=terms.clip_seconds)
    if not terms.padded:
        return facts["silence"] / heard
    return (facts["silence"] + terms.clip_seconds - heard) / terms.clip_seconds


def many(number: int, what: str = "recording", plural: str = "s") -> str:
    """Return ``1 recording``, ``2 recordings``."""
    return f"{number:,} {what}{'' if number == 1 else plural}"


def _is(number: int, singular: str, plural: str) -> str:
    return singular if number == 1 else plural


def _first(names: Sequence[str], of: int, between: str = ", ") -> str:
    """Join the first names, and tell that there are more."""
    return between.join([*names[:NAMED], *["..."] * (of > min(NAMED, len(names)))])


def _part(found: pd.DataFrame, all_of: pd.DataFrame, singular: str, plural: str) -> str:
    """Return ``2 of 12 recordings are``."""
    return f"{len(found):,} of {many(len(all_of))} {_is(len(found), singular, plural)}"


def _told(rows: pd.DataFrame, what: Callable[[Any], str]) -> tuple[str, ...]:
    """Name the first recordings of a table, each with something about it."""
    return tuple(f"{row.clip_id} ({what(row)})" for row in rows.iloc[:EXAMPLES].itertuples())


# Which recordings can be used


def unusable(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings that preparation rejects, and those that are left out on purpose."""
    by_choice = facts["problem"].str.startswith(LEFT_OUT)
    out, kept = facts[by_choice], facts[~by_choice]
    if len(bad := kept[kept["problem"] != ""]):
        share = len(bad) / len(kept)
        reasons = [f"{reason} ({number})" for reason, number in bad["problem"].value_counts().items()]
        message = f"{len(bad):,} of {many(len(kept))} cannot be used: {_first(reasons, len(reasons), '; ')}"
        stops = share > terms.max_rejected or len(bad) == len(kept)
        if stops:
            message += (
                f". That is {share:.1%}, and `preparation.max_rejected` allows {terms.max_rejected:.1%}: "
                "correct these files, take them out, or name them in `excluded`"
            )
        named = _told(bad, lambda row: row.problem)
        yield Result("unusable", ERROR if stops else NOTE, "", len(bad), message, named)
    if len(out):
        message = f"{_part(out, facts, 'is', 'are')} left out on purpose (`excluded`)"
        yield Result("left out", NOTE, "", len(out), message, _told(out, lambda row: row.problem))


def empty(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Classes of which no recording can be used, and those without any in the splits that select neurons."""
    left = used(facts)
    counted = left[left["split"].isin(terms.splits)]
    where = " and ".join(terms.splits)
    if len(left) and counted.empty:
        message = (
            f"no recording is in {where}, whose recordings select neurons: change the splits, or set "
            "`selection.statistics_split: all`"
        )
        yield Result("empty split", ERROR, "", len(left), message)
        return
    for label in terms.labels:
        every, known, chosen, tested = (
            set(table[f"{LABEL}{label}"]) for table in (facts, left, counted, left[left["split"] == "test"])
        )
        kinds = [
            ("empty class", WARNING, every - known, "no recording can be used of", ""),
            (
                "empty class",
                WARNING,
                known - chosen,
                f"no recording is in {where} of",
                ": no neurons are selected",
            ),
        ]
        if "test" not in terms.splits:
            kinds.append(
                ("empty test", NOTE, known - tested, "no recording is in test of", ": no ablation is scored")
            )
        for name, level, lacking, words, so in kinds:
            if gone := sorted(lacking):
                of = f"{len(gone)} of {many(len(every), 'class', 'es')}"
                message = f"{words} {of}{so}: {_first(gone, len(gone))}"
                yield Result(name, level, label, len(gone), message, tuple(gone[:EXAMPLES]))


# What is there twice, and what stands in several splits


def duplicates(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings of the same content: across splits, with several classes, and others."""
    left = used(facts)
    again = left[left["digest"].duplicated(keep=False)]
    if again.empty:
        return
    sets = again.groupby("digest", sort=False)
    told: set[str] = set()

    def result(check: str, digests: Sequence[str], label: str, level: str, words: str) -> Result:
        told.update(digests)
        number = int(again["digest"].isin(digests).sum())
        named = [" = ".join(sets.get_group(one)["clip_id"].iloc[:NAMED]) for one in digests[:EXAMPLES]]
        message = (
            f"{many(number)} hold {_is(len(digests), 'the same sound', f'{len(digests)} sounds')} {words}: "
            f"{_first(named, len(digests))}"
        )
        return Result(check, level, label, number, message, tuple(named))

    across = sets["split"].nunique()
    if len(found := across.index[across > 1]):
        words = "in different splits, so that what is tested was trained on"
        yield result("duplicates across splits", list(found), "", WARNING, words)
    for label in terms.labels:
        number = sets[f"{LABEL}{label}"].nunique()
        if len(found := number.index[number > 1]):
            yield result(
                "duplicates of several classes", list(found), label, WARNING, "with different classes"
            )
    groups = sets["group"].nunique()
    if len(found := groups.index[(groups > 1) & ~groups.index.isin(sorted(told))]):
        words = "in different groups, which count as independent"
        yield result("duplicates across groups", list(found), "", WARNING, words)
    rest = [one for one in sets.groups if one not in told]
    if rest:
        yield result("duplicates", rest, "", NOTE, "in one split, class and group")


def leaks(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Groups in several splits."""
    left = used(facts)
    splits = left.groupby("group", sort=False)["split"].agg(
        lambda column: sorted(set(column), key=SPLITS.index)
    )
    found = splits[splits.map(len) > 1]
    if len(found):
        named = [f"{group} ({', '.join(where)})" for group, where in found.iloc[:EXAMPLES].items()]
        message = (
            f"{len(found)} of {many(len(splits), 'group')} {_is(len(found), 'stands', 'stand')} in several "
            "splits, so that what is tested is not independent of what selected the neurons: "
            f"{_first(named, len(found))}"
        )
        yield Result("group in several splits", WARNING, "", len(found), message, tuple(named))


def ungrouped(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Datasets in which each recording is a group of its own."""
    left = used(facts)
    if len(left) > 1 and left["group"].is_unique:
        message = (
            "each recording is a group of its own: intervals and splits take all of them for independent. "
            "Name what they share (speaker, animal, place, device) as their group"
        )
        yield Result("no groups", NOTE, "", len(left), message)


# Classes


def one_group(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Classes whose recordings all belong to one group."""
    left = used(facts)
    for label in terms.labels:
        of = left.groupby(f"{LABEL}{label}", sort=True)["group"].agg(["nunique", "first", "size"])
        found = of[of["nunique"] == 1]
        if len(of) > 1 and len(found):
            named = tuple(
                f"{row.Index} ({row.first}, {many(row.size)})" for row in found.iloc[:EXAMPLES].itertuples()
            )
            message = (
                f"{len(found)} of {many(len(of), 'class', 'es')} {_is(len(found), 'has', 'have')} one group "
                f"only, so that class and group cannot be told apart: {_first(named, len(found))}"
            )
            yield Result("class of one group", WARNING, label, len(found), message, named)


def alike(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Classes whose names differ by case, white space or Unicode form alone."""
    for label in terms.labels:
        spelt: dict[str, list[str]] = {}
        for name in sorted(set(facts[f"{LABEL}{label}"])):
            plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
            spelt.setdefault(plain, []).append(name)
        found = [names for names in spelt.values() if len(names) > 1]
        if found:
            named = [" = ".join(map(_visible, names)) for names in found[:EXAMPLES]]
            message = (
                "classes have names that differ by case, white space or Unicode form alone, and count as "
                f"different: {_first(named, len(found))}"
            )
            yield Result("names alike", WARNING, label, sum(map(len, found)), message, tuple(named))


def _visible(name: str) -> str:
    """Quote a name, with escapes where it would look like another."""
    visible = unicodedata.normalize("NFKC", name) == name
    return repr(name) if visible else ascii(name)


def told_apart(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Classes that their sampling rate, number of channels or encoding tells from all others."""
    left = used(facts)
    properties = {
        "sampling rate": left["rate"].map("{:,} Hz".format),
        "number of channels": left["channels"].astype(str),
        "encoding": left["format"] + " " + left["encoding"],
    }
    for label in terms.labels:
        for name, values in properties.items():
            pairs = pd.DataFrame({"class": left[f"{LABEL}{label}"], "value": values}).drop_duplicates()
            shared = pairs["value"].duplicated(keep=False).groupby(pairs["class"]).any()
            own = list(shared.index[~shared])
            if len(shared) > 1 and own:
                of = pairs.groupby("class")["value"].agg(lambda found: ", ".join(sorted(found)))
                named = tuple(f"{one} ({of[one]})" for one in own[:EXAMPLES])
                message = (
                    f"the {name} tells {_first(named, len(own))} from all other classes: a model may hear "
                    "how a recording was made instead of what it holds"
                )
                yield Result("class told apart", WARNING, label, len(own), message, named)


def unlike_silence(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Labels of which some class has much more silence in what is heard than another."""
    left = used(facts)
    if left.empty:
        return
    share = silence(left, terms)
    for label in terms.labels:
        of = share.groupby(left[f"{LABEL}{label}"]).mean().sort_values()
        if len(of) > 1 and of.iloc[-1] - of.iloc[0] > UNLIKE:
            message = (
                f"of what is heard, {of.iloc[-1]:.0%} is silence at the ends of recordings in "
                f"'{of.index[-1]}', and {of.iloc[0]:.0%} in '{of.index[0]}': neurons of silence "
                "would count as the class's. Choose a shorter `clip_seconds`, or cut the recordings alike"
            )
            yield Result("unlike silence", WARNING, label, len(of), message)


# Length


def short(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings shorter than what a model hears."""
    left, seconds = used(facts), terms.clip_seconds
    lacking = (seconds - left["kept"]).clip(lower=0)
    if len(found := left[lacking > 0].sort_values("kept", kind="stable")):
        share = lacking.sum() / (seconds * len(left))
        padding = (
            f"{share:.1%} of what the model hears is this silence, which counts"
            if terms.padded
            else "what is padded does not count"
        )
        message = (
            f"{_part(found, left, 'is', 'are')} shorter than `clip_seconds` ({seconds:g} s) and padded: "
            f"{padding}. The shortest has {found['kept'].min():.3g} s"
        )
        yield Result("short", NOTE, "", len(found), message, _told(found, lambda row: _time(row.kept)))


def long(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings of which a model does not hear all."""
    left, seconds = used(facts), terms.clip_seconds
    found = left[left["seconds"] > seconds + LITTLE].sort_values("seconds", ascending=False, kind="stable")
    if len(found):
        heard = np.minimum(left["kept"], seconds).sum() / left["seconds"].sum()
        message = (
            f"{_part(found, left, 'is', 'are')} longer than `clip_seconds` ({seconds:g} s): the model hears "
            f"the first {seconds:g} s, and {heard:.0%} of all sound. The longest has "
            f"{_time(found['seconds'].max())}"
        )
        yield Result("long", NOTE, "", len(found), message, _told(found, lambda row: _time(row.seconds)))


def truncated(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Files that end before their header says."""
    left = used(facts)
    found = left[np.minimum(left["seconds"], terms.max_seconds) - left["kept"] > LITTLE]
    if len(found):
        named = _told(found, lambda row: f"{_time(row.kept)} of {_time(row.seconds)}")
        message = (
            f"{_part(found, left, 'ends', 'end')} before the file's header says, and "
            f"{_is(len(found), 'is used as far as it goes', 'are used as far as they go')}: "
            f"{_first(named, len(found))}"
        )
        yield Result("truncated", NOTE, "", len(found), message, named)


# Levels


def silent(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings that are silent where the model listens, and those that begin or end with silence."""
    left = used(facts)
    heard = np.minimum(left["kept"], terms.clip_seconds)
    share = left["silence"] / heard
    level = f"(below {20 * math.log10(SILENCE):.0f} dBFS)"
    nothing = heard - left["silence"] < 1 / SAMPLE_RATE
    if len(found := left[nothing]):
        named = _told(found, lambda row: _time(row.kept))
        message = (
            f"{_part(found, left, 'is', 'are')} silent {level} in the first {terms.clip_seconds:g} s, which "
            f"is all that the model hears: {_first(named, len(found))}"
        )
        yield Result("silent where heard", WARNING, "", len(found), message, named)
    found = left.assign(share=share)[~nothing & (share > SILENT_EDGE)]
    if len(found := found.sort_values("share", ascending=False, kind="stable")):
        message = (
            f"{_part(found, left, 'begins or ends', 'begin or end')} with silence {level} for more than "
            f"{SILENT_EDGE:.0%} of what is heard; in all, {left['silence'].sum() / heard.sum():.1%} of what "
            "is heard of recordings is such silence, which counts"
        )
        yield Result(
            "silent ends", NOTE, "", len(found), message, _told(found, lambda row: f"{row.share:.0%}")
        )


def clipped(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings with runs of samples at full scale."""
    left = used(facts)
    found = left[left["clipped"] > 0].sort_values("clipped", ascending=False, kind="stable")
    if len(found):
        named = _told(found, lambda row: f"{100 * row.clipped:.2g} %")
        message = (
            f"{_part(found, left, 'is', 'are')} clipped ({RUN} or more samples in a row at full scale), most "
            f"of their samples in {_first(named, len(found))}"
        )
        yield Result("clipped", NOTE, "", len(found), message, named)


def scaled(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings that go beyond full scale and are scaled."""
    left = used(facts)
    found = left[left["halvings"] > 0].sort_values("halvings", ascending=False, kind="stable")
    if len(found):
        named = _told(found, lambda row: f"1/{2**row.halvings}")
        message = (
            f"{_part(found, left, 'goes', 'go')} beyond full scale and {_is(len(found), 'is', 'are')} stored "
            f"at a lower level: {_first(named, len(found))}"
        )
        yield Result("beyond full scale", NOTE, "", len(found), message, named)


def mixed(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings that averaging of the channels makes much quieter, or silent."""
    found = facts[facts["mixdown"] > LOST].sort_values("mixdown", ascending=False, kind="stable")
    if len(found):
        named = _told(found, lambda row: "all" if math.isinf(row.mixdown) else f"{row.mixdown:.0f} dB")
        message = (
            f"{_part(found, facts, 'loses', 'lose')} 6 dB or more when channels are averaged, since a "
            f"channel is silent, or channels cancel each other: {_first(named, len(found))}"
        )
        yield Result("mixdown", NOTE, "", len(found), message, named)


def narrow(facts: pd.DataFrame, terms: Terms) -> Iterator[Result]:
    """Recordings whose sampling rate is below that of the clips."""
    left = used(facts)
    if len(found := left[left["rate"] < SAMPLE_RATE].sort_values("rate", kind="stable")):
        lowest = found["rate"].iloc[0]
        message = (
            f"{_part(found, left, 'has', 'have')} a sampling rate below {SAMPLE_RATE:,} Hz, the lowest "
            f"{lowest:,} Hz: nothing is above half of it, {lowest / 2:,.0f} Hz"
        )
        yield Result("low rate", NOTE, "", len(found), message, _told(found, lambda row: f"{row.rate:,} Hz"))


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


CHECKS: tuple[Callable[[pd.DataFrame, Terms], Iterator[Result]], ...] = (
    unusable, empty, duplicates, leaks, one_group, alike, told_apart, unlike_silence, silent, ungrouped,
    short, long, truncated, clipped, scaled, mixed, narrow,
)  # fmt: skip
