"""The tutorials of docs/, carried out: their files written, their code run, their output compared."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import snakemake_run
import yaml
from common import ROOT
from snakemake_run import planned, run
from upstream import sound, tone

from audio_neurons import tables
from audio_neurons.datasets import adapters, reader
from audio_neurons.recordings.preparation import prepare
from audio_neurons.settings.datasets import Dataset
from audio_neurons.study import complete

OWN, ADDED = "own-recordings.md", "add-a-dataset.md"
TINY = {"input_size": [80, 160], "embed_dim": 32, "depth": 2, "num_heads": 2}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[tuple[str, str, str]]:
    """The fenced blocks of a page: the line of text above, the language, the content."""
    return re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)^```$", page(name), re.M | re.S)


def files(name: str) -> dict[str, str]:
    """Path → content of the blocks that are files: the text above ends with their path."""
    named = ((re.search(r"`([\w./-]+\.\w+)`:$", above), text) for above, _, text in blocks(name))
    return {match[1]: text for match, text in named if match}


def sessions(name: str) -> list[tuple[str, str]]:
    """Python to run, with the output that stands right below it."""
    return [
        (code, output)
        for (_, first, code), (above, second, output) in pairwise(blocks(name))
        if (first, second, above) == ("python", "text", "")
    ]


def written(folder: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def printed(folder: Path, *args: str, library: Path = ROOT) -> list[str]:
    """Lines that Python prints, run in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(library)}
    result = subprocess.run(
        [sys.executable, *args], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return lines(result.stdout)


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def small(text: str) -> dict:
    """A tutorial's configuration with the random model alone, and that one tiny."""
    config = yaml.safe_load(text)
    config["models"] = {"random": {**config["models"]["random"], **TINY}}
    return {**config, "extraction": {"device": "cpu"}}


def drawn(folder: Path, comparisons) -> None:
    for name in (*comparisons, "coverage"):
        assert (folder / "results" / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", [OWN, ADDED])
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https:)([^)#]+)", page(name)):
        assert (ROOT / "docs" / target).exists(), target


# Your own recordings


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder in which the tutorial's ``study`` is: its files, and a sound for each that they name."""
    folder = tmp_path_factory.mktemp("own")
    written(folder, files(OWN))
    birds = folder / "study" / "birds"
    table = csv.DictReader(io.StringIO((birds / "birds.csv").read_text(encoding="utf-8")))
    sounds = {birds / row["path"]: (row["species"], row["group"]) for row in table}
    for _, language, text in blocks(OWN):
        if language == "text" and text.startswith("study/insects/"):
            sounds |= {folder / name: (name.split("/")[2], Path(name).stem) for name in text.split()}
    rng = np.random.default_rng(0)
    classes, groups = (sorted({kind[i] for kind in sounds.values()}) for i in (0, 1))
    for path, (kind, group) in sounds.items():
        # The class is the pitch; the group is the loudness and the length.
        gain, seconds = 0.1 + 0.05 * groups.index(group), 1 + groups.index(group) / 2
        samples = tone(300 * 1.5 ** classes.index(kind), seconds, 22_050, gain)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound(samples + rng.normal(0, 0.01, len(samples)), 22_050))
    return folder


def test_own_recordings_are_read_as_shown(study):
    ((code, output),) = sessions(OWN)
    assert printed(study, "-c", code) == lines(output)


def test_own_folder_has_the_groups_that_the_page_tells(study):
    config = yaml.safe_load(files(OWN)["study/study.yaml"])["datasets"]["insects"]
    found = list(reader("custom")({"files": study / "study" / config["files"]}, **config["options"]))
    assert {r.group for r in found} == {"anna", "carl", "dora"}
    assert {r.labels["class"] for r in found} == {"cricket", "cicada"}


def test_own_shares_are_those_that_the_page_tells(study):
    (options,) = (yaml.safe_load(text)["options"] for _, _, text in blocks(OWN) if text.startswith("options"))
    found = list(reader("custom")({"files": study / "study" / "birds" / "birds.csv"}, **options))
    assert {r.split for r in found} <= {"train", "test"}


def test_own_configuration_is_valid_and_names_the_published_model(study, monkeypatch):
    monkeypatch.chdir(study / "study")
    text = files(OWN)["study/study.yaml"]
    config = complete(yaml.safe_load(text))
    assert [block["adapter"] for block in config["datasets"].values()] == ["custom", "custom"]
    published = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))["models"]
    weights = config["models"]["m2d"]["weights"]
    assert weights == {key: published["m2d"]["weights"][key] for key in weights}


@pytest.mark.workflow
def test_windows_events_and_samples_are_as_shown(study, capsys):
    shown = [yaml.safe_load(text) for _, language, text in blocks(OWN) if language == "yaml"]
    shown = {
        name: b for block in shown if set(block) == {"datasets"} for name, b in block["datasets"].items()
    }
    folder = study / "study"
    rng = np.random.default_rng(1)
    for name, seconds in {
        **{f"marsh/{day}.wav": 130 for day in ("mon", "tue", "wed")},
        **{"calls/dawn.wav": 90, "calls/dusk.wav": 50, "tracks/dawn.wav": 20},
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(sound(rng.normal(0, 0.1, seconds * 8000), 8000))
    days = "".join(f"{day}.wav,{day}\n" for day in ("mon", "tue", "wed"))
    (folder / "marsh" / "marsh.csv").write_text(f"path,day\n{days}")
    shown["calls"] = {"files": "calls/calls.csv"}
    found = {}
    for name, block in shown.items():
        dataset = Dataset(**block)
        part = study / f"{name}.parquet"
        prepare(
            "custom", {"files": folder / dataset.files}, [part], study / "rejected", options=dataset.options,
            windows=dataset.windows, clip_seconds=dataset.clip_seconds, sample=dataset.sample, name=name,
        )  # fmt: skip
        found[name] = tables.read(part, "clips")
    assert list(found["marsh"]["clip_id"][:4]) == ["mon.wav@0", "mon.wav@60", "mon.wav@120", "tue.wav@0"]
    assert list(found["calls"]["clip_id"][:2]) == ["dawn.wav@12.5-14", "dawn.wav@13.25-16.5"]
    assert found["tracks"]["species"].to_dict() == {0: "robin", 1: "wren"}
    assert set(found["birds"]["species"].value_counts()) == {2}
    told = capsys.readouterr().err
    (line,) = [text.strip() for _, _, text in blocks(OWN) if text.startswith("marsh: ")]
    assert line in told
    drawn = "6 of 12 clips, balanced by species, seed 0"
    assert drawn in told
    assert drawn in page(OWN)


@pytest.mark.workflow
def test_own_recordings_to_figures(study):
    config = small(files(OWN)["study/study.yaml"])
    folder = study / "study"
    run(folder, config)
    drawn(folder, config["comparisons"])
    for _, language, text in blocks(OWN):
        if language == "text" and text.startswith("results/"):
            assert [name for name in text.split() if not (folder / name).is_file()] == []
    coverage = pd.read_csv(folder / "results/tables/coverage.csv")
    assert set(coverage["task"]) == {"species", "call", "insects"}
    clips = tables.read(folder / "results/clips/birds/part-000.parquet", "clips")
    assert set(clips["call"]) == {"song", "alarm", "hoot, far", "hoot, near"}
    assert tables.size(folder / "results/rejected/birds.parquet") == 0
    assert set(tables.read(folder / "results/neurons/random/species/aape.parquet", "neurons")["class"]) == {
        "owl", "robin", "wren"
    }  # fmt: skip
    assert "Nothing to be done" in run(folder, config, "-n").stdout
    # What is added to a folder is seen.
    added = folder / "insects" / "cricket" / "anna_02.wav"
    shutil.copy(folder / "insects" / "cricket" / "anna_01.wav", added)
    assert planned(run(folder, config, "-n").stdout)["prepare_insects"] == 1
    added.unlink()
    assert "Nothing to be done" in run(folder, config, "-n").stdout
    # A longer list, of which some are left out, is another dataset.
    with open(folder / "birds" / "birds.csv", "a", encoding="utf-8") as file:
        file.write(f"{folder / 'insects' / 'cricket' / 'anna_01.wav'},cricket,song,hill\n")
    config["datasets"]["birds"] |= yaml.safe_load(re.search(r"`(excluded: .*)`", page(OWN))[1])
    run(folder, config, "results/neurons/random/species/aape.parquet")
    rejected = tables.read(folder / "results/rejected/birds.parquet", "rejected")
    assert list(rejected["reason"]) == ["excluded: heavy rain"] * 3
    table = tables.read(folder / "results/neurons/random/species/aape.parquet", "neurons")
    assert "cricket" in set(table["class"])


# A new dataset


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project to which the tutorial's files are added, with the archive that they make."""
    folder = tmp_path_factory.mktemp("added")
    for name in ("audio_neurons", "workflow", "profiles", "envs", "resources/published"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    written(folder, files(ADDED))
    printed(folder, "make_doorbells.py", library=folder)
    return folder


def test_a_dataset_is_a_module_a_yaml_file_and_a_block_of_configuration():
    assert set(files(ADDED)) == {
        "make_doorbells.py",
        "audio_neurons/datasets/doorbells.yaml",
        "audio_neurons/datasets/doorbells.py",
        "doorbells.yaml",
    }
    assert not any((ROOT / name).exists() for name in files(ADDED))
    assert "doorbells" not in adapters()


def test_added_dataset_is_prepared_as_shown(checkout):
    ((code, output),) = sessions(ADDED)
    assert printed(checkout, "-c", code, library=checkout) == lines(output)


def test_added_dataset_refuses_another_archive(checkout):
    code = """
from audio_neurons.datasets import DatasetError, reader
try:
    list(reader("doorbells")({"archive": "other.zip"}))
except DatasetError as error:
    print(error)
"""
    shutil.make_archive(str(checkout / "other"), "zip", checkout / "envs")
    (told,) = printed(checkout, "-c", code, library=checkout)
    assert told == "other.zip: looked for a member */meta.csv, there is none"


@pytest.mark.workflow
def test_added_dataset_to_figures(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(snakemake_run, "ROOT", checkout)
    monkeypatch.chdir(checkout)
    shutil.copy(checkout / "doorbells.zip", tmp_path)
    config = small(files(ADDED)["doorbells.yaml"])
    run(tmp_path, config)
    drawn(tmp_path, config["comparisons"])
    for name in re.findall(r"`(results/figures/[^`]+)`", page(ADDED)):
        assert (tmp_path / name).is_file()
    table = tables.read(tmp_path / "results/neurons/random/doorbells/aape.parquet", "neurons")
    assert set(table["class"]) == {"buzzer", "chime", "gong"}
