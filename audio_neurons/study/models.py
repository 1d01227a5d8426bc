"""What the workflow asks of models: weights, training, architecture and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from audio_neurons.fetching import sources
from audio_neurons.models import folder
from audio_neurons.models.twins import owner, resolved
from audio_neurons.running.contents import Contents
from audio_neurons.running.digest import code_digest
from audio_neurons.settings.configuration import Configuration
from audio_neurons.settings.models import Model
from audio_neurons.settings.section import serialise
from audio_neurons.settings.training import AudioSetPool, Pool, PooledTraining
from audio_neurons.study import paths
from audio_neurons.study.checks import sample_rates
from audio_neurons.study.datasets import content
from audio_neurons.study.paths import fill

TOLD = ("title", "kind", "licence", "citation", "note")  # keys of a model that change no number
# Of weights: the files themselves are inputs.
PLACES = ("file", "urls", "sha256", "bytes", "name", "revision", "path")


class Models:
    """The models of a configuration; methods that take ``wildcards`` are Snakemake's input functions."""

    def __init__(self, config: Configuration, values: Mapping[str, Any], contents: Contents):
        self.config, self.contents = config, contents
        own: Mapping[str, Mapping[str, Any]] = values["models"]
        # Of a shuffled twin: with the weights of the other model.
        self.blocks = {name: resolved(own, name) for name in own}

    def __iter__(self) -> Iterator[str]:
        return iter(self.config.models)

    def __getitem__(self, name: str) -> Model:
        return self.config.models[name]

    # Weights

    def with_weights(self, source: str) -> list[str]:
        return [name for name in self if self[name].weights.source == source]

    def weights_of(self, model: str) -> list[str]:
        """Return the paths of what describes a model and holds its weights.

        The first is the checkpoint, or a JSON file in the folder that has everything; none for a random
        initialisation.
        """
        block, model = self.blocks[model]["weights"], owner(model, self.blocks[model])
        if block["source"] == "folder":
            return list(map(str, folder.files(Path(block["path"]).expanduser())))
        return {
            "checkpoint": [fill(paths.WEIGHTS, model=model, file=block.get("file"))],
            "training": [fill(paths.TRAINED, model=model)],
            "random": [],
            "hub": [fill(paths.SNAPSHOT, model=model)],
        }[block["source"]]

    def weights(self, wildcards: Any) -> list[str]:
        return [*self.weights_of(wildcards.model), *self._beside(wildcards.model)]

    def _beside(self, model: str) -> list[str]:
        """Return the descriptions that lie beside a checkpoint and are read with it."""
        if self.blocks[model]["weights"]["source"] != "checkpoint" or self[model].adapter != "huggingface":
            return []
        place = Path(self.weights_of(model)[0]).parent
        found = [place / name for name in (folder.CONFIG, *folder.PREPROCESSORS)]
        return [str(path) for path in found if path.is_file()]

    def weights_content(self, wildcards: Any) -> str:
        """Return the checksums of weights that were not made here; of those that were, the time counts."""
        block = self.blocks[wildcards.model]["weights"]
        if block["source"] != "checkpoint":
            return ""
        return serialise(content(self.contents, self.weights(wildcards), wildcards.model))

    def weights_by_content(self, wildcards: Any) -> bool:
        """Return whether only the content of weights counts, as in `Datasets.by_content`."""
        block = self.blocks[wildcards.model]["weights"]
        lock = fill(paths.WEIGHTS_LOCK, model=owner(wildcards.model, self.blocks[wildcards.model]))
        files = self.weights(wildcards)
        return block["source"] == "checkpoint" and all(sources.settled(file, lock, block) for file in files)

    def weights_identity(self, wildcards: Any) -> str:
        block = self.blocks[wildcards.model]["weights"]
        return serialise(
            {**sources.identity(block), **{k: block[k] for k in ("name", "revision") if k in block}}
        )

    def downloads(self) -> list[str]:
        """Return what needs a network."""
        fetched = [*self.with_weights("checkpoint"), *self.with_weights("hub")]
        return [path for model in fetched for path in self.weights_of(model)]

    def architecture(self, wildcards: Any) -> str:
        """Serialise the settings that affect activations, without the weights' location."""
        block = {k: v for k, v in self.blocks[wildcards.model].items() if k not in (*TOLD, "training")}
        weights = {k: v for k, v in block["weights"].items() if k not in PLACES}
        return serialise({**block, "weights": weights})

    def code(self, module: str, wildcards: Any) -> str:
        """Return the digest of a module that runs an encoder, and of the encoder's adapter."""
        return code_digest(module, f"models.{self[wildcards.model].adapter}")

    # Training

    def training(self, model: str) -> PooledTraining:
        training = self[model].training
        assert training is not None
        return training

    def trained_model(self, wildcards: Any) -> str:
        """Serialise the settings that decide what a model learns."""
        # A training normalises by the statistics of its pool, whatever those of later passes are.
        left_out = (*TOLD, "norm_stats")
        block = {k: v for k, v in self.blocks[wildcards.model].items() if k not in left_out}
        return serialise({**block, "training": self.training(wildcards.model)})

    def pools(self, kind: str) -> list[str]:
        """Return the pools of a kind: ``audioset`` (a folder of AudioSet) or ``made`` (synthesised here)."""
        return [
            n for n, pool in self.config.pools.items() if (pool.audioset is not None) == (kind == "audioset")
        ]

    def trained_on(self, kind: str) -> list[str]:
        return [m for m in self.with_weights("training") if self.training(m).pool in self.pools(kind)]

    def pool(self, wildcards: Any) -> Pool:
        return self.config.pools[wildcards.pool]

    def pool_clips(self, wildcards: Any) -> int | None:
        return self.pool(wildcards).clips

    def pool_seconds(self, wildcards: Any) -> float | None:
        return self.pool(wildcards).clip_seconds

    def audioset(self, name: str) -> AudioSetPool:
        pool = self.config.pools[name].audioset
        assert pool is not None
        return pool

    def audioset_lists(self, wildcards: Any) -> str:
        return self.audioset(wildcards.pool).train

    def audioset_shards(self, wildcards: Any) -> int:
        return self.audioset(wildcards.pool).shards

    def training_pool(self, wildcards: Any) -> list[str]:
        """Return the clips that a model is trained on: one table, or the parts of AudioSet."""
        pool = self.training(wildcards.model).pool
        if pool not in self.pools("audioset"):
            return [fill(paths.POOL, pool=pool)]
        numbers = range(self.audioset(pool).shards)
        return [fill(paths.POOL_PART, pool=pool, shard=f"{number:03d}") for number in numbers]

    def training_files(self, model: str) -> list[str]:
        """Return the table of clips that a model is trained on here, and the log of its losses."""
        if model not in self.with_weights("training"):
            return []
        pool = self.training(model).pool
        streamed = pool in self.pools("audioset")
        clips = (
            fill(paths.POOL_TABLE, pool=pool, table="recordings") if streamed else fill(paths.POOL, pool=pool)
        )
        return [clips, fill(paths.TRAINING, model=model, table="log")]

    # Sampling rates

    @cached_property
    def rates(self) -> dict[str, int]:
        """Sampling rate of the clips that each model hears."""
        return sample_rates(self.config)

    @cached_property
    def together(self) -> list[str]:
        """Models that one job runs over each batch: those of the first one's sampling rate, if asked for."""
        every = list(self)
        found = [name for name in every if self.rates[name] == self.rates[every[0]]]
        return found if self.config.extraction.together and len(found) > 1 else []

    @property
    def alone(self) -> list[str]:
        """Models that have jobs of their own."""
        return [name for name in self if name not in self.together]

    def of_each(self, function: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
        """Return a function of wildcards that lists ``function`` of each of the models :meth:`together`."""

        def listed(wildcards: Any) -> list[Any]:
            known = dict(wildcards.items())
            return [function(SimpleNamespace(**known, model=model)) for model in self.together]

        return listed

    def named(self, functions: Mapping[str, Callable[[Any], Any]]) -> dict[str, Callable[[Any], Any]]:
        """Return functions of wildcards for each of the models :meth:`together`, by name and number."""

        def of(function: Callable[[Any], Any], model: str) -> Callable[[Any], Any]:
            return lambda wildcards: function(SimpleNamespace(**dict(wildcards.items()), model=model))

        return {
            f"{name}_{number}": of(function, model)
            for name, function in functions.items()
            for number, model in enumerate(self.together)
        }

    # Devices

    def gpus(self, wildcards: Any) -> int:
        return 0 if self.config.extraction.device == "cpu" else 1

    def threads(self, wildcards: Any) -> int:
        """Return the threads of an encoder's job: without a GPU many jobs of one thread are faster."""
        return 1 if self.config.extraction.device == "cpu" else 8

    def training_gpus(self, wildcards: Any) -> int:
        return self.gpus(wildcards) * self.training(wildcards.model).processes

    def training_threads(self, wildcards: Any) -> int:
        """Return the threads of a training, most of which decode: eight keep one GPU busy."""
        return 1 if self.config.extraction.device == "cpu" else 8 * self.training_gpus(wildcards)
