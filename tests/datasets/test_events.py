"""Events: columns of a list, label tracks of Audacity, selection tables of Raven, and RTTM."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from upstream import sound, table

from audio_neurons import datasets, tables
from audio_neurons.datasets import DatasetError, custom, events
from audio_neurons.datasets.registry import labels
from audio_neurons.recordings import audio
from audio_neurons.recordings.preparation import prepare
from audio_neurons.running.contents import Contents
from audio_neurons.settings.datasets import Windows

RATE = 16_000
WAVE = (np.random.default_rng(0).integers(-3000, 3000, 10 * RATE) / 32768).astype(np.float32)


def listed(folder, columns, *lines):
    """A list of recordings of ten seconds, which are there too."""
    path = folder / "list.csv"
    path.write_text(table(columns, *lines))
    for line in lines:
        file = folder / line.partition(",")[0]
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(sound(WAVE))
    return path


def found(path, **options):
    return list(datasets.reader("custom")({"files": path}, **options))


def told(recordings):
    return {r.clip_id: (r.onset, r.offset, *r.labels.values()) for r in recordings}


def prepared(path, **options):
    parts = [path.with_name("part.parquet")]
    prepare("custom", {"files": path}, parts, path.with_name("rejected.parquet"), **options)
    return tables.read(parts[0], "clips").set_index("clip_id")


def samples(clips, name):
    return audio.read(clips.loc[name, "audio"], int(clips.loc[name, "frames"]))


def test_events_of_a_list_are_clips_of_these_samples_and_of_their_recordings_group(tmp_path):
    path = listed(
        tmp_path, "path,onset,offset,species",
        "a.wav,0.5,1.25,owl", "a.wav,1,3.5,wren", "b.wav,,,wren", "a.wav,1,3.5,owl",
    )  # fmt: skip
    clips = prepared(path)
    assert clips["species"].to_dict() == {
        "a.wav@0.5-1.25": "owl", "a.wav@1-3.5": "wren", "b.wav": "wren", "a.wav@1-3.5#2": "owl",
    }  # fmt: skip
    np.testing.assert_array_equal(samples(clips, "a.wav@0.5-1.25"), WAVE[8000:20_000])
    np.testing.assert_array_equal(samples(clips, "a.wav@1-3.5"), WAVE[16_000:56_000])
    np.testing.assert_array_equal(samples(clips, "b.wav"), WAVE)
    assert list(clips["group"]) == ["a.wav", "a.wav", "b.wav", "a.wav"]
    assert clips.groupby("group")["split"].nunique().max() == 1


def test_windows_are_of_events(tmp_path):
    path = listed(tmp_path, "path,onset,offset,species", "a.wav,2,5,owl", "a.wav,4,4.5,wren")
    clips = prepared(path, windows=Windows(every=1.5), clip_seconds=1.0)
    assert list(clips.index) == ["a.wav@2-5@2", "a.wav@2-5@3.5", "a.wav@4-4.5"]
    np.testing.assert_array_equal(samples(clips, "a.wav@2-5@3.5"), WAVE[56_000:72_000])
    centre = prepared(path, windows=Windows(at="centre"), clip_seconds=1.0)
    np.testing.assert_array_equal(samples(centre, "a.wav@2-5@3"), WAVE[48_000:64_000])
    loudest = prepared(path, windows=Windows(at="loudest"), clip_seconds=1.0)
    assert loudest.index[1] == "a.wav@4-4.5"
    assert 2 <= float(loudest.index[0].removeprefix("a.wav@2-5@")) <= 4


def test_an_event_beyond_its_file_is_rejected_and_one_that_ends_there_is_told(tmp_path, capsys):
    path = listed(
        tmp_path, "path,onset,offset,species", "a.wav,9,12,owl", "a.wav,11,12,wren", "a.wav,0,1,wren"
    )
    clips = prepared(path, max_rejected=0.5)
    assert clips["frames"].to_dict() == {"a.wav@9-12": RATE, "a.wav@0-1": RATE}
    assert "1 clips end before their offset, where their files end" in capsys.readouterr().err
    rejected = tables.read(tmp_path / "rejected.parquet", "rejected").to_numpy().tolist()
    assert rejected == [["a.wav@11-12", "begins at 11 s, and the file has 10 s"]]


AUDACITY = "0.500000\t1.250000\towl\n\\\t200.0\t3000.0\n\n2,5\t3\twren, near\n"
RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
    "1\tWaveform 1\t1\t0.5\t1.25\t0\t8000\towl\n"
    "1\tSpectrogram 1\t1\t0.5\t1.25\t200\t3000\towl\n"
    "2\tSpectrogram 1\t1\t2.5\t3\t200\t3000\twren, near\n"
)
RTTM = (
    ";; a comment\n"
    "SPKR-INFO a 1 <NA> <NA> <NA> adult owl <NA> <NA>\n"
    "SPEAKER a 1 0.5 0.75 <NA> <NA> owl <NA> <NA>\n"
    "SPEAKER a 1 2.5 0.5 <NA> <NA> wren,_near <NA> <NA>\n"
)
EVENTS = {"a.wav@0.5-1.25": (0.5, 1.25, "owl"), "a.wav@2.5-3": (2.5, 3.0, "wren, near")}


@pytest.mark.parametrize(
    ("name", "content", "option"),
    [
        ("a.txt", AUDACITY, "{name}.txt"),
        ("labels/a.Table.1.selections.txt", RAVEN, "labels/{stem}.Table.1.selections.txt"),
        ("a.rttm", RTTM.replace("wren,_near", "wren"), "a.rttm"),
        ("all.txt", RTTM.partition("\n")[2].partition("\n")[2].replace("wren,_near", "wren"), "all.txt"),
    ],
)
def test_files_of_annotation_programs_are_read(tmp_path, capsys, name, content, option):
    path = listed(tmp_path, "path,group", "a.wav,x", "b.wav,y")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    recordings = found(path, events=option)
    wanted = {
        name: (a, b, "wren" if "SPEAKER" in content and b == 3 else c) for name, (a, b, c) in EVENTS.items()
    }
    assert told(recordings) == wanted
    assert {r.group for r in recordings} == {"x"}
    assert "1 of 2 recordings have no events, and are left out: b.wav" in capsys.readouterr().err
    assert labels("custom", {"files": path}, {"events": option, "event_label": "call"}) == ["call"]


def test_labels_of_a_list_go_with_its_events_and_a_folder_needs_no_classes(tmp_path):
    path = listed(tmp_path, "path,site", "x/a.wav,hill", "x/b.wav,lake")
    for name in "ab":
        (tmp_path / f"x/{name}.txt").write_text(AUDACITY)
    (first, *_) = found(path, events="{name}.txt", event_label="species")
    assert first.labels == {"site": "hill", "species": "owl"}
    assert labels("custom", {"files": path}, {"events": "{name}.txt"}) == ["site", "event"]
    assert [r.clip_id for r in found(tmp_path / "x", events="{name}.txt")] == [
        "a.wav@0.5-1.25", "a.wav@2.5-3", "b.wav@0.5-1.25", "b.wav@2.5-3",
    ]  # fmt: skip
    assert labels("custom", {"files": tmp_path / "x"}, {"events": "{name}.txt"}) == ["event"]


def test_a_raven_table_of_several_files_tells_the_file_and_the_place_in_it(tmp_path, capsys):
    head = "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tcall\n"
    rows = "1\t2\t3\ta.wav\t2\thoot\n2\t12.5\t13\tb.wav\t2.5\tsong\n3\t40\t41\tz.wav\t1\tsong\n"
    (tmp_path / "all.txt").write_text(head + rows)
    path = listed(tmp_path, "path,group", "a.wav,x", "b.wav,y")
    assert told(found(path, events="all.txt")) == {
        "a.wav@2-3": (2.0, 3.0, "hoot"), "b.wav@2.5-3": (2.5, 3.0, "song"),
    }  # fmt: skip
    assert "1 events are of recordings that are not listed, and left out: z.wav" in capsys.readouterr().err


LIST = "path,group"
WRONG = {
    "0.5\t1\n": "line 1: looked for onset, offset and label, separated by tabs (Audacity)",
    "0.5\t1\t \n": "line 1: looked for onset",
    "\n1\t1\towl\n": "line 2: the event from 1 to 1 s has no length (a point); correct its times",
    "2\t1\towl\n": "line 1: the event from 2 to 1 s ends before it begins",
    "x\t1\towl\n": "line 1: 'x' is not a time in seconds, such as 12.5",
    "-1\t1\towl\n": "line 1: '-1' is not a time",
    "SPEAKER a 1 0.5\n": "line 1: looked for SPEAKER, file, channel, onset, duration",
    RAVEN.replace("Species", "Kind\tOther"): "no column event (option `event_label`); there are: Kind, Other",
    RAVEN.replace("\towl", "\t"): "line 2: no value for Species",
    "0\t1\towl\n0\t1\towl\n": "a.wav@0-1: the event is there twice, with the same labels; remove one",
    "0\t1\towl\n": "no label has two classes: event is always 'owl'",
}


@pytest.mark.parametrize("content", WRONG)
def test_a_file_that_is_wrong_is_refused_with_its_line(tmp_path, content):
    path = listed(tmp_path, LIST, "a.wav,x")
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DatasetError, match=re.escape(WRONG[content])):
        found(path, events="{name}.txt")


def test_what_does_not_fit_together_is_refused(tmp_path):
    path = listed(tmp_path, "path,group", "a.wav,x", "x/a.flac,y")
    with pytest.raises(DatasetError, match=r"no recording has an event in .*\{name\}\.txt; .* such as a$"):
        found(path, events="{name}.txt")
    with pytest.raises(DatasetError, match=r"option `events`: .*none\.rttm: no such file"):
        found(path, events="none.rttm")
    (tmp_path / "all.rttm").write_text(RTTM)
    with pytest.raises(DatasetError, match=r"line 3: 'a' is a\.wav or x/a\.flac; rename one of them"):
        found(path, events="all.rttm")
    (tmp_path / "all.txt").write_text(AUDACITY)
    with pytest.raises(DatasetError, match=r"line 1: it does not say of which recording; .*\{name\}"):
        found(path, events="all.txt")
    with pytest.raises(DatasetError, match="has a column site; give the events' label another `event_label`"):
        found(listed(tmp_path, "path,site", "a.wav,x"), events="{name}.txt", event_label="site")


@pytest.mark.parametrize(
    ("columns", "lines", "message"),
    [
        ("path,onset,kind", ["a.wav,1,owl"], "the columns onset and offset go together"),
        ("path,onset,offset,kind", ["a.wav,1,,owl"], "line 2: onset and offset go together"),
        ("path,onset,offset,kind", ["a.wav,0,1,owl", "a.wav,0,1.0,owl"], "line 3: a.wav is in line 2"),
        ("path,onset,offset,group,kind", ["a.wav,0,1,x,owl", "a.wav,2,3,y,owl"], "are in several groups"),
        (
            "path,onset,offset,split,kind",
            ["a.wav,0,1,train,owl", "a.wav,2,3,test,wren"],
            "a.wav: its events are in several groups, splits or folds (group a.wav, split train, fold 0; "
            "group a.wav, split test, fold 0); a recording belongs to one",
        ),
    ],
)  # fmt: skip
def test_a_list_of_events_that_is_wrong_is_refused(tmp_path, columns, lines, message):
    with pytest.raises(DatasetError, match=re.escape(message)):
        found(listed(tmp_path, columns, *lines))


def test_a_list_has_no_events_of_two_kinds(tmp_path):
    path = listed(tmp_path, "path,onset,offset,kind", "a.wav,0,1,owl")
    with pytest.raises(DatasetError, match=r"has events of its own \(onset, offset\); remove the option"):
        found(path, events="{name}.txt")


def test_a_changed_file_of_events_is_noticed(tmp_path):
    path = listed(tmp_path, "path,group", "a.wav,x", "b.wav,y")
    (tmp_path / "a.txt").write_text(AUDACITY)
    options, contents = {"events": "{name}.txt", "seed": 3}, Contents(tmp_path / "checksums.txt")
    before = custom.listing(path, contents.of, **options)
    assert custom.listing(path, contents.of, **options) == before
    (tmp_path / "a.txt").write_text(AUDACITY.replace("owl", "jay"))
    assert custom.listing(path, contents.of, **options) != before


def test_one_file_for_all_has_no_place_in_braces():
    assert events.annotation(Path("f"), "x/{stem}.txt", "a/b.c.wav") == Path("f/x/b.c.txt")
    assert events.annotation(Path("f"), "{name}.txt", "a/b.c.wav") == Path("f/a/b.c.txt")
    assert events.annotation(Path("f"), "all.rttm", "a/b.c.wav") == Path("f/all.rttm")
