import importlib
import os
import subprocess
import sys

import pytest

from audio_neurons.running import runtime

JOB = """
import ctypes, gc, logging, os, sys, warnings
from audio_neurons.running import runtime
print("before")
runtime.start(sys.argv[1], 2)
print("a print")
os.write(2, b"from C\\n")
os.system("echo of a child")
logging.getLogger("x").info("an info")
warnings.warn("a warning")
items = list(runtime.progress(iter("abc"), 3, "job", "letters"))
assert items == ["a", "b", "c"]
assert os.environ["OMP_NUM_THREADS"] == "2"
assert gc.get_threshold()[0] == runtime.GARBAGE
raise KeyError("at the end")
"""


def test_a_job_does_not_search_for_garbage_at_its_end(tmp_path, root):
    """What was registered first runs last."""
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count(), flush=True))\n"
    code += f"from audio_neurons.running import runtime; runtime.start({str(tmp_path / 'log')!r}, 1)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
    assert int((tmp_path / "log").read_text().splitlines()[-1]) > 1000


def test_everything_a_job_prints_lands_in_its_log_and_progress_on_the_terminal_too(tmp_path, root):
    log = tmp_path / "logs" / "job.log"
    done = subprocess.run(
        [sys.executable, "-c", JOB, os.path.relpath(log, root)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    text = log.read_text()
    assert done.returncode == 1
    assert done.stdout == "before\n"
    told = [line.strip() for line in done.stderr.splitlines()]
    assert told[0].startswith("job: 3 letters in 0 s")
    assert told[1:] == ["error: 'at the end'", f"(log: {log})"]  # the traceback is in the log only
    assert all(line in text for line in told)
    for expected in (
        "a print",
        "from C",
        "of a child",
        "INFO an info",
        "a warning",
        "Traceback",
        "KeyError: 'at the",
    ):
        assert expected in text
    assert "before" not in text
    assert not runtime.TOOK.search(text)  # of jobs that are finished


def test_a_log_is_of_the_last_run_only_and_ends_with_what_it_took(tmp_path, root):
    log = tmp_path / "job.log"
    code = (
        "import sys; from audio_neurons.running import runtime as r; r.start(sys.argv[1], 1); "
        "import os; os.system(sys.executable + ' -c \"sum(range(10**7))\"'); "
        "print(sys.argv[2], *os.times()[:4])"
    )
    for word in ("first run", "second"):
        subprocess.run([sys.executable, "-c", code, str(log), word], cwd=root, check=True)
    first, last = log.read_text().splitlines()
    word, *times = first.split()
    assert word == "second"
    own, children = sum(map(float, times[:2])), sum(map(float, times[2:]))
    assert children > 0.04
    assert float(runtime.TOOK.fullmatch(last)[1]) == pytest.approx(own + children, abs=0.03)


@pytest.mark.parametrize("total", [5, None])
def test_progress_yields_every_item_and_tells_of_them(monkeypatch, capsys, total):
    monkeypatch.setattr(runtime, "INTERVAL", 0.0)
    assert list(runtime.progress(range(5), total, "count")) == [0, 1, 2, 3, 4]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[-1].startswith("count: 5 items in 0 s")
    assert lines[1].startswith("count: 2/5 items, " if total else "count: 2 items in 0 s")


def test_progress_over_nothing(capsys):
    assert list(runtime.progress([], 0, "count")) == []
    assert capsys.readouterr().err == ""


def test_progress_that_is_broken_off_passes_the_error_on():
    def items():
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(runtime.progress(items(), 2, "count"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3600, "1 h 00 min"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations(seconds, text):
    assert runtime.duration(seconds) == text


def test_the_time_left_is_that_of_the_pace_so_far(monkeypatch, capsys):
    clock = iter([0.0, 20.0, 40.0, 40.0])
    monkeypatch.setattr(runtime.time, "monotonic", lambda: next(clock))
    meter = runtime.Meter(60, "x", "MB", done=10)
    meter.add(10)
    meter.add(40)
    meter.finish()
    first, second, last = capsys.readouterr().err.splitlines()
    assert first == "x: 20/60 MB, 0.5 MB/s, 1 min 20 s left"
    assert second == "x: 60/60 MB, 1.25 MB/s, 0 s left"
    assert last == "x: 60 MB in 40 s, 1.25 MB/s"


def test_hidden_modules_are_absent_inside_only_of_a_job_and_imported_ones_stay(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with runtime.hidden("colorsys"):
        importlib.import_module("colorsys")
    monkeypatch.delitem(sys.modules, "colorsys")
    monkeypatch.setattr(runtime, "_terminal", sys.stderr)
    with runtime.hidden("colorsys", "json"):
        with pytest.raises(ImportError):
            importlib.import_module("colorsys")
        assert importlib.import_module("json") is sys.modules["json"]
    assert importlib.import_module("colorsys").rgb_to_hsv
