"""`python -m audio_neurons models` on real, small encoders."""

from __future__ import annotations

import csv
import re

import pytest
import torch
import yaml
from common import ROOT, TINY

from audio_neurons.__main__ import main
from audio_neurons.running.files import checksum


@pytest.fixture
def configured(tmp_path):
    """Return a function that writes a configuration with the given models and returns its arguments."""

    def write(**models):
        config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
        config["models"] = models
        del config["ablation"]  # refers to models that are replaced
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return ["--configfile", str(tmp_path / "c.yaml"), "--directory", str(tmp_path)]

    return write


RANDOM = {"kind": "random", **TINY}


def test_models_are_listed_with_their_sizes(configured, capsys):
    mine = {**RANDOM, "weights": {"source": "checkpoint", "file": "mine.pth"}}
    assert main(["models", *configured(tiny=RANDOM, mine=mine)]) == 0
    head, tiny, mine = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["model", "kind", "adapter"]
    assert "2 x 64 = 128" in tiny
    assert tiny.endswith("random")
    assert "not here yet" in mine
    assert mine.endswith("resources/weights/mine/mine.pth")


def test_a_named_model_is_checked(configured, capsys):
    assert main(["models", "tiny", *configured(tiny=RANDOM, other={**RANDOM, "title": "other"})]) == 0
    out = capsys.readouterr().out
    assert "tiny: works" in out
    assert "vit.blocks.0.mlp.fc2 ... vit.blocks.1.mlp.fc2" in out
    assert "65 that count in 2 s, 1 special" in out
    assert "other" not in out


def test_a_model_that_does_not_fit_is_named(configured, tmp_path, capsys):
    file = tmp_path / "resources" / "weights" / "mine" / "mine.pth"
    file.parent.mkdir(parents=True)
    torch.save({"cls_token": torch.zeros(1, 1, 16)}, file)
    mine = {**RANDOM, "weights": {"source": "checkpoint", "file": "mine.pth"}}
    assert main(["models", *configured(mine=mine, tiny=RANDOM)]) == 1
    captured = capsys.readouterr()
    assert "error: models.mine:" in captured.err
    assert "looked for one Vision Transformer" in captured.err
    assert "cls_token" in captured.err
    assert "tiny" in captured.out


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({**RANDOM, "adaptor": "vit"}, "models.tiny.adaptor: unknown key; did you mean 'adapter'?"),
        ({**RANDOM, "weights": {"source": "random"}}, "models.tiny.weights: missing key(s) seed"),
    ],
)
def test_a_wrong_block_is_told_like_in_a_run(configured, capsys, block, told):
    assert main(["models", *configured(tiny=block)]) == 2
    assert told in capsys.readouterr().err


def test_unknown_models_and_files_are_told(configured, capsys, tmp_path):
    assert main(["models", "huge", *configured(tiny=RANDOM)]) == 2
    assert "no model huge; there are tiny" in capsys.readouterr().err
    assert main(["models", "--configfile", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_the_command_helps(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["models", "--help"])
    assert "models to check" in capsys.readouterr().out


def test_files_are_looked_up_in_the_working_directory_of_the_runs(tmp_path, capsys, monkeypatch):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/own.csv").write_text("path,species\na.wav,owl\nb.wav,wren\n", encoding="utf-8")
    config = {
        "datasets": {"own": {"files": "own.csv"}},
        "tasks": {"own": {"dataset": "own", "label": "species"}},
        "models": {"tiny": RANDOM},
        "comparisons": {"own": {"tasks": ["own"]}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["models", "--configfile", "study.yaml", "--directory", "study"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["models", "--configfile", "study.yaml"]) == 2
    assert "datasets.own.files: own.csv: no such file or folder" in capsys.readouterr().err


def test_an_encoder_of_transformers_is_described_and_compared(configured, tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.Wav2Vec2BertConfig(**sizes, feature_projection_input_dim=160)
    torch.manual_seed(0)
    transformers.Wav2Vec2BertModel(config).save_pretrained(tmp_path / "mine")
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(tmp_path / "mine")
    mine, table = {"kind": "ssl", "folder": "mine"}, tmp_path / "verified.csv"
    arguments = ["models", "mine", *configured(mine=mine), "--record", str(table)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "4 x 32 = 128" in out
    assert "layer 1:  model.encoder.layers.0.ffn2.output_dense (block 0, network 1; 32 neurons)" in out
    assert "mine/config.json: model_type=wav2vec2-bert, " in out
    assert "num_attention_heads=2" in out
    assert "preprocessor_config.json: sampling_rate=16000" in out
    assert "compared: features of noise equal those of transformers' own pipeline (largest difference " in out
    assert main(arguments) == 0  # the same versions have one row
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert (row["checkpoint"], row["architecture"], row["neurons"]) == (
        "mine",
        "wav2vec2-bert",
        "4 x 32 = 128",
    )
    assert row["weights_sha256"] == checksum(tmp_path / "mine" / "model.safetensors")
    assert row["transformers"] == transformers.__version__
    assert main(["models", "tiny", *configured(tiny=RANDOM)]) == 0
    assert "compared: not with transformers: adapter vit is none of its models" in capsys.readouterr().out


def test_a_model_of_the_hub_that_is_not_here_is_listed_and_cannot_be_checked(configured, capsys):
    pytest.importorskip("transformers")
    arguments = configured(tiny=RANDOM, far={"kind": "ssl", "hub": "me/far"})
    assert main(["models", *arguments]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^far +ssl +huggingface +\? +\? +not here yet: me/far$", out, re.M)
    assert "2 x 64 = 128" in out
    assert main(["models", "far", *arguments]) == 1
    assert "models.far: me/far is not here yet, and only its files describe it" in capsys.readouterr().err


def test_statistics_of_a_dataset_are_those_of_the_noise_in_a_check(configured, capsys):
    assert main(["models", "tiny", *configured(tiny={**RANDOM, "norm_stats": "dataset"})]) == 0
    out = capsys.readouterr().out
    assert "tiny: works" in out
    assert "norm_stats=dataset" in out


def test_verified_models_are_on_the_page():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = list(csv.DictReader((ROOT / "resources/verified_models.csv").read_text("utf-8").splitlines()))
    assert rows
    for row in rows:
        shown = (
            "checkpoint",
            "architecture",
            "neurons",
            "check",
            "largest_difference",
            "transformers",
            "torch",
        )
        assert f"| {' | '.join(row[key] for key in shown)} |" in page
