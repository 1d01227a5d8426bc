"""What breaks around a run: killed processes, full and read-only disks, no memory, damage, wrong clocks.

docs/reliability.md tells of each fault what the user sees; the messages there are those of these tests.
"""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from common import ROOT
from snakemake_run import command, configuration, planned, run
from upstream import sound, table, tone

from audio_neurons import tables

NAME = "a folder with späces & 'quotes'"
LABELS = ["Träd, gren", 'the "other" one', "鳥's $x_1$ {y}"]
CLIPS = "results/clips/birds/part-000.parquet"
CONFIG = configuration("awkward-names")


def recordings(folder: Path, clips: int = 18) -> Path:
    """Sounds whose pitch is their class, and the list of them."""
    sounds = folder / "sounds é"
    sounds.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [("path", "split", "group", "Art, lat.")]
    for i in range(clips):
        samples = tone(300 * 1.5 ** (i % 3), 0.64)
        (sounds / f"{i} ö.wav").write_bytes(sound(samples + rng.normal(0, 0.02, len(samples))))
        split = "train" if i % 4 else "test"
        rows.append((f"{sounds.name}/{i} ö.wav", split, f"g{i % 6}", LABELS[i % 3]))
    with open(folder / "Vögel, all.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / "Vögel, all.csv"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder of an awkward name in which a run has ended."""
    folder = tmp_path_factory.mktemp("run") / NAME
    recordings(folder)
    run(folder, CONFIG)
    return folder


def copy_of(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / NAME, copy_function=shutil.copy2))


def until(condition, process=None, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)


# Names


@pytest.mark.workflow
def test_folders_files_and_labels_may_be_called_anything(done):
    results = done / "results"
    for name in ("within.pdf", "within.png", "coverage.pdf"):
        assert (results / "figures" / name).stat().st_size > 1000
    classes = pd.read_parquet(results / "classes/random/birds/aape.parquet")
    assert set(classes["class"]) == set(LABELS)
    assert "Vögel & Käfer, 100 %" in set(pd.read_csv(results / "tables/sharing.csv")["tasks"])
    assert "Nothing to be done" in run(done, CONFIG, "-n").stdout


# Killed


def test_a_stage_may_die_at_any_step_and_is_made_whole_by_the_next(tmp_path):
    given = tmp_path / "given"
    recordings(given, 8).rename(given / "list.csv")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "crash.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told) == ["download", "prepare", "extract", "merge", "train"]
    for stage, found in told.items():
        assert found["wrong"] == [], stage
        assert found["deaths"] >= 4, stage
        assert found["files"], stage


@pytest.fixture
def started():
    """Processes, each in a session of its own; those that are left at the end are killed."""
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.workflow
def test_two_runs_at_once_and_runs_and_jobs_that_are_killed(tmp_path, started):
    folder, config = tmp_path / NAME, CONFIG
    recordings(folder, 600)  # so many that a job can be stopped before it has prepared all of them
    clips = folder / CLIPS

    def begun() -> tuple[subprocess.Popen, int]:
        """Return a run and the process of its job, which stands still until it gets SIGCONT."""
        before = set(clips.parent.glob(".part*"))
        process = subprocess.Popen(
            command(folder, config, CLIPS), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        until(lambda: set(clips.parent.glob(".part*")) - before, process)
        (job,) = re.findall(r"^ *(\d+) .*prepare\.py", processes(process.pid), re.M)[-1:]
        os.kill(int(job), signal.SIGSTOP)
        assert not clips.exists()
        return process, int(job)

    first, job = begun()
    second = run(folder, config, CLIPS, check=False)
    assert second.returncode != 0
    assert "Directory cannot be locked. Please make sure that no other Snakemake process" in second.stdout
    assert "It can be removed with the --unlock argument." in second.stdout
    assert "Traceback" not in second.stdout
    # Asked to end, the first waits for its job.
    first.send_signal(signal.SIGTERM)
    os.kill(job, signal.SIGCONT)
    output = first.communicate(timeout=600)[0]
    assert "Will exit after finishing currently running jobs" in output
    whole = clips.read_bytes()
    shutil.rmtree(folder / "results")

    first, job = begun()
    os.killpg(first.pid, signal.SIGINT)  # Ctrl-C
    os.kill(job, signal.SIGCONT)
    output = first.communicate(timeout=600)[0]
    assert "error: interrupted; run the same command again: what is finished is kept" in output
    assert "Traceback" not in output
    assert not list(clips.parent.glob("*"))

    # A job that the system kills cannot say why.
    first, job = begun()
    os.kill(job, signal.SIGKILL)
    output = first.communicate(timeout=600)[0]
    assert first.returncode != 0
    assert "A job was killed from outside (SIGKILL), as the system does when memory runs out" in output
    assert not clips.exists()

    first, job = begun()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert "removed with the --unlock argument" in run(folder, config, CLIPS, check=False).stdout
    run(folder, config, "--unlock")
    run(folder, config, CLIPS)
    assert clips.read_bytes() == whole
    assert [path.name for path in clips.parent.iterdir()] == [clips.name]


def processes(session: int) -> str:
    return subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "-s", str(session)], capture_output=True, text=True
    ).stdout


# Disks

MOUNTED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
mounts = pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run([*MOUNTED, "mount -t tmpfs -o size=64k none /mnt"], capture_output=True).returncode
    != 0,
    reason="no file systems of one's own can be mounted here",
)


def run_mounted(folder: Path, mount: str, *args: str) -> str:
    """Output of a run that fails, in which other file systems are mounted in the folder."""
    folder.joinpath("config.yaml").unlink(missing_ok=True)
    snakemake = shlex.join(command(folder, CONFIG, *args))
    done = subprocess.run(
        [*MOUNTED, f"{mount} && exec {snakemake}"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout


@mounts
@pytest.mark.workflow
def test_a_full_disk_is_named_and_the_same_command_goes_on(tmp_path):
    folder = tmp_path / NAME
    recordings(folder)
    (folder / "results/clips").mkdir(parents=True)
    output = run_mounted(folder, "mount -t tmpfs -o size=64k none results/clips", CLIPS)
    assert re.search(r"error: the disk is full \(.*\); make room, then run the same command again", output)
    assert "Traceback" not in output
    run(folder, CONFIG, CLIPS)


FILL = """
import os
import pandas as pd, torch
from audio_neurons.running import runtime
from audio_neurons.models.checkpoint import write_checkpoint
from audio_neurons.training.resume import History, Keeper
from audio_neurons.activations.units import Tally
from pathlib import Path

def counts():
    frame = pd.DataFrame({"split": "train", "fold": 0, "group": [str(i) for i in range(100)], "x": "a"})
    Tally(frame, ["x"], 1000, Path("disk"))

def state():
    model = torch.nn.Linear(300, 300)
    Keeper(Path("disk/checkpoint.pt"), {}, 0).offer(model, torch.optim.SGD(model.parameters()), History())

def weights():
    write_checkpoint(Path("disk/m.safetensors"), {"a": torch.zeros(100_000)}, {})

for job in (counts, state, weights) * 2:
    if job is counts and os.path.exists("log"):
        print(*os.listdir("disk"))
        os.system("mount -o remount,ro disk")
    if not os.fork():
        runtime.start("log", 1)
        job()
        os._exit(0)
    os.wait()
"""


@mounts
def test_counts_states_and_weights_that_a_disk_does_not_take_say_so(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "fill.py").write_text(FILL)
    done = subprocess.run(
        [*MOUNTED, f"mount -t tmpfs -o size=64k none disk && exec {sys.executable} -u fill.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    full, refused = "error: the disk is full (", "error: access is refused ([Errno 30] Read-only file system"
    assert (done.stderr.count(full), done.stderr.count(refused)) == (3, 3), done.stderr
    assert done.stdout == "\n"  # nothing is left on the disk


@mounts
@pytest.mark.workflow
def test_what_may_not_be_written_is_named(done, tmp_path):
    folder = copy_of(done, tmp_path)
    read_only = "mount --bind {0} {0} && mount -o remount,ro,bind {0}"
    output = run_mounted(folder, read_only.format("results"), CLIPS, "--forcerun", "prepare_birds")
    assert "Write-protected output files for rule prepare_birds" in output
    assert CLIPS in output
    output = run_mounted(folder, read_only.format(".") + " && cd .")
    assert "the working directory may not be written; allow it, or give another one" in output
    assert "Traceback" not in output


# Memory

SHORT = """
import resource, sys
from pathlib import Path
from audio_neurons.recordings import preparation
from audio_neurons.running import runtime
folder = Path(sys.argv[1])
runtime.start(folder / "log", 1)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
preparation.prepare("custom", {"files": folder / "list.csv"}, [folder / "clips"], folder / "rejected",
                    max_rejected=1, max_seconds=4000)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory in use is read from /proc")
def test_without_memory_a_job_says_so_and_refuses_no_recording(tmp_path):
    (tmp_path / "a.wav").write_bytes(sound(np.full(16_000 * 3600, 0.1, np.float32), subtype="PCM_U8"))
    (tmp_path / "b.wav").write_bytes(sound())
    (tmp_path / "list.csv").write_text(table("path,x", "b.wav,1", "a.wav,2"))
    done = subprocess.run(
        [sys.executable, "-c", SHORT, tmp_path], cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"error: no memory left \(.*\); run fewer jobs at a time \(--cores\), give", done.stderr)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.wav", "list.csv", "log"]


# Damage and clocks


def flipped(path: Path) -> None:
    """Change one bit that matters, as near as can be to the middle of a table of counts."""
    good = path.read_bytes()
    for place in range(len(good) // 2, len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            tables.read(path, "counts")
        except tables.TableError:
            return


@pytest.mark.workflow
def test_a_damaged_table_is_named_and_made_anew(done, tmp_path):
    folder = copy_of(done, tmp_path)
    counts = folder / "results/statistics/random/birds/counts.parquet"
    flipped(counts)
    target = "results/neurons/random/birds/aape.parquet"
    result = run(folder, CONFIG, target, check=False)
    assert result.returncode != 0
    assert re.search(r"error: .*counts\.parquet: .*; delete it and run the workflow again", result.stdout)
    assert "Traceback" not in result.stdout
    counts.unlink()
    assert planned(run(folder, CONFIG, target, "-n").stdout) == {"merge": 1, "select": 1}


@pytest.mark.workflow
def test_a_wrong_clock_is_told_and_mended(done, tmp_path):
    folder = copy_of(done, tmp_path)
    tomorrow = time.time() + 86_400
    for path in (folder / "results").rglob("*.parquet"):
        os.utime(path, (tomorrow, tomorrow))
    output = run(folder, CONFIG, CLIPS, "-n").stdout
    assert re.search(r"\d+ file\(s\) under results/ are dated in the future, .*: a clock was wrong", output)
    (remedy,) = re.findall(r"^    (find .*)", output, re.M)
    # Not before the day on which this project was checked out, which would be another reason to run.
    remedy = remedy.replace("yesterday", "'1 second ago'")
    subprocess.run(remedy, shell=True, cwd=folder, check=True)
    output = run(folder, CONFIG, "-n").stdout
    assert "Nothing to be done" in output
    assert "a clock was wrong" not in output
    listed = folder / "Vögel, all.csv"
    listed.write_text(listed.read_text(encoding="utf-8").replace("g1", "g2"), encoding="utf-8")
    assert "prepare_birds" in planned(run(folder, CONFIG, "-n").stdout)
