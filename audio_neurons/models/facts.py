"""What is known of a model and from where: its configuration, its folder's name, its weights, or defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

CONFIGURATION, CHECKPOINT, DEFAULT = "the configuration", "the checkpoint", "default"
# Value of norm_stats: those of each dataset's own clips.
DATASET = "dataset"
FOR_NORM_STATS = (
    "norm_stats are for encoders of log-mel spectrograms that these normalise: AST, M2D, AudioMAE"
)


class Fact(NamedTuple):
    """A fact that a model is built from: its key, its value, and where that was read."""

    key: str
    value: Any
    source: str

    def __str__(self) -> str:
        return f"{self.key} {shown(self.value)} ({self.source})"


class Claims:
    """What several sources say of one model; the first that says something of a key decides it.

    Two sources that say different things are a contradiction (`problems`), never a choice.
    """

    def __init__(self) -> None:
        self._claims: dict[str, list[Fact]] = {}

    def add(self, source: str, **values: Any) -> None:
        """Add what a source says; lists count as tuples."""
        for key, value in values.items():
            value = tuple(value) if isinstance(value, list) else value
            self._claims.setdefault(key, []).append(Fact(key, value, source))

    def default(self, source: str = DEFAULT, **values: Any) -> None:
        """Add values of keys of which no source says anything."""
        self.add(source, **{key: value for key, value in values.items() if key not in self._claims})

    def __contains__(self, key: str) -> bool:
        return key in self._claims

    def __getitem__(self, key: str) -> Any:
        return self._claims[key][0].value

    def get(self, key: str, default: Any = None) -> Any:
        claims = self._claims.get(key)
        return claims[0].value if claims else default

    def fact(self, key: str) -> Fact:
        """Return the fact that decides a key."""
        return self._claims[key][0]

    def origins(self) -> tuple[tuple[str, str, str], ...]:
        """Return each key, its value in words, and the sources that agree on it (`Encoder.origins`)."""
        return tuple(
            (key, shown(facts[0].value), " and ".join(one.source for one in facts if one[1] == facts[0][1]))
            for key, facts in self._claims.items()
        )

    def problems(self) -> Iterator[str]:
        """Yield the contradictions between sources, each with both values."""
        for first, *others in self._claims.values():
            for other in others:
                if other.value != first.value:
                    yield contradiction(first, other)


def contradiction(first: Fact, other: Fact) -> str:
    """Return the problem of two sources that say different things.

    >>> contradiction(Fact("depth", 3, CONFIGURATION), Fact("depth", 2, "its weights"))
    'depth is 3 by the configuration, but 2 by its weights'
    """
    key, value, source = first
    return f"{key} is {shown(value)} by {source}, but {shown(other.value)} by {other.source}"


def shown(value: Any) -> str:
    """Return a value as YAML shows it in one line."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(shown(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
