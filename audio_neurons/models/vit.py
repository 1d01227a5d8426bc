"""Vision Transformers over spectrograms, as defined by Masked Modeling Duo (M2D) and AudioMAE.

The Transformer is timm's, and the front ends use torchaudio. With ``front_end: logmel`` the encoder is
numerically equal to M2D's portable runtime (nttcslab/m2d, ``examples/portable_m2d.py``), and reads M2D's
released checkpoints. With ``front_end: fbank`` it reads timm's ports of AudioMAE, whose images have time
along their first axis.

Niizumi et al., "Masked Modeling Duo: Towards a Universal Audio Pre-training Framework",
IEEE/ACM TASLP 2024; Huang et al., "Masked Autoencoders that Listen", NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchaudio
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from audio_neurons.models import fbank
from audio_neurons.models.checkpoint import check_fit, read_checkpoint, sizes_in_name
from audio_neurons.models.encoder import Encoder
from audio_neurons.tables import SAMPLE_RATE

WINDOW, HOP = 400, 160
MEL_RANGE = (50.0, 8000.0)
# Mean and standard deviation of the pre-training data of M2D and AudioMAE, for checkpoints without them.
NORM_STATS = (-7.1, 4.2)
NORM_STATS_OF = {"logmel": NORM_STATS, "fbank": fbank.NORM_STATS}
# Name prefixes of weights in a training checkpoint that the encoder does not need.
TRAINING_ONLY = ("mask_token", "decoder_", "target_", "head.")


@dataclass(frozen=True)
class Architecture:
    """Sizes of a ViT over log-mel spectrograms.

    ``input_size`` and ``patch_size`` are (mel bands, frames), whatever the order of the image's axes.
    """

    input_size: tuple[int, int] = (80, 608)
    patch_size: tuple[int, int] = (16, 16)
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0

    @classmethod
    def of(cls, block: Mapping) -> Architecture:
        """Read the sizes from a configuration block; missing ones are those of M2D's ViT-Base."""
        values = {k: block[k] for k in cls.__dataclass_fields__ if k in block}
        for key in ("input_size", "patch_size"):
            if key in values:
                values[key] = tuple(values[key])
        return cls(**values)

    @property
    def grid(self) -> tuple[int, int]:
        """Number of patches along frequency and along time."""
        return self.input_size[0] // self.patch_size[0], self.input_size[1] // self.patch_size[1]

    def as_dict(self) -> dict:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class ViT(Encoder):
    """Vision Transformer over the patches of a spectrogram, with or without a CLS token.

    Parameters
    ----------
    norm_stats
        Mean and standard deviation of the spectrogram.
    front_end
        ``"logmel"``: that of M2D, with images (bands, frames) and hence frequency-major tokens. ``"fbank"``:
        Kaldi's filterbank as in AudioMAE, with images (frames, bands) and hence time-major tokens.
    special_tokens
        1 with a CLS token, 0 without.
    """

    stepwise = True
    norm_stats: Tensor

    def __init__(
        self,
        architecture: Architecture,
        norm_stats: tuple[float, float] = NORM_STATS,
        front_end: str = "logmel",
        special_tokens: int = 1,
    ):
        super().__init__()
        self.architecture = architecture
        self.special_tokens = special_tokens
        self.time_first = front_end == "fbank"
        self.ffn = (architecture.depth, int(architecture.embed_dim * architecture.mlp_ratio))
        self.vit = VisionTransformer(
            img_size=self._image(architecture.input_size),
            patch_size=self._image(architecture.patch_size),
            in_chans=1,
            num_classes=0,
            global_pool="",
            class_token=bool(special_tokens),
            embed_dim=architecture.embed_dim,
            depth=architecture.depth,
            num_heads=architecture.num_heads,
            mlp_ratio=architecture.mlp_ratio,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        bands = architecture.input_size[0]
        # As nnAudio, which M2D uses: Slaney's scale and normalisation, periodic Hann, reflection padding.
        self.mel = fbank.Fbank(bands) if self.time_first else torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, f_min=MEL_RANGE[0],
            f_max=MEL_RANGE[1], n_mels=bands, power=2.0, center=True,
            pad_mode="reflect", norm="slaney", mel_scale="slaney",
        )  # fmt: skip
        self.register_buffer("norm_stats", torch.tensor(norm_stats, dtype=torch.float32))
        # M2D pads the normalised spectrogram with zeros; AudioMAE pads before normalising.
        self._padding = -norm_stats[0] / (2 * norm_stats[1]) if self.time_first else 0.0

    def _image(self, bands_and_frames: tuple[int, int]) -> tuple[int, int]:
        """Return a (frequency, time) pair in the order of the image's axes."""
        return bands_and_frames[::-1] if self.time_first else bands_and_frames

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to normalised log-mel.

        The shape for M2D is (B, 1, bands, samples // 160 + 1). For AudioMAE it is
        (B, 1, (samples - 400) // 160 + 1, bands), and the divisor is twice the standard deviation.
        """
        mel = self.mel(wave)
        mean, std = self.norm_stats
        if self.time_first:
            return ((mel - mean) / (2 * std)).unsqueeze(1)
        return (((mel + torch.finfo(torch.float32).eps).log() - mean) / std).unsqueeze(1)

    def encode(self, features: Tensor) -> Tensor:
        """Encode normalised log-mel ``(B, 1, *image)`` to (B, ceil(frames / patch), bands / patch * D).

        Input that is longer than the model's is split into chunks of the model's length, which are encoded
        separately and joined in time. The end is padded to a whole patch.
        """
        return self._joined([self.encode_patches(patches) for patches in self._chunks(features)])

    def _chunks(self, features: Tensor) -> Iterator[Tensor]:
        """Yield the patch tokens (B, N, D) of each chunk of the encoder's input."""
        time = 2 if self.time_first else 3
        missing = -features.shape[time] % self.architecture.patch_size[1]
        features = nn.functional.pad(
            features, (0, 0, 0, missing) if self.time_first else (0, missing), value=self._padding
        )
        return map(self.embed, features.split(self.architecture.input_size[1], dim=time))

    def _joined(self, chunks: list[Tensor]) -> Tensor:
        """Join the encoded tokens of all chunks to frame features (B, T, bands * D)."""
        bands, frames = self.architecture.grid[0], []
        for chunk in chunks:
            tokens = chunk[:, self.special_tokens :]
            if self.time_first:
                grid = tokens.unflatten(1, (-1, bands))
            else:
                grid = tokens.unflatten(1, (bands, -1)).transpose(1, 2)
            frames.append(grid.flatten(2))
        return torch.cat(frames, dim=1)

    def embed(self, chunk: Tensor) -> Tensor:
        """Return patch tokens (B, N, D) with positions, without CLS, of a chunk of at most the input size."""
        patches = self.vit.patch_embed.proj(chunk)  # (B, D, *grid)
        rows, columns = patches.shape[2:]
        # A shorter input uses the first positions in time.
        positions: Any = self.vit.pos_embed  # optional in timm
        position = positions[:, self.special_tokens :].unflatten(1, self._image(self.architecture.grid))
        return patches.flatten(2).transpose(1, 2) + position[:, :rows, :columns].flatten(1, 2)

    def encode_patches(self, patches: Tensor) -> Tensor:
        """Run patch tokens (B, N, D) through the Transformer; the result starts with CLS, if present."""
        return self.vit.norm(self.vit.blocks(self._with_cls(patches)))

    def _with_cls(self, patches: Tensor) -> Tensor:
        if not self.special_tokens:
            return patches
        vit: Any = self.vit  # CLS is optional in timm
        cls = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(patches), -1, -1)
        return torch.cat([cls, patches], dim=1)

    def states(self, features: Tensor) -> list[Tensor]:
        return [self._with_cls(patches) for patches in self._chunks(features)]

    def expand(self, layer: int, state: Tensor) -> tuple[Tensor, Tensor]:
        block: Any = self.vit.blocks[layer]  # its static type is nn.Module
        mlp = block.mlp
        residual = state + block.drop_path1(block.ls1(block.attn(block.norm1(state))))
        return residual, mlp.norm(mlp.drop1(mlp.act(mlp.fc1(block.norm2(residual)))))

    def project(self, layer: int, residual: Tensor, hidden: Tensor) -> Tensor:
        block: Any = self.vit.blocks[layer]
        return residual + block.drop_path2(block.ls2(block.mlp.drop2(block.mlp.fc2(hidden))))

    def assemble(self, states: list[Tensor]) -> Tensor:
        return self._joined([self.vit.norm(state) for state in states])

    def token_seconds(self, samples: int) -> Tensor:
        frames = fbank.frames(samples) if self.time_first else samples // HOP + 1
        columns = math.ceil(frames / self.architecture.patch_size[1])
        bands, per_chunk = self.architecture.grid
        starts = torch.arange(columns) * (self.architecture.patch_size[1] * HOP / SAMPLE_RATE)
        if self.time_first:
            return starts.repeat_interleave(bands)
        return torch.cat([chunk.repeat(bands) for chunk in starts.split(per_chunk)])


def build(block: Mapping, weights: Path | None) -> ViT:
    """Build the model of a configuration block, from a checkpoint or with timm's random initialisation."""
    front_end = block.get("front_end", "logmel")
    own: dict[str, Any] = {"front_end": front_end, "special_tokens": block.get("special_tokens", 1)}
    stats = block.get("norm_stats", NORM_STATS_OF[front_end])
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(block["weights"]["seed"])
            return ViT(Architecture.of(block), tuple(stats), **own)
    state = read_checkpoint(weights)
    stats = state.pop("norm_stats", stats)
    architecture = Architecture.of({**block, **sizes_in_name(weights.parent.name)})
    mean, std = (float(s) for s in stats)
    model = ViT(architecture, (mean, std), **own)
    load_encoder(model, state, weights)
    return model


def load_encoder(model: ViT, state: Mapping[str, Tensor], path: Path) -> None:
    """Load encoder weights by name; missing, unknown or differently shaped weights are errors."""
    state = {k: v for k, v in state.items() if not k.startswith(TRAINING_ONLY)}
    if "fc_norm.weight" in state and "norm.weight" not in state:
        # With average pooling, timm normalises the mean of the tokens instead of the tokens.
        model.vit.norm = nn.Identity()
        state = {k: v for k, v in state.items() if not k.startswith("fc_norm.")}
    wanted = {k: v.shape for k, v in model.vit.state_dict().items()}
    problems = [f"missing {k}" for k in wanted if k not in state]
    problems += [f"unexpected {k}" for k in state if k not in wanted]
    problems += [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(shape)}"
        for k, shape in wanted.items()
        if k in state and state[k].shape != shape
    ]
    check_fit(
        path,
        problems,
        "Set embed_dim, depth, num_heads, mlp_ratio, input_size, patch_size, front_end and special_tokens to "
        "those of the checkpoint",
    )
    model.vit.load_state_dict(state)
