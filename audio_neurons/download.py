"""Downloads that resume, try mirrors in order, and are verified before they get their name."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
import urllib3

from audio_neurons.files import checksum
from audio_neurons.runtime import Meter

MB = 1e6
BLOCK = 1 << 18
TIMEOUT = (15, 60)  # seconds: to connect, and between two blocks
BACKOFF = 1.0  # seconds before the first retry; doubles with each
LONGEST_WAIT = 120.0
PROGRESS = 1 << 20  # an attempt that brought this many new bytes does not count as a failure


class DownloadError(RuntimeError):
    """A file could not be brought here, or is not the file that it should be."""


class _Refused(Exception):
    """This URL will not give the file, however often it is asked."""


class _Interrupted(Exception):
    """This attempt failed; another may succeed."""

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
    retries: int = 4,
    manual: str | None = None,
) -> None:
    """Bring the first of ``urls`` that works to ``path``; complete and verified, or not at all.

    A URL is ``http(s)://``, ``file://`` or a plain local path (copied). An interrupted download
    is kept as ``<path>.part`` and resumed. A ``path`` that exists is verified and left alone.

    Parameters
    ----------
    sha256, md5, size
        What the file must be (hexadecimal digests, bytes); what is ``None`` is not checked.
    retries
        Further attempts per URL after connection errors, short reads, HTTP 429 and 5xx.
    manual
        How a person gets the file; part of the error where no URL gives it.

    Raises
    ------
    DownloadError
        If no URL gives the file (with each URL's reason and the remedy), or if a file at
        ``path`` is not the expected one.
    """
    path = Path(path)
    expected = {"size": size, "sha256": sha256, "md5": md5}
    if path.exists():
        if problem := _mismatch(path, expected):
            raise DownloadError(f"{path} is there, but {problem}. Delete it and run again.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in urls:
        part = path.with_name(f"{path.name}.part")
        try:
            if _is_local(url):
                _copy(url, part)
            else:
                _download(url, part, path.name, retries)
        except _Refused as error:
            reasons.append(f"{url}: {error}")
            continue
        problem = _mismatch(part, expected)
        if not problem:
            os.replace(part, path)
            _notes(part).unlink(missing_ok=True)
            return
        _discard(part)
        reasons.append(f"{url}: {problem} (removed)")
    raise DownloadError(_no_source(path, reasons, manual))


def _no_source(path: Path, reasons: list[str], manual: str | None) -> str:
    if reasons:
        problem = f"{path.name} could not be downloaded:\n  " + "\n  ".join(reasons)
    else:
        problem = f"{path.name} has no known URL."
    lines = [
        problem,
        f"Remedy: put the file there by hand, as {path}, or name another source in the"
        " configuration (`datasets.NAME.archives.ROLE.urls`, `models.NAME.weights.urls`).",
    ]
    return "\n".join([*lines, manual.strip()] if manual else lines)


def _mismatch(path: Path, expected: dict[str, int | str | None]) -> str:
    """What of ``expected`` the file is not; empty if it is as expected."""
    for kind, wanted in expected.items():
        if wanted is None:
            continue
        if kind == "size":
            actual, wanted = path.stat().st_size, int(wanted)
        else:
            actual, wanted = checksum(path, kind), str(wanted).lower()
        if actual != wanted:
            return f"its {kind} is {actual}, expected {wanted}"
    return ""


def _is_local(url: str) -> bool:
    return urlsplit(url).scheme in ("", "file")


def _copy(url: str, part: Path) -> None:
    parsed = urlsplit(url)
    source = Path(url2pathname(parsed.path) if parsed.scheme else url).expanduser()
    if not source.is_file():
        raise _Refused("a folder, not a file" if source.is_dir() else "no such file")
    _discard(part)
    shutil.copyfile(source, part)


def _download(url: str, part: Path, name: str, retries: int) -> None:
    """Repeat attempts until the file is complete; only attempts without progress count."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise _Refused("not an http, https or file URL")
    failures, best = 0, 0
    while True:
        try:
            return _attempt(url, part, name)
        except _Interrupted as error:
            reached = part.stat().st_size if part.exists() else 0
            failures = 0 if reached >= best + PROGRESS else failures + 1
            best = max(best, reached)
            if failures > retries:
                raise _Refused(f"{error} (after {retries} retries; run again to resume)") from error
            time.sleep(min(max(error.wait, BACKOFF * 2 ** max(failures - 1, 0)), LONGEST_WAIT))


def _attempt(url: str, part: Path, name: str) -> None:
    """One request for what is still lacking of ``part``."""
    known = _resumable(url, part)
    start = part.stat().st_size if known else 0
    headers = {"Accept-Encoding": "identity"}  # the bytes as they are stored, so that ranges add up
    if start:
        headers["Range"] = f"bytes={start}-"
        if known["validator"]:
            headers["If-Range"] = known["validator"]
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and _range(response)[1] == start:
                return
            start, total = _accept(response, start, known, part)
            _note(part, url, response, total)
            _receive(response, part, start, total, name)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
        raise _Refused(f"{error}") from error
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise _Interrupted(f"{type(error).__name__}: {error}") from error
    except requests.exceptions.RequestException as error:
        raise _Refused(f"{type(error).__name__}: {error}") from error


def _accept(response: requests.Response, start: int, known: dict, part: Path) -> tuple[int, int | None]:
    """Where the answer's bytes begin and how many the whole file has; or why it is no use."""
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
    """First byte and total size of ``Content-Range: bytes 100-199/200`` or ``bytes */200``."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdecimal() else None, int(total) if total.isdecimal() else None


def _receive(response: requests.Response, part: Path, start: int, total: int | None, name: str) -> None:
    meter = Meter(None if total is None else total / MB, f"download {name}", "MB", done=start / MB)
    with open(part, "ab" if start else "wb") as file:
        # Raw, since some servers declare a .tar.gz as a compressed .tar, and it would be unpacked.
        for block in response.raw.stream(BLOCK, decode_content=False):
            file.write(block)
            meter.add(len(block) / MB)
        received = file.tell()
    meter.finish()
    if total is not None and received != total:
        raise _Interrupted(f"got {received} of {total} bytes")


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(part: Path, url: str, response: requests.Response, total: int | None) -> None:
    """Remember what ``part`` is a part of: joining two different files would make a broken one."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    _notes(part).write_text(json.dumps({"url": url, "validator": validator, "total": total}))


def _resumable(url: str, part: Path) -> dict:
    """What is known of a ``part`` that can be resumed from ``url``; empty if it cannot."""
    try:
        known = json.loads(_notes(part).read_text())
    except (OSError, ValueError):
        return {}
    usable = known.get("url") == url and known.get("total") and part.exists()
    return known if usable else {}


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)
