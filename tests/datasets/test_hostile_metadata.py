"""Damaged lists of the datasets' archives, hostile archives, and degenerate datasets."""

from __future__ import annotations

import csv
import gzip
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upstream import changes, dataset, sound, tarred, tone, zipped

from audio_neurons import tables
from audio_neurons.activations import extraction, statistics, units
from audio_neurons.datasets import DatasetError, archives, source
from audio_neurons.datasets.archives import ArchiveError, members
from audio_neurons.neurons.selection import SelectionError, select_task
from audio_neurons.neurons.sharing import compare_tasks
from audio_neurons.recordings import preparation
from audio_neurons.recordings.preparation import PreparationError
from audio_neurons.settings.extraction import Pass
from audio_neurons.settings.selection import rule_of

NAMES = ["cremad", "esc50", "gise51", "gtzan", "nsynth", "surge", "voxceleb1", "voxforge"]
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".au", ".tgz", ".gz")
JUNK = [
    b"", b"\xff", b"\0", b'"', b",", b"\n", b"../../x", b"-1", b"9" * 5000, b"NaN", b"[]", b"{", b"null",
    "ü".encode(), b"\xef\xbb\xbf",
]  # fmt: skip


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory):
    """Small archives of each dataset: their folder, the archives by role, and matching options."""
    folder = tmp_path_factory.mktemp("upstream")
    return {
        name: (folder / name, dataset(name, folder / name), changes(name, folder / name).get("options", {}))
        for name in NAMES
    }


def spoilt(data: bytes, draw) -> bytes:
    """Damage some values, lines or bytes of a list."""
    for _ in range(draw(st.integers(1, 3))):
        lines, junk = data.split(b"\n"), draw(st.sampled_from(JUNK))
        line = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["bytes", "value", "again", "gone", "all"]))
        if how == "bytes":
            start = draw(st.integers(0, len(data)))
            data = data[:start] + junk + data[start + draw(st.integers(0, 8)) :]
        elif how == "all":
            data = junk
        else:
            values = lines[line].split(b",")
            values[draw(st.integers(0, len(values) - 1))] = junk
            changed = {"value": [b",".join(values)], "again": [lines[line]] * 2, "gone": []}[how]
            data = b"\n".join([*lines[:line], *changed, *lines[line + 1 :]])
    return data


def rewritten(path: Path, target: Path, spoil) -> Path:
    """Write a copy of an archive, or of a separate list, with one list damaged."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = path.read_bytes()[:2]
    try:
        files = dict(members(path))
    except ArchiveError:
        target.write_bytes(spoil(path.read_bytes()))
        return target
    if lists := [name for name in files if not name.lower().endswith(SOUNDS)]:
        files[lists[-1]] = spoil(files[lists[-1]])
    if kind == b"PK":
        return zipped(target, files)
    return tarred(target, files, "w:gz" if kind == b"\x1f\x8b" else "w")


def read(name: str, upstream: tuple, folder: Path, spoil) -> int:
    _, given_archives, options = upstream
    shutil.rmtree(folder, ignore_errors=True)
    copies = {
        role: [rewritten(p, folder / p.name, spoil) for p in paths]
        if isinstance(paths, list)
        else rewritten(paths, folder / paths.name, spoil)
        for role, paths in given_archives.items()
    }
    found = preparation._checked(preparation._open(name, copies, options), name, source(name)["labels"])
    return sum(1 for _ in found)


@pytest.mark.parametrize("name", NAMES)
def test_spoilt_lists_are_read_or_refused_in_words(name, upstreams, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoilt")
    assert read(name, upstreams[name], folder, lambda data: data) > 0

    @settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        try:
            read(name, upstreams[name], folder, lambda text: spoilt(text, data.draw))
        except (PreparationError, DatasetError, ArchiveError) as error:
            message = str(error)
        else:
            message = "read"
        assert message

    check()


# Archives


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "LARGEST", 4 << 20)  # small enough for a quick test
    packed = {"zip": zipped, "tar.gz": tarred}[kind]
    fits = packed(tmp_path / "fits", {"a.wav": bytes(4 << 20)})
    assert [len(data) for _, data in members(fits)] == [4 << 20]
    bomb = packed(tmp_path / "bomb", {"a.wav": bytes(5 << 20)})
    assert bomb.stat().st_size < 20_000
    with pytest.raises(ArchiveError, match=r"bomb: a\.wav has 0\.0 GB unpacked, more than the .*publisher"):
        list(members(bomb))
    assert list(members(bomb, ".csv")) == []  # members that are not requested are not loaded


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_is_a_bomb_is_refused(tmp_path, kind):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 40
    with gzip.open(tmp_path / "bomb", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match=r"bomb: truncated or damaged \(a header of 1099511627776 bytes\)"):
        list(members(tmp_path / "bomb"))


# Datasets


def listed(folder: Path, rows: list[tuple], header=("path", "split", "group", "kind")) -> Path:
    """Write tones of 0.3 s, whose pitch encodes the class, and return their list."""
    kinds = sorted({row[-1] for row in rows})
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        (folder / row[0]).write_bytes(sound(tone(300 * 1.3 ** kinds.index(row[-1]), 0.3)))
    with open(folder / "list.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / "list.csv"


def studied(folder: Path, encoder, rows: list[tuple], label: str = "kind", splits=("train",), **columns):
    """Run a list through all stages to its tables ``neurons`` and ``classes``."""
    parts = [folder / f"clips-{i}.parquet" for i in (0, 1)]
    preparation.prepare(
        "custom", {"files": listed(folder, rows, **columns)}, parts, folder / "rejected.parquet"
    )
    setting = Pass(clip_seconds=0.64, batch_size=4)
    shards = [folder / str(i) for i in range(len(parts))]
    for part, shard in zip(parts, shards, strict=True):
        extraction.extract(encoder, part, shard, shard / "embeddings.parquet", setting)
    statistics.merge(shards, folder, 5)
    units.merge([shard / "units.parquet" for shard in shards], folder / "units.parquet")
    out = folder / "neurons.parquet", folder / "classes.parquet"
    select_task(folder, label, splits, rule_of("aape", {"top_share": 0.5}), *out)
    return tables.read(out[0], "neurons"), tables.read(out[1], "classes")


LABELS = ["Träd, gren", 'the "other" one', "鳥's $x_1$ {y}\\n", "a\tb", "new\nline", "*", "NaN", "null", "-1"]


def test_labels_of_any_text_stay_what_they_are(tmp_path, encoder):
    rows = [(f"{i}, ü.wav", "train", f"g{i}", label) for i, label in enumerate(LABELS)]
    neurons, classes = studied(tmp_path, encoder, rows)
    assert set(neurons["class"]) == set(classes["class"]) == set(LABELS)
    assert (classes["clips"] == 1).all()


def test_one_clip_per_class_and_more_shards_than_clips(tmp_path, encoder):
    rows = [("a.wav", "train", "a", "x"), ("b.wav", "test", "b", "y")]
    neurons, classes = studied(tmp_path, encoder, rows, splits=None)
    assert dict(zip(classes["class"], classes["clips"], strict=True)) == {"x": 1, "y": 1}
    assert len(neurons) == 2 * 2 * 64


def test_a_class_of_which_no_clip_is_counted_has_no_neurons(tmp_path, encoder):
    rows = [(f"{i}.wav", "train" if i < 4 else "test", f"g{i}", "xyz"[i // 2]) for i in range(6)]
    neurons, classes = studied(tmp_path, encoder, rows)
    assert "z" not in set(classes.loc[classes["clips"] > 0, "class"])
    assert not neurons.loc[neurons["class"] == "z", "assigned"].any()


def test_an_empty_split_is_named_with_the_remedy(tmp_path, encoder):
    rows = [(f"{i}.wav", "test", f"g{i}", "xy"[i % 2]) for i in range(4)]
    with pytest.raises(SelectionError, match=r"no class has a clip in .*; set selection\.statistics_split"):
        studied(tmp_path, encoder, rows)


def test_a_task_of_one_class_has_neurons_and_no_other_to_share_with(tmp_path, encoder):
    rows = [(f"{i}.wav", "train", f"g{i}", "always", "xy"[i % 2]) for i in range(4)]
    header = ("path", "split", "group", "one", "two")
    neurons, classes = studied(tmp_path, encoder, rows, label="one", header=header)
    assert classes["class"].tolist() == ["always"]
    assert neurons["response"].between(0, 1).all()
    compare_tasks([tmp_path / "neurons.parquet"], None, tmp_path / "sharing.parquet")
    shared = tables.read(tmp_path / "sharing.parquet", "sharing")
    assert shared[["class_a", "class_b"]].to_numpy().tolist() == [["always", "always"]]
