"""Vision Transformers over spectrograms, as Masked Modeling Duo (M2D) and AudioMAE define them.

The Transformer is timm's; the front ends are torchaudio's. With ``front_end: logmel`` this is
numerically M2D's own portable runtime (nttcslab/m2d, ``examples/portable_m2d.py``), and it reads M2D's
released checkpoints. With ``front_end: fbank`` it reads timm's ports of AudioMAE, whose images have time
along their first side.

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
# Of the pre-training data, where a checkpoint carries none of its own: M2D's, and AudioMAE's.
NORM_STATS = (-7.1, 4.2)
NORM_STATS_OF = {"logmel": NORM_STATS, "fbank": fbank.NORM_STATS}
# Parts of a training checkpoint that the encoder does not need.
TRAINING_ONLY = ("mask_token", "decoder_", "target_", "head.")


@dataclass(frozen=True)
class Architecture:
    """Sizes of a ViT over log-mel: (mel bands, frames), (bands, frames) of a patch, and the widths.

    Bands come first here, whatever the image.
    """

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
    """Patch tokens of a spectrogram, behind one CLS token or none.

    Parameters
    ----------
    norm_stats
        Mean and standard deviation of the spectrogram.
    front_end
        ``"logmel"``: M2D's, an image (bands, frames), hence tokens frequency-major. ``"fbank"``: Kaldi's
        filterbank as AudioMAE has it, an image (frames, bands), hence tokens time-major.
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
        # nnAudio's mel, which M2D uses: Slaney's scale and normalisation, periodic Hann, reflected ends.
        self.mel = fbank.Fbank(bands) if self.time_first else torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, f_min=MEL_RANGE[0],
            f_max=MEL_RANGE[1], n_mels=bands, power=2.0, center=True,
            pad_mode="reflect", norm="slaney", mel_scale="slaney",
        )  # fmt: skip
        self.register_buffer("norm_stats", torch.tensor(norm_stats, dtype=torch.float32))
        # M2D pads the normalised spectrogram with zeros, AudioMAE the one before.
        self._padding = -norm_stats[0] / (2 * norm_stats[1]) if self.time_first else 0.0

    def _image(self, bands_and_frames: tuple[int, int]) -> tuple[int, int]:
        """A pair along frequency and along time, in the order of the image's sides."""
        return bands_and_frames[::-1] if self.time_first else bands_and_frames

    def front_end(self, wave: Tensor) -> Tensor:
        """Waveforms (B, samples) to normalised log-mel.

        M2D's is (B, 1, bands, samples // 160 + 1); AudioMAE's (B, 1, (samples - 400) // 160 + 1, bands),
        divided by twice the standard deviation.
        """
        mel = self.mel(wave)
        mean, std = self.norm_stats
        if self.time_first:
            return ((mel - mean) / (2 * std)).unsqueeze(1)
        return (((mel + torch.finfo(torch.float32).eps).log() - mean) / std).unsqueeze(1)

    def encode(self, features: Tensor) -> Tensor:
        """Normalised log-mel ``(B, 1, *image)`` to (B, ceil(frames / patch), bands / patch * D).

        Longer input than the model's is cut into chunks of its length, encoded one by one and joined
        in time; the end is padded to a whole patch.
        """
        return self._joined([self.encode_patches(patches) for patches in self._chunks(features)])

    def _chunks(self, features: Tensor) -> Iterator[Tensor]:
        """The encoder's input to the patch tokens (B, N, D) of each chunk."""
        time = 2 if self.time_first else 3
        missing = -features.shape[time] % self.architecture.patch_size[1]
        features = nn.functional.pad(
            features, (0, 0, 0, missing) if self.time_first else (0, missing), value=self._padding
        )
        return map(self.embed, features.split(self.architecture.input_size[1], dim=time))

    def _joined(self, chunks: list[Tensor]) -> Tensor:
        """Encoded tokens of each chunk to frame features (B, T, bands * D)."""
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
        """Log-mel of at most the input's length to patch tokens with positions (B, N, D), without CLS."""
        patches = self.vit.patch_embed.proj(chunk)  # (B, D, *grid)
        rows, columns = patches.shape[2:]
        # A shorter input uses the first positions in time.
        positions: Any = self.vit.pos_embed  # timm has models without
        position = positions[:, self.special_tokens :].unflatten(1, self._image(self.architecture.grid))
        return patches.flatten(2).transpose(1, 2) + position[:, :rows, :columns].flatten(1, 2)

    def encode_patches(self, patches: Tensor) -> Tensor:
        """Patch tokens (B, N, D) through the Transformer: CLS, where there is one, and patches."""
        return self.vit.norm(self.vit.blocks(self._with_cls(patches)))

    def _with_cls(self, patches: Tensor) -> Tensor:
        if not self.special_tokens:
            return patches
        vit: Any = self.vit  # timm has models without CLS
        cls = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(patches), -1, -1)
        return torch.cat([cls, patches], dim=1)

    def states(self, features: Tensor) -> list[Tensor]:
        return [self._with_cls(patches) for patches in self._chunks(features)]

    def expand(self, layer: int, state: Tensor) -> tuple[Tensor, Tensor]:
        block: Any = self.vit.blocks[layer]  # as whose type mypy knows nn.Module
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
    """The model of a configuration block, from a checkpoint or randomly initialised (timm's scheme)."""
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
    """Load encoder weights by name; nothing may be missing, unknown, or of another shape."""
    state = {k: v for k, v in state.items() if not k.startswith(TRAINING_ONLY)}
    if "fc_norm.weight" in state and "norm.weight" not in state:
        # timm's average pooling normalises the mean of the tokens, not the tokens.
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
        "the checkpoint's own",
    )
    model.vit.load_state_dict(state)
