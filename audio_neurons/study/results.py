"""The figures, tables and texts of a study, and the titles and notes that they show beside their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from audio_neurons.models.facts import DATASET
from audio_neurons.settings.datasets import Comparison, Task
from audio_neurons.settings.models import Model
from audio_neurons.settings.section import serialise
from audio_neurons.study import paths
from audio_neurons.study.paths import fill
from audio_neurons.study.tasks import Tasks

# Figures over all tasks, and the tables of each model and task that they are drawn from. Tables of resamples
# are left out where there are none; `NEED_RESAMPLES` names the figures that then cannot be drawn.
OVERALL = {
    "coverage": ("classes", "inference"),
    "layers": ("neurons", "stability", "networks"),
    "entropy": ("neurons", "classes", "stability"),
}
OF_RESAMPLES = ("inference", "stability", "draws")  # tables that only a selector with counts has
NEED_RESAMPLES = ("entropy",)
OF_PAIRS = ("sharing_inference", "sharing_draws", "pair_draws")  # likewise, of a comparison
TABLES = (
    *("clips", "coverage", "sharing", "pairs", "differences", "published", "ablation", "overlap"),
    "expectations",
)


def title(blocks: Mapping[str, Task | Model | Comparison], name: str) -> str:
    """Return the title of a block, or its name."""
    return blocks[name].title or name


class Results:
    """Titles, notes and levels for figures and tables, serialised; and their paths."""

    def __init__(self, tasks: Tasks):
        self.tasks, self.config = tasks, tasks.config

    def _models(self, names: Iterable[str]) -> list[dict[str, str]]:
        described = []
        for name in names:
            model = self.config.models[name]
            note = {} if model.note is None else {"note": model.note}
            described.append(
                {"name": name, "title": title(self.config.models, name), "kind": model.kind, **note}
            )
        return described

    def _tasks(self) -> list[dict[str, str]]:
        return [{"name": task, "title": title(self.config.tasks, task)} for task in self.tasks.here]

    def _comparison(self, name: str) -> dict[str, Any]:
        tasks = [title(self.config.tasks, task) for task in self.config.comparisons[name].tasks]
        return {"name": name, "title": title(self.config.comparisons, name), "tasks": tasks}

    def _datasets_of(self, wildcards: Any) -> list[str]:
        """Return the datasets of a comparison or a task, or all that are used."""
        if comparison := getattr(wildcards, "comparison", None):
            return list(dict.fromkeys(map(self.tasks.dataset, self.config.comparisons[comparison].tasks)))
        task = getattr(wildcards, "task", None)
        return [self.tasks.dataset(task)] if task else self.tasks.used_datasets()

    def _datasets(self, wildcards: Any) -> list[dict[str, Any]]:
        """Describe of which clips datasets are."""
        return [
            {"name": name, "sample": own.sample, "windows": "" if own.windows.plain else own.windows.words()}
            for name in self._datasets_of(wildcards)
            for own in [self.tasks.datasets[name]]
        ]

    def told_of_clips(self, wildcards: Any) -> list[str]:
        """Return a line for each dataset of which not all clips are used, or not from their start."""
        told = []
        for one in self._datasets(wildcards):
            asked = "at most " + one["sample"].words() if one["sample"] else ""
            if said := "; ".join(filter(None, (asked, one["windows"]))):
                told.append(f"{one['name']}: {said}. Below the figure, and in clips.csv, are the numbers.")
        return told

    def _about(self, models: Iterable[str] | None = None, level: float | None = None, **more: Any) -> str:
        """Serialise the models in their order, levels, and more."""
        return serialise(
            {
                "models": self._models(self.config.models if models is None else models),
                "level": self.config.inference.level if level is None else level,
                "alpha": self.config.findings.alpha,
                "equivalence": self.config.findings.equivalence,
                **more,
            }
        )

    def about_tasks(self, wildcards: Any) -> str:
        return self._about(tasks=self._tasks(), datasets=self._datasets(wildcards))

    def about_comparison(self, wildcards: Any) -> str:
        datasets = self._datasets(wildcards)
        return self._about(comparison=self._comparison(wildcards.comparison), datasets=datasets)

    def about_ablation(self, wildcards: Any) -> str:
        models, level = self.tasks.models_ablated(wildcards.task), self.config.ablation.confidence
        datasets = self._datasets(wildcards)
        return self._about(models, level, task=title(self.config.tasks, wildcards.task), datasets=datasets)

    def about_tables(self, wildcards: Any) -> str:
        return self._about(
            tasks=self._tasks(),
            comparisons=[self._comparison(name) for name in self.tasks.compared],
            confidence=self.config.ablation.confidence,
            datasets=self._datasets(wildcards),
            datasets_of_tasks={name: [task.dataset] for name, task in self.tasks.here.items()},
            datasets_of_comparisons={
                name: [self.tasks.dataset(task) for task in one.tasks]
                for name, one in self.tasks.compared.items()
            },
            choice=self._choice(),
            split=self._split(),
            draws=self.config.inference.draws,
            replications=min(self.config.inference.replications, self.config.inference.draws),
            selection_split=self.config.selection.statistics_split,
            demo=bool(self.tasks.datasets.made_here),
            count=self.config.extraction.count,
            left_out=[title(self.config.tasks, t) for t in self.config.tasks if t not in self.tasks.here],
        )

    def _choice(self) -> str:
        """Return in words on what neurons are chosen, and what is permuted where this is not the default."""
        split = self.config.selection.statistics_split
        on = "all splits" if split == "all" else f"the split {split}"
        weights = ", groups of equal weight" if self.tasks.rule_of_preset().weights == "groups" else ""
        permuted = ", clips permuted one by one" if self.config.inference.exchange == "clips" else ""
        return f"neurons chosen by {self.tasks.selector} on {on}{weights}{permuted}"

    def about_expectations(self, wildcards: Any) -> str:
        """Serialise the models, and the comparisons with the names of their tasks."""
        comparisons = [{"name": name, "tasks": one.tasks} for name, one in self.tasks.compared.items()]
        return self._about(comparisons=comparisons)

    def model_notes(self, wildcards: Any) -> list[str]:
        models = self.config.models
        return [f"{title(models, m)}: {block.note}" for m, block in models.items() if block.note is not None]

    # Inputs of figures

    def inventories(self, wildcards: Any) -> list[str]:
        return [fill(paths.INVENTORY, dataset=name) for name in self._datasets_of(wildcards)]

    def sharing(self, wildcards: Any) -> list[str]:
        return self.tasks.of_comparisons("sharing", [wildcards.comparison])

    def sharing_inference(self, wildcards: Any) -> list[str]:
        return self.tasks.shared("sharing_inference", [wildcards.comparison])

    def overall(self, figure: str) -> dict[str, list[str]]:
        """Return the tables of a figure over all tasks, by name."""
        found = {table: self.tasks.of_tasks(table) for table in OVERALL[figure]}
        found |= {table: self.tasks.inferred(table) for table in OF_RESAMPLES if table in found}
        return found | ({"networks": self.networks()} if "networks" in found else {})

    def networks(self) -> list[str]:
        """Return the lists of the feed-forward networks of all models."""
        return [fill(paths.NETWORKS, model=model) for model in self.tasks.models]

    def ablation(self, wildcards: Any) -> list[str]:
        models = self.tasks.models_ablated(wildcards.task)
        return [self.tasks.table("ablation", model, wildcards.task) for model in models]

    def confusion(self, wildcards: Any) -> list[str]:
        models = self.tasks.models_ablated(wildcards.task)
        return [self.tasks.table("confusion", model, wildcards.task) for model in models]

    def acoustic_classes(self, wildcards: Any) -> list[str]:
        return [self.tasks.table("acoustic_classes", model, wildcards.task) for model in self.tasks.models]

    def neurons_of(self, wildcards: Any) -> list[str]:
        return [self.tasks.table("neurons", model, wildcards.task) for model in self.tasks.models]

    def correlations_of(self, wildcards: Any) -> list[str]:
        return [self._correlations(model, wildcards.task) for model in self.tasks.models]

    def _correlations(self, model: str, task: str) -> str:
        dataset = self.tasks.dataset(task)
        return fill(paths.STATISTICS, model=model, dataset=dataset, table="correlations")

    def all_correlations(self) -> list[str]:
        return [self._correlations(model, task) for task in self.tasks.here for model in self.tasks.models]

    def about_acoustics(self, wildcards: Any) -> str:
        datasets = self._datasets(wildcards)
        task = title(self.config.tasks, wildcards.task)
        return self._about(task=task, datasets=datasets, split=self._split())

    def _split(self) -> str:
        split = self.config.selection.statistics_split
        return "*" if split == "all" else split

    def acoustic_table(self) -> dict[str, str]:
        """Return the table of what stays when acoustics are partialled out, by name, if they are measured."""
        measured = self.config.extraction.acoustics
        return {"acoustics": fill(paths.TABLE, table="acoustics", kind="parquet")} if measured else {}

    # Targets

    def figures(self, *kinds: str) -> list[str]:
        """Return the paths of all figures; a dose needs two gains to have a response."""
        ablated = ["ablation", "ablation_matrix", "confusion"] + ["dose"] * (
            len(self.config.ablation.gains) > 1
        )
        names = [
            *self.tasks.compared,
            *(name for name in OVERALL if self.tasks.resampled or name not in NEED_RESAMPLES),
            *(f"acoustics/{t}" for t in self.tasks.here if self.config.extraction.acoustics),
            *(f"{kind}/{t}" for t in self.config.ablation.tasks if t in self.tasks.here for kind in ablated),
        ]
        return [
            fill(paths.FIGURE, figure=name, kind=kind) for name in names for kind in kinds or ("pdf", "png")
        ]

    def tables(self, *kinds: str) -> list[str]:
        names = (*TABLES, *self.acoustic_table())
        return [fill(paths.TABLE, table=name, kind=kind) for name in names for kind in kinds or ("csv",)]

    def checks(self) -> list[str]:
        """Return the checks of all datasets in use, and of what two that are compared have in common."""
        checked = self.tasks.datasets.checked(self.tasks.used_datasets())
        own = [fill(paths.CHECKS, dataset=name) for name in checked]
        pairs: dict[frozenset[str], str] = {}  # one comparison of each pair of datasets
        for name in self.tasks.compared:
            datasets = self.tasks.datasets_of(name)
            if len(datasets) == 2 and set(datasets) <= set(checked):
                pairs.setdefault(frozenset(datasets), name)
        return [*own, *(fill(paths.COMMON, comparison=name) for name in pairs.values())]

    def source_files(self, wildcards: Any) -> list[str]:
        """Return a dataset's archives, or one's own files, and its clips."""
        datasets = self.tasks.datasets
        return datasets.archive_files(wildcards.dataset) + datasets.clips(wildcards.dataset)

    def source_lists(self) -> list[str]:
        return [fill(paths.SOURCES, dataset=name) for name in self.tasks.used_datasets()]

    def everything(self) -> list[str]:
        """Return the figures, tables and texts that a run is for."""
        figures, data = self.figures(), self.figures("parquet", "csv")
        return [*figures, *data, *self.tables(), *self.tables("parquet"), paths.FINDINGS, paths.SUMMARY]

    def _acoustic_files(self) -> list[str]:
        if not self.config.extraction.acoustics:
            return []
        tables = ("acoustic_neurons", "acoustic_classes")
        files = [path for table in tables for path in self.tasks.of_tasks(table)]
        return [*dict.fromkeys(self.all_correlations()), *files]

    def made_between(self) -> list[str]:
        """Return the files that results are made of, less those in the lists of sources."""
        tasks, models = self.tasks, self.tasks.models
        checked = tasks.datasets.checked(tasks.used_datasets())
        statistics = [
            fill(paths.STATISTICS, model=model, dataset=dataset, table=table)
            for model in models
            for dataset in tasks.used_datasets()
            for table in paths.SHARD_TABLES
        ]
        probes = [
            fill(paths.PROBES, model=model, task=task, kind=kind)
            for model, task in tasks.ablated_in()
            for kind in ("parquet", "safetensors")
        ]
        return [
            *(path for model in models for path in models.weights_of(model) + models.training_files(model)),
            *self.networks(),
            *(fill(table, dataset=name) for name in checked for table in (paths.FACTS, paths.CHECKS)),
            *(
                fill(paths.NORM_STATS, model=model, dataset=dataset)
                for model in models
                if models[model].norm_stats == DATASET
                for dataset in tasks.used_datasets()
            ),
            *statistics,
            *self._acoustic_files(),
            *(path for table in ("neurons", "classes") for path in tasks.of_tasks(table)),
            *(path for table in ("inference", "stability", "draws") for path in tasks.inferred(table)),
            *tasks.of_comparisons("sharing", list(tasks.compared)),
            *(path for table in OF_PAIRS for path in tasks.shared(table)),
            *probes,
            *tasks.ablation_tables(),
            *(
                tasks.table(table, model, task)
                for model, task in tasks.ablated_in()
                for table in ("confusion", "ablation_sets")
            ),
        ]
