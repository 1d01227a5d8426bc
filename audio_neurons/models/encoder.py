"""What every encoder offers, and where the neurons of its feed-forward networks are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from audio_neurons.models import ModelError
from audio_neurons.tables import SAMPLE_RATE

# Endings of the names that the second linear layer of a feed-forward network carries: its input is the
# hidden layer after the activation function, whether that function is a module or not. BERT and its
# kin, of which one is transformers 4's AST, call a layer of attention by the same name.
DOWN_PROJECTIONS = (".fc2", ".feed_forward.output_dense", ".output.dense")
OF_ATTENTION = (".attention.output.dense",)


class Encoder(nn.Module, ABC):
    """An audio encoder: waveform in, frame features out.

    Attributes
    ----------
    sample_rate
        Of the input, in Hz: that of clips.
    special_tokens
        Leading tokens of every sequence that stand for no place in the audio (CLS and the like).
    ffn
        Number of feed-forward networks and neurons of each, as the configuration of the architecture
        tells them; ``None`` where it does not.
    bfloat16
        Whether matrix products after the front end are computed in bfloat16 (autocast).
    stepwise
        Whether the encoder can be run layer by layer (:meth:`states`, :meth:`expand`, :meth:`project`,
        :meth:`assemble`), so that runs which differ only from some layer on share what lies below.
    """

    sample_rate: int = SAMPLE_RATE
    special_tokens: int = 0
    ffn: tuple[int, int] | None = None
    # nn.Module has a method of this name, which no encoder needs.
    bfloat16: bool = False  # type: ignore[assignment]
    stepwise: bool = False

    @abstractmethod
    def front_end(self, wave: Tensor) -> Tensor:
        """Waveforms (B, samples) in [-1, 1) to the encoder's input."""

    @abstractmethod
    def encode(self, features: Tensor) -> Tensor:
        """The encoder's input to frame features (B, T, D)."""

    @abstractmethod
    def token_seconds(self, samples: int) -> Tensor:
        """Start, in seconds, of each token that counts without the special ones, in their own order."""

    def forward(self, wave: Tensor) -> Tensor:
        """Waveforms (B, samples) to frame features (B, T, D), without those of padding."""
        return self.frames(self.front_end(wave), wave.shape[1])

    def frames(self, features: Tensor, samples: int) -> Tensor:
        """The encoder's input, of clips of ``samples``, to what :meth:`forward` gives."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            encoded = self.encode(features)
        return encoded.float() if self.bfloat16 else encoded

    def counted(self, samples: int, run: int, special: bool = False) -> slice | Tensor:
        """Tokens that count when the layers run for the ``run``-th time over clips of ``samples``.

        They come as an index along the sequence. An encoder that pads clips to a length of its own
        leaves out the tokens that see nothing of the clip; special tokens are in if asked for.
        """
        return slice(0 if special else self.special_tokens, None)

    def states(self, features: Tensor) -> list[Tensor]:
        """The encoder's input to the input of its first layer, (B, N, D) per chunk of the audio."""
        raise NotImplementedError

    def expand(self, layer: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """Input of a layer to what its down-projection needs.

        The residual stream (B, N, D) that its output is added to, and its input: the hidden layer
        (B, N, W).
        """
        raise NotImplementedError

    def project(self, layer: int, residual: Tensor, hidden: Tensor) -> Tensor:
        """What :meth:`expand` gave to the input of the next layer; runs the down-projection's hooks."""
        raise NotImplementedError

    def assemble(self, states: list[Tensor]) -> Tensor:
        """Output of the last layer, per chunk, to frame features (B, T, D): the end of :meth:`encode`."""
        raise NotImplementedError

    def down_projections(self) -> list[nn.Linear]:
        """Down-projections of the feed-forward networks, one per layer, in order of depth.

        Neuron ``(l, j)`` is feature ``j`` of the input of the ``l``-th one. They are the linear layers
        whose names end as `DOWN_PROJECTIONS` do, held to ``ffn``; without it, those that narrow.

        Raises
        ------
        ModelError
            If they are not found, or not as many or as wide as they should be.
        """
        linear = {name: m for name, m in self.named_modules() if isinstance(m, nn.Linear)}
        found = [m for name, m in linear.items() if _is_down_projection(name)]
        if self.ffn is None:
            found = [m for m in found if m.in_features > m.out_features]
        widths = [m.in_features for m in found]
        if not found:
            endings = ", ".join(f"*{ending}" for ending in DOWN_PROJECTIONS)
            raise ModelError(
                f"no feed-forward network found: looked for linear layers named {endings}; "
                f"there are {', '.join(list(linear)[:8]) or 'none'}{', ...' if len(linear) > 8 else ''}"
            )
        if len(set(widths)) > 1:
            raise ModelError(f"feed-forward networks of unequal widths: {sorted(set(widths))}")
        if self.ffn not in (None, (len(found), widths[0])):
            raise ModelError(
                f"{len(found)} feed-forward networks of {widths[0]} neurons found, but the configuration "
                f"says {self.ffn[0]} of {self.ffn[1]}"
            )
        return found

    @contextmanager
    def listening(self, hook: Callable[[int, Tensor], Any]) -> Iterator[None]:
        """Within, ``hook(layer, hidden)`` sees what every down-projection reads.

        Where it returns a tuple, the down-projection reads that instead.
        """
        handles = [
            layer.register_forward_pre_hook(lambda _, inputs, number=number: hook(number, inputs[0]))
            for number, layer in enumerate(self.down_projections())
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

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


def _is_down_projection(name: str) -> bool:
    return f".{name}".endswith(DOWN_PROJECTIONS) and not f".{name}".endswith(OF_ATTENTION)


@contextmanager
def numerics(encoder: Encoder, precision: str, compiled: bool = False) -> Iterator[None]:
    """The encoder computes in this precision, compiled or not, and afterwards as before.

    To be entered after hooks are in place: what is compiled has them inside.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    tf32 = precision == "tf32"
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        encoder.bfloat16 = precision == "bf16"
        if compiled:
            encoder.encode = torch.compile(encoder.encode)  # type: ignore[method-assign]  # of one object
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
        encoder.bfloat16 = False
        encoder.__dict__.pop("encode", None)
