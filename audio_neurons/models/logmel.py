"""What the input alone says: "neurons" that are exceedances of log-mel bands, without any network.

A unit is a band and a threshold. Its activation is the normalised log-mel of the band less the threshold, so
that it is active (above 0) in the frames in which the band exceeds it. What such units share between classes
or datasets, spectra share. The features are the normalised log-mel itself, as the mean over the band's units;
replacing activations therefore replaces a part of the spectrum.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audio_neurons.models.encoder import Encoder
from audio_neurons.models.errors import ModelError
from audio_neurons.models.vit import NORM_STATS, hop, logarithm, mel_spectrogram
from audio_neurons.tables import SAMPLE_RATE

SIZES = {"bands": 80, "thresholds": 16}
FARTHEST = 2.0  # standard deviations of the outermost thresholds from the mean


class Exceedances(nn.Module):
    """Log-mel frames (B, T, bands) to the same frames, by way of their units (B, T, bands * thresholds)."""

    thresholds: Tensor

    def __init__(self, bands: int, thresholds: int):
        super().__init__()
        ends = FARTHEST if thresholds > 1 else 0.0
        self.register_buffer("thresholds", torch.linspace(-ends, ends, thresholds))
        self.fc2 = nn.Linear(bands * thresholds, bands, bias=False)
        weight = torch.eye(bands).repeat_interleave(thresholds, dim=1) / thresholds
        self.fc2.weight = nn.Parameter(weight)

    def units(self, frames: Tensor) -> Tensor:
        """Return exceedances, the thresholds of the first band first."""
        return (frames[..., None] - self.thresholds).flatten(-2)

    def forward(self, frames: Tensor) -> Tensor:
        return self.fc2(self.units(frames))


class LogMel(Encoder):
    """The log-mel spectrogram as an encoder of one layer; a token is a frame of 10 ms.

    Parameters
    ----------
    bands, thresholds
        Mel bands, and thresholds of each, evenly spaced from -`FARTHEST` to `FARTHEST` standard deviations.
    norm_stats
        Mean and standard deviation of the log-mel.
    sample_rate
        Of the waveforms, in Hz. Windows have 25 ms every 10 ms at any rate.
    """

    stepwise = True
    spectral = True
    norm_stats: Tensor

    def __init__(
        self,
        bands: int = SIZES["bands"],
        thresholds: int = SIZES["thresholds"],
        norm_stats: tuple[float, float] = NORM_STATS,
        sample_rate: int = SAMPLE_RATE,
    ):
        super().__init__()
        self.ffn = (1, bands * thresholds)
        self.sample_rate, self.hop = sample_rate, hop(sample_rate)
        self.mel = mel_spectrogram(bands, sample_rate)
        self.layer = Exceedances(bands, thresholds)
        self.register_buffer("norm_stats", torch.empty(2))
        self.normalise(*norm_stats)

    def log_mel(self, wave: Tensor) -> Tensor:
        return logarithm(self.mel(wave))

    def normalise(self, mean: float, std: float) -> None:
        self.norm_stats = torch.tensor([mean, std], dtype=torch.float32, device=self.norm_stats.device)
        self.lacks_statistics = False

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to normalised log-mel (B, samples // hop + 1, bands)."""
        mean, std = self.norm_stats
        return ((self.log_mel(wave) - mean) / std).transpose(1, 2)

    def encode(self, features: Tensor) -> Tensor:
        return self.layer(features)

    def states(self, features: Tensor) -> list[Tensor]:
        return [features]

    def expand(self, layer: int, state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(state), self.layer.units(state)

    def project(self, layer: int, residual: Tensor, hidden: Tensor) -> Tensor:
        return self.layer.fc2(hidden)

    def assemble(self, states: list[Tensor]) -> Tensor:
        return states[0]

    def token_seconds(self, samples: int) -> Tensor:
        return torch.arange(samples // self.hop + 1) * (self.hop / self.sample_rate)


def build(block: Mapping[str, Any], weights: Path | None) -> LogMel:
    """Build the units of a block: ``config`` (``bands``, ``thresholds``) and ``norm_stats``; no weights."""
    if weights is not None:
        raise ModelError("adapter logmel has no weights; set weights to {source: random, seed: 0}")
    sizes = {**SIZES, **(block.get("config") or {})}
    if unknown := sorted(sizes.keys() - SIZES.keys()):
        raise ModelError(f"config of adapter logmel has no {', '.join(unknown)}; it has {', '.join(SIZES)}")
    if wrong := [key for key, value in sizes.items() if not (isinstance(value, int) and value > 0)]:
        raise ModelError(f"config.{wrong[0]} of adapter logmel is a whole number above 0")
    stats = block.get("norm_stats")
    own = NORM_STATS if stats is None or isinstance(stats, str) else tuple(stats)
    return LogMel(**sizes, norm_stats=own, sample_rate=block.get("sample_rate") or SAMPLE_RATE)
