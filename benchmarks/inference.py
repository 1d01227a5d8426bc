"""Cost of selection and resampling: draws of the whole selection at full size, on synthetic counts.

Sizes are those of CREMA-D with M2D's neurons: 7,438 clips, 36,864 neurons, 6 classes. Draws are by speaker
(91 groups), and by clip, with every clip a group of its own: the worst case, with fewer draws. ``bare`` is
the selection alone, which every draw needs.
"""

from collections.abc import Sequence

import numpy as np

from audio_neurons.activations.units import Units
from audio_neurons.inference.permutation import Permutation
from audio_neurons.inference.resampling import Bootstrap, Draws, draw, observed, pooled
from audio_neurons.neurons.selection import choose
from audio_neurons.settings.selection import PRESETS
from benchmarks.common import Report, options, peak, turns

RULE = PRESETS["aape"]


def make_units(clips: int, groups: int, neurons: int, classes: int) -> Units:
    """Return counts of random clips, pooled by group and class; 0 groups make every clip a group."""
    rng = np.random.default_rng(0)
    active = np.empty((clips, neurons), np.uint16)
    rates = rng.beta(0.5, 4, neurons)
    for row in active:
        row[:] = rng.binomial(80, rates)
    labels = rng.integers(0, classes, clips)
    group = rng.integers(0, groups, clips) if groups else np.arange(clips)
    names = tuple(map(str, range(classes)))
    return pooled(Units(active, np.full(clips, 80), labels, group, names))


def resample(units: Units, scheme: type, plan: Draws) -> None:
    for (chosen,) in draw(units, RULE, scheme(units), plan):
        assert chosen.selected.any()


def alone(clips: int, groups: int, neurons: int, classes: int, draws: int, threads: int) -> None:
    """Run everything once, to measure memory."""
    resample(make_units(clips, groups, neurons, classes), Permutation, Draws(draws, 0, threads=threads))


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"draws": 5, "draws_by_clip": 3, "clips": 40, "groups": 10, "neurons": 500, "classes": 3},
        draws=(1000, "draws of groups"),
        draws_by_clip=(50, "draws of clips"),
        clips=(7438, "clips"),
        groups=(91, "groups"),
        neurons=(36_864, "neurons"),
        classes=(6, "classes"),
    )
    sizes = args.clips, args.groups, args.neurons, args.classes
    with Report("inference", args) as report:
        for groups, draws in ((args.groups, args.draws), (0, args.draws_by_clip)):
            units = make_units(args.clips, groups, args.neurons, args.classes)
            whose = f"{groups} groups" if groups else f"{args.clips} clips"
            plan = Draws(draws, 0, threads=args.threads)
            active = np.stack(
                [units.active[units.labels == c].sum(0, dtype=float) for c in range(args.classes)]
            )
            tokens = np.bincount(units.labels, units.tokens)
            few = range(max(1, draws // 20))

            def bare(few=few, active=active, tokens=tokens) -> None:
                for _ in few:
                    choose(active, tokens, RULE)

            ways = {
                "selection": lambda units=units: observed(units, RULE),
                "bare": bare,
                "permutation": lambda units=units, plan=plan: resample(units, Permutation, plan),
                "bootstrap": lambda units=units, plan=plan: resample(units, Bootstrap, plan),
            }
            seconds = turns(ways, args.runs)
            report.add(f"one selection over {whose}", seconds["selection"], "s")
            for name in ("permutation", "bootstrap"):
                thousand = seconds[name] * 1000 / draws
                report.add(f"1,000 draws over {whose}, {name}", thousand, "s")
            ratio = seconds["permutation"] / draws / (seconds["bare"] / len(few))
            report.add(f"time of a permutation over {whose} / selection alone in one thread", ratio)
        memory = peak("benchmarks.inference", "alone", *sizes, min(args.draws, 100), args.threads)
        report.add(f"peak memory, {args.groups} groups", memory, "MB")


if __name__ == "__main__":
    main()
