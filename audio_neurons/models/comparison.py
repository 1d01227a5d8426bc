"""Comparison of an encoder with transformers' own pipeline: AutoFeatureExtractor, then the model it loads."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_neurons.models import folder
from audio_neurons.models.encoder import Encoder
from audio_neurons.models.errors import ModelError
from audio_neurons.models.facts import DATASET
from audio_neurons.models.huggingface import audio_part, library, quietly, whole_class
from audio_neurons.models.state import weights_digest
from audio_neurons.models.towers import HuggingFace
from audio_neurons.running.files import atomic

COLUMNS = (
    "checkpoint", "weights_sha256", "architecture", "neurons", "check", "largest_difference", "deviation",
    "audio_neurons", "transformers", "torch",
)  # fmt: skip
CHECK = "features of noise"


@dataclass(frozen=True)
class Difference:
    """Largest absolute difference of two last hidden states, and the standard deviation of theirs."""

    largest: float
    deviation: float

    @property
    def small(self) -> bool:
        """Whether rounding explains it; front ends compute in another order and precision."""
        return self.largest <= 1e-3 * self.deviation


def difference(encoder: Encoder, block: Mapping, weights: Path | None, wave: Tensor) -> Difference:
    """Compare the last hidden states of waveforms (B, samples) with those of transformers.

    transformers loads the model and its feature extractor from the same folder itself.

    Raises
    ------
    ModelError
        If there is nothing to compare with; the message says why.
    """
    if not isinstance(encoder, HuggingFace):
        raise ModelError(f"adapter {block['adapter']} is no model of transformers")
    if block.get("norm_stats") == DATASET:
        raise ModelError("norm_stats: dataset normalises by other numbers than transformers; try it without")
    place = weights.parent if weights else None
    if place is None or not (place / folder.CONFIG).is_file():
        raise ModelError("transformers loads no model without config.json")
    if not any((place / name).is_file() for name in folder.PREPROCESSORS):
        raise ModelError("transformers has no feature extractor without preprocessor_config.json")
    transformers = library()
    with quietly(transformers), torch.random.fork_rng(devices=[]):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(str(place), local_files_only=True)
        config = transformers.AutoConfig.from_pretrained(str(place), local_files_only=True)
        cls = whole_class(transformers, config)
        whole: Any = cls.from_pretrained(str(place), dtype=torch.float32, local_files_only=True)
    model: Any = audio_part(transformers, whole).eval()
    inputs = extractor(list(wave.numpy()), sampling_rate=encoder.sample_rate, return_tensors="pt")
    accepted = inspect.signature(model.forward).parameters
    taken = {key: value for key, value in inputs.items() if key in accepted}
    ours: list[Tensor] = []
    handle = encoder.model.register_forward_hook(lambda _, __, output: ours.append(output[0]))
    try:
        with torch.inference_mode():
            theirs = model(**taken)[0]
            encoder(wave)
    finally:
        handle.remove()
    if ours[0].shape != theirs.shape:
        raise ModelError(
            f"features are {tuple(ours[0].shape)} here, and {tuple(theirs.shape)} there; with context: clip, "
            "clips are encoded at their own length, and with context: full as in transformers"
        )
    return Difference(float((ours[0] - theirs).abs().max()), float(theirs.std()))


def record(
    path: Path, encoder: HuggingFace, block: Mapping, weights: Path, found: Difference, neurons: str
) -> None:
    """Add a checkpoint to the table of those that were compared; the same versions have one row."""
    import transformers

    import audio_neurons

    described = weights.parent / "snapshot.json"
    pinned = folder.read_json(described) if described.is_file() else {}
    row = {
        "checkpoint": f"{pinned['name']}@{pinned['commit'][:8]}" if pinned else weights.parent.name,
        "weights_sha256": weights_digest(folder.weight_files(weights.parent)),
        "architecture": encoder.model.config.model_type,
        "neurons": neurons,
        "check": CHECK,
        "largest_difference": f"{found.largest:.1e}",
        "deviation": f"{found.deviation:.2g}",
        "audio_neurons": audio_neurons.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__.partition("+")[0],
    }
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []
    same = ("weights_sha256", "check", "audio_neurons", "transformers", "torch")
    rows = [one for one in rows if any(one[key] != row[key] for key in same)]
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*rows, row], key=lambda one: tuple(one.values())))
