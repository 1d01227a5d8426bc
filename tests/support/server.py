"""A web server on this machine that misbehaves on request: real sockets, no network.

```python
with Server() as server:
    server.put("zenodo.org/records/1/files/a.tar?download=1", Path("a.tar"), cut=2)
    fetch(["https://zenodo.org/records/1/files/a.tar?download=1"], path,
          mirror={"https://": server.url + "/", "http://": server.url + "/"})
```

It also works as a proxy for ``http://``: requests that begin with ``http://`` get the same files.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from audio_neurons.fetching import download

BLOCK = 1 << 16


@dataclass
class _File:
    """Content and faults of a path; see `Server.put`."""

    data: bytes | Path
    cut: int = 0
    stall: float = 0.0
    delay: float = 0.0
    status: int | tuple[int, int] | None = None
    retry_after: str | int | None = None
    redirect: str | None = None
    html: bool = False
    unsized: bool = False
    gzip: bool = False
    ranges: bool = True
    shifted: bool = False
    etag: bool = True
    asked: int = 0

    def open(self):
        return io.BytesIO(self.data) if isinstance(self.data, bytes) else open(self.data, "rb")

    def tag(self) -> str:
        """Return an entity tag that changes with the content."""
        if isinstance(self.data, bytes):
            return f'"{hashlib.md5(self.data).hexdigest()}"'
        stat = os.stat(self.data)
        return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections alive
    disable_nagle_algorithm = True  # else each answer on a kept connection takes 40 ms

    def do_GET(self):
        server: Server = self.server.owner
        path = self.path.removeprefix("/")
        with server.asked(path, self.headers.get("Range")) as (file, turn):
            self._answer(server, file, turn)

    def _answer(self, server: Server, file: _File | None, turn: int) -> None:
        if file is None:
            return self._bare(404)
        server.wait(file.delay)
        code, times = file.status if isinstance(file.status, tuple) else (file.status, turn)
        if code and turn <= times:
            return self._bare(code, **({} if file.retry_after is None else {"Retry-After": file.retry_after}))
        if file.redirect:
            return self._bare(302, Location=file.redirect)
        with file.open() as content:
            size = content.seek(0, os.SEEK_END)
            start = self._start(file)
            if start >= size > 0:
                return self._bare(416, **{"Content-Range": f"bytes */{size}"})
            self.send_response(206 if start else 200)
            if start:
                start += 7 * file.shifted
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            if file.etag:
                self.send_header("ETag", file.tag())
            if file.unsized:
                self.close_connection = True
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(size - start))
            if file.gzip:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Type", "text/html; charset=utf-8" if file.html else "audio/x-thing")
            self.end_headers()
            content.seek(start)
            with suppress(ConnectionError):  # the client disconnected
                self._send(content, (size - start) // 2)
                if turn <= file.cut:
                    self.close_connection = True
                    return
                if turn == 1:
                    server.wait(file.stall)
                self._send(content, size)

    def _start(self, file: _File) -> int:
        """Return the first byte to send: the start of the requested range, if ranges are on for this file."""
        asked = self.headers.get("Range", "")
        valid = self.headers.get("If-Range") in (None, file.tag() if file.etag else None)
        first = asked.removeprefix("bytes=").rstrip("-")
        return int(first) if file.ranges and valid and first.isdecimal() else 0

    def _send(self, content, size: int) -> None:
        while size > 0 and (block := content.read(min(BLOCK, size))):
            self.wfile.write(block)
            size -= len(block)

    def _bare(self, code: int, **headers) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def process_request(self, request, client_address):
        self.owner.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        pass  # the client was killed


class Server:
    """Serve the files that are `put`, in threads, while the context is open.

    Attributes
    ----------
    url
        ``http://127.0.0.1:PORT``.
    requests
        (path, Range header or None) of every request, in order.
    connections, peak
        Number of connections so far, and the largest number of simultaneous requests.
    """

    def __init__(self):
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._busy = 0
        self.requests: list[tuple[str, str | None]] = []
        self.connections = self.peak = 0
        self._listener = _Listener(("127.0.0.1", 0), _Handler)
        self._listener.owner = self
        self.url = f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self) -> Server:
        thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._closing.set()
        self._listener.shutdown()
        self._listener.server_close()

    def put(self, path: str, data: bytes | Path = b"", **faults) -> str:
        """Serve ``data`` under ``path`` and return its URL; a second call replaces data and faults.

        Parameters
        ----------
        path
            Path as clients request it, without the first slash: percent-encoded, with its query.
        data
            Content, or a file to stream.
        cut
            Number of first responses that break off in the middle.
        stall
            Seconds for which the first response pauses in the middle.
        delay
            Seconds before each response.
        status
            Status other than 200 for every response, or, as (503, 2), for the first two.
        retry_after
            Retry-After header of these responses.
        redirect
            URL to which responses redirect.
        html, gzip, unsized
            Respond as a web page, with a compressed encoding, or without a length.
        ranges, etag
            ``False``: always send the whole file; send no validator.
        shifted
            Start ranges 7 bytes late, with a matching Content-Range.
        """
        self._files[path] = _File(data, **faults)
        return f"{self.url}/{path}"

    def count(self, path: str) -> int:
        """Return how often a path was requested."""
        return sum(asked == path for asked, _ in self.requests)

    def wait(self, seconds: float) -> None:
        """Wait, but at most until the server closes."""
        if seconds:
            self._closing.wait(seconds)

    @contextmanager
    def asked(self, path: str, span: str | None) -> Iterator[tuple[_File | None, int]]:
        """Record a request, and yield its file and the number of requests for it so far."""
        with self._lock:
            self.requests.append((path, span))
            self._busy += 1
            self.peak = max(self.peak, self._busy)
            file = self._files.get(path) or self._files.get(path.removeprefix("http://"))
            if file:
                file.asked += 1
            turn = file.asked if file else 0
        try:
            yield file, turn
        finally:
            with self._lock:
                self._busy -= 1


@contextmanager
def reachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Yield a server that is reached without proxies; downloads retry without a pause."""
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as server:
        yield server


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; at most two minutes."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def closed_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
