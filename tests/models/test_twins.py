"""Baselines: a model's weights in another order, and the spectrum alone."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from common import TINY
from torch import nn

from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.intervention import Intervention, run_changes
from audio_neurons.activations.extraction import forward
from audio_neurons.activations.recorder import Recorder
from audio_neurons.models import registry as models
from audio_neurons.models.checkpoint import write_checkpoint
from audio_neurons.models.errors import ModelError
from audio_neurons.models.shuffling import shuffle
from audio_neurons.models.twins import owner, resolved
from audio_neurons.study.loading import ConfigError, complete
from audio_neurons.study.study import Study

WAVE = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) / 10
BARS = {"kind": "random", "adapter": "logmel", "weights": {"source": "random", "seed": 0}}
CHECKPOINT = {"source": "checkpoint", "file": "tiny.safetensors"}


def configuration(**blocks):
    return {
        "datasets": {"esc50": {}},
        "tasks": {"events": {"dataset": "esc50", "label": "category"}},
        "comparisons": {"e": {"tasks": ["events"]}},
        "models": {"tiny": {**TINY, "kind": "ssl", "title": "Tiny", "weights": CHECKPOINT}, **blocks},
    }


def twin(seed=0, of="tiny", **more):
    return {"kind": "random", "weights": {"source": "shuffled", "of": of, "seed": seed}, **more}


def test_every_unit_keeps_its_weights_in_another_order_and_all_else_stays(encoder):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    shuffle(encoder, 0)
    moved = []
    for name, value in encoder.state_dict().items():
        if torch.equal(value, before[name]):
            continue
        moved.append(name)
        rows, own = value.flatten(1), before[name].flatten(1)
        torch.testing.assert_close(rows.sort(1).values, own.sort(1).values, rtol=0, atol=0)
        assert (rows != own).any(1).all()
    kinds = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    expected = [f"vit.blocks.{layer}.{kind}.weight" for layer in (0, 1) for kind in kinds]
    assert sorted(moved) == sorted(["vit.patch_embed.proj.weight", *expected])


def test_shuffling_depends_on_the_seed_alone(encoder):
    twins = [deepcopy(encoder) for _ in range(3)]
    for one, seed in zip(twins, (1, 1, 2), strict=True):
        shuffle(one, seed)
    with torch.inference_mode():
        outputs = [one(WAVE) for one in (encoder, *twins)]
    assert torch.equal(outputs[1], outputs[2])
    assert not torch.allclose(outputs[1], outputs[3], atol=1e-3)
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)


def test_kernels_and_weight_normalisation_are_shuffled_and_embeddings_are_not():
    net = nn.Module()
    net.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 2, 5))
    net.place, net.norm, net.attention = nn.Embedding(9, 4), nn.LayerNorm(4), nn.MultiheadAttention(4, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    shuffle(net, 0)
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {
        "conv.parametrizations.weight.original1", "attention.in_proj_weight", "attention.out_proj.weight"
    }  # fmt: skip
    with pytest.raises(ModelError, match="no weight matrix"):
        shuffle(nn.LayerNorm(4), 0)


def test_a_twin_is_loaded_from_the_weights_of_its_model(encoder, tmp_path):
    write_checkpoint(tmp_path / "tiny.safetensors", encoder.state_dict(), {})
    config = complete(configuration(a=twin(3, title="Tiny, shuffled")))
    study = Study(config, tmp_path)
    wildcards = type("W", (), {"model": "a"})
    assert study.models.weights(wildcards) == ["resources/weights/tiny/tiny.safetensors"]
    assert study.models.downloads() == ["resources/weights/tiny/tiny.safetensors"]
    assert config["models"]["a"]["note"] == "The weights of Tiny, those of each unit permuted."
    block = resolved(config["models"], "a")
    assert owner("a", block) == "tiny"
    assert owner("tiny", resolved(config["models"], "tiny")) == "tiny"
    loaded = models.load("a", block, tmp_path / "tiny.safetensors")
    plain = models.load("tiny", resolved(config["models"], "tiny"), tmp_path / "tiny.safetensors")
    shuffle(plain, 3)
    with torch.inference_mode():
        assert torch.equal(loaded(WAVE), plain(WAVE))
    # What makes jobs run again: the permutation, and not the place of the weights.
    architectures = [study.models.architecture(type("W", (), {"model": name})) for name in ("a", "tiny")]
    assert '"shuffled":{"of":"tiny","seed":3}' in architectures[0]
    assert "shuffled" not in architectures[1]


def test_a_twin_of_a_folder_or_hub_is_read_as_its_model_is(tmp_path):
    blocks = {"whisper": {"kind": "sl", "hub": "openai/whisper-base"}, "b": twin(of="whisper")}
    config = complete(configuration(**blocks))
    assert config["models"]["b"]["adapter"] == "huggingface"
    study = Study(config, tmp_path)
    assert study.models.weights_of("b") == study.models.weights_of("whisper")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (twin(of="tinny"), "models.a.weights.of: no model 'tinny'; there are tiny, a, bars"),
        (
            twin() | {"kind": "ssl"},
            "models.a.kind: a model whose weights are shuffled is of kind random, not",
        ),
        (twin(of="bars"), "models.a.weights.of: bars has random weights; name a trained model"),
        (twin(of="a"), "models.a.weights.of: a has shuffled weights; name a trained model"),
    ],
)
def test_twins_of_nothing_are_refused(block, message):
    with pytest.raises(ConfigError) as caught:
        complete(configuration(a=block, bars=BARS))
    assert message in str(caught.value)


# The spectrum alone


def test_the_spectrum_is_m2ds_and_units_are_its_exceedances(encoder, hidden):
    bars = models.load("bars", BARS, None)
    mel = encoder.front_end(WAVE)[:, 0].transpose(1, 2)
    assert torch.equal(bars.front_end(WAVE), mel)
    torch.testing.assert_close(bars(WAVE), mel, rtol=1e-5, atol=1e-5)
    ((units,),) = hidden(bars, WAVE)
    thresholds = np.linspace(-2, 2, 16)
    for band, number in ((0, 0), (40, 7), (79, 15)):
        expected = mel[..., band] - thresholds[number]
        torch.testing.assert_close(units[..., band * 16 + number], expected.float(), rtol=1e-5, atol=1e-5)
    with Recorder(bars) as recorder:
        _, batch = forward(bars, recorder, WAVE)
    assert batch.tokens == len(bars.token_seconds(16_000)) == 101
    assert torch.equal(batch.active[:, 0], (units > 0).sum(1).int())
    louder = [(units[..., k::16] > 0).float().mean().item() for k in range(16)]
    assert louder == sorted(louder, reverse=True)


def test_sizes_rate_and_statistics_of_the_spectrum_are_the_blocks():
    small = models.load("b", {**BARS, "config": {"bands": 20, "thresholds": 1}, "norm_stats": [-5, 2]}, None)
    assert small.widths == [20]
    assert small.layer.thresholds.tolist() == [0]
    torch.testing.assert_close(small(WAVE), ((small.log_mel(WAVE) + 5) / 2).transpose(1, 2))
    assert models.load("b", {**BARS, "sample_rate": 32_000}, None).sample_rate == 32_000
    own = models.load("b", {**BARS, "norm_stats": "dataset"}, None)
    with pytest.raises(ModelError, match="have not been given"):
        own(WAVE)
    own.normalise(-5, 2)
    assert own(WAVE).isfinite().all()


@pytest.mark.parametrize(
    ("block", "weights", "message"),
    [
        ({"config": {"band": 3}}, None, "has no band; it has bands, thresholds"),
        ({"config": {"bands": 0}}, None, "config.bands of adapter logmel is a whole number above 0"),
        ({}, "x.safetensors", "adapter logmel has no weights"),
    ],
)
def test_what_the_spectrum_cannot_be_is_told(block, weights, message):
    with pytest.raises(ModelError, match=message):
        models.load("b", {**BARS, **block}, weights)


def test_ablations_of_the_spectrum_replace_a_part_of_it():
    bars = models.load("bars", BARS, None)
    band = Change(frozenset((0, 7 * 16 + k) for k in range(16)))
    ((_, features), (_, before)) = run_changes(bars, WAVE, [band], {"zero": None})
    with Intervention(bars, band), torch.inference_mode():
        assert torch.equal(features, bars(WAVE))
    assert (features[..., 7] == 0).all()
    kept = [k for k in range(80) if k != 7]
    assert torch.equal(features[..., kept], before[..., kept])
