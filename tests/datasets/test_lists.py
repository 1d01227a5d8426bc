"""Lists and folders as people have them: what their author meant, and what the file system holds."""

from __future__ import annotations

import os
import unicodedata

import pytest
from upstream import sound, table

from audio_neurons import tables
from audio_neurons.datasets import DatasetError, custom, groups, reader
from audio_neurons.recordings.preparation import prepare

ALL = {"shares": {"train": 1}}


def listed(folder, *lines, name="list.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(table(*lines).encode(encoding))
    return path


def with_files(folder, *names, data=b"x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(path, **options):
    return list(reader("custom")({"files": path}, **options))


def used(path, **options):
    return [r for r in read(path, **options) if not r.left_out]


def refused(path, told, **options):
    with pytest.raises(DatasetError, match=told):
        read(path, **options)


# Encodings, delimiters and quotes


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.txt"])
def test_what_excel_and_others_write_is_read_alike(tmp_path, ends, encoding, delimiter, name):
    lines = ["path,Käfer", "a.wav,größer", "b.wav,kleiner", ""]
    text = ends.join(line.replace(",", delimiter) for line in lines)
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert [(r.clip_id, dict(r.labels)) for r in read(tmp_path / name)] == [
        ("a.wav", {"Käfer": "größer"}), ("b.wav", {"Käfer": "kleiner"})
    ]  # fmt: skip


def test_the_delimiter_that_excel_is_told_is_used(tmp_path):
    path = listed(tmp_path, "sep=|", "path|x", "a.wav|1", "b.wav|2", "c.wav")
    refused(path, "line 5 has 1 values, the first line names 2 columns")
    assert [r.labels["x"] for r in read(listed(tmp_path, "sep=|", "path|x", "a.wav|1", "b.wav|2"))] == [
        "1",
        "2",
    ]


TABS = {
    "lone quotes": (['a "b', '"c" d', 'e"', '"', 'f'], None),
    "two lone quotes that would swallow the lines between": (['"It began', "then", 'and ended"'], None),
    "quoted by a program": (['"the ""other"" one"', "plain", '"x"'], ['the "other" one', "plain", "x"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABS)
def test_quotes_in_lists_with_tabs_are_text_unless_they_enclose_values(tmp_path, kind):
    sentences, expected = TABS[kind]
    lines = [f"{i}.wav\t{sentence}\t{i % 2}" for i, sentence in enumerate(sentences)]
    found = read(listed(tmp_path, "path\tsentence\tx", *lines, name="l.tsv"))
    assert [r.labels["sentence"] for r in found] == (expected or sentences)
    assert [r.labels["x"] for r in found] == [str(i % 2) for i in range(len(sentences))]


def test_quotes_around_tabs_and_line_breaks_enclose_them(tmp_path):
    path = listed(tmp_path, "path\tx", 'a.wav\t"one\ttab"', 'b.wav\t"two\nlines"', name="l.tsv")
    assert [r.labels["x"] for r in read(path)] == ["one\ttab", "two\nlines"]


# Columns


COMMON_VOICE = [
    "client_id\tpath\tsentence\tup_votes\tage\tgender\taccents\tvariant\tsegment",
    'c1\tcv_1.mp3\tHe said "yes.\t2\ttwenties\tmale_masculine\t\t\t',
    "c1\tcv_2.mp3\tNo.\t2\ttwenties\tmale_masculine\t\t\t",
    'c2\tcv_3.mp3\t"Why?\t3\t\tfemale_feminine\t\t\t',
    "c3\tcv_4.mp3\tBecause.\t3\t\t\t\t\t",
]


def test_common_voice_is_read_by_the_columns_that_are_asked_for(tmp_path, capsys):
    with_files(tmp_path / "clips", *(f"cv_{i}.mp3" for i in range(1, 5)))
    path = listed(tmp_path, *COMMON_VOICE, name="validated.tsv")
    columns = {"group": "client_id", "labels": ["gender"]}
    found = used(path, columns=columns, folder="clips")
    assert [(r.clip_id, r.group, dict(r.labels)) for r in found] == [
        ("cv_1.mp3", "c1", {"gender": "male_masculine"}),
        ("cv_2.mp3", "c1", {"gender": "male_masculine"}),
        ("cv_3.mp3", "c2", {"gender": "female_feminine"}),
    ]
    assert [r.data for r in found] == [tmp_path / "clips" / f"cv_{i}.mp3" for i in (1, 2, 3)]
    assert f"{path}: 1 of 4 rows are left out, since they have no value for gender (1): cv_4.mp3" in (
        capsys.readouterr().err
    )
    assert custom.labels(path, columns=columns) == ["gender"]
    refused(
        path, r"no row has a value in .*; of 4 rows, so many lack one: accents \(4\), variant \(4\), segment"
    )
    refused(path, "no such folder: .*wrong", columns=columns, folder="wrong")


def test_rows_without_a_value_are_listed_and_do_not_count_as_unusable(tmp_path):
    with_files(tmp_path, *(f"{i}.wav" for i in range(4)), data=sound())
    path = listed(tmp_path, "path,x,y", "0.wav,1,", "1.wav,2,", "2.wav,,", "3.wav,,3")
    rejected, clips = tmp_path / "rejected.parquet", tmp_path / "clips.parquet"
    options = {"columns": {"labels": ["x"]}, **ALL}
    summary = prepare("custom", {"files": path}, [clips], rejected, max_rejected=0, options=options)
    assert (summary.clips, summary.rejected, summary.excluded) == (2, 0, 2)
    assert list(tables.read(clips, "clips")["x"]) == ["1", "2"]
    assert tables.read(rejected, "rejected").to_numpy().tolist() == [
        ["line 4: 2.wav", "line 4 of the list: no value for x"],
        ["line 5: 3.wav", "line 5 of the list: no value for x"],
    ]


def test_columns_may_have_any_names(tmp_path):
    path = listed(tmp_path, "File,Set,Bird,who,n,,n", "a.wav,train,owl,m,1,,7", "b.wav,test,jay,k,2,,7")
    columns = {"path": "File", "split": "Set", "group": "who", "fold": "Bird", "labels": ["Bird"]}
    refused(path, "the column Bird is a label, and something else too", columns=columns)
    del columns["fold"]
    assert [(r.clip_id, r.split, r.group, dict(r.labels)) for r in read(path, columns=columns)] == [
        ("a.wav", "train", "m", {"Bird": "owl"}), ("b.wav", "test", "k", {"Bird": "jay"})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"group": "speaker"}, "no column speaker in its first line; did you mean speakers"),
        ({"labels": ["z"]}, "no column z in its first line; there are: path, speakers, x, n, n"),
        ({"labels": "x"}, "labels: x: looked for a list of columns"),
        ({"labels": []}, "looked for a list of columns"),
        ({"label": ["x"]}, "looked for names of columns by path, split, group, fold, onset, offset, labels"),
        ([], "looked for names of columns"),
        ({"group": "n", "labels": ["x"]}, "two columns are called n"),
        ({"labels": ["path"]}, "the column path is a label, and something else too"),
    ],
)
def test_columns_that_are_refused(tmp_path, columns, told):
    path = listed(tmp_path, "path,speakers,x,n,n", "a.wav,m,1,1,1", "b.wav,k,2,2,2")
    refused(path, told, columns=columns)


def test_columns_and_folder_are_options_of_lists(tmp_path):
    refused(with_files(tmp_path, "a/1.wav", "b/2.wav"), "are for lists, not for folders", folder="x")


# Paths


def test_paths_mean_files_that_are_spelt_otherwise(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    nfd = unicodedata.normalize("NFD", "Käfer")
    with_files(
        tmp_path, f"{nfd}/é.wav", "Hill/0001.WAV", "plain.wav", "home/mine.wav", "win/dows.wav",
        " space .wav", "with space.wav",
    )  # fmt: skip
    names = {
        "Käfer/é.wav": f"{nfd}/é.wav",
        "hill/0001.wav": "Hill/0001.WAV",
        "plain.wav": "plain.wav",
        "~/mine.wav": "home/mine.wav",
        r"win\dows.wav": "win/dows.wav",
        r".\HILL\0001.wav": None,
        "space .wav": " space .wav",
        f"file://{tmp_path}/with%20space.wav": "with space.wav",
    }
    del names[r".\HILL\0001.wav"]
    path = listed(tmp_path, "path,x", *(f"{name},{i % 2}" for i, name in enumerate(names)))
    found = read(path)
    assert [r.clip_id for r in found] == list(names)
    assert [os.path.relpath(r.data, tmp_path) for r in found] == list(names.values())
    told = "4 paths are spelt otherwise than their files (case, Unicode form, separators or spaces)"
    assert (
        f"{told}, which are used: é.wav for Käfer/é.wav, 0001.WAV for hill/0001.wav, "
        in capsys.readouterr().err
    )


def test_two_spellings_of_one_file_are_one_file_twice(tmp_path):
    with_files(tmp_path, "a.WAV")
    refused(listed(tmp_path, "path,x", "a.wav,1", "A.wav,2"), r"line 3: A\.wav is in line 2 already")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.wav", r"missing; there is b\.flac"),
        ("recordng_12.wav", r"missing; there is recording_12\.wav"),
        ("nothing like it", "missing"),
        ("A.wav", r"missing, or one of a\.WAV, a\.wav in "),
        (
            r"C:\Users\me\a.wav",
            "a path of Windows; make paths relative to the list, or to the option `folder`",
        ),
        ("gone/b.wav", "missing"),
    ],
)
def test_files_that_are_missing_say_what_is_there(tmp_path, name, reason):
    with_files(tmp_path, "a.wav", "a.WAV", "b.flac", "recording_12.wav", "c.wav", data=sound())
    if len(os.listdir(tmp_path)) < 5:
        pytest.skip("this file system does not tell names by case")
    path = listed(tmp_path, "path,x", f"{name},1", "c.wav,2")
    rejected = tmp_path / "rejected.parquet"
    prepare("custom", {"files": path}, [tmp_path / "c.parquet"], rejected, max_rejected=0.5, options=ALL)
    told = tables.read(rejected, "rejected")["reason"].item()
    assert told.startswith(reason.replace("\\.", ".")), told


# Folders


KINDS = {
    "a.sph": "NIST",
    "b.aifc": "AIFF",
    "c.wave": "WAV",
    "d": "FLAC",
    "e.mp2": "MP3",
    "f.3gp": "WAV",
    "g.dat": "OGG",
}


def test_sound_in_a_folder_is_told_by_its_content(tmp_path, capsys):
    for name, kind in KINDS.items():
        with_files(tmp_path, f"{name[0]}/{name}", data=sound(kind=kind))
    with_files(
        tmp_path, "a/notes.txt", "a/readme", "b/x.jpg", "b/y.JPG", data=b"\xff\xd8\xff\xe0 no sound at all"
    )
    with_files(tmp_path, "c/zeros", data=bytes(3000) + sound(kind="MP3"))
    with_files(tmp_path, "c/phone", data=bytes(3) + b"\x18ftypM4A " + bytes(100))
    assert [r.clip_id for r in read(tmp_path)] == sorted(
        [*(f"{name[0]}/{name}" for name in KINDS), "c/zeros", "c/phone"]
    )
    told = f"{tmp_path}: 4 files hold no sound and are passed over: .jpg (2), .txt (1), no suffix (1)"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["owl/a.txt", "owl/b.TXT", "owl/c"], r"owl: a class folder without sound: \.txt \(2\), no suffix"),
        (["owl/deep/a.pdf"], r"owl: a class folder without sound: \.pdf \(1\)"),
        (["owl/.hidden"], "owl: a class folder without sound: it is empty"),
    ],
)  # fmt: skip
def test_a_class_of_which_nothing_is_used_is_an_error(tmp_path, names, told):
    refused(with_files(tmp_path, "jay/1.wav", "wren/2.wav", *names), told)
    for name in names:
        (tmp_path / name).rename(tmp_path / "1.tmp")
    split = tmp_path / "split"
    with_files(split, *(f"{s}/{c}/1.wav" for s in ("train", "test") for c in ("jay", "wren")))
    with_files(split, *(f"train/{name}" for name in names))
    refused(split, f"train/{told}")


def test_what_systems_leave_in_folders_is_no_class(tmp_path):
    with_files(
        tmp_path, "jay/1.wav", "wren/2.wav", "__MACOSX/jay/._1.wav", "@eaDir/1.wav", ".git/x", "jay/._1.wav",
        "jay/.DS_Store", "lost+found/x",
    )  # fmt: skip
    assert [r.clip_id for r in read(tmp_path)] == ["jay/1.wav", "wren/2.wav"]


# Many groups


def test_too_many_groups_are_joined_within_their_class_and_split_and_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(groups.bounded, "__defaults__", (100,))
    lines = [f"{i}.wav,{'train' if i % 3 else 'test'},{i % 5}" for i in range(900)]
    found = read(listed(tmp_path, "path,split,x", *lines))
    cells = {(r.group, r.split, r.labels["x"]) for r in found}
    assert 90 <= len(cells) <= 100
    assert len({group for group, _, _ in cells}) == len(cells)
    assert found == read(listed(tmp_path, "path,split,x", *lines))
    told = (
        "900 groups are too many to keep their counts apart; groups of the same labels and split are joined"
    )
    assert told in capsys.readouterr().err
    assert all(r.group == r.clip_id for r in read(listed(tmp_path, "path,split,x", *lines[:100])))


def test_groups_of_several_classes_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(groups.bounded, "__defaults__", (60,))
    lines = [f"{i}.wav,g{i // 2 if i < 80 else i},{i % 2}" for i in range(200)]
    found = read(listed(tmp_path, "path,group,x", *lines), **ALL)
    assert [r.group for r in found[:80]] == [f"g{i // 2}" for i in range(80)]
    assert len({r.group for r in found[80:]}) == 2
