"""Confusion matrices of the probes: without change, under every condition, and the cells that change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.ablation.conditions import Condition
from audio_neurons.ablation.effects import MEAN, mcnemar_p

Pool = tuple[str, str, float, str]  # set, control, gain, replacement


class Confusions:
    """Counts of clips by true and predicted class, for every pool of conditions.

    A pool is one set or its shifted control at one gain and replacement, or all its random controls there.
    """

    def __init__(self) -> None:
        self._draws: dict[Pool, int] = {}
        self._first: dict[Pool, Condition] = {}
        # now, lost and gained, int64 (3, S, C, C) each
        self._counts: dict[Pool, np.ndarray] = {}
        self._before: np.ndarray | None = None

    def add(
        self,
        codes: np.ndarray,
        classes: int,
        before: np.ndarray,
        found: Iterable[tuple[Condition, np.ndarray]],
    ) -> None:
        """Add what is predicted of all n clips under some conditions.

        Parameters
        ----------
        codes
            (n,): true class number of every clip.
        before
            (S, n): class numbers that are predicted without change.
        found
            Conditions, and the class numbers (S, n) that are predicted under each.
        """
        shape = (len(before), classes, classes)
        seeds = np.arange(len(before))[:, None]

        def cells(predicted: np.ndarray, number: np.ndarray | int = 1) -> np.ndarray:
            counts = np.zeros(shape, np.int64)
            np.add.at(counts, (seeds, codes, predicted), number)
            return counts

        self._before = cells(before)
        for condition, now in found:
            pool = _pool(condition)
            moved = (now != before).astype(np.int64)
            counts = np.stack([cells(now), cells(before, moved), cells(now, moved)])
            self._counts[pool] = self._counts.get(pool, 0) + counts
            self._draws[pool] = self._draws.get(pool, 0) + 1
            self._first.setdefault(pool, condition)

    def table(self, classes: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
        """Return the ``confusion`` table: one row per pool, probe, true class and predicted class.

        ``before`` and ``clips`` are numbers of clips without change and under the condition, ``lost`` those
        that left the cell and ``gained`` those that came into it; of random controls they are means over
        ``draws`` sets. ``mcnemar_p`` is McNemar's exact p-value of ``lost`` against ``gained``; of the mean
        over probes it is the largest of their p-values, which is below a level only if all of them are; of
        random controls it is NaN. Cells that have no clip in any probe, before or under the condition, are
        left out.
        """
        parts = [self._rows(pool, counts, classes, seeds) for pool, counts in self._counts.items()]
        return pd.concat(parts) if parts else pd.DataFrame(columns=tables.SCHEMAS["confusion"].names)

    def _rows(
        self, pool: Pool, counts: np.ndarray, classes: Sequence[str], seeds: Sequence[int]
    ) -> pd.DataFrame:
        assert self._before is not None
        label, control, gain, replacement = pool
        draws = self._draws[pool]
        before = self._before.astype(float)
        now, lost, gained = counts / draws
        p = np.full(before.shape, np.nan)
        if control != "random":
            pairs = zip(counts[1].ravel().tolist(), counts[2].ravel().tolist(), strict=True)
            p = np.reshape([mcnemar_p(*pair) for pair in pairs], before.shape)
        values = {"before": before, "clips": now, "lost": lost, "gained": gained}
        columns: dict[str, Any] = {
            name: np.concatenate([value, value.mean(0, keepdims=True)]) for name, value in values.items()
        }
        columns["mcnemar_p"] = np.concatenate([p, p.max(0, keepdims=True)])
        one = self._first[pool].set
        shown = np.broadcast_to((before + now + lost).any(0), columns["before"].shape)
        probe, true, predicted = np.nonzero(shown)
        names = np.array(classes)
        return pd.DataFrame(
            {
                "set": label, "kind": one.kind, "targets": "+".join(one.targets), "control": control,
                "gain": gain, "replacement": replacement, "draws": draws, "neurons": len(one.neurons),
                "probe": np.array([*map(str, seeds), MEAN])[probe],
                "class": names[true], "prediction": names[predicted],
            }
            | {name: value[shown] for name, value in columns.items()}
        )  # fmt: skip


def _pool(condition: Condition) -> Pool:
    change = condition.change
    return condition.set.label, condition.control, change.gain, change.replacement
