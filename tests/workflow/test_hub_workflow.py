"""A run whose models come from a hub on this machine, and from a folder with layers of unequal widths."""

from __future__ import annotations

import json

import pytest
from hub import Repository, serving
from snakemake_run import configuration, planned, run, server

pytest.importorskip("transformers", reason="adapter huggingface needs transformers")
from tiny_models import save

from audio_neurons import tables
from audio_neurons.activations.statistics import read_counts

pytestmark = pytest.mark.workflow


def test_hub_and_folder_from_download_to_neurons(tmp_path, monkeypatch):
    save(tmp_path / "hubert", "hubert")
    save(tmp_path / "htsat", "clap")
    small = configuration("small")
    datasets = {"esc50": {**small["datasets"]["esc50"], "shards": 2}}
    models = {
        "hubert": {"kind": "ssl", "hub": "me/hubert"},
        "htsat": {"kind": "ssl", "folder": str(tmp_path / "htsat")},
    }
    config = {
        **{key: small[key] for key in small if key not in ("pools", "ablation", "findings")},
        "datasets": datasets, "tasks": {"esc50": small["tasks"]["esc50"]}, "models": models,
        "comparisons": {"esc50": {"tasks": ["esc50"]}},
    }  # fmt: skip
    folder = tmp_path / "run"
    kinds = ("neurons/{}/esc50/aape", "networks/{}")
    targets = [f"results/{kind.format(model)}.parquet" for kind in kinds for model in models]
    server()  # begins in the environment of other tests
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.models["me/hubert"] = Repository()
        files = {path.name: path.read_bytes() for path in (tmp_path / "hubert").iterdir()}
        commit = hub.models["me/hubert"].push(files)
        run(folder, config, "--until", "download_snapshot")
    # What is here needs no hub.
    for name in ("HF_ENDPOINT", "HF_HOME"):
        monkeypatch.delenv(name)
    run(folder, config, *targets)
    assert json.loads((folder / "resources/checksums/hubert.hub.json").read_text()) == {
        "me/hubert@main": commit
    }
    assert "Nothing to be done" in run(folder, config, "-n", *targets).stdout
    for model, widths in {"hubert": [40, 40], "htsat": [64, 64, 128, 128]}.items():
        _, neurons = read_counts(folder / f"results/statistics/{model}/esc50/counts.parquet")
        assert neurons.tolist() == [
            [layer, unit] for layer, width in enumerate(widths) for unit in range(width)
        ]
        chosen = tables.read(folder / f"results/neurons/{model}/esc50/aape.parquet", "neurons")
        assert len(chosen.drop_duplicates(["layer", "neuron"])) == sum(widths)
        assert chosen["response"].between(0, 1).all()
        networks = tables.read(folder / f"results/networks/{model}.parquet", "networks")
        assert networks["neurons"].tolist() == widths
        assert set(chosen["layer"]) == set(networks["layer"])
    # Another file in the folder runs its model again, and no other.
    state = tmp_path / "htsat" / "preprocessor_config.json"
    state.write_text(state.read_text() + "\n")
    jobs = planned(run(folder, config, "-n", *targets).stdout)
    assert jobs["extract"] == 2
    assert jobs["list_networks"] == 1
    assert "download_snapshot" not in jobs
