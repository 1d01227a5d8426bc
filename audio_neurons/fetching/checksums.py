"""Verification of files against known checksums, or against those of their first download."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from audio_neurons.running.files import atomic

BLOCK = 1 << 20
LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")  # as sha256sum writes it


class LockError(ValueError):
    """A lock file is damaged, or contradicts a checksum to record."""


def mismatch(path: str | os.PathLike, expected: Mapping[str, int | str | None]) -> str:
    """Return how a file differs from ``expected``, or an empty string; read the file at most once.

    Parameters
    ----------
    expected
        Expected value by kind: ``size`` (bytes), ``sha256``, ``md5``, ``git_blob`` (the SHA-1 by which
        git names a file's content), hexadecimal in any case. ``None`` is not checked.
    """
    wanted = {kind: str(value).strip().lower() for kind, value in expected.items() if value is not None}
    length = Path(path).stat().st_size
    actual = {"size": str(length)} if "size" in wanted else {}
    # The size first: if it differs, the file need not be read.
    if actual == {kind: wanted[kind] for kind in actual}:
        actual |= _digests(path, [kind for kind in wanted if kind != "size"], length)
    for kind, value in wanted.items():
        if actual.get(kind, value) != value:
            return f"its {kind} is {actual[kind]}, expected {value}"
    return ""


def _digests(path: str | os.PathLike, kinds: list[str], length: int) -> dict[str, str]:
    hashers = {
        kind: hashlib.sha1(b"blob %d\0" % length) if kind == "git_blob" else hashlib.new(kind)
        for kind in kinds
    }
    if hashers:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                for hasher in hashers.values():
                    hasher.update(block)
    return {kind: hasher.hexdigest() for kind, hasher in hashers.items()}


class Lock:
    """SHA-256 digests recorded at first download, for files whose upstream publishes no checksum.

    Later downloads must match them. They are stored in a text file in the format of ``sha256sum``,
    sorted by name, which need not exist yet.

    Raises
    ------
    LockError
        If a line of the file is damaged, or a name occurs twice with different digests.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._digests = self._read()

    def get(self, name: str) -> str | None:
        """Return the digest recorded for ``name``, if any."""
        return self._digests.get(name)

    def record(self, digests: Mapping[str, str]) -> None:
        """Add digests by name, and write the file if it changes.

        Raises
        ------
        LockError
            If another digest is recorded for a name, or a name or a digest is invalid.
        """
        known = self._read()  # again, since another job may have written the file
        merged = dict(known)
        for name, digest in digests.items():
            digest = digest.lower()
            if not LINE.fullmatch(f"{digest}  {name}") or name != name.rstrip():
                raise LockError(f"{self.path}: cannot hold the name {name!r} with the sha256 {digest!r}")
            if merged.setdefault(name, digest) != digest:
                raise LockError(
                    f"{self.path}: {name} was {merged[name]} at an earlier download, and is {digest} now. "
                    "If the new file is the right one, delete its line there and run again."
                )
        if merged != known:
            with atomic(self.path) as temporary:
                lines = (f"{digest}  {name}\n" for name, digest in sorted(merged.items()))
                temporary.write_text("".join(lines), encoding="utf-8")
        self._digests = merged

    def _read(self) -> dict[str, str]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        digests: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            text = line.decode("utf-8", errors="replace").rstrip()
            found = LINE.fullmatch(text)
            if text and (not found or digests.setdefault(found[2], found[1]) != found[1]):
                problem = f"another checksum of {found[2]}" if found else "not a checksum and a name"
                raise LockError(
                    f"{self.path}, line {number}: {problem} ({text[:100]!r}). Restore the line, or "
                    "delete it (the next download of that file is then accepted without a check)."
                )
        return digests
