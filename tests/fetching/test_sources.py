"""Archives as the facts describe them: brought by hand, fetched, joined, and verified."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile

import pytest
from server import Server

from audio_neurons.fetching import download, sources
from audio_neurons.fetching.download import DownloadError
from audio_neurons.fetching.sources import Access, fetch_archive, fetch_weights

DATA = os.urandom(300_000)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):  # other hosts fail at once
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Server() as running:
        yield running


@pytest.fixture
def access(server, tmp_path):
    mirror = {"https://": f"{server.url}/", "http://": f"{server.url}/"}
    return Access(archives=str(tmp_path / "mine"), mirror=mirror, retries=0)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "archives" / "birds" / "birds.zip"


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "checksums" / "birds.sha256"


def asked(server):
    return [path for path, _ in server.requests]


FACTS = {"file": "birds.zip", "urls": ["https://birds.example/birds.zip"]}


# By hand


@pytest.mark.parametrize("folder", ["mine/birds", "mine"])
def test_what_was_brought_by_hand_is_verified_and_linked(server, access, tmp_path, target, lock, folder):
    brought = tmp_path / folder / "birds.zip"
    brought.parent.mkdir(parents=True)
    brought.write_bytes(DATA)
    fetch_archive({**FACTS, "sha256": sha(DATA), "bytes": len(DATA)}, target, access, lock)
    assert target.read_bytes() == DATA
    assert target.samefile(brought)
    assert not server.requests
    target.unlink()
    assert brought.exists()
    with pytest.raises(DownloadError, match=r"mine/.*birds.zip, brought by hand, is not .* sha256 is"):
        fetch_archive({**FACTS, "sha256": "0" * 64}, target, access, lock)
    assert not target.exists()


def test_a_file_system_without_links_gets_a_symbolic_one(access, tmp_path, target, lock, monkeypatch):
    brought = tmp_path / "mine" / "birds.zip"
    brought.parent.mkdir()
    brought.write_bytes(DATA)

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    fetch_archive(FACTS, target, access, lock)
    assert target.is_symlink()
    assert target.read_bytes() == DATA


# Checksums of the first download


def test_a_first_download_holds_later_ones(server, access, target, lock):
    server.put("birds.example/birds.zip", DATA)
    fetch_archive(FACTS, target, access, lock)
    assert lock.read_text() == f"{sha(DATA)}  birds.zip\n"
    before = lock.stat()
    target.unlink()
    fetch_archive(FACTS, target, access, lock)
    assert lock.stat() == before
    target.unlink()
    server.put("birds.example/birds.zip", DATA[::-1])
    with pytest.raises(DownloadError, match=r"expected [0-9a-f]+ .*\n[^$]*birds.sha256; if upstream"):
        fetch_archive(FACTS, target, access, lock)
    assert not target.exists()


def test_an_archive_whose_bytes_vary_is_not_held_to_its_first_download(server, access, target, lock):
    for data in (DATA, DATA[::-1]):
        server.put("birds.example/birds.zip", data)
        fetch_archive({**FACTS, "bytes_vary": True}, target, access, lock)
        assert target.read_bytes() == data
        target.unlink()
    assert not lock.exists()


def test_what_cannot_be_had_may_be_brought(access, tmp_path, target, lock):
    with pytest.raises(DownloadError, match=r"HTTP 404") as error:
        fetch_archive({**FACTS, "manual": "Ask the birds."}, target, access, lock)
    assert f"To bring it by hand, save it as {tmp_path}/mine/birds/birds.zip" in str(error.value)
    assert "Ask the birds." in str(error.value)


def test_a_published_checksum_needs_no_lock(server, access, target, lock):
    server.put("birds.example/birds.zip", DATA)
    blob = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest()
    fetch_archive({**FACTS, "git_blob": blob}, target, access, lock)
    assert not lock.exists()


# Zenodo


RECORD = {**FACTS, "zenodo": 7, "urls": ["https://zenodo.org/records/7/files/birds.zip?download=1"]}


def told(**changes):
    entry = {"key": "birds.zip", "size": len(DATA), "checksum": f"md5:{hashlib.md5(DATA).hexdigest()}"}
    return json.dumps({"files": [{"key": "other.zip"}, {**entry, **changes}]}).encode()


def test_zenodo_tells_size_and_checksum(server, access, target, lock):
    server.put("zenodo.org/api/records/7", told())
    server.put("zenodo.org/records/7/files/birds.zip?download=1", DATA)
    fetch_archive(RECORD, target, access, lock)
    assert target.read_bytes() == DATA
    assert sha(DATA) in lock.read_text()
    target.unlink()
    for wrong, kind in (({"size": 3}, "size"), ({"checksum": "md5:" + "0" * 32}, "md5")):
        server.put("zenodo.org/api/records/7", told(**wrong))
        with pytest.raises(DownloadError, match=f"its {kind} is .*, expected"):
            fetch_archive(RECORD, target, access, lock)
        assert not target.exists()


@pytest.mark.parametrize("answer", [None, b"{}", b"not json", json.dumps({"files": []}).encode()])
def test_without_zenodos_answer_the_first_download_holds(server, access, target, lock, answer, capsys):
    if answer is not None:
        server.put("zenodo.org/api/records/7", answer)
    else:
        server.put("zenodo.org/api/records/7", b"", status=(503, 99))
    server.put("zenodo.org/records/7/files/birds.zip?download=1", DATA)
    fetch_archive(RECORD, target, access, lock)
    assert target.read_bytes() == DATA
    assert sha(DATA) in lock.read_text()
    assert "Zenodo's checksum is not available" in capsys.readouterr().err


# Archives in parts


PIECES = [DATA[:100_000], DATA[100_000:250_000], DATA[250_000:]]


def in_parts(pieces=PIECES):
    parts = [
        {"file": f"birds.zip.{i}", "urls": [f"https://birds.example/{i}"], "sha256": sha(piece)}
        for i, piece in enumerate(pieces)
    ]
    return {"file": "birds.zip", "urls": [], "md5": hashlib.md5(DATA).hexdigest(), "parts": parts}


def only(folder):
    return sorted(path.name for path in folder.iterdir())


def test_parts_are_fetched_and_joined(server, access, target, lock):
    for i, piece in enumerate(PIECES):
        server.put(f"birds.example/{i}", piece)
    fetch_archive(in_parts(), target, access, lock)
    assert target.read_bytes() == DATA
    assert only(target.parent) == ["birds.zip"]


def test_joining_goes_on_where_it_was_interrupted(server, access, target, lock):
    server.put("birds.example/0", PIECES[0])
    server.put("birds.example/1", PIECES[1])
    with pytest.raises(DownloadError, match=r"birds\.zip\.2 could not be downloaded"):
        fetch_archive(in_parts(), target, access, lock)
    # State as if killed while appending the second part.
    target.with_name("birds.zip.joined.json").write_text("[100000]")
    target.with_name("birds.zip.joined").write_bytes(DATA[:177_000])
    target.with_name("birds.zip.1").write_bytes(PIECES[1])
    server.requests.clear()
    server.put("birds.example/2", PIECES[2])
    fetch_archive(in_parts(), target, access, lock)
    assert target.read_bytes() == DATA
    assert asked(server) == ["birds.example/2"] or asked(server) == ["/birds.example/2"]
    assert only(target.parent) == ["birds.zip"]


def test_parts_may_be_brought_by_hand(server, access, tmp_path, target, lock):
    mine = tmp_path / "mine" / "birds"
    mine.mkdir(parents=True)
    (mine / "birds.zip.0").write_bytes(PIECES[0])
    (mine / "birds.zip.2").write_bytes(PIECES[2])
    server.put("birds.example/1", PIECES[1])
    fetch_archive(in_parts(), target, access, lock)
    assert target.read_bytes() == DATA
    assert only(mine) == ["birds.zip.0", "birds.zip.2"]
    target.unlink()
    (mine / "birds.zip.2").write_bytes(b"another")
    with pytest.raises(DownloadError, match=r"birds\.zip\.2, brought by hand, is not the right file"):
        fetch_archive(in_parts(), target, access, lock)


def test_parts_brought_to_where_archives_are_stay_there(server, access, target, lock):
    target.parent.mkdir(parents=True)
    target.with_name("birds.zip.0").write_bytes(PIECES[0])
    for i in (1, 2):
        server.put(f"birds.example/{i}", PIECES[i])
    fetch_archive(in_parts(), target, access.changed(archives=str(target.parents[1])), lock)
    assert target.read_bytes() == DATA
    assert only(target.parent) == ["birds.zip", "birds.zip.0"]


def test_a_wrong_whole_is_removed(server, access, target, lock):
    pieces = [b"x", b"y"]
    for i, piece in enumerate(pieces):
        server.put(f"birds.example/{i}", piece)
    with pytest.raises(DownloadError, match=r"joined from its 2 parts: its md5 is"):
        fetch_archive(in_parts(pieces), target, access, lock)
    assert only(target.parent) == []


# Facts and configuration


def test_the_configuration_changes_facts_and_batches_are_names():
    block = {"adapter": "cremad", "archives": {"archive": {"batches": 3}, "splits": {"sha256": None}}}
    facts = sources.archives(block)
    assert sources.names(facts["archive"]) == ["AudioWAV-000.tar", "AudioWAV-001.tar", "AudioWAV-002.tar"]
    assert sources.names(facts["splits"]) == "cremad.csv"
    assert facts["splits"]["sha256"] is None
    assert sources.names(sources.archives({**block, "synthesis": {}})["archive"]) == ["AudioWAV-000.tar"]


def test_identity_is_content_and_not_origin():
    facts = sources.archives({"adapter": "voxceleb1", "archives": {}})["dev"]
    moved = {**facts, "urls": ["x"], "manual": "", "note": ""}
    moved["parts"] = [{**part, "urls": ["y"]} for part in facts["parts"]]
    assert sources.identity(moved) == sources.identity(facts)
    moved["parts"][0]["sha256"] = "0" * 64
    assert sources.identity(moved) != sources.identity(facts)


# Weights


def test_weights_come_out_of_their_zip(server, access, tmp_path, lock):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as file:
        file.writestr("m2d-80x608p16x16/checkpoint.pth", DATA)
    server.put("weights.example/w.zip", tmp_path / "w.zip")
    facts = {"file": "m2d-80x608p16x16/checkpoint.pth", "urls": ["https://weights.example/w.zip"]}
    path = tmp_path / "weights" / "m2d" / facts["file"]
    fetch_weights(facts, path, access, lock)
    assert path.read_bytes() == DATA
    assert "  w.zip\n" in lock.read_text()
    # By hand: the zip, in the model's folder.
    for file in (path, path.parents[1] / "w.zip"):
        file.unlink()
    server.requests.clear()
    mine = tmp_path / "mine" / "m2d"
    mine.mkdir(parents=True)
    (mine / "w.zip").write_bytes((tmp_path / "w.zip").read_bytes())
    fetch_weights(facts, path, access, lock)
    assert path.read_bytes() == DATA
    assert not server.requests


def test_weights_that_are_no_zip_may_be_brought(server, access, tmp_path, lock):
    facts = {"file": "folder/model.safetensors"}
    path = tmp_path / "weights" / "mine" / facts["file"]
    with pytest.raises(DownloadError, match="has no known URL"):
        fetch_weights(facts, path, access, lock)
    brought = tmp_path / "mine" / "mine" / facts["file"]
    brought.parent.mkdir(parents=True)
    brought.write_bytes(DATA)
    fetch_weights(facts, path, access, lock)
    assert path.read_bytes() == DATA
