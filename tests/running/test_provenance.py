"""Provenance in the metadata of tables and figures, and the listing of all provenance."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version

import matplotlib.pyplot as plt
import pandas as pd
import pyarrow.parquet as pq
import pytest
from common import ROOT
from PIL import Image

import audio_neurons
from audio_neurons import tables
from audio_neurons.report import inventory
from audio_neurons.report.figures import _style as style
from audio_neurons.running import provenance
from audio_neurons.running.digest import code_digest
from audio_neurons.tables import TableError

PARAMS = {
    "settings": '{"seed":3}',
    "label": "ü, \\ (1)",
    "top": 5,
    "shards": 3,
    "class": "{kind}",
    "other": "[x]",
    "code": "ab12",
}
REJECTED = pd.DataFrame({"clip_id": ["a"], "reason": ["silent"]})


@pytest.fixture(autouse=True)
def job(monkeypatch):
    """Reset the environment to its state before a job."""
    monkeypatch.setenv(provenance._JOB, "{}")


def told(text):
    """Parse the provenance of a file, which must not name the host or the folder."""
    assert os.uname().nodename not in text
    assert os.getcwd() not in text
    return json.loads(text)


def test_a_table_says_how_it_was_made(tmp_path):
    provenance.begin("select", PARAMS)
    tables.write(tmp_path / "a.parquet", "rejected", REJECTED)
    with tables.writer(tmp_path / "b.parquet", "rejected") as writer:
        writer.append(REJECTED.to_dict("list"))
    tables.write_frame(tmp_path / "c.parquet", tmp_path / "c.csv", REJECTED)
    made = [told(pq.read_metadata(tmp_path / f"{n}.parquet").metadata[b"audio_neurons"]
                 .decode()) for n in "abc"]  # fmt: skip
    assert made[0] == made[1]
    assert made[0].pop("table") == "rejected"
    assert made[0] == made[2]
    params = {"settings": {"seed": 3}, "label": "ü, \\ (1)", "top": 5, "code": "ab12"}
    params |= {"class": "{kind}", "other": "[x]"}  # labels that are no JSON
    assert (made[0]["rule"], made[0]["params"]) == ("select", params)
    assert made[0]["version"] == audio_neurons.__version__
    assert made[0]["packages"]["torch"] == version("torch")
    for name in "abc":
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), REJECTED)


def test_other_parameters_are_other_bytes_and_the_same_are_the_same(tmp_path):
    written = []
    for top in (5, 5, 6):
        provenance.begin("select", {**PARAMS, "top": top, "shards": len(written)})
        tables.write(tmp_path / "t.parquet", "rejected", REJECTED)
        written.append((tmp_path / "t.parquet").read_bytes())
    assert written[0] == written[1] != written[2]


def test_processes_of_a_job_say_the_same(tmp_path):
    provenance.begin("select", PARAMS)
    code = "from audio_neurons.running import provenance; print(provenance.stamp())"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == provenance.stamp()


def test_a_figure_says_how_it_was_made(tmp_path):
    provenance.begin("draw_coverage", PARAMS)
    pdf, png = tmp_path / "f.pdf", tmp_path / "f.png"
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    style.save(figure, pdf, png)
    with Image.open(png) as image:
        assert told(image.text["audio_neurons"]) == json.loads(provenance.stamp())
    # A PDF's text has a backslash before parentheses and backslashes.
    text = provenance.stamp().replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    assert f"/Keywords ({text})".encode() in pdf.read_bytes()
    assert b"CreationDate" not in pdf.read_bytes()


def test_seeds_are_found_wherever_they_are():
    config = {"seed": 1, "probe": {"seeds": [0, 2]}, "models": {"m": {"weights": {"seed": 7, "kind": "x"}}}}
    found = {"seed": 1, "probe.seeds": [0, 2], "models.m.weights.seed": 7}
    assert dict(inventory.seeds(config)) == found


def test_the_list_has_every_file_and_is_the_same_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    provenance.begin("prepare", PARAMS)
    tables.write("results/t.parquet", "rejected", REJECTED)
    (tmp_path / "a.zip").write_bytes(b"archive")
    inventory.write_files(["a.zip", "gone.zip", "results"], "sources.json")
    config, lists = {"seed": 4, "title": "ü"}, []
    for _ in range(2):
        inventory.write_provenance(config, ["results/t.parquet"], ["sources.json"], "provenance.json")
        lists.append((tmp_path / "provenance.json").read_bytes())
    assert lists[0] == lists[1]
    found = told(lists[0].decode())
    assert list(found["files"]) == ["a.zip", "gone.zip", "results", "results/t.parquet"]
    zipped = {"bytes": 7, "sha256": hashlib.sha256(b"archive").hexdigest()}
    assert found["files"]["a.zip"] == zipped
    assert found["files"]["gone.zip"] == {"absent": True}
    assert found["files"]["results"] == {"folder": True}
    table = found["files"]["results/t.parquet"]
    assert table["sha256"] == hashlib.sha256((tmp_path / "results/t.parquet").read_bytes()).hexdigest()
    assert table["made_by"] == json.loads(provenance.stamp(table="rejected"))
    assert (found["configuration"], found["seeds"]) == (config, {"seed": 4})
    text = '{"seed":4,"title":"\\u00fc"}'
    assert found["configuration_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert found["packages"]["pyarrow"] == version("pyarrow")


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(TableError, match=r"t\.parquet: damaged .* delete it and run the workflow again"):
        inventory.facts(tmp_path / "t.parquet")


def test_tables_of_others_say_nothing(tmp_path):
    REJECTED.to_parquet(tmp_path / "t.parquet")
    assert inventory.facts(tmp_path / "t.parquet").keys() == {"bytes", "sha256"}


def test_the_commit_is_that_of_the_checkout_and_says_what_is_changed(tmp_path):
    def git(*command):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *who, *command], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert inventory.commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "one")
    assert inventory.commit(tmp_path) == git("rev-parse", "HEAD")
    git("tag", "-a", "v1", "-m", "v1")
    (tmp_path / "a").write_text("2")
    assert inventory.commit(tmp_path) == f"{git('rev-parse', 'HEAD')}-dirty"


def test_the_code_of_the_whole_library_is_digested():
    assert inventory.library_code() != code_digest("neurons.selection")
    assert inventory.library_code() == inventory.library_code()
