"""Hours of a study by stage: the work that its configuration asks for, at the rates of a machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_neurons.cost import calibration, work
from audio_neurons.cost.sizes import Sizes
from audio_neurons.models.facts import DATASET
from audio_neurons.settings.extraction import ON_CPU
from audio_neurons.settings.section import serialise
from audio_neurons.study import paths
from audio_neurons.study.paths import fill
from audio_neurons.study.study import Study
from audio_neurons.study.tasks import SPLIT_OF_EFFECTS

STAGES = (
    "preparation", "training", "extraction", "selection", "inference", "probes", "ablation",
    "atlas", "figures and tables", "screening",
)  # fmt: skip
ASKED = ("screening",)  # stages that run only if they are asked for: by the target `ablations`
# Operations of a step of training over those of a pass of its clips: forward, and twice as much backward.
TRAINED = 3
# Jobs that write tables and the summary: tabulate, tabulate_published, tabulate_expectations, summarize; and
# tabulate_acoustics, if these are measured.
TABULATING = 4
JOBS_OF_DATASET = 2  # one checks it, and one prepares it for each sampling rate
CARD = 0.0002  # seconds of a neuron's card in the atlas, per dataset, as measured on two cores of an EPYC
Range = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """The cost of one stage for one model and one dataset, task or comparison; ranges are from least to most.

    Attributes
    ----------
    encoder
        Seconds of an encoder on this machine.
    operations
        Its operations, for other devices.
    other
        Seconds of processor time of everything else, less the start of jobs.
    starts, jobs
        Seconds of processor time of starting jobs, and their number.
    """

    stage: str
    model: str
    of: str
    encoder: Range = (0.0, 0.0)
    operations: Range = (0.0, 0.0)
    other: Range = (0.0, 0.0)
    starts: float = 0.0
    jobs: int = 0

    def here(self) -> Range:
        """Return the seconds on this machine."""
        return _range(e + o + self.starts for e, o in zip(self.encoder, self.other, strict=True))

    def on(self, speed: float) -> Range:
        """Return the seconds with encoders on a device of ``speed`` operations per second."""
        return _range(n / speed + o + self.starts for n, o in zip(self.operations, self.other, strict=True))


def _range(values: Any) -> Range:
    least, most = values
    return least, most


def lengths(study: Study) -> dict[str, list[float]]:
    """Return model → lengths of clips at which it is run."""
    used = {task.dataset for task in study.config.tasks.values()}
    found = {
        model: [study.datasets.clip_seconds(name) for name in study.datasets if name in used]
        for model in study.models
    }
    for model in study.models.with_weights("training"):
        found[model] = [*found[model], _trained_seconds(study, model)]
    return found


def _trained_seconds(study: Study, model: str) -> float:
    """Return the length that a training hears of each clip."""
    frames = study.models.blocks[model].get("input_size", (80, 608))[1]
    return min(study.models.training(model).clip_seconds, frames / 100)


def items(
    study: Study, sizes: Mapping[str, Sizes | None], rates: Mapping[str, Any]
) -> tuple[list[Item], list[str]]:
    """Return the items of a study's cost, and what cannot be known, in words.

    Parameters
    ----------
    sizes
        Dataset → its numbers of clips.
    rates
        Of :func:`audio_neurons.cost.calibration.calibrate`.
    """
    counted = _Counted(study, sizes, rates)
    found = list(counted.items())
    return found, list(dict.fromkeys(counted.unknown))


class _Counted:
    def __init__(self, study: Study, sizes: Mapping[str, Sizes | None], rates: Mapping[str, Any]):
        self.study, self.config, self.sizes, self.rates = study, study.config, sizes, rates
        self.unknown: list[str] = [
            f"{name}: how many clips there will be" for name, one in sizes.items() if one is None
        ]
        self.unknown += [f"{name}: {why}" for name, why in rates["unknown"].items()]
        if self.config.extraction.acoustics:
            self.unknown.append("what extraction.acoustics adds to extraction and inference")
        asked = self.config.extraction.batch_size
        self.batch = ON_CPU if isinstance(asked, str) else asked

    def items(self) -> Iterator[Item]:
        tasks = self.config.tasks
        used = [name for name in self.study.datasets if name in {task.dataset for task in tasks.values()}]
        for name in used:
            if (one := self.sizes[name]) is not None:
                yield from self.prepared(name, one)
        yield from self.pools()
        for model in self.study.models:
            if (rate := self.encoder(model)) is None:
                continue
            yield from self.trained(model, rate)
            yield Item("extraction", model, "its networks", **self.start(rate))
            for name in used:
                if (one := self.sizes[name]) is not None:
                    yield self.extracted(model, name, one, rate)
            for task, block in tasks.items():
                if (one := self.sizes[block.dataset]) is not None:
                    yield self.tables("selection", model, task, 1)
                    yield from self.inferred(model, task, [task], rate)
            for name, compared in self.config.comparisons.items():
                if all(self.sizes[tasks[t].dataset] is not None for t in compared.tasks):
                    yield self.tables("selection", model, name, 1, kind="tests")
                    yield from self.inferred(model, name, compared.tasks, rate, compared=True)
        for model, task in self.study.tasks.ablated_in():
            one, found = self.sizes[tasks[task].dataset], self.encoder(model)
            if one is not None and found is not None:
                yield from self.ablated(model, task, one, found)
        if self.config.atlas.make:
            yield from self.shown(used)
        figures = self.study.results.figures("pdf")
        start = self.rates["start"]
        drawn, listed = len(figures), TABULATING + self.config.extraction.acoustics
        # Figures show the classes of each model, in panels or within them.
        sizes = [(block.label, self.sizes[block.dataset]) for block in tasks.values()]
        classes = [one.classes.get(label, 0) for label, one in sizes if one is not None]
        panels = len(list(self.study.models)) * sum(classes) / max(1, len(classes))
        each = start["figure"] + max(0.0, panels - 1) * start["panel"]
        starts = drawn * each + listed * start["tables"]
        yield Item("figures and tables", "", "", starts=starts, jobs=drawn + listed)

    def encoder(self, model: str) -> dict[str, Any] | None:
        found = self.rates["encoders"].get(calibration.key(self.study, model), {})
        return found if "first" in found else None

    @property
    def others(self) -> list[str]:
        """Models whose passes the jobs of the first one run (``extraction.together``)."""
        return [name for name in self.study.models.together if self.encoder(name) is not None][1:]

    def tables(
        self, stage: str, model: str, of: str, jobs: int, other: Range = (0.0, 0.0), kind: str = "tables"
    ) -> Item:
        return Item(stage, model, of, other=other, starts=jobs * self.rates["start"][kind], jobs=jobs)

    def start(self, rate: Mapping[str, Any], jobs: int = 1) -> dict[str, Any]:
        return {"starts": jobs * rate["start"], "jobs": jobs}

    def filled(self, clips: float, parts: int = 1) -> float:
        """Return the clips of whole batches: the last batch of a job is filled up."""
        return math.ceil(clips / parts / self.batch) * self.batch * parts if clips else 0

    def prepared(self, name: str, one: Sizes) -> Iterator[Item]:
        own = self.study.datasets[name]
        audio, stored = one.clips * one.seconds, len(self.study.datasets.rates)
        seconds = audio * (stored * self.rates["prepare"] + self.rates["check"])
        yield self.tables("preparation", "", name, JOBS_OF_DATASET + stored - 1, (seconds, seconds))
        if own.synthesis is not None:
            yield from self.made(name, "recordings", calibration.made(self.study, name), own.synthesis.clips)

    def pools(self) -> Iterator[Item]:
        trained = self.study.models.with_weights("training")
        used = {self.study.models.training(model).pool for model in trained}
        for name in self.study.models.pools("made"):
            pool = self.config.pools[name]
            if name in used:
                yield from self.made(name, "pools", f"{pool.clip_seconds:g}", pool.clips or 0)

    def made(self, name: str, kind: str, as_: str, clips: int) -> Iterator[Item]:
        """Yield what making recordings here costs."""
        if (found := self.rates[kind].get(as_)) is not None:
            constant, each = found
            seconds = constant + each * clips
            yield self.tables("preparation", "", f"{name}, made", 1, (seconds, seconds), kind="tests")

    def passes(self, model: str, rate: Mapping[str, Any], seconds: float) -> Mapping[str, float]:
        return rate["passes"][f"{seconds:g}"]

    def ran(
        self,
        stage: str,
        model: str,
        of: str,
        clips: Range,
        rate: Mapping,
        seconds: float,
        jobs: int = 1,
        **more: Any,
    ) -> Item:
        """Return the item of so many passes of a clip."""
        one = self.passes(model, rate, seconds)
        encoder, operations = (tuple(n * one[what] for n in clips) for what in ("pass", "operations"))
        return Item(stage, model, of, _range(encoder), _range(operations), **self.start(rate, jobs), **more)

    def trained(self, model: str, rate: Mapping[str, Any]) -> Iterator[Item]:
        if model not in self.study.models.with_weights("training"):
            return
        training = self.study.models.training(model)
        found = self.rates["trainings"].get(calibration.training_key(self.study, model))
        if found is None:  # why is in what is unknown
            return
        constant, each = found["step"]
        encoder = training.steps * (constant + each * training.batch_size)
        heard = training.steps * training.batch_size
        one = self.passes(model, rate, _trained_seconds(self.study, model))
        operations = heard * TRAINED * one["operations"]
        pool = self.config.pools[training.pool]
        read = found["read"] * (heard if pool.clips is None else pool.clips)  # of AudioSet in each step
        yield Item(
            "training", model, training.pool, (encoder, encoder), (operations, operations), (read, read),
            **self.start(rate),
        )  # fmt: skip

    def extracted(self, model: str, name: str, one: Sizes, rate: Mapping[str, Any]) -> Item:
        seconds, shards = self.study.datasets.clip_seconds(name), len(self.study.datasets.shards(name))
        pass_ = self.passes(model, rate, seconds)
        clips = self.filled(one.clips, shards) * pass_["extract"] / pass_["pass"]
        other, jobs = one.clips * one.seconds * self.rates["decode"], shards
        if model in self.others:  # they hear what the first one's jobs decode
            other, jobs = 0.0, 0
        if self.config.extraction.activity == "median":
            clips += self.filled(min(self.config.extraction.median.clips, one.clips))
            jobs += 1
        if self.study.models[model].norm_stats == DATASET:
            other += one.clips * pass_["front"]
            jobs += 1
        found = self.ran("extraction", model, name, (clips, clips), rate, seconds, jobs, other=(other, other))
        merged = self.tables("extraction", model, name, 1)
        return Item(**{**vars(found), "starts": found.starts + merged.starts, "jobs": found.jobs + 1})

    def classes(self, task: str, one: Sizes) -> int | None:
        label = self.config.tasks[task].label
        if label not in one.classes:
            self.unknown.append(f"{task}: the number of its classes")
        return one.classes.get(label)

    def inferred(
        self, model: str, of: str, tasks: list[str], rate: Mapping[str, Any], compared: bool = False
    ) -> Iterator[Item]:
        if not self.study.tasks.resampled:
            return
        total = 0.0
        for task in tasks:
            one = self.sizes[self.config.tasks[task].dataset]
            assert one is not None
            if (classes := self.classes(task, one)) is None:
                return
            rows = min(one.clips, (one.groups or one.clips) * classes)
            asked = serialise(self.config.inference)
            constant, per_neuron, per_row, per_class, whole = self.rates["infer"][asked]
            one_task = constant + rate["neurons"] * (per_neuron + per_row * rows + per_class * classes)
            total += one_task * (whole if compared else 1.0)
        yield self.tables("inference", model, of, 1, (total, total))

    def shown(self, used: list[str]) -> Iterator[Item]:
        """Yield the atlas: passes over the clips of neurons, their sounds, and the pages."""
        from audio_neurons.recordings.excerpts import SECONDS  # imports PyTorch

        settings, cards = self.config.atlas, 0.0
        atlas, selector = self.study.atlas, self.study.tasks.selector
        for model in self.study.models:
            if (rate := self.encoder(model)) is None:
                continue
            cards += CARD * rate["neurons"] * len(used)
            for name in used:
                if (one := self.sizes[name]) is None:
                    continue
                drawn = min(settings.clips, one.clips)
                # The strongest clips of neurons that are specific to a class; many have the same.
                rules = [self.study.tasks.rule_for(task, selector) for task in atlas.tasks_of(name)]
                chosen = sum(rule.top_share for rule in rules) * rate["neurons"]
                most = min(one.clips, drawn + chosen * self.config.extraction.top_clips)
                clips = _range(map(self.filled, (drawn, most)))
                seconds, first = self.study.datasets.clip_seconds(name), model not in self.others
                other = _range(first * n * one.seconds * self.rates["decode"] for n in (drawn, most))
                yield self.ran("atlas", model, name, clips, rate, seconds, int(first), other=other)
        for name in used:
            if (one := self.sizes[name]) is not None:
                least, most = (min(settings.sounds, n, one.clips) for n in (settings.clips, one.clips))
                audio = min(one.seconds, SECONDS) * self.rates["excerpt"]
                yield self.tables(
                    "atlas", "", f"{name} sounds", 1, (least * audio, most * audio), kind="probes"
                )
        yield self.tables("atlas", "", "pages", 1, (cards, cards))

    def ablated(self, model: str, task: str, one: Sizes, rate: Mapping[str, Any]) -> Iterator[Item]:
        classes = self.classes(task, one)
        if one.splits is None:
            self.unknown.append(f"{task}: the clips of its test split")
        if classes is None or one.splits is None:
            return
        settings, probe = self.config.ablation, self.config.probe
        seconds = self.study.datasets.clip_seconds(self.config.tasks[task].dataset)
        training = one.splits.get("train", one.clips)
        fits = len(probe.seeds) * (one.folds if probe.folds else 1)
        constant, per_class = rate["probe"]
        epoch = (constant + per_class * classes) * fits * training
        epochs = (min(probe.patience + 1, probe.epochs), probe.epochs)
        start = self.rates["start"]["probes"]
        yield Item("probes", model, task, other=_range(epoch * n for n in epochs), starts=start, jobs=1)

        block = self.study.tasks.ablated(task)
        sets = (classes if block.classes is None else len(block.classes)) + 2 * len(block.shared)
        sets += sum(1 for name, lst in block.lists.items() if lst.models is None or model in lst.models)
        clips = self.filled(one.splits.get(SPLIT_OF_EFFECTS, 0))
        own, compared = work.own_conditions(settings, sets), work.compared_conditions(settings, sets)
        shares = self.shares(model, task, rate) or (rate["middle"], rate["first"])
        passes = []
        for draws, share in zip((work.fewest_draws(settings), settings.random), shares, strict=True):
            bare = work.rounds_of(settings, compared, draws) + settings.jobs - 1
            donors = bare if "resample" in settings.replacements else 0
            total = clips * ((own + compared * draws) * share + bare + donors)
            if "mean" in settings.replacements:
                total += self.filled(training) * settings.jobs
            passes.append(total)
        jobs = settings.jobs + (settings.jobs > 1)
        yield self.ran("ablation", model, task, _range(passes), rate, seconds, jobs)

        screened = self.filled(one.splits.get(settings.screening.split, 0))
        number = float(screened * (1 + TRAINED + settings.screening.sample * rate["middle"]))
        yield self.ran("screening", model, task, (number, number), rate, seconds)

    def shares(self, model: str, task: str, rate: Mapping[str, Any]) -> Range | None:
        """Return the share of a pass that a condition of the selected neurons takes, if they are selected."""
        path = Path(self.study.tasks.table("neurons", model, task))
        networks = Path(fill(paths.NETWORKS, model=model))
        if not path.is_file() or not networks.is_file():
            return None
        from audio_neurons import tables
        from audio_neurons.neurons.selection import specific_neurons

        depth = len(tables.read(networks, "networks"))
        columns = ["layer", "neuron", "class", "response", "assigned"]
        sets = specific_neurons(tables.read(path, "neurons", columns))
        wanted = self.study.tasks.ablated(task).classes
        firsts = [
            min(layer for layer, _ in one)
            for c, one in sets.items()
            if one and (wanted is None or c in wanted)
        ]
        if not firsts or depth < 2:
            return None
        slope = (rate["first"] - rate["middle"]) / (depth // 2)
        mean = sum(max(0.0, rate["first"] - slope * first) for first in firsts) / len(firsts)
        return mean, mean
