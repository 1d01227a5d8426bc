"""Encoders of transformers whose front ends are computed here, for whole batches and on any device.

Audio Spectrogram Transformer (Gong et al. 2021); wav2vec 2.0 (Baevski et al. 2020) and the models that share
its convolutions over the waveform; Whisper (Radford et al. 2022) and encoders built like it. The front ends
reproduce the library's feature extractors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audio_neurons.models import fbank
from audio_neurons.models.encoder import Encoder
from audio_neurons.models.errors import ModelError
from audio_neurons.tables import SAMPLE_RATE

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class HuggingFace(Encoder):
    """Encoder that is a model of transformers; ``ffn`` as in `Encoder`."""

    def __init__(self, model: PreTrainedModel, ffn: tuple[int, int] | None = None):
        super().__init__()
        self.model = model
        self.ffn = ffn


class Waveform(HuggingFace):
    """wav2vec 2.0 and related models: convolutions over waveforms of any length, then a Transformer.

    SEW's Transformer runs at a lower rate than its convolutions (``squeeze_factor``): its tokens are fewer
    than its frame features. Conformers have two feed-forward networks in each block.

    Parameters
    ----------
    normalize
        Whether each clip is scaled to zero mean and unit variance (``do_normalize`` of a checkpoint's
        feature extractor).
    """

    def __init__(self, model: PreTrainedModel, normalize: bool):
        config = model.config
        networks = 2 if hasattr(model, "encoder") and _has(model, "ffn2") else 1
        super().__init__(model, (config.num_hidden_layers * networks, config.intermediate_size))
        self.normalize = normalize
        self._squeeze = getattr(config, "squeeze_factor", 1)
        self._convolutions = list(zip(config.conv_kernel, config.conv_stride, strict=True))

    def front_end(self, wave: Tensor) -> Tensor:
        """Return waveforms (B, samples), standardised if ``normalize`` is set."""
        if self._frames(wave.shape[1]) < self._squeeze:
            raise ModelError(f"clips of {wave.shape[1]} samples are shorter than one token")
        if not self.normalize:
            return wave
        variance, mean = torch.var_mean(wave, dim=1, correction=0, keepdim=True)
        return (wave - mean) / (variance + 1e-7).sqrt()

    def encode(self, features: Tensor) -> Tensor:
        """Encode waveforms (B, samples) to the last hidden states (B, frames, D)."""
        encoded = self.model(features).last_hidden_state
        # SEW fills a last frame that makes no whole token with zeros.
        return encoded[:, : encoded.shape[1] // self._squeeze * self._squeeze]

    def token_seconds(self, samples: int) -> Tensor:
        hop = self._squeeze * math.prod(stride for _, stride in self._convolutions)
        return torch.arange(self._frames(samples) // self._squeeze) * (hop / SAMPLE_RATE)

    def frame_seconds(self, samples: int, frames: int) -> Tensor:
        return torch.arange(frames) * (math.prod(stride for _, stride in self._convolutions) / SAMPLE_RATE)

    def _frames(self, samples: int) -> int:
        for kernel, stride in self._convolutions:
            samples = max(0, (samples - kernel) // stride + 1)
        return samples


def _has(model: nn.Module, name: str) -> bool:
    return any(path.rsplit(".", 1)[-1] == name for path, _ in model.named_modules())


class Chunked(HuggingFace):
    """Encoder with a fixed input length: longer clips are split into chunks, and the last one is completed.

    With ``context: full`` the last chunk is padded, as in the original models: attention sees the padding,
    but its tokens are neither counted nor returned. With ``context: clip`` it has the tokens of the clip
    alone. A column of tokens belongs to the clip if any of the clip lies within a stride after its start.

    Parameters
    ----------
    grid
        Tokens of a chunk along frequency and along time; their order is frequency-major.
    length, stride
        Length of a chunk, and distance from one column of tokens to the next, in ``1 / rate`` seconds.
    context
        ``"full"`` or ``"clip"``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ffn: tuple[int, int] | None,
        grid: tuple[int, int],
        length: int,
        stride: int,
        rate: int,
        context: str,
    ):
        super().__init__(model, ffn)
        self.grid, self.length, self.stride, self.rate = grid, length, stride, rate
        self.context = context

    @property
    def whole(self) -> int:
        """Samples of a clip of exactly one chunk."""
        return self.length

    def units(self, samples: int) -> int:
        """Return the length of a clip in the units of ``length``."""
        return samples

    def columns(self, samples: int) -> list[int]:
        """Return the number of token columns in each chunk that belong to the clip, not to its padding."""
        units = self.units(samples)
        lengths = [min(self.length, units - start) for start in range(0, units, self.length)]
        return [min(math.ceil(length / self.stride), self.grid[1]) for length in lengths]

    def computed(self, samples: int) -> list[int]:
        """Return the number of token columns that are computed in each chunk."""
        columns = self.columns(samples)
        return columns if self.context == "clip" else [self.grid[1]] * len(columns)

    def frames(self, features: Tensor, samples: int) -> Tensor:
        columns, encoded = self.columns(samples), super().frames(features, samples)
        # Fewer frame features than tokens, if the encoder averages the last of them (Qwen2-Audio).
        share = encoded.shape[1] / sum(self.computed(samples))
        return encoded[:, : math.ceil(sum(columns) * share)]

    def counted(self, samples: int, run: int, special: bool = False) -> slice | Tensor:
        columns, first = self.columns(samples)[run], 0 if special else self.special_tokens
        rows, all_columns = self.grid[0], self.computed(samples)[run]
        if rows == 1 or columns == all_columns:
            return slice(first, self.special_tokens + rows * columns)
        tokens = torch.arange(rows * all_columns).view(rows, all_columns)[:, :columns].flatten()
        tokens = torch.cat([torch.arange(first, self.special_tokens), self.special_tokens + tokens])
        return tokens.to(self.device)

    def token_seconds(self, samples: int) -> Tensor:
        starts = [
            chunk * self.length + torch.arange(columns) * self.stride
            for chunk, columns in enumerate(self.columns(samples))
        ]
        return torch.cat([start.repeat(self.grid[0]) for start in starts]) / self.rate


class Spectrogram(Chunked):
    """Audio Spectrogram Transformer: overlapping patches of Kaldi's filterbank behind two special tokens.

    With ``context: clip`` the encoder is built for the clip's own length, as its authors and EVAR do (Gong et
    al., YuanGongND/ast, ``ast_models.py``): one sequence of the whole patches, with the positions around the
    middle of the trained ones; of clips longer than 10.24 s they are interpolated.
    """

    special_tokens = 2  # CLS and distillation
    spectral = True
    positions: Tensor

    def __init__(self, model: PreTrainedModel, norm_stats: tuple[float, float], context: str = "clip"):
        config = model.config
        height, width = [
            (size - config.patch_size) // stride + 1
            for size, stride in (
                (config.num_mel_bins, config.frequency_stride),
                (config.max_length, config.time_stride),
            )
        ]
        super().__init__(
            model,
            ffn=(config.num_hidden_layers, config.intermediate_size),
            grid=(height, width),
            length=config.max_length,
            stride=config.time_stride,
            rate=SAMPLE_RATE // fbank.HOP,
            context=context,
        )
        self._patch = config.patch_size
        self.register_buffer("positions", self._embeddings.position_embeddings.detach(), persistent=False)
        self.fbank = fbank.Fbank(config.num_mel_bins)
        self.normalise(*norm_stats)

    @property
    def whole(self) -> int:
        return (self.length - 1) * fbank.HOP + fbank.WINDOW

    @property
    def _embeddings(self) -> Any:
        return self.model.embeddings

    def units(self, samples: int) -> int:
        return fbank.frames(samples)

    def columns(self, samples: int) -> list[int]:
        if self.context == "full":
            return super().columns(samples)
        if (frames := self.units(samples)) < self._patch:
            raise ModelError(f"clips of {samples} samples are shorter than a patch ({self._patch} frames)")
        return [(frames - self._patch) // self.stride + 1]

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to normalised log-mel (B, frames, bands).

        With ``context: full`` the filterbank is padded to whole chunks with zeros, then normalised, as in
        training.
        """
        mel = self.log_mel(wave)
        if self.context == "full":
            mel = nn.functional.pad(mel, (0, 0, 0, -mel.shape[1] % self.length))
        return (mel - self.mean) / (2 * self.std)

    def log_mel(self, wave: Tensor) -> Tensor:
        return self.fbank(wave)

    def normalise(self, mean: float, std: float) -> None:
        self.mean, self.std = mean, std
        self.lacks_statistics = False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _fit(self, columns: int) -> None:
        """Give the encoder positions for so many columns of patches."""
        rows, trained = self.grid
        if self._embeddings.position_embeddings.shape[1] == self.special_tokens + rows * columns:
            return
        special, grid = self.positions[:, : self.special_tokens], self.positions[:, self.special_tokens :]
        grid = grid.unflatten(1, self.grid).permute(0, 3, 1, 2)  # (1, D, rows, columns)
        if columns <= trained:
            first = trained // 2 - columns // 2
            grid = grid[..., first : first + columns]
        else:
            grid = nn.functional.interpolate(grid, size=(rows, columns), mode="bilinear")
        fitted = torch.cat([special, grid.flatten(2).transpose(1, 2)], dim=1)
        self._embeddings.position_embeddings = nn.Parameter(fitted, requires_grad=False)

    def encode(self, features: Tensor) -> Tensor:
        """Encode log-mel to (B, columns, patches of a column * D), padding included."""
        outputs = []
        chunks = features.split(self.length, dim=1) if self.context == "full" else [features]
        for chunk in chunks:
            self._fit((chunk.shape[1] - self._patch) // self.stride + 1)
            tokens = self.model(chunk).last_hidden_state[:, self.special_tokens :]
            outputs.append(tokens.unflatten(1, (self.grid[0], -1)).transpose(1, 2).flatten(2))
        return torch.cat(outputs, dim=1)


class Whisper(Chunked):
    """Encoder of Whisper or built like it: log-mel chunks of 30 s, two convolutions, tokens of 20 ms.

    With ``context: clip`` the last chunk has the first of the trained positions.
    """

    FFT, HOP = 400, 160
    filters: Tensor
    window: Tensor
    positions: Tensor

    def __init__(self, model: PreTrainedModel, context: str = "full"):
        from transformers import WhisperFeatureExtractor

        config = model.config
        super().__init__(
            model,
            ffn=(config.encoder_layers, config.encoder_ffn_dim),
            grid=(1, config.max_source_positions),
            length=config.max_source_positions * 2 * self.HOP,
            stride=2 * self.HOP,
            rate=SAMPLE_RATE,
            context=context,
        )
        positions: Any = model.embed_positions
        self.register_buffer("positions", positions.weight.detach(), persistent=False)
        filters = WhisperFeatureExtractor(feature_size=config.num_mel_bins).mel_filters
        self.register_buffer("filters", torch.from_numpy(filters.T).float().contiguous())
        self.register_buffer("window", torch.hann_window(self.FFT))

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to log-mel (B, bands, frames of the computed tokens).

        Each chunk is clipped at 80 dB below its own maximum, as Whisper does with its 30 s.
        """
        chunks = zip(wave.split(self.length, dim=1), self.computed(wave.shape[1]), strict=True)
        return torch.cat([self._log_mel(chunk, columns) for chunk, columns in chunks], dim=2)

    def _log_mel(self, chunk: Tensor, columns: int) -> Tensor:
        """Return the log-mel of a chunk that is padded with silence, for so many tokens."""
        # Of fewer tokens than the model's, the last windows reach into silence, as those of 30 s do.
        length = columns * self.stride + (self.FFT if columns < self.grid[1] else 0)
        padded = nn.functional.pad(chunk, (0, length - chunk.shape[1]))
        spectrum = torch.stft(padded, self.FFT, self.HOP, window=self.window, return_complex=True)
        power = spectrum[..., : columns * self.stride // self.HOP].abs().square()
        mel = (self.filters @ power).clamp_min(1e-10).log10()
        return (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4

    def frames(self, features: Tensor, samples: int) -> Tensor:
        # Ahead of `encode`, which may be compiled; chunks of one length leave nothing to fit there.
        self._fit(self._tokens(self._split(features)[0]))
        return super().frames(features, samples)

    def encode(self, features: Tensor) -> Tensor:
        """Encode log-mel to the last hidden states (B, tokens, D), padding included."""
        return torch.cat([self._encoded(chunk) for chunk in self._split(features)], dim=1)

    def _split(self, features: Tensor) -> tuple[Tensor, ...]:
        return features.split(self.length // self.HOP, dim=2)

    def _tokens(self, chunk: Tensor) -> int:
        return chunk.shape[2] * self.HOP // self.stride

    def _encoded(self, chunk: Tensor) -> Tensor:
        model: Any = self.model
        if model.config.max_source_positions != self._tokens(chunk):
            self._fit(self._tokens(chunk))
        return model(chunk).last_hidden_state

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _fit(self, tokens: int) -> None:
        """Give the encoder positions for so many tokens, the number that it checks its input against."""
        model: Any = self.model
        if model.config.max_source_positions != tokens:
            model.embed_positions = nn.Embedding.from_pretrained(self.positions[:tokens])
            model.config.max_source_positions = tokens
