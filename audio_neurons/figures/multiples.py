"""Small multiples: a panel per task."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from audio_neurons.figures import style

ACROSS = 4  # panels in a row as wide as two columns; five where that leaves fewer holes in the last row


def multiples(number: int, height: float) -> tuple[Figure, np.ndarray]:
    """Panels of a height in inches, with common axes, in rows; one or two share a column of the paper."""
    across = 1 if number < 3 else min(number, ACROSS)
    if number > ACROSS:
        across = min(range(3, ACROSS + 2), key=lambda n: (-number % n, -n))
    down = -(-number // across)
    figure, grid = plt.subplots(
        down,
        across,
        figsize=(style.COLUMN if number < 3 else style.WIDE, down * height + 0.8),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    style.spaced(figure, wspace=0.04)
    shown = grid.ravel()
    for empty in shown[number:]:
        empty.set_visible(False)
    for lowest in shown[max(0, number - across) : number]:  # of its column
        lowest.tick_params(labelbottom=True)
    return figure, shown[:number]
