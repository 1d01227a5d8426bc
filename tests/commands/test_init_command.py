"""`python -m audio_neurons init`: from a folder or a list to a study."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from upstream import sound, tone

from audio_neurons.__main__ import main
from audio_neurons.datasets import reader
from audio_neurons.study import complete


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def put(folder, *names, seconds=0.5):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound(tone(200 + 20 * number, seconds)))


def speakers(folder):
    put(folder, *(f"{c}/spk{s}_{n}.wav" for c in ("sad", "glad") for s in range(1, 7) for n in (1, 2)))


def listed(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(study):
    """The recordings as a run reads them, with the options of the configuration."""
    config = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    ((_, block),) = config["datasets"].items()
    return list(reader("custom")({"files": study / block["files"]}, **block.get("options", {})))


def test_a_folder_becomes_a_study_that_is_valid(here, capsys):
    speakers(here / "moods")
    assert main(["init", "moods"]) == 0
    out = capsys.readouterr().out
    assert "class: 2 classes (glad, sad), from the names of the folders" in out
    assert "6, from part 1 of the file's name (spk1, spk2, spk3, ...)" in out
    assert "clip_seconds: 0.5" in out
    where = "study/study.yaml --directory study"
    assert f"Next:    python -m audio_neurons check {where}" in out
    assert f"Then:    snakemake --cores 4 --configfile {where}" in out
    config = yaml.safe_load((here / "study/study.yaml").read_text(encoding="utf-8"))
    assert list(config["models"]) == ["m2d", "random"]
    assert config["comparisons"] == {"class": {"tasks": ["class"], "title": "class"}}
    os.chdir("study")
    complete(config, ["study.yaml"])  # which raises if it is not valid
    found = read(here / "study")
    assert len(found) == 24
    assert all(recording.data for recording in found)  # every path leads to its file
    assert {recording.group for recording in found} == {f"spk{number}" for number in range(1, 7)}
    splits = {split: {r.labels["class"] for r in found if r.split == split} for split in ("train", "test")}
    assert splits == {"train": {"sad", "glad"}, "test": {"sad", "glad"}}


def test_a_group_is_in_one_split(here):
    speakers(here / "moods")
    main(["init", "moods"])
    pairs = {(recording.group, recording.split) for recording in read(here / "study")}
    assert len(pairs) == 6


def test_splits_of_folders_are_kept(here, capsys):
    put(here / "s", *(f"{s}/{c}/{n}.wav" for s in ("train", "dev", "test") for c in "ab" for n in range(3)))
    assert main(["init", "s", "--out", "mine"]) == 0
    assert "from the names of the folders above the classes" in capsys.readouterr().out
    rows = listed(here / "mine/s.csv")
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    assert (
        "options"
        not in yaml.safe_load((here / "mine/study.yaml").read_text(encoding="utf-8"))["datasets"]["s"]
    )


def test_a_list_of_other_columns_becomes_one_of_ours(here, capsys):
    put(here / "clips", *(f"{number}.wav" for number in range(12)))
    header = "file_name\tmood\taudio\tage\ttranscript\tclient_id\tsubset\tfold\tclips"
    lines = [header]
    for i in range(12):
        split = ("train", "train", "dev", "test")[i // 3]
        text, speaker, kind = f'he said "{i}', f"p{i // 3}", "uv"[i % 2]
        fields = (f"{i}.wav", "ab"[i % 2], "xyz"[i % 3], f"{i}.5", text, speaker, split, "1", kind)
        lines.append("\t".join(fields))
    lines.insert(5, lines[1])  # a file that is there twice
    (here / "Validated.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["init", "Validated.tsv"]) == 0
    out = capsys.readouterr().out
    rows = listed(here / "study/validated.csv")
    assert list(rows[0]) == ["path", "mood", "audio_label", "group", "split", "fold"]
    assert len(rows) == 12
    assert list(rows[0].values()) == ["../clips/0.wav", "a", "x", "p0", "train", "1"]
    assert "rows without a path, or with that of another row, are left out: 1" in " ".join(out.split())
    assert "renamed from audio" in out
    told = " ".join(out.split())
    assert "age has a value of its own in most rows" in told
    assert "clips divides the recordings as mood does" in told
    assert "4, from the column client_id" in told
    assert len(read(here / "study")) == 12


def test_recordings_without_a_label_are_left_out_and_told(here, capsys):
    put(here, *(f"{number}.wav" for number in range(10)))
    lines = ["path,mood", *(f"{i}.wav,{'ab'[i % 2] if i < 8 else ''}" for i in range(10))]
    (here / "l.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["init", "l.csv"]) == 0
    assert "recordings without a value for each label: 2" in " ".join(capsys.readouterr().out.split())
    assert len(listed(here / "study/l.csv")) == 8


def test_without_evident_groups_each_recording_is_its_own_and_it_says_why_groups_matter(here, capsys):
    put(
        here / "s",
        *(f"{c}/{name}_{n}.wav" for c in "ab" for name in ("anna", "carl", "dora") for n in (1, 2)),
    )
    assert main(["init", "s"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "groups: none: it is not evident; part 1 of the file's name (anna, carl, dora, ...) might" in out
    assert "right only if recordings are independent" in out
    assert "group" not in listed(here / "study/s.csv")[0]


def test_classes_of_one_group_are_selected_on_all_recordings(here, capsys):
    put(here, *(f"{number}.wav" for number in range(8)))
    lines = [
        "path,mood,group",
        *(f"{i}.wav,{'ab'[i // 4]},{'gh'[i // 4]}" for i in range(8)),
    ]
    (here / "l.csv").write_text("\n".join([*lines[:-1], "7.wav,b,k"]) + "\n", encoding="utf-8")
    assert main(["init", "l.csv"]) == 0
    config = yaml.safe_load((here / "study/study.yaml").read_text(encoding="utf-8"))
    assert config["selection"] == {"statistics_split": "all"}
    assert "selection.statistics_split: all" in capsys.readouterr().out


@pytest.mark.parametrize("there", ["study.yaml", "moods.csv"])
def test_nothing_is_overwritten(here, capsys, there):
    speakers(here / "moods")
    (here / "study").mkdir()
    (here / "study" / there).write_text("mine")
    assert main(["init", "moods"]) == 2
    assert f"error: study/{there} exists, and is not overwritten; choose another folder with --out DIR" in (
        capsys.readouterr().err
    )
    assert [path.name for path in (here / "study").iterdir()] == [there]
    assert (here / "study" / there).read_text() == "mine"
    assert main(["init", "moods", "--out", "other"]) == 0


def test_names_that_yaml_or_a_shell_would_misread_are_kept(here, capsys):
    put(here / "My {birds}: 'all' #1", *(f"{c}/{n}.wav" for c in ("a: b", "yes", "{x}") for n in range(6)))
    assert main(["init", "My {birds}: 'all' #1", "--out", "my study"]) == 0
    assert "'my study/study.yaml' --directory 'my study'" in capsys.readouterr().out
    found = read(here / "my study")
    assert {recording.labels["class"] for recording in found} == {"a: b", "yes", "{x}"}
    assert all(recording.data for recording in found)


def test_paths_through_links_lead_to_the_files(here, tmp_path):
    speakers(tmp_path / "far/moods")
    (here / "linked").symlink_to(tmp_path / "far/moods")
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (here / "out").symlink_to(tmp_path / "elsewhere/deep")
    assert main(["init", "linked", "--out", "out"]) == 0
    os.chdir(here / "out")  # as --directory does
    assert all(recording.data for recording in read(Path()))
    assert listed(here / "out/linked.csv")[0]["path"] == "../../far/moods/glad/spk1_1.wav"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none", None, "none: no such file or folder"),
        ("l.csv", "", "lists no recordings"),
        ("l.csv", "path,kind\n", "lists no recordings"),
        ("l.csv", "path,kind\na.wav\n", "line 2: not 2 values, as the first line has"),
        ("l.csv", "path,path\na.wav,b\n", "a column has no name, or the name of another"),
        ("l.csv", "path,kind\nz.wav,b\n", "no column names files that are here; there are: path, kind"),
        (
            "l.csv",
            "path,kind\n0.wav,b\n1.wav,b\n",
            "no column is a label with at least two classes: kind has",
        ),
        ("l.csv", "path\n0.wav\n1.wav\n", "there is no other column"),
        ("l.csv", b"path,kind\n0.wav,\xff\n", "not UTF-8 text"),
        ("empty", "folder", "empty"),
    ],
)
def test_what_is_no_study_is_told_with_the_name(here, capsys, name, content, told):
    put(here, "0.wav", "1.wav")
    if content == "folder":
        (here / name).mkdir()
    elif content is not None:
        (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["init", name]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert name in err
    assert told in err
    assert not (here / "study").exists()


def test_a_folder_without_classes_names_the_remedy(here, capsys):
    put(here / "flat", "a.wav", "b.wav")
    assert main(["init", "flat"]) == 2
    err = capsys.readouterr().err
    assert "a.wav" in err
    assert "Or give a list, which names each recording and its labels" in err


def test_an_output_that_cannot_be_made_is_told(here, capsys):
    speakers(here / "moods")
    (here / "file").touch()
    assert main(["init", "moods", "--out", "file"]) == 2
    assert "error: file" in capsys.readouterr().err


def test_recordings_that_cannot_be_read_are_counted(here, capsys):
    speakers(here / "moods")
    (here / "moods/sad/spk1_1.wav").write_bytes(b"damaged")
    assert main(["init", "moods"]) == 0
    assert "recordings whose length cannot be read: 1" in " ".join(capsys.readouterr().out.split())


def test_silence_is_no_reason_to_guess_another_length(here, capsys):
    speakers(here / "moods")
    (here / "moods/sad/spk1_1.wav").write_bytes(sound(np.zeros(8_000)))
    assert main(["init", "moods"]) == 0
    assert "cannot be read" not in capsys.readouterr().out
