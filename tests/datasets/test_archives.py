from __future__ import annotations

import io
import os
import tarfile
import zipfile

import pytest
from upstream import tarred, zipped

from audio_neurons.datasets.archives import ArchiveError, MissingMember, members, read

FILES = {
    "top/a.wav": os.urandom(5000), "top/meta/list.csv": b"x,y\n", "top/b.WAV": b"bb", "top/._a.wav": b"apple",
    "__MACOSX/top/a.wav": b"apple", "top/empty.wav": b"",
}  # fmt: skip
KEPT = ["top/a.wav", "top/meta/list.csv", "top/b.WAV", "top/empty.wav"]
KINDS = {"zip": zipped, "tar": lambda p, f: tarred(p, f, "w"), "tar.gz": tarred}


@pytest.fixture(params=KINDS)
def archive(request, tmp_path):
    # A name without a suffix: the format is detected from the content.
    return KINDS[request.param](tmp_path / "download", FILES)


def test_members_come_in_order_without_companions(archive):
    assert list(members(archive)) == [(name, FILES[name]) for name in KEPT]


def test_suffixes_select(archive):
    assert [name for name, _ in members(archive, ".wav")] == ["top/a.wav", "top/b.WAV", "top/empty.wav"]
    assert [name for name, _ in members(archive, (".csv", ".txt"))] == ["top/meta/list.csv"]


def test_read_finds_a_member_by_pattern_or_function(archive):
    assert read(archive, "meta/list.csv") == b"x,y\n"
    assert read(archive, "top/meta/list.csv") == b"x,y\n"
    assert read(archive, "*.csv") == b"x,y\n"
    assert read(archive, lambda name: name.endswith("b.WAV")) == b"bb"
    with pytest.raises(MissingMember, match=r"download.*holds no list\.txt"):
        read(archive, "list.txt")


def test_open_files_are_archives_too(archive):
    assert list(members(io.BytesIO(archive.read_bytes()))) == [(name, FILES[name]) for name in KEPT]


def test_links_and_folders_are_skipped(tmp_path):
    with tarfile.open(tmp_path / "t", "w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo(f"{kind.decode()}.wav")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    link = zipfile.ZipInfo("l.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("d.wav/", "")
    assert list(members(tmp_path / "t")) == []
    assert list(members(tmp_path / "z")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_unpacked_wherever_a_name_leads(tmp_path, monkeypatch, kind):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    names = ["../up.wav", f"{tmp_path}/absolute.wav", "x/../../../../far.wav", "./here.wav"]
    path = KINDS[kind](tmp_path / "archive", dict.fromkeys(names, b"data"))
    monkeypatch.chdir(inside)
    before = sorted(tmp_path.rglob("*"))
    assert [data for _, data in members(path)] == [b"data"] * 4
    assert read(path, "far.wav") == b"data"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("cut", [0.01, 0.3, 0.6, 0.85])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_archives_name_the_file_and_the_remedy(tmp_path, kind, cut):
    archive = KINDS[kind](tmp_path / "download", {f"{i}.wav": os.urandom(20_000) for i in range(4)})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ArchiveError, match=r"download: truncated or damaged .*; delete it and run again"):
        list(members(archive))


def test_a_tar_gz_without_its_last_bytes_is_noticed(tmp_path):
    path = tarred(tmp_path / "t.tar.gz", FILES)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ArchiveError, match="truncated"):
        list(members(path))


def test_a_tar_cut_between_two_members_is_noticed(tmp_path):
    path = tarred(tmp_path / "t.tar", {"a": b"x" * 512, "b": b"y" * 512}, "w")
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(ArchiveError, match="no member and no end at byte 1024"):
        list(members(path))


def test_a_damaged_header_inside_a_tar_is_noticed(tmp_path):
    path = tarred(tmp_path / "t.tar", {"a": b"x" * 512, "b": b"y" * 512}, "w")
    data = bytearray(path.read_bytes())
    data[1030] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="at byte 1024"):
        list(members(path))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_flipped_bits_are_noticed(tmp_path, kind):
    path = KINDS[kind](tmp_path / "a", {"noise.wav": os.urandom(20_000)})
    data = bytearray(path.read_bytes())
    data[9_000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        list(members(path))


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"PK", b"\x1f\x8b", os.urandom(3000)])
def test_what_is_no_archive_is_refused(tmp_path, data):
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"a\.zip"):
        list(members(path))


def test_a_missing_archive_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(members(tmp_path / "none.zip"))
