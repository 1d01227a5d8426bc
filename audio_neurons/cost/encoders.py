"""Encoders of a configuration before its run: with their own weights if these are here, else random ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from audio_neurons.models.errors import ModelError
from audio_neurons.models.folder import CONFIG
from audio_neurons.models.twins import owner
from audio_neurons.study import paths
from audio_neurons.study.paths import fill

if TYPE_CHECKING:
    from audio_neurons.models.encoder import Encoder


def checkpoint(name: str, block: Mapping, directory: Path) -> Path | None:
    """Return the path of a model's checkpoint in a run; ``None`` if the model has none."""
    source, name = block["weights"]["source"], owner(name, block)
    if source == "hub":
        return directory / fill(paths.SNAPSHOT, model=name)
    if source == "folder":
        return directory / Path(block["weights"]["path"]).expanduser() / CONFIG
    if source == "checkpoint":
        return directory / fill(paths.WEIGHTS, model=name, file=block["weights"]["file"])
    return directory / fill(paths.TRAINED, model=name) if source == "training" else None


def load(name: str, block: Mapping, directory: Path, device: str = "cpu") -> Encoder:
    """Load a model, with random weights if its own are not here yet.

    Raises
    ------
    ModelError
        If it cannot be built, or only files that are not here describe it.
    """
    from audio_neurons.models import registry as models

    path = checkpoint(name, block, directory)
    if path is None or path.is_file():
        return models.load(name, block, path, device)
    if block["weights"]["source"] == "hub":
        raise ModelError(
            f"models.{name}: {block['weights']['name']} is not here yet, and only its files describe it; "
            "fetch it by `snakemake downloads`"
        )
    # The file's folder may tell the sizes.
    untrained = {"source": "random", "seed": 0, "file": block["weights"].get("file", "")}
    return models.load(name, {**block, "weights": untrained}, None, device)
