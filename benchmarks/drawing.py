"""Size, power and number of draws of sequential Monte Carlo tests, against a fixed number of controls.

A neuron set is as harmful as a random set is, or more so by some standard deviations of random sets. Two
statistics decide (harm, and harm that is specific), which correlate as given. ``alone`` is one statistic,
``beside`` is one that drawing does not wait for, and ``worst`` ends drawing whenever its p is lowest, which
no drawing does.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audio_neurons.ablation.sequential import ended, p_values
from benchmarks.validity import shown

ALPHA = 0.05


@dataclass
class Drawn:
    """p by sequential drawing (n,), p of all controls (n,), and how many were drawn (n,)."""

    p: np.ndarray
    p_of_all: np.ndarray
    drawn: np.ndarray


def alone(sets: int, enough: int, limit: int, harm: float, seed: int = 0) -> Drawn:
    """Return the outcomes of sets that are ``harm`` standard deviations worse than random sets."""
    return together(sets, enough, limit, (harm,), 0.0, seed)


def together(
    sets: int, enough: int, limit: int, harm: Sequence[float], correlation: float, seed: int = 0
) -> Drawn:
    """Return the outcomes of sets by several statistics; ``p`` is the largest, as a call needs all."""
    rng = np.random.default_rng(seed)
    p, every, drawn = (np.empty(sets) for _ in range(3))
    for i in range(sets):
        own, others = _draw(rng, limit, np.asarray(harm), correlation)
        lower = others <= own
        end = ended(lower, enough) or limit
        p[i], every[i], drawn[i] = p_values(lower[:end], enough).max(), p_values(lower, 0).max(), end
    return Drawn(p, every, drawn)


def beside(sets: int, enough: int, limit: int, correlation: float, seed: int = 0) -> np.ndarray:
    """Return p (sets,) of a statistic that drawing does not wait for, under the null hypothesis."""
    rng = np.random.default_rng(seed)
    found = np.empty(sets)
    for i in range(sets):
        own, others = _draw(rng, limit, np.zeros(2), correlation)
        lower = others <= own
        end = ended(lower[:, :1], enough) or limit
        found[i] = p_values(lower[:end, 1], enough)
    return found


def worst(sets: int, enough: int, limit: int, alpha: float, seed: int = 0) -> float:
    """Return how often p is at most ``alpha`` at some end of drawing, of a statistic without effect."""
    rng = np.random.default_rng(seed)
    lower = rng.random((limit, sets)) < rng.random(sets)
    number = np.arange(1, limit + 1)[:, None]
    p = ((1 + lower.cumsum(0)) / (1 + number))[enough - 1 :]
    return float((p <= alpha).any(0).mean())


def _draw(
    rng: np.random.Generator, limit: int, harm: np.ndarray, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return statistics (M,) of a set, and (limit, M) of random sets, from correlated normal ones."""
    common = rng.normal(size=(limit + 1, 1))
    values = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(
        size=(limit + 1, len(harm))
    )
    return values[0] - harm, values[1:]


def lines(sets: int, limit: int, enough: int) -> dict[str, dict[str, float]]:
    """Return called shares and mean draws by how much worse the set is."""
    found = {}
    for harm in (0.0, 1.0, 2.0, 3.0, 4.0):
        one = together(sets, enough, limit, (harm, harm), 0.5)
        found[f"{harm:g} worse, {enough} of {limit}"] = {
            "called": float((one.p < ALPHA).mean()),
            f"called by all {limit}": float((one.p_of_all < ALPHA).mean()),
            "called otherwise": float(((one.p < ALPHA) != (one.p_of_all < ALPHA)).mean()),
            "mean draws": float(one.drawn.mean()),
            "share of draws": float(one.drawn.mean() / limit),
        }
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.drawing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sets", type=int, default=4000, help="neuron sets per line (default: 4000)")
    args = parser.parse_args(argv)
    found = {}
    for limit, enough in ((100, 5), (100, 10), (100, 20), (20, 3)):
        found |= lines(args.sets, limit, enough)
        print(limit, enough, file=sys.stderr, flush=True)
    print(f"Two statistics that decide\n\n{shown(found)}\n")
    found = {}
    for harm in (0.0, 2.0):
        one = alone(args.sets, 10, 100, harm)
        found[f"{harm:g} worse"] = {
            **{f"p ≤ {a:g}": float((one.p <= a).mean()) for a in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)},
            "mean draws": float(one.drawn.mean()),
        }
    print(f"One statistic, 10 of 100\n\n{shown(found)}\n")
    found = {
        f"correlation {c:g}": {"p ≤ 0.05": float((beside(args.sets, 10, 100, c) <= ALPHA).mean())}
        for c in (0.0, 0.5, 0.9, 0.99)
    }
    found["whenever p is lowest"] = {"p ≤ 0.05": worst(10 * args.sets, 10, 100, ALPHA)}
    print(f"A statistic for which drawing does not wait\n\n{shown(found)}")


if __name__ == "__main__":
    main()
