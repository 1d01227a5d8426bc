"""Which model a shuffled twin is of; :mod:`audio_neurons.models.shuffling` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keys of a block that are not those of its architecture.
OWN = ("kind", "title", "note", "licence", "citation", "weights", "training", "hub", "revision", "folder")


def resolved(models: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Return the block by which model ``name`` is loaded.

    That of a shuffled twin has the weights of the model that it is a twin of, and ``shuffled``: the name of
    that model (``of``) and the ``seed``.
    """
    block = models[name]
    weights = block["weights"]
    if weights.get("source") != "shuffled" or weights["of"] not in models:
        return block
    twin = {key: weights[key] for key in ("of", "seed")}
    return {**block, "weights": models[twin["of"]]["weights"], "shuffled": twin}


def owner(name: str, block: Mapping[str, Any]) -> str:
    """Return the name of the model under which the weights of a resolved block lie."""
    return block.get("shuffled", {}).get("of", name)
