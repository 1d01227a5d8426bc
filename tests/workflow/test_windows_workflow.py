"""Windows, events and samples through the whole workflow: which clips there are, and where it is told."""

import re
import zipfile

import numpy as np
import pandas as pd
import pytest
import soundfile
from snakemake_run import configuration, run

pytestmark = pytest.mark.workflow

CONFIG = configuration("windows")
TOLD = "60 of 152 clips, balanced by site, seed 3; windows every 0.5 s"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Eight days of 10 s at two sites, and six recordings with three calls each; and a finished run."""
    folder = tmp_path_factory.mktemp("windows")
    rng = np.random.default_rng(0)
    lines = {"days": ["path,site"], "calls": ["path"]}
    for i in range(8):
        soundfile.write(folder / f"day{i}.wav", rng.normal(0, 0.05 + 0.1 * (i % 2), 160_000), 16_000)
        lines["days"].append(f"day{i}.wav,{('hill', 'lake')[i % 2]}")
    (folder / "labels").mkdir()
    for i in range(6):
        soundfile.write(folder / f"call{i}.flac", rng.normal(0, 0.1, 48_000), 16_000)
        lines["calls"].append(f"call{i}.flac")
        labels = [f"{k * 0.8}\t{k * 0.8 + 0.7}\t{('owl', 'wren')[(i + k) % 2]}\n" for k in range(3)]
        (folder / "labels" / f"call{i}.txt").write_text("".join(labels))
    for name, listed in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(listed) + "\n")
    return folder, run(folder, CONFIG).stdout


def test_clips_are_the_drawn_windows_and_the_events(done):
    folder, _ = done
    days = pd.read_parquet(folder / "results/clips/days/part-000.parquet")
    assert days["site"].value_counts().to_dict() == {"hill": 30, "lake": 30}
    assert set(days["frames"]) == {10_240}
    assert days["clip_id"].str.fullmatch(r"day\d\.wav@[\d.]+").all()
    assert set(days["group"]) <= {f"day{i}.wav" for i in range(8)}
    assert days.groupby("group")["split"].nunique().max() == 1
    calls = pd.read_parquet(folder / "results/clips/calls/part-000.parquet")
    assert len(calls) == 18
    assert list(calls["clip_id"][:3]) == ["call0.flac@0-0.7", "call0.flac@0.8-1.5", "call0.flac@1.6-2.3"]
    assert set(calls["species"]) == {"owl", "wren"}


def test_what_was_drawn_and_heard_is_told_in_the_run_the_tables_and_the_findings(done):
    folder, output = done
    assert (
        "days: windows every 0.5 s: 152 windows of 0.64 s from 8 recordings hear 77.1 s of 80.0 s" in output
    )
    assert re.search(r"whole run: \d+ of \d+ jobs in \d+ s, about .* left", output)
    assert "days: sample: 60 of 152 clips, balanced by site, seed 3" in output
    clips = pd.read_csv(folder / "results/tables/clips.csv")
    every = clips[(clips["dataset"] == "days") & (clips["label"] == "*")]
    assert set(every["conditions"]) == {TOLD}
    assert every[["available", "drawn", "clips"]].sum().tolist() == [152, 60, 60]
    coverage = pd.read_csv(folder / "results/tables/coverage.csv").set_index("task")["conditions"]
    chosen = "neurons chosen by aape on the split train, clips permuted one by one"
    assert coverage.to_dict() == {
        "site": f"days: {TOLD}; {chosen}",
        "species": f"calls: all 18 clips; {chosen}",
    }
    sharing = pd.read_csv(folder / "results/tables/sharing.csv").set_index("comparison")["conditions"]
    assert sharing["both"] == f"days: {TOLD}; calls: all 18 clips; {chosen}"
    findings = (folder / "results/findings.html").read_text()
    assert TOLD in " ".join(findings.split())


def test_what_stays_without_acoustics_is_in_the_figures_tables_and_findings(done):
    folder, _ = done
    table = pd.read_csv(folder / "results/tables/acoustics.csv")
    assert set(table["task"]) == {"site", "species"}
    assert set(table["family"]) == {"f0", "loudness", "spectrum", "all"}
    site = table[(table["task"] == "site") & (table["family"] == "loudness")]
    assert site["untold"].max() < 0.1  # the sites differ in level, by 10 dB
    assert set(site["reason"]) == {"acoustics tell the class"}
    sounds = pd.read_parquet(folder / "results/acoustics/random/days/part-000.parquet")
    assert sounds["loudness"].max() - sounds["loudness"].min() == pytest.approx(9.5, abs=1)
    correlated = pd.read_parquet(folder / "results/statistics/random/days/correlations.parquet")
    assert set(correlated["split"]) == {"*", *pd.read_csv(folder / "results/tables/clips.csv")["split"]} - {
        ""
    }
    for task in ("site", "species"):
        assert (folder / f"results/figures/acoustics/{task}.pdf").read_bytes().startswith(b"%PDF")
    findings = (folder / "results/findings.html").read_text()
    assert "What else a neuron hears" in findings
    made = (folder / "results/provenance.json").read_text()
    assert "results/acoustic_classes/random/site/aape.parquet" in made


def test_it_is_told_below_figures_and_in_their_captions(done, tmp_path):
    folder, _ = done
    pdf = (folder / "results/figures/site.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    run(folder, CONFIG, "--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        text = "".join(report.read(name).decode(errors="ignore") for name in report.namelist())
    assert "days: at most 60 clips, balanced by site, seed 3; windows every 0.5 s." in text
