"""Check of a dataset as a stage of the workflow: its facts are read, checked, written and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audio_neurons import tables
from audio_neurons.recordings.checks import NOTE, Result, Terms, check
from audio_neurons.recordings.facts import read
from audio_neurons.running.runtime import tell


def table(dataset: str, results: Iterable[Result]) -> pd.DataFrame:
    """Return results as the table ``checks``."""
    rows = [{"dataset": dataset, **result._asdict(), "examples": list(result.examples)} for result in results]
    return pd.DataFrame(rows, columns=tables.SCHEMAS["checks"].names)


def write(
    dataset: str,
    adapter: str,
    archives: Mapping[str, Path | Sequence[Path]],
    terms: Terms,
    *,
    facts_file: Path,
    checks_file: Path,
    **reading: Any,
) -> None:
    """Check a dataset, write the tables ``facts`` and ``checks``, and tell what endangers the results.

    Parameters
    ----------
    reading
        Further arguments of :func:`audio_neurons.recordings.facts.read`.

    Raises
    ------
    PreparationError, DatasetError, ArchiveError
        As :func:`audio_neurons.recordings.facts.read`.
    """
    reading |= {"max_seconds": terms.max_seconds, "clip_seconds": terms.clip_seconds, "name": dataset}
    facts = read(adapter, archives, **reading)
    results = check(facts, terms)
    tables.write(facts_file, "facts", facts[tables.SCHEMAS["facts"].names])
    tables.write(checks_file, "checks", table(dataset, results))
    for result in results:
        (print if result.level == NOTE else tell)(
            f"{dataset}: {worded(result.level, result.label, result.message)}"
        )


def worded(level: str, label: str, message: str) -> str:
    """Return a result as one line of text."""
    return f"{level}: {f'{label}: ' if label else ''}{message}"
