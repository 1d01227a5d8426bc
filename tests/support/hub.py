"""A hub of models on this machine: the part of the Hugging Face Hub's protocol that its client uses.

Models have commits; a file that is tracked by LFS has its SHA-256 as entity tag, any other its git blob.
Ranges, redirects, gated and private models, and connections that break off are as on the real hub.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS = (".safetensors", ".bin")


@dataclass
class Repository:
    """A model: files by commit, branches, and whether it needs a token."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    licence: str = "mit"
    cut: int = 0  # number of responses with a file tracked by LFS that break off in the middle

    def push(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit, and return its name."""
        text = repr((branch, sorted(files.items()), len(self.commits))).encode()
        commit = hashlib.sha1(text).hexdigest()
        self.commits[commit], self.branches[branch] = dict(files), commit
        return commit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub: Hub = self.server.owner
        path = unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range")))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            return self._model(hub, found[1], found[2] or "main")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self._tree(hub, found[1], found[2])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(hub, found[1], found[2], found[3], body)
        return self._refuse(404, "EntryNotFound", "no such page")

    def _found(self, hub: Hub, name: str, revision: str) -> tuple[Repository, str] | None:
        """Return a repository and the commit of a revision; answer with an error if there is none."""
        repository = hub.models.get(name)
        if repository is None:
            self._refuse(401, "RepoNotFound", "Repository not found")
            return None
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def _model(self, hub: Hub, name: str, revision: str) -> None:
        if found := self._found(hub, name, revision):
            repository, commit = found
            files = [_described(*file) for file in repository.commits[commit].items()]
            self._json(
                {
                    "id": name, "modelId": name, "sha": commit, "private": False, "downloads": 0, "likes": 0,
                    "gated": "manual" if repository.gated else False, "siblings": files,
                    "tags": [f"license:{repository.licence}"],
                }
            )  # fmt: skip

    def _tree(self, hub: Hub, name: str, revision: str) -> None:
        if found := self._found(hub, name, revision):
            repository, commit = found
            entries = []
            for file in map(_described, *zip(*repository.commits[commit].items(), strict=True)):
                entry = {"type": "file", "path": file["rfilename"]}
                entry |= {"oid": file["blobId"], "size": file["size"]}
                if "lfs" in file:
                    entry["lfs"] = {**file["lfs"], "oid": file["lfs"]["sha256"]}
                entries.append(entry)
            self._json(entries)

    def _file(self, hub: Hub, name: str, revision: str, file: str, body: bool) -> None:
        found = self._found(hub, name, revision)
        if found is None:
            return
        repository, commit = found
        if repository.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        data = repository.commits[commit].get(file)
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        facts, asked = _described(file, data), self.headers.get("Range", "")
        first = asked.removeprefix("bytes=").partition("-")[0]
        start = int(first) if first.isdecimal() else 0
        tag = facts["lfs"]["sha256"] if "lfs" in facts else facts["blobId"]
        self.send_response(206 if start else 200)
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Content-Length": str(len(data) - start)}
        headers |= {"Accept-Ranges": "bytes"}
        if "lfs" in facts:
            headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(data))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        with suppress(ConnectionError):
            if "lfs" in facts and repository.cut > 0:
                repository.cut -= 1
                self.wfile.write(data[start : start + (len(data) - start) // 2])
                self.close_connection = True
                return
            self.wfile.write(data[start:])

    def _json(self, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, told: str, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Error-Message": told, **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def _described(name: str, data: bytes) -> dict:
    """Return the facts of a file, as the hub's API gives them."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    facts = {"rfilename": name, "size": len(data), "blobId": blob}
    if name.endswith(LFS):
        facts["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return facts


class Hub:
    """Serve models in threads while the context is open.

    Attributes
    ----------
    models
        Name → repository.
    token
        The token that gated models ask for.
    requests
        (method, path, Range header or None) of every request, in order.
    """

    def __init__(self):
        self.models: dict[str, Repository] = {}
        self.token = "hf_of-the-test"
        self.requests: list[tuple[str, str, str | None]] = []
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._listener.daemon_threads = True
        self._listener.owner = self
        self.url = f"http://127.0.0.1:{self._listener.server_port}"


@contextmanager
def serving() -> Iterator[Hub]:
    """Yield a hub that answers."""
    hub = Hub()
    thread = threading.Thread(target=hub._listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub._listener.shutdown()
        hub._listener.server_close()
