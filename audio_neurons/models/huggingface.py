"""Encoders of the transformers library, versions 4.57 to 5, each loaded from one weights file.

Audio Spectrogram Transformer (Gong et al. 2021), wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al.
2021), WavLM (Chen et al. 2022), data2vec for audio (Baevski et al. 2022), and the encoder of Whisper
(Radford et al. 2022). Architectures and weight names are the library's; the front ends reproduce its
feature extractors for whole batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audio_neurons.models import fbank
from audio_neurons.models.checkpoint import check_fit, read_checkpoint
from audio_neurons.models.encoder import Encoder
from audio_neurons.models.errors import ModelError
from audio_neurons.tables import SAMPLE_RATE

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

REMEDY = "pip install 'audio-neurons[huggingface]'"
# Name prefixes of weights that are not the encoder's: heads for classification, speech recognition,
# speaker recognition and pre-training, and Whisper's decoder.
HEADS = (
    "classifier.", "projector.", "layer_weights", "lm_head.",
    "tdnn.", "objective.", "feature_extractor.weight", "feature_extractor.bias",
    "quantizer.", "project_hid.", "project_q.",
    "decoder.", "model.decoder.", "proj_out.",
)  # fmt: skip
# A parameter that only training uses; a checkpoint may have or lack it.
TRAINING_ONLY = "masked_spec_embed"


class HuggingFace(Encoder):
    """Encoder built from a transformers model and its configuration block.

    ``options`` are the keys of the block that the class reads besides ``model_type`` and ``config``.
    """

    options: tuple[str, ...] = ()

    def __init__(self, model: PreTrainedModel, depth: int, width: int):
        super().__init__()
        self.model = model
        self.ffn = (depth, width)


class Waveform(HuggingFace):
    """wav2vec 2.0 and related models: convolutions over waveforms of any length, then a Transformer.

    Parameters
    ----------
    normalize
        Whether each clip is scaled to zero mean and unit variance (``do_normalize`` of a checkpoint's
        feature extractor).
    """

    options = ("normalize",)

    def __init__(self, model: PreTrainedModel, block: Mapping):
        super().__init__(model, model.config.num_hidden_layers, model.config.intermediate_size)
        self.normalize = block.get("normalize", True)
        self._convolutions = list(zip(model.config.conv_kernel, model.config.conv_stride, strict=True))

    def front_end(self, wave: Tensor) -> Tensor:
        """Return waveforms (B, samples), standardised if ``normalize`` is set."""
        if self._tokens(wave.shape[1]) < 1:
            raise ModelError(f"clips of {wave.shape[1]} samples are shorter than one token")
        if not self.normalize:
            return wave
        variance, mean = torch.var_mean(wave, dim=1, correction=0, keepdim=True)
        return (wave - mean) / (variance + 1e-7).sqrt()

    def encode(self, features: Tensor) -> Tensor:
        """Encode waveforms (B, samples) to the last hidden states (B, tokens, D)."""
        return self.model(features).last_hidden_state

    def token_seconds(self, samples: int) -> Tensor:
        hop = math.prod(stride for _, stride in self._convolutions)
        return torch.arange(self._tokens(samples)) * (hop / SAMPLE_RATE)

    def _tokens(self, samples: int) -> int:
        for kernel, stride in self._convolutions:
            samples = max(0, (samples - kernel) // stride + 1)
        return samples


class Chunked(HuggingFace):
    """Encoder with a fixed input length: longer clips are split into chunks, and the last chunk is padded.

    As in the original models, attention sees the padding, but its tokens are neither counted nor returned.
    A column of tokens belongs to the clip if any of the clip lies within a stride after its start.

    Parameters
    ----------
    grid
        Tokens of a chunk along frequency and along time; their order is frequency-major.
    length, stride
        Length of a chunk, and distance from one column of tokens to the next, in ``1 / rate`` seconds.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ffn: tuple[int, int],
        grid: tuple[int, int],
        length: int,
        stride: int,
        rate: int,
    ):
        super().__init__(model, *ffn)
        self.grid, self.length, self.stride, self.rate = grid, length, stride, rate

    def units(self, samples: int) -> int:
        """Return the length of a clip in the units of ``length``."""
        return samples

    def columns(self, samples: int) -> list[int]:
        """Return the number of token columns in each chunk that belong to the clip, not to its padding."""
        units = self.units(samples)
        lengths = [min(self.length, units - start) for start in range(0, units, self.length)]
        return [min(math.ceil(length / self.stride), self.grid[1]) for length in lengths]

    def frames(self, features: Tensor, samples: int) -> Tensor:
        return super().frames(features, samples)[:, : sum(self.columns(samples))]

    def counted(self, samples: int, run: int, special: bool = False) -> slice | Tensor:
        columns, first = self.columns(samples)[run], 0 if special else self.special_tokens
        rows, all_columns = self.grid
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
    """Audio Spectrogram Transformer: overlapping patches of Kaldi's filterbank behind two special tokens."""

    special_tokens = 2  # CLS and distillation
    options = ("norm_stats",)

    def __init__(self, model: PreTrainedModel, block: Mapping):
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
        )
        self.fbank = fbank.Fbank(config.num_mel_bins)
        self.mean, self.std = block.get("norm_stats", fbank.NORM_STATS)

    def units(self, samples: int) -> int:
        return fbank.frames(samples)

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to normalised log-mel (B, frames of whole chunks, bands).

        The filterbank is padded with zeros, then normalised, as in training.
        """
        mel = self.fbank(wave)
        mel = nn.functional.pad(mel, (0, 0, 0, -mel.shape[1] % self.length))
        return (mel - self.mean) / (2 * self.std)

    def encode(self, features: Tensor) -> Tensor:
        """Encode log-mel of whole chunks to (B, columns, patches of a column * D), padding included."""
        outputs = []
        for chunk in features.split(self.length, dim=1):
            tokens = self.model(chunk).last_hidden_state[:, self.special_tokens :]
            outputs.append(tokens.unflatten(1, self.grid).transpose(1, 2).flatten(2))
        return torch.cat(outputs, dim=1)


class Whisper(Chunked):
    """Encoder of Whisper: log-mel chunks of 30 s, two convolutions, one token every 20 ms."""

    FFT, HOP = 400, 160
    filters: Tensor
    window: Tensor

    def __init__(self, model: PreTrainedModel, block: Mapping):
        from transformers import WhisperFeatureExtractor

        config = model.config
        super().__init__(
            model,
            ffn=(config.num_hidden_layers, config.encoder_ffn_dim),
            grid=(1, config.max_source_positions),
            length=config.max_source_positions * 2 * self.HOP,
            stride=2 * self.HOP,
            rate=SAMPLE_RATE,
        )
        filters = WhisperFeatureExtractor(feature_size=config.num_mel_bins).mel_filters
        self.register_buffer("filters", torch.from_numpy(filters.T).float().contiguous())
        self.register_buffer("window", torch.hann_window(self.FFT))

    def front_end(self, wave: Tensor) -> Tensor:
        """Convert waveforms (B, samples) to log-mel (B, bands, frames of whole chunks).

        Each chunk is clipped at 80 dB below its own maximum, as Whisper does with its 30 s.
        """
        chunks = nn.functional.pad(wave, (0, -wave.shape[1] % self.length)).unflatten(1, (-1, self.length))
        spectrum = torch.stft(
            chunks.flatten(0, 1), self.FFT, self.HOP, window=self.window, return_complex=True
        )
        mel = (self.filters @ spectrum[..., :-1].abs().square()).clamp_min(1e-10).log10()
        mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8)
        return ((mel + 4) / 4).unflatten(0, chunks.shape[:2]).transpose(1, 2).flatten(2)

    def encode(self, features: Tensor) -> Tensor:
        """Encode log-mel of whole chunks to the last hidden states (B, tokens, D), padding included."""
        chunks = features.split(self.length // self.HOP, dim=2)
        return torch.cat([self.model(chunk).last_hidden_state for chunk in chunks], dim=1)


TYPES: dict[str, type[Waveform | Spectrogram | Whisper]] = {
    "audio-spectrogram-transformer": Spectrogram,
    "data2vec-audio": Waveform,
    "hubert": Waveform,
    "wav2vec2": Waveform,
    "wavlm": Waveform,
    "whisper": Whisper,
}


def build(block: Mapping, weights: Path | None) -> HuggingFace:
    """Build the encoder of a configuration block, from a checkpoint or with the library's initialisation."""
    library = _library()
    kind = block.get("model_type")
    if kind not in TYPES:
        raise ModelError(f"model_type {kind!r} is not supported; there are {', '.join(TYPES)}")
    if foreign := {"normalize", "norm_stats"}.difference(TYPES[kind].options) & block.keys():
        raise ModelError(f"model_type {kind} has no {', '.join(sorted(foreign))}")
    changes = block.get("config", {})
    with _quietly(library), torch.random.fork_rng(devices=[]):
        try:
            config = _config(library, kind, changes)
            cls = _class(library, kind, config)
            if weights is None:
                torch.manual_seed(block["weights"]["seed"])
                model = cls(config)
            else:
                model = load_encoder(cls, config, read_checkpoint(weights), weights)
        except ModelError:
            raise
        except Exception as error:  # the library raises errors of many types for bad values
            raise ModelError(
                f"transformers cannot build {kind} with config {dict(changes)}: {error}"
            ) from error
        return TYPES[kind](model, block)


def load_encoder(
    cls: type[PreTrainedModel], config: PretrainedConfig, state: Mapping[str, Tensor], path: Path
) -> PreTrainedModel:
    """Load an encoder from a state dict with or without a head, with names of transformers 4 or 5.

    Missing weights, wrong shapes, and unexpected weights other than `HEADS` are errors. `TRAINING_ONLY`
    may be missing or present.
    """
    state = {k: v for k, v in state.items() if not k.startswith(HEADS)}
    if cls.__name__ == "WhisperEncoder":  # the library does not strip these prefixes itself
        state = {k.removeprefix("model.").removeprefix("encoder."): v for k, v in state.items()}
    loaded: Any = cls.from_pretrained(
        None,
        config=config,
        state_dict=state,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    model, found = loaded  # the annotations of transformers omit the second value
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    mismatched = [key if isinstance(key, str) else key[0] for key in found["mismatched_keys"]]
    problems = [f"missing {k}" for k in sorted(found["missing_keys"]) if not k.endswith(TRAINING_ONLY)]
    problems += [f"unexpected {k}" for k in sorted(found["unexpected_keys"]) if not k.endswith(TRAINING_ONLY)]
    problems += [f"{k} is not {shapes[k]}" for k in sorted(mismatched)]
    check_fit(path, problems, "Set config where the checkpoint differs from the default of its model_type")
    return model


def _library() -> ModuleType:
    """Import transformers, which is optional, and check its version."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ModelError(f"adapter huggingface needs the library transformers: {REMEDY}") from error
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if not (4, 57) <= version < (6,):
        raise ModelError(f"transformers {transformers.__version__} is not supported, use 4.57 to 5: {REMEDY}")
    return transformers


def _config(library: ModuleType, kind: str, changes: Mapping) -> PretrainedConfig:
    """Return the default configuration of a model type with changes applied; unknown keys are errors."""
    default = library.AutoConfig.for_model(kind)
    if unknown := changes.keys() - default.to_dict().keys() - default.attribute_map.keys():
        raise ModelError(f"config: {kind} has no {', '.join(sorted(unknown))}")
    return library.AutoConfig.for_model(kind, **changes)


def _class(library: ModuleType, kind: str, config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the class of the bare encoder."""
    if kind == "whisper":
        return library.models.whisper.modeling_whisper.WhisperEncoder
    return library.MODEL_MAPPING[type(config)]


@contextmanager
def _quietly(library: ModuleType) -> Iterator[None]:
    """Silence warnings and progress bars of transformers; the adapter does its own checks."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
