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
from pathlib import Path
from typing import TYPE_CHECKING

from audio_neurons.models.errors import ModelError

if TYPE_CHECKING:
    from audio_neurons.models.encoder import Encoder

# Built-in adapters, and the keys of a configuration block that they read.
ADAPTERS = {
    "vit": (
        "front_end", "input_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio",
        "special_tokens", "norm_stats",
    ),
    "huggingface": ("model_type", "config", "normalize", "norm_stats"),
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


def load(name: str, block: Mapping, weights: str | Path | None, device: str = "cpu") -> Encoder:
    """Build model ``name`` in evaluation mode on ``device``.

    Raises
    ------
    ModelError
        If the adapter cannot be imported, the checkpoint does not fit, or no feed-forward networks are
        found in the model; the message names the model's block.
    """
    from audio_neurons.models.encoder import Encoder
    from audio_neurons.tables import SAMPLE_RATE

    try:
        adapter = importlib.import_module(f"{__package__}.{block['adapter']}")
        encoder = adapter.build(block, Path(weights) if weights else None)
        if not isinstance(encoder, Encoder):
            raise ModelError(f"build of {adapter.__file__} returned {encoder!r:.80}, not an Encoder")
        if encoder.sample_rate != SAMPLE_RATE:
            raise ModelError(
                f"sample_rate is {encoder.sample_rate}, but clips are sampled at {SAMPLE_RATE} Hz; set "
                "it to that, and resample in the encoder (torchaudio.functional.resample)"
            )
        encoder.down_projections()
    except ImportError as error:
        raise ModelError(f"models.{name}: adapter {block['adapter']} cannot be imported: {error}") from error
    except ModelError as error:
        raise ModelError(f"models.{name}: {error}") from error
    return encoder.eval().requires_grad_(False).to(device)
