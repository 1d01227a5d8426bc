"""The whole configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from audio_neurons.settings.ablation import Ablation
from audio_neurons.settings.atlas import Atlas
from audio_neurons.settings.datasets import Comparison, Dataset, Task
from audio_neurons.settings.extraction import Extraction
from audio_neurons.settings.inference import Findings, Inference
from audio_neurons.settings.models import Checkpoint, Model, Random, Shuffled
from audio_neurons.settings.preparation import Download, Preparation
from audio_neurons.settings.probe import Probe
from audio_neurons.settings.section import Name, Section, Seed, unknown
from audio_neurons.settings.selection import Selection
from audio_neurons.settings.training import Pool

FIGURES = ("coverage", "layers", "entropy")  # names of figures over all tasks, which no comparison may have


class Configuration(Section):
    """What is measured. Threads, memory and partitions belong to a profile."""

    seed: Seed = 0
    """Seed of what the workflow makes itself (the demo's recordings)."""
    download: Download = Download()
    """How archives and weights are fetched; no setting here re-runs anything."""
    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    """Where recordings come from. The key is the dataset's name in paths; false leaves it out, with its tasks
    and comparisons."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    """A dataset and one labelling of its clips; false leaves it out, with its comparisons."""
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    """Encoders, in the order in which figures show them; false leaves one out."""
    pools: dict[Name, Pool] = {}
    """Recordings that models are trained on here."""
    extraction: Extraction = Extraction()
    """The forward pass."""
    preparation: Preparation = Preparation()
    """From archives to clips."""
    selection: Selection = Selection()
    """How neurons are chosen."""
    inference: Inference = Inference()
    """How sure the selection is (results/inference); every draw repeats all of it."""
    probe: Probe = Probe()
    """Linear probes of clip features (results/probes), as EVAR's linear evaluation."""
    ablation: Ablation = Ablation()
    """Whether probes need the chosen neurons (results/ablation)."""
    findings: Findings = Findings()
    """When the page of findings calls a difference one."""
    atlas: Atlas = Atlas()
    """Pages on which neurons are seen and heard (results/atlas)."""
    comparisons: Annotated[
        dict[Name, Comparison], Field(json_schema_extra={"propertyNames": {"not": {"enum": list(FIGURES)}}})
    ]
    """Classes whose neurons are compared; each is a figure of its name; false leaves it out."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for name, task in self.tasks.items():
            yield from unknown(f"tasks.{name}.dataset", task.dataset, self.datasets, "dataset")
        for name, comparison in self.comparisons.items():
            for i, compared in enumerate(comparison.tasks):
                yield from unknown(f"comparisons.{name}.tasks.{i}", compared, self.tasks, "task")
        for i, name in enumerate(self.atlas.audio or ()):
            yield from unknown(f"atlas.audio.{i}", name, self.datasets, "dataset")
        for name, model in self.models.items():
            yield from self._model(f"models.{name}", name, model)
        for name, ablated in self.ablation.tasks.items():
            yield from unknown(f"ablation.tasks.{name}", name, self.tasks, "task")
            lists = {f".lists.{key}": one.models for key, one in ablated.lists.items()}
            for where, models in {"": ablated.models, **lists}.items():
                for i, named in enumerate(models or ()):
                    path = f"ablation.tasks.{name}{where}.models.{i}"
                    yield from unknown(path, named, self.models, "model")
        yield from self._titles()
        yield from self._exchange()

    def _exchange(self) -> Iterator[tuple[str, str]]:
        if self.inference.exchange == "rows":
            return
        if not self.extraction.responses:
            yield "inference.exchange", "clips needs every clip's counts; set `extraction.responses: true`"
        for name, selector in self.selection.selectors.items():
            if selector.weights == "groups":
                yield (
                    f"selection.selectors.{name}.weights",
                    "groups needs `inference.exchange: rows`",
                )

    def _model(self, path: str, name: str, model: Model) -> Iterator[tuple[str, str]]:
        if isinstance(model.weights, Checkpoint) and not model.weights.below:
            yield (
                f"{path}.weights.file",
                f"'{model.weights.file}' is no path below resources/weights/{name}; a checkpoint of your own "
                f"goes into {self.download.archives}/{name}",
            )
        if isinstance(model.weights, Shuffled):
            of = f"{path}.weights.of"
            yield from unknown(of, model.weights.of, self.models, "model")
            if model.weights.of in self.models and isinstance(
                weights := self.models[model.weights.of].weights, Random | Shuffled
            ):
                yield of, f"{model.weights.of} has {weights.source} weights; name a trained model"
        if model.training is not None:
            yield from unknown(f"{path}.training.pool", model.training.pool, self.pools, "pool")

    def _titles(self) -> Iterator[tuple[str, str]]:
        named: Mapping[str, Mapping[str, Task | Model | Comparison]] = {
            "tasks": self.tasks, "models": self.models, "comparisons": self.comparisons,
        }  # fmt: skip
        for section, blocks in named.items():
            titles = [block.title or name for name, block in blocks.items()]
            for title in sorted({title for title in titles if titles.count(title) > 1}):
                yield section, f"more than one has the title '{title}'; figures could not tell them apart"
