from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from upstream import dataset, esc50, sound, table, tarred, zipped

from audio_neurons.datasets import SPLITS, DatasetError, adapters, reader, source
from audio_neurons.datasets import esc50 as esc50_module
from audio_neurons.datasets.nsynth import octave

NAMES = ("cremad", "esc50", "gise51", "gtzan", "nsynth", "surge", "voxceleb1", "voxforge")
SUBSET_TOOL = Path(__file__).parents[1].parent / "shared" / "tools" / "make_esc50_subset.py"


def rows(name, archives, **options):
    """(clip_id, split, group, labels) of what an archive holds."""
    found = list(reader(name)(archives, **options))
    assert all(recording.data for recording in found)
    return [(r.clip_id, r.split, r.group, dict(r.labels)) for r in found]


def test_there_are_eight_datasets():
    assert adapters() == NAMES
    with pytest.raises(DatasetError, match="no dataset adapter 'esc51'; there are cremad, esc50"):
        reader("esc51")


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_complete(name):
    facts = source(name)
    assert set(facts) >= {
        "title",
        "licence",
        "citation",
        "homepage",
        "gated",
        "labels",
        "clip_seconds",
        "archives",
    }
    assert 0 < facts["clip_seconds"] <= 30
    for archive in facts["archives"].values():
        assert set(archive) <= {"file", "urls", "sha256", "md5", "bytes", "manual", "note"}
        assert archive["urls"] or archive["manual"]
        assert all(url.startswith("http") for url in archive["urls"])
        assert len(archive.get("sha256", "0" * 64)) == 64
        assert len(archive.get("md5", "0" * 32)) == 32


@pytest.mark.parametrize("name", NAMES)
def test_recordings_keep_the_interface(name, tmp_path):
    archives = dataset(name, tmp_path)
    assert set(archives) == set(source(name)["archives"])
    found = list(reader(name)(archives))
    assert len({r.clip_id for r in found}) == len(found)
    assert not any("._" in r.clip_id for r in found)
    for recording in found:
        assert recording.split in SPLITS
        assert list(recording.labels) == source(name)["labels"]
        assert all(isinstance(value, str) and value for value in recording.labels.values())
        assert recording.group


@pytest.mark.parametrize("name", NAMES)
def test_another_archive_is_refused(name, tmp_path):
    archives = dataset(name, tmp_path)
    for role, path in archives.items():
        if path.suffix in {".zip", ".gz", ".tar"}:
            archives[role] = tarred(tmp_path / f"other-{role}", {"odd/README.ogg": b"x", "a.wav": b"x"})
    with pytest.raises(DatasetError, match=r"looked for|no tone 'odd'"):
        list(reader(name)(archives))


@pytest.mark.parametrize("name", ["voxceleb1", "voxforge", "cremad", "gtzan", "surge"])
def test_another_list_is_refused(name, tmp_path):
    for role, path in dataset(name, tmp_path).items():
        if path.suffix not in {".zip", ".gz", ".tar"}:
            for content in ("<html>\n<body>no</body>\n", "\udcff\udcfe"):
                archives = dataset(name, tmp_path)
                archives[role].write_bytes(content.encode(errors="surrogateescape"))
                with pytest.raises(DatasetError, match=path.name):
                    list(reader(name)(archives))
            archives[role].unlink()
            with pytest.raises(DatasetError, match=path.name):
                list(reader(name)(archives))


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
    manifest = esc50_module.manifest()
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
    monkeypatch.setattr(esc50_module, "manifest", lambda: {"1-1-A-0.wav": md5})
    assert len(rows("esc50", archives, verify_members=True)) == 15
    monkeypatch.setattr(esc50_module, "manifest", lambda: {"1-1-A-0.wav": "0" * 32})
    with pytest.raises(
        DatasetError, match=rf"1-1-A-0\.wav is not .* md5 is {md5}, expected 0+\..*verify_members"
    ):
        rows("esc50", archives, verify_members=True)
    assert len(rows("esc50", archives)) == 15


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
    if not SUBSET_TOOL.is_file():
        pytest.skip("no real recordings beside the repository")
    path = tmp_path / "ESC-50-master.zip"
    subprocess.run([sys.executable, SUBSET_TOOL, path, "--clips-per-class", "5"], check=True)
    found = list(reader("esc50")({"archive": path}))
    assert Counter((r.split, r.labels["category"]) for r in found)["test", "rooster"] == 1
    assert len(found) == 50
    # Its recordings carry upstream's names and are another encoding of them.
    with pytest.raises(DatasetError, match="verify_members: false"):
        list(reader("esc50")({"archive": path}, verify_members=True))


# The others


def test_gise51(tmp_path):
    assert rows("gise51", dataset("gise51", tmp_path)) == [
        ("train/Coin_(dropping)/1234_0.wav", "train", "1234", {"event": "Coin_(dropping)"}),
        ("train/Coin_(dropping)/1234_1.wav", "train", "1234", {"event": "Coin_(dropping)"}),
        ("val/Dog/77.wav", "valid", "77", {"event": "Dog"}),
        ("eval/Dog/bark.wav", "test", "bark", {"event": "Dog"}),
    ]
    bare = tarred(tmp_path / "bare.tar.gz", {"test/Dog/5.wav": b"x", "valid/Dog/6.wav": b"x"})
    assert [row[1] for row in rows("gise51", {"archive": bare})] == ["test", "valid"]


def test_voxceleb1(tmp_path):
    archives = dataset("voxceleb1", tmp_path)
    assert rows("voxceleb1", archives) == [
        ("id10001/1zcIwhmdeo4/00001.wav", "train", "id10001", {"gender": "male", "nationality": "Ireland"}),
        ("id10001/1zcIwhmdeo4/00002.wav", "valid", "id10001", {"gender": "male", "nationality": "Ireland"}),
        ("id10002/7w0IBEWc9Qw/00001.wav", "test", "id10002", {"gender": "male", "nationality": "India"}),
        (
            "id10270/5r0dWxy17C8/00001.wav", "train", "id10270",
            {"gender": "female", "nationality": "Trinidad and Tobago"},
        ),
    ]  # fmt: skip
    archives["split"].write_text("1 id10009/x/00001.wav\n")
    with pytest.raises(DatasetError, match=r"vox1_meta\.csv: no speaker id10009"):
        rows("voxceleb1", archives)


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
    data = archives["archive"].read_bytes()
    at = data.index(b"\x1f\x8b")
    archives["archive"].write_bytes(data[: at + 40] + b"\x00" * 40 + data[at + 80 :])
    found = {r.clip_id: bool(r.data) for r in reader("voxforge")(archives)}
    assert Counter(found.values()) == {True: 4, False: 2}
    assert not found["guenter-20140214-afn/wav/a1.wav"]


def test_cremad(tmp_path):
    archives = dataset("cremad", tmp_path)
    assert rows("cremad", archives) == [
        ("1001_DFA_ANG_XX.wav", "train", "1001", {"emotion": "ANG", "gender": "male"}),
        ("1002_IEO_HAP_HI.wav", "valid", "1002", {"emotion": "HAP", "gender": "female"}),
        ("1003_IEO_SAD_LO.wav", "test", "1003", {"emotion": "SAD", "gender": "female"}),
    ]
    archives["splits"].write_text("file_name,label,speaker_id,split\n1099_IEO_SAD_LO.wav,SAD,1099,test\n")
    with pytest.raises(DatasetError, match="no actor 1099"):
        rows("cremad", archives)


def test_gtzan(tmp_path):
    assert rows("gtzan", dataset("gtzan", tmp_path)) == [
        (name, split, name, {"genre": name.partition("/")[0]})
        for name, split in [
            ("blues/blues.00000.wav", "valid"), ("jazz/jazz.00053.wav", "train"),
            ("jazz/jazz.00054.wav", "train"), ("rock/rock.00001.wav", "test"),
        ]
    ]  # fmt: skip


def test_nsynth(tmp_path):
    archives = dataset("nsynth", tmp_path)
    assert rows("nsynth", archives) == [
        (
            "synth_lead_synthetic_001-060-100", "train", "synth_lead_synthetic_001",
            {"octave": "4", "family": "synth_lead"},
        ),
        ("guitar_acoustic_001-021-025", "train", "guitar_acoustic_001", {"octave": "0", "family": "guitar"}),
        ("bass_synthetic_009-009-025", "valid", "bass_synthetic_009", {"octave": "-1", "family": "bass"}),
        ("organ_electronic_028-116-127", "test", "organ_electronic_028", {"octave": "8", "family": "organ"}),
    ]  # fmt: skip
    for content in ("[]", "{", json.dumps({"a": {"pitch": 60}})):
        archives["train"] = tarred(tmp_path / "bad.tar.gz", {"nsynth-train/examples.json": content})
        with pytest.raises(DatasetError, match=r"bad\.tar\.gz: examples\.json"):
            rows("nsynth", archives)


@pytest.mark.parametrize(("pitch", "expected"), [(9, -1), (21, 0), (59, 3), (60, 4), (108, 8), (119, 8)])
def test_octaves_count_from_c4(pitch, expected):
    assert octave(pitch) == expected


def test_surge(tmp_path):
    archives = dataset("surge", tmp_path)
    bass = "factory-Bass 1-velocity64"
    found = rows("surge", archives)
    assert found[:3] == [
        (f"{bass}/{note}.ogg", "train", bass, {"octave": octave})
        for note, octave in [("021", "0"), ("60", "4"), ("108", "8")]
    ]
    assert Counter(row[1] for row in found) == {"train": 3, "valid": 3, "test": 3}


def test_surge_lists_and_archive_must_agree(tmp_path):
    archives = dataset("surge", tmp_path)
    listing = archives["splits"].read_text()
    archives["splits"].write_text(listing + "3,lost-velocity64,train\n")
    assert [r.clip_id for r in reader("surge")(archives) if not r.data] == ["lost-velocity64/*"]
    archives["splits"].write_text(table(",tone,split", "0,x-velocity64,test"))
    with pytest.raises(DatasetError, match="no tone 'factory-Bass 1-velocity64'"):
        rows("surge", archives)
    archives["splits"].write_text(listing)
    archives["archive"] = tarred(tmp_path / "a.tar", {"surge/x-velocity64/C4.ogg": sound()}, "w")
    with pytest.raises(DatasetError, match=r"looked for \*/<tone>/<MIDI note>\.ogg"):
        rows("surge", archives)
