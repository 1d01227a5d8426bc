"""`python -m audio_neurons cost`: what a configuration costs, by rates that are measured here."""

import json
import re

import numpy as np
import pytest
import soundfile
import yaml
from common import TINY

from audio_neurons.__main__ import main
from audio_neurons.cost import calibration

CONFIG = {
    "datasets": {"own": {"files": "own.csv", "clip_seconds": 0.5}},
    "tasks": {"pitch": {"dataset": "own", "label": "pitch"}},
    "models": {
        "tiny": {**TINY, "kind": "random"},
        "missing": {"kind": "ssl", "hub": "somebody/something"},
    },
    "extraction": {"device": "cpu"},
    "inference": {"draws": 3, "bootstrap": 3, "halves": 2, "replications": 2},
    "ablation": {"random": 10, "stop_after": 3, "tasks": {"pitch": {}}},
    "comparisons": {"pitch": {"tasks": ["pitch"]}},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A study of 12 recordings; its rates are kept beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    points = ((32, 10, 2), (64, 10, 2), (64, 20, 2), (64, 10, 4))
    for name, value in {"POINTS": points, "NOISE_CLIPS": 2, "NOISE_SECONDS": 1.0, "STARTS": 1}.items():
        monkeypatch.setattr(calibration, name, value)
    rows = [f"{n}.wav,{'low' if n % 2 else 'high'},s{n},{'test' if n >= 8 else 'train'}" for n in range(12)]
    (tmp_path / "own.csv").write_text("\n".join(["path,pitch,group,split", *rows]) + "\n")
    for n in range(12):
        soundfile.write(tmp_path / f"{n}.wav", np.zeros(8000), 16_000)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def test_the_cost_of_every_stage_is_told_before_anything_runs(here, capsys, monkeypatch):
    assert main(["cost", "study.yaml"]) == 0
    told = capsys.readouterr()
    assert "measuring tiny on clips of 0.5 s" in told.err
    assert "own: 12 clips of 0.5 s (own.csv)" in told.out
    for stage in (
        "preparation",
        "extraction",
        "inference",
        "probes",
        "ablation",
        "atlas",
        "screening",
        "together",
    ):
        assert re.search(rf"^{stage} .* [\d.]+ (s|min|h)  ", told.out, re.M), stage
    assert "H100 SXM, fp32" in told.out
    assert re.search(r"^Of these, starting \d+ jobs: ", told.out, re.M)
    assert (
        "Not known, and not counted: model missing: models.missing: somebody/something is not here"
        in told.out
    )
    assert re.search(r"^Greatest: .*\n  .*`", told.out, re.M)
    assert not (here / "results").exists()

    rates = here / "cache/audio-neurons/rates.json"
    assert f"Rates: {rates}" in told.out
    before = rates.read_text()
    (measured,) = [one for one in json.loads(before)["encoders"].values() if one["passes"]]
    assert measured["passes"]["0.5"]["extract"] >= measured["passes"]["0.5"]["pass"] > 0
    assert 0 < measured["middle"] < 2 * measured["first"]
    assert measured["passes"]["0.5"]["operations"] > 1000
    assert main(["cost", "study.yaml", "--stages"]) == 0
    again = capsys.readouterr()
    assert "measuring tiny" not in again.err
    assert "measuring inference" not in again.err
    assert rates.read_text() == before
    assert "tiny" not in again.out.split("together")[0]
    rates.write_text(json.dumps({**json.loads(before), "machine": "another"}))
    for imports in ("TABLES", "PROBES", "FIGURE", "ENCODER"):  # what these take has been seen
        monkeypatch.setattr(calibration, imports, "")
    assert main(["cost", "study.yaml", "--stages"]) == 0  # its rates are not those of this machine
    assert "measuring tiny" in capsys.readouterr().err


def test_an_invalid_configuration_is_refused(here, capsys):
    (here / "study.yaml").write_text(yaml.safe_dump({**CONFIG, "task": {}}))
    assert main(["cost", "study.yaml"]) == 2
    assert "error: the configuration is not valid" in capsys.readouterr().err
    assert main(["cost", "none.yaml"]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_a_folder_of_runs_that_is_not_there_is_named_with_the_remedy(here, capsys):
    assert main(["cost", "study.yaml", "--directory", "none"]) == 2
    assert capsys.readouterr().err == (
        "error: none: no such folder; before the first run, leave --directory out\n"
    )
