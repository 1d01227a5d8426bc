"""From a folder of AudioSet clips to trained weights to statistics of activations, by the workflow."""

import shutil
from pathlib import Path

import audioset_layout
import pandas as pd
import pytest
from safetensors.torch import load_file
from snakemake_run import configuration, planned, run

pytestmark = pytest.mark.workflow
COUNTS = "results/shards/sl/esc50/000/counts.parquet"


def configured(folder: str, processes: int = 1) -> dict:
    """The configuration whose clips are in ``folder``, and which trains in so many processes."""
    config = configuration("audioset")
    config["pools"]["audioset"]["audioset"]["folder"] = folder
    config["models"]["sl"]["training"]["processes"] = processes
    return config


def test_from_a_folder_of_clips_to_statistics(tmp_path):
    audioset_layout.make(tmp_path / "clips")
    # A state beside the weights is no output: Snakemake leaves it to the training, which refuses this one.
    state = tmp_path / "results/training/sl/checkpoint.pt"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"damaged")
    result = run(tmp_path, configured("clips"), COUNTS, check=False)
    assert result.returncode != 0
    assert "checkpoint.pt is damaged" in result.stdout
    assert "Traceback" not in result.stdout
    state.unlink()

    run(tmp_path, configured("clips", processes=2), COUNTS)
    assert_complete(tmp_path)
    # The same clips elsewhere are the same clips.
    shutil.move(tmp_path / "clips", tmp_path / "moved")
    config = configured("moved", processes=2)
    assert "Nothing to be done" in run(tmp_path, config, COUNTS, "-n").stdout
    # Nor does it change clips or weights how many may be lacking, and how often the state is kept.
    config["pools"]["audioset"]["audioset"]["max_missing"] = 0.5
    config["preparation"]["max_rejected"] = 0.1
    config["models"]["sl"]["training"]["checkpoint_minutes"] = 5
    assert "Nothing to be done" in run(tmp_path, config, COUNTS, "-n").stdout
    # Among other processes sums have another order.
    config = configured("moved", processes=1)
    assert planned(run(tmp_path, config, COUNTS, "-n").stdout) == {"train_audioset": 1, "extract": 1}


def test_a_missing_folder_says_what_audioset_needs(tmp_path):
    result = run(tmp_path, configured("nowhere"), COUNTS, check=False)
    assert result.returncode != 0
    assert "no folder nowhere" in result.stdout
    assert "Google distributes AudioSet's lists and no audio" in result.stdout
    assert "Traceback" not in result.stdout


def assert_complete(folder: Path) -> None:
    results = folder / "results"
    assert len(pd.read_parquet(results / "pools/audioset/missing.parquet")) == 6
    rejected = pd.concat(
        pd.read_parquet(results / f"pools/audioset/rejected-00{shard}.parquet") for shard in (0, 1)
    )
    assert rejected["clip_id"].tolist() == [audioset_layout.identifier("eval", 5)]
    parts = pd.concat(pd.read_feather(results / f"pools/audioset/part-00{shard}.arrow") for shard in (0, 1))
    assert parts["split"].value_counts().to_dict() == {"train": 57, "test": 26}
    assert sorted(p.name for p in (results / "training/sl").iterdir()) == [
        "evaluation.parquet", "log.parquet", "model.safetensors",
    ]  # fmt: skip
    evaluation = pd.read_parquet(results / "training/sl/evaluation.parquet")
    assert evaluation["step"].unique().tolist() == [2, 4]
    assert evaluation["average_precision"].between(0, 1).all()
    names = load_file(results / "training/sl/model.safetensors").keys()
    assert "norm_stats" in names
    assert not [name for name in names if name.startswith("head")]
    counts = pd.read_parquet(folder / COUNTS)
    assert counts["active"].sum() > 0
    assert counts.groupby("cell").size().eq(2 * 128).all()
