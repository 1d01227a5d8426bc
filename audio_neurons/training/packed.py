"""A pool too large for memory: clips in Arrow files that are mapped, so that any clip is one read away.

The rows are those of the table ``clips``. Parquet would have to read a whole row group for one clip,
64 times too much for clips drawn at random from millions; an Arrow file gives the bytes of one clip, and
the operating system keeps in memory what fits. ``pandas.read_feather`` reads it too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa

from audio_neurons import tables
from audio_neurons.files import atomic

SUFFIX = ".arrow"
LABEL = "tags"
SCHEMA = tables.schema_of("clips", [LABEL])
ROWS = 64  # clips per record batch: some 10 MB


class Append(Protocol):
    """Takes one clip: column → value."""

    def __call__(self, row: Mapping[str, object]) -> None: ...


@contextmanager
def writer(path: str | os.PathLike) -> Iterator[Append]:
    """Write clips to a part one by one; complete or not at all."""
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
    """The clips of a part, of which nothing is read before it is asked for.

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
    """One column of all parts."""
    return [value for part in parts for value in part[name].to_pylist()]
