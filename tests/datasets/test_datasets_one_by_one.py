"""Tests of single datasets: ESC-50, GISE-51, VoxCeleb1 and VoxForge, each as upstream has it."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections import Counter, defaultdict

import pytest
import upstream
from test_datasets import rows
from upstream import dataset, esc50, real_esc50, sound, table, tarred, zipped

from audio_neurons.datasets import DatasetError, _layout, reader, source
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.gise51 import _drawn

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
