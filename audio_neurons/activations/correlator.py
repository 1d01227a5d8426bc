"""Sums during the forward pass from which the correlations of neurons and acoustics are computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_neurons import tables
from audio_neurons.activations.acoustics import Acoustics
from audio_neurons.activations.correlations import SUMS
from audio_neurons.activations.features import NAMES, PLACES, WHERE
from audio_neurons.models.encoder import Encoder


class Correlator:
    """Sums over the tokens of a shard's clips, by split, from which correlations are computed.

    Parameters
    ----------
    splits
        Split of every clip, in the order of the batches.
    """

    def __init__(self, encoder: Encoder, splits: Sequence[str]):
        self._encoder = encoder
        self._splits, of = np.unique(np.asarray(splits, str), return_inverse=True)
        self._of, self._done = torch.from_numpy(of), 0
        columns = len(NAMES) + len(WHERE)
        count = len(self._splits)
        self._active = torch.zeros(count, encoder.depth, encoder.width, columns, dtype=torch.float64)
        self._active = self._active.to(encoder.device)
        self._own: np.ndarray = np.zeros((count, 3, len(NAMES)))
        self._batch: list[tuple[int, Tensor, Tensor]] = []

    def begin(self, acoustics: Acoustics, clips: int) -> None:
        """Start a batch, of which the first ``clips`` rows are clips."""
        here = self._of[self._done : self._done + clips]
        self._done += clips
        self._batch = []
        for split in here.unique().tolist():
            rows = (here == split).nonzero()[:, 0]
            values, where = acoustics.steps[rows], acoustics.where[rows]
            tokens = where.sum((0, 1))[torch.from_numpy(PLACES)]
            self._own[split] += torch.stack([tokens, values.sum((0, 1)), values.square().sum((0, 1))]).numpy()
            both = torch.cat([values, where], dim=2).to(self._encoder.device)
            self._batch.append((split, rows.to(self._encoder.device), both))

    def add(self, layer: int, active: Tensor, first: int) -> None:
        """Add whether neurons of a layer are active, bool (B, n, W), on counted tokens from ``first`` on."""
        for split, rows, both in self._batch:
            some = active if len(rows) == len(active) else active[rows]
            tokens = both[:, first : first + active.shape[1]].flatten(0, 1)
            # float64: exact, and neither TF32 nor autocast applies to it
            self._active[split, layer, : active.shape[2]] += some.flatten(0, 1).double().T @ tokens

    def write(self, path: Path) -> None:
        """Write the ``acoustic_sums`` table."""
        layer, neuron = (place.astype(np.int64) for place in self._encoder.neurons.cpu().numpy().T)
        with tables.writer(path, "acoustic_sums") as writer:
            for split, active, own in zip(self._splits, self._active, self._own, strict=True):
                sums = active.cpu().numpy()[layer, neuron]
                for k, name in enumerate(NAMES):
                    known = np.repeat(own[:, k : k + 1], len(layer), axis=1)
                    mine = [sums[:, len(NAMES) + PLACES[k]], sums[:, k]]
                    writer.append(_rows(str(split), name, layer, neuron, [*known, *mine]))


def _rows(
    split: str, feature: str, layer: np.ndarray, neuron: np.ndarray, sums: Sequence[np.ndarray]
) -> dict[str, Any]:
    size = len(layer)
    numbers = {name: values.astype(np.int64) for name, values in zip(SUMS, sums, strict=True)}
    return {"split": [split] * size, "feature": [feature] * size, "layer": layer, "neuron": neuron, **numbers}
