"""Time of a piece of work, and how it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any


def spent(work: Callable[[], Any], device: str = "cpu", least: float = 0.2, most: int = 20) -> float:
    """Return the seconds that a piece of work takes: the least of runs that take ``least`` s in all.

    On a CPU, seconds of processor time of this process; on a GPU, of wall time.
    """
    if device == "cpu":
        clock = time.process_time
    else:
        import torch

        def clock() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

    found: list[float] = []
    while not found or (sum(found) < least and len(found) < most):
        began = clock()
        work()
        found.append(clock() - began)
    return min(found)


def line(sizes: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Return the constant and the slope of a line through two measurements, neither of them negative.

    >>> line((2, 4), (5, 7)), line((2, 4), (1, 4)), line((2, 4), (7, 5))
    ([3.0, 1.0], [0.0, 1.0], [5.0, 0.0])
    """
    (few, many), (less, more) = sizes, seconds
    slope = max(0.0, (more - less) / (many - few))
    constant = more - slope * many
    return [constant, slope] if constant >= 0 else [0.0, more / many]
