"""Tables of the workflow: their schemas, checked on write and on read.

Every table is Parquet (zstd), self-describing, and readable with pandas, DuckDB or Polars alone.
``SCHEMAS`` names each table's columns; tables of clips, cells and units carry further string columns,
one per label of the dataset. The key ``audio_neurons`` of a file's metadata says how it was made
(:mod:`audio_neurons.provenance`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audio_neurons import provenance
from audio_neurons.files import atomic

SAMPLE_RATE = 16_000
FORMAT = {"compression": "zstd", "write_page_checksum": True}
REMEDY = "delete it and run the workflow again"


class TableError(ValueError):
    """A table does not have the columns or types of its schema, or cannot be read."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


_NEURON = {"layer": pa.int16(), "neuron": pa.int32()}
_OUTCOME = {"class": pa.string(), "prediction": pa.string(), "log_probability": pa.float64()}

SCHEMAS: dict[str, pa.Schema] = {
    # One row per clip: mono FLAC at 16 kHz, whole; cropping and padding belong to extraction.
    "clips": _schema(
        clip_id=pa.string(),
        audio=pa.binary(),
        frames=pa.int64(),
        split=pa.string(),
        fold=pa.int16(),
        group=pa.string(),
    ),
    # One row per recording that preparation refused.
    "rejected": _schema(clip_id=pa.string(), reason=pa.string()),
    # One row per cell: a combination of split, fold and labels that occurs.
    "cells": _schema(
        cell=pa.int32(), split=pa.string(), fold=pa.int16(), clips=pa.int64(), tokens=pa.int64()
    ),
    # One row per cell and neuron: on how many of the cell's tokens it is active.
    "counts": _schema(cell=pa.int32(), **_NEURON, active=pa.int64()),
    # One row per neuron and rank: its strongest clips by peak activation, when in the clip it peaks,
    # and the share of the clip's tokens on which it is active.
    "top_clips": _schema(
        **_NEURON,
        rank=pa.int16(),
        clip_id=pa.string(),
        activation=pa.float32(),
        seconds=pa.float32(),
        response=pa.float32(),
    ),
    # One row per neuron: its median activation over sampled tokens of training clips.
    "medians": _schema(**_NEURON, median=pa.float32()),
    # One row per clip: mean over time of the encoder's frame features.
    "embeddings": _schema(clip_id=pa.string(), embedding=pa.list_(pa.float32())),
    # One row per clip: active tokens of every neuron, layer-major (optional; for resampling nulls).
    "responses": _schema(clip_id=pa.string(), tokens=pa.int32(), active=pa.list_(pa.uint16())),
    # One row per cell and group: active tokens of every neuron, layer-major.
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
        assigned=pa.bool_(),
    ),
    # One row per class of a task.
    "classes": _schema(
        **{"class": pa.string()}, clips=pa.int64(), tokens=pa.int64(), neurons=pa.int64(), covered=pa.bool_()
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
        pool=pa.int64(),
        expected=pa.float64(),
        p_value=pa.float64(),
    ),
    # One row per statistic of a task or a comparison: its null under permuted labels, its interval under
    # resampled groups, and what halves of the groups share. NaN where a column has no meaning for it.
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
        p_other=pa.float64(),
        family=pa.string(),
        q_value=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        ceiling=pa.float64(),
    ),
    # One row per statistic and resample of the groups; NaN where a resample has no such value. The same
    # number is the same resample in all models of a task.
    "draws": _schema(statistic=pa.string(), draw=pa.int32(), value=pa.float64()),
    # One row per neuron and class: the neuron's entropy under permuted labels, and how often it is
    # chosen, and specific to the class, when groups are resampled.
    "stability": _schema(
        **_NEURON,
        **{"class": pa.string()},
        null_entropy=pa.float64(),
        p_value=pa.float64(),
        q_value=pa.float64(),
        selected=pa.float64(),
        assigned=pa.float64(),
    ),
    # One row per logged step of a training.
    "training": _schema(step=pa.int32(), loss=pa.float64(), learning_rate=pa.float64()),
    # One row per evaluation of a training and class that the evaluation set has, with its clips there.
    "evaluation": _schema(
        step=pa.int32(), **{"class": pa.string()}, clips=pa.int64(), average_precision=pa.float64()
    ),
    # One row per file of a folder of recordings that models are trained on; paths are relative to it.
    "recordings": _schema(clip_id=pa.string(), path=pa.string(), split=pa.string(), tags=pa.string()),
    # One row per clip and probe seed: what a linear probe that never saw the clip says of it.
    "probes": _schema(
        clip_id=pa.string(),
        split=pa.string(),
        fold=pa.int16(),
        seed=pa.int32(),
        **_OUTCOME,
    ),
    # One row per condition, probe and class ("*": all clips): what changed against no intervention.
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
        accuracy_before=pa.float64(),
        accuracy=pa.float64(),
        delta=pa.float64(),
        mcnemar_p=pa.float64(),
        logprob_before=pa.float64(),
        logprob_delta=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        specificity=pa.float64(),
        controls=pa.int64(),
        delta_p=pa.float64(),
        logprob_p=pa.float64(),
        specificity_p=pa.float64(),
    ),
    # One row per condition, probe seed and clip.
    "ablation_clips": _schema(condition=pa.string(), seed=pa.int32(), clip_id=pa.string(), **_OUTCOME),
    # One row per neuron of every set and control that was ablated.
    "ablation_sets": _schema(set=pa.string(), control=pa.string(), draw=pa.int32(), **_NEURON),
    # One row per neuron and class ("*": all clips): estimated change of the true class's log-probability
    # if the neuron were zeroed, and the exact one where it was measured (else NaN).
    "screening": _schema(**_NEURON, **{"class": pa.string()}, estimate=pa.float64(), exact=pa.float64()),
    # One row per class ("*": all clips): Spearman's correlation of estimate and exact change.
    "screening_check": _schema(
        **{"class": pa.string()},
        clips=pa.int64(),
        neurons=pa.int64(),
        spearman=pa.float64(),
        p_value=pa.float64(),
    ),
}

# Tables whose rows are described by the dataset's own labels, one further string column each.
LABELLED = {"clips", "cells", "units"}


def labels_of(name: str, columns: Sequence[str]) -> list[str]:
    """Label columns of a table of clips, cells or units, in the table's order."""
    return [c for c in columns if c not in SCHEMAS[name].names]


def schema_of(name: str, labels: Sequence[str] = ()) -> pa.Schema:
    """Arrow schema of a table, with the dataset's label columns where it carries them."""
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
    """NaN is a value (a neuron never active has no entropy); a missing value is not."""
    for column, values in zip(table.column_names, table.columns, strict=True):
        if values.null_count:
            raise TableError(f"{where}: column '{column}' of a '{name}' table has missing values")


def write(path: str | os.PathLike, name: str, data: pd.DataFrame | pa.Table) -> None:
    """Write ``data`` as table ``name``, checked against its schema; complete or not at all."""
    if isinstance(data, pd.DataFrame):
        if data.empty:  # whose columns have no types of their own
            data = data.astype(object)
        data = pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata(None)
        data = _nan_for_null(data)
    table = _conform(data, name, os.fspath(path))
    with _parquet(path, table.schema, table=name) as parquet:
        parquet.write_table(table)


def write_frame(path: str | os.PathLike, csv: str | os.PathLike, data: pd.DataFrame) -> None:
    """Write a table without a schema, for programs (Parquet) and for people (CSV, numbers to six digits)."""
    table = pa.Table.from_pandas(data, preserve_index=False)
    with _parquet(path, table.schema) as parquet:
        parquet.write_table(table)
    with atomic(csv) as temporary:
        data.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read_frame(path: str | os.PathLike) -> pd.DataFrame:
    """What :func:`write_frame` has written; :class:`TableError` if it is damaged."""
    with _damage_named(path):
        return pq.read_table(path, page_checksum_verification=True).to_pandas()


@contextmanager
def _parquet(path: str | os.PathLike, schema: pa.Schema, **told: str) -> Iterator[pq.ParquetWriter]:
    """A file that says how it was made, and what is ``told``."""
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, **FORMAT) as parquet:
        parquet.add_key_value_metadata({provenance.KEY: provenance.stamp(**told)})
        yield parquet


def _nan_for_null(table: pa.Table) -> pa.Table:
    """pandas' NaN becomes Arrow's null on conversion; in a float column it is a value."""
    for index, column in enumerate(table.columns):
        if pa.types.is_floating(column.type) and column.null_count:
            table = table.set_column(index, table.field(index), column.fill_null(float("nan")))
    return table


@contextmanager
def writer(path: str | os.PathLike, name: str, labels: Sequence[str] = ()) -> Iterator[Writer]:
    """Stream rows to a table, one row group per ``append``; complete or not at all."""
    schema = schema_of(name, labels)
    with _parquet(path, schema, table=name) as parquet:
        yield Writer(parquet, schema, name, os.fspath(path))


class Writer:
    """Appends blocks of rows to a table that is being streamed."""

    def __init__(self, parquet: pq.ParquetWriter, schema: pa.Schema, name: str, where: str):
        self._parquet, self._schema, self._name, self._where = parquet, schema, name, where

    def append(self, columns: dict[str, Sequence] | pa.Table) -> None:
        if isinstance(columns, dict):
            try:
                columns = pa.table({f.name: pa.array(columns[f.name], f.type) for f in self._schema})
            except KeyError as error:
                raise TableError(f"{self._where}: a '{self._name}' table needs column {error}") from error
        self._parquet.write_table(_conform(columns, self._name, self._where))


def open_table(path: str | os.PathLike, name: str) -> pq.ParquetFile:
    """Open a table for reading in parts, after checking its columns."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        empty = file.schema_arrow.empty_table()
        _ = empty.column_names  # damaged ones do not decode
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


def blocks(
    path: str | os.PathLike, name: str, size: int, columns: Sequence[str]
) -> Iterator[dict[str, list]]:
    """Read table ``name`` in blocks of at most ``size`` rows: column → values.

    Raises
    ------
    TableError
        As :func:`read`; on the way, if the damage is further on.
    """
    rest = None
    with open_table(path, name) as file, _damage_named(path):
        # `iter_batches` keeps all that it has read until the end: group by group, one is kept.
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns))
            _refuse_gaps(table, name, os.fspath(path))
            rest = pa.concat_tables([rest, table]) if rest else table
            while len(rest) >= size:
                yield rest[:size].to_pydict()
                rest = rest[size:]
        if rest:
            yield rest.to_pydict()


def row_groups(path: str | os.PathLike, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read table ``name`` one row group at a time, as Arrow's own batches; nothing is read ahead.

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


@contextmanager
def _damage_named(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: damaged ({error}); {REMEDY}") from error


def size(path: str | os.PathLike) -> int:
    """Number of rows, from the file's footer alone."""
    return pq.ParquetFile(Path(path)).metadata.num_rows
