"""Every neuron's median activation: a bar of its own for what counts as active.

The sign rule (active above 0) asks how often a neuron fires, and rests on where its bias happens to
lie; above its own median every neuron is active on half of all tokens, and classes differ in which half.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons import tables
from audio_neurons.clips import ClipsError, batches
from audio_neurons.models.encoder import Encoder
from audio_neurons.runtime import Meter


@dataclass(frozen=True)
class Settings:
    """What medians are estimated from.

    Attributes
    ----------
    clip_seconds, batch_size, tokens
        As in extraction.
    clips
        Clips of the training split that are drawn; all if there are fewer.
    per_clip
        Tokens of each chunk of a clip, evenly spaced.
    seed
        Of the draw.
    """

    clip_seconds: float
    batch_size: int = 8
    tokens: str = "patch"
    clips: int = 256
    per_clip: int = 16
    seed: int = 0


def medians(encoder: Encoder, waves: Iterable[tuple[Tensor, int]], settings: Settings) -> np.ndarray:
    """float32 (L, W): median activation over evenly spaced tokens of waveforms (B, samples).

    ``waves`` come with the number of their rows that are clips. Memory holds all sampled tokens:
    clips x per_clip x L x W numbers.
    """
    special = {"patch": False, "all": True}[settings.tokens]
    kept: list[list[np.ndarray]] = [[] for _ in range(encoder.depth)]
    place: dict[str, Any] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        counted = encoder.counted(place["samples"], place["runs"][layer], special)
        place["runs"][layer] += 1
        hidden = hidden[: place["clips"], counted]
        some = torch.linspace(0, hidden.shape[1] - 1, min(settings.per_clip, hidden.shape[1])).round().long()
        kept[layer].append(hidden[:, some.to(hidden.device)].flatten(0, 1).float().cpu().numpy())

    with encoder.listening(keep), torch.inference_mode():
        for wave, clips in waves:
            place.update(samples=wave.shape[1], clips=clips, runs=[0] * len(kept))
            encoder(wave.to(encoder.device))
    return np.stack([np.median(np.concatenate(layer), axis=0) for layer in kept])


def estimate(
    encoder: Encoder,
    parts: Sequence[str | Path],
    settings: Settings,
    out: str | os.PathLike,
    name: str = "medians",
) -> None:
    """Draw training clips of a dataset's parts, and write the ``medians`` table.

    Raises
    ------
    ClipsError
        If no clip is of the training split.
    """
    frames = [tables.read(part, "clips", ["clip_id", "split"]) for part in parts]
    frame = pd.concat(frames)
    names = np.sort(frame.loc[frame["split"] == "train", "clip_id"].to_numpy(str))
    if not len(names):
        raise ClipsError(f"{parts[0]}: no clips of split 'train' to take medians from")
    drawn = np.random.default_rng(settings.seed).permutation(names)[: settings.clips]
    samples = round(settings.clip_seconds * encoder.sample_rate)
    meter = Meter(len(drawn), name, "clips")

    def waves() -> Iterator[tuple[Tensor, int]]:
        for some, wave in batches(parts, drawn.tolist(), samples, settings.batch_size):
            yield torch.from_numpy(wave), len(some)
            meter.add(len(some))

    found = medians(encoder, waves(), settings)
    meter.finish()
    layer, neuron = np.divmod(np.arange(found.size), encoder.width)
    tables.write(out, "medians", pd.DataFrame({"layer": layer, "neuron": neuron, "median": found.ravel()}))


def read(path: str | os.PathLike, encoder: Encoder) -> Tensor:
    """Medians (L, W) of a table, on the encoder's device.

    Raises
    ------
    TableError
        If they are another encoder's.
    """
    table = tables.read(path, "medians").sort_values(["layer", "neuron"])
    shape = (encoder.depth, encoder.width)
    if len(table) != np.prod(shape):
        raise tables.TableError(
            f"{path}: {len(table)} neurons, but the encoder has {np.prod(shape)}; {tables.REMEDY}"
        )
    return torch.tensor(table["median"].to_numpy(np.float32).reshape(shape)).to(encoder.device)
