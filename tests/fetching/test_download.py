from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import requests
from server import closed_port, reachable, until

from audio_neurons.fetching import download
from audio_neurons.fetching.download import DiskFull, DownloadError, fetch
from audio_neurons.running import runtime

DATA = random.Random(0).randbytes(2_000_000)  # half of it is less than `download.PROGRESS`
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest()
SECRET = "s3cr?t &/#k%C3%A9y"
SENT = "s3cr?t%20&/%23k%C3%A9y"  # as quoted in a URL
FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@pytest.fixture
def server(monkeypatch):
    with reachable(monkeypatch) as server:
        yield server


def only(folder):
    return sorted(path.name for path in folder.iterdir())


# Verification


@pytest.mark.parametrize("how", [{}, {"unsized": True}, {"gzip": True}], ids=str)
def test_a_file_arrives_verified(server, tmp_path, how, capsys):
    target = tmp_path / "new" / "file.zip"
    url = server.put("f", DATA, **how)
    fetch([url], target, sha256=SHA256.upper(), md5=MD5, size=len(DATA), git_blob=GIT)
    assert target.read_bytes() == DATA
    assert only(target.parent) == ["file.zip"]
    printed = capsys.readouterr()
    assert "file.zip" in printed.err
    assert not printed.out


def test_quiet_downloads_say_nothing(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "INTERVAL", 0.0)
    fetch([server.put("f", DATA)], tmp_path / "f", quiet=True)
    assert capsys.readouterr().err == ""


def test_a_session_keeps_its_connection(server, tmp_path):
    urls = [server.put(f"f{n}", DATA[: 1000 * n]) for n in range(5)]
    with requests.Session() as session:
        for n, url in enumerate(urls):
            fetch([url], tmp_path / f"{n}", session=session)
    assert [(tmp_path / f"{n}").stat().st_size for n in range(5)] == [0, 1000, 2000, 3000, 4000]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"sha256": "0" * 64}, f"its sha256 is {SHA256}, expected {'0' * 64}"),
        ({"md5": "0" * 32, "sha256": SHA256}, f"its md5 is {MD5}, expected {'0' * 32}"),
        ({"git_blob": "0" * 40}, f"its git_blob is {GIT}, expected {'0' * 40}"),
        ({"size": 5}, f"its size is {len(DATA)}, expected 5"),
    ],
)
@pytest.mark.parametrize("how", [{}, {"unsized": True}], ids=str)
def test_a_wrong_file_never_gets_the_name(server, tmp_path, expected, told, how):
    url = server.put("f", DATA, **how)
    with pytest.raises(DownloadError) as error:
        fetch([url], tmp_path / "f.zip", **expected)
    assert f"{url}: {told}" in str(error.value)
    assert "f.zip" in str(error.value)
    assert error.value.differs
    assert not error.value.temporary
    assert only(tmp_path) == []


def test_a_file_truncated_upstream_never_gets_the_name(server, tmp_path):
    with pytest.raises(DownloadError, match="its sha256 is"):
        fetch([server.put("f", DATA[:-1000])], tmp_path / "f", sha256=SHA256)
    with pytest.raises(DownloadError, match=f"its size is {len(DATA) - 1000}"):
        fetch([server.put("f", DATA[:-1000], unsized=True)], tmp_path / "f", size=len(DATA))
    assert only(tmp_path) == []


def test_a_file_of_another_size_is_not_even_fetched(server, tmp_path):
    url = server.put("f", DATA, stall=60)
    with pytest.raises(DownloadError, match="its size"):
        fetch([url], tmp_path / "f", size=5)


def test_a_file_that_is_there_is_verified_and_left_alone(server, tmp_path):
    target, url = tmp_path / "f", server.put("f", DATA)
    target.write_bytes(DATA)
    before = target.stat().st_mtime_ns
    fetch([url], target, sha256=SHA256, size=len(DATA))
    assert target.stat().st_mtime_ns == before
    assert not server.requests
    target.write_bytes(b"brought by hand, but another one")
    with pytest.raises(DownloadError, match=r"f is there, but its sha256.*Delete it"):
        fetch([url], target, sha256=SHA256)
    assert target.exists()


# Interruptions


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    fetch([server.put("f", DATA, cut=2)], tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA
    first, second, third = (asked for _, asked in server.requests)
    assert first is None
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < len(DATA)
    assert only(tmp_path) == ["f"]


@pytest.mark.parametrize("how", [{"cut": 2, "ranges": False}, {"cut": 1, "shifted": True}], ids=str)
def test_without_usable_ranges_the_download_starts_over(server, tmp_path, how):
    fetch([server.put("f", DATA, **how)], tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_stall_is_an_interruption(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.5))
    fetch([server.put("f", DATA, stall=30)], tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA
    (_, first), (_, second) = server.requests
    assert first is None
    assert len(DATA) // 4 < int(second[6:-1]) < len(DATA)


def test_a_slow_server_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (5, 5))
    fetch([server.put("f", DATA, delay=0.2, stall=0.2)], tmp_path / "f", sha256=SHA256)
    assert len(server.requests) == 1


def test_a_server_that_stays_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.05))
    with pytest.raises(DownloadError, match=r"(?i)timed out.*after 1 retries") as error:
        fetch([server.put("f", DATA, delay=30)], tmp_path / "f", retries=1)
    assert error.value.temporary
    assert len(server.requests) == 2


def test_a_later_run_resumes_and_a_changed_file_starts_over(server, tmp_path):
    target, url = tmp_path / "f", server.put("f", DATA, cut=2)
    for _ in range(2):
        with pytest.raises(DownloadError, match="run again to resume"):
            fetch([url], target, retries=0)
        assert only(tmp_path) == ["f.part", "f.part.json"]
    assert server.requests[1][1] is not None
    other = os.urandom(len(DATA))
    server.put("f", other)
    fetch([url], target)
    assert target.read_bytes() == other
    assert server.requests[2][1] is not None


def test_a_part_that_is_complete_only_gets_its_name(server, tmp_path):
    url = server.put("f", DATA, cut=1)
    with pytest.raises(DownloadError):
        fetch([url], tmp_path / "f", retries=0)
    (tmp_path / "f.part").write_bytes(DATA)
    fetch([url], tmp_path / "f", sha256=SHA256)
    assert server.requests[-1][1] == f"bytes={len(DATA)}-"
    assert only(tmp_path) == ["f"]


def test_parts_of_another_url_are_not_joined(server, tmp_path):
    # The first URL gives only half of the file, which must not be joined with bytes of the second.
    urls = [server.put("a", DATA, cut=99, ranges=False), server.put("b", DATA, etag=False)]
    fetch(urls, tmp_path / "f", sha256=SHA256, retries=1)
    assert server.requests[-1] == ("b", None)


JOB = """
import sys
from audio_neurons.fetching.download import fetch
fetch(sys.argv[1:2], sys.argv[2], sha256=sys.argv[3])
"""


def test_a_killed_process_is_resumed(server, tmp_path, root):
    url, target = server.put("f", DATA, stall=60), tmp_path / "f"
    with subprocess.Popen([sys.executable, "-c", JOB, url, target, SHA256], cwd=root) as process:
        part = tmp_path / "f.part"
        until(lambda: part.exists() and part.stat().st_size > 500_000)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert only(tmp_path) == ["f.part", "f.part.json"]
    there = part.stat().st_size
    fetch([url], target, sha256=SHA256)
    assert server.requests == [("f", None), ("f", f"bytes={there}-")]
    assert target.read_bytes() == DATA
    assert only(tmp_path) == ["f"]


def test_progress_renews_the_patience(server, tmp_path):
    data = os.urandom(16_000_000)
    fetch([server.put("f", data, cut=3)], tmp_path / "f", retries=0)
    assert (tmp_path / "f").read_bytes() == data


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    fetch([server.put("f", DATA, status=(status, 2))], tmp_path / "f", sha256=SHA256)
    assert len(server.requests) == 3


def test_retries_end(server, tmp_path):
    with pytest.raises(DownloadError, match=r"HTTP 503.*after 3 retries") as error:
        fetch([server.put("f", status=503)], tmp_path / "f", retries=3)
    assert len(server.requests) == 4
    assert error.value.temporary


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(None, [1, 2, 4, 8]), (3, [3, 3, 4, 8]), (9999, [120] * 4)]
)
def test_waits_grow_between_retries_and_the_servers_wish_is_met(
    server, tmp_path, monkeypatch, retry_after, expected
):
    waits = []
    monkeypatch.setattr(download, "BACKOFF", 1.0)
    monkeypatch.setattr(download.time, "sleep", waits.append)
    fetch([server.put("f", DATA, status=(429, 4), retry_after=retry_after)], tmp_path / "f")
    assert waits == expected


def test_an_unreachable_server_is_told(server, tmp_path):
    with pytest.raises(DownloadError, match="ConnectionError") as error:
        fetch([f"http://127.0.0.1:{closed_port()}/f"], tmp_path / "f", retries=1)
    assert error.value.temporary


# Sources


def test_the_next_url_is_tried(server, tmp_path):
    (tmp_path / "mirror").write_bytes(DATA)
    page = server.put("page", b"<p>Log in", html=True)
    fetch(
        [f"{server.url}/none", page, "ftp://127.0.0.1/f", "http://[x/f", str(tmp_path / "mirror")],
        tmp_path / "f",
        sha256=SHA256,
    )
    assert server.requests == [("none", None), ("page", None)]
    assert (tmp_path / "f").read_bytes() == DATA


def test_every_reason_and_the_remedy_are_told(server, tmp_path):
    target = tmp_path / "f.zip"
    page = server.put("page", b"<p>Log in", html=True)
    urls = [f"{server.url}/none", page, (tmp_path / "none").as_uri(), str(tmp_path), "hf:a/b"]
    with pytest.raises(DownloadError) as error:
        fetch(urls, target, manual="Ask the authors.")
    message = str(error.value)
    reasons = ["HTTP 404", "answered with a web page", "no such file", "a folder", "not an http"]
    for url, reason in zip(urls, reasons, strict=True):
        assert f"{url}: {reason}" in message
    assert len(error.value.reasons) == 5
    assert not error.value.temporary
    assert not error.value.differs
    assert "bring the file by hand (`download.archives`)" in message
    assert "datasets.NAME.archives.ROLE.urls" in message
    assert message.endswith("Ask the authors.")
    assert only(tmp_path) == []


def test_archives_without_url_are_asked_for(tmp_path):
    with pytest.raises(DownloadError, match=r"f\.zip has no known URL.*(?s:.*)by hand(?s:.*)the key"):
        fetch([], tmp_path / "f.zip", manual="Download it with the key.\n")


def test_mirrors_come_first_the_nearest_one_before(server, tmp_path):
    mirror = {
        "https://": f"{server.url}/all/",
        "https://zenodo.org/": f"{server.url}/zenodo/",
        "ftp://": "ftp://127.0.0.1/",
    }
    server.put("all/zenodo.org/f.tar?download=1", DATA)
    fetch(["https://zenodo.org/f.tar?download=1"], tmp_path / "f", sha256=SHA256, mirror=mirror)
    assert [path for path, _ in server.requests] == [
        "zenodo/f.tar?download=1",
        "all/zenodo.org/f.tar?download=1",
    ]


def test_the_original_follows_its_mirror(server, tmp_path):
    server.put("f", DATA)
    fetch([f"{server.url}/f"], tmp_path / "f", mirror={server.url: f"{server.url}/mirror"})
    assert server.requests == [("mirror/f", None), ("f", None)]


def test_local_files_are_copied(tmp_path):
    source = tmp_path / "with space.bin"
    source.write_bytes(DATA)
    fetch([source.as_uri()], tmp_path / "a", sha256=SHA256)
    fetch([str(source)], tmp_path / "b", md5=MD5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == DATA
    assert (tmp_path / "a").stat().st_nlink == 1
    assert only(tmp_path) == ["a", "b", "with space.bin"]


def test_a_copy_that_fails_in_the_middle_leaves_nothing(tmp_path):
    broken = Path("/proc/self/mem")  # a file whose first byte cannot be read
    if not broken.exists():
        pytest.skip("no file that cannot be read")
    with pytest.raises(DownloadError, match=os.strerror(errno.EIO)):
        fetch([str(broken)], tmp_path / "f")
    assert only(tmp_path) == []


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_the_environments_proxy_is_used(server, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, server.url)
    server.put("audio.invalid/f", DATA)
    fetch(["http://audio.invalid/f"], tmp_path / "f", sha256=SHA256)
    assert server.requests == [("http://audio.invalid/f", None)]


def test_hosts_without_proxy_are_asked_directly(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    url = server.put("f", DATA)
    with pytest.raises(DownloadError, match="ProxyError") as error:
        fetch([url], tmp_path / "f")
    assert not error.value.temporary  # a wrong proxy setting is not temporary
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fetch([url], tmp_path / "f", sha256=SHA256)
    assert server.requests == [("f", None)]


# Secrets


@pytest.fixture
def told(server, tmp_path, monkeypatch, capfd, caplog):
    """Return a function that runs a download and returns all that it prints, logs, raises and stores."""
    monkeypatch.setenv("KEY", SECRET)
    monkeypatch.setattr(runtime, "INTERVAL", 0.0)
    caplog.set_level(logging.DEBUG)

    def run(*urls, **options):
        try:
            fetch(urls, tmp_path / "f", **options)
            shown = ""
        except (DownloadError, KeyboardInterrupt) as error:
            shown = "".join(traceback.format_exception(error))
        files = "".join(p.read_text(errors="replace") for p in tmp_path.glob("*.json"))
        return "\n".join([shown, files, *capfd.readouterr(), caplog.text])

    return run


def holds_secret(text):
    # Its letters and digits, however the other characters are quoted.
    return re.search("s3cr|C3%A9|é|k.{0,8}y&", text) is not None


def test_a_secret_reaches_the_server_and_is_told_to_nobody_else(server, tmp_path, told):
    server.put(f"f?key={SENT}&file=f", DATA, cut=1)
    text = told(f"{server.url}/f?key=${{KEY}}&file=f", retries=0)
    assert "/f?key=${KEY}&file=f: ProtocolError" in text
    assert not holds_secret(text)
    assert json.loads((tmp_path / "f.part.json").read_text())["url"].endswith("?key=${KEY}&file=f")
    text = told(f"{server.url}/f?key=${{KEY}}&file=f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA
    assert "download f:" in text
    assert not holds_secret(text)


def test_errors_do_not_quote_secrets(server, told, monkeypatch):
    away, door = f"127.0.0.1:{closed_port()}", f"door?key={SENT}"
    for location in (f"http://{away}/x?key={SENT}", f"nonsense://host/{SENT}", f"http://[{SENT}/"):
        server.put(door, redirect=location)
        text = told(f"{server.url}/door?key=${{KEY}}", retries=1)
        assert f"{server.url}/door?key=${{KEY}}: " in text
        assert "HTTP 404" not in text  # the redirection was followed
        assert not holds_secret(text)
    for url in (f"{server.url}/none/${{KEY}}", f"http://{away}/${{KEY}}"):
        text = told(url, retries=0)
        assert f"{url}: " in text
        assert not holds_secret(text)
    for host, url in (("127.0.0.1", f"http://${{HOST}}:{closed_port()}/"), ("s3cr", "http://[${HOST}]/")):
        monkeypatch.setenv("HOST", host)
        text = told(url, retries=0)
        assert f"{url}: " in text
        assert host not in text

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.time, "sleep", interrupt)
    text = told(f"http://{away}/${{KEY}}")
    assert "KeyboardInterrupt" in text
    assert not holds_secret(text)


def test_urls_without_their_variable_are_skipped(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KEY", "")
    url = server.put("g", DATA)
    fetch([f"{server.url}/f?key=${{KEY}}", url], tmp_path / "f")
    assert server.requests == [("g", None)]
    with pytest.raises(DownloadError, match=r"f\?key=\$\{KEY\}: needs the environment variable KEY"):
        fetch([f"{server.url}/f?key=${{KEY}}"], tmp_path / "h")


# Disk space


class Usage:
    def __init__(self, free):
        self.free = free


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets the reported free space in bytes."""
    return lambda amount: monkeypatch.setattr(download.shutil, "disk_usage", lambda _: Usage(amount))


@pytest.mark.parametrize("how", [{}, {"unsized": True}], ids=str)
def test_what_has_no_room_is_not_begun(server, tmp_path, free, how):
    free(len(DATA) - 1)
    url = server.put("f", DATA, **how)
    with pytest.raises(
        DiskFull, match=r"f\.zip needs 0\.002 GB more, but only 0\.002 GB are free in "
    ) as error:
        fetch([url, url], tmp_path / "f.zip", size=len(DATA))
    assert str(tmp_path) in str(error.value)
    assert only(tmp_path) == []
    assert len(server.requests) == 1
    free(len(DATA))
    fetch([url], tmp_path / "f.zip", size=len(DATA))


def test_only_what_is_lacking_needs_room(server, tmp_path, free):
    url = server.put("f", DATA, cut=1)
    with pytest.raises(DownloadError, match="to resume"):
        fetch([url], tmp_path / "f", retries=0)
    lacking = len(DATA) - (tmp_path / "f.part").stat().st_size
    free(lacking - 1)
    with pytest.raises(DiskFull):
        fetch([url], tmp_path / "f")
    assert only(tmp_path) == ["f.part", "f.part.json"]
    free(lacking)
    fetch([url], tmp_path / "f", sha256=SHA256)


def test_copies_need_room_too(tmp_path, free):
    free(len(DATA) - 1)
    (tmp_path / "source").write_bytes(DATA)
    with pytest.raises(DiskFull, match="needs"):
        fetch([str(tmp_path / "source")], tmp_path / "f")
    assert only(tmp_path) == ["source"]


@needs_full
def test_a_disk_that_gets_full_in_the_middle(server, tmp_path):
    url, part = server.put("f", DATA, cut=1), tmp_path / "f.part"
    with pytest.raises(DownloadError, match="to resume"):
        fetch([url], tmp_path / "f", retries=0)
    arrived = part.read_bytes()
    part.unlink()
    part.symlink_to(FULL)
    with pytest.raises(DiskFull, match=r"f: the disk is full.*Make room and run again") as error:
        fetch([url, url], tmp_path / "f", sha256=SHA256)
    assert str(tmp_path) in str(error.value)
    assert len(server.requests) == 2
    assert only(tmp_path) == ["f.part", "f.part.json"]
    # Restore the part; the notes are those of the attempt that found the disk full.
    part.unlink()
    part.write_bytes(arrived)
    fetch([url], tmp_path / "f", sha256=SHA256)
    assert server.requests[-1] == ("f", f"bytes={len(arrived)}-")


@needs_full
def test_a_copy_for_which_the_disk_is_too_small(tmp_path):
    (tmp_path / "source").write_bytes(DATA)
    (tmp_path / "f.part").symlink_to(FULL)
    with pytest.raises(DiskFull, match="the disk is full"):
        fetch([str(tmp_path / "source")], tmp_path / "f")
    assert only(tmp_path) == ["source"]
