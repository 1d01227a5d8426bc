"""Supervised training: all the classes of a clip, from the mean of its patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_neurons.models.vit import Architecture
from audio_neurons.training import Settings
from audio_neurons.training.masked import random_split, take
from audio_neurons.training.pool import Batch, Pool
from audio_neurons.training.start import fresh_encoder, initialise


class Supervised(nn.Module):
    """Multi-label tagging by a linear head over the mean of the patch tokens.

    Augmented by a roll in time, mixup (Zhang et al. 2018), and patchout (Koutini et al., "Efficient
    training of audio transformers with patchout", 2022), which also makes a step cheaper.
    """

    def __init__(self, architecture: Architecture, settings: Settings, pool: Pool):
        super().__init__()
        self.encoder = fresh_encoder(architecture, pool, settings.whiten)
        self.head = nn.Linear(architecture.embed_dim, len(pool.classes))
        self.head.apply(initialise)
        self.patchout, self.mixup = settings.patchout, settings.mixup

    def loss(self, batch: Batch) -> Tensor:
        """Mean binary cross-entropy over clips and classes."""
        log_mel, targets = roll(batch.log_mel), batch.targets
        if self.mixup:
            share = torch.distributions.Beta(self.mixup, self.mixup).sample((len(log_mel),)).to(log_mel)
            log_mel = torch.lerp(log_mel.roll(1, 0), log_mel, share[:, None, None, None])
            targets = torch.lerp(targets.roll(1, 0), targets, share[:, None])
        patches = self.encoder.embed(log_mel)
        if self.patchout:
            kept, _ = random_split(*patches.shape[:2], self.patchout, patches.device)
            patches = take(patches, kept)
        clips = self.encoder.encode_patches(patches)[:, 1:].mean(dim=1)
        return F.binary_cross_entropy_with_logits(self.head(clips), targets)

    def after_step(self, progress: float) -> None:
        """Nothing follows a step."""


def roll(log_mel: Tensor) -> Tensor:
    """Every clip (B, 1, bands, frames) shifted circularly in time by a random number of frames."""
    frames = log_mel.shape[-1]
    shift = torch.randint(frames, (len(log_mel), 1, 1, 1), device=log_mel.device)
    places = (torch.arange(frames, device=log_mel.device) + shift) % frames
    return log_mel.gather(-1, places.expand_as(log_mel))
