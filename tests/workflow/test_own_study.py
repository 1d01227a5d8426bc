"""From a folder of sounds to findings: init, check, run."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from common import ROOT, TINY
from snakemake_run import planned, run
from upstream import sound, tone

pytestmark = pytest.mark.workflow


def command(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "audio_neurons", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a study that init has begun; one recording is there twice, under two speakers."""
    folder = tmp_path_factory.mktemp("own")
    for number, name in enumerate(("low", "high")):
        for speaker in range(1, 9):
            for take in (1, 2):
                path = folder / "moods" / name / f"spk{speaker}_{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(sound(tone(200 + 900 * number + 20 * speaker + 7 * take, 1.0)))
    done = command(folder, "init", "moods")
    assert done.returncode == 0, done.stderr
    listed = pd.read_csv(folder / "study/moods.csv")
    config = yaml.safe_load((folder / "study/study.yaml").read_text(encoding="utf-8"))
    from audio_neurons.datasets import custom, groups

    draw = groups.drawing(custom.SHARES, config["datasets"]["moods"]["options"]["seed"])
    of = {split: listed[listed["group"].map(draw) == split]["path"].iloc[0] for split in ("train", "test")}
    (folder / "study" / of["test"]).write_bytes((folder / "study" / of["train"]).read_bytes())
    return folder / "study", config


def test_what_init_writes_can_be_run(study):
    folder, config = study
    jobs = planned(run(folder, config, "-n").stdout)
    assert jobs["check_moods"] == jobs["prepare_moods"] == 1
    assert jobs["extract"] == 2  # M2D, whose weights the run would fetch, and the random model
    assert jobs["download_weights"] == 1


def test_the_check_is_read_once_and_its_warnings_are_in_the_findings(study):
    folder, config = study
    checked = command(folder.parent, "check", "study/study.yaml", "--directory", "study")
    assert checked.returncode == 0, checked.stderr
    cache = folder / "resources/facts/moods.parquet"
    read = cache.stat().st_mtime_ns
    warning = "2 recordings hold the same sound in different splits"
    assert f"warning: {warning}" in checked.stdout
    config = {
        **config,
        "models": {"random": {**config["models"]["random"], **TINY}},
        "extraction": {"device": "cpu"},
        "inference": {"draws": 19, "bootstrap": 9, "halves": 3},
    }
    output = run(folder, config).stdout
    assert f"moods: warning: {warning}" in output  # told at the beginning, and in the summary
    results = folder / "results"
    for page in ("findings.html", "summary.txt"):
        assert warning in (results / page).read_text(encoding="utf-8").replace("\n", " ")
    checks = pd.read_parquet(results / "checks/moods.parquet").set_index("check")
    assert checks.loc["duplicates across splits", ["level", "affected"]].tolist() == ["warning", 2]
    facts = pd.read_parquet(results / "facts/moods.parquet")
    assert len(facts) == 32
    assert facts["seconds"].eq(1).all()
    assert cache.stat().st_mtime_ns == read  # by the command: nothing was decoded again
    assert planned(run(folder, config, "-n").stdout) == {}
    path = next(folder.parent.glob("moods/low/spk1_1.wav"))
    path.write_bytes(sound(tone(777, 1.0)))
    again = planned(run(folder, config, "-n").stdout)
    assert again["check_moods"] == again["prepare_moods"] == 1
