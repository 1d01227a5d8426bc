"""What a job does around its work: its log, its threads, its progress."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from audio_neurons import provenance

T = TypeVar("T")

INTERVAL = 5.0  # seconds between two lines of progress
AGAIN = "run the same command again: what is finished is kept"
# What libraries say that have no exceptions of their own for it: PyTorch, and safetensors.
NO_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
NO_SPACE = os.strerror(errno.ENOSPC)
_terminal = None


def start(
    log: str | os.PathLike, threads: int, rule: str | None = None, params: Mapping[str, Any] | None = None
) -> None:
    """Send everything this process prints to ``log``, and keep it to ``threads`` threads.

    The file descriptors themselves are redirected, so that what libraries write in C lands there too.
    The terminal stays reachable for lines of progress. What is written says for which ``rule`` and with
    which ``params`` (see :mod:`audio_neurons.provenance`).
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
    if rule:
        provenance.begin(rule, params or {})


def _report(
    log: str | os.PathLike, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """What went wrong, in words where this package knows it, else with all that Python knows in the log."""
    own = kind.__module__.startswith("audio_neurons")
    told = str(error) if own else _remedy(error)
    if not own and not told:
        traceback.print_exception(kind, error, trace)
    # In full: the folder that a job runs in (--directory) is seldom the one that its reader is in.
    tell(f"error: {told or str(error) or kind.__name__}\n  (log: {os.path.abspath(log)})")


def _remedy(error: BaseException) -> str:
    """What to do where not the work but the machine failed, or its user stopped it; else nothing."""
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {AGAIN}"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or NO_MEMORY.search(reason):
        return (
            f"no memory left ({reason}); run fewer jobs at a time (--cores), give the job more, or lower "
            f"extraction.batch_size; then {AGAIN}"
        )
    if getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"access is refused ({reason}); allow it, then {AGAIN}"
    cause: BaseException | None = error
    while cause is not None:  # PyTorch tells of it in its error's cause only
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or NO_SPACE in str(cause):
            return f"the disk is full ({reason}); make room, then {AGAIN}"
        cause = cause.__cause__ or cause.__context__
    return ""


def limit_threads(threads: int) -> None:
    """Keep numerical libraries to ``threads`` threads; before torch is imported, and after.

    Idle OpenMP threads that spin cost more than they gain where several jobs share a machine.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class Meter:
    """Prints how far a piece of work is, how fast, and how long it will take, now and then.

    Parameters
    ----------
    total
        Amount of work, or ``None`` where it is not known.
    done
        Amount that an earlier run did already.
    """

    def __init__(self, total: float | None, label: str, unit: str = "items", done: float = 0):
        self._total, self._label, self._unit = total, label, unit
        self._done = self._first = done
        self._began = self._last = time.monotonic()

    def add(self, amount: float = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= INTERVAL:
            self._last = now
            tell(self._line(now - self._began, finished=False))

    def finish(self) -> None:
        """Print the whole amount, unless there was nothing to do."""
        if self._done > self._first:
            tell(self._line(time.monotonic() - self._began, finished=True))

    def _line(self, seconds: float, finished: bool) -> str:
        rate = (self._done - self._first) / max(seconds, 1e-9)
        amount, speed = f"{self._done:.0f}", f"{rate:.3g} {self._unit}/s"
        if finished or self._total is None:
            return f"{self._label}: {amount} {self._unit} in {_duration(seconds)}, {speed}"
        left = _duration((self._total - self._done) / max(rate, 1e-9))
        return f"{self._label}: {amount}/{self._total:.0f} {self._unit}, {speed}, {left} left"


def progress(items: Iterable[T], total: int | None, label: str, unit: str = "items") -> Iterator[T]:
    """Yield ``items`` while a :class:`Meter` counts them."""
    meter = Meter(total, label, unit)
    for item in items:
        yield item
        meter.add()
    meter.finish()


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
