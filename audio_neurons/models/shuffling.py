"""Twins of a trained model: its weights in another order, so that only what training arranged is gone."""

from __future__ import annotations

import torch
from torch import nn

from audio_neurons.models.errors import ModelError

# Last parts of the names of weight matrices and kernels, those of weight normalisation included.
MATRICES = ("weight", "in_proj_weight", "original1", "weight_v")


@torch.no_grad()
def shuffle(encoder: nn.Module, seed: int) -> None:
    """Permute the weights of every unit among its inputs: the entries of each row of all weight matrices.

    Each unit keeps its weights' distribution and norm, and its bias. Norms, biases, embeddings and positions
    stay. What a unit is sensitive to, which training has arranged, is lost. A kernel of a convolution is one
    row per output channel.

    Raises
    ------
    ModelError
        If no weight matrix is found.
    """
    kept = {id(m.weight) for m in encoder.modules() if isinstance(m, nn.Embedding)}
    generator, found = torch.Generator().manual_seed(seed), False
    for name, parameter in encoder.named_parameters():
        if parameter.ndim < 2 or id(parameter) in kept or name.rpartition(".")[2] not in MATRICES:
            continue
        rows = parameter.flatten(1)
        order = torch.rand(rows.shape, generator=generator, dtype=torch.float64).argsort(1)
        parameter.copy_(rows.gather(1, order.to(parameter.device)).view_as(parameter))
        found = True
    if not found:
        raise ModelError("no weights to shuffle: it has no weight matrix")
