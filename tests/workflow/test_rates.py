"""Models of several sampling rates in one run: each hears clips of its own rate, of the same recordings.

One of them normalises by the statistics of the dataset.
"""

import numpy as np
import pandas as pd
import pytest
import soundfile
from snakemake_run import planned, run

from audio_neurons.recordings import audio

pytestmark = pytest.mark.workflow

SIZES = {"kind": "random", "input_size": [80, 64], "embed_dim": 16, "depth": 2, "num_heads": 2}
CONFIG = {
    "datasets": {"own": {"files": "own.csv", "clip_seconds": 0.5}},
    "tasks": {"pitch": {"dataset": "own", "label": "pitch"}},
    "comparisons": {"pitch": {"tasks": ["pitch"]}},
    "models": {
        "slow": SIZES | {"title": "16 kHz", "weights": {"source": "random", "seed": 0}},
        "fast": SIZES
        | {
            "title": "32 kHz",
            "sample_rate": 32_000,
            "norm_stats": "dataset",
            "weights": {"source": "random", "seed": 0},
        },
    },
    "extraction": {"device": "cpu", "activity": "median"},
    "selection": {"selectors": {"aape": {"top_share": 0.2}}},
    "probe": {"epochs": 2, "seeds": [0]},
    "ablation": {"random": 1, "bootstrap": 5, "tasks": {"pitch": {}}, "gains": [0]},
    "inference": {"draws": 5, "bootstrap": 3, "halves": 1},
}
WIDE = SIZES | {"title": "wide", "embed_dim": 32, "weights": {"source": "random", "seed": 1}}
SLOW = {name: block for name, block in CONFIG["models"].items() if name == "slow"}


def recordings(folder):
    rng = np.random.default_rng(0)
    rows = ["path,pitch,group,split"]
    for n in range(12):
        pitch = ("low", "high")[n % 2]
        time = np.arange(22_050) / 44_100
        tone = 0.3 * np.sin(2 * np.pi * (300 if n % 2 else 12_000) * time)
        soundfile.write(folder / f"{n}.wav", tone + 0.02 * rng.standard_normal(22_050), 44_100)
        rows.append(f"{n}.wav,{pitch},speaker{n},{'test' if n >= 8 else 'train'}")
    (folder / "own.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_every_stage_reads_clips_of_the_models_own_rate(tmp_path):
    recordings(tmp_path)
    run(tmp_path, CONFIG | {"models": SLOW}, "clips")
    targets = ("ablations", "inference", "results/sources/own.json")
    again = planned(run(tmp_path, CONFIG, "-n", *targets).stdout)
    assert "prepare_own" not in again  # a model of another rate moves nothing that is there
    assert again["prepare_own_32000Hz"] == again["measure_norm_stats"] == 1
    run(tmp_path, CONFIG, *targets)

    results = tmp_path / "results"
    at_16, at_32 = (
        pd.read_parquet(results / f"clips/own/{part}part-000.parquet") for part in ("", "32000Hz/")
    )
    assert at_16["clip_id"].tolist() == at_32["clip_id"].tolist()
    assert set(at_16["frames"]) == {8_000}
    assert set(at_32["frames"]) == {16_000}
    spectrum = np.abs(np.fft.rfft(audio.read(at_32["audio"][0], 16_000, 32_000)))
    assert np.argmax(spectrum) * 2 == 12_000  # Hz, which no clip at 16 kHz has
    units = [pd.read_parquet(results / f"statistics/{model}/own/units.parquet") for model in CONFIG["models"]]
    pd.testing.assert_frame_equal(*(table.drop(columns="active") for table in units))
    assert (units[0]["active"].map(sum) != units[1]["active"].map(sum)).any()
    for kind in ("medians/{}/own", "screening/{}/pitch", "ablation/{}/pitch/aape", "inference/{}/pitch/aape"):
        assert all(len(pd.read_parquet(results / f"{kind.format(m)}.parquet")) for m in CONFIG["models"])
    assert not (results / "norm_stats/slow").exists()
    (stats,) = pd.read_parquet(results / "norm_stats/fast/own.parquet").to_dict("records")
    assert stats["clips"] == 8
    assert -16 < stats["mean"] < 0 < stats["std"] < 5
    for rule, of in (
        ("extract", "own/000"),
        ("estimate_medians", "own"),
        ("ablate", "pitch/aape"),
        ("screen", "pitch"),
    ):
        logs = [(tmp_path / f"logs/{rule}/{model}/{of}.log").read_text() for model in ("slow", "fast")]
        told = f"norm_stats [{stats['mean']:g}, {stats['std']:g}] (results/norm_stats/fast/own.parquet)"
        assert [told in log for log in logs] == [False, True]
    listed = (results / "sources/own.json").read_text(encoding="utf-8")
    assert "results/clips/own/part-000.parquet" in listed
    assert "results/clips/own/32000Hz/part-000.parquet" in listed


def test_models_of_one_rate_in_one_job_give_what_each_gives_alone(tmp_path):
    """A third model is of another rate, and has jobs of its own."""
    config = CONFIG | {"models": {**CONFIG["models"], "wide": WIDE}, "atlas": {"clips": 4}}
    several = config | {"extraction": {**CONFIG["extraction"], "together": True}}
    targets = [f"results/statistics/{m}/own/units.parquet" for m in config["models"]]
    targets += [f"results/examples/{m}/own.parquet" for m in config["models"]]
    found = []
    for folder, own in ((tmp_path / "alone", config), (tmp_path / "together", several)):
        folder.mkdir()
        recordings(folder)
        jobs = planned(run(folder, own, "-n", *targets).stdout)
        kinds = ("extract", "extract_together", "find_examples", "find_examples_together")
        found.append([jobs.get(kind, 0) for kind in kinds])
        run(folder, own, *targets)
    assert found == [[3, 0, 3, 0], [1, 1, 1, 1]]
    for target in targets:
        alone, together = (pd.read_parquet(tmp_path / place / target) for place in ("alone", "together"))
        pd.testing.assert_frame_equal(alone, together)
