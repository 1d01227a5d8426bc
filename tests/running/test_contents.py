from __future__ import annotations

import hashlib
import os
import shutil
import threading

import pytest

from audio_neurons.running import contents as module
from audio_neurons.running.contents import Contents


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """Paths of the files that are read."""
    found = []

    def noted(path, *more, **kinds):
        found.append(str(path))
        return open(path, *more, **kinds)

    monkeypatch.setattr(module, "open", noted, raising=False)
    return found


def test_files_are_read_once_and_again_if_their_size_or_time_changes(folder, reads):
    file = folder / "a.zip"
    file.write_bytes(b"one")
    kept = folder / "kept.txt"

    def digest() -> str | None:
        reads.clear()
        return Contents(kept).of([file]).get(file)

    assert (digest(), str(file) in reads) == (sha256(b"one"), True)
    assert (digest(), str(file) in reads) == (sha256(b"one"), False)
    os.utime(file, (5, 5))
    assert (digest(), str(file) in reads) == (sha256(b"one"), True)
    assert (digest(), str(file) in reads) == (sha256(b"one"), False)
    file.write_bytes(b"two")
    os.utime(file, (-7, -7))
    assert (digest(), str(file) in reads) == (sha256(b"two"), True)
    file.unlink()
    assert digest() is None
    assert Contents(kept).last(file) == sha256(b"two")
    assert Contents(kept).last(folder / "b.zip") is None


def test_what_is_no_file_has_none(folder):
    (folder / "x").mkdir()
    os.mkfifo(folder / "pipe")
    assert Contents(folder / "kept.txt").of([folder / "x", folder / "pipe", folder / "gone", "\0"]) == {}


def test_what_is_moved_together_stays_known(folder, reads, monkeypatch):
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    (folder / "here" / "ü a.zip").write_bytes(b"one")
    assert len(Contents("results/kept.txt").of(["ü a.zip"])) == 1
    monkeypatch.chdir(folder)
    shutil.move("here", "there")
    monkeypatch.chdir(folder / "there")
    reads.clear()
    assert list(Contents("results/kept.txt").of([folder / "there" / "ü a.zip"]).values()) == [sha256(b"one")]
    assert reads == ["results/kept.txt"]


def test_damaged_lines_and_folders_that_may_not_be_written_do_no_harm(folder):
    file = folder / "a"
    file.write_bytes(b"one")
    Contents(folder / "kept.txt").of([file])
    text = (folder / "kept.txt").read_text(encoding="utf-8")
    (folder / "kept.txt").write_bytes(b"\xff\xfe half a li\n" + text.encode()[:40] + b"\n" + text.encode())
    assert Contents(folder / "kept.txt").last(file) == sha256(b"one")
    (folder / "nofolder").touch()
    assert Contents(folder / "nofolder" / "kept.txt").of([file]) == {file: sha256(b"one")}


def test_jobs_add_at_once_and_lines_that_are_replaced_are_removed(folder):
    files = [folder / f"{i}" for i in range(50)]
    for i, file in enumerate(files):
        file.write_bytes(b"%d" % i)
    several = [Contents(folder / "kept.txt") for _ in range(30)]
    for one in several:
        assert one.last(files[0]) is None
    threads = [threading.Thread(target=one.of, args=(files,)) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = folder / "kept.txt"
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 30 * 50
    assert [Contents(kept).last(file) for file in files] == [sha256(b"%d" % i) for i in range(50)]
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 50


def test_the_first_reading_shows_progress(folder, capsys, monkeypatch):
    monkeypatch.setattr("audio_neurons.running.runtime.INTERVAL", 0)
    (folder / "a.zip").write_bytes(bytes(3 << 20))
    Contents(folder / "kept.txt").of([folder / "a.zip"], "checksums of birds")
    assert "checksums of birds: 2/3 MB, " in capsys.readouterr().err
    Contents(folder / "kept.txt").of([folder / "a.zip"], "checksums of birds")
    assert capsys.readouterr().err == ""
