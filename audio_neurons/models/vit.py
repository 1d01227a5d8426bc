"""Vision Transformer over log-mel spectrograms, as Masked Modeling Duo (M2D) defines it.

The Transformer is timm's; the front end is torchaudio's. Numerically this is M2D's own portable
runtime (nttcslab/m2d, ``examples/portable_m2d.py``), and it reads M2D's released checkpoints.

Niizumi et al., "Masked Modeling Duo: Towards a Universal Audio Pre-training Framework",
IEEE/ACM TASLP 2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torchaudio
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from audio_neurons.models import ModelError
from audio_neurons.models.checkpoint import read_checkpoint, sizes_in_name
from audio_neurons.models.encoder import Encoder

SAMPLE_RATE, WINDOW, HOP = 16_000, 400, 160
MEL_RANGE = (50.0, 8000.0)
# Of M2D's pre-training data, where a checkpoint carries none of its own.
NORM_STATS = (-7.1, 4.2)
# Parts of a training checkpoint that the encoder does not need.
TRAINING_ONLY = ("mask_token", "decoder_", "target_", "head.")


@dataclass(frozen=True)
class Architecture:
    """Sizes of a ViT over log-mel: (mel bands, frames), (bands, frames) of a patch, and the widths."""

    input_size: tuple[int, int] = (80, 608)
    patch_size: tuple[int, int] = (16, 16)
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0

    @classmethod
    def of(cls, block: Mapping) -> Architecture:
        """From a block of configuration; what it does not say is M2D's ViT-Base."""
        values = {k: block[k] for k in cls.__dataclass_fields__ if k in block}
        for key in ("input_size", "patch_size"):
            if key in values:
                values[key] = tuple(values[key])
        return cls(**values)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along frequency and along time."""
        return self.input_size[0] // self.patch_size[0], self.input_size[1] // self.patch_size[1]

    def as_dict(self) -> dict:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class ViT(Encoder):
    """M2D's encoder: patch tokens of a log-mel spectrogram, frequency-major, behind one CLS token."""

    sample_rate = SAMPLE_RATE
    special_tokens = 1

    def __init__(self, architecture: Architecture, norm_stats: tuple[float, float] = NORM_STATS):
        super().__init__()
        self.architecture = architecture
        self.vit = VisionTransformer(
            img_size=architecture.input_size,
            patch_size=architecture.patch_size,
            in_chans=1,
            num_classes=0,
            embed_dim=architecture.embed_dim,
            depth=architecture.depth,
            num_heads=architecture.num_heads,
            mlp_ratio=architecture.mlp_ratio,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        # nnAudio's mel, which M2D uses: Slaney's scale and normalisation, periodic Hann, reflected ends.
        self.mel = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, f_min=MEL_RANGE[0],
            f_max=MEL_RANGE[1], n_mels=architecture.input_size[0], power=2.0, center=True,
            pad_mode="reflect", norm="slaney", mel_scale="slaney",
        )  # fmt: skip
        self.register_buffer("norm_stats", torch.tensor(norm_stats, dtype=torch.float32))

    def front_end(self, wave: Tensor) -> Tensor:
        """Waveforms (B, samples) to normalised log-mel (B, 1, bands, samples // 160 + 1)."""
        mel = self.mel(wave)
        mean, std = self.norm_stats
        return (((mel + torch.finfo(torch.float32).eps).log() - mean) / std).unsqueeze(1)

    def encode(self, features: Tensor) -> Tensor:
        """Normalised log-mel (B, 1, bands, frames) to (B, ceil(frames / patch), bands / patch * D).

        Longer input than the model's is cut into chunks of its length, encoded one by one and joined
        in time; the end is padded with zeros to a whole patch.
        """
        bands, columns = self.architecture.grid[0], self.architecture.patch_size[1]
        features = nn.functional.pad(features, (0, -features.shape[-1] % columns))
        outputs = []
        for chunk in features.split(self.architecture.input_size[1], dim=-1):
            tokens = self.encode_patches(self.embed(chunk))[:, 1:]
            b, n, d = tokens.shape
            outputs.append(tokens.reshape(b, bands, n // bands, d).transpose(1, 2).flatten(2))
        return torch.cat(outputs, dim=1)

    def embed(self, chunk: Tensor) -> Tensor:
        """Log-mel of at most the input's length to patch tokens with positions (B, N, D), without CLS."""
        patches = self.vit.patch_embed.proj(chunk)  # (B, D, F, T)
        bands, length = patches.shape[2:]
        # A shorter input uses the first positions of every frequency row.
        position = self.vit.pos_embed[:, 1:].unflatten(1, (bands, -1))[:, :, :length].flatten(1, 2)
        return patches.flatten(2).transpose(1, 2) + position

    def encode_patches(self, patches: Tensor) -> Tensor:
        """Patch tokens (B, N, D) through the Transformer: CLS and patches (B, 1 + N, D)."""
        cls = (self.vit.cls_token + self.vit.pos_embed[:, :1]).expand(len(patches), -1, -1)
        return self.vit.norm(self.vit.blocks(torch.cat([cls, patches], dim=1)))

    def token_seconds(self, samples: int) -> Tensor:
        columns = math.ceil((samples // HOP + 1) / self.architecture.patch_size[1])
        per_chunk = self.architecture.grid[1]
        starts = torch.arange(columns) * (self.architecture.patch_size[1] * HOP / SAMPLE_RATE)
        return torch.cat([chunk.repeat(self.architecture.grid[0]) for chunk in starts.split(per_chunk)])


def build(block: Mapping, weights: Path | None) -> ViT:
    """The model of a configuration block, from a checkpoint or randomly initialised (timm's scheme)."""
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(block["weights"]["seed"])
            return ViT(Architecture.of(block), tuple(block.get("norm_stats", NORM_STATS)))
    state = read_checkpoint(weights)
    stats = state.pop("norm_stats", None)
    if stats is None:
        stats = block.get("norm_stats", NORM_STATS)
    architecture = Architecture.of({**block, **sizes_in_name(weights.parent.name)})
    model = ViT(architecture, tuple(float(s) for s in stats))
    load_encoder(model, state, weights)
    return model


def load_encoder(model: ViT, state: Mapping[str, Tensor], path: Path) -> None:
    """Load M2D's encoder weights by name; nothing may be missing, unknown, or of another shape."""
    state = {k: v for k, v in state.items() if not k.startswith(TRAINING_ONLY)}
    wanted = {k: v.shape for k, v in model.vit.state_dict().items()}
    problems = [f"missing {k}" for k in wanted if k not in state]
    problems += [f"unexpected {k}" for k in state if k not in wanted]
    problems += [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(shape)}"
        for k, shape in wanted.items()
        if k in state and state[k].shape != shape
    ]
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise ModelError(
            f"{path} does not fit this architecture: {'; '.join(problems[:5])}{more}. Set embed_dim, depth, "
            "num_heads, mlp_ratio, input_size and patch_size to the checkpoint's own"
        )
    model.vit.load_state_dict(state)
