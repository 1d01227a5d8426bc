"""Masked Modeling Duo (M2D): predict the representations of masked patches from the visible ones.

Niizumi et al., "Masked Modeling Duo: Learning Representations by Encouraging Both Networks to Model
the Input", ICASSP 2023 (arXiv 2210.14648), and nttcslab/m2d's ``models_mae.M2DViT`` and ``train_audio.py``
(its ``patch_m2d.diff``). All defaults are theirs, except ``target_embedding`` and ``predictor_heads``.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from audio_neurons.models.vit import Architecture
from audio_neurons.settings.training import Training
from audio_neurons.training import processes
from audio_neurons.training.errors import TrainingError
from audio_neurons.training.pool import Batch, PoolLike
from audio_neurons.training.start import fresh_encoder, initialise, positions


class Masked(nn.Module):
    """M2D: an online encoder of visible patches, a predictor, and a target encoder of masked patches.

    In the reference, both encoders share one patch embedding and one CLS token, only the blocks are
    averaged, and each target is standardised over its own features: ``target_embedding: shared``,
    ``target_norm: patch``. In a training of a thousand steps, either setting makes the two networks agree
    on loudness and place, and everything else is lost. The alternatives are ``average``, where the target
    is the moving average of the whole online encoder, and ``batch``, where targets are standardised over
    the batch.

    Other differences from the reference: the target starts as a copy of the online encoder, not from
    other random weights; the decay has its last value at the last step, and its first value one step before
    the first step; tokens have no weight decay.
    """

    def __init__(self, architecture: Architecture, settings: Training, pool: PoolLike):
        super().__init__()
        if settings.target_norm == "batch" and processes.count() > 1:
            raise TrainingError("training.target_norm 'batch' needs the whole batch in one process")
        self.encoder = fresh_encoder(architecture, pool, settings.whiten)
        self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        heads = settings.predictor_heads or architecture.num_heads
        if settings.predictor_dim % heads:
            raise TrainingError(
                f"training.predictor_dim {settings.predictor_dim} is not divisible among {heads} heads; set "
                "training.predictor_heads (M2D's predictor has 512 and 16)"
            )
        self.predictor = Predictor(architecture, settings.predictor_depth, settings.predictor_dim, heads)
        self.mask_ratio, self.ema, self.target_norm = settings.mask_ratio, settings.ema, settings.target_norm
        self.shared = ("vit.patch_embed.", "vit.cls_token") if settings.target_embedding == "shared" else ()

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean over masked patches of 2 - 2 cos(prediction, standardised target)."""
        patches = self.encoder.embed(batch.log_mel)
        visible, masked = random_split(patches, self.mask_ratio)
        encoded = self.encoder.encode_patches(take(patches, visible))
        return distance(self.predictor(encoded, visible, masked), self.targets(batch, masked))

    forward = loss

    @torch.no_grad()
    def targets(self, batch: Batch, masked: Tensor) -> Tensor:
        """Return the target encoder's standardised representations (B, M, D) of masked patches."""
        patches = take(self.target.embed(batch.log_mel), masked)
        over = (0, 1) if self.target_norm == "batch" else -1
        return standardise(self.target.encode_patches(patches)[:, 1:], over)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target towards the online encoder; the decay rises linearly with ``progress``."""
        decay = self.ema[0] + (self.ema[1] - self.ema[0]) * progress
        for (name, old), new in zip(self.target.named_parameters(), self.encoder.parameters(), strict=True):
            old.lerp_(new, 1.0 if name.startswith(self.shared) else 1 - decay)


class Predictor(nn.Module):
    """A small Transformer that predicts representations of masked patches from encoded visible ones."""

    positions: Tensor

    def __init__(self, architecture: Architecture, depth: int, width: int, heads: int):
        super().__init__()
        self.embed = nn.Linear(architecture.embed_dim, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        sizes = width, heads, architecture.mlp_ratio
        self.blocks = nn.Sequential(*(Block(*sizes, qkv_bias=True, norm_layer=norm) for _ in range(depth)))
        self.norm = norm(width)
        self.project = nn.Linear(width, architecture.embed_dim)
        self.apply(initialise)
        self.register_buffer("positions", positions(architecture.grid, width)[0, 1:])

    def forward(self, encoded: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Predict (B, M, D) from CLS and visible patches (B, 1 + V, D) and the places of both sets."""
        # Attention knows the order only from the positions, so patches need not be put back in place.
        cls, seen = self.embed(encoded).tensor_split([1], dim=1)
        asked = self.mask_token + self.positions[masked]
        tokens = self.blocks(torch.cat([cls, seen + self.positions[visible], asked], dim=1))
        return self.project(self.norm(tokens[:, -masked.shape[1] :]))


def random_split(patches: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Draw the places of visible (B, V) and masked (B, M) patches among (B, N, D), anew for every clip."""
    clips, tokens, _ = patches.shape
    noise = processes.drawn(lambda rows: torch.rand(rows, tokens, device=patches.device), clips)
    order = noise.argsort(dim=1)
    masked = min(max(round(tokens * ratio), 1), tokens - 1)
    return order[:, masked:], order[:, :masked]


def take(patches: Tensor, places: Tensor) -> Tensor:
    """Return the patches of (B, N, D) at places (B, K): (B, K, D)."""
    return patches.gather(1, places.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))


def standardise(values: Tensor, over: int | tuple[int, ...]) -> Tensor:
    """Scale to zero mean and unit variance over the given dimensions."""
    values = values.float()  # the forward pass may have lower precision
    centred = values - values.mean(over, keepdim=True)
    return centred * (centred.square().mean(over, keepdim=True) + 1e-6).rsqrt()


def distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared distance of the normalised vectors, 2 - 2 cos."""
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=-1)).mean()
