"""Registry of encoder adapters: build the model that a configuration block describes.

An adapter is a module of this package with one function::

    def build(block: Mapping, weights: Path | None) -> Encoder

``block`` is the model's entry under ``models:``; ``weights`` is its checkpoint, a JSON file in the folder
of a model of transformers, or ``None`` for a random initialisation from ``block["weights"]["seed"]``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from audio_neurons.models import folder, names
from audio_neurons.models.errors import ModelError
from audio_neurons.models.facts import DATASET, FOR_NORM_STATS
from audio_neurons.models.twins import owner
from audio_neurons.running.rates import SAMPLE_RATE

if TYPE_CHECKING:
    from audio_neurons.models.encoder import Encoder

# Built-in adapters, and the keys of a configuration block that they read.
ADAPTERS = {
    "vit": (
        "front_end", "input_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio",
        "special_tokens", "norm_stats",
    ),
    "huggingface": ("model_type", "config", "normalize", "norm_stats", "context"),
    "logmel": ("config", "norm_stats"),
}  # fmt: skip


@cache
def adapters() -> dict[str, tuple[str, ...]]:
    """Return each adapter and the configuration keys it reads; an added module reads ``config``."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    added = {
        file.stem: ("config",)
        for file in modules
        if re.search(r"^def build\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    return {**added, **ADAPTERS}


def sample_rate(name: str, block: Mapping, weights: str | Path | None = None) -> int:
    """Return the sampling rate of the clips that model ``name`` hears, known before its weights are here.

    It is the configuration's, or that of the processor in a model's folder, or that in the name of an M2D
    checkpoint's folder, or 16 kHz. ``weights`` is the path of the checkpoint, or of a file in the model's
    folder, where the block does not name it.

    Raises
    ------
    ModelError
        If the folder's name has a rate for which M2D has no front end, or a processor's file is damaged.
    """
    if (own := block.get("sample_rate")) is not None:
        return own
    source = block.get("weights", {})
    if source.get("source") == "folder":
        place = Path(weights).parent if weights else Path(source["path"]).expanduser()
        return folder.sampling_rate(place) or SAMPLE_RATE
    file = PurePosixPath(weights or PurePosixPath(owner(name, block), source.get("file") or ""))
    named = block["adapter"] == "vit" and source.get("source") != "training"
    return names.facts(file.parent.name).get("sample_rate", SAMPLE_RATE) if named else SAMPLE_RATE


def load(name: str, block: Mapping, weights: str | Path | None, device: str = "cpu") -> Encoder:
    """Build model ``name`` in evaluation mode on ``device``.

    A block that says ``shuffled`` (:mod:`audio_neurons.models.shuffling`) has its weights permuted.
    With ``norm_stats: dataset`` it awaits the statistics of a dataset (`Encoder.normalise`).

    Raises
    ------
    ModelError
        If the adapter cannot be imported, the checkpoint does not fit, or no feed-forward networks are
        found in the model; the message names the model's block.
    """
    from audio_neurons.models.encoder import Encoder

    try:
        adapter = importlib.import_module(f"{__package__}.{block['adapter']}")
        encoder = adapter.build(block, Path(weights) if weights else None)
        if not isinstance(encoder, Encoder):
            raise ModelError(f"build of {adapter.__file__} returned {encoder!r:.80}, not an Encoder")
        if encoder.sample_rate != (rate := sample_rate(name, block, weights)):
            raise ModelError(
                f"the encoder hears {encoder.sample_rate} Hz, but its clips have {rate} Hz; set sample_rate: "
                f"{encoder.sample_rate} in its block"
            )
        if block.get("norm_stats") == DATASET:
            if not encoder.spectral:
                raise ModelError(f"norm_stats: dataset does not go with this encoder; {FOR_NORM_STATS}")
            encoder.lacks_statistics = True
        encoder.down_projections()
        if "shuffled" in block:
            from audio_neurons.models.shuffling import shuffle

            shuffle(encoder, block["shuffled"]["seed"])
    except ImportError as error:
        raise ModelError(f"models.{name}: adapter {block['adapter']} cannot be imported: {error}") from error
    except ModelError as error:
        raise ModelError(f"models.{name}: {error}") from error
    return encoder.eval().requires_grad_(False).to(device)
