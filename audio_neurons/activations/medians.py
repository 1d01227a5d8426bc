"""Median activation of every neuron, used as the neuron's own threshold for being active.

The sign rule (active above 0) measures how often a neuron is active, which depends on its bias. Above its
own median, every neuron is active on half of all tokens, and classes differ in which half.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audio_neurons import tables
from audio_neurons.activations.batching import clips_per_pass
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.recordings.clips import batches, drawn
from audio_neurons.running.runtime import Meter
from audio_neurons.settings.extraction import Median, Pass


def medians(
    encoder: Encoder, waves: Iterable[tuple[Tensor, Tensor]], tokens: str, per_clip: int
) -> np.ndarray:
    """Return median activations, float32 (neurons,), over evenly spaced tokens of waveforms (B, samples).

    ``waves`` yields each batch with the ends of its recordings in samples, one for each row that is a clip;
    later tokens are left out. Memory holds all sampled tokens:
    clips x per_clip x L x W numbers.
    """
    special = {"patch": False, "all": True}[tokens]
    kept: list[list[np.ndarray]] = [[] for _ in range(encoder.depth)]
    place: dict[str, Any] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        counted = encoder.counted_in(layer, place["samples"], place["runs"][layer], special)
        ends = place["ends"]
        hidden = hidden[: len(ends), counted]
        skipped = encoder.special_tokens if special else 0
        first = place["tokens"][layer]
        own = encoder.heard(place["samples"], ends)[:, first : first + hidden.shape[1] - skipped]
        place["tokens"][layer] += own.shape[1]
        place["runs"][layer] += 1
        for clip, heard in zip(hidden, own, strict=True):
            where = nn.functional.pad(heard, (skipped, 0), value=True).nonzero()[:, 0]
            some = torch.linspace(0, len(where) - 1, min(per_clip, len(where))).round().long()
            kept[layer].append(clip[where[some].to(clip.device)].float().cpu().numpy())

    with encoder.listening(keep), torch.inference_mode():
        for wave, ends in waves:
            runs, placed = [0] * len(kept), [0] * len(kept)
            place.update(samples=wave.shape[1], ends=ends, runs=runs, tokens=placed)
            encoder(wave.to(encoder.device))
    return np.concatenate([np.median(np.concatenate(layer), axis=0) for layer in kept])


def estimate(
    encoder: Encoder,
    parts: Sequence[str | Path],
    settings: Pass,
    sample: Median,
    out: str | os.PathLike,
    name: str = "medians",
) -> None:
    """Sample training clips from a dataset's parts, and write the ``medians`` table.

    Of ``settings``, only the clip length, batch size, tokens, count and precision are used.

    Raises
    ------
    ClipsError
        If there are no clips of the training split.
    """
    frames = [tables.read(part, "clips", ["clip_id", "split", "frames"]) for part in parts]
    frame = pd.concat(frames)
    names = drawn(frame, sample.clips, sample.seed, parts[0])
    samples = round(settings.clip_seconds * encoder.sample_rate)
    size = clips_per_pass(encoder, settings.batch_size, samples)
    meter = Meter(len(names), name, "clips")

    ends = frame.set_index("clip_id")["frames"].clip(upper=samples)
    if settings.count == "window":
        ends[:] = samples

    def waves() -> Iterator[tuple[Tensor, Tensor]]:
        for some, wave in batches(parts, names, samples, size, encoder.sample_rate):
            yield torch.from_numpy(wave), torch.tensor(ends[some].to_numpy(np.int64))
            meter.add(len(some))

    with numerics(encoder, settings.precision):  # as in the passes whose activations are judged by them
        found = medians(encoder, waves(), settings.tokens, sample.per_clip)
    meter.finish()
    layer, neuron = encoder.neurons.cpu().numpy().T
    tables.write(out, "medians", pd.DataFrame({"layer": layer, "neuron": neuron, "median": found}))


def read(path: str | os.PathLike, encoder: Encoder) -> Tensor:
    """Read the medians (L, W) from a table, onto the encoder's device; NaN where a layer is narrower than W.

    Raises
    ------
    TableError
        If the table has another number of neurons than the encoder.
    """
    table = tables.read(path, "medians").sort_values(["layer", "neuron"])
    present = encoder.present
    if len(table) != present.sum():
        raise tables.TableError(
            f"{path}: {len(table)} neurons, but the encoder has {present.sum()}; {tables.REMEDY}"
        )
    found = torch.full(present.shape, torch.nan, device=encoder.device)
    found[present] = torch.tensor(table["median"].to_numpy(np.float32)).to(encoder.device)
    return found
