"""Download of many small files in batches, each packed as one tar archive."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from queue import Empty, SimpleQueue

import requests

from audio_neurons.fetching.checksums import Lock, mismatch
from audio_neurons.fetching.download import FULL, DiskFull, DownloadError, disk_full, ensure_space, fetch
from audio_neurons.fetching.urls import fill
from audio_neurons.running.files import atomic, checksum
from audio_neurons.running.runtime import Meter

GRACE = 1.0  # seconds that threads get to finish when a batch is given up
PATIENCE = 8  # files that fail in a row before further ones are tried only once
EXAMPLES = 10  # missing files that an error message names


@dataclass(frozen=True)
class Item:
    """File of a collection: name (a relative path with "/" between folders), size in bytes and checksum.

    Raises
    ------
    ValueError
        If the name is not a relative path inside a folder, or the size or checksum is invalid.
    """

    name: str
    size: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        strange = "\\" in self.name or any(ord(character) < 32 for character in self.name)
        if strange or {"", ".", ".."} & set(self.name.split("/")):
            raise ValueError(f"{self.name!r} is not a relative path without '..' and '\\'")
        if self.size is not None and self.size < 0:
            raise ValueError(f"{self.size} is not a number of bytes")
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            raise ValueError(f"{self.sha256!r} is not a sha256")


def from_manifest(path: str | os.PathLike) -> list[Item]:
    """Read items from a CSV file with the columns name, bytes and sha256; the last two may be empty.

    Raises
    ------
    DownloadError
        If the file is damaged; the message names the file and the line.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), restval="")
    lacking = {"name", "bytes", "sha256"} - set(reader.fieldnames or ())
    if lacking:
        raise DownloadError(f"{path}, line 1: no column {', '.join(sorted(lacking))}")
    rows = ((reader.line_num, row["name"], row["bytes"] or None, row["sha256"] or None) for row in reader)
    return _items(path, rows)


def from_listing(path: str | os.PathLike) -> list[Item]:
    """Read items from a text file with a name per line, skipping empty lines and ``#`` comments.

    Raises
    ------
    DownloadError
        If the file is damaged; the message names the file and the line.
    """
    lines = ((number, line.strip()) for number, line in enumerate(_text(path).split("\n"), start=1))
    return _items(path, ((n, line, None, None) for n, line in lines if line and not line.startswith("#")))


def _text(path: str | os.PathLike) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DownloadError(f"{path}: not UTF-8 text ({error})") from error


def _items(path: str | os.PathLike, rows: Iterable[tuple[int, str, str | None, str | None]]) -> list[Item]:
    items: dict[str, Item] = {}
    for line, name, size, sha256 in rows:
        try:
            item = Item(name, None if size is None else int(size), sha256)
        except ValueError as error:
            raise DownloadError(f"{path}, line {line}: {error}") from error
        if name in items:
            raise DownloadError(f"{path}, line {line}: {name} is listed twice")
        items[name] = item
    if not items:
        raise DownloadError(f"{path}: lists no files")
    return list(items.values())


def matching(items: Sequence[Item], pattern: str, path: str | os.PathLike) -> list[Item]:
    """Return the items whose names match a shell pattern, case-sensitively.

    Raises
    ------
    DownloadError
        If none does; ``path`` is what lists them.
    """
    found = [item for item in items if fnmatchcase(item.name, pattern)]
    if not found:
        raise DownloadError(
            f"{path}: no name matches `only`, which is {pattern}; the first of {len(items):,} is "
            f"{items[0].name}"
        )
    return found


def batch(items: Sequence[Item], number: int, batches: int) -> list[Item]:
    """Return batch ``number`` (from 0) of ``batches`` contiguous ones, whose sizes differ by at most 1."""
    if not 0 <= number < batches:
        raise ValueError(f"no batch {number} of {batches}")
    return list(items[len(items) * number // batches : len(items) * (number + 1) // batches])


def fetch_batch(
    items: Sequence[Item],
    urls: Sequence[str],
    tar: str | os.PathLike,
    missing: str | os.PathLike,
    *,
    by_hand: Sequence[str | os.PathLike] = (),
    mirror: Mapping[str, str] = {},
    parallel: int = 8,
    retries: int = 4,
    max_missing: float = 0.01,
    lock: Lock | None = None,
) -> None:
    """Fetch ``items`` and pack them, in their order, as an uncompressed tar, written atomically.

    Fetched files are kept in ``<tar>.files/`` until the tar is complete, so that an interrupted batch
    resumes. The same files give the same bytes of ``tar``. The disk must hold the files and the tar.

    Parameters
    ----------
    urls
        URL templates with ``{name}``, tried in order (:func:`audio_neurons.fetching.download.fetch`).
    missing
        CSV file to write, with name and reason of the items that are not in ``tar``.
    by_hand
        Folders that are searched first, for a file's whole name or the last part of it.
    parallel
        Number of files fetched at a time.
    retries
        Further attempts per file and URL; none while files fail one after the other. Files with
        temporary failures are tried once more at the end.
    max_missing
        Largest allowed share of missing items.
    lock
        Digests for items without one. Items must match a recorded digest; missing digests are recorded
        once the batch is complete.

    Raises
    ------
    DownloadError
        If more than ``max_missing`` are missing (raised as soon as that is certain), or a file brought
        by hand is not the right one.
    DiskFull
        If the disk has too little space.
    """
    tar = Path(tar)
    folder = tar.with_name(f"{tar.name}.files")
    held = {i.name: lock.get(i.name) for i in items if lock and not i.sha256 and lock.get(i.name)}
    wanted = [replace(item, sha256=held.get(item.name, item.sha256)) for item in items]
    brought = _brought(wanted, by_hand)
    lacking = [item for item in wanted if item.name not in brought]
    # Stored by digest: names may be too long, differ only in case, or clash with another file's .part.
    fetched = {item.name: folder / hashlib.sha256(item.name.encode()).hexdigest() for item in lacking}
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder / "tar"
    packed.unlink(missing_ok=True)
    new = sum(item.size or 0 for item in lacking if not fetched[item.name].exists())
    ensure_space(tar, new + sum(item.size or 0 for item in wanted))

    def bring(item: Item, session: requests.Session, retries: int) -> None:
        path, expected = fetched[item.name], {"size": item.size, "sha256": item.sha256}
        if path.exists():
            if not mismatch(path, expected):
                return
            path.unlink()
        sources = [fill(url, item.name) for url in urls]
        try:
            fetch(
                sources, path, size=item.size, sha256=item.sha256, retries=retries, mirror=mirror,
                session=session, quiet=True,
            )  # fmt: skip
        except DiskFull as error:  # its message names the file by digest
            raise disk_full(tar) from error

    allowed = int(max_missing * len(items) + 1e-9)
    meter = Meter(len(items), f"download {tar.name}", "files", done=len(brought))
    misses = _bring_all(lacking, bring, parallel, retries, allowed, meter)
    reasons = {
        item.name: _reason(misses[item.name], lock if item.name in held else None)
        for item in wanted
        if item.name in misses
    }
    if len(misses) > allowed:
        raise DownloadError(_too_many(tar, reasons, len(items), allowed, max_missing, folder))
    meter.finish()

    paths = brought | fetched
    files = {item.name: paths[item.name] for item in wanted if item.name not in misses}
    try:
        ensure_space(tar, sum(path.stat().st_size for path in files.values()))
        _pack(files, packed)
        with atomic(missing) as temporary, open(temporary, "w", newline="", encoding="utf-8") as table:
            csv.writer(table, lineterminator="\n").writerows([("name", "reason"), *reasons.items()])
        if lock:
            known = {item.name for item in wanted if item.sha256}
            lock.record({name: checksum(files[name]) for name in fetched.keys() & files.keys() - known})
        os.replace(packed, tar)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(tar) from error
        raise
    shutil.rmtree(folder)


def _brought(items: Sequence[Item], folders: Sequence[str | os.PathLike]) -> dict[str, Path]:
    """Find and verify the files of ``items`` that the user put into ``folders``: name → path."""
    last = {item.name: item.name.rpartition("/")[2] for item in items}
    times = Counter(last.values())
    found = {}
    for item in items:
        # If several items share a last part, it does not identify one of them.
        names = dict.fromkeys([item.name, last[item.name]] if times[last[item.name]] == 1 else [item.name])
        paths = (Path(folder) / name for folder in folders for name in names)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            continue
        if problem := mismatch(path, {"size": item.size, "sha256": item.sha256}):
            raise DownloadError(
                f"{path}, brought by hand, is not the right file: {problem}. Fetch it anew, or delete it to "
                "have it downloaded.",
                differs=True,
            )
        found[item.name] = path
    return found


def _bring_all(
    items: Sequence[Item],
    bring: Callable[[Item, requests.Session, int], None],
    parallel: int,
    retries: int,
    allowed: int,
    meter: Meter,
) -> dict[str, DownloadError]:
    """Fetch items, retry temporary failures once at the end, and return the errors by name.

    Return as soon as more than ``allowed`` items have failed.
    """
    misses: dict[str, DownloadError] = {}
    streak = 0  # number of items that failed in a row, as they do if a host is dead

    def work(item: Item, session: requests.Session) -> None:
        bring(item, session, retries if streak < PATIENCE else 0)

    for again in (False, True):
        todo = [i for i in items if not again or (i.name in misses and misses[i.name].temporary)]
        streak = 0
        with closing(_in_threads(todo, work, parallel)) as results:
            for item, error in results:
                if error is None:
                    streak = 0
                    misses.pop(item.name, None)
                    meter.add()
                elif isinstance(error, DownloadError) and not isinstance(error, DiskFull):
                    streak = streak + 1 if error.temporary else 0
                    misses[item.name] = error
                    if len(misses) > allowed:
                        return misses
                else:
                    raise error
    return misses


def _in_threads(
    items: Sequence[Item], work: Callable[[Item, requests.Session], None], parallel: int
) -> Generator[tuple[Item, BaseException | None], None, None]:
    """Run ``work`` in threads, and yield each finished item with its error; closing skips the rest."""
    waiting: SimpleQueue[Item] = SimpleQueue()
    done: SimpleQueue[tuple[Item, BaseException | None]] = SimpleQueue()
    stop = threading.Event()
    for item in items:
        waiting.put(item)

    def run() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    item = waiting.get_nowait()
                except Empty:
                    return
                try:
                    work(item, session)
                except BaseException as error:
                    done.put((item, error))
                else:
                    done.put((item, None))

    # Daemon threads, since Python waits at exit for stalled threads of a concurrent.futures pool.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(parallel, len(items)))]
    for thread in threads:
        thread.start()
    try:
        for _ in items:
            yield done.get()
    finally:
        stop.set()
        end = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))


def _reason(error: DownloadError, lock: Lock | None) -> str:
    """Return the reason for a missing item as one line; ``lock`` if the item's digest comes from it."""
    reasons = list(error.reasons) or str(error).splitlines()[:1]
    if lock and error.differs:
        reasons.append(
            f"{lock.path} has its checksum of an earlier download: if upstream has changed the file on "
            "purpose, delete its line there and run again"
        )
    return " ".join("; ".join(reasons).split())


def _too_many(
    tar: Path, reasons: Mapping[str, str], files: int, allowed: int, share: float, folder: Path
) -> str:
    examples = [f"  {name}: {reason}" for name, reason in list(reasons.items())[:EXAMPLES]]
    more = [f"  and {len(reasons) - EXAMPLES} more"] if len(reasons) > EXAMPLES else []
    lines = [
        f"{tar.name}: given up after {len(reasons)} of its {files} files could not be fetched; {allowed} may "
        f"be missing (`download.max_missing`: {share:g}).",
        *examples,
        *more,
        f"Fetched files are kept in {folder}: run again to fetch the rest. If files are gone for good, bring "
        "them by hand (into the folder `download.archives`), or raise `download.max_missing`.",
    ]
    return "\n".join(lines)


def _pack(files: Mapping[str, Path], path: Path) -> None:
    """Write files as a tar whose bytes depend only on their names, order and content."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, file in files.items():
            with open(file, "rb") as content:
                info = tarfile.TarInfo(name)  # no owner, dated 1970, readable by all
                info.size = os.fstat(content.fileno()).st_size
                tar.addfile(info, content)
