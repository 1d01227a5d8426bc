"""What stays of a neuron's response to a class when acoustics are partialled out: "is this gender neuron f0?"

The effect of a class on a neuron is the difference between its share of active tokens in the class and in the
others. It is the coefficient of the class in a linear model of the clips' rates, weighted by their tokens. A
second model has regressors of the clips' acoustics beside it; what stays is the ratio of both coefficients
(Freedman, Graubard and Schatzkin 1992: one less the "proportion explained"). The second coefficient comes
from the residuals of the class (Frisch and Waugh 1933; Lovell 1963).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import orth

from audio_neurons import tables
from audio_neurons.activations.features import KNOTS, NAMES
from audio_neurons.activations.rows import read_clips
from audio_neurons.activations.units import Units
from audio_neurons.inference.resampling import Bootstrap
from audio_neurons.inference.significance import interval
from audio_neurons.recordings.clips import describe
from audio_neurons.settings.inference import Inference

# Families of acoustics, and their regressors: hat functions of a feature, or its mean.
FAMILIES = {
    "f0": ("f0_hats",),
    "loudness": ("loudness_hats",),
    "spectrum": ("sounding", *(name for name in NAMES if name not in ("loudness", "f0", "voicing"))),
}
ALL = "all"
RARE = 0.02  # a hat that holds less of the tokens joins its neighbour
PER_REGRESSOR = 5  # clips: with fewer, nothing is told
UNTOLD = 0.1  # share of a class's variance: where acoustics leave less of it, nothing is told
KIND = 11  # of random numbers, beside those of `resampling`
NO_EFFECT, TOLD, FEW = "no effect", "acoustics tell the class", "too few clips"


@dataclass(frozen=True)
class Adjusted:
    """Effects of C classes on M neurons.

    Attributes
    ----------
    effect, kept
        (C, M): difference of rates, and what stays of it.
    untold
        (C,): share of the variance of the class that acoustics do not tell.
    regressors
        Rank of the regressors, without the constant.
    """

    effect: np.ndarray
    kept: np.ndarray
    untold: np.ndarray
    regressors: int


def adjusted(rates: np.ndarray, classes: np.ndarray, weights: np.ndarray, regressors: np.ndarray) -> Adjusted:
    """Return the effects of classes on rates, without and with regressors, by weighted least squares.

    Parameters
    ----------
    rates
        (R, M): rates of M neurons in R clips.
    classes
        bool (C, R): which clips are of each class.
    weights
        (R,): weights of the clips; those of weight 0 are left out.
    regressors
        (R, P): any of them may depend on others.
    """
    there = weights > 0
    root = np.sqrt(weights[there])
    rates, classes, regressors = rates[there], classes[:, there], regressors[there]
    constant = np.ones((len(rates), 1))
    found = []
    for columns in (constant, np.concatenate([constant, regressors - regressors.mean(0)], axis=1)):
        scaled = columns * root[:, None]
        size = np.linalg.norm(scaled, axis=0)
        base = orth(scaled[:, size > 1e-9] / size[size > 1e-9], rcond=1e-6)
        member = classes * root
        left = member - (member @ base) @ base.T
        squares = np.square(left).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((left @ (rates * root[:, None]) / squares[:, None], squares, base.shape[1]))
    (effect, total, _), (kept, remaining, rank) = found
    with np.errstate(divide="ignore", invalid="ignore"):
        return Adjusted(effect, kept, remaining / total, rank - 1)


def regressors(sounds: pd.DataFrame, family: str) -> np.ndarray:
    """Return the regressors (R, P) of a family from rows of an ``acoustics`` table."""
    names = FAMILIES[family] if family != ALL else [name for names in FAMILIES.values() for name in names]
    tokens = sounds["tokens"].to_numpy(float)
    columns = []
    for name in names:
        if name.removesuffix("_hats") in KNOTS:
            columns.append(_joined(np.stack(sounds[name]), tokens))
        elif name == "sounding":
            columns.append((sounds[name] / tokens).to_numpy()[:, None])
        else:  # centroid and flatness are undefined in silence, where they count as 0 beside `sounding`
            share = sounds["sounding"] / tokens if name in ("centroid", "flatness") else 1.0
            columns.append((sounds[name].fillna(0.0) * share).to_numpy()[:, None])
    return np.concatenate(columns, axis=1)


def _joined(hats: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Join hats that hold few of the tokens with their neighbours, from both ends inwards."""
    hats = hats.copy()
    share = tokens @ hats / tokens.sum()
    size = hats.shape[1]
    for order, step in ((range(size - 1), 1), (range(size - 1, 0, -1), -1)):
        for i in order:
            if share[i] >= RARE:
                break
            hats[:, i + step] += hats[:, i]
            share[i + step] += share[i]
            hats[:, i] = share[i] = 0
    return hats[:, share > 0]


def partial_out(
    units: Units, sounds: pd.DataFrame, assigned: np.ndarray, settings: Inference
) -> Iterator[tuple[str, pd.DataFrame, dict]]:
    """Yield, for every family, the effects on each neuron and class, and those of the classes.

    Parameters
    ----------
    units
        Counts of single clips, of M neurons.
    sounds
        Rows of ``acoustics`` of the same clips.
    assigned
        bool (C, M): classes that each neuron is specific to.
    settings
        ``replications`` (resamples), ``seed`` and ``level``.

    Yields
    ------
    The family; a table with ``class`` and ``neuron`` (their numbers) and values with intervals; and the
    columns of classes with their values by number of the class.
    """
    rates = units.active / units.tokens[:, None]
    classes = units.labels == np.arange(len(units.classes))[:, None]
    # Groups are drawn with all their clips; the weights of a draw are the same for all models.
    scheme = Bootstrap(units)
    drawn = [
        scheme(np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(KIND, 0, i))))[1][0]
        for i in range(settings.replications)
    ]
    of, neuron = np.nonzero(assigned)
    tokens = units.tokens.astype(float)
    for family in (*FAMILIES, ALL):
        columns = regressors(sounds, family)
        whole = adjusted(rates, classes, tokens, columns)
        picked = [(whole.effect[of, neuron], whole.kept[of, neuron])]
        for times in drawn:
            one = adjusted(rates, classes, tokens * times, columns)
            picked.append((one.effect[of, neuron], one.kept[of, neuron]))
        effects, kept = np.array(picked).transpose(1, 0, 2)
        reasons = np.where(whole.untold < UNTOLD, TOLD, "").astype(object)
        if len(rates) < PER_REGRESSOR * whole.regressors:
            reasons[:] = FEW
        single = _values(effects, kept, reasons[of], settings.level)
        facts = {"regressors": whole.regressors, "untold": whole.untold}
        of_classes = {**facts, **_of_classes(effects, kept, of, reasons, settings.level)}
        yield family, pd.DataFrame({"class": of, "neuron": neuron, **single}), of_classes


def _values(
    effects: np.ndarray, kept: np.ndarray, reasons: np.ndarray, level: float
) -> dict[str, np.ndarray]:
    """Return values and intervals of quantities (1 + B, Q), of which the first is that of the data."""
    reasons = reasons.astype(object)
    low, high = interval(effects[1:], level)
    kept_low, kept_high = interval(kept[1:], level)
    nothing = ~(low > 0) & (reasons == "")
    reasons[nothing] = NO_EFFECT
    with np.errstate(divide="ignore", invalid="ignore"):
        share = kept / effects
    stays_low, stays_high = interval(share[1:], level)
    told = reasons == ""
    found = {"effect": effects[0], "low": low, "high": high}
    unsure = np.isin(reasons, (TOLD, FEW))
    for name, value in (("kept", kept[0]), ("kept_low", kept_low), ("kept_high", kept_high)):
        found[name] = np.where(unsure, np.nan, value)
    for name, value in (("stays", share[0]), ("stays_low", stays_low), ("stays_high", stays_high)):
        found[name] = np.where(told, value, np.nan)
    return {**found, "reason": reasons}


def _of_classes(
    effects: np.ndarray, kept: np.ndarray, of: np.ndarray, reasons: np.ndarray, level: float
) -> Mapping[str, np.ndarray]:
    """Return the means over the neurons of every class, whose ratio is what stays."""
    count = np.bincount(of, minlength=len(reasons))
    one = (of[:, None] == np.arange(len(reasons))) / np.maximum(count, 1)
    means = []
    for values in (effects, kept):
        gaps = np.isnan(values) @ one > 0  # NaN of one class, as all of it is told, is not that of others
        means.append(np.where(gaps | (count == 0), np.nan, np.nan_to_num(values) @ one))
    return {"neurons": count, **_values(means[0], means[1], reasons, level)}


def partial_task(
    neurons: Path,
    responses: Sequence[Path],
    clips: Sequence[Path],
    acoustics: Sequence[Path],
    label: str,
    splits: Sequence[str] | None,
    settings: Inference,
    out: Path,
    out_classes: Path,
) -> None:
    """Write the ``acoustic_neurons`` and ``acoustic_classes`` of a task.

    Raises
    ------
    TableError
        If the tables are not of the same clips.
    """
    names, places, assigned = _assigned(neurons)
    used = np.flatnonzero(assigned.any(0))
    units = _present(read_clips(responses, clips, label, splits, used))
    sounds = _sounds(acoustics, clips, label, splits)
    own = sounds["tokens"].to_numpy()
    if len(own) != len(units.tokens) or ((own != units.tokens) & (units.tokens > 1)).any():
        raise tables.TableError(f"{acoustics[0]}: not of the clips of {responses[0]}; {tables.REMEDY}")
    order = np.array([names.index(name) for name in units.classes])
    assigned = assigned[np.ix_(order, used)]
    mine, whole = [], []
    for family, single, of_classes in partial_out(units, sounds, assigned, settings):
        place = places[used[single["neuron"]]]
        single = single.assign(layer=place[:, 0], neuron=place[:, 1], family=family)
        mine.append(single.assign(**{"class": [units.classes[c] for c in single["class"]]}))
        numbers = np.arange(len(units.classes))
        facts = {
            "class": units.classes,
            "family": family,
            "clips": np.bincount(units.labels, minlength=len(numbers)),
            "groups": [len(np.unique(units.groups[units.labels == c])) for c in numbers],
        }
        whole.append(pd.DataFrame({**facts, **of_classes}))
    tables.write(out, "acoustic_neurons", pd.concat(mine, ignore_index=True))
    tables.write(out_classes, "acoustic_classes", pd.concat(whole, ignore_index=True))


def _present(units: Units) -> Units:
    """Return units without the classes that have no clip."""
    present, labels = np.unique(units.labels, return_inverse=True)
    groups = np.unique(units.groups, return_inverse=True)[1]
    return Units(units.active, units.tokens, labels, groups, tuple(units.classes[c] for c in present))


def _assigned(neurons: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return classes, the neurons' (layer, unit) (N, 2), and which belong to each class, bool (C, N)."""
    names, rows, places = [], [], np.zeros((0, 2), int)
    for name, table in tables.runs(neurons, "neurons", "class", ["layer", "neuron", "assigned"]):
        names.append(name)
        rows.append(table["assigned"].to_numpy())
        places = table[["layer", "neuron"]].to_numpy()
    return names, places, np.stack(rows)


def _sounds(
    acoustics: Sequence[Path], clips: Sequence[Path], label: str, splits: Sequence[str] | None
) -> pd.DataFrame:
    """Return the rows of ``acoustics`` of the clips with tokens in these splits, by name."""
    found = tables.read_all(acoustics, "acoustics")
    frame = describe(clips, label)
    wanted = frame if splits is None else frame[frame["split"].isin(splits)]
    found = found[found["clip_id"].isin(wanted["clip_id"]) & (found["tokens"] > 0)]
    return found.sort_values("clip_id", ignore_index=True)
