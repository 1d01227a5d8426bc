"""Log, threads, error messages and progress of a job."""

from __future__ import annotations

import atexit
import errno
import gc
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from audio_neurons.running import provenance

T = TypeVar("T")

INTERVAL = 5.0  # seconds between two progress lines
# Objects between two searches for garbage, 700 by default. Imports make some hundred thousand that stay, and
# going through them again and again is a tenth of the time of a short job.
GARBAGE = 20_000
AGAIN = "run the same command again: what is finished is kept"
# Messages of PyTorch and safetensors, which have no exception class for lack of memory.
NO_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
NO_SPACE = os.strerror(errno.ENOSPC)
TOOK = re.compile(r"^took ([\d.]+) s of processor time$", re.MULTILINE)  # the last line of a log
_terminal = None


def start(
    log: str | os.PathLike, threads: int, rule: str | None = None, params: Mapping[str, Any] | None = None
) -> None:
    """Send everything that this process prints to ``log``, and limit it to ``threads`` threads.

    The file descriptors are redirected, so that output of C libraries lands in the log too. Progress
    lines still reach the terminal. ``rule`` and ``params`` are recorded in the tables and figures that
    the process writes (see :mod:`audio_neurons.running.provenance`). When the process ends, its last line
    there tells what it took (`TOOK`), unless it has failed.
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
    atexit.register(_end)
    limit_threads(threads)
    spare_searches()
    if rule:
        provenance.begin(rule, params or {})


def _end() -> None:
    """Tell the log the processor time of this process and of those that it started and has waited for."""
    sys.stdout.flush()
    print(f"took {sum(os.times()[:4]):.2f} s of processor time", file=sys.stderr, flush=True)


def _report(
    log: str | os.PathLike, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Show an error: only its message or remedy if this package knows one, else the traceback too."""
    atexit.unregister(_end)
    own = kind.__module__.startswith("audio_neurons")
    told = str(error) if own else _remedy(error)
    if not own and not told:
        traceback.print_exception(kind, error, trace)
    # Absolute: the working directory of the job (--directory) is rarely the reader's.
    tell(f"error: {told or str(error) or kind.__name__}\n  (log: {os.path.abspath(log)})")


def _remedy(error: BaseException) -> str:
    """Return what to do about an interrupt or a failure of the machine; empty for other errors."""
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {AGAIN}"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or NO_MEMORY.search(reason):
        return (
            f"no memory left ({reason}); run fewer jobs at a time (--cores), give the job more, or lower "
            f"extraction.batch_size; then {AGAIN}"
        )
    if "DataLoader worker (pid" in reason:  # its own errors are raised as such
        return (
            f"a process that decodes clips ended ({reason}); give the job more memory, or let one thread "
            f"decode (--set-threads RULE=1); then {AGAIN}"
        )
    if getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"access is refused ({reason}); allow it, then {AGAIN}"
    cause: BaseException | None = error
    while cause is not None:  # PyTorch names a full disk only in the cause of its error
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or NO_SPACE in str(cause):
            return f"the disk is full ({reason}); make room, then {AGAIN}"
        cause = cause.__cause__ or cause.__context__
    return ""


def spare_searches() -> None:
    """Search for garbage less often (`GARBAGE`), and not when the process ends.

    The memory is then given back in any case; to search it takes a sixth to a fifth of a short job.
    """
    gc.set_threshold(GARBAGE)
    atexit.register(gc.freeze)


@contextmanager
def hidden(*modules: str) -> Iterator[None]:
    """Let libraries that a job imports inside the context do without optional modules, which take long.

    Modules that have been imported before stay, and outside jobs (:func:`start`) all do: a notebook may need
    them.
    """
    absent: dict[str, Any] = {m: None for m in modules if _terminal is not None and m not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for module in absent:
            del sys.modules[module]


def limit_threads(threads: int) -> None:
    """Limit numerical libraries to ``threads`` threads, whether or not torch is imported already.

    OpenMP threads wait passively: spinning while idle slows down other jobs on the same machine.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class Meter:
    """Progress display: prints amount done, speed and time left every few seconds.

    Parameters
    ----------
    total
        Amount of work, or ``None`` if unknown.
    done
        Amount that an earlier run has done.
    """

    def __init__(self, total: float | None, label: str, unit: str = "items", done: float = 0):
        self._total, self._label, self._unit = total, label, unit
        self._done = self._first = done
        self._began = self._last = time.monotonic()

    def add(self, amount: float = 1) -> None:
        """Count ``amount`` more work, and print a line if the last one is `INTERVAL` seconds old."""
        self._done += amount
        now = time.monotonic()
        if now - self._last >= INTERVAL:
            self._last = now
            tell(self._line(now - self._began, finished=False))

    def finish(self) -> None:
        """Print the final line, unless nothing was added."""
        if self._done > self._first:
            tell(self._line(time.monotonic() - self._began, finished=True))

    def _line(self, seconds: float, finished: bool) -> str:
        rate = (self._done - self._first) / max(seconds, 1e-9)
        amount, speed = f"{self._done:.0f}", f"{rate:.3g} {self._unit}/s"
        if finished or self._total is None:
            return f"{self._label}: {amount} {self._unit} in {duration(seconds)}, {speed}"
        left = duration((self._total - self._done) / max(rate, 1e-9))
        return f"{self._label}: {amount}/{self._total:.0f} {self._unit}, {speed}, {left} left"


def progress(items: Iterable[T], total: int | None, label: str, unit: str = "items") -> Iterator[T]:
    """Yield ``items`` and show progress with a :class:`Meter`."""
    meter = Meter(total, label, unit)
    for item in items:
        yield item
        meter.add()
    meter.finish()


def duration(seconds: float) -> str:
    """Return a duration in words, such as "1 h 05 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def tell(line: str) -> None:
    """Print a line to the job's log and to the terminal."""
    print(line, file=sys.stderr, flush=True)
    if _terminal is not None:
        print(f"  {line}", file=_terminal, flush=True)
