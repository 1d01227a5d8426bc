"""Effects of ablation conditions on accuracy and log-probability, with intervals and p-values."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.ablation.clustered import sign_flip
from audio_neurons.ablation.conditions import Condition
from audio_neurons.ablation.detection import area
from audio_neurons.ablation.sequential import p_values
from audio_neurons.settings.ablation import Conditions

ALL = "*"  # stands for the clips of all classes
MEAN = "mean"  # stands for the mean over all probes
# Changes of log-probability are summed as integers, times this factor, so that sums do not depend on order.
FIXED_POINT = 2.0**32


@dataclass
class Measured:
    """Outcomes of n clips under K changes, for S probes and C classes.

    Attributes
    ----------
    frame
        The clips in order of ``clip_id``, with ``group``, ``class`` and other columns.
    before
        Without change: predicted class numbers and the true class's log-probability, (S, n) each.
    kept
        Number of a change → the same under that change, for some of the changes.
    correct, lost, gained
        int64 (K, S, C): clips predicted correctly; correct only before the change; correct only under it.
    change
        int64 (K, S, C): summed change of the log-probability, times `FIXED_POINT`.
    pooled
        Number of a change → int64 (S, n): change of the log-probability of every clip, times `FIXED_POINT`,
        summed over the random controls that the change is compared with.
    odds
        Number of a change, or -1, and of a class → log odds of the class, float32 (n,), means over probes.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    before: tuple[np.ndarray, np.ndarray]
    kept: dict[int, tuple[np.ndarray, np.ndarray]]
    correct: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    change: np.ndarray
    pooled: dict[int, np.ndarray] = field(default_factory=dict)
    odds: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    @classmethod
    def empty(
        cls,
        frame: pd.DataFrame,
        classes: Sequence[str],
        seeds: Sequence[int],
        changes: int,
        keep: Iterable[int],
    ) -> Measured:
        def outcomes() -> tuple[np.ndarray, np.ndarray]:
            return np.zeros((len(seeds), len(frame)), np.int16), np.zeros((len(seeds), len(frame)))

        correct, lost, gained, change = np.zeros((4, changes, len(seeds), len(classes)), np.int64)
        kept = {k: outcomes() for k in keep}
        return cls(frame, tuple(classes), tuple(seeds), outcomes(), kept, correct, lost, gained, change)

    @cached_property
    def codes(self) -> np.ndarray:
        """Class number of every clip."""
        return pd.Index(self.classes).get_indexer(self.frame["class"])

    def pool(self, compared: Iterable[int], true: np.ndarray) -> None:
        """Add the log-probabilities (S, n) under a random control to `pooled` of what is compared with it."""
        change = self.changed(true, self.before[1])
        for k in compared:
            self.pooled[k] = self.pooled.get(k, 0) + change

    @staticmethod
    def changed(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the change of log-probabilities, times `FIXED_POINT`."""
        return np.rint((now - before) * FIXED_POINT).astype(np.int64)

    def add_odds(self, rows: np.ndarray, found: Mapping[tuple[int, int], np.ndarray]) -> None:
        """Add a batch of `odds`, (B,) each."""
        for key, values in found.items():
            if key not in self.odds:
                self.odds[key] = np.full(len(self.frame), np.nan, np.float32)
            self.odds[key][rows] = values

    def add(self, rows: np.ndarray, found: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """Add a batch: number of the change (-1: no change) → predictions and log-probabilities (S, B)."""
        codes = self.codes[rows]
        member = np.eye(len(self.classes), dtype=np.int64)[codes]  # (B, C)
        predicted, true = found[-1]
        right = predicted == codes
        self.before[0][:, rows], self.before[1][:, rows] = predicted, true
        for k, (now, now_true) in found.items():
            if k in self.kept:
                self.kept[k][0][:, rows], self.kept[k][1][:, rows] = now, now_true
            if k >= 0:
                now_right = now == codes
                self.correct[k] += now_right.astype(np.int64) @ member
                self.lost[k] += (right & ~now_right).astype(np.int64) @ member
                self.gained[k] += (~right & now_right).astype(np.int64) @ member
                self.change[k] += self.changed(now_true, true) @ member


def mcnemar(lost: int, gained: int) -> float:
    """Return the p-value of McNemar's exact two-sided test; 1 if no prediction changed.

    ``lost`` clips were right before and are wrong now, ``gained`` clips the reverse; under the null
    hypothesis both are equally likely.
    """
    from scipy.stats import binomtest  # slow to import, and few jobs need it

    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


mcnemar_p = cache(mcnemar)


class Clusters:
    """Bootstrap draws of whole groups of clips, which are not independent within a group.

    Parameters
    ----------
    group
        (n,): group of each clip.
    draws
        Number of draws R.
    """

    def __init__(self, group: Sequence, draws: int, rng: np.random.Generator):
        _, number = np.unique(np.asarray(group), return_inverse=True)
        groups = number.max() + 1
        self._known = groups > 1 and draws > 0
        if self._known:
            self._member = np.eye(groups)[number]  # (n, G)
            self._weights = rng.multinomial(groups, np.full(groups, 1 / groups), draws)  # (R, G)
            self._sizes = self._weights @ self._member.sum(0)

    def interval(self, values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper ends (M,) of the percentile intervals of means over clips, of (M, n) values.

        NaN if there are fewer than two groups, or no draws.
        """
        if not self._known:
            low, high = np.full((2, len(values)), np.nan)
            return low, high
        tail = (1 - confidence) / 2
        ends = [
            np.quantile(self._weights @ one / self._sizes, [tail, 1 - tail])  # one by one: less memory
            for one in values @ self._member
        ]
        low, high = np.array(ends).T
        return low, high


def effects(
    measured: Measured, conditions: Sequence[Condition], settings: Conditions, selection_split: str
) -> pd.DataFrame:
    """Return the ``ablation`` table: one row per condition, probe and class.

    Probes are named by their seed, and ``"mean"`` is the mean over them; class ``"*"`` stands for all
    clips. ``delta`` and ``logprob_delta`` are differences from no change, ``low`` and ``high`` the interval
    of ``logprob_delta`` over groups. ``excess`` is ``logprob_delta`` less its mean over the random controls,
    with its own interval. ``specificity`` is the class's ``logprob_delta`` minus the mean over
    the other non-target classes. ``delta_p``, ``logprob_p`` and ``specificity_p`` are one-sided p-values
    for harm: of random controls, drawn one after the other, whose value is as low or lower
    (:func:`audio_neurons.ablation.sequential.p_values`). ``controls`` is how many were drawn, and
    ``controls_limit`` how many could have been.
    ``auroc`` and its change, of a target class and the mean over probes, are the area under the ROC curve of
    the class's log odds, averaged over probes, which no bias moves.
    ``groups`` is the number of groups of the class's clips, and ``flip_p``, of the mean over probes, the p of
    sign flips of the groups' net changes of right predictions (:mod:`audio_neurons.ablation.clustered`).
    """
    if not conditions:
        return pd.DataFrame(columns=tables.SCHEMAS["ablation"].names)
    here, n = _present(measured)
    classes = [ALL, *np.array(measured.classes)[here]]
    probes = [*map(str, measured.seeds), MEAN]

    def per_class(sums: np.ndarray) -> np.ndarray:
        return means_of(sums, here, n)

    member = np.eye(len(measured.classes), dtype=np.int64)[measured.codes]
    right = (measured.before[0] == measured.codes).astype(np.int64) @ member
    accuracy = per_class(measured.correct)
    accuracy_before, logprob_before = per_class(right), per_class(measured.before[1] @ member)
    logprob_delta = per_class(measured.change) / FIXED_POINT
    delta = per_class(measured.gained - measured.lost)
    specificity = _specificity(logprob_delta, classes, conditions)
    shape = logprob_delta.shape
    low, high = _intervals(measured, classes, shape, settings)
    controls = controls_of(conditions)
    excess = np.full(shape, np.nan)
    for k, others in controls.items():
        if others:
            excess[k] = logprob_delta[k] - logprob_delta[others].mean(0)
    excess_low, excess_high = _intervals(measured, classes, shape, settings, controls)
    auroc_before, auroc = _areas(measured, classes, conditions, shape)

    about = pd.DataFrame([_about(condition) for condition in conditions])
    table = about.loc[np.repeat(np.arange(shape[0]), shape[1] * shape[2])].reset_index(drop=True)
    table["selection_split"] = selection_split
    table["probe"] = np.tile(np.repeat(probes, shape[2]), shape[0])
    table["class"] = np.tile(classes, shape[0] * shape[1])
    targets = np.array([[name in c.set.targets for name in classes] for c in conditions])
    table["target"] = np.repeat(targets[:, None], shape[1], 1).ravel()
    table["n"] = np.tile(n, shape[0] * shape[1])
    table["groups"] = np.tile(_groups(measured, classes), shape[0] * shape[1])
    columns = {
        "accuracy_before": np.broadcast_to(accuracy_before, shape),
        "accuracy": accuracy,
        "delta": delta,
        "mcnemar_p": _mcnemar_p(measured, here, shape),
        "flip_p": _flips(measured, classes, shape, settings.seed),
        "logprob_before": np.broadcast_to(logprob_before, shape),
        "logprob_delta": logprob_delta,
        "low": low,
        "high": high,
        "excess": excess,
        "excess_low": excess_low,
        "excess_high": excess_high,
        "auroc_before": auroc_before,
        "auroc": auroc,
        "auroc_delta": auroc - auroc_before,
        "specificity": specificity,
    }
    tested = {"delta": delta, "logprob": logprob_delta, "specificity": specificity}
    for name, values in (tested | {"auroc": auroc - auroc_before}).items():
        columns[f"{name}_p"] = _p_values(values, controls, settings.stop_after)
    drawn = np.repeat([len(controls.get(k, ())) for k in range(shape[0])], shape[1] * shape[2])
    table["controls"], table["controls_limit"] = drawn, np.where(drawn > 0, settings.random, 0)
    return table.assign(**{name: values.ravel() for name, values in columns.items()})


def _present(measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the classes that have clips, and how many all clips and these classes have."""
    present = np.bincount(measured.codes)
    here = np.flatnonzero(present)
    return here, np.array([present.sum(), *present[here]])


def means_of(sums: np.ndarray, here: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Convert sums (..., S, C) to means over clips (..., S + 1, 1 + C'): all clips, then classes ``here``."""
    sums = np.concatenate([sums.sum(-1, keepdims=True), sums[..., here]], axis=-1) / n
    return np.concatenate([sums, sums.mean(-2, keepdims=True)], axis=-2)


def deciding(measured: Measured, change: np.ndarray, condition: Condition) -> np.ndarray:
    """Return the statistics (K, M) by which effects of a condition's set are called.

    These are, means over probes, the change of log-probability and the specificity of each target class that
    has clips; of a set without such a class, the change of all clips.

    Parameters
    ----------
    change
        int64 (K, S, C): sums as in `Measured`, of the condition and of its random controls.
    """
    here, n = _present(measured)
    classes = [ALL, *np.array(measured.classes)[here]]
    values = means_of(change, here, n)[:, -1:] / FIXED_POINT
    targets = [c for c, name in enumerate(classes) if name in condition.set.targets]
    if not targets:
        return values[:, 0, :1]
    specific = _specificity(values, classes, [condition] * len(values))
    both = np.concatenate([values[:, 0, targets], specific[:, 0, targets]], axis=1)
    return both[:, ~np.isnan(both).any(0)]  # one class is no more specific than others


def _about(condition: Condition) -> dict:
    change = condition.change
    return {
        "condition": condition.name,
        "set": condition.set.label,
        "kind": condition.set.kind,
        "targets": "+".join(condition.set.targets),
        "control": condition.control,
        "draw": condition.draw,
        "gain": change.gain,
        "replacement": change.replacement,
        "neurons": len(change.neurons),
        "first_layer": min(layer for layer, _ in change.neurons),
    }


def _specificity(values: np.ndarray, classes: Sequence[str], conditions: Sequence[Condition]) -> np.ndarray:
    """Subtract from each class of (K, P, 1 + C) the mean of the other non-targets; NaN for all clips."""
    found = np.full(values.shape, np.nan)
    for k, condition in enumerate(conditions):
        for c in range(1, len(classes)):
            others = [o for o in range(1, len(classes)) if o != c and classes[o] not in condition.set.targets]
            if others:
                found[k, :, c] = values[k, :, c] - values[k][:, others].mean(1)
    return found


def _mcnemar_p(measured: Measured, here: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return p-values (K, P, 1 + C); NaN for the mean over probes, which has no paired outcomes."""
    lost, gained = (
        np.concatenate([sums.sum(-1, keepdims=True), sums[..., here]], axis=-1)
        for sums in (measured.lost, measured.gained)
    )
    found = np.full(shape, np.nan)
    pairs = zip(lost.ravel().tolist(), gained.ravel().tolist(), strict=True)
    found[:, :-1] = np.reshape([mcnemar_p(*pair) for pair in pairs], lost.shape)
    return found


def _of_class(measured: Measured, name: str) -> np.ndarray:
    return np.flatnonzero((measured.frame["class"] == name) | (name == ALL))


def _groups(measured: Measured, classes: Sequence[str]) -> list[int]:
    """Return the number of groups among the clips of each class."""
    group = measured.frame["group"].to_numpy()
    return [len(np.unique(group[_of_class(measured, name)])) for name in classes]


def _flips(measured: Measured, classes: Sequence[str], shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return p-values (K, P, 1 + C) of sign flips; only of the mean over probes, where clips were kept."""
    found = np.full(shape, np.nan)
    group = measured.frame["group"].to_numpy()
    right = measured.before[0] == measured.codes
    of_class = [_of_class(measured, name) for name in classes]
    for k, (predicted, _) in measured.kept.items():
        net = ((predicted == measured.codes).astype(float) - right).sum(0, keepdims=True)
        for c, (name, mine) in enumerate(zip(classes, of_class, strict=True)):
            found[k, -1, c] = sign_flip(net[:, mine], group[mine], [seed, zlib.crc32(name.encode())])[0]
    return found


def _areas(
    measured: Measured, classes: Sequence[str], conditions: Sequence[Condition], shape: tuple[int, ...]
) -> np.ndarray:
    """Return the areas without and under each change, (2, K, P, 1 + C); only of targets, over all probes."""
    found = np.full((2, *shape), np.nan)
    numbers = {name: number for number, name in enumerate(measured.classes)}
    for k, condition in enumerate(conditions):
        for c, name in enumerate(classes):
            of = numbers.get(name, -1)
            if name in condition.set.targets and (k, of) in measured.odds:
                member = measured.codes == of
                found[:, k, -1, c] = [area(measured.odds[i, of], member) for i in (-1, k)]
    return found


def _intervals(
    measured: Measured,
    classes: Sequence[str],
    shape: tuple[int, ...],
    settings: Conditions,
    controls: Mapping[int, Sequence[int]] | None = None,
) -> np.ndarray:
    """Return the ends of the intervals, (2, K, P, 1 + C); NaN where a change's clips were not kept.

    With ``controls``, those of the difference to the mean of these; NaN without any.
    """
    ends = np.full((2, *shape), np.nan)
    for c, name in enumerate(classes):
        mine = _of_class(measured, name)
        rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode())])
        clusters = Clusters(measured.frame["group"].to_numpy()[mine], settings.bootstrap, rng)
        for k, (_, true) in measured.kept.items():
            values = (true - measured.before[1])[:, mine]
            if controls is not None:
                if k not in measured.pooled:
                    continue
                values = values - measured.pooled[k][:, mine] / FIXED_POINT / len(controls[k])
            values = np.concatenate([values, values.mean(0, keepdims=True)])
            ends[:, k, :, c] = clusters.interval(values, settings.confidence)
    return ends


def controls_of(conditions: Sequence[Condition]) -> dict[int, list[int]]:
    """Return number of each condition that is not a random control → numbers of its random controls."""

    def key(condition: Condition) -> tuple:
        return condition.set.label, condition.change.gain, condition.change.replacement

    random: dict[tuple, list[int]] = {}
    for k, condition in enumerate(conditions):
        if condition.control == "random":
            random.setdefault(key(condition), []).append(k)
    return {k: random.get(key(c), []) for k, c in enumerate(conditions) if c.control != "random"}


def _p_values(values: np.ndarray, controls: Mapping[int, Sequence[int]], enough: int) -> np.ndarray:
    """Return the p-values of values as low; NaN without random sets or value."""
    found = np.full(values.shape, np.nan)
    for k, others in controls.items():
        if others:
            p = p_values(values[others] <= values[k], enough)
            found[k] = np.where(np.isnan(values[k]), np.nan, p)
    return found
