"""Heatmaps of more classes than a page has room to name: an image, with similar classes side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from audio_neurons.report.figures import _style as style

MOST = 64  # classes on a side whose names can be read


def crowded(rows: Sequence[str], columns: Sequence[str]) -> bool:
    """Return whether there are more classes than can be named."""
    return max(len(rows), len(columns)) > MOST


def ordered(pairs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return rows and columns in an order in which those that share alike are near each other.

    They are the leaves of a clustering by average linkage: of one task by its mean ratios over the models, of
    two tasks each by its profile of ratios with the other.
    """
    from scipy.spatial.distance import squareform  # slow to import, and few figures need it

    found = pairs.groupby(["class_a", "class_b"], sort=False)["value"].mean().fillna(0.0)
    values = _matrix(found, rows, columns)
    if set(pairs["class_a"].unique()) & set(pairs["class_b"].unique()) and not _is_full(pairs, rows, columns):
        every = list(dict.fromkeys([*columns, *rows]))
        both = _matrix(found, every, every)
        both = np.maximum(both, both.T)
        far = both.max(initial=0.0) - both
        np.fill_diagonal(far, 0.0)
        order = [every[i] for i in _leaves(squareform(far, checks=False))]
        return order, order
    return _by_profile(values, rows), _by_profile(values.T, columns)


def _is_full(pairs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> bool:
    models = max(1, pairs["model"].nunique())
    return len(pairs) >= models * len(rows) * len(columns)


def _by_profile(values: np.ndarray, names: Sequence[str]) -> list[str]:
    if len(names) < 3:
        return list(names)
    return [names[i] for i in _leaves(values)]


def _leaves(values: np.ndarray) -> np.ndarray:
    """Return the leaves of a clustering of rows, or of condensed distances, from left to right."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    return leaves_list(linkage(values, "average"))


def _matrix(found: pd.Series, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    values = np.zeros((len(rows), len(columns)))
    values[
        _places(found.index.get_level_values(0), rows), _places(found.index.get_level_values(1), columns)
    ] = found
    return values


def _places(names: pd.Index, among: Sequence[str]) -> np.ndarray:
    return pd.Index(among).get_indexer(names)


def image(
    axes: Axes,
    own: pd.DataFrame,
    value: str,
    scale: ScalarMappable,
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Draw the pairs of a model, those of one task below the diagonal; grey where there is no number."""
    row, column = _places(pd.Index(own["class_a"]), rows), _places(pd.Index(own["class_b"]), columns)
    if list(rows) == list(columns) and not (row == column).any():
        row, column = np.maximum(row, column), np.minimum(row, column)
    numbers = own[value].to_numpy(float)
    colours = scale.to_rgba(np.clip(numbers, *scale.get_clim()))
    colours[np.isnan(numbers)] = style.UNDEFINED
    drawn = np.zeros((len(rows), len(columns), 4))
    drawn[row, column] = colours
    shown = axes.imshow(drawn, extent=(0, len(columns), len(rows), 0), aspect="auto", interpolation="nearest")
    shown.set_rasterized(True)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0), xticks=[], yticks=[])


def described(task: str, classes: int) -> str:
    """Return the title of an axis whose classes are not named."""
    return f"{task}: {classes:,} classes, those that share alike side by side"
