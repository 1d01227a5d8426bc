"""Coverage of bootstrap intervals in simulations where few of the selected neurons are stable.

``python tests/support/interval_coverage.py`` prints the numbers in docs/method.md (takes some minutes).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd

from audio_neurons.activations.units import Units
from audio_neurons.inference.inference import ratios, task_statistics
from audio_neurons.inference.resampling import Bootstrap, Draws, draw, observed, pooled
from audio_neurons.inference.significance import interval
from audio_neurons.settings.selection import Rule

NEURONS, CLASSES, TOKENS = 500, 5, 200
RULE = Rule(top_share=0.03)
STATISTICS = ["neurons per class", "mean ratio", "ratio of two like classes"]
INTERVALS = {
    "percentiles": lambda value, low, high, mean: (low, high),
    "shifted to the value": lambda value, low, high, mean: (low - mean + value, high - mean + value),
    "reverse percentiles": lambda value, low, high, mean: (2 * value - high, 2 * value - low),
}


def odds() -> np.ndarray:
    """Return log odds of activity by class and neuron; half of the neurons differ between classes."""
    rng = np.random.default_rng(7)
    base = rng.normal(-2, 1, NEURONS)
    effect = rng.normal(0, 0.5, (CLASSES, NEURONS)) * (rng.random(NEURONS) < 0.5)
    effect[1] = 0.7 * effect[0] + 0.7 * effect[1]  # like the first
    return base + effect


def sample(seed: int, groups: int) -> Units:
    """Simulate groups of one class each, whose rates vary around the rates of the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(groups) % CLASSES
    rates = 1 / (1 + np.exp(-odds()[labels] - rng.normal(0, 1, (groups, NEURONS))))
    counts = rng.binomial(TOKENS, rates).astype(np.uint32)
    return pooled(Units(counts, np.full(groups, TOKENS), labels, np.arange(groups), tuple("abcde")))


def statistics(chosen) -> np.ndarray:
    pairs = ratios(chosen.assigned, chosen.assigned)
    mean = np.nanmean(pairs[np.triu_indices(CLASSES, 1)])
    return np.nan_to_num([task_statistics(chosen)[1], mean, pairs[0, 1]])


def covered(groups: int, samples: int, cases: int, draws: int, endless: int = 3000) -> pd.DataFrame:
    """Return how often each interval contains the mean over samples, and the value for very large data."""
    values = [statistics(observed(sample(seed, groups), RULE)) for seed in range(samples)]
    far = [statistics(observed(sample(5000 + seed, endless), RULE)) for seed in range(3)]
    targets = {"samples of this size": np.mean(values, axis=0), "endless data": np.mean(far, axis=0)}
    rows = []
    for seed in range(cases):
        units = sample(seed, groups)
        drawn = np.stack([statistics(c) for (c,) in draw(units, RULE, Bootstrap(units), Draws(draws))])
        low, high = interval(drawn, 0.95)
        for name, ends in INTERVALS.items():
            low_, high_ = ends(values[seed], low, high, drawn.mean(0))
            for target, truth in targets.items():
                rows.append([name, target, *((low_ <= truth) & (truth <= high_))])
    table = pd.DataFrame(rows, columns=["interval", "target", *STATISTICS])
    return table.groupby(["interval", "target"], sort=False).mean()


if __name__ == "__main__":
    for groups in (50, 200):
        print(f"{groups} groups\n{covered(groups, 200, 80, 300).round(3).to_string()}\n")
