"""Tests that apply to all datasets; those of single ones are in two files beside this one."""

from __future__ import annotations

import csv
import hashlib
import re

import pytest
import upstream
from upstream import dataset, sound, tarred, zipped

from audio_neurons.datasets import SPLITS, DatasetError, adapters, reader, source
from audio_neurons.datasets.archives import ArchiveError, members

NAMES = (
    "cremad", "emodb", "esc50", "fsdd", "gise51", "gtzan", "nsynth", "ravdess", "surge", "voxceleb1",
    "voxforge",
)  # fmt: skip


def rows(name, archives, **options):
    """Return (clip_id, split, group, labels) of each recording of an archive."""
    found = list(reader(name)(archives, **options))
    assert all(recording.data for recording in found)
    return [(r.clip_id, r.split, r.group, dict(r.labels)) for r in found]


def test_there_are_these_datasets_and_ones_own():
    assert set(adapters()) == {*NAMES, "custom"}
    with pytest.raises(DatasetError, match="no dataset adapter 'esc51'; there are cremad, custom, emodb"):
        reader("esc51")


ARCHIVE_KEYS = {
    "file", "urls", "sha256", "md5", "git_blob", "bytes", "zenodo", "parts", "batches", "manifest", "listing",
    "bytes_vary", "manual",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_complete(name):
    facts = source(name)
    needed = {"title", "licence", "citation", "homepage", "gated", "labels", "clip_seconds", "size_gb"}
    optional = {"options", "excluded", "cells", "classes", "clips", "at_most", "redistributable"}
    assert set(facts) - optional == {*needed, "archives"}
    assert 0 < facts["clip_seconds"] <= 30
    assert set(facts.get("cells", [])) <= set(facts["labels"])
    assert all(isinstance(reason, str) for reason in facts.get("excluded", {}).values())
    for archive in facts["archives"].values():
        assert set(archive) <= ARCHIVE_KEYS
        assert archive.get("urls") or archive["parts"]
        for one in [archive, *archive.get("parts", [])]:
            assert all(url.startswith("http") for url in one.get("urls", []))
            for kind, length in {"sha256": 64, "md5": 32, "git_blob": 40}.items():
                assert re.fullmatch(f"[0-9a-f]{{{length}}}", one.get(kind, "0" * length))


@pytest.mark.parametrize("name", NAMES)
def test_every_archive_has_a_checksum_somewhere(name):
    for role, archive in source(name)["archives"].items():
        known = {"sha256", "md5", "git_blob", "zenodo", "manifest"} & set(archive)
        # GitHub may repack ESC-50, whose recordings have checksums, and FSDD; VoxForge publishes none.
        assert known or (name in {"esc50", "voxforge", "fsdd"} and role == "archive")


@pytest.mark.parametrize("name", NAMES)
def test_collections_say_what_is_in_them(name):
    for archive in source(name)["archives"].values():
        assert ("batches" in archive) == ("manifest" in archive or "listing" in archive)
        if "batches" in archive:
            assert archive["batches"] > 1
            assert "{batch}" in archive["file"]
            assert all("{name}" in url for url in archive["urls"])
            assert archive.get("listing", "archive") in source(name)["archives"]


def test_what_a_key_opens_and_no_mirror_of_it():
    gated = [name for name in NAMES if source(name)["gated"]]
    assert gated == ["voxceleb1"]
    archives = source("voxceleb1")["archives"]
    parts = archives["dev"]["parts"]
    assert [part["file"][-2:] for part in parts] == ["aa", "ab", "ac", "ad"]
    for one in (*parts, archives["test"]):
        url = f"https://cn01.mmai.io/download/voxceleb?key=${{VOXCELEB_KEY}}&file={one['file']}"
        assert one["urls"] == [url]
        assert one["file"] in archives["dev"]["manual"]
        assert "sha256" in one
    assert archives["dev"]["manual"] == archives["test"]["manual"]


@pytest.mark.parametrize("name", NAMES)
def test_recordings_keep_the_interface(name, tmp_path):
    archives = dataset(name, tmp_path)
    assert list(archives) == list(source(name)["archives"])
    for role, facts in source(name)["archives"].items():
        assert isinstance(archives[role], list) == ("batches" in facts)
    found = list(reader(name)(archives))
    assert len({r.clip_id for r in found}) == len(found)
    assert not any("._" in r.clip_id for r in found)
    for recording in found:
        assert recording.split in SPLITS
        assert list(recording.labels) == source(name)["labels"]
        assert all(isinstance(value, str) and value for value in recording.labels.values())
        assert recording.group


def packed(archives):
    """Yield role and path of each archive that is not a list."""
    for role, paths in archives.items():
        for path in paths if isinstance(paths, list) else [paths]:
            if path.suffix in {".zip", ".gz", ".tar"}:
                yield role, path


@pytest.mark.parametrize("name", NAMES)
def test_another_archive_is_refused(name, tmp_path):
    archives = dataset(name, tmp_path)
    for role, _ in packed(dict(archives)):
        other = tarred(tmp_path / f"other-{role}", {"odd/README.ogg": b"x", "a.wav": b"x"})
        archives[role] = [other] if isinstance(archives[role], list) else other
    with pytest.raises(DatasetError, match=r"looked for|no tone 'odd'"):
        list(reader(name)(archives))


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_archive_is_named_with_the_remedy(name, tmp_path):
    archives = dataset(name, tmp_path)
    *_, (_, path) = packed(archives)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8])
    with pytest.raises(ArchiveError, match=rf"{path.name}: truncated or damaged .* delete it and run again"):
        list(reader(name)(archives))


@pytest.mark.parametrize("name", ["voxceleb1", "voxforge", "cremad", "gtzan", "surge"])
def test_another_list_is_refused(name, tmp_path):
    for role, path in dataset(name, tmp_path).items():
        if not isinstance(path, list) and path.suffix not in {".zip", ".gz", ".tar"} and role != "listing":
            for content in ("<html>\n<body>no</body>\n", "\udcff\udcfe"):
                archives = dataset(name, tmp_path)
                archives[role].write_bytes(content.encode(errors="surrogateescape"))
                with pytest.raises(DatasetError, match=path.name):
                    list(reader(name)(archives))
            archives[role].unlink()
            with pytest.raises(DatasetError, match=path.name):
                list(reader(name)(archives))


def climbing(path):
    """Rewrite an archive with names that climb out of the folder it would be unpacked to."""
    files = {f"../../{name}": data for name, data in members(path)}
    return zipped(path, files) if path.suffix == ".zip" else tarred(path, files, "w")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gise51"])
def test_names_that_climb_are_names(name, tmp_path, monkeypatch):
    archives = dataset(name, tmp_path / "a" / "b" / "c")
    plain = rows(name, archives)
    for _, path in packed(archives):
        climbing(path)
    (tmp_path / "a" / "b" / "here").mkdir()
    monkeypatch.chdir(tmp_path / "a" / "b" / "here")
    before = sorted(tmp_path.rglob("*"))
    assert rows(name, archives) == plain
    assert sorted(tmp_path.rglob("*")) == before


def test_where_no_list_says_what_there_is_they_are_refused(tmp_path):
    for evil in ("../train/Dog/1.wav", "/train/../Dog/1.wav"):
        path = tarred(tmp_path / "a.tar", {evil: sound()}, "w")
        with pytest.raises(DatasetError, match=r"a\.tar: .*Dog/1\.wav: looked for"):
            rows("gise51", {"archive": path})
    path = tarred(tmp_path / "b.tar", {"/train/Dog/1.wav": sound()}, "w")
    assert rows("gise51", {"archive": path})[0][0] == "train/Dog/1.wav"
    archives = dataset("surge", tmp_path)
    archives["archive"] = tarred(tmp_path / "c.tar", {"x-velocity64/../60.ogg": sound()}, "w")
    with pytest.raises(DatasetError, match=r"no tone '\.\.'"):
        rows("surge", archives)


@pytest.mark.parametrize("name", NAMES)
def test_upstream_can_be_played(name, tmp_path):
    """The fake upstream of other tests serves every archive and knows its checksums."""
    archives = dataset(name, tmp_path)
    given, changed = upstream.served(name, tmp_path), upstream.changes(name, tmp_path)
    for role, facts in source(name)["archives"].items():
        block = changed["archives"][role]
        if "batches" in facts:
            names = [item for path in archives[role] for item, _ in members(path)]
            assert all(given[facts["urls"][0].format(name=item)].is_file() for item in names)
            if "manifest" in facts:
                with open(block["manifest"], newline="") as file:
                    assert [row["name"] for row in csv.DictReader(file)] == names
            continue
        data = archives[role].read_bytes()
        if "parts" in facts:
            urls = [part["urls"][0].replace("${VOXCELEB_KEY}", upstream.KEY) for part in block["parts"]]
            assert b"".join(given[url].read_bytes() for url in urls) == data
            assert len(data) == sum(part["bytes"] for part in block["parts"])
        else:
            assert given[facts["urls"][0].replace("${VOXCELEB_KEY}", upstream.KEY)] == archives[role]
        assert block["sha256"] == hashlib.sha256(data).hexdigest()
        assert all(block[kind] is None for kind in ("md5", "git_blob", "zenodo") if kind in facts)
