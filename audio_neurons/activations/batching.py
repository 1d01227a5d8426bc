"""How many clips a forward pass takes."""

from __future__ import annotations

import torch
from torch import Tensor

from audio_neurons.models.encoder import Encoder
from audio_neurons.running.runtime import tell
from audio_neurons.settings.extraction import ON_CPU

# A GPU is idle between the kernels of fewer tokens than these:
# 203 clips of 5 s for a Vision Transformer, 26 of 10 s for AST, 21 of 30 s for Whisper.
TOKENS = 32_768


def clips_per_pass(encoder: Encoder, asked: int | str, samples: int, share: int = 1) -> int:
    """Return the clips of a forward pass: what was asked for, or what suits the encoder's device.

    Parameters
    ----------
    asked
        ``extraction.batch_size``: a number, or ``"auto"``.
    samples
        Samples of a clip.
    share
        Part of the usual tokens that a pass may have, 1 / share, where it keeps the activations of so many
        layers.
    """
    if isinstance(asked, int):
        return asked
    if encoder.device.type == "cpu":
        return ON_CPU
    tokens = sequence(encoder, samples)
    found = max(1, TOKENS // (tokens * share))
    tell(f"{found} clips per forward pass, of {tokens} tokens each (extraction.batch_size: auto)")
    return found


@torch.inference_mode()
def sequence(encoder: Encoder, samples: int) -> int:
    """Return the length of the longest sequence of a clip, special tokens and padding included."""
    lengths = [0]

    def hook(_: int, hidden: Tensor) -> None:
        lengths.append(hidden.shape[1])

    with encoder.listening(hook):
        encoder(torch.zeros(1, samples, device=encoder.device))
    return max(lengths)
