"""Encoders: ``models`` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from audio_neurons.settings.datasets import Sha256
from audio_neurons.settings.section import NULLABLE, Count, Section, Seed, Text
from audio_neurons.settings.training import PooledTraining

Size = tuple[Count, Count]
# What encoders with a fixed input length do with shorter clips, by model_type; others are padded ("full").
CONTEXTS = {
    "audio-spectrogram-transformer": "clip", "whisper": "full",
    "qwen2_audio": "full", "qwen2_audio_encoder": "full",
}  # fmt: skip
# What captions say of it.
CONTEXT_NOTES = {
    "clip": "It encodes clips at their own length (context: clip).",
    "full": "It encodes clips padded to its full length (context: full).",
    # Of a model of the Hub, the architecture is not known before its download.
    "hub": "If its input has a fixed length, clips are padded to it, or by AST heard at their own (context).",
}

# What they say of norm_stats: dataset.
DATASET_NOTE = (
    "Its spectrograms are normalised by mean and standard deviation over training clips of each dataset "
    "(norm_stats: dataset), which are in results/norm_stats."
)


class Checkpoint(Section):
    """Weights from a file."""

    source: Literal["checkpoint"]
    """A file; training here; the initialisation alone; the Hub; a folder; another model's, shuffled."""
    file: str
    """Checkpoint under resources/weights/MODEL, safetensors or PyTorch's; for M2D with its folder, which
    tells its sizes."""
    urls: list[Text] | None = None
    """The checkpoint itself or a zip that holds it."""
    sha256: Annotated[Sha256 | None, NULLABLE] = None
    """SHA-256 that the file must have; null checks none."""
    bytes: Annotated[Count | None, NULLABLE] = None
    """Size that the file must have; null checks none."""

    @property
    def below(self) -> bool:
        """Whether the file's name is a path below a folder, and no wildcard to Snakemake."""
        path = PurePosixPath(self.file)
        return bool(self.file) and not (
            path.is_absolute() or ".." in path.parts or set(self.file) & set("{}")
        )


class Trained(Section):
    """Weights from a training here."""

    source: Literal["training"]
    """A file; training here; the initialisation alone; the Hub; a folder; another model's, shuffled."""


class Random(Section):
    """Weights of a random initialisation."""

    source: Literal["random"]
    """A file; training here; the initialisation alone; the Hub; a folder; another model's, shuffled."""
    seed: Seed
    """Seed of the random initialisation."""


class Shuffled(Section):
    """Weights of another model, permuted within each unit's own: a twin without what training arranged."""

    source: Literal["shuffled"]
    """A file; training here; the initialisation alone; the Hub; a folder; another model's, shuffled."""
    of: Text
    """Name under `models`; the block has that model's architecture."""
    seed: Seed
    """Seed of the permutations."""


class Hub(Section):
    """Weights and description of a model of the Hugging Face Hub."""

    source: Literal["hub"]
    """A file; training here; the initialisation alone; the Hub; a folder; another model's, shuffled."""
    name: Text
    """OWNER/NAME."""
    revision: Text | None = None
    """Branch, tag or commit; by default main."""


class Folder(Section):
    """Weights and description in a folder, as save_pretrained of transformers writes it."""

    source: Literal["folder"]
    """A file; training here; the initialisation alone; the Hub; a folder; another model's, shuffled."""
    path: Text
    """The folder."""


def spelled_out(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's block with ``weights`` in place of the short keys ``hub`` and ``folder``."""
    block = dict(block)
    if "weights" in block or not block.keys() & {"hub", "folder"}:
        return block
    if "hub" in block:
        told = {"revision": block.pop("revision")} if "revision" in block else {}
        block["weights"] = {"source": "hub", "name": block.pop("hub"), **told}
    else:
        block["weights"] = {"source": "folder", "path": block.pop("folder")}
    return {"adapter": "huggingface", **block}


class Model(Section):
    """An encoder."""

    kind: Literal["ssl", "sl", "random"]
    """How it was trained."""
    title: str | None = None
    """Name in figures."""
    hub: Text | None = None
    """OWNER/NAME of a model on the Hugging Face Hub; in place of adapter and weights, as is folder."""
    revision: Text | None = None
    """Branch, tag or commit of hub; by default main. The commit of the first download is kept to."""
    folder: Text | None = None
    """Folder with config.json, preprocessor_config.json and weights, as save_pretrained of transformers
    writes it."""
    adapter: str = "vit"
    """Module under audio_neurons/models: vit is timm's (M2D, AudioMAE), huggingface an encoder of
    transformers; or your own (docs/add-a-model.md)."""
    front_end: Literal["logmel", "fbank"] | None = None
    """vit: M2D's log-mel, the default, or Kaldi's filterbank as AudioMAE has it."""
    input_size: Size | None = None
    """vit: mel bands, frames of 10 ms; by default 80, 608."""
    patch_size: Size | None = None
    """vit: mel bands, frames of a patch; by default 16, 16."""
    embed_dim: Count | None = None
    """vit: width of a token; by default 768."""
    depth: Count | None = None
    """vit: Transformer blocks; by default 12."""
    num_heads: Count | None = None
    """vit: attention heads; by default 12."""
    mlp_ratio: Annotated[float, Field(gt=0)] | None = None
    """vit: neurons per layer / embed_dim; by default 4."""
    special_tokens: Literal[0, 1] | None = None
    """vit: 1, the default, with a CLS token, 0 without."""
    model_type: Text | None = None
    """huggingface: the architecture, by transformers' own name; config.json has it, if there is one."""
    config: dict[str, Any] | None = None
    """huggingface: what config.json says, where there is none; of your own adapter whatever it reads."""
    normalize: bool | None = None
    """huggingface, of waveforms: zero mean and unit variance per clip (do_normalize of
    preprocessor_config.json, where there is none)."""
    context: Literal["clip", "full"] | None = None
    """huggingface, of encoders with a fixed input length (AST, Whisper): clip encodes clips at their own
    length, full pads them to the encoder's; by default clip for AST, full for others."""
    sample_rate: Annotated[int, Field(ge=8_000, le=192_000)] | None = None
    """Sampling rate in Hz of the model, and of its clips; by default that in the folder's name of an M2D
    checkpoint, or 16000."""
    norm_stats: tuple[float, float] | Annotated[str, Field(pattern="^dataset$")] | None = None
    """Mean and standard deviation of the log-mel, where the checkpoint has none; of vit by default M2D's or
    AudioSet's. dataset takes those of each dataset's training clips, as EVAR does."""
    note: str | None = None
    """What the captions of figures and tables say of it, and the summary."""
    licence: str | None = None
    """Licence of the weights."""
    citation: str | None = None
    """Citation of the model."""
    weights: Annotated[Checkpoint | Trained | Random | Shuffled | Hub | Folder, Field(discriminator="source")]
    """Where the parameters come from; hub and folder say so too."""
    training: PooledTraining | None = None
    """How the model is trained here; with weights.source training."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, block: Any) -> Any:
        return spelled_out(block) if isinstance(block, Mapping) else block

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if "revision" in self.model_fields_set:
            yield "revision", "goes with hub"
        if isinstance(self.weights, Hub | Folder) and self.adapter != "huggingface":
            yield "adapter", f"hub and folder are read by huggingface, not by {self.adapter}"
        if self.adapter == "vit":
            yield from self._sizes()
        trained = isinstance(self.weights, Trained)
        if trained != (self.training is not None):
            yield "", "weights.source 'training' and a training block go together"
        if trained and (self.adapter != "vit" or {"front_end", "special_tokens"} & self.model_fields_set):
            yield "", "only adapter vit, without front_end and special_tokens, is trained here"
        if isinstance(self.weights, Shuffled) and self.kind != "random":
            yield "kind", f"a model whose weights are shuffled is of kind random, not {self.kind}"
        described = isinstance(self.weights, Hub | Folder | Shuffled)
        if self.adapter == "huggingface" and self.model_type is None and not described:
            yield "", "missing key(s) model_type"

    def _sizes(self) -> Iterator[tuple[str, str]]:
        """Yield sizes of a Vision Transformer that do not go together; known before its weights are here."""
        if self.embed_dim and self.num_heads and self.embed_dim % self.num_heads:
            yield "num_heads", f"{self.num_heads} heads do not divide embed_dim, {self.embed_dim}"
        if any(a < b for a, b in zip(self.input_size or (), self.patch_size or (), strict=False)):
            size, patch = list(self.input_size or ()), list(self.patch_size or ())
            yield "input_size", f"{size} is less than a patch, {patch}"
