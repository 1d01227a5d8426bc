"""Correlation of every neuron's activity with the acoustics of the tokens on which it is recorded.

Activity is what the counts are of: active on a token or not. Acoustics are whole numbers of steps, so that
all sums are whole numbers below 2**53, and any division of the clips into shards gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from audio_neurons import tables
from audio_neurons.activations.features import NAMES

SUMS = ["tokens", "total", "squares", "active", "product"]


def merge(parts: Sequence[Path], out: Path) -> None:
    """Add up the ``acoustic_sums`` of shards, and write the ``correlations`` of a dataset.

    Split ``*`` stands for all splits. The result does not depend on the number of shards or their order.
    """
    sums: dict[tuple[str, str], np.ndarray] = {}
    place: np.ndarray | None = None
    for part in parts:
        for batch in tables.row_groups(part, "acoustic_sums", tables.SCHEMAS["acoustic_sums"].names):
            own = np.stack([batch["layer"].to_numpy(), batch["neuron"].to_numpy()])
            place = own if place is None else place
            if own.shape != place.shape or (own != place).any():
                raise tables.TableError(f"{part}: other neurons than {parts[0]}; delete both and run again")
            key = batch["split"][0].as_py(), batch["feature"][0].as_py()
            numbers = np.stack([batch[name].to_numpy() for name in SUMS])
            for name in (key[0], "*"):
                sums[name, key[1]] = sums.get((name, key[1]), 0) + numbers
    assert place is not None
    with tables.writer(out, "correlations") as writer:
        for split, name in sorted(sums, key=lambda key: (key[0], NAMES.index(key[1]))):
            own = sums[split, name]
            size = own.shape[1]
            columns = {
                "split": pa.array([split] * size),
                "feature": pa.array([name] * size),
                "layer": place[0],
                "neuron": place[1],
                "tokens": own[0],
                "rate": np.divide(own[3], own[0], out=np.full(size, np.nan), where=own[0] > 0),
                "correlation": correlations(own),
            }
            writer.append(columns)


def correlations(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's r (N,) from the rows `SUMS` of each neuron; NaN where either does not vary."""
    n, x, xx, a, ax = sums.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = x / n
        # around the rounded mean, so that nothing cancels; whole numbers stay exact
        spread = xx / n - mean**2
        rate = a / n
        found = (ax / n - rate * mean) / np.sqrt(spread * rate * (1 - rate))
    return np.where((spread > 1e-9) & (a > 0) & (a < n), np.clip(found, -1, 1), np.nan)


def chosen(path: str | Path, split: str, neurons: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return correlations by neuron (``layer``, ``neuron``) and feature (columns, as `FEATURES`).

    Parameters
    ----------
    path
        A ``correlations`` table.
    split
        A split, or ``*``.
    neurons
        Table with ``layer`` and ``neuron`` of those to return; by default all.
    """
    wide: dict[str, pd.Series] = {}
    for batch in tables.row_groups(path, "correlations", tables.SCHEMAS["correlations"].names):
        if batch["split"][0].as_py() == split:
            rows = batch.to_pandas().set_index(["layer", "neuron"])
            wide[rows["feature"].iloc[0]] = rows["correlation"]
    found = pd.DataFrame(wide).reindex(columns=NAMES)
    return found if neurons is None else found.loc[pd.MultiIndex.from_frame(neurons[["layer", "neuron"]])]
