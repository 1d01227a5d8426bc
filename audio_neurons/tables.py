"""Tables of the workflow and their schemas, which are checked on write and on read.

Every table is a Parquet file (zstd) that pandas, DuckDB or Polars reads without this package.
``SCHEMAS`` lists the columns of each table; tables of clips, cells and units have one more string
column per label of the dataset. The key ``audio_neurons`` of a file's metadata says how it was made
(:mod:`audio_neurons.running.provenance`).
"""

from __future__ import annotations

import itertools
import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audio_neurons.running import provenance
from audio_neurons.running.files import atomic
from audio_neurons.running.rates import SAMPLE_RATE as SAMPLE_RATE

FORMAT = {"compression": "zstd", "write_page_checksum": True}
REMEDY = "delete it and run the workflow again"


class TableError(ValueError):
    """A table does not have the columns or types of its schema, or cannot be read."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


_NEURON = {"layer": pa.int16(), "neuron": pa.int32()}
_OUTCOME = {"class": pa.string(), "prediction": pa.string(), "log_probability": pa.float64()}

SCHEMAS: dict[str, pa.Schema] = {
    # One row per clip: mono FLAC at 16 kHz, full length; extraction crops and pads.
    "clips": _schema(
        clip_id=pa.string(),
        audio=pa.binary(),
        frames=pa.int64(),
        split=pa.string(),
        fold=pa.int16(),
        group=pa.string(),
    ),
    # One row per recording that preparation did not use, with the reason.
    "rejected": _schema(clip_id=pa.string(), reason=pa.string()),
    # One row per label, class and split: clips that there are, that the sample drew (all, without one), and
    # that are stored. Label and class "*" stand for all clips.
    "inventory": _schema(
        label=pa.string(),
        **{"class": pa.string()},
        split=pa.string(),
        available=pa.int64(),
        drawn=pa.int64(),
        clips=pa.int64(),
    ),
    # One row per recording, as it is before preparation; see `recordings.facts.Facts`.
    "facts": _schema(
        clip_id=pa.string(),
        format=pa.string(),
        encoding=pa.string(),
        rate=pa.int32(),
        channels=pa.int32(),
        seconds=pa.float64(),
        kept=pa.float64(),
        peak=pa.float64(),
        rms=pa.float64(),
        heard_peak=pa.float64(),
        heard_rms=pa.float64(),
        silence=pa.float64(),
        clipped=pa.float64(),
        mixdown=pa.float64(),
        halvings=pa.int16(),
        digest=pa.string(),
        problem=pa.string(),
    ),
    # One row per result of a check of a dataset's recordings.
    "checks": _schema(
        dataset=pa.string(),
        check=pa.string(),
        level=pa.string(),
        label=pa.string(),
        affected=pa.int64(),
        message=pa.string(),
        examples=pa.list_(pa.string()),
    ),
    # One row per cell: a combination of split, fold and labels that occurs in the dataset.
    "cells": _schema(
        cell=pa.int32(),
        split=pa.string(),
        fold=pa.int16(),
        clips=pa.int64(),
        tokens=pa.int64(),
        window=pa.int64(),
        padded=pa.int64(),
    ),
    # One row per cell and neuron: number of the cell's tokens on which the neuron is active.
    "counts": _schema(cell=pa.int32(), **_NEURON, active=pa.int64()),
    # One row per neuron and rank: the clips with the neuron's highest peak activation, the time of the
    # peak, and the share of the clip's tokens on which the neuron is active.
    "top_clips": _schema(
        **_NEURON,
        rank=pa.int16(),
        clip_id=pa.string(),
        activation=pa.float32(),
        seconds=pa.float32(),
        response=pa.float32(),
    ),
    # One row per neuron, sample and rank: clips that stand for the neuron, with its trace over the excerpt.
    "examples": _schema(
        **_NEURON,
        sample=pa.string(),
        rank=pa.int16(),
        clip_id=pa.string(),
        activation=pa.float32(),
        seconds=pa.float32(),
        response=pa.float32(),
        excerpt=pa.int16(),
        trace=pa.list_(pa.uint8()),
        step=pa.float32(),
        scale=pa.float32(),
        active_clips=pa.int32(),
        drawn_clips=pa.int32(),
    ),
    # One row per drawn clip and rank: the neurons that it excites most.
    "excited": _schema(
        clip_id=pa.string(), rank=pa.int16(), **_NEURON, score=pa.float32(), activation=pa.float32()
    ),
    # One row per clip that is shown for some neuron, with its labels.
    "shown": _schema(clip_id=pa.string(), split=pa.string(), group=pa.string(), frames=pa.int32()),
    # One row per excerpt of a clip: its sound, and its spectrogram.
    "excerpts": _schema(
        clip_id=pa.string(),
        excerpt=pa.int16(),
        start=pa.float64(),
        seconds=pa.float64(),
        shown=pa.int64(),
        sound=pa.binary(),
        spectrogram=pa.binary(),
    ),
    # One row per neuron: its median activation over sampled tokens of training clips.
    "medians": _schema(**_NEURON, median=pa.float32()),
    # One row per layer of a model: the feed-forward network, its block, and its number there.
    "networks": _schema(
        layer=pa.int16(), block=pa.int16(), ffn=pa.int16(), network=pa.string(), neurons=pa.int32()
    ),
    # One row: mean and standard deviation of the log-mel over training clips (norm_stats: dataset).
    "norm_stats": _schema(mean=pa.float64(), std=pa.float64(), clips=pa.int64()),
    # One row per clip: mean over time of the encoder's frame features.
    "embeddings": _schema(clip_id=pa.string(), embedding=pa.list_(pa.float32())),
    # One row per clip: number of active tokens of every neuron, layer-major (optional; for resampling).
    "responses": _schema(clip_id=pa.string(), tokens=pa.int32(), active=pa.list_(pa.uint16())),
    # One row per clip: what it sounds like (optional), by the features of `activations.acoustics`; hats are
    # the means of hat functions.
    "acoustics": _schema(
        clip_id=pa.string(),
        tokens=pa.int32(),
        sounding=pa.int32(),
        voiced=pa.int32(),
        loudness=pa.float64(),
        centroid=pa.float64(),
        flatness=pa.float64(),
        f0=pa.float64(),
        voicing=pa.float64(),
        **{f"band_{i}": pa.float64() for i in range(1, 9)},
        f0_hats=pa.list_(pa.float64()),
        loudness_hats=pa.list_(pa.float64()),
    ),
    # One row per split, feature and neuron: sums over tokens where the feature is defined, in its steps.
    "acoustic_sums": _schema(
        split=pa.string(),
        feature=pa.string(),
        **_NEURON,
        tokens=pa.int64(),
        total=pa.int64(),
        squares=pa.int64(),
        active=pa.int64(),
        product=pa.int64(),
    ),
    # One row per split ("*": all), feature and neuron: correlation of being active with the feature.
    "correlations": _schema(
        split=pa.string(),
        feature=pa.string(),
        **_NEURON,
        tokens=pa.int64(),
        rate=pa.float64(),
        correlation=pa.float64(),
    ),
    # One row per neuron, class that it is assigned to, and family of acoustics: what stays of its effect.
    "acoustic_neurons": _schema(
        **_NEURON,
        **{"class": pa.string()},
        family=pa.string(),
        effect=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        kept=pa.float64(),
        kept_low=pa.float64(),
        kept_high=pa.float64(),
        stays=pa.float64(),
        stays_low=pa.float64(),
        stays_high=pa.float64(),
        reason=pa.string(),
    ),
    # One row per class and family of acoustics: the same over the neurons of the class.
    "acoustic_classes": _schema(
        **{"class": pa.string()},
        family=pa.string(),
        neurons=pa.int64(),
        clips=pa.int64(),
        groups=pa.int64(),
        regressors=pa.int64(),
        untold=pa.float64(),
        effect=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        kept=pa.float64(),
        kept_low=pa.float64(),
        kept_high=pa.float64(),
        stays=pa.float64(),
        stays_low=pa.float64(),
        stays_high=pa.float64(),
        reason=pa.string(),
    ),
    # One row per cell and group: number of active tokens of every neuron, layer-major.
    "units": _schema(
        split=pa.string(),
        fold=pa.int16(),
        group=pa.string(),
        clips=pa.int64(),
        tokens=pa.int64(),
        active=pa.list_(pa.uint32()),
    ),
    # One row per neuron and class: response (p_c), and whether the neuron is specific to the class.
    "neurons": _schema(
        **_NEURON,
        **{"class": pa.string()},
        response=pa.float64(),
        entropy=pa.float64(),
        selected=pa.bool_(),
        eligible=pa.bool_(),
        assigned=pa.bool_(),
    ),
    # One row per class of a task.
    "classes": _schema(
        **{"class": pa.string()},
        clips=pa.int64(),
        tokens=pa.int64(),
        padding=pa.float64(),
        neurons=pa.int64(),
        covered=pa.bool_(),
    ),
    # One row per pair of classes of a comparison.
    "sharing": _schema(
        class_a=pa.string(),
        class_b=pa.string(),
        matched=pa.bool_(),
        neurons_a=pa.int64(),
        neurons_b=pa.int64(),
        common=pa.int64(),
        ratio=pa.float64(),
        pool_a=pa.int64(),
        pool_b=pa.int64(),
        pool=pa.int64(),
        expected=pa.float64(),
        p_value=pa.float64(),
    ),
    # One row per statistic of a task or a comparison: its null distribution under permuted labels, its
    # interval under resampled groups, and the sharing between halves of the groups. NaN where a column
    # does not apply to the statistic.
    "inference": _schema(
        statistic=pa.string(),
        class_a=pa.string(),
        class_b=pa.string(),
        groups=pa.int64(),
        value=pa.float64(),
        null_mean=pa.float64(),
        null_low=pa.float64(),
        null_high=pa.float64(),
        alternative=pa.string(),
        p_value=pa.float64(),
        p_greater=pa.float64(),
        p_less=pa.float64(),
        family=pa.string(),
        q_value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        repeatability=pa.float64(),
    ),
    # One row per statistic and resample of the groups; NaN where a resample does not define the statistic.
    # The same `draw` is the same resample in all models of a task.
    "draws": _schema(statistic=pa.string(), draw=pa.int32(), value=pa.float64()),
    # One row per pair of classes of a comparison: its ratio, and those in all draws, by draw number.
    "pair_draws": _schema(
        class_a=pa.string(),
        class_b=pa.string(),
        matched=pa.bool_(),
        value=pa.float64(),
        permuted=pa.list_(pa.float64()),
        resampled=pa.list_(pa.float64()),
    ),
    # One row per neuron and class: the neuron's entropy under permuted labels, and how often it is
    # selected, and assigned to the class, when groups are resampled.
    "stability": _schema(
        **_NEURON,
        **{"class": pa.string()},
        null_entropy=pa.float64(),
        p_value=pa.float64(),
        pooled_p=pa.float64(),
        q_value=pa.float64(),
        selected=pa.float64(),
        assigned=pa.float64(),
    ),
    # One row per logged training step.
    "training": _schema(step=pa.int32(), loss=pa.float64(), learning_rate=pa.float64()),
    # One row per evaluation during training and class of the evaluation set, with its number of clips.
    "evaluation": _schema(
        step=pa.int32(), **{"class": pa.string()}, clips=pa.int64(), average_precision=pa.float64()
    ),
    # One row per file of a folder of training recordings; paths are relative to the folder.
    "recordings": _schema(clip_id=pa.string(), path=pa.string(), split=pa.string(), tags=pa.string()),
    # One row per clip and probe seed: prediction of a linear probe that was not trained on the clip.
    "probes": _schema(
        clip_id=pa.string(),
        split=pa.string(),
        fold=pa.int16(),
        seed=pa.int32(),
        **_OUTCOME,
    ),
    # One row per condition, probe and class ("*": all clips): change against no intervention.
    "ablation": _schema(
        condition=pa.string(),
        set=pa.string(),
        kind=pa.string(),
        targets=pa.string(),
        control=pa.string(),
        draw=pa.int32(),
        gain=pa.float64(),
        replacement=pa.string(),
        neurons=pa.int64(),
        first_layer=pa.int16(),
        selection_split=pa.string(),
        probe=pa.string(),
        **{"class": pa.string()},
        target=pa.bool_(),
        n=pa.int64(),
        groups=pa.int64(),
        accuracy_before=pa.float64(),
        accuracy=pa.float64(),
        delta=pa.float64(),
        mcnemar_p=pa.float64(),
        flip_p=pa.float64(),
        logprob_before=pa.float64(),
        logprob_delta=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        excess=pa.float64(),
        excess_low=pa.float64(),
        excess_high=pa.float64(),
        auroc_before=pa.float64(),
        auroc=pa.float64(),
        auroc_delta=pa.float64(),
        specificity=pa.float64(),
        controls=pa.int64(),
        controls_limit=pa.int64(),
        delta_p=pa.float64(),
        logprob_p=pa.float64(),
        specificity_p=pa.float64(),
        auroc_p=pa.float64(),
    ),
    # One row per set, control, gain, replacement, probe, true class and predicted class: numbers of clips.
    "confusion": _schema(
        set=pa.string(),
        kind=pa.string(),
        targets=pa.string(),
        control=pa.string(),
        gain=pa.float64(),
        replacement=pa.string(),
        draws=pa.int32(),
        neurons=pa.int64(),
        probe=pa.string(),
        **{"class": pa.string()},
        prediction=pa.string(),
        before=pa.float64(),
        clips=pa.float64(),
        lost=pa.float64(),
        gained=pa.float64(),
        mcnemar_p=pa.float64(),
    ),
    # One row per condition, probe seed and clip.
    "ablation_clips": _schema(condition=pa.string(), seed=pa.int32(), clip_id=pa.string(), **_OUTCOME),
    # One row per neuron of every ablated set and control.
    "ablation_sets": _schema(set=pa.string(), control=pa.string(), draw=pa.int32(), **_NEURON),
    # One row per neuron and class ("*": all clips): estimated change of the true class's log-probability
    # if the neuron is zeroed, and the exact change where it was measured (else NaN).
    "screening": _schema(**_NEURON, **{"class": pa.string()}, estimate=pa.float64(), exact=pa.float64()),
    # One row per class ("*": all clips): Spearman correlation of estimated and exact change.
    "screening_check": _schema(
        **{"class": pa.string()},
        clips=pa.int64(),
        neurons=pa.int64(),
        spearman=pa.float64(),
        p_value=pa.float64(),
    ),
    # One row per expectation and model: whether a pattern that somebody expects is found.
    "expectations": _schema(
        expectation=pa.string(),
        statement=pa.string(),
        tasks=pa.string(),
        comparison=pa.string(),
        model=pa.string(),
        model_title=pa.string(),
        kind=pa.string(),
        model_against=pa.string(),
        reported=pa.bool_(),
        quantity=pa.string(),
        direction=pa.string(),
        pairs_inside=pa.float64(),
        pairs_against=pa.float64(),
        pairs_absent=pa.float64(),
        inside=pa.float64(),
        against=pa.float64(),
        effect=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        relative=pa.float64(),
        label_p=pa.float64(),
        label_p_less=pa.float64(),
        identity_p=pa.float64(),
        identity_p_less=pa.float64(),
        identities=pa.float64(),
        identity_floor=pa.float64(),
        q_value=pa.float64(),
        verdict=pa.string(),
        reason=pa.string(),
        standing=pa.string(),
        source=pa.string(),
    ),
}

# Tables that have one more string column per label of the dataset.
LABELLED = {"clips", "cells", "units", "shown"}


def labels_of(name: str, columns: Sequence[str]) -> list[str]:
    """Return the label columns of a table of `LABELLED`, in the table's order."""
    return [c for c in columns if c not in SCHEMAS[name].names]


def schema_of(name: str, labels: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow schema of table ``name``, with the label columns ``labels`` appended."""
    schema = SCHEMAS[name]
    for label in labels:
        schema = schema.append(pa.field(label, pa.string(), nullable=False))
    return schema


def _conform(table: pa.Table, name: str, where: str) -> pa.Table:
    labels = labels_of(name, table.column_names) if name in LABELLED else []
    wanted = schema_of(name, labels)
    if missing := [c for c in wanted.names if c not in table.column_names]:
        raise TableError(f"{where}: a '{name}' table needs column(s) {', '.join(missing)}")
    if extra := [c for c in table.column_names if c not in wanted.names]:
        raise TableError(f"{where}: a '{name}' table has no column(s) {', '.join(extra)}")
    table = table.select(wanted.names)
    _refuse_gaps(table, name, where)
    try:
        return table.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise TableError(f"{where}: not a '{name}' table: {error}") from error


def _refuse_gaps(table: pa.Table, name: str, where: str) -> None:
    """Reject nulls; NaN is allowed (the entropy of a neuron that is never active)."""
    for column, values in zip(table.column_names, table.columns, strict=True):
        if values.null_count:
            raise TableError(f"{where}: column '{column}' of a '{name}' table has missing values")


def write(path: str | os.PathLike, name: str, data: pd.DataFrame | pa.Table) -> None:
    """Write ``data`` atomically as table ``name``, checked against its schema."""
    if isinstance(data, pd.DataFrame):
        if data.empty:  # columns without rows have no useful type
            data = data.astype(object)
        data = pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata(None)
        data = _nan_for_null(data)
    table = _conform(data, name, os.fspath(path))
    with _parquet(path, table.schema, table=name) as parquet:
        parquet.write_table(table)


def write_frame(path: str | os.PathLike, csv: str | os.PathLike, data: pd.DataFrame) -> None:
    """Write a table that has no schema as Parquet and as CSV (numbers to six significant digits)."""
    table = pa.Table.from_pandas(data, preserve_index=False)
    with _parquet(path, table.schema) as parquet:
        parquet.write_table(table)
    with atomic(csv) as temporary:
        data.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read_frame(path: str | os.PathLike) -> pd.DataFrame:
    """Read a Parquet file of :func:`write_frame`.

    Raises
    ------
    TableError
        If the file is damaged.
    """
    with _damage_named(path):
        return pq.read_table(path, page_checksum_verification=True).to_pandas()


@contextmanager
def _parquet(path: str | os.PathLike, schema: pa.Schema, **told: str) -> Iterator[pq.ParquetWriter]:
    """Write a file atomically; its metadata holds its provenance and the entries of ``told``."""
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, schema, use_dictionary=_repeating(schema), **FORMAT) as parquet,
    ):
        parquet.add_key_value_metadata({provenance.KEY: provenance.stamp(**told)})
        yield parquet


def _repeating(schema: pa.Schema) -> list[str]:
    """Return the paths of columns whose values repeat. Those of lists of float32 (embeddings) hardly do."""
    lists = [pa.types.is_list(field.type) for field in schema]
    return [
        f"{field.name}.list.element" if listed else field.name
        for field, listed in zip(schema, lists, strict=True)
        if not (listed and pa.types.is_float32(field.type.value_type))
    ]


def _nan_for_null(table: pa.Table) -> pa.Table:
    """Turn nulls of float columns back into NaN: conversion from pandas makes NaN null."""
    for index, column in enumerate(table.columns):
        if pa.types.is_floating(column.type) and column.null_count:
            table = table.set_column(index, table.field(index), column.fill_null(float("nan")))
    return table


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())  # Arrow's messages have line breaks


def made_by(path: str | os.PathLike) -> dict | None:
    """Return the provenance that a table records, or None.

    Raises
    ------
    TableError
        If it is damaged.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return json.loads(metadata[provenance.KEY.encode()]) if provenance.KEY.encode() in metadata else None
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise TableError(f"{path}: damaged ({_in_a_line(error)}); {REMEDY}") from error


@contextmanager
def writer(path: str | os.PathLike, name: str, labels: Sequence[str] = ()) -> Iterator[Writer]:
    """Stream rows to table ``name``, one row group per ``append``; the file appears only when complete."""
    schema = schema_of(name, labels)
    with _parquet(path, schema, table=name) as parquet:
        yield Writer(parquet, schema, name, os.fspath(path))


class Writer:
    """Handle that appends blocks of rows to a table, as :func:`writer` yields it."""

    def __init__(self, parquet: pq.ParquetWriter, schema: pa.Schema, name: str, where: str):
        self._parquet, self._schema, self._name, self._where = parquet, schema, name, where

    def append(self, columns: dict[str, Sequence] | pa.Table) -> None:
        """Check a block of rows against the schema, and write it."""
        if isinstance(columns, dict):
            try:
                columns = pa.table({f.name: pa.array(columns[f.name], f.type) for f in self._schema})
            except KeyError as error:
                raise TableError(f"{self._where}: a '{self._name}' table needs column {error}") from error
        self._parquet.write_table(_conform(columns, self._name, self._where))


def open_table(path: str | os.PathLike, name: str) -> pq.ParquetFile:
    """Open a table to read it in parts, after checking its columns.

    Raises
    ------
    TableError
        If the file is not readable Parquet or has other columns than the schema.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        empty = file.schema_arrow.empty_table()
        _ = empty.column_names  # decodes the names, which fails if they are damaged
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a readable Parquet file ({error}); {REMEDY}") from error
    try:
        conformed = _conform(empty, name, os.fspath(path))
    except TableError as error:
        raise TableError(f"{error}; {REMEDY}") from error
    for field in conformed.schema:
        if (kind := empty.schema.field(field.name).type) != field.type:
            raise TableError(
                f"{path}: column '{field.name}' of a '{name}' table is {kind}, not {field.type}; {REMEDY}"
            )
    return file


def read(path: str | os.PathLike, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read table ``name`` into pandas, checked against its schema.

    Raises
    ------
    TableError
        If the file is corrupt or has other columns than the schema.
    """
    with open_table(path, name) as file, _damage_named(path):
        table = file.read(columns=list(columns) if columns else None)
        _refuse_gaps(table, name, os.fspath(path))
        return table.to_pandas()


def read_all(paths: Sequence[str | os.PathLike], name: str) -> pd.DataFrame:
    """Read several tables ``name`` as one; without any, one without rows."""
    empty = schema_of(name).empty_table().to_pandas()
    return pd.concat([read(path, name) for path in paths], ignore_index=True) if paths else empty


def blocks(
    path: str | os.PathLike, name: str, size: int, columns: Sequence[str]
) -> Iterator[dict[str, list]]:
    """Yield table ``name`` in blocks of at most ``size`` rows: column → values.

    Raises
    ------
    TableError
        As :func:`read`. Damage further on in the file is raised when iteration gets there.
    """
    rest = None
    with open_table(path, name) as file, _damage_named(path):
        # One row group at a time: `iter_batches` would keep all that it has read until the end.
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns))
            _refuse_gaps(table, name, os.fspath(path))
            rest = pa.concat_tables([rest, table]) if rest else table
            while len(rest) >= size:
                yield rest[:size].to_pydict()
                rest = rest[size:]
        if rest:
            yield rest.to_pydict()


class Rows:
    """Rows of table ``name`` by number, for which only the row groups that hold them are read.

    Raises
    ------
    TableError
        As :func:`blocks`.
    """

    def __init__(self, path: str | os.PathLike, name: str):
        self._path, self._name, self._file = path, name, open_table(path, name)
        of = self._file.metadata
        self._ends = list(itertools.accumulate(of.row_group(i).num_rows for i in range(of.num_row_groups)))

    def read(self, first: int, end: int, columns: Sequence[str]) -> dict[str, list]:
        """Return rows ``first`` to ``end``, without that one: column → values."""
        groups = range(bisect_right(self._ends, first), bisect_left(self._ends, end) + 1)
        groups = groups[: len(self._ends) - groups.start]
        before = self._ends[groups.start - 1] if groups.start else 0
        with _damage_named(self._path):
            table = self._file.read_row_groups(groups, columns=list(columns), use_threads=False)
            _refuse_gaps(table, self._name, os.fspath(self._path))
            return table.slice(first - before, end - first).to_pydict()


def row_groups(path: str | os.PathLike, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield Arrow record batches of table ``name``, reading one row group at a time.

    Raises
    ------
    TableError
        As :func:`blocks`.
    """
    with open_table(path, name) as file, _damage_named(path):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns))
            _refuse_gaps(table, name, os.fspath(path))
            yield from table.to_batches()


def runs(
    path: str | os.PathLike, name: str, key: str, columns: Sequence[str]
) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield each value of ``key`` and its rows of table ``name``, in which they lie together.

    Only one run of rows is held at a time: a ``neurons`` table of 1,251 classes and 36,864 neurons has 46
    million rows, which take several GB.

    Raises
    ------
    TableError
        As :func:`blocks`.
    """
    waiting: list[pd.DataFrame] = []
    last: Any = None
    for batch in row_groups(path, name, [key, *columns]):
        for value, rows in batch.to_pandas().groupby(key, sort=False):
            if waiting and value != last:
                yield last, pd.concat(waiting, ignore_index=True)
                waiting = []
            waiting.append(rows)
            last = value
    if waiting:
        yield last, pd.concat(waiting, ignore_index=True)


@contextmanager
def _damage_named(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: damaged ({_in_a_line(error)}); {REMEDY}") from error


def size(path: str | os.PathLike) -> int:
    """Return the number of rows, reading only the file's footer."""
    return pq.ParquetFile(Path(path)).metadata.num_rows
