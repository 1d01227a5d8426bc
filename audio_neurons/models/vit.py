"""Vision Transformers over spectrograms, as defined by Masked Modeling Duo (M2D) and AudioMAE.

The Transformer is timm's, and the front ends use torchaudio. With ``front_end: logmel`` the encoder is
numerically equal to M2D's portable runtime (nttcslab/m2d, ``examples/portable_m2d.py``), and reads M2D's
released checkpoints, pre-trained or fine-tuned, at 16 and 32 kHz. With ``front_end: fbank`` it reads timm's
ports of AudioMAE, whose images have time along their first axis.

Niizumi et al., "Masked Modeling Duo: Towards a Universal Audio Pre-training Framework",
IEEE/ACM TASLP 2024; Huang et al., "Masked Autoencoders that Listen", NeurIPS 2022.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import torchaudio
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from audio_neurons.models import fbank, names
from audio_neurons.models.checkpoint import check_fit, in_words, open_checkpoint
from audio_neurons.models.encoder import Encoder
from audio_neurons.models.errors import ModelError
from audio_neurons.models.facts import CHECKPOINT, CONFIGURATION, DATASET, DEFAULT, Claims
from audio_neurons.tables import SAMPLE_RATE

WINDOW, HOP = 400, 160  # samples at 16 kHz: 25 ms and 10 ms, as at any other sampling rate
LOWEST = 50.0  # Hz; the highest band ends at half the sampling rate
# Mean and standard deviation of the pre-training data of M2D and AudioMAE, for checkpoints without them.
NORM_STATS = (-7.1, 4.2)
NORM_STATS_OF = {"logmel": NORM_STATS, "fbank": fbank.NORM_STATS}
# Name prefixes of weights in a training checkpoint that the encoder does not need: of M2D, of M2D-X (AS and
# S), and of M2D-CLAP.
TRAINING_ONLY = (
    "mask_token", "decoder_", "target_", "head.",
    "offline_predictor.",
    "audio_proj.", "text_proj.", "logit_scale",
)  # fmt: skip
# The end of the key that every Vision Transformer has once, whatever its trainer wrote before it.
ANCHOR = "patch_embed.proj.weight"
TENSORS = "the shapes of its weights"
# Keys of a configuration block that say what a model is.
KEYS = (
    "input_size", "patch_size", "sample_rate",
    "embed_dim", "depth", "num_heads", "mlp_ratio", "special_tokens",
)  # fmt: skip


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


def mel_spectrogram(bands: int, sample_rate: int) -> torchaudio.transforms.MelSpectrogram:
    """Return M2D's mel spectrogram: (B, samples) to powers (B, bands, samples // hop + 1).

    As nnAudio, which M2D uses: Slaney's scale and normalisation, periodic Hann, reflection padding.
    """
    window = WINDOW * sample_rate // SAMPLE_RATE
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=window, win_length=window, hop_length=hop(sample_rate), f_min=LOWEST,
        f_max=sample_rate / 2, n_mels=bands, power=2.0, center=True,
        pad_mode="reflect", norm="slaney", mel_scale="slaney",
    )  # fmt: skip


def hop(sample_rate: int) -> int:
    """Return the samples from one frame of M2D's spectrogram to the next: 10 ms."""
    return HOP * sample_rate // SAMPLE_RATE


def logarithm(mel: Tensor) -> Tensor:
    """Return the logarithm of a mel spectrogram as M2D takes it."""
    return (mel + torch.finfo(torch.float32).eps).log()


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
    sample_rate
        Of the waveforms, in Hz. Windows have 25 ms every 10 ms at any rate.
    """

    stepwise = True
    spectral = True
    norm_stats: Tensor

    def __init__(
        self,
        architecture: Architecture,
        norm_stats: tuple[float, float] = NORM_STATS,
        front_end: str = "logmel",
        special_tokens: int = 1,
        sample_rate: int = SAMPLE_RATE,
    ):
        super().__init__()
        if front_end == "fbank" and sample_rate != SAMPLE_RATE:
            raise ModelError(f"front_end fbank has no sample_rate {sample_rate}, only {SAMPLE_RATE}")
        self.architecture = architecture
        self.sample_rate = sample_rate
        self.hop = hop(sample_rate)
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
        self.mel = fbank.Fbank(bands) if self.time_first else mel_spectrogram(bands, sample_rate)
        self.register_buffer("norm_stats", torch.empty(2))
        self.normalise(*norm_stats)

    def _image(self, bands_and_frames: tuple[int, int]) -> tuple[int, int]:
        """Return a (frequency, time) pair in the order of the image's axes."""
        return bands_and_frames[::-1] if self.time_first else bands_and_frames

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to normalised log-mel.

        The shape for M2D is (B, 1, bands, samples // hop + 1). For AudioMAE it is
        (B, 1, (samples - 400) // 160 + 1, bands), and the divisor is twice the standard deviation.
        """
        mean, std = self.norm_stats
        return ((self.log_mel(wave) - mean) / (2 * std if self.time_first else std)).unsqueeze(1)

    def log_mel(self, wave: Tensor) -> Tensor:
        mel = self.mel(wave)
        return mel if self.time_first else logarithm(mel)

    def normalise(self, mean: float, std: float) -> None:
        self.norm_stats = torch.tensor([mean, std], dtype=torch.float32, device=self.norm_stats.device)
        # M2D pads the normalised spectrogram with zeros; AudioMAE pads before normalising.
        self._padding = -mean / (2 * std) if self.time_first else 0.0
        self.lacks_statistics = False

    def encode(self, features: Tensor) -> Tensor:
        """Encode normalised log-mel ``(B, 1, *image)`` to (B, columns of patches, bands / patch * D).

        Input that is longer than the model's is split into chunks of the model's length, which are encoded
        separately and joined in time. The end is padded to a whole patch. A length that is not a multiple of
        the patch's (1001 frames) leaves out its last frames, as M2D's runtime does.
        """
        return self._joined([self.encode_patches(patches) for patches in self._chunks(features)])

    def _chunks(self, features: Tensor) -> Iterator[Tensor]:
        """Yield the patch tokens (B, N, D) of each chunk of the encoder's input."""
        time = 2 if self.time_first else 3
        length, patch = self.architecture.input_size[1], self.architecture.patch_size[1]
        for chunk in features.split(length, dim=time):
            missing = min(-chunk.shape[time] % patch, length - chunk.shape[time])
            padding = (0, 0, 0, missing) if self.time_first else (0, missing)
            yield self.embed(nn.functional.pad(chunk, padding, value=self._padding))

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
        frames = fbank.frames(samples) if self.time_first else samples // self.hop + 1
        length, patch = self.architecture.input_size[1], self.architecture.patch_size[1]
        bands, columns = self.architecture.grid
        starts = [
            first + patch * torch.arange(min(math.ceil((frames - first) / patch), columns))
            for first in range(0, frames, length)
        ]
        seconds = self.hop / self.sample_rate
        if self.time_first:
            return torch.cat(starts).repeat_interleave(bands) * seconds
        return torch.cat([chunk.repeat(bands) for chunk in starts]) * seconds


def build(block: Mapping, weights: Path | None) -> ViT:
    """Build the model of a configuration block, from a checkpoint or with timm's random initialisation.

    What the block, the name of the checkpoint's folder and the shapes of the weights say must agree; the
    model's ``origins`` tell what was read from where.
    """
    found = None if weights is None else _found(weights)
    claims = _claims(block, weights, found)
    if problems := list(claims.problems()):
        place = weights or _file(block)
        raise ModelError(f"{place}: {'; '.join(problems)}")
    keys = ("norm_stats", "front_end", "special_tokens", "sample_rate")
    own: dict[str, Any] = {key: claims[key] for key in keys if claims[key] != DATASET}
    architecture = Architecture(**{key: claims[key] for key in Architecture.__dataclass_fields__})
    if found is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(block["weights"]["seed"])
            model = ViT(architecture, **own)
    else:
        model = ViT(architecture, **own)
        load_encoder(model, found.state, found.path)
    model.origins = claims.origins() + (found.around if found else ())
    return model


@dataclass(frozen=True)
class Found:
    """Weights of an encoder under timm's names, its own statistics, and what was around it in the file."""

    path: Path
    state: dict[str, Tensor]
    norm_stats: Tensor | None
    around: tuple[tuple[str, str, str], ...]


def _found(path: Path) -> Found:
    """Return the Vision Transformer in a checkpoint, without the prefix that its trainer wrote before it.

    Raises
    ------
    ModelError
        If there is none, or more than one; the message describes the keys.
    """
    everything, entry = open_checkpoint(path)
    prefixes = [k.removesuffix(ANCHOR) for k in everything if k == ANCHOR or k.endswith(f".{ANCHOR}")]
    if len(prefixes) != 1:
        several = f"{len(prefixes)}, behind {', '.join(sorted(prefixes)[:4])}" if prefixes else "none"
        place = f" under {'.'.join(entry)}" if entry else ""
        raise ModelError(
            f"{path}: looked for one Vision Transformer, by a key that ends in {ANCHOR}, and found "
            f"{several}; there are {len(everything)} tensors{place}: {in_words(list(everything))}"
        )
    prefix = prefixes[0]
    own = {k.removeprefix(prefix): v for k, v in everything.items() if k.startswith(prefix)}
    stats = own.pop("norm_stats", everything.get("norm_stats"))
    state = {k: v for k, v in own.items() if not k.startswith(TRAINING_ONLY)}
    left = [k for k in own if k not in state] + [k for k in everything if not k.startswith(prefix)]
    around = {"entry": ".".join(entry), "prefix": prefix, "left out": in_words(left) if left else ""}
    return Found(path, state, stats, tuple((key, told, CHECKPOINT) for key, told in around.items() if told))


def _claims(block: Mapping, weights: Path | None, found: Found | None) -> Claims:
    """Return what the block, the folder's name, the weights and our defaults say of a model.

    Raises
    ------
    ModelError
        If the weights do not show something that nothing else says.
    """
    claims, trained_here = Claims(), block.get("weights", {}).get("source") == "training"
    front_end = block.get("front_end") or "logmel"
    claims.add(CONFIGURATION, **{key: block[key] for key in KEYS if block.get(key) is not None})
    if front_end == "logmel" and not trained_here:
        claims.add(names.SOURCE, **names.facts((weights or _file(block)).parent.name))
    if found is not None:
        claims.add(TENSORS, **_sizes(found.state, front_end, claims.get("mlp_ratio")))
        if found.norm_stats is not None and block.get("norm_stats") != DATASET:
            claims.add(CHECKPOINT, norm_stats=found.norm_stats.tolist())
        width = claims.get("embed_dim", Architecture.embed_dim)
        unknown = "num_heads" not in claims and not trained_here and width != Architecture.embed_dim
        if unknown and not any(claims.problems()):  # a contradiction is told first
            raise ModelError(
                f"{found.path}: num_heads is missing, and no shape shows it; the width is {width}, and "
                "timm's Vision Transformers have one head for every 64"
            )
    if (stats := block.get("norm_stats")) is not None:
        # Rounded as those of a checkpoint are.
        own = stats if stats == DATASET else torch.tensor(stats, dtype=torch.float32).tolist()
        claims.add(CONFIGURATION, norm_stats=own)
    claims.add(CONFIGURATION if block.get("front_end") else DEFAULT, front_end=front_end)
    sizes: dict[str, Any] = {name: field.default for name, field in Architecture.__dataclass_fields__.items()}
    claims.default(**sizes, special_tokens=1, sample_rate=SAMPLE_RATE, norm_stats=NORM_STATS_OF[front_end])
    if found is not None and "pos_embed" in found.state:
        rows, columns = (a // b for a, b in zip(claims["input_size"], claims["patch_size"], strict=True))
        claims.add(f"{claims.fact('input_size')}, {claims.fact('patch_size')}", positions=rows * columns)
        own = found.state["pos_embed"].shape[-2] - claims["special_tokens"]
        claims.add("the length of pos_embed", positions=own)
    return claims


def _file(block: Mapping) -> PurePosixPath:
    """Return the name of a checkpoint that is not here yet."""
    return PurePosixPath(block.get("weights", {}).get("file", ""))


def _sizes(state: Mapping[str, Tensor], front_end: str, ratio: float | None) -> dict[str, Any]:
    """Return the sizes that the shapes of weights show; ``ratio`` is left alone if it gives their width."""
    patches = state[ANCHOR]
    blocks = [int(key.split(".")[1]) for key in state if re.match(r"blocks\.\d+\.", key)]
    sizes: dict[str, Any] = {
        "embed_dim": patches.shape[0],
        "patch_size": tuple(patches.shape[2:][::-1] if front_end == "fbank" else patches.shape[2:]),
        "depth": max(blocks, default=-1) + 1,
        "special_tokens": int("cls_token" in state),
    }
    hidden = state.get("blocks.0.mlp.fc1.weight")
    if hidden is not None and (ratio is None or int(patches.shape[0] * ratio) != hidden.shape[0]):
        sizes["mlp_ratio"] = hidden.shape[0] / patches.shape[0]
    return sizes


def load_encoder(model: ViT, state: Mapping[str, Tensor], path: Path) -> None:
    """Load encoder weights by name; missing, unknown or differently shaped weights are errors."""
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
    check_fit(path, problems)
    model.vit.load_state_dict(state)
