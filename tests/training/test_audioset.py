"""From a folder of AudioSet clips to the parts of a pool."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import audioset_layout
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from audio_neurons import tables
from audio_neurons.recordings import audio
from audio_neurons.recordings.preparation import PreparationError
from audio_neurons.training import audioset, packed


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return audioset_layout.make(tmp_path_factory.mktemp("audioset"))


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("found")
    audioset.find(folder, "balanced+unbalanced", out / "r.parquet", out / "m.parquet", max_missing=0.3)
    return out


def find(folder: Path, out: Path, train: str = "balanced", max_missing: float = 0.3) -> pd.DataFrame:
    audioset.find(folder, train, out / "r.parquet", out / "m.parquet", max_missing=max_missing, pool="as")
    return tables.read(out / "r.parquet", "recordings")


def edited(folder: Path, tmp_path: Path, file: str, old: str, new: str) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1))
    return copy


# What is there


def test_clips_are_found_by_the_first_eleven_characters(found, folder):
    table = tables.read(found / "r.parquet", "recordings").set_index("clip_id")
    assert table.index.str.len().unique().tolist() == [11]
    assert {"-", "_"} < set(table.index.str[0])
    assert table["split"].value_counts().to_dict() == {"train": 57 + 9, "test": 27}
    one = table.loc[audioset_layout.identifier("unbalanced", 5)]
    assert one["path"].startswith("unbalanced_train_segments/part1/")
    assert (folder / one["path"]).is_file()
    assert table.loc[audioset_layout.identifier("balanced", 7), "tags"] == "/t/dd0099,/m/0tone1"


def test_missing_clips_are_listed(found):
    missing = tables.read(found / "m.parquet", "rejected")
    assert len(missing) == 9
    assert audioset_layout.identifier("eval", 2) in set(missing["clip_id"])
    assert missing["reason"].str.startswith("no file in ").all()


def test_the_balanced_list_alone(folder, tmp_path):
    table = find(folder, tmp_path)
    assert not table["path"].str.startswith("unbalanced").any()
    assert len(table) == 57 + 27


@pytest.mark.parametrize("absent", ["", "eval_segments.csv", "balanced_train_segments"])
def test_what_audioset_needs_is_said(folder, tmp_path, absent):
    place = tmp_path / "nowhere"
    if absent:
        place = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
        (shutil.rmtree if absent.endswith("segments") else Path.unlink)(place / absent)
    with pytest.raises(PreparationError) as caught:
        find(place, tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{place} has no {absent}" if absent else f"no folder {place}")
    assert "Google distributes AudioSet's lists and no audio" in said
    assert "class_labels_indices.csv" in said
    assert "pools.as.audioset.folder" in said
    assert not (tmp_path / "r.parquet").exists()


def test_too_many_missing_clips_stop(folder, tmp_path):
    with pytest.raises(PreparationError, match=r"57 of the 60 clips.*max_missing allows 4\.0%.*-bx-_000000"):
        find(folder, tmp_path, max_missing=0.04)
    assert not (tmp_path / "r.parquet").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-bx-_000000, ", "-bx-_0000, ", 'line 4: not YTID, start, end, "classes"'),
        (', "/m/0tone1"', "", "line 4: not YTID"),
        ("/m/0tone1", "/m/other", "line 4: class /m/other is not in class_labels_indices.csv"),
        ("_bx-_000001", "-bx-_000000", "line 5: -bx-_000000 is listed twice"),
    ],
)
def test_lists_of_another_format(folder, tmp_path, old, new, message):
    copy = edited(folder, tmp_path, "balanced_train_segments.csv", old, new)
    with pytest.raises(PreparationError, match=message):
        find(copy, tmp_path)


def test_classes_without_identifiers(folder, tmp_path):
    copy = edited(folder, tmp_path, "class_labels_indices.csv", "mid", "id")
    with pytest.raises(PreparationError, match="no column 'mid'"):
        find(copy, tmp_path)


# Parts


def pack(folder: Path, found: Path, out: Path, shards: int, workers: int = 1, **options) -> list[Path]:
    parts = [out / f"part-{shard:03d}.arrow" for shard in range(shards)]
    for shard, part in enumerate(parts):
        audioset.pack(
            folder, found / "r.parquet", part, out / f"rejected-{shard}.parquet",
            shard=shard, shards=shards, workers=workers, **{"max_rejected": 0.1, **options},
        )  # fmt: skip
    return parts


def test_every_clip_is_in_one_part_as_flac_at_16_khz(folder, found, tmp_path):
    parts = pack(folder, found, tmp_path, 3)
    table = pd.concat([pd.read_feather(part) for part in parts])
    wanted = tables.read(found / "r.parquet", "recordings").set_index("clip_id")
    broken = audioset_layout.identifier("eval", 5)
    assert set(table["clip_id"]) == set(wanted.index) - {broken}
    assert not table["clip_id"].duplicated().any()
    assert (table["frames"] == 12_800).all()
    assert (table["tags"].to_numpy() == wanted.loc[table["clip_id"], "tags"].to_numpy()).all()
    row = table[table["clip_id"] == audioset_layout.identifier("balanced", 3)].iloc[0]  # 48 kHz, stereo
    again = audio.decode((folder / wanted.loc[row["clip_id"], "path"]).read_bytes())
    assert np.abs(audio.read(row["audio"], 12_800) - again).max() <= 0.5 / 32768
    rejected = pd.concat([tables.read(tmp_path / f"rejected-{n}.parquet", "rejected") for n in range(3)])
    assert rejected["clip_id"].tolist() == [broken]
    assert rejected["reason"].str.startswith("unreadable").all()


def test_workers_change_nothing(folder, found, tmp_path):
    files = []
    for workers in (1, 3):
        (part,) = pack(folder, found, tmp_path / str(workers), 1, workers)
        files.append(part.read_bytes())
    assert files[0] == files[1]


def test_a_file_taken_away_is_refused_not_fatal(folder, found, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    gone = tables.read(found / "r.parquet", "recordings").iloc[0]
    (copy / gone["path"]).unlink()
    pack(copy, found, tmp_path, 1)
    assert gone["clip_id"] in set(tables.read(tmp_path / "rejected-0.parquet", "rejected")["clip_id"])


def test_too_many_unreadable_clips_stop(folder, found, tmp_path):
    with pytest.raises(PreparationError, match=r"1 of 93 recordings of shard 0.*\n  _ex-_|max_rejected"):
        pack(folder, found, tmp_path, 1, max_rejected=0.0)
    assert not list(tmp_path.iterdir())


def test_parts_are_mapped_not_read(folder, found, tmp_path):
    (part,) = pack(folder, found, tmp_path, 1)
    before = pa.total_allocated_bytes()
    table = packed.mapped(part)
    assert table["audio"].nbytes > 100_000
    assert table["audio"][40].as_py().startswith(b"fLaC")
    assert pa.total_allocated_bytes() - before < 10_000


def test_other_files_are_no_parts(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"nothing")
    with pytest.raises(tables.TableError, match="not a readable Arrow file"):
        packed.mapped(tmp_path / "a.arrow")
    table = pa.table({"x": [1]})
    with pa.ipc.new_file(str(tmp_path / "b.arrow"), table.schema) as file:
        file.write(table)
    with pytest.raises(tables.TableError, match="not clips of a pool"):
        packed.mapped(tmp_path / "b.arrow")


def test_an_interrupted_part_is_no_part(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), packed.writer(tmp_path / "a.arrow"):
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())


def test_the_layout_has_the_quirks_it_should(folder):
    lines = (folder / "balanced_train_segments.csv").read_text().splitlines()
    assert [line[0] for line in lines[:3]] == ["#"] * 3
    assert next(csv.reader(io.StringIO(lines[3]), skipinitialspace=True))[3] == "/m/0tone1"
