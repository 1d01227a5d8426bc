"""Jobs that share a machine's GPUs, as real processes; the locks work without a GPU."""

import os
import signal
import subprocess
import sys
import time

import pytest

from audio_neurons.running import gpus

CODE = """
import os, sys, time
from audio_neurons.running import gpus
gpus.PAUSE = 0.05
print("here", flush=True)
gpus.claim(int(sys.argv[1]), folder=sys.argv[2])
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path, root):
    """Start a job that claims GPUs, prints them, and holds them until its stdin is closed."""
    jobs = []

    def start(count, devices="GPU-a,GPU-b,GPU-c", **env):
        env = {**os.environ, "PYTHONPATH": str(root), "CUDA_VISIBLE_DEVICES": devices, **env}
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(count), str(tmp_path)],
            env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        jobs.append(process)
        assert process.stdout.readline() == "here\n"
        return process

    yield start
    for process in jobs:
        process.kill()
        process.wait()


def has(process) -> set:
    return set(process.stdout.readline().strip().split(","))


def waits(process) -> bool:
    """Return whether a job reports that it waits, and still waits after several attempts."""
    said = process.stderr.readline()
    time.sleep(0.5)
    return "waiting for" in said and process.poll() is None


def test_no_two_jobs_share_a_gpu_and_one_more_waits(job):
    jobs = [job(1) for _ in range(3)]
    assert [set.union(*(has(j) for j in jobs))] == [{"GPU-a", "GPU-b", "GPU-c"}]
    fourth = job(1)
    assert waits(fourth)
    jobs[1].stdin.close()
    assert has(fourth) <= {"GPU-a", "GPU-b", "GPU-c"}


def test_a_killed_job_gives_its_gpu_back(job):
    first = job(1, "GPU-a,GPU-b")
    assert has(first) == {"GPU-a"}
    assert has(job(1, "GPU-a,GPU-b")) == {"GPU-b"}
    third = job(1, "GPU-a,GPU-b")
    assert waits(third)
    first.send_signal(signal.SIGKILL)
    assert has(third) == {"GPU-a"}


def test_many_or_none(job):
    first = job(1)
    assert has(first) == {"GPU-a"}
    both = job(2)
    assert has(both) == {"GPU-b", "GPU-c"}
    again = job(2)
    assert waits(again)
    first.stdin.close()  # one GPU is free: too few for `again`, which does not hold it
    one = job(1)
    assert has(one) == {"GPU-a"}
    both.stdin.close()
    assert has(again) == {"GPU-b", "GPU-c"}


def test_jobs_of_slurm_do_not_wait_for_the_same_number_elsewhere(job):
    assert has(job(1, "0,1", SLURM_JOB_ID="7")) == {"0"}
    assert has(job(1, "0,1", SLURM_JOB_ID="8")) == {"0"}
    assert has(job(1, "0,1", SLURM_JOB_ID="7")) == {"1"}


@pytest.mark.parametrize(
    ("count", "devices"), [(0, ["0", "1"]), (1, []), (1, ["3"]), (2, ["0", "1"]), (4, [])]
)
def test_nothing_changes_without_a_choice(tmp_path, monkeypatch, count, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.claim(count, devices, tmp_path) == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert list(tmp_path.iterdir()) == []


def test_too_few_are_named(tmp_path):
    with pytest.raises(gpus.GpuError, match="3 GPUs are needed, and this machine shows 2: 0, 1"):
        gpus.claim(3, ["0", "1"], tmp_path)


def test_what_the_environment_shows_is_chosen_from(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-x")
    assert gpus.visible() == ["2", "GPU-x"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible() == []
    # Without the variable, the GPUs are those that nvidia-smi lists.
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$1" = --query-gpu=uuid ] && printf "GPU-1\\nGPU-2\\n"\n')
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible() == ["GPU-1", "GPU-2"]
    program.unlink()
    assert gpus.visible() == []
