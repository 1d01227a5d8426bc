"""What a job does around its work: its log, its threads, its progress."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 5.0  # seconds between two lines of progress
_terminal = None


def start(log: str | os.PathLike, threads: int) -> None:
    """Send everything this process prints to ``log``, and keep it to ``threads`` threads.

    The file descriptors themselves are redirected, so that what libraries write in C lands there too.
    The terminal stays reachable for lines of progress.
    """
    global _terminal
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    _terminal = os.fdopen(os.dup(2), "w", buffering=1)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.captureWarnings(True)
    sys.excepthook = partial(_report, log)
    limit_threads(threads)


def _report(log: str | os.PathLike, kind: type[BaseException], error: BaseException, trace) -> None:
    """What went wrong: on the terminal in words, in the log with all that Python knows."""
    traceback.print_exception(kind, error, trace)
    tell(f"error: {error if str(error) else kind.__name__}\n  (log: {log})")


def limit_threads(threads: int) -> None:
    """Keep numerical libraries to ``threads`` threads; before torch is imported, and after.

    Idle OpenMP threads that spin cost more than they gain where several jobs share a machine.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def progress(items: Iterable[T], total: int | None, label: str, unit: str = "items") -> Iterator[T]:
    """Yield ``items``, and print how far it is, how fast, and how long it will take, now and then."""
    began = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= INTERVAL:
            last = now
            tell(_line(label, done, total, unit, now - began))
    tell(_line(label, done, total, unit, time.monotonic() - began))


def _line(label: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    if total is None or done >= total:
        return f"{label}: {done} {unit} in {_duration(seconds)}, {rate:.3g} {unit}/s"
    left = (total - done) / max(rate, 1e-9)
    return f"{label}: {done}/{total} {unit}, {rate:.3g} {unit}/s, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def tell(line: str) -> None:
    """One line to the job's log and to the terminal."""
    print(line, file=sys.stderr, flush=True)
    if _terminal is not None:
        print(f"  {line}", file=_terminal, flush=True)
