"""Where a file is asked for: mirrors, secrets from the environment, names inside templates."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}", re.ASCII)


class Unset(LookupError):
    """A URL needs an environment variable that is not set."""


def candidates(urls: Sequence[str], mirror: Mapping[str, str]) -> Iterator[str]:
    """Each of ``urls`` after its mirrors: those whose prefix it begins with, the longest first."""
    for url in urls:
        for prefix in sorted(mirror, key=len, reverse=True):
            if url.startswith(prefix):
                yield mirror[prefix] + url.removeprefix(prefix)
        yield url


def fill(template: str, name: str) -> str:
    """A template with ``name`` for ``{name}``; in a URL percent-quoted, but for ``/`` and what is quoted."""
    if not is_local(template):
        name = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(name, safe="/:@%"))
    return re.sub(r"(?<!\$)\{name\}", lambda _: name, template)


def is_local(url: str) -> bool:
    """Whether this is a path or a ``file://`` URL."""
    return urlsplit(url).scheme in ("", "file")


def local_path(url: str) -> Path:
    """The path of a local URL."""
    parsed = urlsplit(url)
    return Path(url2pathname(parsed.path) if parsed.scheme else url).expanduser()


def unset(url: str) -> str:
    """Name of the first environment variable that ``url`` needs and that is not set; empty if none."""
    return next((name for name in VARIABLE.findall(url) if not _value(name)), "")


def expand(url: str) -> str:
    """``url`` with each ``${NAME}`` replaced by that environment variable: not to be shown to anybody.

    Raises
    ------
    Unset
        If a variable is not set, or empty.
    """
    if name := unset(url):
        raise Unset(f"needs the environment variable {name}")
    expanded = VARIABLE.sub(lambda found: _value(found[1]), url)
    if expanded == url or is_local(expanded):
        return expanded
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # below, it logs the URLs that it asks for
    # "#" ends a URL, and other characters cannot be in one: as part of a secret they are quoted.
    return VARIABLE.sub(lambda found: quote(_value(found[1]), safe="%!$&'()*+,/:;=?@[]~"), url)


def mask(text: str, url: str) -> str:
    """``text`` with the names, for the values, of the variables that ``url`` needs: fit to be shown."""
    for name in sorted(set(VARIABLE.findall(url)), key=lambda name: len(_value(name)), reverse=True):
        value = _value(name)
        # Every library quotes other characters, and in either case.
        form = "".join(f"(?:{_quoted(character)}|{re.escape(character)})" for character in unquote(value))
        form = f"{form}|{re.escape(value)}"
        text = re.sub(form, f"${{{name}}}", text, flags=re.IGNORECASE) if value else text
    return text


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _value(name: str) -> str:
    return os.environ.get(name, "").strip()
