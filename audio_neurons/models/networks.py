"""The table that says of which block each layer of an encoder is, since tables of neurons count networks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import groupby

import pandas as pd

from audio_neurons import tables
from audio_neurons.models.encoder import Encoder


def places(names: Iterable[str]) -> list[tuple[int, int]]:
    """Return the block of each feed-forward network, and its number within the block, both from 0.

    ``names`` are the paths of the down-projections, in order. A block ends in the last number of a path.

    >>> places(["layers.0.ffn1.output_dense", "layers.0.ffn2.output_dense", "layers.1.ffn1.output_dense"])
    [(0, 0), (0, 1), (1, 0)]
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        block = re.sub(r"(.*\.\d+)\..*", r"\1", name)
        seen[block] = seen.get(block, -1) + 1
        found.append((list(seen).index(block), seen[block]))
    return found


def in_words(widths: Iterable[int]) -> str:
    """Return layers and neurons as text; runs of equally wide layers are joined.

    >>> in_words([64, 64, 128])
    '2 x 64 + 1 x 128 = 256'
    """
    widths = list(widths)
    runs = [(width, len(list(group))) for width, group in groupby(widths)]
    return " + ".join(f"{n} x {width:,}" for width, n in runs) + f" = {sum(widths):,}"


def table(encoder: Encoder) -> pd.DataFrame:
    """Return the ``networks`` table of an encoder: one row per layer."""
    networks = encoder.networks()
    blocks, numbers = zip(*places(networks), strict=True)
    columns = {
        "layer": range(len(networks)),
        "block": blocks,
        "ffn": numbers,
        "network": list(networks),
        "neurons": [network.in_features for network in networks.values()],
    }
    return pd.DataFrame(columns)


def write(encoder: Encoder, out: str | os.PathLike) -> None:
    """Write the ``networks`` table of an encoder."""
    tables.write(out, "networks", table(encoder))
