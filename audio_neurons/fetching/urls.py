"""URLs of files: mirrors, secrets from the environment, and names in templates."""

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
    """Yield each of ``urls`` after its mirrors, those with the longest matching prefix first."""
    for url in urls:
        for prefix in sorted(mirror, key=len, reverse=True):
            if url.startswith(prefix):
                yield mirror[prefix] + url.removeprefix(prefix)
        yield url


def fill(template: str, name: str) -> str:
    """Replace ``{name}`` in a template; in a URL, percent-quote the name but keep ``/`` and escapes."""
    if not is_local(template):
        name = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(name, safe="/:@%"))
    return re.sub(r"(?<!\$)\{name\}", lambda _: name, template)


def is_local(url: str) -> bool:
    """Return whether ``url`` is a path or a ``file://`` URL."""
    return urlsplit(url).scheme in ("", "file")


def local_path(url: str) -> Path:
    """Return the path of a local URL."""
    parsed = urlsplit(url)
    return Path(url2pathname(parsed.path) if parsed.scheme else url).expanduser()


def unset(url: str) -> str:
    """Return the first environment variable that ``url`` needs and that is not set; empty if none."""
    return next((name for name in VARIABLE.findall(url) if not _value(name)), "")


def expand(url: str) -> str:
    """Replace each ``${NAME}`` in ``url`` by that environment variable; the result is secret.

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
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # at lower levels, it logs URLs
    # Characters of a secret that a URL cannot contain, and "#", which starts its fragment, are quoted.
    return VARIABLE.sub(lambda found: quote(_value(found[1]), safe="%!$&'()*+,/:;=?@[]~"), url)


def mask(text: str, url: str) -> str:
    """Replace values of the variables that ``url`` needs by their names, so that ``text`` is safe to show."""
    for name in sorted(set(VARIABLE.findall(url)), key=lambda name: len(_value(name)), reverse=True):
        value = _value(name)
        # Libraries differ in which characters they quote, and in the case of the digits.
        form = "".join(f"(?:{_quoted(character)}|{re.escape(character)})" for character in unquote(value))
        form = f"{form}|{re.escape(value)}"
        text = re.sub(form, f"${{{name}}}", text, flags=re.IGNORECASE) if value else text
    return text


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _value(name: str) -> str:
    return os.environ.get(name, "").strip()
