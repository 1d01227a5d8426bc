"""Activation statistics: the counts of a forward pass, and how they merge.

A neuron is *active* on a token when its activation exceeds a threshold (0: LAPE's rule, Tang et al.
2024, arXiv 2402.16438). Counts are integers, so the merged tables do not depend on how the clips are
divided into shards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from audio_neurons import tables
from audio_neurons.running import provenance
from audio_neurons.running.runtime import tell

CELL_KEYS = ["split", "fold"]
SUMS = ["clips", "tokens", "window", "padded"]  # of a cell


def cell_keys(frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return the distinct cells of a table of clips, sorted: one row per split, fold and labels."""
    keys = [*CELL_KEYS, *labels]
    return frame[keys].drop_duplicates().sort_values(keys, ignore_index=True)


def positions(frame: pd.DataFrame, keys: pd.DataFrame) -> np.ndarray:
    """Return the row number in ``keys``, int64, that each row of ``frame`` belongs to."""
    wanted = pd.MultiIndex.from_frame(frame[list(keys.columns)])
    return pd.MultiIndex.from_frame(keys).get_indexer(wanted)


def write_counts(path: str | Path, active: np.ndarray, neurons: np.ndarray | int) -> None:
    """Write counts (cells, N) as a long table, with one row group per cell.

    ``neurons`` are the layer and unit of each, (N, 2), layer-major, or the number of layers if all are
    equally wide.
    """
    if isinstance(neurons, int):
        neurons = np.argwhere(np.ones((neurons, active.shape[1] // neurons), bool))
    layer = pa.array(neurons[:, 0].astype(np.int16))
    neuron = pa.array(neurons[:, 1].astype(np.int32))
    with tables.writer(path, "counts") as writer:
        for cell, counts in enumerate(active):
            number = pa.array(np.full(len(counts), cell, np.int32))
            writer.append({"cell": number, "layer": layer, "neuron": neuron, "active": counts})


def read_counts(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (cells, neurons) int64 and the neurons' (layer, unit) (neurons, 2), layer-major.

    Raises
    ------
    TableError
        If cells have different neurons, as when tables of two models are mixed.
    """
    cells = list(_cells(path))
    return np.stack([active for active, _ in cells]), cells[0][1]


def _cells(path: str | Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the counts of one cell after another, int64 (N,), and the neurons, as :func:`read_counts`."""
    neurons = None
    for _, rows in tables.runs(path, "counts", "cell", ["layer", "neuron", "active"]):
        own = rows[["layer", "neuron"]].to_numpy()
        neurons = own if neurons is None else neurons
        if own.shape != neurons.shape or (own != neurons).any():
            raise tables.TableError(f"{path}: not the same neurons in every cell; delete it and run again")
        yield rows["active"].to_numpy(), neurons


def merge(shards: Sequence[Path], out: Path, top_clips: int) -> None:
    """Add up the statistics of shards: the ``cells``, ``counts`` and ``top_clips`` tables in their folders.

    The result does not depend on the number of shards or their order. Shards that were computed on different
    devices are told, and recorded: their numbers round differently.
    """
    note_devices([shard / "counts.parquet" for shard in shards])
    parts = [tables.read(s / "cells.parquet", "cells") for s in shards]
    labels = tables.labels_of("cells", parts[0].columns)
    cells = cell_keys(pd.concat(parts), labels)

    total, neurons = None, None
    sums = np.zeros((len(cells), len(SUMS)), np.int64)
    for shard, part in zip(shards, parts, strict=True):
        if part.empty:  # the dataset has fewer clips than shards
            continue
        active, index = read_counts(shard / "counts.parquet")
        if total is None or neurons is None:
            total, neurons = np.zeros((len(cells), active.shape[1]), np.int64), index
        elif index.shape != neurons.shape or (index != neurons).any():
            raise tables.TableError(
                f"{shard}: counts different neurons than {shards[0]}; delete both and run again"
            )
        rows = positions(part, cells)
        np.add.at(total, rows, active)
        np.add.at(sums, rows, part[SUMS].to_numpy())

    assert total is not None
    assert neurons is not None
    cells = cells.assign(cell=np.arange(len(cells)), **dict(zip(SUMS, sums.T, strict=True)))
    tables.write(out / "cells.parquet", "cells", cells)
    write_counts(out / "counts.parquet", total, neurons)
    strongest = pd.concat([tables.read(s / "top_clips.parquet", "top_clips") for s in shards])
    tables.write(out / "top_clips.parquet", "top_clips", rank_clips(strongest, top_clips))


def note_devices(paths: Sequence[Path]) -> None:
    """Record the devices on which tables were computed, and tell if there are several.

    So are activation functions that kernels computed (see :mod:`audio_neurons.activations.fused`).
    """
    made = [tables.made_by(path) or {} for path in paths]
    devices = sorted({one["device"] for one in made if "device" in one})
    fused = sorted({one.get("fused", "in no model") for one in made})
    for found, what in (
        (devices, "computed on different devices"),
        (fused, "counted within activation functions and not"),
    ):
        if len(found) > 1:
            tell(
                f"parts in {paths[0].parents[1]} were {what} ({'; '.join(found)}), "
                "which round differently, so a few numbers differ; delete the folder to compute all alike"
            )
    if devices:
        provenance.note("device", "; ".join(devices))
    if any("fused" in one for one in made):
        provenance.note("fused", "; ".join(fused))


def rank_clips(strongest: pd.DataFrame, top_clips: int) -> pd.DataFrame:
    """Return the ``top_clips`` clips with the highest activation per neuron; ties in order of name."""
    by = ["layer", "neuron", "activation", "clip_id"]
    strongest = strongest.sort_values(by, ascending=[True, True, False, True], ignore_index=True)
    rank = strongest.groupby(["layer", "neuron"]).cumcount()
    return strongest.assign(rank=rank.astype(np.int16))[rank < top_clips]


def class_counts(
    statistics: Path, label: str, splits: Sequence[str] | None
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Sum the counts of cells into the classes of one label.

    Parameters
    ----------
    statistics
        Folder with ``cells`` and ``counts`` tables.
    splits
        Splits to count, or ``None`` for all of them.

    Returns
    -------
    classes
        One row per class that occurs in any split: ``class``, ``clips``, ``tokens``, ``padding``.
    active
        int64 (classes, neurons): number of tokens of the class on which each neuron is active.
    neurons
        (neurons, 2): layer and unit.
    """
    cells = tables.read(statistics / "cells.parquet", "cells")
    if label not in cells.columns:
        known = tables.labels_of("cells", cells.columns)
        raise tables.TableError(f"{statistics}: no label '{label}'; there are {', '.join(known)}")
    counted = cells["split"].isin(splits) if splits is not None else pd.Series(True, cells.index)
    names = sorted(cells[label].unique(), key=natural)
    rows = cells[label].map({name: i for i, name in enumerate(names)}).to_numpy()
    total, index = np.zeros((len(names), 0), np.int64), np.zeros((0, 2), int)
    path = statistics / "counts.parquet"
    for row, counts, (active, neurons) in zip(rows, counted, _cells(path), strict=False):
        if not index.size:
            total, index = np.zeros((len(names), len(active)), np.int64), neurons
        total[row] += active if counts else 0
    if tables.size(path) != len(rows) * len(index):
        raise tables.TableError(f"{path}: not of the cells of cells.parquet; delete both and run again")
    sums = cells[counted].groupby(label)[SUMS].sum().reindex(names, fill_value=0)
    classes = sums.assign(padding=sums.pop("padded") / sums.pop("window"))  # NaN without clips
    return classes.rename_axis("class").reset_index(), total, index


def natural(name: str) -> tuple[int, float, str]:
    """Return a sort key: numbers by value, then words alphabetically (octaves -1, 0, ..., 10)."""
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    # float() accepts "nan", which cannot be ordered: a class of that name counts as a word.
    return (1, 0.0, name) if math.isnan(number) else (0, number, name)
