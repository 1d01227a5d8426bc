"""The workflow's own rules through a real Slurm on this machine, with the profile of the project.

The plugin can hang (docs/cluster.md): then the time that any test has is over, and the test fails.
"""

import os
import re
import shutil
import subprocess
import time

import pytest
from common import ROOT, SHARED
from snakemake_run import command, configuration, planned, run

TOOL = SHARED / "tools" / "local-slurm.sh"
# What the profile asks for, this machine has on paper; a job that outgrows its memory is killed.
NODE = {
    "LOCAL_SLURM_PARTITIONS": "cpu gpu",
    "LOCAL_SLURM_CPUS": "16",
    "LOCAL_SLURM_MEM_MB": "200000",
    "LOCAL_SLURM_ENFORCE_MEM": "1",
}
# Jobs of seconds: ask sooner whether they are done.
SOON = ("--slurm-init-seconds-before-status-checks", "2")
SHARD = "results/shards/random/esc50/{}/counts.parquet"

pytest.importorskip("espeakng_loader", reason="the demo's sound sources are not installed")
pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra `cluster` is not installed")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not TOOL.is_file(), reason="what brings up a Slurm is not here (../shared)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a Slurm of its own needs root"),
]


@pytest.fixture(scope="module")
def cluster():
    """A Slurm of one node with one GPU on paper."""
    up = subprocess.run(
        [TOOL, "up"], env={**os.environ, **NODE}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    print(up.stdout)
    if up.returncode:
        pytest.skip(f"no Slurm can be brought up here: {up.stdout.strip()[-300:]}")
    yield
    subprocess.run([TOOL, "down"], check=True)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Options of the profile as it is, but that jobs ask for the GPU on paper and compute on the CPU.

    A job that is to compute on it fails, since PyTorch cannot use it.
    """
    folder = tmp_path_factory.mktemp("profiles") / "slurm"
    shutil.copytree(ROOT / "profiles" / "slurm", folder)
    (file,) = folder.iterdir()
    text = file.read_text("utf-8")
    asked = text.replace("  extract: {", "  extract: {gpu: 1, ").replace(
        "set-threads:\n", "set-threads:\n  extract: 8\n"
    )
    assert len(asked) > len(text) + 20
    file.write_text(asked, "utf-8")
    return ("--workflow-profile", str(folder), *SOON)


def config():
    small = configuration("one-task")
    small["datasets"]["esc50"]["shards"] = 2
    return small


def submitted(output: str) -> list[dict]:
    """What Slurm itself says of each job of a run, in the order of submission."""
    found = []
    for number in re.findall(r"submitted with SLURM jobid (\d+)", output):
        shown = subprocess.run(
            ["scontrol", "show", "job", number], capture_output=True, text=True, check=True
        )
        found.append(dict(re.findall(r"(\w+)=(\S*)", shown.stdout)))
        keys = ("JobId", "Comment", "JobState", "Partition", "TresPerJob", "TRES", "TimeLimit", "StdOut")
        print(*(f"{key}={found[-1].get(key, '')}" for key in keys))
    return found


@pytest.fixture(scope="module")
def cancelled(cluster, slurm, tmp_path_factory):
    """A folder whose first extraction was cancelled while it ran; that job's number; what was printed."""
    folder = tmp_path_factory.mktemp("slurm")
    run(folder, config(), "clips")  # the login node's part
    shards = [SHARD.format(n) for n in ("000", "001")]
    with open(folder / "output", "w+") as file:
        process = subprocess.Popen(
            command(folder, config(), *shards, *slurm, "--retries", "0", cores=None), stdout=file, stderr=file
        )
        try:
            number = None
            while number is None:
                assert process.poll() is None, (folder / "output").read_text()
                time.sleep(0.2)
                queue = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
                queued = subprocess.run(queue, capture_output=True, text=True, check=True).stdout
                number = next(
                    (line.split()[0] for line in queued.splitlines() if "rule_extract" in line), None
                )
            subprocess.run(["scancel", number], check=True)
            process.wait()
        finally:
            process.kill()
        file.seek(0)
        return folder, number, process.returncode, file.read()


@pytest.fixture(scope="module")
def resumed(cancelled, slurm):
    """The same folder after the next run, whose extraction first has too little memory; what was printed."""
    little = (
        *("--set-resources", "extract:gpu=1", "extract:slurm_partition=gpu"),
        "extract:mem_mb=500 * attempt ** 2",
    )
    target = "results/figures/within.png"
    return cancelled[0], run(cancelled[0], config(), target, *slurm, *little, cores=None).stdout


def test_a_cancelled_job_fails_clearly_and_the_others_go_on(cancelled):
    folder, number, code, output = cancelled
    jobs = {job["JobId"]: job for job in submitted(output)}
    assert jobs.pop(number)["JobState"] == "CANCELLED"
    (other,) = jobs.values()
    assert other["JobState"] == "COMPLETED"
    assert code != 0
    assert f"SLURM-job '{number}' failed, SLURM status is: 'CANCELLED'" in output
    assert len(list(folder.glob(SHARD.format("*")))) == 1
    # As the profile has it.
    assert other["Comment"].startswith("rule_extract_wildcards_random_esc50_00")
    assert (other["Partition"], other["TresPerJob"]) == ("gpu", "gres:gpu:1")
    assert other["TRES"].startswith("cpu=8,mem=16000M")
    assert other["TimeLimit"] == "02:00:00"


def test_the_next_run_makes_what_is_missing_and_all_of_it_in_slurm(resumed):
    folder, output = resumed
    made = ("extract", "merge", "select", "compare", "infer_sharing", "draw_sharing")
    assert planned(output) == dict.fromkeys(made, 1)
    assert (folder / "results/figures/within.png").read_bytes().startswith(b"\x89PNG")
    jobs = submitted(output)
    assert [job["JobState"] for job in jobs[1:]] == ["COMPLETED"] * 4
    # The small ones are grouped, and have no GPU.
    neurons, resampled, sharing = jobs[2:]
    assert resampled["Comment"].startswith("rule_infer_sharing")
    assert neurons["Comment"] == "rule_neurons_merge_select"
    assert sharing["Comment"] == "rule_sharing_compare_draw_sharing"
    assert {job["Partition"] for job in (neurons, resampled, sharing)} == {"cpu"}
    assert not any("TresPerJob" in job for job in (neurons, resampled, sharing))
    assert neurons["TimeLimit"] == "04:00:00"  # of the two together


def test_a_job_out_of_memory_is_tried_again_with_more_of_it_and_of_time(resumed):
    first, second = submitted(resumed[1])[:2]
    assert first["Comment"] == second["Comment"]
    assert first["JobState"] in ("FAILED", "OUT_OF_MEMORY")
    assert "mem=500M" in first["TRES"]
    assert first["TimeLimit"] == "02:00:00"
    assert second["JobState"] == "COMPLETED"
    assert "mem=2000M" in second["TRES"]
    assert second["TimeLimit"] == "04:00:00"
