"""Encoders of the transformers library, versions 4.57 to 5: from the Hub, a folder, or weights alone.

Architectures and weight names are the library's. Which class of it is the audio encoder is found in the model
that config.json names; front ends are in :mod:`~audio_neurons.models.towers` and
:mod:`~audio_neurons.models.extracted`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from audio_neurons.models import fbank, folder
from audio_neurons.models.encoder import networks_of
from audio_neurons.models.errors import ModelError
from audio_neurons.models.extracted import Extracted, Htsat
from audio_neurons.models.facts import DATASET, FOR_NORM_STATS
from audio_neurons.models.state import load_encoder
from audio_neurons.models.towers import Chunked, HuggingFace, Spectrogram, Waveform, Whisper
from audio_neurons.models.unseen import unseen
from audio_neurons.settings.models import CONTEXTS

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

REMEDY = "pip install 'audio-neurons[huggingface]'"
# What transformers calls the audio encoder inside a model of several modalities.
TOWERS = ("audio_tower", "audio_model", "audio_encoder", "speech_encoder")
# Feature extractors that the towers' front ends reproduce.
OURS = ("ASTFeatureExtractor", "Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor")


@dataclass(frozen=True)
class Source:
    """What an encoder is built from.

    Attributes
    ----------
    config, values
        The configuration of the whole model, and the values of the file that it was read from (empty
        without).
    extractor
        Feature extractor of its preprocessor_config.json; ``None`` without.
    files
        Files of the weights; none for a random initialisation.
    where
        Name of config.json in messages.
    """

    config: PretrainedConfig
    values: Mapping[str, Any]
    extractor: Any
    files: list[Path]
    where: str


def build(block: Mapping, weights: Path | None) -> HuggingFace:
    """Build the encoder of a configuration block, from a checkpoint or with the library's initialisation.

    ``weights`` is a checkpoint, or the config.json of a folder. A config.json beside a checkpoint is read
    too.
    """
    transformers = library()
    with quietly(transformers), torch.random.fork_rng(devices=[]):
        try:
            source = _source(transformers, block, weights)
            part, whole = _part(transformers, source.config)
            changed(part.config, block.get("config", {}), source)
            cls: Any = type(part)
            if source.files:
                advice = (
                    f"{source.where} names the architecture {source.config.model_type}; are the weights of "
                    "another?"
                    if source.values
                    else "Set config where the checkpoint differs from the default of its model_type"
                )
                model = load_encoder(cls, part.config, source.files, whole, advice)
            else:
                torch.manual_seed(block["weights"]["seed"])
                model = cls(part.config)
            encoder = encoder_of(model.eval(), block, source)
            if source.files and not source.values:
                _demand(encoder, block, source.files[0])
            encoder.origins = _origins(encoder, block, source)
            return encoder
        except ModelError:
            raise
        except Exception as error:  # the library raises errors of many types for bad values
            raise ModelError(
                f"transformers cannot build {block.get('model_type') or weights} with config "
                f"{dict(block.get('config', {}))}: {error}"
            ) from error


def _demand(encoder: HuggingFace, block: Mapping, path: Path) -> None:
    """Raise for values that the weights do not show and the block does not give.

    A default in their place would be another model without a word.
    """
    samples = encoder.whole if isinstance(encoder, Chunked) else encoder.sample_rate // 5
    wave = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    keys = unseen(encoder.model, encoder.front_end(wave), block.get("config", {}))
    lacking = [f"config.{key}" for key in keys]
    lacking += ["normalize"] if isinstance(encoder, Waveform) and "normalize" not in block else []
    lacking += ["norm_stats"] if isinstance(encoder, Spectrogram) and "norm_stats" not in block else []
    if lacking:
        raise ModelError(
            f"the weights in {path} do not show {', '.join(lacking)}: put the checkpoint's config.json and "
            "preprocessor_config.json beside them (or use hub or folder), or set these keys to what they say"
        )


def _source(library: ModuleType, block: Mapping, weights: Path | None) -> Source:
    """Read config.json and preprocessor_config.json, or the defaults of ``model_type``."""
    kind = block.get("model_type")
    beside = weights.parent / folder.CONFIG if weights else None
    if weights is None or beside is None or not beside.is_file():
        if kind is None:
            raise ModelError("missing key(s) model_type")
        files = [weights] if weights else []
        return Source(_default(library, kind), {}, None, files, f"the default of {kind}")
    values = folder.read_json(beside)
    _refuse_remote_code(values, beside)
    found = values.get("model_type")
    if kind is not None and kind != found:
        raise ModelError(f"model_type is {kind} in the configuration, but {found} in {beside}")
    if not isinstance(found, str):
        raise ModelError(f"{beside} names no model_type; is it a model of transformers?")
    _default(library, found)
    config = library.AutoConfig.from_pretrained(str(beside.parent), local_files_only=True)
    files = folder.weight_files(beside.parent) if weights.suffix == ".json" else [weights]
    return Source(config, values, _extractor(library, beside.parent, config), files, str(beside))


def _default(library: ModuleType, kind: Any) -> PretrainedConfig:
    """Return the default configuration of a model type."""
    known = list(library.CONFIG_MAPPING)
    if kind not in known:
        near = difflib.get_close_matches(str(kind), known, 1)
        raise ModelError(
            f"transformers {library.__version__} has no model_type {kind!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return library.AutoConfig.for_model(kind)


def _refuse_remote_code(values: Mapping, path: Path) -> None:
    if values.get("auto_map"):
        raise ModelError(
            f"{path} asks to run code of its own (auto_map), which is refused. If transformers itself has "
            "the "
            f"architecture ({values.get('model_type')}), take auto_map out of that file in a folder of your "
            "own; "
            "else write an adapter (docs/add-a-model.md)"
        )


def _extractor(library: ModuleType, path: Path, config: PretrainedConfig) -> Any:
    """Return the feature extractor of a folder; ``None`` without a file that describes it."""
    found = next((path / name for name in folder.PREPROCESSORS if (path / name).is_file()), None)
    if found is None:
        return None
    for name in folder.PREPROCESSORS:
        if (path / name).is_file():
            values = folder.read_json(path / name)
            _refuse_remote_code({**values, "model_type": config.model_type}, path / name)
    return library.AutoFeatureExtractor.from_pretrained(str(path), config=config, local_files_only=True)


def _part(library: ModuleType, config: PretrainedConfig) -> tuple[PreTrainedModel, list[str]]:
    """Return the audio encoder in a configuration's model, without weights, and all tensors' names."""
    with torch.device("meta"):
        whole = whole_class(library, config)(config)
    return audio_part(library, whole), list(whole.state_dict())


def default_networks(kind: str) -> dict[str, nn.Linear]:
    """Return the feed-forward networks of a model type's default configuration, without weights."""
    transformers = library()
    part, _ = _part(transformers, _default(transformers, kind))
    return networks_of(part)


def whole_class(library: ModuleType, config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the class of a configuration's model: the one that it names, or the library's bare one."""
    name = next(iter(config.architectures or ()), None)
    cls = getattr(library, name, None) if name else None
    mappings = ("MODEL_MAPPING", "MODEL_FOR_PRETRAINING_MAPPING", "MODEL_FOR_CTC_MAPPING")
    for mapping in (getattr(library, name) for name in mappings):
        if cls is None and type(config) in mapping:
            cls = mapping[type(config)]
    if cls is None:
        raise ModelError(f"transformers has no model for {config.model_type}")
    return cls


def audio_part(library: ModuleType, whole: PreTrainedModel) -> PreTrainedModel:
    """Return the audio encoder of a model.

    It is what is named as in `TOWERS`; else the ``encoder`` beside a ``decoder``; else all of it.
    """
    models = {n: m for n, m in whole.named_modules() if isinstance(m, library.PreTrainedModel)}
    towers = [m for n, m in models.items() if n.rsplit(".", 1)[-1] in TOWERS]
    paths = {n for n, _ in whole.named_modules()}
    encoders = [
        m for n, m in models.items()
        if n.rsplit(".", 1)[-1] == "encoder" and f"{n.removesuffix('encoder')}decoder" in paths
    ]  # fmt: skip
    return (*towers, *encoders, whole.base_model)[0]


def _origins(encoder: HuggingFace, block: Mapping, source: Source) -> tuple[tuple[str, str, str], ...]:
    """Return what decides the numbers beside the weights, and where it was read."""
    from transformers import PretrainedConfig

    config, told, changes = (
        encoder.model.config,
        _told(source.values, encoder.model.config),
        block.get("config", {}),
    )
    default = "random initialisation's default" if not source.files else "transformers' default"
    found = [("model_type", str(config.model_type), source.where if source.values else "configuration")]
    for key, value in config.to_dict().items():
        if key not in PretrainedConfig().to_dict():
            names = {key, *(k for k, v in config.attribute_map.items() if v == key)}
            where = source.where if names & told.keys() else default
            found.append((key, str(value), "configuration" if names & changes.keys() else where))
    if block.get("norm_stats") == DATASET:
        found.append(("norm_stats", DATASET, "configuration"))
    for key, value in (
        ("normalize", getattr(encoder, "normalize", None)),
        ("mean", getattr(encoder, "mean", None)),
        ("std", getattr(encoder, "std", None)),
        ("sampling_rate", encoder.sample_rate),
    ):
        if value is not None and not (key in ("mean", "std") and block.get("norm_stats") == DATASET):
            own = "configuration" if {"normalize", "norm_stats"} & block.keys() else default
            found.append(
                (key, str(value), "preprocessor_config.json" if source.extractor is not None else own)
            )
    return tuple(found)


def changed(config: PretrainedConfig, changes: Mapping[str, Any], source: Source) -> None:
    """Set the values of a block's ``config``; unknown keys and other values than the file's are errors."""
    named = {**config.attribute_map, **{key: key for key in config.to_dict()}}
    if unknown := changes.keys() - named.keys():
        near = difflib.get_close_matches(min(unknown), list(named), 1)
        raise ModelError(
            f"config: {config.model_type} has no {', '.join(sorted(unknown))}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    told = _told(source.values, config)
    for key, value in changes.items():
        names = {key, named[key], *(k for k, v in config.attribute_map.items() if v == named[key])}
        for name in names & told.keys():
            if told[name] != value:
                raise ModelError(
                    f"config.{key} is {value!r} in the configuration, but {told[name]!r} in {source.where}"
                )
        setattr(config, key, value)


def _told(values: Mapping[str, Any], config: PretrainedConfig) -> Mapping[str, Any]:
    """Return the values of config.json that are the encoder's: of a larger model, those of its section."""
    if values.get("model_type") in (None, config.model_type):
        return values
    inner = (one for one in values.values() if isinstance(one, Mapping))
    return next((one for one in inner if one.get("model_type") == config.model_type), values)


def encoder_of(model: PreTrainedModel, block: Mapping, source: Source) -> HuggingFace:
    """Return the encoder, with the front end that its feature extractor asks for."""
    config, extractor = model.config, source.extractor
    kind = type(extractor).__name__ if extractor is not None else None
    options = {"normalize", "norm_stats", "context"} & block.keys()
    context = block.get("context") or CONTEXTS.get(config.model_type, "full")

    def ours(name: str, *keys: str) -> bool:
        """Whether a tower of this extractor fits, and reads these options of the block."""
        if kind not in (None, name):
            return False
        if foreign := options.difference(keys):
            raise ModelError(
                f"model_type {config.model_type} has no {', '.join(sorted(foreign))}"
                + (f"; {FOR_NORM_STATS}" if "norm_stats" in foreign else "")
            )
        return True

    made: HuggingFace
    if config.model_type == "audio-spectrogram-transformer" and ours(
        "ASTFeatureExtractor", "norm_stats", "context"
    ):
        made = Spectrogram(model, _norm_stats(block, extractor), context)
    elif hasattr(config, "conv_stride") and ours("Wav2Vec2FeatureExtractor", "normalize"):
        made = Waveform(model, _normalize(block, extractor))
    elif (
        hasattr(config, "max_source_positions")
        and _as_whisper(model)
        and ours("WhisperFeatureExtractor", "context")
    ):
        made = Whisper(model, context)
    else:
        ours(str(kind))
        if extractor is None:
            raise ModelError(
                f"the input of {config.model_type} is described by a preprocessor_config.json, which is not "
                "here; "
                "use hub or folder"
            )
        made = (Htsat if config.model_type == "clap_audio_model" else Extracted)(model, extractor)
    if extractor is not None:
        made.sample_rate = extractor.sampling_rate
    return made


def _as_whisper(model: PreTrainedModel) -> bool:
    """Whether an encoder has Whisper's two convolutions over log-mel, the second with a stride of 2."""
    strides = [getattr(getattr(model, name, None), "stride", None) for name in ("conv1", "conv2")]
    return strides == [(1,), (2,)] and model.main_input_name == "input_features"


def _normalize(block: Mapping, extractor: Any) -> bool:
    """Return whether waveforms are standardised: as the extractor says; without one as the block says."""
    value = block.get("normalize")
    if extractor is not None:
        if value not in (None, extractor.do_normalize):
            raise ModelError(
                f"normalize is {value} in the configuration, but do_normalize is {extractor.do_normalize} in "
                "preprocessor_config.json"
            )
        return bool(extractor.do_normalize)
    return True if value is None else value


def _norm_stats(block: Mapping, extractor: Any) -> tuple[float, float]:
    """Return mean and standard deviation of the log-mel: the extractor's; without one the block's."""
    value = block.get("norm_stats")
    if value == DATASET:
        return fbank.NORM_STATS  # until the dataset's are given
    if extractor is not None:
        # The front end divides by twice the deviation, as AST does; 0.5 divides by nothing.
        own = (extractor.mean, extractor.std) if extractor.do_normalize else (0.0, 0.5)
        if value is not None and tuple(value) != own:
            raise ModelError(
                f"norm_stats are {list(value)} in the configuration, but {list(own)} in "
                "preprocessor_config.json"
            )
        return own
    return tuple(value) if value is not None else fbank.NORM_STATS


def library() -> ModuleType:
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


@contextmanager
def quietly(library: ModuleType) -> Iterator[None]:
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
