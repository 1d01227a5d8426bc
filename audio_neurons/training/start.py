"""Initial weights of a training: those of M2D, and a patch embedding fitted to the pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audio_neurons.models.vit import Architecture, ViT
from audio_neurons.training.pool import PoolLike

CLIPS = 1000  # from which the principal components are estimated


def fresh_encoder(architecture: Architecture, pool: PoolLike, components: int) -> ViT:
    """Return a ViT with Xavier-uniform layers and fixed sine-cosine positions, as in M2D and MAE.

    Most variance of log-mel patches is their loudness (four fifths in the demo's pool), and a short
    training learns little else. The patch embedding therefore starts from the first ``components``
    principal components of the pool's patches, each of unit variance, rotated at random; with 0 it is
    Xavier-uniform.
    """
    encoder = ViT(architecture, pool.norm_stats)
    encoder.apply(initialise)
    vit: Any = encoder.vit  # timm's types allow for models without CLS and positions
    embedding = vit.patch_embed.proj
    nn.init.xavier_uniform_(embedding.weight.flatten(1))
    nn.init.normal_(vit.cls_token, std=0.02)
    with torch.no_grad():
        vit.pos_embed.copy_(positions(architecture.grid, architecture.embed_dim))
        if components:
            weight = whitening(patches_of(pool, architecture), components, architecture.embed_dim)
            embedding.weight.copy_(weight.view_as(embedding.weight))
            embedding.bias.zero_()
    vit.pos_embed.requires_grad_(False)
    return encoder


def patches_of(pool: PoolLike, architecture: Architecture) -> Tensor:
    """Return normalised patches (patches, pixels) of the pool's first clips."""
    mean, std = pool.norm_stats
    height, width = architecture.patch_size
    log_mel = (pool.log_mel[:CLIPS].float() - mean) / std
    return log_mel.unfold(1, height, height).unfold(2, width, width).reshape(-1, height * width)


def whitening(patches: Tensor, components: int, dim: int) -> Tensor:
    """Return weights (D, pixels) that spread the first principal components evenly over D features."""
    components = min(components, dim, patches.shape[1])
    variance, direction = torch.linalg.eigh(torch.cov(patches.T))  # ascending
    variance, direction = variance[-components:], direction[:, -components:]
    scale = (dim / components) ** 0.5 * variance.clamp_min(1e-6 * variance[-1].item()).rsqrt()
    rotation = torch.linalg.qr(torch.randn(dim, dim))[0][:, :components]
    return (rotation * scale) @ direction.T


def initialise(module: nn.Module) -> None:
    """Set Xavier-uniform weights and zero biases in linear layers; for ``nn.Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def positions(grid: tuple[int, int], dim: int) -> Tensor:
    """Return sine-cosine positions (1, 1 + F * T, D) of a grid, frequency-major, after zeros for CLS.

    MAE's ``get_2d_sincos_pos_embed``: half of the dimensions encode the row, half the column.
    """
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in grid), indexing="ij")
    rate = 10_000.0 ** -torch.linspace(0, 1, dim // 4 + 1)[:-1]
    angles = [place.reshape(-1, 1) * rate for place in (columns, rows)]
    table = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, dim), table]).unsqueeze(0)
