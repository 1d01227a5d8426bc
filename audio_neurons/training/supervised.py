"""Supervised training: predict all classes of a clip from the mean of its patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_neurons.models.vit import Architecture
from audio_neurons.settings.training import Training
from audio_neurons.training import processes
from audio_neurons.training.masked import random_split, take
from audio_neurons.training.pool import Batch, PoolLike
from audio_neurons.training.start import fresh_encoder, initialise


class Supervised(nn.Module):
    """Multi-label tagging by a linear head over the mean of the patch tokens.

    The augmentations are a roll in time, mixup (Zhang et al. 2018), SpecAugment's masks (Park et al. 2019),
    and patchout (Koutini et al., "Efficient training of audio transformers with patchout", 2022), which also
    makes a step cheaper.
    """

    def __init__(self, architecture: Architecture, settings: Training, pool: PoolLike):
        super().__init__()
        self.encoder = fresh_encoder(architecture, pool, settings.whiten)
        self.head = nn.Linear(architecture.embed_dim, len(pool.classes))
        self.head.apply(initialise)
        self.patchout, self.mixup = settings.patchout, settings.mixup
        self.masks = {-2: settings.frequency_mask, -1: settings.time_mask}

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean binary cross-entropy over clips and classes."""
        log_mel, targets = roll(batch.log_mel), batch.targets
        if self.mixup:
            beta = torch.distributions.Beta(self.mixup, self.mixup)
            share = processes.drawn(lambda clips: beta.sample((clips,)), len(log_mel)).to(log_mel)
            log_mel = torch.lerp(processes.previous(log_mel), log_mel, share[:, None, None, None])
            targets = torch.lerp(processes.previous(targets), targets, share[:, None])
        for dim, widest in self.masks.items():
            if widest:
                log_mel = mask(log_mel, dim, widest)
        patches = self.encoder.embed(log_mel)
        if self.patchout:
            kept, _ = random_split(patches, self.patchout)
            patches = take(patches, kept)
        clips = self.encoder.encode_patches(patches)[:, 1:].mean(dim=1)
        return F.binary_cross_entropy_with_logits(self.head(clips), targets)

    forward = loss

    def scores(self, log_mel: Tensor) -> Tensor:
        """Return logits (B, C) of whole clips (B, 1, bands, frames), from the mean over all their patches."""
        frames = self.encoder.encode(log_mel)  # (B, T, bands of patches * D)
        width = self.encoder.architecture.embed_dim
        return self.head(frames.unflatten(-1, (-1, width)).mean(dim=(1, 2)))

    def after_step(self, progress: float) -> None:
        """Do nothing."""


def roll(log_mel: Tensor) -> Tensor:
    """Shift every clip (B, 1, bands, frames) circularly in time by a random number of frames."""
    frames = log_mel.shape[-1]
    shift = processes.drawn(
        lambda clips: torch.randint(frames, (clips, 1, 1, 1), device=log_mel.device), len(log_mel)
    )
    places = (torch.arange(frames, device=log_mel.device) + shift) % frames
    return log_mel.gather(-1, places.expand_as(log_mel))


def mask(log_mel: Tensor, dim: int, widest: int) -> Tensor:
    """Set a random stretch of every clip (B, 1, bands, frames) along ``dim`` to zero, the pool's mean.

    The stretch has 0 to ``widest`` bands or frames, all equally likely, and a random place.
    """
    length = log_mel.shape[dim]
    width, place = processes.drawn(
        lambda clips: torch.rand(clips, 2, device=log_mel.device), len(log_mel)
    ).unbind(1)
    width = (width * (min(widest, length) + 1)).floor()
    start = (place * (length - width + 1)).floor()
    along = torch.arange(length, device=log_mel.device)
    inside = (along >= start[:, None]) & (along < (start + width)[:, None])
    shape = [len(log_mel), 1, 1, 1]
    shape[dim] = length
    return log_mel.masked_fill(inside.view(shape), 0)
