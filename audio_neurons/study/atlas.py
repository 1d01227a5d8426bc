"""What the workflow asks of the atlas: clips that stand for neurons, their sounds, and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audio_neurons.datasets import registry as datasets
from audio_neurons.settings.section import serialise
from audio_neurons.study import paths
from audio_neurons.study.paths import fill
from audio_neurons.study.results import Results, title
from audio_neurons.study.tasks import Tasks

TOLD = ("licence", "citation", "homepage")  # of a dataset


class Atlas:
    """The atlas of a configuration; methods that take ``wildcards`` are Snakemake's input functions."""

    def __init__(self, tasks: Tasks, results: Results):
        self.tasks, self.results, self.config = tasks, results, tasks.config

    # Clips that stand for neurons

    def tasks_of(self, dataset: str) -> list[str]:
        return [name for name, task in self.tasks.here.items() if task.dataset == dataset]

    def neurons(self, wildcards: Any) -> list[str]:
        """Return the ``neurons`` tables of a model and all tasks of a dataset."""
        return [
            self.tasks.table("neurons", wildcards.model, task) for task in self.tasks_of(wildcards.dataset)
        ]

    def labels(self, wildcards: Any) -> list[str]:
        """Return the labels of :meth:`neurons`."""
        return [self.config.tasks[task].label for task in self.tasks_of(wildcards.dataset)]

    def strongest(self, wildcards: Any) -> str:
        known = {"model": wildcards.model, "dataset": wildcards.dataset}
        return fill(paths.STATISTICS, table="top_clips", **known)

    def drawn(self) -> str:
        return serialise(self.config.atlas.examples)

    # Their sounds

    @property
    def rate(self) -> int:
        """Rate in Hz of the clips that are heard: the lowest that is stored."""
        return self.tasks.datasets.rates[0]

    def labels_of_dataset(self, wildcards: Any) -> list[str]:
        return sorted(set(self.labels(wildcards)))

    def heard_clips(self, wildcards: Any) -> list[str]:
        return self.tasks.datasets.clips(wildcards.dataset, self.rate)

    def examples(self, wildcards: Any) -> list[str]:
        """Return the ``examples`` tables of a dataset, one per model."""
        return [fill(paths.EXAMPLES, model=m, dataset=wildcards.dataset) for m in self.tasks.models]

    # Pages

    def pages(self) -> list[str]:
        """Return the page that leads to the atlas, if one is wanted."""
        return [paths.ATLAS] if self.config.atlas.make else []

    def passed_on(self, dataset: str) -> bool:
        """Return whether a dataset's sounds may be passed on: as set, or made here, or by its licence."""
        named = self.config.atlas.audio
        if named is not None:
            return dataset in named
        facts = datasets.source(self.tasks.datasets.adapter(dataset))
        return self.tasks.datasets[dataset].synthesis is not None or bool(facts.get("redistributable"))

    def _datasets(self) -> list[dict[str, Any]]:
        found = []
        for name in self.tasks.used_datasets():
            facts = datasets.source(self.tasks.datasets.adapter(name))
            made = self.tasks.datasets[name].synthesis is not None
            told = {"licence": "synthesised here"} if made else {key: facts.get(key, "") for key in TOLD}
            known = self.tasks.datasets[name].files is None
            heading = f"{name} (synthetic)" if made else facts.get("title") if known else name
            own = {"name": name, "title": heading or name}
            found.append({**own, **told, "passed_on": self.passed_on(name)})
        return found

    def about(self, wildcards: Any) -> str:
        """Serialise models, tasks, comparisons and datasets, and how neurons and clips were chosen."""
        config = self.config
        kept = {
            name: {"name": name, "title": title(config.tasks, name), "dataset": task.dataset}
            for name, task in self.tasks.here.items()
        }
        return serialise(
            {
                "models": [
                    {"name": name, "title": title(config.models, name), "kind": config.models[name].kind}
                    for name in self.tasks.models
                ],
                "tasks": [
                    {
                        **kept[name],
                        "label": task.label,
                        "rule": self.tasks.rule_for(name, self.tasks.selector),
                    }
                    for name, task in self.tasks.here.items()
                ],
                "comparisons": [
                    {"name": name, "title": title(config.comparisons, name), "tasks": one.tasks}
                    for name, one in self.tasks.compared.items()
                ],
                "datasets": self._datasets(),
                "ablated": [list(case) for case in self.tasks.ablated_in()],
                "selector": self.tasks.selector,
                "resampled": self.tasks.resampled,
                "splits": None if config.selection.statistics_split == "all" else ["train"],
                "level": config.inference.level,
                "drawn": config.atlas.examples,
                "acoustics": config.extraction.acoustics,
                "demo": bool(self.tasks.datasets.made_here),
                "configuration": serialise(self._settings()),
                "data": self._units(),
            }
        )

    def told(self) -> dict[str, list[str]]:
        """Return the tables that the pages show, by kind."""
        tasks, models, used = self.tasks, self.tasks.models, self.tasks.used_datasets()
        of_ablation = [
            tasks.table(name, *case) for name in ("ablation", "ablation_sets") for case in tasks.ablated_in()
        ]
        return {
            **{name: tasks.of_tasks(name) for name in ("neurons", "classes")},
            "stability": tasks.inferred("stability"),
            "units": self._units(),
            "sharing": tasks.of_comparisons("sharing", list(tasks.compared)),
            "sharing_inference": tasks.shared("sharing_inference"),
            "ablation": of_ablation,
            "shown": [fill(path, dataset=d) for path in (paths.SHOWN, paths.EXCERPTS) for d in used],
            "examples": [
                fill(path, model=m, dataset=d)
                for path in (paths.EXAMPLES, paths.EXCITED)
                for m in models
                for d in used
            ],
            "acoustics": self.results.all_correlations() if self.config.extraction.acoustics else [],
        }

    def _units(self) -> list[str]:
        """Return the counts of what was heard, the same for any division of the work."""
        return [
            fill(paths.STATISTICS, model=model, dataset=name, table="units")
            for model in self.tasks.models
            for name in self.tasks.used_datasets()
        ]

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the run, without those that change no result."""
        settings = self.config.dump()
        for block in settings["datasets"].values():
            block.pop("shards", None)
        return settings

    def if_there(self, wildcards: Any) -> list[str]:
        """Return tables that the pages show only where they were asked for by themselves."""
        found = [
            fill(paths.SCREENING, table="screening", model=model, task=task)
            for model, task in self.tasks.ablated_in()
        ]
        return [path for path in found if Path(path).is_file()]
