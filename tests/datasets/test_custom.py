from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
from common import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from upstream import table

from audio_neurons import datasets, tables
from audio_neurons.datasets import SPLITS, DatasetError, custom, groups, lists, reader, source
from audio_neurons.running.contents import Contents

ALL_TRAIN = {"train": 1}


def listed(folder, *lines, name="list.csv", encoding="utf-8"):
    """Write a list of recordings; its first line names the columns."""
    path = folder / name
    path.write_text(table(*lines), encoding=encoding)
    return path


def with_files(folder, *names, data=b"x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(path, **options):
    return list(reader("custom")({"files": path}, **options))


def content(recording):
    return recording.data and recording.data.read_bytes()


def refused(path, told, **options):
    with pytest.raises(DatasetError, match=told):
        read(path, **options)


# Facts


def test_facts_and_defaults_agree():
    facts = source("custom")
    assert "custom" in datasets.adapters()
    assert facts["labels"] is None
    assert facts["archives"] == {}
    assert facts["options"] == {
        "shares": custom.SHARES, "seed": 0, "group_pattern": None, "events": None, "event_label": "event",
        "columns": {}, "folder": None,
    }  # fmt: skip


def test_what_cannot_be_a_label_is_what_tables_hold_already():
    columns = {column for name in tables.LABELLED for column in tables.SCHEMAS[name].names}
    assert columns <= {*lists.OWN, *lists.RESERVED}
    assert set(lists.RESERVED) <= columns


def test_labels_come_from_the_facts_or_the_files(tmp_path):
    assert datasets.labels("cremad", {}) == source("cremad")["labels"]
    path = listed(tmp_path, "sex,path,species,split,fold,group", "f,a.wav,owl,train,1,g")
    assert datasets.labels("custom", {"files": path}) == ["sex", "species"]
    assert datasets.labels("custom", {"files": str(tmp_path)}) == ["class"]
    with pytest.raises(DatasetError, match="custom: needs the path of your recordings, as `files`"):
        datasets.labels("custom", {})
    with pytest.raises(DatasetError, match="as `files`"):
        list(reader("custom")({}))


def test_labels_read_the_first_line_only(tmp_path):
    path = listed(tmp_path, "path,species", '"never closed', *["x" * 100] * 10_000)
    assert custom.labels(path) == ["species"]
    code = "import sys; from audio_neurons.datasets import custom; print('pandas' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.check_output(run, cwd=ROOT, text=True).strip() == "False"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", r"no column path in its first line; there are: none"),
        ("file,species", "no column path in its first line; there are: file, species"),
        (
            "path|species",
            r"there are: path\|species. The first line .* separated by commas, semicolons or tabs",
        ),
        ("Path,species", "no column path in its first line; did you mean Path"),
        ("path", "no label; add a column"),
        ("path,split,group,fold", "no label; add a column"),
        ("path,species,species", "two columns are called species"),
        ("path,species,", "column 3 has no name"),
        ('path,"spec', "line 1: unexpected end of data"),
        *((f"path,{name}", f"a label cannot be called {name}") for name in lists.RESERVED),
    ],
)
def test_first_lines_that_are_refused(tmp_path, header, told):
    path = listed(tmp_path, header)
    with pytest.raises(DatasetError, match=rf"{re.escape(str(path))}: .*{told}"):
        custom.labels(path)
    refused(path, told)


def test_files_that_are_refused(tmp_path):
    with pytest.raises(
        DatasetError, match=r"nowhere\.csv: no such file or folder; give the path of.*which is /"
    ):
        custom.labels(tmp_path / "nowhere.csv")
    for encoding in ("latin-1", "utf-16-le"):
        path = listed(tmp_path, "path,Käfer", "a.wav,x", encoding=encoding)
        with pytest.raises(DatasetError, match=r"not UTF-8 text .*; save the list as UTF-8"):
            custom.labels(path)


# Lists


def test_list_in_its_order(tmp_path):
    with_files(tmp_path / "sounds", "b.wav", "a.flac")
    with_files(tmp_path / "else", "c.ogg", data=b"far")
    path = listed(
        tmp_path / "sounds",
        "split,path,species,group,sex,fold",
        "test,b.wav,owl,nest 1,f,3",
        "train,./a.flac,jay,nest 2,m,0",
        f"valid,{tmp_path / 'else' / 'c.ogg'},owl,nest 3,m,2",
    )
    found = read(path)
    assert [(r.clip_id, r.split, r.group, r.fold, content(r)) for r in found] == [
        ("b.wav", "test", "nest 1", 3, b"x"),
        ("./a.flac", "train", "nest 2", 0, b"x"),
        (str(tmp_path / "else" / "c.ogg"), "valid", "nest 3", 2, b"far"),
    ]
    assert [r.labels for r in found] == [
        {"species": "owl", "sex": "f"}, {"species": "jay", "sex": "m"}, {"species": "owl", "sex": "m"}
    ]  # fmt: skip


def test_missing_files_have_no_data(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    names = ("here.wav", "gone.wav", "folder.wav", "\0.wav", "empty.wav", "pipe.wav")
    path = listed(tmp_path, "path,x", *(f"{name},{name[0]}" for name in names))
    with_files(tmp_path, "here.wav")
    assert [content(r) for r in read(path)] == [b"x", b"", b"", b"", b"", b""]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "delimiter"), [("l.csv", ","), ("l.tsv", "\t"), ("l.TSV", "\t")])
def test_values_with_everything_in_them(tmp_path, encoding, name, delimiter):
    labels = ["Träd, gren", 'the "other" one', "鳥", "a\tb", "two\nlines", " spaced "]
    frame = pd.DataFrame({"path": [f"{i}, ö.wav" for i in range(6)], "Art, lat.": labels})
    frame.to_csv(tmp_path / name, index=False, sep=delimiter, encoding=encoding)
    found = read(tmp_path / name)
    assert [r.labels["Art, lat."] for r in found] == [label.strip() for label in labels]
    assert found[5].clip_id == "5, ö.wav"


def test_line_ends_blank_lines_and_spaces_do_not_matter(tmp_path):
    plain = read(listed(tmp_path, "path,x", "a.wav,1", "b.wav,2"))
    path = tmp_path / "odd.csv"
    for text in (
        "path,x\r\na.wav,1\r\nb.wav,2",
        "path,x\ra.wav,1\rb.wav,2\r",
        "path,x\n\na.wav,1\n,\nb.wav,2\n\n\n",
        ' path ,x\na.wav, 1\n"b.wav",2 \n',
    ):
        path.write_bytes(text.encode())
        assert read(path) == plain


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a.wav,train,1,"], r"no row has a value in .*; of 1 rows, so many lack one: species \(1\)"),
        (
            ["", "a.wav,train,1,owl", "b.wav,dev,1,owl"],
            "line 4: split 'dev' is not one of train, valid, test",
        ),
        (['a.wav,train,1,"two\nlines"', "b.wav,val,1,x"], "line 4: split 'val' is not one of"),
        (["a.wav,train,one,owl"], "line 2: fold 'one' is not an integer from 0 to 32767"),
        (["a.wav,train,-1,owl"], "line 2: fold '-1'"),
        (["a.wav,train,32768,owl"], "line 2: fold '32768'"),
        (["a.wav,train,1" + "0" * 5000 + ",owl"], "line 2: fold '10+'"),
        (["a.wav,train,1"], "line 2 has 3 values, the first line names 4 columns"),
        (["a.wav,train,1,owl, barn"], "line 2 has 5 values, .* needs double quotes"),
        (['a.wav,train,1,"owl'], "line 2: unexpected end of data"),
        (["a.wav,train,1,owl", "b.wav,train,1,jay", "a.wav,test,1,owl"], r"line 4: a\.wav is in line 2"),
        ([], "lists no recordings"),
        (["a.wav,train,1,owl", "b.wav,train,1,owl"], "no label has two classes: species is always 'owl'"),
    ],
)
def test_lines_that_are_refused(tmp_path, lines, told):
    path = listed(tmp_path, "path,split,fold,species", *lines)
    refused(path, rf"{re.escape(str(path))}: {told}")


def test_one_label_of_two_classes_is_enough(tmp_path):
    assert len(read(listed(tmp_path, "path,x,y", "a.wav,1,1", "b.wav,1,2"))) == 2


def test_rows_without_a_value_are_left_out_and_told(tmp_path, capsys):
    lines = [
        "a.wav,train,1,",
        "b.wav,train,, ",
        ",train,1,owl",
        "c.wav,,1,owl",
        "d.wav,train,1,owl",
        "e.wav,test,2,jay",
    ]
    path = listed(tmp_path, "path,split,fold,species", *lines)
    found = read(path)
    assert [r.clip_id for r in found if not r.left_out] == ["d.wav", "e.wav"]
    assert [r.left_out for r in found if r.left_out] == [
        "line 2 of the list: no value for species",
        "line 3 of the list: no value for fold, species",
        "line 4 of the list: no value for path",
        "line 5 of the list: no value for split",
    ]
    told = (
        "4 of 6 rows are left out, since they have no value for species (2), fold (1), path (1), split (1): "
    )
    assert f"{path}: {told}a.wav, b.wav, line 4, ..." in capsys.readouterr().err


def test_a_blank_group_is_not_guessed(tmp_path):
    path = listed(tmp_path, "path,group,x", "a.wav,,1", "b.wav,g,2", "c.wav,g,1")
    assert [r.clip_id for r in read(path) if not r.left_out] == ["b.wav", "c.wav"]


# Folders


def test_folder_per_class(tmp_path):
    with_files(
        tmp_path, "owl/b.wav", "owl/2020/deep/a.FLAC", "jay/c.mp3", "jay/d.ogg", "Jay/e.aif", "jay/f.aiff",
        "owl/._b.wav", "owl/.hidden.wav", ".cache/g.wav", "owl/notes.txt", "__MACOSX/._b.wav", "list.csv",
        "owl/Thumbs.db", "jay/desktop.ini", "@eaDir/h.wav",
    )  # fmt: skip
    found = read(tmp_path)
    assert [(r.clip_id, r.labels["class"]) for r in found] == [
        ("Jay/e.aif", "Jay"), ("jay/c.mp3", "jay"), ("jay/d.ogg", "jay"), ("jay/f.aiff", "jay"),
        ("owl/2020/deep/a.FLAC", "owl"), ("owl/b.wav", "owl"),
    ]  # fmt: skip
    assert all(content(r) == b"x" and r.group == r.clip_id and r.fold == 0 for r in found)


def test_folder_per_split_and_class(tmp_path):
    tops = {"train": "train", "Val": "valid", "validation": "valid", "dev": "valid", "eval": "test",
            "evaluation": "test", "TEST": "test", "valid": "valid"}  # fmt: skip
    with_files(tmp_path, *(f"{top}/{c}/x/1.wav" for top in tops for c in ("owl", "jay")), "a.txt")
    found = read(tmp_path)
    assert {r.clip_id: r.split for r in found} == {
        f"{top}/{c}/x/1.wav": split for top, split in tops.items() for c in ("owl", "jay")
    }
    assert {r.labels["class"] for r in found} == {"owl", "jay"}


def test_one_split_like_class_among_others_is_a_class(tmp_path):
    with_files(tmp_path, "train/1.wav", "tram/2.wav")
    assert {r.labels["class"] for r in read(tmp_path)} == {"train", "tram"}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "holds no sound in a folder per class$"),
        (["owl/a.txt", "owl/b", "owl/._a.wav"], r"holds no sound .*: \.txt \(1\), no suffix \(1\)"),
        (["owl/a.wav", "b.wav"], r"b\.wav: looked for <class>/<file>; move it into its class's folder"),
        (["train/owl/a.wav", "test/b.wav"], r"test/b\.wav: looked for <split>/<class>/<file>"),
        (["train/owl/a.wav", "test/owl/b.wav", "extra/owl/c.wav"], "test, train look like splits, .* extra"),
        (["owl/a.wav", "owl/jay/b.wav"], "no label has two classes: class is always 'owl'"),
    ],
)
def test_folders_that_are_refused(tmp_path, names, told):
    refused(with_files(tmp_path, *names), told)


def test_links_are_followed_but_not_in_circles(tmp_path):
    with_files(tmp_path / "disk", "a.wav")
    folder = with_files(tmp_path / "folder", "owl/b.wav")
    (folder / "jay").symlink_to(tmp_path / "disk")
    (folder / "owl" / "again").symlink_to(folder)
    (folder / "jay" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = {r.clip_id: content(r) for r in read(folder)}
    assert found == {"jay/a.wav": b"x", "jay/gone.wav": b"", "owl/b.wav": b"x"}


def test_names_that_are_not_text_are_refused(tmp_path):
    folder = with_files(tmp_path, "owl/a.wav")
    try:
        (folder / "k\udce4fer.wav").mkdir()
    except OSError:
        pytest.skip("this file system has names in Unicode only")
    with_files(folder, "k\udce4fer.wav/b.wav")
    refused(folder, r"'k\\udce4fer\.wav/b\.wav': the name is not UTF-8; rename it")


# Groups and splits


def test_groups_by_pattern(tmp_path):
    path = listed(tmp_path, "path,x", "anna_1.wav,1", "anna_2.wav,2", "day2/bert_1.wav,1")
    assert [r.group for r in read(path)] == ["anna_1.wav", "anna_2.wav", "day2/bert_1.wav"]
    assert [r.group for r in read(path, group_pattern="[a-z]+_")] == ["anna_", "anna_", "bert_"]
    assert [r.group for r in read(path, group_pattern="([a-z]+)_[0-9]")] == ["anna", "anna", "bert"]
    folder = with_files(tmp_path / "f", "x/anna_1.wav", "y/anna_1.wav")
    assert {r.group for r in read(folder, group_pattern="(?:x|y)/(.*)_")} == {"anna"}


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("anna", r"`group_pattern`: 'anna' finds no group in 'bert\.wav'"),
        ("(anna)?", "finds no group in 'bert"),
        ("x*", "finds no group in 'anna"),
        ("(a", r"`group_pattern`: '\(a': missing \)"),
        (7, "`group_pattern`: '7'"),
    ],
)
def test_patterns_that_are_refused(tmp_path, pattern, told):
    refused(listed(tmp_path, "path,x", "anna.wav,1", "bert.wav,2"), told, group_pattern=pattern)


def test_a_pattern_and_a_column_exclude_each_other(tmp_path):
    path = listed(tmp_path, "path,group,x", "a.wav,g,1", "b.wav,g,2")
    refused(path, "has a column group; remove the option `group_pattern`", group_pattern="a")


@pytest.mark.parametrize(
    "shares",
    [{"train": 1, "dev": 0}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": "1"}, {}, [1], None,
     {"train": float("nan")}],
)  # fmt: skip
def test_shares_that_are_refused(tmp_path, shares):
    path = listed(tmp_path, "path,x", "a.wav,1", "b.wav,2")
    refused(path, "`shares`: .*: looked for shares of train, valid, test that add up to 1", shares=shares)


def splits_of(groups, folder, **options):
    path = listed(folder, "path,group,x", *(f"{i}.wav,{g},{i % 2}" for i, g in enumerate(groups)))
    return {(r.group, r.split) for r in read(path, **options)}


names = st.text("abc019 _-/", min_size=1, max_size=4).map(str.strip).filter(bool)


@settings(max_examples=50, deadline=None)
@given(groups=st.lists(names, min_size=2, max_size=40), seed=st.integers(), data=st.data())
def test_a_group_is_never_in_two_splits(tmp_path_factory, groups, seed, data):
    folder = tmp_path_factory.mktemp("list")
    found = splits_of(groups, folder, seed=seed)
    split_of = dict(found)
    assert len(split_of) == len(found) == len(set(groups))
    assert set(split_of.values()) <= set(SPLITS)
    # Neither the order nor the other recordings change a group's split.
    other = data.draw(st.permutations(groups))[: data.draw(st.integers(2, len(groups)))]
    more = data.draw(st.lists(names, max_size=5))
    again = dict(splits_of([*more, *other], folder, seed=seed))
    assert all(again[group] == split_of[group] for group in other)


@settings(max_examples=25, deadline=None)
@given(st.integers(), st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any))
def test_shares_are_about_right(seed, weights):
    shares = {split: weight / sum(weights) for split, weight in zip(SPLITS, weights, strict=True)}
    draw = groups.drawing(shares, seed)
    found = Counter(draw(f"speaker {i}") for i in range(1000))
    for split, share in shares.items():
        assert found[split] == pytest.approx(1000 * share, abs=90)  # more than five standard deviations
        assert share > 0 or not found[split]


def test_splits_are_those_of_every_machine(tmp_path):
    groups = [f"bird {i}" for i in range(12)]
    random.Random(1).shuffle(groups)
    found = dict(splits_of(groups, tmp_path))
    assert found == {f"bird {i}": "test" if i in (1, 11) else "train" for i in range(12)}
    assert set(dict(splits_of(groups, tmp_path, shares=ALL_TRAIN)).values()) == {"train"}
    assert dict(splits_of(groups, tmp_path, seed=1)) != found


def test_own_splits_are_kept(tmp_path):
    path = listed(tmp_path, "path,split,x", *(f"{i}.wav,{SPLITS[i % 3]},{i % 2}" for i in range(9)))
    assert [r.split for r in read(path, shares=ALL_TRAIN)] == [*SPLITS] * 3


def digest_of(path, contents, **options):
    return custom.listing(path, contents.of, **options)


def test_a_listing_tells_what_is_in_a_folder(tmp_path):
    folder = with_files(tmp_path / "birds", "owl/a.wav", "jay/b.wav", "notes.txt")
    contents = Contents(tmp_path / "checksums.txt")
    seen = [digest_of(folder, contents)]

    def changes() -> bool:
        seen.append(digest_of(folder, contents))
        return seen[-1] not in seen[:-1]

    assert not changes()
    with_files(folder, "notes.txt", "owl/.hidden.wav", data=b"others")
    assert not changes()
    with_files(folder, "owl/c.wav")
    assert changes()
    (folder / "owl" / "c.wav").rename(folder / "jay" / "c.wav")
    assert changes()
    with_files(folder, "owl/a.wav", data=b"another")
    assert changes()
    (folder / "jay" / "gone.wav").symlink_to("nowhere")
    assert changes()
    os.utime(folder / "owl" / "a.wav", (1, 1))  # the same content
    assert not changes()
    folder.rename(tmp_path / "moved")
    assert digest_of(tmp_path / "moved", contents) == seen[-1]
    with pytest.raises(DatasetError, match="moved/owl/x: holds no"):
        digest_of(with_files(tmp_path / "moved" / "owl" / "x", "a.txt"), contents)
