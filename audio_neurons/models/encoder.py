"""What every encoder offers, and where the neurons of its feed-forward networks are."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from audio_neurons.models import ModelError

# Names that the second linear layer of a feed-forward network carries: its input is the hidden layer
# after the activation function, whether that function is a module or not.
DOWN_PROJECTIONS = ("mlp.fc2",)


class Encoder(nn.Module, ABC):
    """An audio encoder: waveform in, frame features out.

    Attributes
    ----------
    sample_rate
        Of the input, in Hz.
    special_tokens
        Leading tokens of every sequence that stand for no place in the audio (CLS and the like).
    """

    sample_rate: int = 16_000
    special_tokens: int = 0

    @abstractmethod
    def front_end(self, wave: Tensor) -> Tensor:
        """Waveforms (B, samples) in [-1, 1) to the encoder's input."""

    @abstractmethod
    def encode(self, features: Tensor) -> Tensor:
        """The encoder's input to frame features (B, T, D)."""

    @abstractmethod
    def token_seconds(self, samples: int) -> Tensor:
        """Start, in seconds, of each token without the special ones, in the order of their computation."""

    def forward(self, wave: Tensor) -> Tensor:
        """Waveforms (B, samples) to frame features (B, T, D)."""
        return self.encode(self.front_end(wave))

    def down_projections(self) -> list[nn.Linear]:
        """Down-projections of the feed-forward networks, one per layer, in order of depth.

        Neuron ``(l, j)`` is feature ``j`` of the input of the ``l``-th one.

        Raises
        ------
        ModelError
            If none is found, or if their widths differ.
        """
        found = [m for name, m in self.named_modules() if name.endswith(DOWN_PROJECTIONS)]
        if not found:
            linear = [name for name, m in self.named_modules() if isinstance(m, nn.Linear)]
            raise ModelError(
                f"no feed-forward network found: looked for modules named {DOWN_PROJECTIONS}; "
                f"the linear layers here are {linear[:8]}"
            )
        if len(widths := {m.in_features for m in found}) > 1:
            raise ModelError(f"feed-forward networks of unequal widths: {sorted(widths)}")
        return found

    @property
    def depth(self) -> int:
        return len(self.down_projections())

    @property
    def width(self) -> int:
        """Neurons per layer."""
        return self.down_projections()[0].in_features

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
