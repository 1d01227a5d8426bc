"""Small multiples: one panel per task."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from audio_neurons.report.figures import _style as style

ACROSS = 4  # panels per full-width row; 3 or 5 if that leaves fewer gaps in the last row


def multiples(number: int, height: float) -> tuple[Figure, np.ndarray]:
    """Create panels with shared axes, each ``height`` inches high; one or two take one paper column."""
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
    for lowest in shown[max(0, number - across) : number]:  # the lowest panel of each column
        lowest.tick_params(labelbottom=True)
    return figure, shown[:number]
