"""Checks of a configuration against the facts of datasets and models."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from audio_neurons.datasets import registry as datasets
from audio_neurons.models import folder, names
from audio_neurons.models import registry as models
from audio_neurons.models.errors import ModelError
from audio_neurons.models.facts import shown
from audio_neurons.models.twins import resolved
from audio_neurons.running.rates import SAMPLE_RATE
from audio_neurons.settings.configuration import Configuration
from audio_neurons.settings.datasets import Dataset
from audio_neurons.settings.models import Checkpoint, Folder, Model
from audio_neurons.settings.section import unknown
from audio_neurons.settings.training import AUDIOSET_SECONDS, Pool, PooledTraining
from audio_neurons.synthesis.making import STAND_INS


def facts_against(config: Configuration) -> Iterator[str]:
    """Yield ``path: problem`` for adapters, archives, options, labels and model keys that do not exist."""
    labels_of = {}
    for name, dataset in config.datasets.items():
        path = f"datasets.{name}"
        wrong = [*_with_path(path, _adapter(dataset))]
        yield from wrong
        yield from _with_path(path, _length(dataset, config.preparation.max_seconds))
        try:
            labels_of[name] = () if wrong else labels(dataset)
            yield from () if wrong else _with_path(path, _sample(dataset, labels_of[name]))
        except datasets.DatasetError as error:
            if dataset.adapter in datasets.adapters() and not _misplaced(dataset):
                yield f"{path}.files: {error}"
    for name, task in config.tasks.items():
        if own := labels_of.get(task.dataset):
            path = f"tasks.{name}"
            yield from _with_path(path, unknown("label", task.label, own, f"label of {task.dataset}"))
    for name, model in config.models.items():
        yield from _with_path(f"models.{name}", _keys(model))
        yield from _with_path(f"models.{name}", _files(model))
        yield from _with_path(f"models.{name}", _named(name, model))
        if model.training is not None and model.sample_rate not in (None, SAMPLE_RATE):
            yield f"models.{name}.sample_rate: models are trained here at {SAMPLE_RATE} Hz only"
        if model.training is not None and (pool := config.pools.get(model.training.pool)):
            yield from _with_path(f"models.{name}.training", _length_in_pool(model.training, pool))


def _with_path(path: str, problems: Iterator[tuple[str, str]]) -> Iterator[str]:
    for key, problem in problems:
        yield f"{'.'.join(filter(None, (path, key)))}: {problem}"


def _misplaced(dataset: Dataset) -> bool:
    return (dataset.files is not None) != (dataset.adapter == "custom")


def _adapter(dataset: Dataset) -> Iterator[tuple[str, str]]:
    adapter = str(dataset.adapter)
    if adapter not in datasets.adapters():
        yield from unknown("adapter", adapter, datasets.adapters(), "dataset adapter")
        return
    roles = datasets.source(adapter)["archives"] or ("none",)
    for role in dataset.archives:
        yield from unknown(f"archives.{role}", role, roles, "archive")
    if dataset.synthesis is not None and adapter not in STAND_INS:
        yield "synthesis", f"no recordings of '{adapter}' can be made; of {', '.join(STAND_INS)} they can"
    if _misplaced(dataset):
        yield "", "`files` and the adapter 'custom' go together"
    else:
        yield from _options(dataset)


def _sample(dataset: Dataset, known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if dataset.sample is None or (per := dataset.sample.per) is None or per in known:
        return
    near = difflib.get_close_matches(per, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
    yield "sample.per", f"no label '{per}'; {hint}"


def _length(dataset: Dataset, kept: float) -> Iterator[tuple[str, str]]:
    """Yield a problem if clips are longer than what is stored of a recording: the rest would be silence."""
    if dataset.adapter in datasets.adapters() and (seconds := clip_seconds(dataset)) > kept:
        yield (
            "clip_seconds",
            f"{seconds:g} s, but preparation.max_seconds stores {kept:g} s of a recording, and the rest "
            "would be silence; "
            f"set preparation.max_seconds to {seconds:g}, or clip_seconds to at most {kept:g}",
        )


def _length_in_pool(training: PooledTraining, pool: Pool) -> Iterator[tuple[str, str]]:
    """Yield a problem if a model is trained on longer clips than those of its pool."""
    stored = AUDIOSET_SECONDS if pool.audioset is not None else pool.clip_seconds
    if stored is not None and training.clip_seconds > stored:
        yield (
            "clip_seconds",
            f"{training.clip_seconds:g} s, but clips of the pool {training.pool} have {stored:g} s, and the "
            f"rest would be silence; set it to at most {stored:g}",
        )


def _options(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield options that the adapter does not have, or not of this type, before anything is downloaded."""
    own = datasets.source(str(dataset.adapter)).get("options", {})
    for key, value in dataset.options.items():
        if key not in own:
            yield f"options.{key}", f"no option '{key}'; there are {', '.join(own) or 'none'}"
        elif None not in (value, own[key]) and _kind(value) != _kind(own[key]):
            yield f"options.{key}", f"{value!r} is not of type '{_kind(own[key])}'"


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _keys(model: Model) -> Iterator[tuple[str, str]]:
    """Yield keys of a model that only other adapters read."""
    adapters = models.adapters()
    yield from unknown("adapter", model.adapter, adapters, "model adapter")
    own = adapters.get(model.adapter, ())
    others = {key for keys in adapters.values() for key in keys} - set(own)
    if model.adapter in adapters:
        for key in others & model.model_fields_set:
            yield key, f"adapter {model.adapter} has no such key; it has {', '.join(own)}"


def _files(model: Model) -> Iterator[tuple[str, str]]:
    """Yield what is missing in a model's folder."""
    if isinstance(model.weights, Folder):
        try:
            folder.files(path := Path(model.weights.path).expanduser())
            folder.sampling_rate(path)
        except ModelError as error:
            yield "folder", str(error)


def _named(name: str, model: Model) -> Iterator[tuple[str, str]]:
    """Yield what the folder's name of an M2D checkpoint contradicts, before anything is downloaded."""
    if model.adapter == "vit" and isinstance(model.weights, Checkpoint):
        within = PurePosixPath(name, model.weights.file).parent.name
        try:
            facts = names.facts(within) if model.front_end != "fbank" else {}
        except ModelError as error:
            yield "weights.file", str(error)
            return
        for key, value in facts.items():
            if (own := getattr(model, key)) not in (None, value):
                yield key, f"{shown(own)}, but the folder's name, {within}, says {shown(value)}; leave it out"


def clip_seconds(dataset: Dataset) -> float:
    """Return the length of a dataset's clips for the encoder: the configuration's, or the dataset's own."""
    own = dataset.clip_seconds
    return datasets.source(str(dataset.adapter))["clip_seconds"] if own is None else own


def sample_rates(config: Configuration) -> dict[str, int]:
    """Return model → sampling rate of the clips that it hears."""
    blocks = {name: model.model_dump(exclude_none=True) for name, model in config.models.items()}
    return {name: models.sample_rate(name, resolved(blocks, name)) for name in blocks}


def labels(dataset: Dataset) -> tuple[str, ...]:
    """Return the label columns of a dataset.

    Raises
    ------
    DatasetError
        If the user's own files are not there or have no label columns.
    """
    files = {} if dataset.files is None else {"files": Path(dataset.files)}
    return tuple(datasets.labels(str(dataset.adapter), files, dataset.options))
