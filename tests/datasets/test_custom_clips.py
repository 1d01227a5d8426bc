"""A user's own recordings, from lists and folders to clips."""

from __future__ import annotations

import os

import pandas as pd
import pytest
from test_custom import ALL_TRAIN, digest_of, listed, read, with_files
from upstream import sound, tone

from audio_neurons import tables
from audio_neurons.datasets import DatasetError
from audio_neurons.recordings.preparation import PreparationError, prepare
from audio_neurons.running.contents import Contents

# Through to clips


def prepared(folder, path, **options):
    parts = [folder / "clips-0.parquet", folder / "clips-1.parquet"]
    summary = prepare("custom", {"files": path}, parts, folder / "rejected.parquet", **options)
    clips = pd.concat([tables.read(part, "clips") for part in parts], ignore_index=True)
    return summary, clips.sort_values("clip_id", ignore_index=True)


def test_list_to_clips(tmp_path):
    for i in range(6):
        (tmp_path / f"{i}.wav").write_bytes(sound(tone(200 + 50 * i, rate=22_050), 22_050))
    lines = [f'{i}.wav,{"train" if i < 4 else "test"},s{i // 2},"owl, {"grey" if i % 2 else "white"}",{i}'
             for i in range(6)]  # fmt: skip
    path = listed(tmp_path, "path,split,group,species,take", *lines)
    summary, clips = prepared(tmp_path, path)
    assert (summary.clips, summary.rejected, summary.seconds) == (6, 0, pytest.approx(0.6))
    assert clips.drop(columns="audio").iloc[5].to_dict() == {
        "clip_id": "5.wav", "frames": 1600, "split": "test", "fold": 0, "group": "s2",
        "species": "owl, grey", "take": "5",
    }  # fmt: skip


def test_folder_to_clips(tmp_path):
    folder = with_files(tmp_path / "birds", "owl/a_1.wav", "owl/b_1.wav", "jay/a_2.wav", data=sound())
    options = {"group_pattern": "/([a-z])_", "shares": ALL_TRAIN}
    _, clips = prepared(tmp_path, folder, options=options)
    assert clips[["clip_id", "split", "group", "class"]].to_numpy().tolist() == [
        ["jay/a_2.wav", "train", "a", "jay"],
        ["owl/a_1.wav", "train", "a", "owl"],
        ["owl/b_1.wav", "train", "b", "owl"],
    ]


def test_missing_files_count_as_refused(tmp_path):
    with_files(tmp_path, "a.wav", "b.wav", data=sound())
    path = listed(tmp_path, "path,x", "a.wav,1", "b.wav,2", "gone.wav,1")
    with pytest.raises(PreparationError, match=r"birds: 1 of 3 recordings .*\n  gone\.wav: missing") as error:
        prepared(tmp_path, path, name="birds")
    remedy = f"Remedy: correct them in {path} (paths are relative to its folder), or take them out; otherwise"
    assert remedy in str(error.value)
    summary, _ = prepared(tmp_path, path, max_rejected=0.5)
    assert (summary.clips, summary.rejected) == (2, 1)
    rejected = tables.read(tmp_path / "rejected.parquet", "rejected")
    assert list(rejected["clip_id"]) == ["gone.wav"]


def test_files_of_a_folder_that_are_no_sound_are_to_be_replaced(tmp_path):
    with_files(tmp_path / "birds", "owl/a.wav", "jay/b.wav", data=sound())
    folder = with_files(tmp_path / "birds", "owl/c.mp3", data=b"text")
    with pytest.raises(
        PreparationError, match=f"owl/c.mp3: unreadable(.*\n)*.*replace these files in {folder}"
    ):
        prepared(tmp_path, folder)


def test_unknown_options_are_named(tmp_path):
    path = listed(tmp_path, "path,x", "a.wav,1", "b.wav,2")
    with pytest.raises(
        PreparationError,
        match="unknown option share; there are: shares, seed, group_pattern, events, event_label, columns,",
    ):
        prepared(tmp_path, path, options={"share": 1})


def test_any_change_of_a_list_or_of_its_recordings_shows_in_the_listing(tmp_path):
    contents = Contents(tmp_path / "checksums.txt")
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"one")
    lines = ["path,species", "a.wav,owl", "b.wav,wren"]
    path = listed(tmp_path, *lines)
    before = digest_of(path, contents)
    os.utime(path, (0, 0))  # an older copy of the same
    os.utime(sound, (0, 0))
    assert digest_of(path, contents) == before
    listed(tmp_path, lines[0], "a.wav,wren", "b.wav,owl")
    os.utime(path, (1, 1))
    assert digest_of(path, contents) != before
    listed(tmp_path, *lines)
    assert digest_of(path, contents) == before
    sound.write_bytes(b"two")  # of the same size, and older
    os.utime(sound, (-5, -5))
    assert digest_of(path, contents) != before
    with pytest.raises(DatasetError, match=r"line 3: \./a\.wav is in line 2 already"):
        digest_of(listed(tmp_path, "path,species", "a.wav,owl", "./a.wav,wren"), contents)


def test_sounds_that_cannot_be_read_are_not_passed_over(tmp_path):
    for name in ("owl/a.m4a", "wren/b.wav", "wren/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [r.clip_id for r in read(tmp_path)] == ["owl/a.m4a", "wren/b.wav"]
