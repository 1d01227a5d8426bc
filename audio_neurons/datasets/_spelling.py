"""Files that a list spells in another way than the file system: case, Unicode form, separators, spaces."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

DIGITS = re.compile(r"\d+")
WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # a drive or a share
LARGEST = 20_000  # names in a folder among which the nearest is looked for


class Speller:
    """Finds the files of a list, whose paths are relative to ``folder``.

    Attributes
    ----------
    respelt
        Path in the list → path of the file that it means, where these differ by more than ``~`` or a URL.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._names: dict[str, dict[str, list[str]]] = {}
        self.respelt: dict[str, Path] = {}

    def find(self, name: str) -> tuple[Path, str]:
        """Return the file that a path means, and an empty text, or why there is none.

        A path that is there as it stands is that file. Otherwise ``~``, ``file:`` URLs and backslashes are
        understood, and each of its parts may differ from the only such name in its folder by case, Unicode
        form, or spaces at its ends.
        """
        file = self._folder / name
        if _exists(file):
            return file, ""
        if name.startswith("~"):
            file = Path(os.path.expanduser(name))
        elif name.startswith("file:"):
            file = Path(unquote(urlsplit(name).path))
        elif WINDOWS.match(name):
            return file, "a path of Windows; make paths relative to the list, or to the option `folder`"
        elif "\\" in name:
            file = self._folder / name.replace("\\", "/")
        if _exists(file):
            if "\\" in name:
                self.respelt[name] = file
            return file, ""
        place = Path(file.anchor or ".")
        parts = PurePosixPath(file).relative_to(file.anchor).parts if file.anchor else file.parts
        for part in parts:
            if not _exists(place / part) and part != "..":
                alike = self._in(place).get(_key(part), [])
                if len(alike) != 1:
                    return file, self._why(place, part, alike)
                part = alike[0]
            place /= part
        self.respelt[name] = place
        return place, ""

    def _in(self, folder: Path) -> dict[str, list[str]]:
        """Return the names in a folder by what they have in common with their other spellings."""
        key = os.fspath(folder)
        if key not in self._names:
            found: dict[str, list[str]] = {}
            try:
                for name in sorted(os.listdir(folder)):
                    found.setdefault(_key(name), []).append(name)
            except (OSError, ValueError):
                pass
            self._names[key] = found
        return self._names[key]

    def _why(self, folder: Path, part: str, alike: list[str]) -> str:
        if alike:
            return f"missing, or one of {', '.join(alike)} in {folder}"
        names = self._in(folder)
        if len(names) > LARGEST:
            return "missing"
        stem = _key(PurePosixPath(part).stem)
        # Files that differ in their numbers alone are other recordings.
        others = [key for key in names if DIGITS.sub("", key) != DIGITS.sub("", _key(part))]
        near = [key for key in names if PurePosixPath(key).stem == stem] or difflib.get_close_matches(
            _key(part), others, 1, 0.8
        )
        return f"missing; there is {names[near[0]][0]}" if near else "missing"


def _exists(file: Path) -> bool:
    try:
        return os.path.lexists(file)
    except ValueError:  # a null character
        return False


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()
