"""Run Python many times after one import of its libraries, which is most of what a short job takes.

As a program this is a server: it imports what Snakemake and the scripts of all rules of the project in the
current folder import, and forks a process for each request, which then does what ``python ARGUMENTS`` does. A
Snakemake that runs so has its scripts run so too. Their signals, threads, output, exit codes and measured
resources are like those of other processes; seeds are drawn anew, but for that of `hash`.

What is imported has read the environment. A script whose environment differs in more than `FREE` is therefore
started as for a user, and so is what tests kill or Slurm starts. With the argument ``libraries`` a server
imports `LIBRARIES` alone: in test_workflow's first run, each script is forked from such a one once, and has
to import the rest of what it uses itself.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import re
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

THREADS = [f"{library}_NUM_THREADS" for library in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")]
# May differ from what was there at the import: these are read where they are needed, or set again.
FREE = {*THREADS, "VECLIB_MAXIMUM_THREADS", "OMP_WAIT_POLICY", "TMPDIR", "TMP", "TEMP", "TEMPDIR"}
FREE |= {"PYTEST_CURRENT_TEST", "PWD", "OLDPWD", "_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "VOXCELEB_KEY"}
# The server has one thread, and its children's threads do not spin (see `runtime.limit_threads`).
OWN = {**dict.fromkeys(THREADS, "1"), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
IMPORT = re.compile(r"^from (\S+) import (.+)$", re.M)
# What functions import, not modules: those of Snakemake, of the workflow, of what is here.
WITHIN = ("nbformat", "smart_open", "snakemake.cli", "snakemake.storage", "audio_neurons.fetching.preflight")
WITHIN += ("matplotlib.pyplot", "scipy.signal", "scipy.stats", "seaborn", "soundfile", "timm", "torchaudio")
WITHIN += ("audio_neurons.datasets.custom", "pyarrow.pandas_compat", "threadpoolctl")
LIBRARIES = ("numpy", "pandas", "pyarrow.parquet", "threadpoolctl", "torch")
MODELS = ("audio_spectrogram_transformer", "hubert")  # of transformers, which is an extra
WITHIN += tuple(f"transformers.models.{model}.modeling_{model}" for model in MODELS)
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
BEFORE, PATH = dict(os.environ), sys.path[1:]
BEGIN = ["set", "-euo", "pipefail;", sys.executable]  # Snakemake's command for a Python script


class Forked:
    """A process that a server forks; it has what Snakemake asks of a `subprocess.Popen`.

    Parameters
    ----------
    address
        Socket of the server.
    arguments
        As after ``python``: a script or ``-m`` and a module, and its arguments.
    files
        Descriptors of its standard output and error.
    folder
        Its working directory.
    firsts
        Socket of the server that forks the first job of each script, if this is Snakemake; empty: the same.
    """

    def __init__(
        self,
        address: str,
        arguments: list[str],
        environment: dict[str, str],
        files: tuple[int, int],
        folder: str,
        firsts: str = "",
    ):
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        socket.send_fds(self._connection, [b"+"], files)
        self._told = self._connection.makefile("rw")
        asked = {"arguments": arguments, "environment": environment, "folder": folder, "firsts": firsts}
        print(json.dumps(asked), file=self._told, flush=True)
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; of a process that a signal has killed, minus the signal."""
        if self.returncode is None:
            with self._connection, self._told:
                self.returncode = int(self._told.readline())
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


class Scripts:
    """Stands for `subprocess.Popen` in a Snakemake that was forked, so that scripts are forked too."""

    def __init__(self, address: str, firsts: str):
        self._address, self._firsts = address, firsts
        self._begun: set[str] = set()

    def __call__(self, command: str, **given: Any) -> Forked | subprocess.Popen:
        *begin, script = shlex.split(command)
        differing = {name for name, _ in given["env"].items() ^ BEFORE.items()} - FREE
        if begin != BEGIN or differing:
            return subprocess.Popen(command, **given)
        name = Path(script).name.partition(".")[2]  # tmpxyz.extract.py
        address = self._address if name in self._begun else self._firsts or self._address
        self._begun.add(name)
        return Forked(address, [script], given["env"], (1, 2), os.getcwd())


# The server


def load_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()


def load() -> None:
    """Import what Snakemake and the scripts of all rules import, and compute once what every run asks for."""
    gc.disable()
    for file in sorted(Path("workflow").rglob("*.*")):
        if file.suffix in (".py", ".smk"):
            for module, names in IMPORT.findall(file.read_text(encoding="utf-8")):
                __import__(module, fromlist=names.split(", "))
    for name in WITHIN:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    from snakemake.cli import get_argument_parser

    from audio_neurons.running import digest
    from audio_neurons.running.digest import PACKAGE, code_digest
    from audio_neurons.settings.schema import schema

    get_argument_parser()  # which looks for plugins
    schema()
    modules = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    code_digest(*map(".".join, modules))
    digest._keep()
    atexit.unregister(digest._keep)  # each process would do it again
    for end in list(weakref.finalize._registry):
        end.atexit = False  # of what is imported, which takes time at the end of each process
    gc.freeze()  # what is imported is left out of the search for garbage, which would copy its pages
    gc.enable()


def serve(address: str) -> None:
    """Fork for each request, tell the process's id, and its exit code when it has ended; until input ends."""
    waiting: dict[int, TextIO] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in (ready := select.select([listener, sys.stdin, woken], [], [])[0]):
            if woken in ready:
                os.read(woken, 1024)
                for child in [child for child in waiting if os.waitid(os.P_PID, child, ENDED)]:
                    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    with suppress(OSError), waiting.pop(child) as told:
                        print(code, file=told, flush=True)
            if listener in ready:
                with listener.accept()[0] as connection:
                    _, files, *_ = socket.recv_fds(connection, 1, 2)
                    told = connection.makefile("rw")
                asked = json.loads(told.readline())
                if (child := os.fork()) == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    leave(partial(become, asked, files, address))
                for file in files:
                    os.close(file)
                with suppress(OSError):  # who asked has been killed
                    print(child, file=told, flush=True)
                waiting[child] = told


def become(asked: dict[str, Any], files: list[int], address: str) -> None:
    """Do in this process what Python does with these arguments."""
    for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(file, number)
        os.close(file)
    made = dict(os.environ.items() - BEFORE.items())  # by libraries, when they were imported
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    tempfile.tempdir = None
    first, *rest = asked["arguments"]
    if first == "-m":
        sys.path[0], sys.argv = asked["folder"], rest
        start = Scripts(address, asked["firsts"])
        sys.modules["snakemake.shell"].sp = SimpleNamespace(**{**vars(subprocess), "Popen": start})
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[:], sys.argv = [str(Path(first).parent), *PATH], [first, *rest]
        os.environ.update(made | asked["environment"])
        sys.modules["numpy"].random.seed()
        sys.modules["torch"].seed()
        if (threads := os.environ["OMP_NUM_THREADS"]) != OWN["OMP_NUM_THREADS"]:
            sys.modules["threadpoolctl"].threadpool_limits(int(threads))
        runpy.run_path(first, run_name="__main__")


def leave(run: Callable[[], None]) -> None:
    """Run a function, and end the process as Python ends, without the search of all that is imported."""
    code = 0
    try:
        run()
    except SystemExit as end:
        code = end.code
        if not isinstance(code, int | None):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()  # as `python -m`
    (load_libraries if sys.argv[2:] == ["libraries"] else load)()
    serve(sys.argv[1])
