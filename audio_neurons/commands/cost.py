"""Count what a study costs before it runs: ``python -m audio_neurons cost``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from audio_neurons.cost import calibration, estimate, work
from audio_neurons.cost.estimate import ASKED, STAGES, Item, Range
from audio_neurons.cost.records import took
from audio_neurons.cost.sizes import Sizes, sizes
from audio_neurons.settings.section import serialise
from audio_neurons.study.loading import HOME, ConfigError, complete
from audio_neurons.study.study import Study

HALF = 0.55
UNITS = (("h", 3600), ("min", 60), ("s", 1))


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to a parser's subcommands."""
    parser = commands.add_parser(
        "cost",
        help="count the hours of a configuration before it runs",
        description="Print the hours that a configuration takes on this machine and on named cards, by "
        "stage, model and dataset, before anything runs, and which settings would halve them. Numbers of "
        "clips are those of the clips that are prepared, of your own list, or of the datasets' descriptions. "
        "Rates of this machine are measured on noise, which takes some minutes at most, and kept. Hours on "
        "named cards are arithmetic. Ranges: random sets are drawn, and probes trained, only as long as it "
        "is needed.",
    )
    parser.add_argument(
        "configfile", type=Path, metavar="CONFIG", help="configuration, such as config/paper.yaml"
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="working directory of the runs (default: current)"
    )
    parser.add_argument(
        "--rates",
        type=Path,
        metavar="FILE",
        help="where rates are kept (default: audio-neurons/rates.json in $XDG_CACHE_HOME or ~/.cache)",
    )
    parser.add_argument("--recalibrate", action="store_true", help="measure all rates again")
    parser.add_argument(
        "--stages", action="store_true", help="only totals of stages, not models and datasets"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the hours; return 0, or 2 for an invalid configuration."""
    path = options.configfile.resolve()
    rates_file = (options.rates or calibration.file()).resolve()
    if not options.directory.is_dir():
        remedy = "before the first run, leave --directory out"
        print(f"error: {options.directory}: no such folder; {remedy}", file=sys.stderr)
        return 2
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        with chdir(options.directory):
            study = Study(complete(config, [path]), HOME)
            known = {name: sizes(study, name) for name in study.datasets}
            rates = calibration.calibrate(study, estimate.lengths(study), rates_file, options.recalibrate)
            found, unknown = estimate.items(study, known, rates)
            finished = took()
            cheaper = list(_cheaper(config, path, found, known, rates))
    except (ConfigError, OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(text(study, known, rates, found, unknown, cheaper, not options.stages)))
    print("\n".join(_compared(found, finished)), end="\n" if finished else "")
    print(f"Rates: {rates_file}")
    return 0


def text(
    study: Study,
    known: Mapping[str, Sizes | None],
    rates: Mapping[str, Any],
    found: Sequence[Item],
    unknown: Sequence[str],
    cheaper: Sequence[tuple[str, Range]],
    detailed: bool,
) -> Iterator[str]:
    """Yield the lines of the report."""
    cores = calibration.cores()
    yield f"This machine: {rates['machine']}"
    used = {task.dataset for task in study.config.tasks.values()}
    for name, one in known.items():
        if one is not None and name in used:
            yield f"{name}: {one.clips:,} clips of {one.seconds:.3g} s ({one.source})"
    precision = study.config.extraction.precision
    cards = {card: speed for (card, kind), speed in work.speeds().items() if kind == precision}
    head = ["stage", "model", "of", "here", *(f"{card}, {precision}" for card in cards)]
    rows = [head]

    def row(names: Sequence[str], some: Iterable[Item]) -> list[str]:
        some = list(some)
        on = [
            _time([i.here() for i in some], cores),
            *(_time([i.on(s) for i in some], cores) for s in cards.values()),
        ]
        return [*names, *on]

    for stage in STAGES:
        mine = [item for item in found if item.stage == stage]
        if detailed and len(mine) > 1:
            rows += [row((stage, item.model, item.of), [item]) for item in mine]
        if mine:
            rows.append(row((stage, "all", ""), mine))
    total = [item for item in found if item.stage not in ASKED]
    rows.append(row(("together", "", ""), total))
    widths = [max(len(line[i]) for line in rows) for i in range(len(head))]
    yield ""
    for line in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    starts, jobs = sum(item.starts for item in total), sum(item.jobs for item in total)
    yield ""
    yield f"Of these, starting {jobs:,} jobs: {_time([(starts, starts)], cores)}."
    yield f"Times are of this machine's {cores} cores, all at work; those of a card are arithmetic (its"
    yield "published peak times a guessed share) for the encoders, and of this machine's cores for all the"
    yield "rest. Downloads and the packing of AudioSet are not counted. Screening, which the target"
    yield "`ablations` asks for, is not in what all takes together."
    for told in unknown:
        yield f"Not known, and not counted: {told}"
    yield from _fewer(study, found, cards)
    yield from _advice(total, cheaper, cores)


def _compared(found: Sequence[Item], finished: Mapping[str, tuple[float, int]]) -> Iterator[str]:
    """Yield what finished jobs took, beside what all jobs of their stage are to take."""
    if not finished:
        return
    yield "Finished jobs took, in processor time by their logs, of what all jobs of the stage are to take:"
    for stage in STAGES:
        if stage in finished:
            seconds, jobs = finished[stage]
            least, most = _sum(item.here() for item in found if item.stage == stage)
            number = sum(item.jobs for item in found if item.stage == stage)
            yield (
                f"  {stage}: {_time([(seconds, seconds)], 1)} ({jobs} jobs) of {_time([(least, most)], 1)} "
                f"({number} jobs)"
            )


def _fewer(study: Study, found: Sequence[Item], cards: Mapping[str, float]) -> Iterator[str]:
    """Yield what makes fewer jobs of extraction, if on a card most of their time is that of starting them."""
    mine = [item for item in found if item.stage == "extraction"]
    starts, jobs = sum(item.starts for item in mine), sum(item.jobs for item in mine)
    idle = [card for card, speed in cards.items() if 2 * starts > _sum(item.on(speed) for item in mine)[1]]
    divided = any(len(study.datasets.shards(item.of)) > 1 for item in mine if item.of in study.datasets)
    ways = {
        "clips_per_shard: 100000": divided,
        "together: true": len(list(study.models)) > 1 and not study.models.together,
    }
    told = ", ".join(way for way, fewer in ways.items() if fewer)
    if idle and told:
        yield (
            f"Most of extraction's time on {', '.join(idle)} is that of starting its {jobs:,} jobs; "
            f"`extraction: {{{told}}}`, set before the first run, makes fewer."
        )


def _advice(found: Sequence[Item], cheaper: Sequence[tuple[str, Range]], cores: int) -> Iterator[str]:
    total = _sum(item.here() for item in found)[1]
    if not total:
        return
    greatest = max(found, key=lambda item: item.here()[1])
    names = " ".join(filter(None, (greatest.stage, greatest.model, greatest.of)))
    yield f"Greatest: {names}, {greatest.here()[1] / total:.0%}."
    for told, (least, most) in sorted(cheaper, key=lambda one: one[1][1]):
        if most < 0.95 * total:
            half = ", which halves it" if most <= HALF * total else ""
            yield f"  {told}: {_time([(least, most)], cores)}{half}"


def _cheaper(
    config: Mapping,
    path: Path,
    found: Sequence[Item],
    known: Mapping[str, Sizes | None],
    rates: Mapping[str, Any],
) -> Iterator[tuple[str, Range]]:
    """Yield settings that make a study cheaper, and the seconds that it then takes here."""
    inference = Study(complete(config, [path]), HOME).config.inference
    for told, section, key, value in _changes(config, found, known):
        changed = deepcopy(dict(config))
        changed[section] = {**(changed.get(section) or {}), key: value}
        try:
            study = Study(complete(changed, [path]), HOME)
        except ConfigError:  # something else in the configuration refers to what is left out
            continue
        asked, before = serialise(study.config.inference), rates["infer"][serialise(inference)]
        share = study.config.inference.draws / inference.draws
        scaled = {**rates, "infer": {asked: [*(share * value for value in before[:-1]), before[-1]]}}
        sampled = {name: sizes(study, name) for name in study.datasets}
        items, _ = estimate.items(study, sampled, scaled)
        yield told, _sum(item.here() for item in items if item.stage not in ASKED)


def _changes(
    config: Mapping, found: Sequence[Item], known: Mapping[str, Sizes | None]
) -> Iterator[tuple[str, str, str, object]]:
    """Yield in words, and as section, key and value, the settings that may make a study cheaper."""

    def costliest(of: str, stages: Sequence[str]) -> str:
        cost: dict[str, float] = {}
        for item in found:
            if item.stage in stages and (name := getattr(item, of)):
                cost[name] = cost.get(name, 0.0) + item.here()[1]
        return max(cost, key=lambda name: cost[name], default="")

    if any(item.stage == "ablation" for item in found):
        yield "without ablation, `ablation: {tasks: {}}`", "ablation", "tasks", {}
        yield "`ablation: {random: 20}`", "ablation", "random", 20
    if model := costliest("model", STAGES):
        yield f"without the costliest model, `models: {{{model}: false}}`", "models", model, False
    name = costliest("of", ("preparation", "extraction"))
    block, one = config["datasets"].get(name), known.get(name)
    if isinstance(block, dict) and one is not None and one.clips > 1:
        sample = {**(block.get("sample") or {}), "clips": one.clips // 2}
        told = (
            f"half of the costliest dataset, `datasets: {{{name}: {{sample: {{clips: {one.clips // 2}}}}}}}`"
        )
        yield told, "datasets", name, {**block, "sample": sample}
    yield "`inference: {draws: 200}`, and its other numbers in proportion", "inference", "draws", 200


def _sum(ranges: Iterable[Range]) -> Range:
    some = list(ranges)
    return sum(one[0] for one in some), sum(one[1] for one in some)


def _time(ranges: Iterable[Range], cores: int) -> str:
    """Return the time that all cores take for so many seconds, as a range where least and most differ.

    >>> _time([(7200, 10800)], 2), _time([(1, 1), (2, 2)], 1), _time([], 1)
    ('1 to 1.5 h', '3 s', '0 s')
    """
    both = [value / cores for value in _sum(ranges)]
    unit, seconds = next(((u, n) for u, n in UNITS if both[1] >= n), UNITS[-1])
    least, most = (_number(value / seconds) for value in both)
    return f"{least} {unit}" if least == most else f"{least} to {most} {unit}"


def _number(value: float) -> str:
    """Format a number with two significant digits.

    >>> _number(0), _number(0.01234), _number(1.25), _number(1234)
    ('0', '0.012', '1.2', '1,200')
    """
    if not value:
        return "0"
    rounded = round(value, 1 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
