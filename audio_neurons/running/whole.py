"""Progress of a whole run: jobs done, and the time left by those that ended."""

from __future__ import annotations

import csv
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from audio_neurons.running.runtime import duration

INTERVAL = 60.0  # seconds between two lines
FIRST = 5.0  # seconds before the first
NAMED = 4  # kinds that a line names


class Whole:
    """What is done of a run, and how long the rest takes.

    The time left is that of the jobs that are left, each as long as the mean of the jobs of its kind that
    ended in this run, at as many at a time as ran so far. Kinds of which no job has ended are named, not
    guessed.

    Parameters
    ----------
    records
        Benchmark file of each job that is to run, with its kind.
    """

    def __init__(self, records: Mapping[Path, str]):
        self._kinds = dict(records)
        self._took: dict[Path, float] = {}
        self._old = {path: _written(path) for path in records}

    def line(self, passed: float) -> str:
        """Return the line to print when so many seconds have passed since the start."""
        for path in self._kinds.keys() - self._took.keys():
            if _written(path) != self._old[path] and (seconds := _seconds(path)) is not None:
                self._took[path] = seconds
        planned = Counter(self._kinds.values())
        ended = Counter(self._kinds[path] for path in self._took)
        took = {kind: sum(s for path, s in self._took.items() if self._kinds[path] == kind) for kind in ended}
        rest = sum((planned[kind] - ended[kind]) * took[kind] / ended[kind] for kind in ended)
        at_a_time = max(sum(took.values()) / passed, 1.0)
        done = f"{ended.total()} of {planned.total()} jobs in {duration(passed)}"
        unknown = Counter({kind: number for kind, number in planned.items() if not ended[kind]})
        line = f"whole run: {done}, about {duration(rest / at_a_time)} left"
        if unknown:
            names = [kind for kind, _ in unknown.most_common(NAMED)] + ["..."] * (len(unknown) > NAMED)
            line += f" without {unknown.total()} jobs of kinds of which none has ended ({', '.join(names)})"
        return line


def _written(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _seconds(path: Path) -> float | None:
    """Return the wall time that a benchmark file records, or None while it is not written whole."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError):
        return None


def watch(
    records: Mapping[Path, str],
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> None:
    """Tell every minute, in a thread that ends with the process, how far a run is."""
    whole, began = Whole(records), time.monotonic()

    def run() -> None:
        time.sleep(FIRST)
        while True:
            tell(whole.line(time.monotonic() - began))
            time.sleep(INTERVAL)

    threading.Thread(target=run, daemon=True).start()
