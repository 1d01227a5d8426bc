from __future__ import annotations

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audio_neurons import download
from audio_neurons.download import DownloadError, fetch

DATA = os.urandom(3_000_000)
SHA256, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``DATA``; the path says how: ``/cut-2/ranges/etag``, ``/503-1``, ``/404`` ..."""

    def do_GET(self):
        wishes = self.path.strip("/").split("/")
        seen = self.server.seen
        seen.append((self.path, self.headers.get("Range")))
        times = sum(path == self.path for path, _ in seen)
        for wish in wishes:
            name, _, count = wish.partition("-")
            if name.isdecimal() and times <= int(count or 99):
                self.send_response(int(name))
                self.send_header("Content-Length", "0")
                self.send_header("Retry-After", "0")
                return self.end_headers()
        start, data = 0, self.server.data
        asked = self.headers.get("Range")
        if asked and "ranges" in wishes and self.headers.get("If-Range") in (None, self.server.etag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if "shifted" in wishes and start:
            start += 7
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if "etag" in wishes:
            self.send_header("ETag", self.server.etag)
        if "html" in wishes:
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if "gzip" in wishes:
            self.send_header("Content-Encoding", "gzip")
        if "unsized" not in wishes:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        cut = next((int(w.removeprefix("cut-")) for w in wishes if w.startswith("cut-")), 0)
        self.wfile.write(body[: len(body) // 2] if times <= cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.data, server.etag = [], DATA, '"one"'
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def only(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("how", ["plain", "unsized", "gzip"])
def test_a_file_arrives_verified(server, tmp_path, how, capsys):
    target = tmp_path / "new" / "file.zip"
    fetch([f"{server.url}/{how}"], target, sha256=SHA256.upper(), md5=MD5, size=len(DATA))
    assert target.read_bytes() == DATA
    assert only(target.parent) == ["file.zip"]
    printed = capsys.readouterr()
    assert "file.zip" in printed.err
    assert not printed.out


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    fetch([f"{server.url}/cut-2/ranges/etag"], tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA
    first, second, third = (asked for _, asked in server.seen)
    assert first is None
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < len(DATA)
    assert only(tmp_path) == ["f"]


@pytest.mark.parametrize("how", ["cut-2", "cut-1/ranges/shifted"])
def test_without_usable_ranges_the_download_starts_over(server, tmp_path, how):
    fetch([f"{server.url}/{how}"], tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_later_run_resumes_and_a_changed_file_starts_over(server, tmp_path):
    url, target = f"{server.url}/cut-2/ranges/etag", tmp_path / "f"
    with pytest.raises(DownloadError, match="run again to resume"):
        fetch([url], target, retries=0)
    assert only(tmp_path) == ["f.part", "f.part.json"]
    server.data, server.etag = os.urandom(2_000_000), '"two"'
    fetch([url], target)
    assert target.read_bytes() == server.data
    assert server.seen[1][1] is not None


def test_parts_of_another_url_are_not_joined(server, tmp_path):
    # The first URL never gives more than a part: its half must not become the second's beginning.
    urls = [f"{server.url}/cut-99", f"{server.url}/ranges"]
    fetch(urls, tmp_path / "f", sha256=SHA256, retries=1)
    assert server.seen[-1] == ("/ranges", None)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    fetch([f"{server.url}/{status}-2"], tmp_path / "f", sha256=SHA256)
    assert len(server.seen) == 3


def test_retries_end(server, tmp_path):
    with pytest.raises(DownloadError, match=r"HTTP 503.*after 3 retries"):
        fetch([f"{server.url}/503"], tmp_path / "f", retries=3)
    assert len(server.seen) == 4


def test_waits_grow_between_retries(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "BACKOFF", 1.0)
    monkeypatch.setattr(download.time, "sleep", waits.append)
    fetch([f"{server.url}/503-4"], tmp_path / "f")
    assert waits == [1, 2, 4, 8]


def test_progress_renews_the_patience(server, tmp_path):
    server.data = os.urandom(16_000_000)
    fetch([f"{server.url}/cut-3/ranges"], tmp_path / "f", retries=0)
    assert (tmp_path / "f").read_bytes() == server.data


def test_the_next_url_is_tried(server, tmp_path):
    (tmp_path / "mirror").write_bytes(DATA)
    urls = [f"{server.url}/404", f"{server.url}/html", "ftp://127.0.0.1/f", str(tmp_path / "mirror")]
    fetch(urls, tmp_path / "f", sha256=SHA256)
    assert len(server.seen) == 2
    assert (tmp_path / "f").read_bytes() == DATA


def test_every_reason_and_the_remedy_are_told(server, tmp_path):
    target = tmp_path / "f.zip"
    urls = [f"{server.url}/404", f"{server.url}/html", (tmp_path / "none").as_uri(), str(tmp_path), "hf:a/b"]
    with pytest.raises(DownloadError) as error:
        fetch(urls, target, manual="Ask the authors.")
    message = str(error.value)
    reasons = ["HTTP 404", "answered with a web page", "no such file", "a folder", "not an http"]
    for url, reason in zip(urls, reasons, strict=True):
        assert f"{url}: {reason}" in message
    assert f"put the file there by hand, as {target}" in message
    assert "datasets.NAME.archives.ROLE.urls" in message
    assert message.endswith("Ask the authors.")
    assert only(tmp_path) == []


def test_an_unreachable_server_is_told(server, tmp_path):
    with pytest.raises(DownloadError, match="ConnectionError"):
        fetch(["http://127.0.0.1:9/f"], tmp_path / "f", retries=1)


def test_archives_without_url_are_asked_for(tmp_path):
    with pytest.raises(
        DownloadError, match=r"f\.zip has no known URL.*(?s:.*)by hand, as .*f\.zip(?s:.*)the key"
    ):
        fetch([], tmp_path / "f.zip", manual="Download it with the key.\n")


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"sha256": "0" * 64}, f"its sha256 is {SHA256}, expected {'0' * 64}"),
        ({"md5": "0" * 32, "sha256": SHA256}, f"its md5 is {MD5}, expected {'0' * 32}"),
        ({"size": 5}, f"its size is {len(DATA)}, expected 5"),
    ],
)
def test_a_wrong_file_never_gets_the_name(server, tmp_path, expected, told):
    url = f"{server.url}/plain"
    with pytest.raises(DownloadError) as error:
        fetch([url], tmp_path / "f.zip", **expected)
    assert f"{url}: {told}" in str(error.value)
    assert "f.zip" in str(error.value)
    assert only(tmp_path) == []


def test_local_files_are_copied(tmp_path):
    source = tmp_path / "with space.bin"
    source.write_bytes(DATA)
    fetch([source.as_uri()], tmp_path / "a", sha256=SHA256)
    fetch([str(source)], tmp_path / "b", md5=MD5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == DATA
    assert (tmp_path / "a").stat().st_nlink == 1
    assert only(tmp_path) == ["a", "b", "with space.bin"]


def test_a_file_that_is_there_is_verified_and_left_alone(server, tmp_path):
    target = tmp_path / "f"
    target.write_bytes(DATA)
    before = target.stat()
    fetch([f"{server.url}/plain"], target, sha256=SHA256, size=len(DATA))
    assert target.stat() == before
    assert not server.seen
    target.write_bytes(b"brought by hand, but another one")
    with pytest.raises(DownloadError, match=r"f is there, but its sha256.*Delete it"):
        fetch([f"{server.url}/plain"], target, sha256=SHA256)
    assert target.exists()
