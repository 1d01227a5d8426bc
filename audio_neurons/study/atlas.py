"""What the workflow asks of the atlas: clips that stand for neurons, their sounds, and pages."""

from __future__ import annotations

from typing import Any

from audio_neurons.settings.section import serialise
from audio_neurons.study import paths
from audio_neurons.study.paths import fill
from audio_neurons.study.tasks import Tasks


class Atlas:
    """The atlas of a configuration; methods that take ``wildcards`` are Snakemake's input functions."""

    def __init__(self, tasks: Tasks):
        self.tasks, self.config = tasks, tasks.config

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
