"""Counts per unit of independence (speaker, song, source), from which resampling draws.

Clips of one speaker are not independent evidence, so permutations and bootstraps move whole groups. The
``units`` table has one row per cell and group, with the active tokens of every neuron. Counts are
integers, so the merged table does not depend on how the clips are divided into shards.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
import pyarrow as pa

from audio_neurons import tables
from audio_neurons.activations.statistics import cell_keys, positions, write_counts
from audio_neurons.running.files import reserve

ROWS = 32  # units per row group, about 5 MB; a merge holds one row group per shard


@dataclass(frozen=True)
class Units:
    """Counts of R rows for the classes of one label, one row per group and class.

    Attributes
    ----------
    active
        Unsigned integers (R, N): number of the row's tokens on which each neuron is active.
    tokens
        int64 (R,): tokens of each row, all above 0.
    labels, groups
        int64 (R,): index of each row's class and of its group.
    classes
        Names of all classes, including those without a row.
    """

    active: np.ndarray
    tokens: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]


def unit_keys(frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return the distinct units of a table of clips, sorted: one row per cell and group."""
    return cell_keys(frame, [*labels, "group"])


class Tally:
    """Sums the counts of a shard's clips, and writes its ``units``, ``cells`` and ``counts`` tables.

    The sums may take gigabytes if there are many groups. They are in an unnamed memory-mapped file, so the
    operating system decides which of them stay in memory.

    Parameters
    ----------
    frame
        Split, fold, group and labels of every clip.
    labels
        Label columns whose combinations are counted separately.
    neurons
        Number of neurons in all layers.
    folder
        Folder of the memory-mapped file; it is created if missing.
    """

    def __init__(self, frame: pd.DataFrame, labels: Sequence[str], neurons: int, folder: Path):
        self._labels = list(labels)
        self._keys = unit_keys(frame, self._labels)
        self._unit_of = positions(frame, self._keys)
        folder.mkdir(parents=True, exist_ok=True)
        shape = (len(self._keys) + 1, neurons)
        with TemporaryFile(dir=folder) as file:
            reserve(file, 4 * shape[0] * shape[1])
            self._active = np.memmap(file, np.uint32, "r+", shape=shape)

    def add(self, first: int, active: np.ndarray) -> None:
        """Add the counts, int32 (clips, neurons), of consecutive clips from number ``first`` on."""
        for unit, counts in zip(self._unit_of[first : first + len(active)], active, strict=True):
            self._active[unit] += counts.view(np.uint32)

    def write(
        self, folder: Path, tokens: np.ndarray, padded: np.ndarray, window: int, neurons: np.ndarray | int
    ) -> None:
        """Write the tables.

        Parameters
        ----------
        tokens, padded
            Integers (clips,): counted tokens of each clip, and those that begin after its recording.
        window
            Tokens of a clip, counted or not, without special tokens.
        neurons
            As in `write_counts`.
        """
        clips, tokens, padded = (
            np.bincount(self._unit_of, each, len(self._keys)).astype(np.int64)
            for each in (None, tokens, padded)
        )
        with tables.writer(folder / "units.parquet", "units", self._labels) as writer:
            for start in range(0, len(self._keys), ROWS):
                here = slice(start, min(start + ROWS, len(self._keys)))
                sums = {"clips": clips[here], "tokens": tokens[here]}
                writer.append(self._keys[here].to_dict("list") | sums | {"active": list(self._active[here])})

        cells = cell_keys(self._keys, self._labels)
        cell_of = positions(self._keys, cells)
        total = np.zeros((len(cells), self._active.shape[1]), np.int64)
        for cell, counts in zip(cell_of, self._active, strict=False):
            total[cell] += counts
        units = pd.DataFrame({"clips": clips, "tokens": tokens, "padded": padded})
        sums = units.groupby(cell_of).sum().reindex(range(len(cells)), fill_value=0)
        cells = cells.assign(
            cell=np.arange(len(cells), dtype=np.int32), **sums, window=window * sums["clips"]
        )
        tables.write(folder / "cells.parquet", "cells", cells)
        write_counts(folder / "counts.parquet", total, neurons)


def merge(parts: Sequence[Path], out: Path) -> None:
    """Add up the ``units`` tables of shards; the result does not depend on their number or order.

    All tables are read side by side, once and in the order of their units. Memory therefore holds one row
    group per shard, whatever the number of units.

    Raises
    ------
    TableError
        If shards differ in their number of neurons.
    """
    frames = [tables.read(path, "units", described(path)) for path in parts]
    labels = tables.labels_of("units", frames[0].columns)
    keys = unit_keys(pd.concat(frames), labels)
    streams = [_rows(path, positions(frame, keys)) for path, frame in zip(parts, frames, strict=True)]
    # Every shard is sorted like the keys, so its unit numbers ascend.
    by_unit = groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0))
    with tables.writer(out, "units", labels) as writer:
        for start in range(0, len(keys), ROWS):
            block = keys[start : start + ROWS]
            sums = [_total(rows, out) for _, (_, rows) in zip(range(len(block)), by_unit, strict=False)]
            clips, tokens, active = zip(*sums, strict=True)
            writer.append(block.to_dict("list") | {"clips": clips, "tokens": tokens, "active": list(active)})


Row = tuple[int, int, int, np.ndarray]  # unit number, clips, tokens, counts of all neurons


def _rows(path: Path, numbers: np.ndarray) -> Iterator[Row]:
    done = 0
    for batch in tables.row_groups(path, "units", ["clips", "tokens", "active"]):
        here = numbers[done : done + len(batch)]
        yield from zip(
            here.tolist(),
            batch["clips"].to_pylist(),
            batch["tokens"].to_pylist(),
            matrix(batch, path),
            strict=True,
        )
        done += len(batch)


def _total(rows: Iterator[Row], out: Path) -> tuple[int, int, np.ndarray]:
    _, clips, tokens, first = next(rows)
    active = first.astype(np.uint64)
    for _, more_clips, more_tokens, counts in rows:
        if len(counts) != len(active):
            raise tables.TableError(f"{out}: shards count different neurons; delete them and run again")
        clips, tokens = clips + more_clips, tokens + more_tokens
        active += counts
    return clips, tokens, active


def matrix(batch: pa.RecordBatch, path: Path) -> np.ndarray:
    """Return the counts (rows, neurons) in a batch of a ``units`` table.

    Raises
    ------
    TableError
        If rows differ in their number of neurons.
    """
    flat = batch["active"].flatten().to_numpy()
    lengths = batch["active"].value_lengths().to_numpy()
    if len(lengths) and (lengths != lengths[0]).any():
        raise tables.TableError(f"{path}: not the same neurons in every unit; {tables.REMEDY}")
    return flat.reshape(len(lengths), -1)


def described(path: Path) -> list[str]:
    """Return the columns of a units table except clips, tokens and counts."""
    with tables.open_table(path, "units") as file:
        return [c for c in file.schema_arrow.names if c not in ("clips", "tokens", "active")]
