import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audio_neurons import tables
from audio_neurons.tables import TableError

CELLS = {
    "cell": [0, 1],
    "split": ["a", "b"],
    "fold": [0, 1],
    "clips": [3, 4],
    "tokens": [5, 6],
    "window": [9, 9],
    "padded": [4, 3],
}


def rejected(*rows: str) -> pd.DataFrame:
    return pd.DataFrame({"clip_id": list(rows), "reason": "silent"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "t.parquet"


@pytest.mark.parametrize("name", tables.SCHEMAS)
def test_every_table_comes_back_with_its_types(path, name):
    schema = tables.schema_of(name, ["kind"] if name in tables.LABELLED else [])
    values = {
        pa.int16(): [1, 2], pa.int32(): [1, 2], pa.int64(): [1, 2], pa.string(): ["x", "ü"],
        pa.binary(): [b"", b"\0\xff"], pa.bool_(): [True, False], pa.float32(): [0.5, np.nan],
        pa.float64(): [0.1, np.nan], pa.list_(pa.float32()): [[0.5], [1.0]],
        pa.list_(pa.float64()): [[], [0.1, 1.0]],
        pa.list_(pa.string()): [[], ["x", "ü"]],
        pa.list_(pa.uint8()): [[], [0, 255]],
        pa.list_(pa.uint16()): [[], [65535]], pa.list_(pa.uint32()): [[2**32 - 1], [0]],
    }  # fmt: skip
    columns = {f.name: values[f.type] for f in schema}
    tables.write(path, name, pa.table(columns))
    by_write = tables.read(path, name)
    with tables.writer(path, name, ["kind"] if name in tables.LABELLED else []) as writer:
        writer.append({k: v[:1] for k, v in columns.items()})
        writer.append({k: v[1:] for k, v in columns.items()})
    assert pq.ParquetFile(path).num_row_groups == 2
    assert pq.read_schema(path).equals(schema)
    pd.testing.assert_frame_equal(by_write, tables.read(path, name))
    pd.testing.assert_frame_equal(by_write, pd.read_parquet(path))  # readable without this package
    assert tables.size(path) == 2


def test_columns_come_in_the_order_of_the_schema_with_labels_behind(path):
    data = {"kind": ["x", "y"], **dict(reversed(CELLS.items())), "age": ["1", "2"]}
    tables.write(path, "cells", pd.DataFrame(data))
    assert tables.read(path, "cells").columns.tolist() == [*CELLS, "kind", "age"]
    assert tables.labels_of("cells", tables.read(path, "cells").columns) == ["kind", "age"]
    assert tables.read(path, "cells", ["age", "cell"]).columns.tolist() == ["age", "cell"]


def test_nan_is_a_value(path):
    frame = pd.DataFrame(
        {"layer": 0, "neuron": [0, 1], "class": "c", "response": [np.nan, 0.5], "entropy": [0.5, np.nan],
         "selected": True, "eligible": True,
         "assigned": False}
    )  # fmt: skip
    tables.write(path, "neurons", frame)
    assert pq.read_table(path).column("entropy").null_count == 0
    pd.testing.assert_frame_equal(tables.read(path, "neurons"), frame, check_dtype=False)


WRONG = {
    "missing": (
        rejected("a").drop(columns="reason"),
        r"t\.parquet: a 'rejected' table needs column\(s\) reason",
    ),
    "extra": (rejected("a").assign(why="x"), r"t\.parquet: a 'rejected' table has no column\(s\) why"),
    "null": (rejected("a", None), r"t\.parquet: column 'clip_id' of a 'rejected' table has missing values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables_are_not_written(path, case):
    frame, message = WRONG[case]
    with pytest.raises(TableError, match=message):
        tables.write(path, "rejected", frame)
    with pytest.raises(TableError, match=message), tables.writer(path, "rejected") as writer:
        writer.append(pa.Table.from_pandas(frame, preserve_index=False))
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"cell": ["x", "y"]},
        {"clips": [0.5, 1]},
        {"fold": [0, 2**20]},
        {"kind": [1, None]},
        {"cell": [[1], [2]]},
    ],
)
def test_wrong_types_and_values_are_not_written(path, change):
    with pytest.raises(TableError, match=r"t\.parquet: (not a 'cells' table|column 'kind')"):
        tables.write(path, "cells", pa.table({**CELLS, **change}))
    assert not path.exists()


def test_a_writer_needs_every_column(path):
    with (
        pytest.raises(TableError, match=r"t\.parquet: a 'rejected' table needs column 'reason'"),
        tables.writer(path, "rejected") as writer,
    ):
        writer.append({"clip_id": ["a"]})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"clip_id": ["a"]}, "needs column"),
        ({"clip_id": ["a"], "reason": ["b"], "x": [1]}, "has no column"),
        ({"clip_id": [1], "reason": ["b"]}, "column 'clip_id' of a 'rejected' table is int64, not string"),
        ({"clip_id": [[b"a"]], "reason": ["b"]}, "not"),
    ],
)
def test_tables_of_others_are_refused_with_a_remedy(tmp_path, table, message):
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    for read in (tables.read, tables.open_table):
        with pytest.raises(TableError, match=rf"t\.parquet: .*{message}.*; delete it and run the workflow"):
            read(tmp_path / "t.parquet", "rejected")


def test_missing_values_are_refused_on_reading(tmp_path):
    pq.write_table(pa.table({"clip_id": ["a", None], "reason": ["b", "c"]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"t\.parquet: column 'clip_id' .*missing"):
        tables.read(tmp_path / "t.parquet", "rejected")


def test_no_flipped_bit_and_no_truncation_goes_unnoticed(path):
    """Reading a damaged file raises an error with file and remedy, or returns the intact data."""
    frame = rejected(*(f"clip {n}" for n in range(40)))
    tables.write(path, "rejected", frame)
    good = path.read_bytes()
    whole = tables.read(path, "rejected")
    damaged = [good[:n] for n in range(0, len(good), 17)]
    for place in range(len(good)):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        damaged.append(bytes(flipped))
    messages = []
    for data in damaged:
        path.write_bytes(data)
        try:
            pd.testing.assert_frame_equal(tables.read(path, "rejected"), whole)
        except TableError as error:
            messages.append(str(error))
    assert len(messages) > len(damaged) // 2
    assert all(m.startswith(f"{path}: ") and m.endswith(tables.REMEDY) for m in messages)


def test_a_missing_table_is_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        tables.read(path, "rejected")


def test_a_failed_write_leaves_what_was_there_and_nothing_else(path):
    tables.write(path, "rejected", rejected("a"))
    before = path.read_bytes()
    with pytest.raises(TableError), tables.writer(path, "rejected") as writer:
        [writer.append({"clip_id": ["b"], "reason": [reason]}) for reason in ("c", None)]
    with pytest.raises(TableError):
        tables.write(path, "rejected", rejected("a", None))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    path.unlink()
    with pytest.raises(ZeroDivisionError), tables.writer(path, "rejected"):
        raise ZeroDivisionError
    assert os.listdir(path.parent) == []


def test_a_table_without_rows_comes_back(path):
    with tables.writer(path, "cells", ["kind"]):
        pass
    empty = tables.read(path, "cells")
    assert empty.empty
    assert empty.columns.tolist() == [*CELLS, "kind"]


def test_the_same_table_has_the_same_bytes(path):
    written = []
    for _ in range(2):
        tables.write(path, "rejected", rejected("a", "b"))
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_runs_of_a_key_cross_row_groups(path):
    rows = [(0, 5), (0, 6), (1, 5), (1, 6), (2, 5), (2, 6), (0, 7)]
    with tables.writer(path, "counts") as writer:
        for start in range(0, len(rows), 3):
            cell, neuron = (
                np.array(column, np.int32) for column in zip(*rows[start : start + 3], strict=True)
            )
            writer.append(
                {"cell": cell, "layer": 0 * neuron.astype(np.int16), "neuron": neuron, "active": neuron}
            )
    found = [(key, own["neuron"].tolist()) for key, own in tables.runs(path, "counts", "cell", ["neuron"])]
    assert found == [(0, [5, 6]), (1, [5, 6]), (2, [5, 6]), (0, [7])]


def test_blocks_cross_row_groups_and_keep_one_in_memory(path):
    rng = np.random.default_rng(0)
    data = [rng.bytes(20_000) for _ in range(400)]
    with tables.writer(path, "clips") as writer:
        for start in range(0, 400, 5):
            n = 5
            columns = {"clip_id": [str(i) for i in range(start, start + n)], "audio": data[start : start + n]}
            others = {"frames": [1] * n, "split": ["train"] * n, "fold": [0] * n, "group": ["g"] * n}
            writer.append(columns | others)
    before, held, found = pa.total_allocated_bytes(), [], []
    for block in tables.blocks(path, "clips", 7, ["clip_id", "audio"]):
        held.append(pa.total_allocated_bytes() - before)
        found.append(block)
    assert [len(block["audio"]) for block in found] == [7] * 57 + [1]
    assert [flac for block in found for flac in block["audio"]] == data
    # Two or three of the 80 row groups are in memory; Arrow's threads free memory with some delay.
    assert max(held) < 0.2 * path.stat().st_size


def test_rows_are_read_by_number_across_row_groups(path):
    with tables.writer(path, "norm_stats") as writer:
        for group in (range(5), range(5, 6), range(6, 13)):
            clips = list(group)
            writer.append({"mean": [0.5] * len(clips), "std": [1.0] * len(clips), "clips": clips})
    rows = tables.Rows(path, "norm_stats")
    for first in range(14):
        for end in range(first, 15):
            assert rows.read(first, end, ["clips"]) == {"clips": list(range(first, min(end, 13)))}


def test_a_frame_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]})
    tables.write_frame(path, tmp_path / "t.csv", frame)
    pd.testing.assert_frame_equal(tables.read_frame(path), frame)
    for damaged in (b"", path.read_bytes()[:-20]):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match=r"t\.parquet: .* delete it and run the workflow again"):
            tables.read_frame(path)


def test_values_of_embeddings_are_not_looked_up_in_a_dictionary(tmp_path):
    """They hardly repeat: a dictionary makes writing three times as long, and files half as large again."""
    path = tmp_path / "e.parquet"
    frame = pd.DataFrame({"clip_id": ["a", "b"], "embedding": [np.ones(4, np.float32)] * 2})
    tables.write(path, "embeddings", frame)
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i).encodings for i in range(2)}
    assert "RLE_DICTIONARY" in columns["clip_id"]
    assert "RLE_DICTIONARY" not in columns["embedding.list.element"]
