import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_neurons import tables
from audio_neurons.activations import statistics
from audio_neurons.activations.statistics import (
    class_counts,
    merge,
    natural,
    rank_clips,
    read_counts,
    write_counts,
)

DEPTH, WIDTH = 2, 3
NAMES = ("cells", "counts", "top_clips")


def dataset(clips: int = 40) -> pd.DataFrame:
    """Clips with random counts and peaks (with ties); 7 tokens each."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "clip_id": [f"c{n:02d}" for n in range(clips)],
            "split": rng.choice(["train", "test"], clips),
            "fold": rng.integers(0, 2, clips),
            "kind": rng.choice(["dog", "cat"], clips),
            "octave": rng.choice(["-1", "0", "10"], clips),
        }
    )
    frame["active"] = list(rng.integers(0, 8, (clips, DEPTH * WIDTH)))
    frame["peak"] = list(rng.integers(0, 5, (clips, DEPTH * WIDTH)).astype(np.float32))
    return frame


def write_shard(folder, frame: pd.DataFrame, top: int = 3):
    folder.mkdir(parents=True)
    keys = ["split", "fold", "kind", "octave"]
    groups = list(frame.groupby(keys))
    cells = pd.DataFrame([key for key, _ in groups], columns=keys)
    sizes = [len(g) for _, g in groups]
    cells = cells.assign(cell=range(len(cells)), clips=sizes, tokens=[7 * n for n in sizes])
    cells = cells.assign(window=[9 * n for n in sizes], padded=[2 * n for n in sizes])
    tables.write(folder / "cells.parquet", "cells", cells)
    write_counts(folder / "counts.parquet", np.stack([sum(g["active"]) for _, g in groups]), DEPTH)
    rows = [
        (n // WIDTH, n % WIDTH, 0, clip, peak[n], 0.1, 0.2)
        for clip, peak in zip(frame["clip_id"], frame["peak"], strict=True)
        for n in range(DEPTH * WIDTH)
    ]
    strongest = pd.DataFrame(rows, columns=tables.SCHEMAS["top_clips"].names)
    tables.write(folder / "top_clips.parquet", "top_clips", rank_clips(strongest, top))
    return folder


def merged(tmp_path, parts: list[pd.DataFrame], name: str) -> dict[str, bytes]:
    shards = [write_shard(tmp_path / name / str(i), part) for i, part in enumerate(parts)]
    merge(shards, tmp_path / name / "out", 3)
    return {n: (tmp_path / name / "out" / f"{n}.parquet").read_bytes() for n in NAMES}


def test_any_division_into_shards_in_any_order_merges_to_the_same_bytes(tmp_path):
    frame = dataset()
    one = merged(tmp_path, [frame], "one")
    assert merged(tmp_path, [frame.iloc[::2], frame.iloc[1::2]], "two") == one
    five = [frame.iloc[i::5] for i in range(5)]
    assert merged(tmp_path, five, "five") == one
    assert merged(tmp_path, [five[i] for i in (3, 0, 4, 2, 1)], "shuffled") == one
    assert merged(tmp_path, [frame.sample(frac=1, random_state=0)], "rows") == one


def test_shards_of_several_devices_are_told_and_recorded(tmp_path, monkeypatch, capsys):
    frame = dataset()
    for name, devices in (("one", ["cpu", "cpu"]), ("two", ["cpu", "Some Card, CUDA 13.0"])):
        shards = []
        for i, device in enumerate(devices):
            monkeypatch.setenv("AUDIO_NEURONS_JOB", json.dumps({"rule": "extract", "device": device}))
            shards.append(tmp_path / name / str(i))
            write_shard(shards[-1], frame.iloc[i::2])
        monkeypatch.setenv("AUDIO_NEURONS_JOB", json.dumps({"rule": "merge"}))
        merge(shards, tmp_path / name / "out", 3)
        told = capsys.readouterr().err
        made = tables.made_by(tmp_path / name / "out" / "counts.parquet")
        assert made["device"] == "; ".join(sorted(set(devices)))
        words = f"parts in {tmp_path / name} were computed on different devices (Some Card, CUDA 13.0; cpu)"
        assert words in told if name == "two" else told == ""


def test_shards_of_which_some_counted_within_activation_functions_are_told_and_recorded(
    tmp_path, monkeypatch, capsys
):
    frame = dataset()
    for name, fused in (("one", ["in 1 of 1 models"] * 2), ("two", ["in 1 of 1 models", None])):
        shards = []
        for i, own in enumerate(fused):
            monkeypatch.setenv("AUDIO_NEURONS_JOB", json.dumps({"fused": own} if own else {}))
            shards.append(tmp_path / name / str(i))
            write_shard(shards[-1], frame.iloc[i::2])
        monkeypatch.setenv("AUDIO_NEURONS_JOB", json.dumps({"rule": "merge"}))
        merge(shards, tmp_path / name / "out", 3)
        told = capsys.readouterr().err
        made = tables.made_by(tmp_path / name / "out" / "counts.parquet")
        assert made["fused"] == ("in 1 of 1 models" if name == "one" else "in 1 of 1 models; in no model")
        words = "were counted within activation functions and not (in 1 of 1 models; in no model)"
        assert words in told if name == "two" else told == ""


def test_counts_clips_and_tokens_add_up(tmp_path):
    frame = dataset()
    merged(tmp_path, [frame.iloc[:3], frame.iloc[3:]], "s")
    out = tmp_path / "s" / "out"
    cells = tables.read(out / "cells.parquet", "cells")
    active, neurons = read_counts(out / "counts.parquet")
    assert neurons.tolist() == [[layer, unit] for layer in range(DEPTH) for unit in range(WIDTH)]
    assert cells["cell"].tolist() == list(range(len(cells)))
    assert cells["clips"].sum() == 40
    np.testing.assert_array_equal(active.sum(0), sum(frame["active"]))
    for row, counts in zip(cells.itertuples(), active, strict=True):
        here = frame.query("split == @row.split and fold == @row.fold and kind == @row.kind")
        here = here[here["octave"] == row.octave]
        assert (row.clips, row.tokens) == (len(here), 7 * len(here))
        np.testing.assert_array_equal(counts, sum(here["active"]))
    strongest = tables.read(out / "top_clips.parquet", "top_clips")
    assert len(strongest) == 3 * DEPTH * WIDTH
    for (layer, unit), rows in strongest.groupby(["layer", "neuron"]):
        peaks = [
            (-peak[layer * WIDTH + unit], clip)
            for clip, peak in zip(frame["clip_id"], frame["peak"], strict=True)
        ]
        assert list(zip(-rows["activation"], rows["clip_id"], strict=True)) == sorted(peaks)[:3]
        assert rows["rank"].tolist() == [0, 1, 2]


def test_shards_without_clips_leave_the_others_alone(tmp_path):
    frame = dataset(6)
    one = merged(tmp_path, [frame], "one")
    shards = [write_shard(tmp_path / str(n), part) for n, part in enumerate((frame.iloc[:2], frame.iloc[2:]))]
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("cells", "counts", "top_clips"):
        table = tables.read(shards[0] / f"{name}.parquet", name)
        tables.write(empty / f"{name}.parquet", name, table.iloc[:0])
    for n, order in enumerate(([empty, *shards], [shards[0], empty, shards[1]])):
        merge(order, tmp_path / f"out{n}", 3)
        assert {name: (tmp_path / f"out{n}" / f"{name}.parquet").read_bytes() for name in NAMES} == one


def test_shards_of_other_neurons_do_not_merge(tmp_path):
    frame = dataset(6)
    shards = [write_shard(tmp_path / "a", frame), write_shard(tmp_path / "b", frame)]
    write_counts(shards[1] / "counts.parquet", read_counts(shards[1] / "counts.parquet")[0][:, :4], DEPTH)
    with pytest.raises(tables.TableError, match=r"b: counts different neurons than .*a; delete both"):
        merge(shards, tmp_path / "out", 3)
    write_counts(shards[1] / "counts.parquet", read_counts(shards[0] / "counts.parquet")[0], 3)
    with pytest.raises(tables.TableError, match="different neurons"):
        merge(shards, tmp_path / "out", 3)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 1, 2, 4]])
def test_cells_must_have_the_same_neurons(tmp_path, rows):
    counts = pd.DataFrame({"cell": [0, 0, 1, 1, 1], "layer": 0, "neuron": [0, 1, 0, 1, 2], "active": 1})
    tables.write(tmp_path / "c.parquet", "counts", counts.iloc[rows])
    with pytest.raises(tables.TableError, match=r"c\.parquet: not the same neurons in every cell"):
        read_counts(tmp_path / "c.parquet")


def test_counts_come_back(tmp_path):
    active = np.random.default_rng(0).integers(0, 2**40, (4, 12))
    write_counts(tmp_path / "c.parquet", active, 3)
    back, neurons = read_counts(tmp_path / "c.parquet")
    np.testing.assert_array_equal(back, active)
    assert neurons.tolist() == [[layer, unit] for layer in range(3) for unit in range(4)]
    write_counts(tmp_path / "c.parquet", active[:1], 3)
    back, neurons = read_counts(tmp_path / "c.parquet")
    np.testing.assert_array_equal(back, active[:1])
    assert len(neurons) == 12


@pytest.fixture
def folder(tmp_path):
    cells = pd.DataFrame(
        {
            "cell": [0, 1, 2, 3],
            "split": ["train", "train", "valid", "test"],
            "fold": [1, 2, 0, 0],
            "clips": [1, 2, 3, 4],
            "tokens": [10, 20, 30, 40],
            "window": [20, 20, 60, 80],
            "padded": [10, 0, 30, 40],
            "octave": ["9", "10", "9", "-1"],
            "timbre": ["dark", "dark", "bright", "bright"],
        }
    )
    tables.write(tmp_path / "cells.parquet", "cells", cells)
    write_counts(tmp_path / "counts.parquet", np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), 1)
    return tmp_path


@pytest.mark.parametrize(
    ("splits", "clips", "active"),
    [
        (None, [4, 4, 2], [[7, 8], [6, 8], [3, 4]]),
        (["train"], [0, 1, 2], [[0, 0], [1, 2], [3, 4]]),
        (["valid", "test"], [4, 3, 0], [[7, 8], [5, 6], [0, 0]]),
        ([], [0, 0, 0], [[0, 0], [0, 0], [0, 0]]),
    ],
)
def test_class_counts_by_hand(folder, splits, clips, active):
    classes, counted, neurons = class_counts(folder, "octave", splits)
    assert classes["class"].tolist() == ["-1", "9", "10"]
    assert classes["clips"].tolist() == clips
    assert classes["tokens"].tolist() == [10 * n for n in clips]
    assert counted.tolist() == active
    assert counted.dtype == np.int64  # exact for any number of cells
    assert neurons.tolist() == [[0, 0], [0, 1]]


def test_an_unknown_label_is_named_with_the_known_ones(folder):
    with pytest.raises(tables.TableError, match=r"no label 'pitch'; there are octave, timbre$"):
        class_counts(folder, "pitch", None)


def test_natural_order():
    names = ["b", "10", "9", "-1", "0", "a", "nan", "1.5", "A"]
    assert sorted(names, key=natural) == ["-1", "0", "1.5", "9", "10", "A", "a", "b", "nan"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("0123456789-.einfaN", max_size=4), unique=True), st.randoms())
def test_natural_order_is_an_order(names, random):
    shuffled = names[:]
    random.shuffle(shuffled)
    assert sorted(shuffled, key=natural) == sorted(names, key=natural)


def test_strongest_clips_of_equal_activation_rank_by_name():
    rows = [
        (1, 0, "y", 3.0), (0, 0, "b", 1.0), (0, 0, "a", 1.0),
        (0, 0, "c", 2.0), (0, 1, "z", 0.5), (0, 0, "0", 1.0),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["layer", "neuron", "clip_id", "activation"])
    ranked = rank_clips(frame, 3)
    assert ranked[["layer", "neuron", "rank", "clip_id"]].to_numpy().tolist() == [
        [0, 0, 0, "c"], [0, 0, 1, "0"], [0, 0, 2, "a"], [0, 1, 0, "z"], [1, 0, 0, "y"],
    ]  # fmt: skip


def test_cells_are_the_combinations_that_occur_sorted():
    frame = pd.DataFrame(
        {
            "split": ["train", "test", "train"],
            "fold": [2, 1, 2],
            "kind": ["b", "a", "b"],
            "clip_id": list("xyz"),
        }
    )
    assert statistics.cell_keys(frame, ["kind"]).to_numpy().tolist() == [["test", 1, "a"], ["train", 2, "b"]]


def test_counts_of_other_cells_are_refused(tmp_path):
    cells = pd.DataFrame({"cell": [0, 1], "split": "train", "fold": 0, "label": ["a", "b"]})
    cells[["clips", "tokens", "window", "padded"]] = [1, 4, 4, 0]
    tables.write(tmp_path / "cells.parquet", "cells", cells)
    for number in (1, 3):
        write_counts(tmp_path / "counts.parquet", np.ones((number, 4), np.int64), 2)
        with pytest.raises(
            tables.TableError, match=r"counts\.parquet: not of the cells of cells\.parquet; delete"
        ):
            class_counts(tmp_path, "label", None)
    write_counts(tmp_path / "counts.parquet", np.ones((2, 4), np.int64), 2)
    assert class_counts(tmp_path, "label", ["train"])[1].tolist() == [[1] * 4] * 2
