"""What every section of the configuration is made of."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

# The setting changes no result (where, how fast, whether): rules do not carry it, so that it re-runs nothing.
FREE = "free"
# The configuration may say null; other optional settings are left out instead.
NULLABLE = Field(json_schema_extra={"nullable": True})

Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """One block of the configuration.

    A field carries its type, bounds and default; the text below it explains it in one line. The JSON schema,
    config/README.md and an editor's completion are generated from these classes, and the library's functions
    take their objects. A section is immutable, and a name that it does not have is an error.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield key and problem of settings that exclude each other; the key is relative to the section."""
        yield from ()

    def changed(self, **settings: Any) -> Self:
        """Return a copy with other values for some settings, validated."""
        return type(self)(**{**self.model_dump(), **settings})

    def dump(self, *without: str) -> dict[str, Any]:
        """Return the section as plain values, less the settings that change no result, and ``without``."""
        dropped = {name for name, field in type(self).model_fields.items() if FREE in field.metadata}
        values = {}
        for name in type(self).model_fields.keys() - dropped - set(without):
            values[name] = _plain(getattr(self, name))
        return values

    @classmethod
    def read(cls, text: str, **more: Any) -> Self:
        """Build the section from the text of :func:`serialise`, and ``more`` settings."""
        return cls(**json.loads(text), **more)


def contradictions(value: Any, path: str = "") -> Iterator[str]:
    """Yield the contradictions of all sections inside ``value``, each with its full path."""
    if isinstance(value, Section):
        for key, problem in value.contradictions():
            yield f"{'.'.join(filter(None, (path, key)))}: {problem}"
        inner: Any = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, list | tuple):
        inner = dict(enumerate(value))
    else:
        inner = value
    if isinstance(inner, Mapping):
        for key, one in inner.items():
            yield from contradictions(one, f"{path}.{key}".lstrip("."))


def unknown(key: str, name: str, among: Collection[str], what: str) -> Iterator[tuple[str, str]]:
    """Yield the problem of a name that refers to nothing."""
    if name not in among:
        yield key, f"no {what} '{name}'; there are {', '.join(among)}"


def serialise(value: Any) -> str:
    """Return sections, and containers of them, as text that is the same whenever the values are.

    Rules pass this text to their scripts. It leaves out the settings that change no result, so that Snakemake
    re-runs a job only if one of its numbers would change.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.dump()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
