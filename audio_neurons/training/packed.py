"""Pools too large for memory: clips in memory-mapped Arrow files, with random access to every clip.

The rows are those of the table ``clips``. From Parquet, one clip needs a whole row group, 64 times too much
for clips drawn at random from millions. From an Arrow file, only the bytes of the clip are read, and the
operating system caches what fits in memory. ``pandas.read_feather`` reads the files, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa

from audio_neurons import tables
from audio_neurons.running.files import atomic

SUFFIX = ".arrow"
LABEL = "tags"
SCHEMA = tables.schema_of("clips", [LABEL])
ROWS = 64  # clips per record batch: some 10 MB


class Append(Protocol):
    """Function that appends one clip: column → value."""

    def __call__(self, row: Mapping[str, object]) -> None: ...


@contextmanager
def writer(path: str | os.PathLike) -> Iterator[Append]:
    """Write clips to a part one by one; the file is complete or not written at all."""
    with atomic(path) as temporary:
        rows: list[Mapping] = []
        with pa.ipc.new_file(str(temporary), SCHEMA) as file:

            def flush() -> None:
                file.write_batch(pa.RecordBatch.from_pylist(rows, SCHEMA))
                rows.clear()

            def append(row: Mapping) -> None:
                rows.append(row)
                if len(rows) == ROWS:
                    flush()

            yield append
            flush()


def mapped(path: str | os.PathLike) -> pa.Table:
    """Return the clips of a part, mapped into memory: data are read on access.

    Raises
    ------
    TableError
        If the file is damaged or of another kind.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(os.fspath(path))).read_all()
    except pa.ArrowInvalid as error:
        raise tables.TableError(f"{path}: not a readable Arrow file ({error}); {tables.REMEDY}") from error
    if table.schema != SCHEMA:
        raise tables.TableError(f"{path}: not clips of a pool ({table.schema.names}); {tables.REMEDY}")
    return table


def column(parts: Sequence[pa.Table], name: str) -> list:
    """Return one column of all parts."""
    return [value for part in parts for value in part[name].to_pylist()]
