"""Every configuration of tests/configurations is valid, plans a run, and names its schema for editors."""

import csv
import re

import pytest
import yaml
from common import ROOT
from snakemake_run import CONFIGURATIONS, configuration, planned, snakemake
from upstream import sound

from audio_neurons.reference import SCHEMA
from audio_neurons.study import complete

FILES = sorted(CONFIGURATIONS.glob("*.yaml"))
NAMES = [file.stem for file in FILES]


def bring(folder, config):
    """Write the files that a configuration says are there: lists with one recording, and folders of clips."""
    for name, block in config["datasets"].items():
        if "files" in block:
            of_events = block.get("options", {}).get("event_label")  # a label that the list does not have
            labels = {task["label"] for task in config["tasks"].values() if task["dataset"] == name}
            labels = sorted(labels - {of_events})
            with open(folder / block["files"], "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["path", *labels], ["a.wav", *labels]])
            (folder / "a.wav").write_bytes(sound())
    for pool in config.get("pools", {}).values():
        if "audioset" in pool:
            (folder / pool["audioset"]["folder"]).mkdir()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_valid(name, tmp_path, monkeypatch):
    config = configuration(name)
    bring(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    completed = complete(config, [CONFIGURATIONS / f"{name}.yaml"])
    assert {key: list(completed[key]) for key in ("datasets", "tasks", "models", "comparisons")} == {
        key: list(config[key]) for key in ("datasets", "tasks", "models", "comparisons")
    }


@pytest.fixture(scope="module")
def dry_runs(tmp_path_factory):
    """Configuration → exit code and output of its dry run, in a folder of its own."""
    given = []
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        bring(folder, configuration(name))
        file = CONFIGURATIONS / f"{name}.yaml"
        given.append(["-n", "--directory", str(folder), "--configfile", str(file)])
    return dict(zip(NAMES, snakemake(given), strict=True))


@pytest.mark.workflow
@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_plans_a_run(name, dry_runs):
    code, output = dry_runs[name]
    assert code == 0, output[-4000:]
    jobs, config = planned(output), configuration(name)
    assert {f"prepare_{dataset}" for dataset in config["datasets"]} <= jobs.keys()
    assert jobs["draw_sharing"] == len(config["comparisons"])
    assert jobs["extract"] >= len(config["models"]) * len(config["datasets"])


@pytest.mark.parametrize(
    "file", [*sorted((ROOT / "config").glob("*.yaml")), *FILES], ids=lambda file: file.stem
)
def test_a_configuration_names_its_schema_for_editors(file):
    first = file.read_text(encoding="utf-8").split("\n", 1)[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named, first
    assert (file.parent / named[1]).resolve() == ROOT / SCHEMA


def test_one_section_is_replaced_and_the_file_stays_as_it_is():
    changed = configuration("small", extraction={"device": "auto"})
    changed["models"].clear()
    assert changed["extraction"] == {"device": "auto"}
    whole = yaml.safe_load((CONFIGURATIONS / "small.yaml").read_text(encoding="utf-8"))
    assert configuration("small") == whole
