"""Count and locate activations on a CPU, clip by clip, while a clip's activations are in its caches.

NumPy compares numbers two to four times as fast as PyTorch does on a CPU, and without a batch-sized mask.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

BYTE = 255  # largest count that fits into a byte; bytes are summed four times as fast as integers
SHARE = 5  # fewer neurons than one in so many are copied and searched; for more, searching all is faster

Sums = tuple[np.ndarray, np.ndarray, np.ndarray]


class Counter:
    """Adds up the hidden activations of batches in several threads, as a context manager.

    Parameters
    ----------
    threads
        Threads that count, the caller's included.
    absolute
        Whether neurons are active where the absolute value is above the threshold.
    """

    def __init__(self, threads: int, absolute: bool = False):
        self._threads, self._absolute = max(1, threads), absolute
        self._masks: dict[tuple[int, int], np.ndarray] = {}  # of each thread, by width
        self._pool = ThreadPoolExecutor(self._threads - 1) if self._threads > 1 else None

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def add(
        self,
        hidden: np.ndarray,
        heard: np.ndarray | None,
        threshold: float | np.ndarray,
        floor: np.ndarray | None,
        sums: Sums,
        first: int,
    ) -> None:
        """Add activations to the sums, in place.

        Parameters
        ----------
        hidden
            float32 (B, n, W): activations of W neurons on n tokens of B clips.
        heard
            bool (B, n): the tokens that count; by default all.
        threshold
            One number, or one for each neuron (W,).
        floor
            float32 (W,): peaks below it need no token; None: no peaks are wanted.
        sums
            Active tokens int32, highest activation float32 and its token int64, (B, W) each.
        first
            Number of the first token.
        """

        def some(thread: int) -> None:
            mask = self._mask(thread, hidden.shape[2])
            for clip in range(thread, len(hidden), self._threads):
                own = sums[0][clip], sums[1][clip], sums[2][clip]
                within = None if heard is None else heard[clip]
                self._clip(hidden[clip], within, threshold, floor, own, first, mask)

        threads = range(1, min(self._threads, len(hidden)))
        waiting = [self._pool.submit(some, thread) for thread in threads] if self._pool else []
        some(0)
        for one in waiting:
            one.result()

    def _mask(self, thread: int, width: int) -> np.ndarray:
        """Return memory of a thread: new memory is written more slowly than numbers are compared."""
        if (thread, width) not in self._masks:
            self._masks[thread, width] = np.empty((BYTE, width), bool)
        return self._masks[thread, width]

    def _clip(
        self,
        rows: np.ndarray,
        heard: np.ndarray | None,
        threshold: float | np.ndarray,
        floor: np.ndarray | None,
        sums: Sums,
        first: int,
        mask: np.ndarray,
    ) -> None:
        """Add the activations (n, W) of one clip to its sums (W,)."""
        counts, highest, token = sums
        tokens = None
        if heard is not None and not heard.all():
            tokens = np.flatnonzero(heard)
            rows = rows[tokens]
        if not len(rows):
            return
        level = np.abs(rows) if self._absolute else rows
        for begin in range(0, len(level), BYTE):
            block = level[begin : begin + BYTE]
            active = np.greater(block, threshold, out=mask[: len(block)])
            counts += np.add.reduce(active.view(np.uint8), axis=0, dtype=np.uint8)
        if floor is None:
            return
        peak = np.maximum.reduce(rows, axis=0)
        # Locating a peak costs more than computing it: only candidates for the strongest are located.
        candidates = np.flatnonzero((peak > highest) & (peak >= floor))
        if len(candidates):
            if SHARE * len(candidates) < len(peak):
                place = _first(rows.take(candidates, axis=1), peak[candidates], mask)
            else:
                place = _first(rows, peak, mask)[candidates]
            token[candidates] = (place if tokens is None else tokens[place]) + first
        np.maximum(highest, peak, out=highest)


def _first(rows: np.ndarray, value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the first row with a value (W,), of each column of (n, W); several times as fast as argmax."""
    place = np.zeros(len(value), np.int64)
    for begin in reversed(range(0, len(rows), BYTE)):
        block = rows[begin : begin + BYTE]
        n = len(block)
        equal = np.equal(block, value, out=mask[:n, : len(value)]).view(np.uint8)
        equal *= np.arange(n, 0, -1, dtype=np.uint8)[:, None]  # first row: n; others: 0
        highest = np.maximum.reduce(equal, axis=0)
        np.copyto(place, begin + n - highest.astype(np.int64), where=highest > 0)
    return place
