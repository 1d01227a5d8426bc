"""What the workflow asks of tasks and comparisons: statistics, selection, inference and ablation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from audio_neurons.models.facts import DATASET
from audio_neurons.settings.ablation import AblatedTask, NeuronList
from audio_neurons.settings.configuration import Configuration
from audio_neurons.settings.datasets import Comparison, Task
from audio_neurons.settings.section import serialise
from audio_neurons.settings.selection import Rule
from audio_neurons.study import paths
from audio_neurons.study.datasets import Datasets
from audio_neurons.study.models import Models
from audio_neurons.study.paths import fill

SPLIT_OF_EFFECTS = "test"


class Tasks:
    """The tasks and comparisons of a configuration.

    Methods that take ``wildcards`` are Snakemake's input functions. ``here`` and ``compared`` are the tasks
    and comparisons whose recordings can be had; figures and tables are made of these.

    Parameters
    ----------
    published
        Folder of the numbers and neurons that the paper's authors published.
    """

    def __init__(self, config: Configuration, datasets: Datasets, models: Models, published: Path):
        self.config, self.datasets, self.models = config, datasets, models
        self.published = published

    @cached_property
    def here(self) -> dict[str, Task]:
        return {n: t for n, t in self.config.tasks.items() if t.dataset not in self.datasets.wanted}

    @cached_property
    def compared(self) -> dict[str, Comparison]:
        return {n: c for n, c in self.config.comparisons.items() if set(c.tasks) <= set(self.here)}

    def dataset(self, task: str) -> str:
        return self.config.tasks[task].dataset

    def datasets_of(self, comparison: str) -> list[str]:
        """Return the datasets of a comparison's tasks, each once."""
        return list(dict.fromkeys(map(self.dataset, self.config.comparisons[comparison].tasks)))

    def compared_datasets(self, wildcards: Any) -> list[str]:
        return self.datasets_of(wildcards.comparison)

    def compared_facts(self, wildcards: Any) -> list[str]:
        return [fill(paths.FACTS, dataset=name) for name in self.datasets_of(wildcards.comparison)]

    def used_datasets(self) -> list[str]:
        used = {task.dataset for task in self.here.values()}
        return [name for name in self.datasets if name in used]

    # Paths of tables

    @property
    def selector(self) -> str:
        """The selector whose neurons figures and tables show."""
        return self.config.selection.selector

    def table(self, table: str, model: str, task: str) -> str:
        return fill(paths.OF_TASK, table=table, model=model, task=task, selector=self.selector)

    def of_tasks(self, table: str) -> list[str]:
        """Return one kind of table for all tasks and models."""
        return [self.table(table, model, task) for task in self.here for model in self.models]

    def of_comparisons(self, table: str, comparisons: Sequence[str]) -> list[str]:
        """Return one kind of table for comparisons and all models."""
        return [
            fill(paths.OF_COMPARISON, table=table, model=model, comparison=name, selector=self.selector)
            for name in comparisons
            for model in self.models
        ]

    @property
    def resampled(self) -> bool:
        """Whether the selector's choice can be drawn again from counts per class."""
        return self.rule_of_preset().measure != "auroc"

    def rule_of_preset(self) -> Rule:
        return self.config.selection.selectors[self.selector].rule()

    def inferred(self, table: str) -> list[str]:
        return self.of_tasks(table) if self.resampled else []

    def shared(self, table: str, comparisons: Sequence[str] | None = None) -> list[str]:
        return self.of_comparisons(table, list(self.compared) if comparisons is None else comparisons) if (
            self.resampled
        ) else []  # fmt: skip

    # The forward pass

    def shard_clips(self, wildcards: Any) -> str:
        """Return a part of a dataset's clips at the rate that the model hears."""
        return self.datasets.clips_of(wildcards.dataset, wildcards.shard, self.models.rates[wildcards.model])

    def dataset_clips(self, wildcards: Any) -> list[str]:
        return self.datasets.clips(wildcards.dataset, self.models.rates[wildcards.model])

    def clips_together(self, wildcards: Any) -> str:
        """Return a part of a dataset's clips at the rate that the models of one job hear."""
        return self.datasets.clips_of(wildcards.dataset, wildcards.shard, self._rate_together())

    def dataset_clips_together(self, wildcards: Any) -> list[str]:
        return self.datasets.clips(wildcards.dataset, self._rate_together())

    def _rate_together(self) -> int:
        return self.models.rates[self.models.together[0]]

    def passes(self, wildcards: Any) -> str:
        """Serialise the settings that decide the numbers of a forward pass over a dataset."""
        name = wildcards.dataset
        labels = tuple(self.datasets.cell_labels(name))
        return serialise(self.config.extraction.for_clips(self.datasets.clip_seconds(name), labels))

    def median_pass(self, wildcards: Any) -> str:
        """Serialise the settings of the pass that medians are estimated from."""
        extraction = self.config.extraction
        seconds = self.datasets.clip_seconds(wildcards.dataset)
        used = {name: getattr(extraction, name) for name in ("batch_size", "tokens", "count", "precision")}
        return serialise({**used, "clip_seconds": seconds})

    def median_sample(self, wildcards: Any) -> str:
        return serialise(self.config.extraction.median)

    def medians(self, wildcards: Any) -> str | list[str]:
        """Return the medians that activity ``median`` needs; a path, since Snakemake keeps a list a list."""
        wanted = self.config.extraction.activity == "median"
        return fill(paths.MEDIANS, model=wildcards.model, dataset=wildcards.dataset) if wanted else []

    def norm_stats(self, wildcards: Any) -> str | list[str]:
        """Return the statistics by which a model normalises a dataset's spectrograms, if they are its own."""
        if self.models[wildcards.model].norm_stats != DATASET:
            return []
        dataset = getattr(wildcards, "dataset", None) or self.dataset(wildcards.task)
        return fill(paths.NORM_STATS, model=wildcards.model, dataset=dataset)

    def clip_seconds(self, wildcards: Any) -> float:
        return self.datasets.clip_seconds(wildcards.dataset)

    def shard_outputs(self) -> dict[str, str]:
        """Return the outputs of one forward pass, by name."""
        outputs = {name: fill(paths.SHARD, table=name) for name in paths.SHARD_TABLES}
        outputs["embeddings"] = paths.EMBEDDINGS
        if self.config.extraction.responses:
            outputs["responses"] = paths.RESPONSES
        if self.config.extraction.acoustics:
            outputs |= {
                "acoustic_sums": fill(paths.SHARD, table="acoustic_sums"),
                "acoustics": paths.ACOUSTICS,
            }
        return outputs

    def outputs_together(self, outputs: Mapping[str, str]) -> dict[str, str]:
        """Return a model's outputs for each of the models of one job, by name and number."""
        return {
            f"{name}_{number}": path.replace("{model}", model)
            for name, path in outputs.items()
            for number, model in enumerate(self.models.together)
        }

    def acoustic_sums(self, wildcards: Any) -> list[str]:
        known = {"model": wildcards.model, "dataset": wildcards.dataset, "table": "acoustic_sums"}
        return [fill(paths.SHARD, shard=s, **known) for s in self.datasets.shards(wildcards.dataset)]

    def statistics_of_shards(self, wildcards: Any) -> dict[str, list[str]]:
        """Return the tables of every shard of a model and dataset, by name."""
        model, dataset = wildcards.model, wildcards.dataset
        shards = self.datasets.shards(dataset)
        return {
            name: [fill(paths.SHARD, model=model, dataset=dataset, shard=s, table=name) for s in shards]
            for name in paths.SHARD_TABLES
        }

    def _statistics(self, model: str, task: str, table: str) -> str:
        return fill(paths.STATISTICS, model=model, dataset=self.dataset(task), table=table)

    # Selection and inference

    def task_statistics(self, wildcards: Any) -> dict[str, str]:
        names = ("cells", "counts", "units")
        return {name: self._statistics(wildcards.model, wildcards.task, name) for name in names}

    def task_units(self, wildcards: Any) -> str:
        return self._statistics(wildcards.model, wildcards.task, "units")

    def clip_counts(self, model: str, task: str) -> dict[str, list[str]]:
        """Return the tables of the counts of single clips, if these change places by themselves."""
        if self.config.inference.exchange == "rows":
            return {}
        clips = self.datasets.clips(self.dataset(task), self.models.rates[model])
        return {"responses": self._parts(paths.RESPONSES, model, task), "clips": clips}

    def _parts(self, path: str, model: str, task: str) -> list[str]:
        dataset = self.dataset(task)
        shards = self.datasets.shards(dataset)
        return [fill(path, model=model, dataset=dataset, shard=shard) for shard in shards]

    def partialled_from(self, wildcards: Any) -> dict[str, list[str]]:
        """Return the counts, acoustics and labels of the clips of a task."""
        names = {"responses": paths.RESPONSES, "acoustics": paths.ACOUSTICS}
        parts = {name: self._parts(path, wildcards.model, wildcards.task) for name, path in names.items()}
        return {**parts, "clips": self.clips(wildcards)}

    def partialling(self) -> str:
        """Serialise the settings of resamples of what stays when acoustics are partialled out."""
        own = self.config.inference
        return serialise({"replications": own.replications, "seed": own.seed, "level": own.level})

    def inferred_from(self, wildcards: Any) -> dict[str, Any]:
        """Return the counts that inference of a task draws from."""
        return {"units": self.task_units(wildcards), **self.clip_counts(wildcards.model, wildcards.task)}

    def compared_from(self, wildcards: Any) -> dict[str, Any]:
        """Return the counts that inference of a comparison draws from, those of the second task as ``_2``."""
        found: dict[str, Any] = {"units": self.compared_units(wildcards)}
        tasks = self._of_compared(wildcards, lambda task: self.clip_counts(wildcards.model, task))
        for suffix, counts in zip(("", "_2"), tasks, strict=False):
            found |= {name + suffix: files for name, files in counts.items()}
        return found

    def label(self, wildcards: Any) -> str:
        return self.config.tasks[wildcards.task].label

    def rule_for(self, task: str, selector: str) -> Rule:
        """Return a selector's rule for a task: the preset, changed by the task, then by the selector."""
        top_share = self.config.tasks[task].top_share
        changes = {} if top_share is None else {"top_share": top_share}
        return self.config.selection.selectors[selector].rule(**changes)

    def selection_rule(self, wildcards: Any) -> str:
        return serialise(self.rule_for(wildcards.task, wildcards.selector))

    def splits(self) -> str:
        """Serialise the splits whose clips select neurons; null stands for all."""
        return serialise(None if self.config.selection.statistics_split == "all" else ["train"])

    def inference(self) -> str:
        return serialise(self.config.inference)

    def _of_compared(self, wildcards: Any, of: Callable[[str], Any]) -> list[Any]:
        return [of(task) for task in self.config.comparisons[wildcards.comparison].tasks]

    def compared_neurons(self, wildcards: Any) -> list[str]:
        known = {"table": "neurons", "model": wildcards.model, "selector": wildcards.selector}
        return self._of_compared(wildcards, lambda task: fill(paths.OF_TASK, task=task, **known))

    def compared_units(self, wildcards: Any) -> list[str]:
        return self._of_compared(wildcards, lambda task: self._statistics(wildcards.model, task, "units"))

    def compared_labels(self, wildcards: Any) -> list[str]:
        return self._of_compared(wildcards, lambda task: self.config.tasks[task].label)

    def compared_rules(self, wildcards: Any) -> str:
        return serialise(self._of_compared(wildcards, lambda task: self.rule_for(task, wildcards.selector)))

    def pairs(self, wildcards: Any) -> str:
        return serialise(self.config.comparisons[wildcards.comparison].pairs)

    def all_inference(self) -> list[str]:
        return [*self.of_tasks("inference"), *self.of_comparisons("sharing_inference", list(self.compared))]

    # Probes and ablation

    def clips(self, wildcards: Any) -> list[str]:
        return self.datasets.clips(self.dataset(wildcards.task), self.models.rates[wildcards.model])

    def embeddings(self, wildcards: Any) -> list[str]:
        return self._parts(paths.EMBEDDINGS, wildcards.model, wildcards.task)

    def probe(self) -> str:
        return serialise(self.config.probe)

    def effects_on(self, wildcards: Any, split: str = SPLIT_OF_EFFECTS) -> str:
        """Serialise the clips on which effects are measured, by the same forward passes as in extraction."""
        extraction = self.config.extraction
        return serialise(
            {
                "label": self.label(wildcards),
                "split": split,
                "clip_seconds": self.datasets.clip_seconds(self.dataset(wildcards.task)),
                "batch_size": extraction.batch_size,
                "precision": extraction.precision,
                "pool": extraction.pool,
                "count": extraction.count,
            }
        )

    def screened_on(self, wildcards: Any) -> str:
        return self.effects_on(wildcards, self.config.ablation.screening.split)

    def screening(self) -> str:
        return serialise(self.config.ablation.screening)

    def conditions(self) -> str:
        return serialise(self.config.ablation)

    def ablated(self, task: str) -> AblatedTask:
        """Return what is ablated in a task: by default the neurons of every class."""
        return self.config.ablation.tasks.get(task, AblatedTask())

    def models_ablated(self, task: str) -> list[str]:
        wanted = self.ablated(task).models
        return [model for model in self.models if wanted is None or model in wanted]

    def lists(self, wildcards: Any) -> dict[str, NeuronList]:
        """Return name → list of neurons of each list that fits the model, in order of their names."""
        lists = sorted(self.ablated(wildcards.task).lists.items())
        return {name: one for name, one in lists if one.models is None or wildcards.model in one.models}

    def list_files(self, wildcards: Any) -> list[str]:
        lists = self.lists(wildcards).values()
        return [one.file or self.published_file(f"neurons/{one.published}") for one in lists]

    def sets(self, wildcards: Any) -> str:
        """Serialise the sets of neurons that are ablated."""
        ablated = self.ablated(wildcards.task)
        lists = {name: one.classes for name, one in self.lists(wildcards).items()}
        return serialise({"classes": ablated.classes, "shared": ablated.shared, "lists": lists})

    def ablation_outputs(self, path: str = paths.OF_TASK) -> dict[str, str]:
        names = {"ablation": "ablation", "confusion": "confusion", "sets": "ablation_sets"}
        if self.config.ablation.clips:
            names["clips"] = "ablation_clips"
        return {key: fill(path, table=table) for key, table in names.items()}

    def ablation_parts(self, wildcards: Any) -> list[dict[str, str]]:
        """Return the tables of each of several jobs that ablate a task, by name; none for such a job."""
        jobs = 1 if hasattr(wildcards, "part") else self.config.ablation.jobs
        known = {name: getattr(wildcards, name) for name in ("model", "task", "selector")}
        outputs = self.ablation_outputs(paths.ABLATION_PART).items()
        return [
            {key: fill(path, part=f"{k:03d}-of-{jobs:03d}", **known) for key, path in outputs}
            for k in range(jobs if jobs > 1 else 0)
        ]

    def all_ablation_parts(self, wildcards: Any) -> list[str]:
        return [path for part in self.ablation_parts(wildcards) for path in part.values()]

    def ablation_gpus(self, wildcards: Any) -> int:
        """Return the GPUs of the job that writes the tables of an ablation; none if it joins parts."""
        return 0 if self.config.ablation.jobs > 1 else self.models.gpus(wildcards)

    def ablation_threads(self, wildcards: Any) -> int:
        return 1 if self.config.ablation.jobs > 1 else self.models.threads(wildcards)

    def published_file(self, name: str) -> str:
        return str(self.published / f"{name}.csv")

    def expected(self) -> list[str]:
        """Return the files of expectations: the paper's, and the user's."""
        own = self.config.findings.expectations
        return [self.published_file("expectations"), *([own] if own else [])]

    def all_published_lists(self) -> list[str]:
        return sorted(map(str, self.published.glob("neurons/*.csv")))

    def ablated_in(self) -> list[tuple[str, str]]:
        """Return the models and tasks whose neurons are ablated."""
        return [(m, t) for t in self.config.ablation.tasks if t in self.here for m in self.models_ablated(t)]

    def ablation_tables(self) -> list[str]:
        return [self.table("ablation", model, task) for model, task in self.ablated_in()]

    def all_ablations(self) -> list[str]:
        screened = [
            fill(paths.SCREENING, table="screening", model=model, task=task)
            for model, task in self.ablated_in()
        ]
        return self.ablation_tables() + screened

    def known_lists(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return task → name → published list that is ablated there, and the models that it fits."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for task, ablated in self.config.ablation.tasks.items():
            if task in self.here:
                found[task] = {
                    name: {"published": one.published, "models": one.models or self.models_ablated(task)}
                    for name, one in ablated.lists.items()
                    if one.published is not None
                }
        return found

    def listed_in(self) -> list[tuple[str, str]]:
        """Return models and tasks whose neurons a published list can be compared with."""
        known = self.known_lists().items()
        listed = {(m, t) for t, lists in known for one in lists.values() for m in one["models"]}
        return [(m, t) for t in self.here for m in self.models if (m, t) in listed]

    def listed_neurons(self) -> list[str]:
        return [self.table("neurons", model, task) for model, task in self.listed_in()]

    def cases(self, pairs: Sequence[tuple[str, str]]) -> str:
        return serialise([{"task": task, "model": model} for model, task in pairs])
