"""Jobs that share a machine's GPUs, as real processes; the locks work without a GPU."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from audio_neurons.running import gpus, provenance

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


def test_an_identifier_is_the_same_gpu_in_all_slurm_jobs(job):
    assert has(job(1, "GPU-a,GPU-b", SLURM_JOB_ID="7")) == {"GPU-a"}
    assert has(job(1, "GPU-a,GPU-b", SLURM_JOB_ID="8")) == {"GPU-b"}
    assert waits(job(1, "GPU-a,GPU-b", SLURM_JOB_ID="9"))


def test_a_single_gpu_is_not_shared_either(job):
    first = job(1, "GPU-a")
    assert has(first) == {"GPU-a"}
    second = job(1, "GPU-a")
    assert waits(second)
    first.stdin.close()
    assert has(second) == {"GPU-a"}


@pytest.mark.parametrize(
    ("count", "devices", "slurm"),
    [(0, ["0", "1"], ""), (1, [], ""), (4, [], "7"), (1, ["3"], "7"), (2, ["0", "1"], "7")],
)
def test_nothing_changes_without_gpus_or_where_slurm_assigned_them(
    tmp_path, monkeypatch, count, devices, slurm
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", slurm)
    assert gpus.claim(count, devices, tmp_path) == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert list(tmp_path.iterdir()) == []


def test_too_few_are_named(tmp_path):
    with pytest.raises(gpus.GpuError, match="3 GPUs are needed, and this machine shows 2: 0, 1"):
        gpus.claim(3, ["0", "1"], tmp_path)


def test_what_the_environment_shows_is_chosen_from(listing, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-x")
    assert gpus.visible() == ["2", "GPU-x"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible() == []
    # Without the variable, the GPUs are those that nvidia-smi lists.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    listing(
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-5)\n  MIG 3g.20gb     Device  1: (UUID: MIG-6)\n"
        "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2)\n"
    )
    assert gpus.visible() == ["MIG-5", "MIG-6", "GPU-2"]
    listing("")
    assert gpus.visible() == []


@pytest.fixture
def listing(tmp_path, monkeypatch):
    """Put an nvidia-smi first in PATH that lists GPUs as given."""

    def put(listed):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n[ \"$1\" = -L ] && cat <<'END'\n{listed}END\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


@pytest.fixture
def unassigned(monkeypatch):
    for name in gpus.ASSIGNED:
        monkeypatch.delenv(name, raising=False)


# Devices

without = pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch sees a GPU")
NO_GPU = "driver|No CUDA|no GPU|without CUDA"  # PyTorch's reasons


@without
def test_auto_is_the_cpu_where_there_is_no_gpu(unassigned, listing, capsys):
    listing("")
    assert gpus.pick_device("auto") == "cpu"
    assert gpus.pick_device("cpu") == "cpu"
    assert capsys.readouterr().err == ""


@without
def test_a_gpu_that_pytorch_cannot_use_is_told(unassigned, listing, capsys):
    listing("GPU 0: NVIDIA Tesla (UUID: GPU-1)\n")
    assert gpus.pick_device("auto") == "cpu"
    told = capsys.readouterr().err
    assert re.search(f"this machine's GPU is not used: .*({NO_GPU}).*docs/cluster.md", told)


@without
@pytest.mark.parametrize("name", gpus.ASSIGNED)
def test_an_assigned_gpu_that_pytorch_cannot_use_is_an_error(unassigned, monkeypatch, name):
    monkeypatch.setenv(name, "0")
    with pytest.raises(gpus.GpuError, match=f"{name} is 0, but PyTorch cannot use a GPU: .*({NO_GPU})"):
        gpus.pick_device("auto")
    assert gpus.pick_device("cpu") == "cpu"


@without
def test_cuda_is_not_replaced_by_the_cpu(unassigned):
    with pytest.raises(gpus.GpuError, match=r"extraction\.device is cuda, but PyTorch cannot use a GPU"):
        gpus.pick_device("cuda")


@pytest.mark.parametrize(("capability", "usable"), [((7, 0), False), ((7, 5), True), ((9, 0), True)])
def test_a_card_without_kernels_cannot_be_used(unassigned, monkeypatch, capability, usable):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some Card")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "compute_120"])
    monkeypatch.setenv("AUDIO_NEURONS_JOB", "{}")
    if usable:
        assert gpus.pick_device("auto") == "cuda"
        assert json.loads(provenance.stamp())["device"].startswith("Some Card, CUDA 13.0, cuDNN")
        return
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    told = r"Some Card has compute capability 7\.0, .* no kernels for less than 7\.5"
    with pytest.raises(gpus.GpuError, match=told):
        gpus.pick_device("auto")
