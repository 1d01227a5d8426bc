from __future__ import annotations

import hashlib
import shutil
import subprocess

import pytest

from audio_neurons.fetching import checksums
from audio_neurons.fetching.checksums import Lock, LockError, mismatch

A, B, C = (letter * 64 for letter in "abc")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"what is in it\n")
    return path


TRUE = {
    "size": 14,
    "sha256": hashlib.sha256(b"what is in it\n").hexdigest(),
    "md5": hashlib.md5(b"what is in it\n").hexdigest(),
    "git_blob": hashlib.sha1(b"blob 14\0what is in it\n").hexdigest(),
}


def test_git_names_content_so(file):
    if not shutil.which("git"):
        pytest.skip("no git")
    told = subprocess.run(["git", "hash-object", file], capture_output=True, text=True, check=True).stdout
    assert mismatch(file, {"git_blob": told}) == ""
    assert mismatch(file, {"git_blob": "0" * 40}) == f"its git_blob is {told.strip()}, expected {'0' * 40}"


@pytest.mark.parametrize("kind", TRUE)
def test_each_kind_is_compared(file, kind, monkeypatch):
    monkeypatch.setattr(checksums, "BLOCK", 5)
    assert mismatch(file, {kind: str(TRUE[kind]).upper()}) == ""
    wrong = 13 if kind == "size" else TRUE[kind][::-1]
    assert mismatch(file, {**TRUE, kind: wrong}) == f"its {kind} is {TRUE[kind]}, expected {wrong}"


def test_what_is_not_known_is_not_compared(file):
    assert mismatch(file, dict.fromkeys(TRUE)) == mismatch(file, {}) == ""


def test_a_lock_holds_what_was_recorded(tmp_path):
    path = tmp_path / "new" / "checksums.sha256"
    lock = Lock(path)
    assert lock.get("a") is None
    lock.record({})
    assert not path.exists()
    lock.record({"b b.wav": B.upper(), "a": A})
    assert path.read_text() == f"{A}  a\n{B}  b b.wav\n"
    assert lock.get("b b.wav") == Lock(path).get("b b.wav") == B
    lock.record({"B": C})
    assert [line[66:] for line in path.read_text().splitlines()] == ["B", "a", "b b.wav"]


def test_locks_merge_with_what_others_recorded(tmp_path):
    one, two = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    one.record({"a": A})
    two.record({"b": B})
    assert two.get("a") == A
    assert (tmp_path / "lock").read_text() == f"{A}  a\n{B}  b\n"


def test_a_lock_that_does_not_change_is_not_written(tmp_path):
    path = tmp_path / "lock"
    path.write_text(f"{B} *b\n\n{A}  a\n")  # unsorted, with a blank line, as after an edit by hand
    before = path.read_bytes()
    Lock(path).record({"a": A})
    assert path.read_bytes() == before


def test_the_first_download_counts(tmp_path):
    lock = Lock(tmp_path / "lock")
    lock.record({"a": A})
    with pytest.raises(LockError, match=rf"lock: a was {A} at an earlier download, and is {B} now"):
        lock.record({"b": B, "a": B})
    assert Lock(tmp_path / "lock").get("a") == A
    assert Lock(tmp_path / "lock").get("b") is None


@pytest.mark.parametrize(
    "line", [f"{A} a", f"{A[1:]}  a", "a", f"{B}  b", f"{A}  ", "<<<<<<< HEAD", f"{A}  \udcff"]
)
def test_damage_is_named_with_its_line(tmp_path, line):
    path = tmp_path / "lock"
    path.write_text(f"{A}  b\n\n{line}\n", errors="surrogateescape")
    if "\udcff" in line:
        assert Lock(path).get("\ufffd") == A  # an undecodable name is allowed
        return
    with pytest.raises(LockError, match=r"lock, line 3: "):
        Lock(path)


@pytest.mark.parametrize(("name", "digest"), [("", A), ("a\nb", A), ("a ", A), (" a", A), ("a", "abc")])
def test_what_a_line_cannot_hold_is_refused(tmp_path, name, digest):
    with pytest.raises(LockError, match="cannot hold"):
        Lock(tmp_path / "lock").record({name: digest})
    assert not (tmp_path / "lock").exists()


def test_sha256sum_checks_a_lock(tmp_path, file):
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum")
    Lock(tmp_path / "lock").record({"f": TRUE["sha256"]})
    done = subprocess.run(["sha256sum", "-c", "lock"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "f: OK\n"
