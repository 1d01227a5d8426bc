"""Recordings that stand in both datasets of a comparison: what these share is then partly the same sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.recordings.checking import table, worded
from audio_neurons.recordings.checks import EXAMPLES, WARNING, Result, many
from audio_neurons.recordings.facts import used
from audio_neurons.running.runtime import tell


def common(facts: Mapping[str, pd.DataFrame]) -> list[Result]:
    """Return what two datasets have in common, by the content of the recordings.

    The same content is the same samples at 16 kHz of what is kept: neither another name nor another exact
    format hides it, another level, cut or lossy format does. Silent recordings are left out.

    Parameters
    ----------
    facts
        Name → ``facts`` table of each of the two datasets.
    """
    (first, own), (second, other) = ((name, _heard(one)) for name, one in facts.items())
    digests = sorted(set(own["digest"]) & set(other["digest"]))
    if not digests:
        return []
    named = [
        " = ".join(side.loc[side["digest"] == one, "clip_id"].min() for side in (own, other))
        for one in digests[:EXAMPLES]
    ]
    number = int(other["digest"].isin(digests).sum())
    more = ", ..." if len(digests) > EXAMPLES else ""
    verb = "is" if number == 1 else "are"
    message = (
        f"{many(number)} of {second} {verb} also in {first}, so that what neurons of these datasets "
        f"share is partly the same sound: {', '.join(named)}{more}. Leave them out of one "
        f"(`datasets.{second}.excluded`)"
    )
    return [Result("recordings in both datasets", WARNING, "", number, message, tuple(named))]


def _heard(facts: pd.DataFrame) -> pd.DataFrame:
    left = used(facts)
    return left[np.isfinite(left["peak"]) & (left["digest"] != "")]


def write(facts: Mapping[str, str | Path], out: str | Path) -> None:
    """Compare the ``facts`` tables of two datasets, write the table ``checks`` of both, and tell it."""
    columns = ["clip_id", "peak", "digest", "problem"]
    results = common({name: tables.read(path, "facts", columns) for name, path in facts.items()})
    both = " and ".join(facts)
    tables.write(out, "checks", table(both, results))
    for one in results:
        tell(f"{both}: {worded(one.level, one.label, one.message)}")
