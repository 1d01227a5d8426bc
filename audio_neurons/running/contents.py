"""Checksums of files, remembered by size and time, so that a file is read again only if one of these changes.

Times alone say nothing of a file's content: copies, mounts and backups change them. Whatever depends on a
file depends on its checksum, which is kept in a text file of lines ``sha256 size mtime_ns path``. Lines are
only ever added while jobs run, so that jobs may do so at once; the last line of a path counts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

from audio_neurons.running.files import atomic
from audio_neurons.running.runtime import Meter

LINE = re.compile(r"([0-9a-f]{64}) (\d+) (-?\d+) (.+)")
BLOCK = 1 << 20
MB = 1e6
THREADS = 4  # hashing waits for the disk, and leaves Python to others

Entry = tuple[str, int, int]  # SHA-256, size, time of the last change in nanoseconds


class Contents:
    """Checksums of files.

    Parameters
    ----------
    path
        Text file that keeps them; it need not exist, and its folder is made when it is written.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._known: dict[str, Entry] | None = None

    def of(self, files: Collection[str | os.PathLike], label: str = "checksums") -> dict[Path, str]:
        """Return the SHA-256 of files; files that are not there, or cannot be read, have none.

        Files that are not known, or of another size or time than when they were, are read, which shows
        progress.
        """
        known, found = self._entries(), {}
        unread: dict[Path, os.stat_result] = {}
        for file in map(Path, files):
            with suppress(OSError, ValueError):
                facts = os.stat(file)
                entry = known.get(self._key(file))
                if entry and entry[1:] == (facts.st_size, facts.st_mtime_ns):
                    found[file] = entry[0]
                elif os.path.isfile(file):
                    unread[file] = facts
        if unread:
            found |= self._read(unread, label)
        return found

    def last(self, file: str | os.PathLike) -> str | None:
        """Return the SHA-256 of a file as it was when it was last asked for, even if it is gone."""
        entry = self._entries().get(self._key(Path(file)))
        return entry and entry[0]

    def _read(self, files: dict[Path, os.stat_result], label: str) -> dict[Path, str]:
        meter = Meter(sum(facts.st_size for facts in files.values()) / MB, label, "MB")
        lock = Lock()

        def digest_of(file: Path) -> str | None:
            hasher = hashlib.sha256()
            with suppress(OSError), open(file, "rb", buffering=0) as content:
                while block := content.read(BLOCK):
                    hasher.update(block)
                    with lock:
                        meter.add(len(block) / MB)
                return hasher.hexdigest()
            return None

        found: dict[Path, str] = {}
        lines = []
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            for (file, before), digest in zip(files.items(), pool.map(digest_of, files), strict=True):
                if digest is None:
                    continue
                found[file] = digest
                entry = (digest, before.st_size, before.st_mtime_ns)
                with suppress(OSError):
                    after = os.stat(file)
                    if (after.st_size, after.st_mtime_ns) == entry[1:] and "\n" not in self._key(file):
                        self._entries()[self._key(file)] = entry
                        lines.append(f"{digest} {entry[1]} {entry[2]} {self._key(file)}\n")
        self._add(lines)
        return found

    def _add(self, lines: list[str]) -> None:
        with suppress(OSError):  # a folder that may not be written: they are read again next time
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                for first in range(0, len(lines), 16):  # a write of a few lines is one on the disk too
                    file.write("".join(lines[first : first + 16]).encode("utf-8", "surrogateescape"))
                    file.flush()

    def _entries(self) -> dict[str, Entry]:
        if self._known is None:
            lines = list(self._lines())
            self._known = dict(lines)
            if len(lines) > 2 * len(self._known) + 1000:
                self._tidy()
        return self._known

    def _lines(self) -> Iterator[tuple[str, Entry]]:
        with suppress(OSError), open(self.path, "rb") as file:
            for line in file:
                if match := LINE.fullmatch(line.decode("utf-8", "surrogateescape").rstrip("\n")):
                    yield match[4], (match[1], int(match[2]), int(match[3]))

    def _tidy(self) -> None:
        """Leave out lines that later ones replace."""
        with suppress(OSError), atomic(self.path) as temporary, open(temporary, "wb") as file:
            for key, (digest, size, time) in (self._known or {}).items():
                file.write(f"{digest} {size} {time} {key}\n".encode("utf-8", "surrogateescape"))

    @staticmethod
    def _key(file: Path) -> str:
        """Return a path relative to the working directory, if it is below it: both may be moved together."""
        path = os.path.abspath(file)
        below = os.path.relpath(path)
        return path if below.startswith(os.pardir) else below
