"""Groups and splits of one's own recordings, and a bound on the number of groups."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording
from audio_neurons.running.runtime import tell

# Groups, times combinations of labels and splits, that are kept apart: with the 36,864 neurons of ViT-B,
# their counts take 1.2 GB. Thousands of independent units are enough for intervals and p-values.
MOST = 8192

# A group's name, its split and its values of all labels.
Cell = tuple[str, str, tuple[str, ...]]


def bounded(recordings: Sequence[Recording], path: Path, most: int = MOST) -> dict[Cell, str]:
    """Return new groups for recordings of too many groups, and tell of it; none where they are few enough.

    Groups that have one split and one combination of labels are joined with others of the same, by a hash of
    their name: independent units remain independent, and so does what a permutation of labels exchanges. The
    others stay as they are. Each combination keeps its share of the groups, and at least one.
    """
    cells = {(r.group, r.split, tuple(r.labels.values())) for r in recordings}
    if len(cells) <= most:
        return {}
    often = Counter(group for group, _, _ in cells)
    single = sorted(cell for cell in cells if often[cell[0]] == 1)
    room = max(most - (len(cells) - len(single)), 1)
    sizes = Counter(cell[1:] for cell in single)
    parts = {kind: max(1, room * size // len(single)) for kind, size in sizes.items()}
    number = {kind: i for i, kind in enumerate(sorted(parts))}
    joined = {}
    for cell in single:
        kind = cell[1:]
        part = int(hashlib.sha256(cell[0].encode()).hexdigest()[:13], 16) % parts[kind]
        joined[cell] = f"joined {number[kind]}-{part}"
    left = len(cells) - len(single) + len(set(joined.values()))
    tell(
        f"{path}: {len(often)} groups are too many to keep their counts apart; groups of the same labels and "
        f"split are joined at random, and {left} are left. Groups are what intervals and p-values take for "
        "independent: if recordings share a speaker, a place or a device, give it as the group "
        "(docs/own-recordings.md)"
    )
    return joined


def grouping(pattern: str | None) -> Callable[[str], str]:
    """Return the function from a ``clip_id`` to its group."""
    if pattern is None:
        return lambda clip_id: clip_id
    try:
        expression = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise DatasetError(f"option `group_pattern`: '{pattern}': {error}") from error

    def group_of(clip_id: str) -> str:
        match = expression.search(clip_id)
        group = match and match[1 if expression.groups else 0]
        if not group:
            raise DatasetError(f"option `group_pattern`: '{pattern}' finds no group in '{clip_id}'")
        return group

    return group_of


def drawing(shares: Mapping[str, float], seed: int) -> Callable[[str], str]:
    """Return the function from a group to its split, which a hash of the group's name decides."""
    if (
        not isinstance(shares, Mapping)
        or not set(shares) <= set(SPLITS)
        or not all(isinstance(share, int | float) and share >= 0 for share in shares.values())
        or abs(sum(shares.values()) - 1) > 1e-6
    ):
        raise DatasetError(
            f"option `shares`: {shares}: looked for shares of {', '.join(SPLITS)} that add up to 1"
        )
    edges = list(accumulate(shares.get(split, 0) for split in SPLITS))

    def draw(group: str) -> str:
        digest = hashlib.sha256(f"{seed}/{group}".encode()).hexdigest()
        # 52 bits give an exact float below 1, so that the last edge is never reached.
        return SPLITS[bisect_right(edges, int(digest[:13], 16) / 16**13 * edges[-1])]

    return draw
