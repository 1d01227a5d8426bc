"""Encoders behind one interface: a model is a block of configuration.

An adapter is a module of this package with one function::

    def build(block: Mapping, weights: Path | None) -> Encoder

``block`` is the model's entry under ``models:``; ``weights`` is its checkpoint, or ``None`` for a
random initialisation from ``block["weights"]["seed"]``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audio_neurons.models.encoder import Encoder

ADAPTERS = ("vit",)


class ModelError(ValueError):
    """A model cannot be built from its block of configuration and its checkpoint."""


def load(name: str, block: Mapping, weights: str | Path | None, device: str = "cpu") -> Encoder:
    """Build model ``name`` in evaluation mode on ``device``.

    Raises
    ------
    ModelError
        If the checkpoint does not fit; the message names the model's block.
    """
    adapter = importlib.import_module(f"{__package__}.{block['adapter']}")
    try:
        encoder = adapter.build(block, Path(weights) if weights else None)
    except ModelError as error:
        raise ModelError(f"models.{name}: {error}") from error
    return encoder.eval().requires_grad_(False).to(device)
