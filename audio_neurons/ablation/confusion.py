"""Confusion matrices of the probes: without change, under every condition, and the cells that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Counts are integers, so they do not depend on how clips are divided into batches.
    """

    def __init__(self, conditions: Sequence[Condition]):
        self._pool_of = [_pool(condition) for condition in conditions]
        self._first = dict(zip(self._pool_of, conditions, strict=True))
        # now, lost and gained, int64 (3, S, C, C) each
        self._counts: dict[Pool, np.ndarray] = {}
        self._before: np.ndarray | None = None

    def add(
        self, codes: np.ndarray, classes: int, found: Mapping[int, tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        codes
            (B,): true class number of every clip.
        found
            Number of the condition (-1: no change) → predicted class numbers (S, B), and what is not used.
        """
        before = found[-1][0]
        shape = (len(before), classes, classes)
        seeds = np.arange(len(before))[:, None]
        if self._before is None:
            self._before = np.zeros(shape, np.int64)
        np.add.at(self._before, (seeds, codes, before), 1)
        for k, (now, _) in found.items():
            if k < 0:
                continue
            counts = self._counts.setdefault(self._pool_of[k], np.zeros((3, *shape), np.int64))
            np.add.at(counts[0], (seeds, codes, now), 1)
            moved = (now != before).astype(np.int64)
            np.add.at(counts[1], (seeds, codes, before), moved)
            np.add.at(counts[2], (seeds, codes, now), moved)

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
        draws = self._pool_of.count(pool)
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
