"""Size and power of the tests, on simulated data: the figures in docs/validity.md.

The size is how often p <= .05 where there is nothing to find; it should be 0.05. Each line is of data sets
with seeds 0, 1, 2, ..., so another run gives the same numbers. ``python -m benchmarks.validity`` prints the
tables (half an hour on one core); ``--sets`` says how many data sets each line has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from audio_neurons.ablation.effects import Clusters
from audio_neurons.activations.units import Units
from audio_neurons.inference.differences import two_sided
from audio_neurons.inference.identities import identity_test
from audio_neurons.inference.inference import Task, infer, ratios, replication
from audio_neurons.inference.patterns import FOUND, OPPOSITE, PairDraws, contrast, neighbours
from audio_neurons.inference.permutation import Scheme
from audio_neurons.inference.replication import REPLICATION
from audio_neurons.inference.resampling import pooled
from audio_neurons.inference.sharing import infer_comparison, infer_ratios
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

TOKENS = 100
RULE = rule_of("aape", {"top_share": 0.05})
ALPHA = 0.05


# Designs in which no class does anything: group, class and clips of every row


def balanced(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(24), np.arange(24) % 2, np.full(24, 6)


def single_clips(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class a has groups of one clip, class b of twelve."""
    label = np.arange(24) % 2
    return np.arange(24), label, np.where(label == 0, 1, 12)


def single_clips_within(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every speaker says one clip of class a, and twelve of b and of c."""
    group, label = (a.ravel() for a in np.mgrid[:12, :3])
    return group, label, np.where(label == 0, 1, 12)


def as_many_clips(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """48 clips per class, in 2, 6 and 24 groups."""
    groups = np.array([2, 6, 24])
    return np.arange(32), np.repeat(np.arange(3), groups), np.repeat(48 // groups, groups)


def uneven_speakers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As in VoxForge: speakers of 1 to 4 clips in one language, of 1 to 24 in the other."""
    label = np.arange(40) % 2
    return np.arange(40), label, np.where(label == 0, rng.integers(1, 5, 40), rng.integers(1, 25, 40))


def half_a_class(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every speaker says one clip of class a, and two of b, c and d: neutral, in RAVDESS."""
    group, label = (a.ravel() for a in np.mgrid[:12, :4])
    return group, label, np.where(label == 0, 1, 2)


def one_large_group(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One group has most of the clips of its class."""
    return np.arange(24), np.arange(24) % 2, np.where(np.arange(24) == 0, 60, 3)


DESIGNS = {
    "balanced": balanced,
    "a class of single clips": single_clips,
    "a class of single clips within speakers": single_clips_within,
    "48 clips per class in 2, 6, 24 groups": as_many_clips,
    "1-4 against 1-24 clips per speaker": uneven_speakers,
    "one class of half as many clips within speakers": half_a_class,
    "one group of most clips": one_large_group,
}


def single(name: str, seed: int, neurons: int = 300, between: float = 0.4, within: float = 1.0) -> Units:
    """Return clips of which no class does anything; deviations are of log odds, of groups and of clips.

    Clips of a group vary more than groups do, so that a row of few clips is noisy.
    """
    rng = np.random.default_rng(seed)
    group, label, clips = DESIGNS[name](rng)
    base = np.random.default_rng(99).normal(-2, 1.5, neurons)
    of_group = rng.normal(0, between, (group.max() + 1, neurons))[group]
    row = np.repeat(np.arange(len(group)), clips)
    odds = base + of_group[row] + rng.normal(0, within, (len(row), neurons))
    counts = rng.binomial(TOKENS, 1 / (1 + np.exp(-odds))).astype(np.uint32)
    classes = tuple("abcd"[: label.max() + 1])
    return Units(counts, np.full(len(row), TOKENS), label[row], group[row], classes)


def sample(name: str, seed: int, neurons: int = 300, between: float = 0.4, within: float = 1.0) -> Units:
    """Return the units of such clips: rows of a group and class."""
    return pooled(single(name, seed, neurons, between, within))


class Free:
    """Exchanges rows whatever their sizes, as version 0.1.0 did."""

    number = 0

    def __init__(self, units: Units):
        several = np.bincount(units.groups)[units.groups] > 1
        self._labels, self._strata = units.labels, np.where(several, units.groups, -1)

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = np.empty_like(self._labels)
        places = np.argsort(self._strata, kind="stable")
        labels[places] = self._labels[np.lexsort((rng.random(len(labels)), self._strata))]
        return labels[None], np.ones((1, len(labels)), np.int64)


def size(
    units: Iterable[Units], draws: int, scheme: Callable[[Units], Scheme] | None = None, clips: bool = False
) -> dict[str, float]:
    """Return how often p <= .05: by statistic of a task over data sets, and over single ``neurons``.

    ``clips`` says that the units are single clips, which change places by themselves.
    """
    settings = Inference(draws=draws, bootstrap=1, halves=1, replications=draws, splits=1)
    called: dict[str, list[float]] = {}
    for one in units:
        some = settings if scheme is None else settings.changed(replications=1)  # has no other scheme
        rows, _, neurons = infer(Task.of(one, RULE, one if clips else None), some, scheme=scheme)
        known = rows[(rows["family"] == "alone") & ((scheme is None) | ~rows["statistic"].isin(REPLICATION))]
        for row in known.itertuples():
            called.setdefault(row.statistic, []).append(row.p_value <= ALPHA)
        for title, of in (("neurons", "p_value"), ("neurons, pooled", "pooled_p")):
            called.setdefault(title, []).append(float(np.mean(neurons[of] <= ALPHA)))
        called.setdefault("any neuron, q", []).append(bool((neurons["q_value"] <= ALPHA).any()))
    return {name: float(np.mean(p)) for name, p in called.items()}


# Pairs of tasks

PATTERNS = ("nothing", "unrelated", "nuisance", "all", "ordered")


def pair(truth: str, seed: int, classes: int = 2, neurons: int = 300, groups: int = 12) -> list[Task]:
    """Return two tasks of the same neurons, with ``groups`` of one class each per class.

    ``nothing``: no class does anything. ``unrelated``: classes of both tasks have neurons of their own.
    ``half``, ``all``: half, or all, of the effects are the same in both. ``nuisance``: every neuron follows
    one property of the sound, such as its level, in which classes differ by chance, and nothing else.
    ``ordered``: the same effects in both, alike in classes that follow each other, as of octaves.
    """
    rng = np.random.default_rng([seed, classes])
    base = rng.normal(-2, 1, neurons)
    own = rng.normal(0, 1, (3, classes, neurons)) * (rng.random((3, 1, neurons)) < 0.3)
    shared = rng.random(neurons) < 0.5
    slope, level = rng.normal(0, 0.6, neurons), rng.normal(0, 1, (2, classes))
    tasks = []
    for side in (0, 1):
        effect = {
            "nothing": 0 * own[0],
            "unrelated": own[side],
            "half": np.where(shared, own[2], own[side]),
            "all": own[2],
            "nuisance": level[side][:, None] * slope,
            "ordered": own[2].cumsum(0) / np.sqrt(classes / 2),
        }[truth]
        label = np.tile(np.arange(classes), groups)
        odds = base + effect[label] + rng.normal(0, 0.7, (len(label), neurons))
        counts = rng.binomial(400, 1 / (1 + np.exp(-odds))).astype(np.uint32)
        names = tuple("abcdefgh"[:classes])
        tasks.append(
            Task.of(Units(counts, np.full(len(label), 400), label, np.arange(len(label)), names), RULE)
        )
    return tasks


def comparisons(truth: str, classes: int, seeds: Iterable[int], draws: int = 39) -> dict[str, float]:
    """Return how often each statistic of a comparison is called; ``matched`` is what version 0.1.0 called."""
    settings = Inference(draws=draws, bootstrap=draws, halves=1, replications=draws)
    called: dict[str, list[bool]] = {}
    for seed in seeds:
        tasks = pair(truth, seed, classes)
        table = infer_ratios(tasks, None, settings)[0]
        rows = table.set_index("statistic")
        grid = ratios(tasks[0].chosen.assigned, tasks[1].chosen.assigned)
        found = pd.DataFrame(
            [(a, b, a == b, grid[a, b]) for a in range(classes) for b in range(classes)],
            columns=["class_a", "class_b", "matched", "ratio"],
        )
        contrast = rows.loc["contrast"]
        pairs = table[(table["statistic"] == "centred")]
        facts = {
            "contrast": contrast["p_value"] <= ALPHA,
            "contrast and interval": contrast["p_value"] <= ALPHA and contrast["low"] > 0,
            "normalised": rows.loc["normalised", "p_value"] <= ALPHA,
            "transfer": rows.loc["transfer", "p_value"] <= ALPHA,
            "identities": identity_test(found)[0] <= ALPHA,
            "any pair": (pairs["q_value"] <= ALPHA).any(),
            "matched, raw": rows.loc["mean_matched", "p_greater"] <= ALPHA,
        }
        for name, one in facts.items():
            called.setdefault(name, []).append(bool(one))
    return {name: float(np.mean(p)) for name, p in called.items()}


def pattern(truth: str, seeds: Iterable[int], classes: int = 6, draws: int = 39) -> dict[str, float]:
    """Return how often it is said that neighbouring classes of two tasks share more than others, or less.

    ``labels`` and ``identities`` are how often each p alone is <= .05; the classes' order has no meaning but
    in the truth ``ordered``.
    """
    settings = Inference(draws=draws, bootstrap=draws, halves=1, replications=1)
    said: dict[str, list[bool]] = {}
    for seed in seeds:
        table = infer_comparison(pair(truth, seed, classes, neurons=200, groups=8), None, settings)[2]
        drawn = (np.stack(table[name].to_list(), axis=1) for name in ("permuted", "resampled"))
        names = list(zip(table["class_a"], table["class_b"], strict=True))
        draws_of = PairDraws(names, table["matched"].to_numpy(), False, table["value"].to_numpy(), *drawn)
        found = contrast(draws_of, *neighbours("abcdefgh"[:classes]))
        verdict = found.verdict(ALPHA)
        facts = {
            "found": verdict == FOUND,
            "opposite": verdict == OPPOSITE,
            "labels alone": found.label_p <= ALPHA,
            "identities alone": found.identity_p <= ALPHA,
        }
        for name, one in facts.items():
            said.setdefault(name, []).append(bool(one))
    return {name: float(np.mean(p)) for name, p in said.items()}


def harm(groups: int, extra: float, sets: int, random: int = 39, clips: int = 12) -> dict[str, float]:
    """Return how often an ablation is called harm, by the interval of its change or of its excess.

    Removing any set of neurons lowers the log-probability, by 0.3 on average, and in some speakers more than
    in others (deviation 0.3, one part common to all sets and one of each); the set itself by ``extra`` more.
    """
    called: dict[str, list[bool]] = {}
    group = np.repeat(np.arange(groups), clips)
    for seed in range(sets):
        rng = np.random.default_rng([seed, groups])
        common = rng.normal(0, 0.2, groups)
        of_group = common + rng.normal(0, 0.2, (random + 1, groups))
        of_set = rng.normal(0, 0.05, (random + 1, 1))
        change = -0.3 + of_set + of_group[:, group] + rng.normal(0, 0.3, (random + 1, len(group)))
        change[0] -= extra
        p = (1 + (change[1:].mean(1) <= change[0].mean()).sum()) / (random + 1)
        values = np.stack([change[0], change[0] - change[1:].mean(0)])
        _, high = Clusters(group, 200, rng).interval(values, 0.95)
        facts = {"p and interval of the change": high[0] < 0, "p and interval of the excess": high[1] < 0}
        for name, below in facts.items():
            called.setdefault(name, []).append(bool(p <= ALPHA and below))
        called.setdefault("p alone", []).append(bool(p <= ALPHA))
    return {name: float(np.mean(one)) for name, one in called.items()}


def alike(seeds: Iterable[int], draws: int = 199) -> float:
    """Return how often two models that know classes equally well are called different in AUROC."""
    settings = Inference(draws=1, bootstrap=draws, halves=1, replications=draws, splits=2)
    called = []
    for seed in seeds:
        values = [
            replication(task, settings)[1].query("statistic == 'auroc'")["value"]
            for task in pair("all", seed)  # the same effects, and other noise
        ]
        drawn = values[0].to_numpy() - values[1].to_numpy()
        low, high = np.quantile(drawn, [0.025, 0.975])
        called.append(two_sided(drawn) <= ALPHA and (low > 0 or high < 0))
    return float(np.mean(called))


def shown(lines: dict[str, dict[str, float]]) -> str:
    """Format lines as a Markdown table."""
    names = list(dict.fromkeys(name for line in lines.values() for name in line))
    rows = [["", *names], ["---"] * (len(names) + 1)]
    rows += [
        [title, *(f"{line[n]:.2f}" if n in line else "" for n in names)] for title, line in lines.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.validity", description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="data sets per line (default: 200)")
    parser.add_argument("--draws", type=int, default=39, help="permutations of each (default: 39)")
    args = parser.parse_args(argv)
    sets = range(args.sets)
    lines = {}
    for name in DESIGNS:
        for how, scheme in (("", None), (", rows of any size", Free)):
            lines[name + how] = size((sample(name, s, 120) for s in sets), args.draws, scheme)
            print(name + how, lines[name + how], file=sys.stderr, flush=True)
        if "within speakers" in name:
            how = f"{name}, clips one by one"
            lines[how] = size((single(name, s, 120) for s in sets), args.draws, clips=True)
            print(how, lines[how], file=sys.stderr, flush=True)
    print(f"Tasks\n\n{shown(lines)}\n", flush=True)
    lines = {}
    for truth in ("nothing", "unrelated", "nuisance", "half", "all"):
        for classes in (2, 4):
            lines[f"{truth}, {classes} classes"] = comparisons(truth, classes, sets, args.draws)
            print(truth, classes, lines[f"{truth}, {classes} classes"], file=sys.stderr, flush=True)
    print(f"Comparisons\n\n{shown(lines)}\n", flush=True)
    lines = {truth: pattern(truth, sets, draws=args.draws) for truth in PATTERNS}
    print(f"Neighbours\n\n{shown(lines)}\n", flush=True)
    lines = {
        f"{extra:g} more, {groups} groups": harm(groups, extra, 10 * args.sets)
        for extra in (0.0, 0.1, 0.2)
        for groups in (10, 24)
    }
    print(f"Ablations\n\n{shown(lines)}\n", flush=True)
    print(f"Two models that are alike: {alike(range(args.sets // 2)):.2f}")


if __name__ == "__main__":
    main()
