"""A forked process is like one that was started, in all that a script and Snakemake see of it."""

import os
import subprocess
import sys
from pathlib import Path

import forks
import pytest
import snakemake_run

KINDS = {
    "output": "import sys; print('a'); print('b', file=sys.stderr)",
    "name and arguments": "import sys; print(__name__, __file__, sys.argv, sys.modules['__main__'].__file__)",
    "search path": "import sys; print(sys.path)",
    "folder and environment": "import os; print(os.getcwd(), *map(os.getenv, ('NAME', 'TMP', 'KEY')))",
    "places for files": "import tempfile; print(tempfile.gettempdir())",
    "threads": "import torch, os; torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))\n"
    "import numpy, scipy.linalg, threadpoolctl\nscipy.linalg.svd(numpy.eye(3))\n"
    "print(sorted((lib['user_api'], lib['num_threads']) for lib in threadpoolctl.threadpool_info()))\n"
    "print(torch.get_num_threads(), torch.ones(200_000).sum().item())",
    "standard input": "import sys; print(sys.stdin.read())",
    "signals": "import signal as s; print([s.getsignal(n) for n in sorted(s.valid_signals()) if n < 32])",
    "process group": "import os; print(os.getpgid(0), os.getsid(0))",
    "number": "import sys; sys.exit(3)",
    "message": "import sys; sys.exit('not this')",
    "error": "raise ValueError('no')",
    "hook": "import sys; sys.excepthook = lambda kind, *_: print(kind)\nraise OSError",
    "at exit": "import atexit, threading, time\natexit.register(print, 'end')\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "interrupted": "raise KeyboardInterrupt",
}


@pytest.fixture
def both(tmp_path):
    """Return a function that runs a script in a fork and in a process of its own: exit codes and outputs."""

    def run(code: str, *words: str, **variables: str):
        script = tmp_path / "tmpabc.script.py"
        script.write_text(code, encoding="utf-8")
        # Those of the shell that runs the tests have no part in it.
        kept = {name: value for name, value in os.environ.items() if name not in forks.THREADS}
        environment = {**kept, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "2", **variables}
        told = []
        for start in (forked, started):
            with open(tmp_path / "out", "w+") as out:
                code = start([str(script), *words], environment, out, str(tmp_path))
                out.seek(0)
                told.append((code, out.read()))
        return told

    return run


def forked(arguments, environment, out, folder):
    files = (out.fileno(), out.fileno())
    return forks.Forked(snakemake_run.server(), arguments, environment, files, folder).wait()


def started(arguments, environment, out, folder):
    told = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "cwd": folder, "env": environment}
    return subprocess.run([sys.executable, *arguments], **told).returncode


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_script_does_what_a_started_one_does(kind, both):
    fork, start = both(KINDS[kind], "--word", "a b", TMPDIR="/var/tmp", NAME="é")
    # Frames of a traceback begin with those that run a script.
    fork, start = (
        (code, [line for line in told.splitlines() if line[:2] != "  "]) for code, told in (fork, start)
    )
    assert fork == start
    assert fork[0] or fork[1]


def test_no_two_forks_draw_the_same_numbers_without_a_seed(both):
    code = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())"
    drawn = [told.split() for _ in range(2) for _, told in both(code)]
    assert all(len(set(numbers)) == len(drawn) for numbers in zip(*drawn, strict=True))


def test_a_fork_can_be_ended_and_waited_for(tmp_path):
    script = tmp_path / "long.py"
    script.write_text("import time; print('on'); time.sleep(600)", encoding="utf-8")
    for end, code in ((forks.Forked.kill, -9), (forks.Forked.terminate, -15)):
        with open(tmp_path / "out", "w+") as out:
            files = (out.fileno(), out.fileno())
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            process = forks.Forked(snakemake_run.server(), [str(script)], environment, files, str(tmp_path))
            assert Path(f"/proc/{process.pid}").exists()
            end(process)
            assert process.wait() == code


SNAKEFILE = """
rule all:
    input: "a", "b"
rule one:
    output: "{name}"
    script: "one.py"
"""


@pytest.mark.workflow
def test_first_scripts_have_libraries_alone_and_those_of_another_environment_nothing(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    code = (
        "import sys; here = [name for name in ('torch', 'audio_neurons', 'seaborn') if name in sys.modules]\n"
    )
    code += "open(snakemake.output[0], 'w').write(' '.join(here))"
    (tmp_path / "one.py").write_text(code, encoding="utf-8")
    asked = ["-m", "snakemake", "--cores", "1", "--forceall"]

    def forked(**given):
        code, told = snakemake_run.python(asked, folder=tmp_path, **given)
        assert code == 0, told
        return sorted((tmp_path / name).read_text() for name in "ab")

    assert forked() == ["torch audio_neurons seaborn"] * 2
    assert forked(firsts=True) == ["torch", "torch audio_neurons seaborn"]
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert forked() == ["", ""]
