"""Tests of single datasets; tests that apply to all datasets are in test_datasets."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from importlib import resources

import pytest
import upstream
from common import SHARED
from test_datasets import rows
from upstream import dataset, esc50, lfs_pointer, real_esc50, sound, table, tarred, zipped

from audio_neurons.datasets import DatasetError, _layout, reader, source
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.gise51 import _drawn
from audio_neurons.datasets.nsynth import octave
from audio_neurons.datasets.registry import NO_SPLIT

# ESC-50


def test_esc50_holds_out_a_fold(tmp_path):
    archives = dataset("esc50", tmp_path)
    found = list(reader("esc50")(archives))
    assert Counter((r.fold, r.split) for r in found) == {
        **{(fold, "train"): 3 for fold in (1, 2, 3, 4)}, (5, "test"): 3
    }  # fmt: skip
    first = found[0]
    assert (first.clip_id, first.group, first.labels) == ("1-1-A-0.wav", "1", {"category": "dog"})
    assert {r.fold for r in reader("esc50")(archives, test_fold=2) if r.split == "test"} == {2}
    with pytest.raises(DatasetError, match=r"no fold 6 \(`test_fold`\) among the folds \[1, 2, 3, 4, 5\]"):
        list(reader("esc50")(archives, test_fold=6))


@pytest.mark.parametrize("top", ["ESC-50-33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6", "a/b"])
def test_esc50_top_folder_does_not_matter(tmp_path, top):
    plain = rows("esc50", {"archive": esc50(tmp_path / "a.zip")})
    assert rows("esc50", {"archive": esc50(tmp_path / "b.zip", top)}) == plain


def test_esc50_manifest_is_upstreams():
    manifest = _layout.checksums("esc50_md5.csv")
    assert len(manifest) == 2000
    assert Counter(name[0] for name in manifest) == dict.fromkeys("12345", 400)
    assert Counter(name.removesuffix(".wav").rsplit("-", 1)[1] for name in manifest) == dict.fromkeys(
        map(str, range(50)), 40
    )
    assert manifest["1-100032-A-0.wav"] == "ca7345a4c89c5394aa44419de0971ade"
    assert source("esc50")["options"]["verify_members"] is True


def test_esc50_members_are_verified_where_upstream_has_them(tmp_path, monkeypatch):
    archives = dataset("esc50", tmp_path)
    assert len(rows("esc50", archives, verify_members=True)) == 15  # names unknown to the manifest
    with zipfile.ZipFile(archives["archive"]) as archive:
        md5 = hashlib.md5(archive.read("ESC-50-master/audio/1-1-A-0.wav")).hexdigest()
    monkeypatch.setattr(_layout, "checksums", lambda _: {"1-1-A-0.wav": md5})
    assert len(rows("esc50", archives, verify_members=True)) == 15
    monkeypatch.setattr(_layout, "checksums", lambda _: {"1-1-A-0.wav": "0" * 32})
    with pytest.raises(
        DatasetError, match=rf"1-1-A-0\.wav is not .* md5 is {md5}, expected 0+\..*verify_members"
    ):
        rows("esc50", archives, verify_members=True)
    assert len(rows("esc50", archives)) == 15


def test_esc50_sources_in_two_folds_are_one_group(tmp_path):
    folds, names = defaultdict(set), _layout.checksums("esc50_md5.csv")
    for name in names:
        fold, source_, *_ = name.split("-")
        folds[source_].add(fold)
    spanning = {s: sorted(f) for s, f in folds.items() if len(f) > 1}
    assert spanning == {
        "131943": ["2", "3"], "134049": ["2", "3"], "209698": ["4", "5"], "234879": ["4", "5"]
    }  # fmt: skip
    lines = [f"{name},{name[0]},dog,{name.split('-')[1]}" for name in names if name.split("-")[1] in spanning]
    files = {f"E/audio/{line.partition(',')[0]}": sound() for line in lines}
    meta = table("filename,fold,category,src_file", *lines)
    found = list(
        reader("esc50")({"archive": zipped(tmp_path / "a.zip", {**files, "E/meta/esc50.csv": meta})})
    )
    groups = defaultdict(set)
    for recording in found:
        groups[recording.group].add((recording.fold, recording.split))
    assert groups["131943"] == {(2, "train"), (3, "train")}
    assert groups["209698"] == {(4, "train"), (5, "test")}
    assert len(groups) == 4


@pytest.mark.parametrize(("column", "wrong"), [("fold", "2"), ("src_file", "7"), ("category", "rooster")])
def test_esc50_table_must_say_what_upstreams_names_say(tmp_path, column, wrong):
    row = {"filename": "1-100032-A-0.wav", "fold": "1", "category": "dog", "src_file": "100032"}

    def archive(**changes):
        lines = [",".join({**row, **changes}.values()), "5-1-A-0.wav,5,dog,1"]
        meta = table(",".join(row), *lines)
        return {
            "archive": zipped(tmp_path / "a.zip", {"ESC-50/meta/esc50.csv": meta, "x/5-1-A-0.wav": sound()})
        }

    assert len(list(reader("esc50")(archive(), verify_members=True))) == 2
    assert len(list(reader("esc50")(archive(**{column: wrong})))) == 2
    told = rf"1-100032-A-0\.wav is of .*{wrong}.*its name says 1, 100032, dog"
    with pytest.raises(DatasetError, match=told):
        list(reader("esc50")(archive(**{column: wrong}), verify_members=True))


def test_esc50_rows_without_a_recording_come_last_and_empty(tmp_path):
    archives = dataset("esc50", tmp_path)
    with zipfile.ZipFile(archives["archive"]) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if "/2-" not in name}
    found = list(reader("esc50")({"archive": zipped(tmp_path / "b.zip", files)}))
    assert [r.clip_id for r in found if not r.data] == ["2-2-A-0.wav", "2-102-A-1.wav", "2-1002-A-10.wav"]
    assert not any(r.data for r in found[-3:])


def test_esc50_meta_must_have_its_columns(tmp_path):
    bad = {"ESC-50-master/meta/esc50.csv": "filename,fold,target\n", "ESC-50-master/audio/1-1-A-0.wav": b""}
    path = zipped(tmp_path / "a.zip", bad)
    with pytest.raises(DatasetError, match=r"esc50\.csv: no column category, src_file; there are: filename"):
        list(reader("esc50")({"archive": path}))
    bad["ESC-50-master/meta/esc50.csv"] = "filename,fold,category,src_file\n1-1-A-0.wav,1\n"
    with pytest.raises(DatasetError, match="line 2 is too short"):
        list(reader("esc50")({"archive": zipped(path, bad)}))


@pytest.mark.recordings
def test_esc50_reads_real_recordings(tmp_path):
    path = real_esc50(tmp_path)
    found = list(reader("esc50")({"archive": path}))
    assert Counter((r.split, r.labels["category"]) for r in found)["test", "rooster"] == 1
    assert len(found) == 50
    # These recordings have upstream's names but another encoding.
    with pytest.raises(DatasetError, match="verify_members: false"):
        list(reader("esc50")({"archive": path}, verify_members=True))


# GISE-51


@pytest.mark.parametrize("layout", ["split", "suffix"])
def test_gise51_takes_the_split_from_the_nearest_folder(tmp_path, layout):
    found = rows("gise51", dataset("gise51", tmp_path, layout=layout))
    assert [row[1:] for row in found] == [
        ("train", "1234", {"event": "Coin_(dropping)"}), ("train", "1234", {"event": "Coin_(dropping)"}),
        ("valid", "77", {"event": "Train"}), ("test", "bark", {"event": "Dog"}),
    ]  # fmt: skip
    folders = upstream.GISE51_LAYOUTS[layout]
    assert found[0][0] == f"{folders[0].removeprefix('isolated_events/')}Coin_(dropping)/1234_0.wav"


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("test", "test"), ("a/valid", "valid"), ("VAL", "valid"), ("evaluation", "test"),
        ("gise-eval", "test"), ("train/test", "test"), ("eval/isolated_train/more", "train"),
    ],
)  # fmt: skip
def test_gise51_knows_splits_by_many_names(tmp_path, folder, split):
    path = tarred(tmp_path / "a.tar.gz", {f"{folder}/Dog/5.wav": sound()})
    ((_, found, group, labels),) = rows("gise51", {"archive": path})
    assert (found, group, labels) == (split, "5", {"event": "Dog"})


def test_gise51_draws_the_split_by_source_where_no_folder_tells(tmp_path):
    archives = dataset("gise51", tmp_path, layout="none")
    found = rows("gise51", archives)
    assert found == rows("gise51", archives)
    assert [row[0] for row in found][:1] == ["isolated_events/Coin_(dropping)/1234_0.wav"]
    assert found[0][1] == found[1][1]  # both come from one source
    assert [row[3]["event"] for row in found] == ["Coin_(dropping)"] * 2 + ["Train", "Dog"]
    drawn = Counter(_drawn(str(source_)) for source_ in range(20_000))
    total = 12465 + 1716 + 2176
    assert drawn["train"] / 20_000 == pytest.approx(12465 / total, abs=0.01)
    assert drawn["valid"] / 20_000 == pytest.approx(1716 / total, abs=0.01)


def test_gise51_does_not_mix_the_two(tmp_path):
    archives = dataset("gise51", tmp_path, layout="mixed")
    told = r"events/train/Coin_.* is below a split's folder, isolated_events/Train/77\.wav is not"
    with pytest.raises(DatasetError, match=told):
        rows("gise51", archives)


@pytest.mark.parametrize("name", ["5.wav", "train/5.wav", "isolated_events_train/5.wav", "a/Test/5.wav"])
def test_gise51_needs_a_folder_per_class(tmp_path, name):
    path = tarred(tmp_path / "a.tar.gz", {name: sound()})
    with pytest.raises(DatasetError, match=r"looked for \[<any>/\]\[<split>/\]<class>/<name>\.wav"):
        rows("gise51", {"archive": path})


# VoxCeleb1


def people(gender, nationality):
    return {"gender": gender, "nationality": nationality, "gender_nationality": f"{gender} {nationality}"}


@pytest.mark.parametrize("top", ["wav/", "", "vox1_dev/wav/"])
def test_voxceleb1(tmp_path, top):
    archives = dataset("voxceleb1", tmp_path, top=top)
    assert rows("voxceleb1", archives) == [
        ("id10001/1zcIwhmdeo4/00001.wav", "train", "id10001", people("male", "Ireland")),
        ("id10001/1zcIwhmdeo4/00002.wav", "valid", "id10001", people("male", "Ireland")),
        ("id10002/7w0IBEWc9Qw/00001.wav", "test", "id10002", people("male", "India")),
        (
            "id10270/5r0dWxy17C8/00001.wav", "train", "id10270",
            people("female", "Trinidad and Tobago"),
        ),
    ]  # fmt: skip


def test_voxceleb1_has_one_archive_only(tmp_path):
    archives = dataset("voxceleb1", tmp_path)
    archives["test"] = zipped(tmp_path / "empty.zip", {})
    assert [r.clip_id for r in reader("voxceleb1")(archives) if not r.data] == [
        "id10270/5r0dWxy17C8/00001.wav"
    ]


@pytest.mark.parametrize(
    ("role", "before", "after", "told"),
    [
        ("meta", "\t", ",", "vox1_meta.csv: no column VoxCeleb1 ID, Gender, Nationality; there are: Vox"),
        ("meta", "\tm\t", "\tM\t", "vox1_meta.csv: gender 'M', looked for m or f"),
        ("meta", "id10001\t", "id10009\t", "vox1_meta.csv: no speaker id10001, but"),
        ("split", "1 id10001", "4 id10001", "iden_split.txt: '4 id10001/"),
        ("split", "1 id10001", "id10001", "iden_split.txt: 'id10001/"),
    ],
)
def test_voxceleb1_lists_of_another_format_are_refused(tmp_path, role, before, after, told):
    archives = dataset("voxceleb1", tmp_path)
    archives[role].write_text(archives[role].read_text().replace(before, after))
    with pytest.raises(DatasetError, match=re.escape(told)):
        rows("voxceleb1", archives)


def test_voxceleb1_lists_may_come_from_windows(tmp_path):
    archives = dataset("voxceleb1", tmp_path)
    plain = rows("voxceleb1", archives)
    for role in ("meta", "split"):
        archives[role].write_bytes(b"\xef\xbb\xbf" + archives[role].read_bytes().replace(b"\n", b"\r\n"))
    assert rows("voxceleb1", archives) == plain


# VoxForge


def test_voxforge(tmp_path):
    archives = dataset("voxforge", tmp_path)
    de, en, ru = "guenter-20140214-afn", "anonymous-20080425-bws", "ivan-petrov-20101010-x"
    assert rows("voxforge", archives) == [
        (f"{stem}/wav/{a}.wav", split, group, {"language": language})
        for stem, split, group, language in [
            (de, "train", "guenter", "de"), (en, "valid", en, "en"), (ru, "test", "ivan-petrov", "ru")
        ]
        for a in ("a1", "a2")
    ]  # fmt: skip


def test_a_broken_upload_of_voxforge_loses_its_own_recordings_only(tmp_path):
    archives = dataset("voxforge", tmp_path)
    first = archives["archive"][0]
    data = first.read_bytes()
    at = data.index(b"\x1f\x8b")
    first.write_bytes(data[: at + 40] + b"\x00" * 40 + data[at + 80 :])
    found = {r.clip_id: bool(r.data) for r in reader("voxforge")(archives)}
    assert Counter(found.values()) == {True: 4, False: 2}
    assert not found["guenter-20140214-afn/wav/a1.wav"]


def test_an_upload_of_voxforge_may_be_a_web_page_or_away(tmp_path):
    archives = dataset("voxforge", tmp_path)
    files = dict(members(archives["archive"][0]))
    page, *_ = files
    files[page] = b"<html>404</html>"
    archives["archive"] = [tarred(tmp_path / "a.tar", files, "w")]  # the second batch is missing
    assert Counter(bool(r.data) for r in reader("voxforge")(archives)) == {True: 2, False: 4}


def test_of_two_uploads_to_one_folder_of_voxforge_the_first_counts(tmp_path):
    archives = dataset("voxforge", tmp_path)
    again = tarred(io.BytesIO(), {"guenter-20140214-afn/wav/a1.wav": b"other"}).getvalue()
    archives["archive"].append(tarred(tmp_path / "b.tar", {"de/guenter-20140215-afn.tgz": again}, "w"))
    found = [r for r in reader("voxforge")(archives) if r.clip_id == "guenter-20140214-afn/wav/a1.wav"]
    assert len(found) == 1
    assert found[0].data != b"other"


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
