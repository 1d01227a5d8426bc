"""CREMA-D, GTZAN, NSynth, Surge, RAVDESS, EmoDB and FSDD, each as upstream has it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from fnmatch import fnmatchcase
from importlib import resources

import pytest
from common import SHARED
from test_datasets import rows
from upstream import dataset, lfs_pointer, sound, table, tarred, zipped

from audio_neurons.datasets import DatasetError, _layout, reader, source
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.nsynth import octave
from audio_neurons.datasets.registry import NO_SPLIT

# CREMA-D


def test_cremad(tmp_path):
    archives = dataset("cremad", tmp_path)
    assert rows("cremad", archives) == [
        (
            f"{actor}_{sentence}_{emotion}_{level}.wav", split, actor,
            {"emotion": emotion, "gender": gender, "sentence": sentence, "level": level},
        )
        for actor, sentence, emotion, level, split, gender in [
            ("1001", "DFA", "ANG", "XX", "train", "male"), ("1002", "IEO", "HAP", "HI", "valid", "female"),
            ("1003", "IEO", "SAD", "LO", "test", "female"), ("1006", "TIE", "HAP", "XX", "train", "male"),
            ("1076", "MTI", "SAD", "XX", "train", "female"),
        ]
    ]  # fmt: skip
    assert set(source("cremad")["excluded"]) == {"1076_MTI_SAD_XX.wav"}
    held = [name for path in archives["archive"] for name, _ in members(path)]
    assert "1006_TIE_NEU_XX.wav" in held  # a copy of 1006_TIE_HAP_XX.wav, not in the list


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1099_IEO_SAD_LO.wav,SAD,1099,test", r"VideoDemographics\.csv: no actor 1099, but .*cremad\.csv"),
        ("1001_IEO_SAD.wav,SAD,1001,test", r"'1001_IEO_SAD\.wav': looked for <actor>_<sentence>_<emotion>"),
    ],
)
def test_cremad_names_must_be_upstreams(tmp_path, line, told):
    archives = dataset("cremad", tmp_path)
    archives["splits"].write_text(f"file_name,label,speaker_id,split\n{line}\n")
    with pytest.raises(DatasetError, match=told):
        rows("cremad", archives)


def test_cremad_manifest_is_upstreams():
    text = resources.files("audio_neurons.datasets").joinpath("cremad_lfs.csv").read_text()
    listed = list(csv.DictReader(io.StringIO(text)))
    assert list(listed[0]) == ["name", "bytes", "sha256"]
    assert len({row["name"] for row in listed}) == 7442
    assert sum(int(row["bytes"]) for row in listed) == 605_899_936
    sums = {row["name"]: row["sha256"] for row in listed}
    assert sums["1006_TIE_NEU_XX.wav"] == sums["1006_TIE_HAP_XX.wav"]
    pattern = r"10\d\d_(IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)_[A-Z]{3}_(LO|MD|HI|XX)\.wav"
    assert all(re.fullmatch(pattern, name) for name in sums)


def test_pointers_of_git_lfs_look_like_upstreams():
    pointer = lfs_pointer(bytes(72_862))
    assert pointer.startswith(b"version https://git-lfs.github.com/spec/v1\noid sha256:")
    assert len(pointer) == 130


# GTZAN


def test_gtzan(tmp_path):
    assert rows("gtzan", dataset("gtzan", tmp_path)) == [
        (name, split, name, {"genre": name.partition("/")[0]})
        for name, split in [
            ("blues/blues.00000.wav", "valid"), ("jazz/jazz.00053.wav", "train"),
            ("jazz/jazz.00054.wav", "train"), ("rock/rock.00001.wav", "test"),
        ]
    ]  # fmt: skip


def test_gtzan_has_its_unlisted_songs_too_where_they_are_wanted(tmp_path):
    found = {r.clip_id: r for r in reader("gtzan")(dataset("gtzan", tmp_path), filtered=False)}
    assert len(found) == 1000
    assert found["rock/rock.00099.wav"].split == NO_SPLIT == "none"
    assert found["rock/rock.00099.wav"].data
    assert found["rock/rock.00099.wav"].labels == {"genre": "rock"}
    assert found["rock/rock.00001.wav"].split == "test"
    assert Counter(name.partition("/")[0] for name in found) == dict.fromkeys(
        ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"), 100
    )


def test_gtzan_manifest_is_upstreams():
    manifest = _layout.checksums("gtzan_md5.csv")
    genres = Counter(name.partition("/")[0] for name in manifest)
    assert len(genres) == 10
    assert set(genres.values()) == {100}
    assert manifest["jazz/jazz.00054.wav"] == "8f0ab76fff2d2c6bc80eb9c9362318ca"
    assert list(source("gtzan")["excluded"]) == ["jazz/jazz.00054.wav"]
    assert source("gtzan")["options"]["verify_members"] is True


def test_gtzan_members_are_verified(tmp_path, monkeypatch):
    archives = dataset("gtzan", tmp_path)
    with pytest.raises(
        DatasetError, match=r"blues/blues\.00000\.wav is not upstream's .*verify_members: fal"
    ):
        rows("gtzan", archives, verify_members=True)
    mine = {r.clip_id: hashlib.md5(r.data).hexdigest() for r in reader("gtzan")(archives)}
    monkeypatch.setattr(_layout, "checksums", lambda _: mine)
    assert len(rows("gtzan", archives, verify_members=True)) == 4


def test_gtzan_as_au_files_is_refused_with_the_remedy(tmp_path):
    archives = dataset("gtzan", tmp_path, suffix=".au")
    with pytest.raises(DatasetError, match=r"blues\.00000\.au: looked for .*\.wav\. .*Remedy: delete it"):
        rows("gtzan", archives)


# NSynth


def note(name, split):
    instrument, pitch, velocity = name.rsplit("-", 2)
    family, kind, _ = instrument.rsplit("_", 2)
    labels = {"octave": str(int(pitch) // 12 - 1), "pitch": str(int(pitch)), "family": family, "source": kind}
    return name, split, instrument, {**labels, "velocity": str(int(velocity))}


LOW, HIGH = ("bass_synthetic_009-009-025", "valid"), ("organ_electronic_028-116-127", "test")
NOTES = [
    ("synth_lead_synthetic_001-060-100", "train"), ("guitar_acoustic_001-021-025", "train"),
    ("bass_synthetic_009-033-050", "valid"), ("organ_electronic_028-108-127", "test"),
    ("brass_acoustic_046-083-025", "test"), ("brass_acoustic_046-084-025", "test"),
]  # fmt: skip


def test_nsynth(tmp_path):
    archives = dataset("nsynth", tmp_path)
    found = rows("nsynth", archives)
    assert found == [note(*one) for one in NOTES]
    assert found[0][3] == {
        "octave": "4", "pitch": "60", "family": "synth_lead", "source": "synthetic", "velocity": "100"
    }  # fmt: skip
    everything = rows("nsynth", archives, pitches=None)
    assert sorted(everything) == sorted(note(*one) for one in [*NOTES, LOW, HIGH])
    assert {row[0]: row[3]["octave"] for row in everything}[LOW[0]] == "-1"
    assert rows("nsynth", archives, pitches=[9, 90])[2] == note(*LOW)


@pytest.mark.parametrize("pitches", [[21], [108, 21], "21-108", 60, ["21", "108"]])
def test_nsynth_pitches_must_be_a_range(tmp_path, pitches):
    with pytest.raises(DatasetError, match=r"option `pitches` is .* looked for \[lowest, highest\] or null"):
        rows("nsynth", dataset("nsynth", tmp_path), pitches=pitches)


def test_nsynth_noise_is_named_and_nothing_else():
    noise = [f"brass_acoustic_046-{pitch:03d}-100" for pitch in range(84, 109)]
    others = [f"brass_acoustic_046-{pitch:03d}-100" for pitch in (21, 79, 83, 109)]
    others += ["brass_acoustic_045-090-100", "brass_electronic_046-090-100"]
    patterns = source("nsynth")["excluded"]
    assert all(any(fnmatchcase(name, pattern) for pattern in patterns) for name in noise)
    assert not any(fnmatchcase(name, pattern) for pattern in patterns for name in others)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "not a JSON object of notes"),
        ("{", "not a JSON object of notes"),
        ('{"pitch": 60}', "not a JSON object of notes"),
        (
            json.dumps({"a": {"pitch": 60}}),
            "note a has no field instrument_str, instrument_family_str, instr",
        ),
        (json.dumps({"a": {}}), "note a has no field instrument_str, pitch, "),
        (json.dumps({"a": 3}), "note a has no field instrument_str, pitch, "),
    ],
)
def test_nsynth_descriptions_must_be_whole(tmp_path, content, told):
    archives = dataset("nsynth", tmp_path)
    archives["train"] = tarred(tmp_path / "bad.tar.gz", {"nsynth-train/examples.json": content})
    with pytest.raises(DatasetError, match=rf"bad\.tar\.gz: examples\.json: {told}"):
        rows("nsynth", archives)


@pytest.mark.parametrize(("pitch", "expected"), [(9, -1), (21, 0), (59, 3), (60, 4), (108, 8), (119, 8)])
def test_octaves_count_from_c4(pitch, expected):
    assert octave(pitch) == expected


# Surge


def test_surge(tmp_path):
    archives = dataset("surge", tmp_path)
    bass = "factory-Bass 1-velocity64"
    found = rows("surge", archives)
    assert found[:3] == [
        (f"{bass}/{note}.ogg", "train", bass, {"octave": octave, "pitch": str(int(note))})
        for note, octave in [("021", "0"), ("60", "4"), ("108", "8")]
    ]
    assert Counter(row[1] for row in found) == {"train": 3, "valid": 3, "test": 3}


def test_surge_lists_and_archive_must_agree(tmp_path):
    archives = dataset("surge", tmp_path)
    listing = archives["splits"].read_text()
    archives["splits"].write_text(listing + "lost-velocity64,train\nunused-velocity64,\n")
    assert [r.clip_id for r in reader("surge")(archives) if not r.data] == ["lost-velocity64/*"]
    archives["splits"].write_text(table("tone,split", "x-velocity64,test"))
    with pytest.raises(DatasetError, match="no tone 'factory-Bass 1-velocity64'"):
        rows("surge", archives)
    archives["splits"].write_text(listing)
    archives["archive"] = tarred(tmp_path / "a.tar", {"surge/x-velocity64/C4.ogg": sound()}, "w")
    with pytest.raises(DatasetError, match=r"looked for \*/<tone>/<MIDI note>\.ogg"):
        rows("surge", archives)


# RAVDESS, EmoDB, FSDD: names alone say what the recordings are


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ravdess",
            {
                "03-01-01-01-01-01-01.wav": ("train", "actor01", ["neutral", "male", "normal", "kids"]),
                "03-01-05-02-02-02-02.wav": ("train", "actor02", ["anger", "female", "strong", "dogs"]),
                "03-01-08-01-01-02-18.wav": ("valid", "actor18", ["surprise", "female", "normal", "kids"]),
                "03-01-04-02-01-01-24.wav": ("test", "actor24", ["sadness", "female", "strong", "kids"]),
            },
        ),
        (
            "emodb",
            {
                "03a01Fa.wav": ("train", "03", ["happiness", "male", "a01"]),
                "08b09Wb.wav": ("train", "08", ["anger", "female", "b09"]),
                "12a05Na.wav": ("valid", "12", ["neutral", "male", "a05"]),
                "16b03Ld.wav": ("test", "16", ["boredom", "female", "b03"]),
            },
        ),
    ],
)
def test_names_say_what_recordings_are(tmp_path, name, expected):
    found = list(reader(name)(dataset(name, tmp_path)))
    assert {r.clip_id: (r.split, r.group, list(r.labels.values())) for r in found} == expected
    assert all(r.data for r in found)


def test_fsdd_tests_the_first_five_of_every_speaker(tmp_path):
    found = list(reader("fsdd")(dataset("fsdd", tmp_path)))
    assert Counter((r.group, r.split) for r in found) == {
        (who, split): number for who in ("george", "theo") for split, number in (("test", 4), ("train", 2))
    }
    assert {r.labels["digit"] for r in found} == {"0", "7"}


def test_names_of_another_form_and_two_contents_of_one_name_are_refused(tmp_path):
    song = zipped(tmp_path / "song.zip", {"Actor_01/03-02-01-01-01-01-01.wav": sound()})
    with pytest.raises(DatasetError, match=r"song\.zip: Actor_01/03-02-.*: looked for names of "):
        list(reader("ravdess")({"archive": song}))
    name = "03-01-01-01-01-01-01.wav"
    twice = zipped(tmp_path / "twice.zip", {f"a/{name}": sound(), f"b/{name}": sound(rate=8000)})
    with pytest.raises(DatasetError, match=rf"b/{name}: there are two different recordings of this name"):
        list(reader("ravdess")({"archive": twice}))
    empty = zipped(tmp_path / "empty.zip", {"README": "x"})
    with pytest.raises(DatasetError, match=r"empty\.zip: has no recording; looked for"):
        list(reader("fsdd")({"archive": empty}))


@pytest.mark.recordings
@pytest.mark.parametrize("name", ["ravdess", "emodb"])
def test_names_of_real_recordings_say_what_others_wrote_down(tmp_path, name):
    """The labels agree with the lists beside the real recordings, which were written by hand."""
    path = SHARED / "data/real" / f"{name}.csv"
    if not path.is_file():
        pytest.skip("no real recordings beside the repository")
    with open(path, newline="") as file:
        listed = {row["path"].split("/")[-1].replace(".flac", ".wav"): row for row in csv.DictReader(file)}
    archive = zipped(tmp_path / "a.zip", dict.fromkeys((f"wav/{one}" for one in listed), b"RIFF"))
    found = {r.clip_id: r for r in reader(name)({"archive": archive})}
    assert set(found) == set(listed)
    for clip, row in listed.items():
        assert (found[clip].labels["emotion"], found[clip].labels["gender"], found[clip].group) == (
            row["emotion"], row["gender"], row["group"]
        )  # fmt: skip


def test_cremad_of_some_sentences(tmp_path):
    archives = dataset("cremad", tmp_path)
    found = list(reader("cremad")(archives, sentences=["IEO"]))
    assert [r.clip_id for r in found] == ["1002_IEO_HAP_HI.wav", "1003_IEO_SAD_LO.wav"]
    with pytest.raises(DatasetError, match="option `sentences` names DFB; there are DFA, IEO, IOM"):
        list(reader("cremad")(archives, sentences=["DFA", "DFB"]))
    facts = source("cremad")
    with open(resources.files("audio_neurons.datasets") / "cremad_lfs.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert {name.split("_")[1] for name in names} == set(facts["options"]["sentences"])
    assert sum(fnmatchcase(name, "*_DFA_*") for name in names) == 546  # 91 actors, six emotions
