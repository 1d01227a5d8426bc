"""What the workflow asks of datasets: archives, labels, clips, and the files that a person must bring."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from audio_neurons.datasets import custom
from audio_neurons.datasets import registry as datasets
from audio_neurons.datasets.registry import SPLITS
from audio_neurons.fetching import preflight, sources
from audio_neurons.running.contents import Contents
from audio_neurons.running.digest import code_digest
from audio_neurons.running.rates import SAMPLE_RATE
from audio_neurons.settings.configuration import Configuration
from audio_neurons.settings.datasets import Dataset
from audio_neurons.settings.section import serialise
from audio_neurons.study import paths
from audio_neurons.study.checks import clip_seconds, labels, sample_rates
from audio_neurons.study.loading import ConfigError
from audio_neurons.study.paths import fill


def content(contents: Contents, files: Sequence[str], label: str) -> list[str]:
    """Return the SHA-256 of files; of one that is gone, as an archive may be once prepared, its last one."""
    found = contents.of(files, f"checksums of {label}")
    return [found.get(Path(file)) or contents.last(file) or "" for file in files]


class Datasets:
    """The datasets of a configuration; methods that take ``wildcards`` are Snakemake's input functions.

    Parameters
    ----------
    config, values
        The configuration, and the same as plain values.
    """

    def __init__(self, config: Configuration, values: Mapping[str, Any], contents: Contents):
        self.config, self.contents = config, contents
        self.blocks: Mapping[str, Mapping[str, Any]] = values["datasets"]
        self.access = sources.Access(**values["download"])

    def __iter__(self) -> Iterator[str]:
        return iter(self.config.datasets)

    def __getitem__(self, name: str) -> Dataset:
        return self.config.datasets[name]

    def adapter(self, name: str) -> str:
        return str(self[name].adapter)

    @property
    def made_here(self) -> list[str]:
        """Datasets whose recordings are synthesised (the demo)."""
        return [name for name in self if self[name].synthesis is not None]

    @property
    def fetched(self) -> list[str]:
        """Datasets whose archives are downloaded or brought by a person."""
        return [name for name in self if self[name].synthesis is None and self[name].files is None]

    def making(self, name: str) -> dict[str, Any]:
        """Return all that decides the archives of a dataset that is synthesised."""
        synthesis = self[name].synthesis
        assert synthesis is not None
        return {
            "adapter": self.adapter(name),
            "clips": synthesis.clips,
            "seconds": self.clip_seconds(name),
            "seed": self.config.seed,
            "code": code_digest("synthesis.making"),
        }

    # Archives

    def archives(self, name: str) -> dict[str, str | list[str]]:
        """Return role → path of each archive, or its paths where there are many."""
        if (files := self[name].files) is not None:
            return {"files": files}
        found: dict[str, str | list[str]] = {}
        for role, facts in sources.archives(self.blocks[name]).items():
            names = sources.names(facts)
            found[role] = self._archive(name, names) if isinstance(names, str) else [
                self._archive(name, one) for one in names
            ]  # fmt: skip
        return found

    def _archive(self, name: str, file: str) -> str:
        return fill(paths.ARCHIVE, dataset=name, file=file)

    def archives_here(self, name: str) -> dict[str, Path | list[Path]] | None:
        """Return the archives, also those that were brought by hand; ``None`` if one is not here."""
        found: dict[str, Path | list[Path]] = {}
        for role, given in self.archives(name).items():
            paths = [self._here(name, file) for file in ([given] if isinstance(given, str) else given)]
            here = [path for path in paths if path is not None]
            if len(here) < len(paths):
                return None
            found[role] = here[0] if isinstance(given, str) else here
        return found

    def _here(self, name: str, file: str) -> Path | None:
        if self[name].files is not None or Path(file).exists():
            return Path(file)
        return self.access.brought(Path(file).name, name)

    def archive_files(self, name: str) -> list[str]:
        """Return the paths of all archives."""
        return [
            file for one in self.archives(name).values() for file in ([one] if isinstance(one, str) else one)
        ]

    def collections(self) -> list[str]:
        """Return the escaped names, without the batch's number, of archives that hold many small files."""
        facts = [f for d in self.fetched for f in sources.archives(self.blocks[d]).values() if "batches" in f]
        return sorted({re.escape(f["file"].removesuffix("{batch}.tar")) for f in facts})

    def _role(self, wildcards: Any) -> tuple[str, Mapping[str, Any]]:
        """Return the archive's role and facts that an output of a download belongs to."""
        file = getattr(wildcards, "file", None) or f"{wildcards.collection}{wildcards.batch}.tar"
        for role, facts in sources.archives(self.blocks[wildcards.dataset]).items():
            names = sources.names(facts)
            if file in ([names] if isinstance(names, str) else names):
                return role, facts
        raise ConfigError(f"{self._archive(wildcards.dataset, file)}: no such archive")

    def archive_role(self, wildcards: Any) -> str:
        return self._role(wildcards)[0]

    def archive_identity(self, wildcards: Any) -> str:
        """Serialise the facts that decide an archive's content; its address changes nothing."""
        return serialise(sources.identity(self._role(wildcards)[1]))

    def listing(self, wildcards: Any) -> list[str | list[str]]:
        """Return the archive that names a collection's files, where no manifest does."""
        facts = self._role(wildcards)[1]
        return [self.archives(wildcards.dataset)[facts["listing"]]] if "listing" in facts else []

    # Clips

    def threads(self, name: str) -> int:
        """Return the threads that convert recordings; jobs of few, synthesised ones run side by side."""
        return 1 if self[name].synthesis else 2

    def shards(self, name: str) -> list[str]:
        return [f"{number:03d}" for number in range(int(self[name].shards))]

    @cached_property
    def rates(self) -> list[int]:
        """Sampling rates that some model hears; clips are stored at each."""
        return sorted(set(sample_rates(self.config).values())) or [SAMPLE_RATE]

    @property
    def stored(self) -> list[tuple[str, int]]:
        """Datasets and sampling rates at which their clips are stored."""
        return [(name, rate) for name in self for rate in self.rates]

    def named(self, name: str, rate: int) -> str:
        """Return a name that tells the sampling rate if it is not 16 kHz."""
        return name if rate == SAMPLE_RATE else f"{name}_{rate}Hz"

    def clips(self, name: str, rate: int | None = None) -> list[str]:
        """Return the paths of a dataset's clips, of one sampling rate or of all."""
        return [
            self.clips_of(name, shard, one)
            for one in (self.rates if rate is None else [rate])
            for shard in self.shards(name)
        ]

    def clips_of(self, name: str, shard: str, rate: int) -> str:
        """Return the path of a part of a dataset's clips; it names a sampling rate other than 16 kHz."""
        return fill(self.at_rate(paths.CLIPS, name, rate), shard=shard)

    def at_rate(self, path: str, name: str, rate: int) -> str:
        """Return the path of a dataset's table of clips at a sampling rate; only 16 kHz is not in it."""
        return fill(path, dataset=name if rate == SAMPLE_RATE else f"{name}/{rate}Hz")

    def all_rejected(self, wildcards: Any) -> list[str]:
        """Return a dataset's tables of recordings that are not used, one per sampling rate."""
        return [self.at_rate(paths.REJECTED, wildcards.dataset, rate) for rate in self.rates]

    def clip_seconds(self, name: str) -> float:
        return clip_seconds(self[name])

    def labels(self, name: str) -> tuple[str, ...]:
        return labels(self[name])

    def cell_labels(self, name: str) -> list[str]:
        """Return the labels whose combinations are counted apart: the dataset's choice, and the tasks'."""
        asked = {task.label for task in self.config.tasks.values() if task.dataset == name}
        own = datasets.source(self.adapter(name))
        kept = asked.union(own.get("cells") or own["labels"] or [])
        return [label for label in self.labels(name) if label in kept]

    def preparation(self, name: str, wildcards: Any) -> str:
        """Serialise the settings that decide a dataset's clips.

        ``excluded`` and ``options`` are the dataset's own where the configuration has none. Where the start
        of a recording is stored, the length of clips is not among them: extraction crops.
        """
        facts = datasets.source(self.adapter(name))
        excluded, windows, options = self[name].excluded, self[name].windows, self.options(name)
        return serialise(
            {
                "labels": datasets.labels(self.adapter(name), self.archives(name), options),
                "options": options,
                "excluded": facts.get("excluded", {}) if excluded is None else excluded,
                "windows": windows,
                "clip_seconds": None if windows.plain else self.clip_seconds(name),
                "sample": self[name].sample,
                **self.config.preparation.dump(),
            }
        )

    def check(self, name: str, wildcards: Any = None) -> str:
        """Serialise the settings that decide the check of a dataset's recordings."""
        asked = {task.label for task in self.config.tasks.values() if task.dataset == name}
        counted = SPLITS if self.config.selection.statistics_split == "all" else ("train",)
        settings = json.loads(self.preparation(name, wildcards))
        return serialise(
            {
                "options": settings["options"],
                "excluded": settings["excluded"],
                "windows": settings["windows"],
                "sample": settings["sample"],
                "terms": {
                    "labels": [label for label in self.labels(name) if label in asked],
                    "clip_seconds": self.clip_seconds(name),
                    "max_seconds": settings["max_seconds"],
                    "splits": counted,
                    "padded": self.config.extraction.count == "window",
                },
            }
        )

    def facts_cache(self, name: str) -> str:
        return fill(paths.FACTS_CACHE, dataset=name)

    def checked(self, names: Iterable[str]) -> list[str]:
        """Return the datasets that are checked: not one that is prepared, and whose archives were removed."""
        return [
            name
            for name in names
            if Path(fill(paths.CHECKS, dataset=name)).exists()
            or not self.prepared(name)
            or all(Path(file).exists() for file in self.archive_files(name))
        ]

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of a dataset's adapter.

        Of one's own list, tasks say which labels are used, and a sample that is balanced by one.
        """
        options = {**datasets.source(self.adapter(name)).get("options", {}), **self[name].options}
        files, columns = self[name].files, options.get("columns") or {}
        if files is None or Path(files).is_dir() or not isinstance(columns, Mapping) or "labels" in columns:
            return options
        asked = {task.label for task in self.config.tasks.values() if task.dataset == name}
        if (sample := self[name].sample) and sample.per:
            asked.add(sample.per)
        if options.get("events") is not None:  # whose label is no column of the list
            asked.discard(options["event_label"])
        used = [label for label in self.labels(name) if label in asked]
        return {**options, "columns": {**columns, "labels": used}} if used else options

    def content(self, name: str, wildcards: Any) -> str:
        """Return a digest of a dataset's archives, or of one's own recordings: their times do not count."""
        files = self[name].files
        if files is None:
            return serialise(content(self.contents, self.archive_files(name), name))
        try:
            label = f"checksums of {name}"
            return custom.listing(Path(files), partial(self.contents.of, label=label), **self.options(name))
        except datasets.DatasetError as error:
            raise ConfigError(f"datasets.{name}.files: {error}") from None

    def archive_inputs(self, name: str, ancient: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the archives by role; ``ancient`` marks those whose times do not count."""
        mark = ancient if self.by_content(name) else lambda files: files
        return {role: mark(files) for role, files in self.archives(name).items()}

    def by_content(self, name: str) -> bool:
        """Return whether only the content of a dataset's files counts, and not their times.

        It does of one's own recordings, and of archives that are there. Those of which the configuration says
        something else than when they were fetched or made may be fetched or made again, which must be
        noticed in the same run.
        """
        if self[name].files is not None:
            return True
        if self[name].synthesis is not None:
            there = all(Path(path).is_file() for path in self.archive_files(name))
            record = Path(fill(paths.SYNTHESIS, dataset=name))
            made = record.read_text(encoding="utf-8") if record.is_file() else None
            return there and made == serialise(self.making(name))
        return all(
            sources.settled(
                self._archive(name, file), fill(paths.ARCHIVE_LOCK, dataset=name, file=file), facts
            )
            for facts in sources.archives(self.blocks[name]).values()
            if isinstance(file := sources.names(facts), str)
        )

    # Files that a person must bring

    def prepared(self, name: str) -> bool:
        return all(Path(path).exists() for path in self.clips(name))

    def folder(self, name: str) -> Path:
        """Return the folder of a dataset's archives."""
        return Path(self._archive(name, "_")).parent

    @cached_property
    def wanted(self) -> dict[str, list[Mapping[str, Any]]]:
        """Datasets that only a person can bring, and the facts of the files that are lacking."""
        found = {}
        for name in self.fetched:
            if not self.prepared(name):
                found[name] = preflight.wanted(self.blocks[name], self.folder(name), self.access)
        return {name: files for name, files in found.items() if files}

    def all_clips(self) -> list[str]:
        return [path for name in self if name not in self.wanted for path in self.clips(name)]

    def downloads(self) -> list[str]:
        """Return the archives that are still to be prepared."""
        names = [name for name in self.fetched if name not in self.wanted and not self.prepared(name)]
        return [path for name in names for path in self.archive_files(name)]

    def space_warning(self) -> str | None:
        """Return a warning where the disk has too little room for the archives."""
        lacking = {
            name: preflight.lacking_bytes(self.blocks[name], self.folder(name))
            for name in self.fetched
            if name not in self.wanted and not self.prepared(name)
        }
        return preflight.space_warning(lacking, Path())
