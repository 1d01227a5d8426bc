"""A study: everything that one configuration asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audio_neurons.fetching import preflight
from audio_neurons.running.contents import Contents
from audio_neurons.settings.configuration import Configuration
from audio_neurons.study import paths
from audio_neurons.study.atlas import Atlas
from audio_neurons.study.datasets import Datasets
from audio_neurons.study.models import Models
from audio_neurons.study.results import Results
from audio_neurons.study.tasks import Tasks


class Study:
    """Datasets, models and tasks of a configuration, what its results say of them, and the notices of a run.

    Parameters
    ----------
    values
        A complete configuration (see :func:`audio_neurons.study.loading.complete`).
    home
        The checkout, with the published numbers under ``resources/``.
    """

    def __init__(self, values: Mapping[str, Any], home: Path):
        self.config = Configuration(**values)
        self.contents = Contents(paths.CONTENTS)
        self.datasets = Datasets(self.config, values, self.contents)
        self.models = Models(self.config, values, self.contents)
        self.tasks = Tasks(self.config, self.datasets, self.models, home / "resources" / "published")
        self.results = Results(self.tasks)
        self.atlas = Atlas(self.tasks, self.results)

    def downloads(self) -> list[str]:
        """Return the archives and checkpoints that need a network."""
        return self.datasets.downloads() + self.models.downloads()

    def notices(self) -> Iterator[str]:
        """Yield what a run leaves out and why, and warnings about the disk, clocks and stale results."""
        for name, files in self.datasets.wanted.items():
            tasks = [task for task in self.config.tasks if self.tasks.dataset(task) == name]
            figures = [c for c, one in self.config.comparisons.items() if set(one.tasks) & set(tasks)]
            block = self.datasets.blocks[name]
            yield preflight.request(name, block, files, self.datasets.access, tasks, figures)
        results = Path("results")
        shards = {name: len(self.datasets.shards(name)) for name in self.datasets}
        yield from filter(
            None,
            [
                self.datasets.space_warning(),
                preflight.clock_warning(results, time.time()),
                preflight.record_warning(results, Path(".snakemake/metadata")),
                preflight.parts_warning(results, shards),
            ],
        )
