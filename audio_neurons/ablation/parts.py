"""Neuron sets of one model and task that several jobs ablate, and what these jobs write, as one.

A set's random controls depend on the set and the seed alone, and nothing in a table is computed from two
sets. Tables that are joined are therefore those of one job, byte by byte, if devices of one kind made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from audio_neurons import tables
from audio_neurons.activations.statistics import note_devices
from audio_neurons.running.runtime import tell

# Names of the outputs of an ablation, and of their tables.
TABLES = {
    "ablation": "ablation",
    "confusion": "confusion",
    "sets": "ablation_sets",
    "clips": "ablation_clips",
}
UNABLATED = "unablated"

One = TypeVar("One")


def share(sets: Sequence[One], part: str | None) -> Sequence[One] | None:
    """Return the sets of one job; ``None`` if there are fewer sets than jobs, and none is left for this one.

    Parameters
    ----------
    part
        As ``"001-of-003"``, counted from 0; all sets without.

    >>> [share("abcd", f"{k:03d}-of-003") for k in range(3)]
    ['ab', 'c', 'd']
    >>> share("a", "001-of-003") is None
    True
    """
    if part is None:
        return sets
    found = re.fullmatch(r"(\d+)-of-(\d+)", part)
    assert found is not None
    number, jobs = map(int, found.groups())
    first, end = (-(-len(sets) * k // jobs) for k in (number, number + 1))
    mine = sets[first:end]
    return mine if mine or not number else None


def write_empty(out: Mapping[str, str | Path]) -> None:
    """Write tables without rows, of a job that has no set."""
    tell("fewer sets of neurons than jobs: none is left for this one")
    for name, path in out.items():
        tables.write(path, TABLES[name], tables.schema_of(TABLES[name]).empty_table())


def join(parts: Sequence[Mapping[str, str | Path]], out: Mapping[str, str | Path]) -> None:
    """Join the tables of all jobs, in their order.

    Parameters
    ----------
    parts
        Of each job: name of a table (`TABLES`) → its path.
    out
        The same for what is written.
    """
    note_devices([Path(path) for part in parts for path in part.values()])
    for name, path in out.items():
        files = [part[name] for part in parts]
        if name == "clips":
            with tables.writer(path, TABLES[name]) as writer:
                for block in _clips(files):
                    writer.append(block)
        else:
            tables.write(path, TABLES[name], _ordered(files, TABLES[name]))


def _ordered(files: Sequence[str | Path], name: str) -> pa.Table:
    """Return the rows of tables, those of random controls last."""
    every = pa.concat_tables(list(_read(files, name)))
    random = pc.equal(every["control"], "random")
    return pa.concat_tables([every.filter(pc.invert(random)), every.filter(random)]).combine_chunks()


def _read(files: Sequence[str | Path], name: str) -> Iterator[pa.Table]:
    for path in files:
        with tables.open_table(path, name) as file:
            yield file.read()


def _clips(files: Sequence[str | Path]) -> Iterator[pa.Table]:
    """Yield the clips under every condition, and those without change, which every job has, once."""
    columns = tables.schema_of(TABLES["clips"]).names
    for number, path in enumerate(files):
        for batch in tables.row_groups(path, TABLES["clips"], columns):
            if number == 0 or batch["condition"][0].as_py() != UNABLATED:
                yield pa.Table.from_batches([batch])
