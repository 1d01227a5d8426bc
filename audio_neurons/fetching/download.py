"""Downloads that resume, try mirrors in order, and appear only after verification."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from audio_neurons.fetching.checksums import mismatch
from audio_neurons.fetching.urls import Unset, candidates, expand, is_local, local_path, mask
from audio_neurons.running.runtime import Meter

MB, GB = 1e6, 1e9
BLOCK = 1 << 18
TIMEOUT = (15, 60)  # seconds: to connect, and between two blocks
BACKOFF = 1.0  # seconds before the first retry; doubles with each
LONGEST_WAIT = 120.0
PROGRESS = 1 << 20  # an attempt with this many new bytes does not count as a failure
FULL = (errno.ENOSPC, errno.EDQUOT)
PASSING = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, urllib3.exceptions.HTTPError)
LASTING = (requests.exceptions.SSLError, requests.exceptions.ProxyError)  # not temporary, though in PASSING


class DownloadError(RuntimeError):
    """A file could not be fetched, or is not the expected file.

    Attributes
    ----------
    reasons
        Reason of failure for each URL that was tried.
    temporary
        Whether a URL may give the file later.
    differs
        Whether a URL gave a file other than the expected one.
    """

    def __init__(
        self, message: str, reasons: Sequence[str] = (), *, temporary: bool = False, differs: bool = False
    ):
        super().__init__(message)
        self.reasons, self.temporary, self.differs = tuple(reasons), temporary, differs


class DiskFull(DownloadError):
    """The disk has too little space for a file."""


class _Refused(Exception):
    """A URL does not give the file, and retrying now does not help."""

    def __init__(self, reason: str, *, temporary: bool = False, differs: bool = False):
        super().__init__(reason)
        self.temporary, self.differs = temporary, differs


class _Interrupted(Exception):
    """An attempt failed; another may succeed."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def fetch(
    urls: Sequence[str],
    path: str | os.PathLike,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    git_blob: str | None = None,
    retries: int = 4,
    manual: str | None = None,
    mirror: Mapping[str, str] = {},
    session: requests.Session | None = None,
    quiet: bool = False,
) -> None:
    """Fetch ``path`` from the first of ``urls`` that works; it appears complete and verified.

    A URL is ``http(s)://``, ``file://`` or a plain local path (copied). ``${NAME}`` in it stands for an
    environment variable, whose value is never shown or stored. An interrupted download is kept as
    ``<path>.part`` and resumed. An existing ``path`` is verified and not fetched again.

    Parameters
    ----------
    sha256, md5, size, git_blob
        Expected properties (see :func:`audio_neurons.fetching.checksums.mismatch`); ``None`` is not
        checked.
    retries
        Further attempts per URL after connection errors, stalls, short reads, HTTP 429 and 5xx.
    manual
        How to get the file by hand; part of the error message if no URL gives it.
    mirror
        URL prefix → prefix that is tried in its place before the URL itself; longest prefix first.
    session
        Session to use, so that many small files of one server share a connection.
    quiet
        Show no progress.

    Raises
    ------
    DownloadError
        If no URL gives the file (the message has each URL's reason and the remedy), or an existing
        ``path`` is not the expected file.
    DiskFull
        If the file does not fit on the disk; raised before writing if the size is known.
    """
    path = Path(path)
    expected = {"size": size, "sha256": sha256, "md5": md5, "git_blob": git_blob}
    if path.exists():
        if problem := mismatch(path, expected):
            raise DownloadError(f"{path} is there, but {problem}. Delete it and run again.", differs=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    reasons, temporary, differs = [], False, False
    for url in candidates(urls, mirror):
        try:
            source = _Source(url, expand(url), part, path.name, size, session, quiet)
            if is_local(source.address):
                _copy(source)
            else:
                _download(source, retries)
            if problem := mismatch(part, expected):
                _discard(part)
                raise _Refused(f"{problem} (removed)", differs=True)
            os.replace(part, path)
            _notes(part).unlink(missing_ok=True)
            return
        except (_Refused, Unset, ValueError) as error:  # ValueError: an invalid URL
            reasons.append(f"{url}: {mask(str(error), url)}")
            temporary |= getattr(error, "temporary", False)
            differs |= getattr(error, "differs", False)
    raise DownloadError(_no_source(path, reasons, manual), reasons, temporary=temporary, differs=differs)


def ensure_space(path: str | os.PathLike, lacking: int) -> None:
    """Raise if the folder of ``path`` has no space for ``lacking`` more bytes.

    Raises
    ------
    DiskFull
        The message says how much space is needed, how much is free, and where.
    """
    path = Path(path)
    free = shutil.disk_usage(path.parent).free
    if lacking > free:
        raise DiskFull(
            f"{path.name.removesuffix('.part')} needs {lacking / GB:,.3f} GB more, but only {free / GB:,.3f} "
            f"GB are free in {path.parent.absolute()}. Make room and run again."
        )


def disk_full(path: Path) -> DiskFull:
    """Return the error for a disk that fills up while ``path`` is written."""
    name = path.name.removesuffix(".part")
    return DiskFull(
        f"{name}: the disk is full, or your quota used up, in {path.parent.absolute()}. Make room and run "
        "again; partial files are kept and resumed."
    )


@dataclass(frozen=True)
class _Source:
    """One URL of a file, and what all attempts to download it share."""

    url: str  # as configured, without secrets: the only form to store or show
    address: str  # with secrets expanded
    part: Path
    name: str
    size: int | None
    session: requests.Session | None
    quiet: bool

    def say(self, error: Exception) -> str:
        """Describe an error without secrets."""
        return mask(f"{type(error).__name__}: {error}", self.url)


def _no_source(path: Path, reasons: list[str], manual: str | None) -> str:
    if reasons:
        problem = f"{path.name} could not be downloaded:\n  " + "\n  ".join(reasons)
    else:
        problem = f"{path.name} has no known URL."
    lines = [
        problem,
        "Remedy: bring the file by hand (`download.archives`), or name another source in the"
        " configuration (`datasets.NAME.archives.ROLE.urls`, `models.NAME.weights.urls`).",
    ]
    return "\n".join([*lines, manual.strip()] if manual else lines)


def _copy(source: _Source) -> None:
    file, part = local_path(source.address), source.part
    if not file.is_file():
        raise _Refused("a folder, not a file" if file.is_dir() else "no such file")
    _notes(part).unlink(missing_ok=True)  # first, so that no URL resumes from this part
    ensure_space(part, file.stat().st_size - _length(part))
    try:
        shutil.copyfile(file, part)
    except OSError as error:
        _discard(part)
        if error.errno in FULL:
            raise disk_full(part) from error
        raise _Refused(f"{error.strerror or type(error).__name__}") from error


def _download(source: _Source, retries: int) -> None:
    """Repeat attempts until the file is complete; only attempts without progress count as failures."""
    if urlsplit(source.address).scheme not in ("http", "https"):
        raise _Refused("not an http, https or file URL")
    failures, best = 0, _length(source.part) if _resumable(source) else 0
    while True:
        try:
            return _attempt(source)
        except _Interrupted as error:
            reached = _length(source.part)
            failures = 0 if reached >= best + PROGRESS else failures + 1
            best = max(best, reached)
            if failures > retries:
                reason = f"{error} (after {retries} retries; run again to resume)"
                raise _Refused(reason, temporary=True) from error
            time.sleep(min(max(error.wait, BACKOFF * 2 ** max(failures - 1, 0)), LONGEST_WAIT))


def _attempt(source: _Source) -> None:
    """Make one request for the bytes that the part lacks."""
    known = _resumable(source)
    start = _length(source.part) if known else 0
    headers = {"Accept-Encoding": "identity"}  # uncompressed, so that ranges refer to the file's bytes
    if start:
        headers["Range"] = f"bytes={start}-"
        if known["validator"]:
            headers["If-Range"] = known["validator"]
    get = (source.session or requests).get
    try:
        with get(source.address, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and _range(response)[1] == start:
                return
            start, total = _accept(response, start, known, source.part)
            if source.size is not None and total not in (None, source.size):
                if start:
                    _discard(source.part)
                raise _Refused(f"its size is {total}, expected {source.size}", differs=True)
            # Existing bytes of the part count in either case: they are kept, or overwritten.
            ensure_space(source.part, (total or source.size or 0) - _length(source.part))
            _receive(response, source, start, total)
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        passing = isinstance(error, PASSING) and not isinstance(error, LASTING)
        # Not "from error": messages of requests and urllib3 contain the address with secrets.
        raise (_Interrupted if passing else _Refused)(source.say(error)) from None
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(source.part) from error
        raise


def _accept(response: requests.Response, start: int, known: dict, part: Path) -> tuple[int, int | None]:
    """Return the offset of the response's bytes and the file's total size; raise if it is unusable."""
    status = response.status_code
    if status == 429 or status >= 500:
        wait = response.headers.get("Retry-After", "")
        raise _Interrupted(f"HTTP {status} {response.reason}", float(wait) if wait.isdecimal() else 0.0)
    if status == 416 or (status == 206 and _range(response) != (start, known.get("total"))):
        _discard(part)
        raise _Interrupted("the server offers another part of the file than was asked for")
    if status not in (200, 206):
        raise _Refused(f"HTTP {status} {response.reason}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise _Refused("answered with a web page, not with a file (does it want a login?)")
    if status == 206:
        return start, known["total"]
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _range(response: requests.Response) -> tuple[int | None, int | None]:
    """Parse first byte and total size of ``Content-Range: bytes 100-199/200`` or ``bytes */200``."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdecimal() else None, int(total) if total.isdecimal() else None


def _receive(response: requests.Response, source: _Source, start: int, total: int | None) -> None:
    meter = Meter(None if total is None else total / MB, f"download {source.name}", "MB", done=start / MB)
    with open(source.part, "ab" if start else "wb") as file:
        if not start:  # only now, with the part truncated: it may have come from another URL
            _note(source, response, total)
        # Raw: some servers declare a .tar.gz as a compressed .tar, which requests would decompress.
        for block in response.raw.stream(BLOCK, decode_content=False):
            file.write(block)
            if not source.quiet:
                meter.add(len(block) / MB)
        received = file.tell()
    meter.finish()
    if total is not None and received != total:
        raise _Interrupted(f"got {received} of {total} bytes")


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(source: _Source, response: requests.Response, total: int | None) -> None:
    """Store the URL and version of the part, so that parts of different files are never joined."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    note = {"url": source.url, "validator": validator, "total": total}
    _notes(source.part).write_text(json.dumps(note))


def _resumable(source: _Source) -> dict:
    """Return the notes on a part that can be resumed from the source; empty if it cannot."""
    try:
        known = json.loads(_notes(source.part).read_text())
    except (OSError, ValueError):
        return {}
    usable = known.get("url") == source.url and known.get("total") and source.part.exists()
    return known if usable else {}


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)
