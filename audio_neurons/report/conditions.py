"""Under which conditions a run's numbers were computed: which clips, and how neurons were chosen on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from audio_neurons import tables
from audio_neurons.recordings.sampling import EVERY
from audio_neurons.settings.datasets import Sample


def clips_table(inventories: Sequence[str], datasets: Sequence[Mapping]) -> pd.DataFrame:
    """Return the clips of every dataset by label, class and split, before and after its sample.

    ``conditions`` says the same in words: "500 of 2,000 clips, balanced by emotion, seed 0".

    Parameters
    ----------
    inventories
        Paths of ``inventory`` tables, one for each dataset.
    datasets
        Mappings with ``name``, ``sample`` (its settings, or None) and ``windows`` (in words, or empty).
    """
    found = []
    for path, dataset in zip(inventories, datasets, strict=True):
        table = tables.read(path, "inventory")
        every = table.loc[table["label"] == EVERY, ["available", "drawn"]].sum()
        found.append(table.assign(conditions=_words(dataset, *map(int, every))))
        found[-1].insert(0, "dataset", dataset["name"])
    columns = ["dataset", *tables.SCHEMAS["inventory"].names, "conditions"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _words(dataset: Mapping, available: int, drawn: int) -> str:
    sample = dataset["sample"]
    words = Sample(**sample).words(drawn, available) if sample else f"all {available:,} clips"
    return "; ".join(filter(None, (words, dataset["windows"])))


def of_datasets(clips: pd.DataFrame) -> dict[str, str]:
    """Return the conditions of each dataset from a `clips_table`."""
    return dict(zip(clips["dataset"], clips["conditions"], strict=True))


def notes(inventories: Sequence[str], datasets: Sequence[Mapping]) -> list[str]:
    """Return a line for each dataset of which a figure does not show all clips, or not from their start."""
    words = of_datasets(clips_table(inventories, datasets))
    return [f"{d['name']}: {words[d['name']]}" for d in datasets if d["sample"] or d["windows"]]


def stated(
    table: pd.DataFrame,
    column: str,
    datasets_of: Mapping[str, Iterable[str]],
    clips: pd.DataFrame,
    choice: str,
) -> pd.DataFrame:
    """Return a table with the column ``conditions``.

    Parameters
    ----------
    column, datasets_of
        Column of the table that names tasks or comparisons, and the datasets of each.
    choice
        How neurons were chosen, in words.
    """
    words = of_datasets(clips)
    told = {
        name: "; ".join([*(f"{own}: {words[own]}" for own in dict.fromkeys(names)), choice])
        for name, names in datasets_of.items()
    }
    return table.assign(conditions=table[column].map(told).astype(object))
