import numpy as np
import pandas as pd
import pytest

from audio_neurons import tables
from audio_neurons.activations import units
from audio_neurons.activations.rows import read
from audio_neurons.tables import TableError

NEURONS = 6


def dataset(clips: int = 200, seed: int = 0) -> pd.DataFrame:
    """Clips of 40 speakers in two splits and two labels; 7 tokens each."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "split": rng.choice(["train", "test"], clips),
            "fold": rng.integers(0, 2, clips),
            "group": [f"s{n}" for n in rng.integers(0, 40, clips)],
            "kind": rng.choice(["dog", "cat"], clips),
            "octave": rng.choice(["-1", "9", "10"], clips),
            "active": list(rng.integers(0, 8, (clips, NEURONS)).astype(np.int32)),
        }
    )


def write_shard(folder, frame, neurons: int = NEURONS):
    # Like a clips table, whose columns outside the schema are labels.
    described = frame[["split", "fold", "group", "kind", "octave"]]
    tally = units.Tally(described, ["kind", "octave"], neurons, folder)
    for start in range(0, len(frame), 3):
        active = np.stack(frame["active"].iloc[start : start + 3].to_list())[:, :neurons]
        tally.add(start, active)
    clips = np.ones(len(frame), np.int64)
    tally.write(folder, 7 * clips, 2 * clips, window=9, neurons=2)
    return folder / "units.parquet"


def merged(folder, parts):
    units.merge([write_shard(folder / str(i), part) for i, part in enumerate(parts)], folder / "out.parquet")
    return (folder / "out.parquet").read_bytes()


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_any_division_into_shards_in_any_order_merges_to_the_same_bytes(tmp_path, monkeypatch, rows):
    frame = dataset()
    monkeypatch.setattr(units, "ROWS", rows)
    one = merged(tmp_path / "one", [frame])
    assert one == (tmp_path / "one" / "0" / "units.parquet").read_bytes()
    five = [frame.iloc[i::5] for i in range(5)]
    assert merged(tmp_path / "five", five) == one
    assert merged(tmp_path / "shuffled", [five[i] for i in (3, 0, 4, 2, 1)]) == one
    assert merged(tmp_path / "rows", [frame.sample(frac=1, random_state=0), frame.iloc[:0]]) == one


def test_nothing_but_the_tables_is_left(tmp_path):
    write_shard(tmp_path / "a", dataset(9))
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "cells.parquet", "counts.parquet", "units.parquet",
    ]  # fmt: skip


def test_shards_of_other_neurons_do_not_merge(tmp_path):
    frame = dataset()
    parts = [write_shard(tmp_path / "a", frame), write_shard(tmp_path / "b", frame, NEURONS - 2)]
    with pytest.raises(TableError, match=r"out\.parquet: shards count different neurons; delete them"):
        units.merge(parts, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("splits", [None, ["train"], ["test", "valid"]])
def test_groups_and_classes_of_a_label(tmp_path, splits):
    frame = dataset()
    found = read(write_shard(tmp_path, frame), "octave", splits)
    assert found.classes == ("-1", "9", "10")
    assert found.active.dtype == np.uint32
    counted = frame if splits is None else frame[frame["split"].isin(splits)]
    expected = counted.groupby(["group", "octave"])["active"]
    assert len(found.tokens) == len(expected)
    names = sorted(counted["group"].unique())
    seen = set()
    for active, tokens, label, group in zip(
        found.active, found.tokens, found.labels, found.groups, strict=True
    ):
        clips = expected.get_group((names[group], found.classes[label]))
        assert tokens == 7 * len(clips)
        np.testing.assert_array_equal(active, sum(clips))
        seen.add((group, label))
    assert len(seen) == len(expected)


def test_a_class_of_other_splits_is_named_and_has_no_row(tmp_path):
    frame = dataset()
    frame.loc[frame["octave"] == "9", "split"] = "valid"
    found = read(write_shard(tmp_path, frame), "octave", ["train"])
    assert found.classes == ("-1", "9", "10")
    assert set(found.labels) == {0, 2}


def test_an_unknown_label_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(TableError, match="no label 'pitch'; there are kind, octave"):
        read(write_shard(tmp_path, dataset(5)), "pitch", None)


@pytest.mark.parametrize("reading", [lambda p: read(p, "kind", None), lambda p: units.merge([p], p)])
def test_units_must_have_the_same_neurons(tmp_path, reading):
    rows = {"split": "train", "fold": 0, "group": ["a", "b"], "clips": 1, "tokens": 7, "kind": "dog"}
    tables.write(tmp_path / "u.parquet", "units", pd.DataFrame(rows | {"active": [[1, 2], [1]]}))
    with pytest.raises(TableError, match=r"u\.parquet: not the same neurons in every unit"):
        reading(tmp_path / "u.parquet")


def test_large_counts_are_kept(tmp_path):
    rows = {"split": "train", "fold": [0, 1], "group": "a", "clips": 1, "tokens": 2**31, "kind": "dog"}
    frame = pd.DataFrame(rows | {"active": [[2**31, 1], [2**30, 2]]})
    tables.write(tmp_path / "u.parquet", "units", frame)
    found = read(tmp_path / "u.parquet", "kind", None)
    assert found.active.tolist() == [[2**31 + 2**30, 3]]
    assert found.tokens.tolist() == [2**32]
