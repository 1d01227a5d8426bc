"""Checkpoints of the M2D family as they are released, and wrong loads that are refused with the reason."""

from __future__ import annotations

import argparse
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from audio_neurons import models
from audio_neurons.models import ModelError, names, vit
from audio_neurons.models.checkpoint import open_checkpoint, write_checkpoint

# Widths that are nobody's, so that a test takes no time; released ones say vit_base in their names.
TINY = {"adapter": "vit", "embed_dim": 48, "depth": 2, "num_heads": 3, "weights": {"source": "checkpoint"}}
RANDOM = {**TINY, "weights": {"source": "random", "seed": 3}}
BASE = {"adapter": "vit", "weights": {"source": "checkpoint"}}

# Every released folder (nttcslab/m2d, README), and what else its kind of training leaves in the file.
RELEASED = {
    "m2d_vit_base-80x608p16x16-221006-mr7": "decoder",
    "m2d_vit_base-80x608p16x16-221006-mr6": "decoder",
    "m2d_vit_base-80x608p16x16-221006-mr7_enconly": "encoder",
    "m2d_vit_base-80x608p16x16-220930-mr7_enconly": "encoder",
    "m2d_vit_base-80x200p16x4-230529": "decoder",
    "m2d_clap_vit_base-80x608p16x16-240128": "clap",
    "m2d_as_vit_base-80x608p16x16-240213": "offline",
    "m2d_as_vit_base-80x608p16x16p32k-240413_enconly": "encoder",
    "m2d_vit_base-80x1001p16x16-221006-mr7_as_46ab246d": "evar",
    "m2d_as_vit_base-80x1001p16x16-240213_AS-FT_enconly": "evar",
    "m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly": "clap",
    "m2d_as_vit_base-80x1001p16x16p32k-240413_AS-FT_enconly": "backbone",
    "m2d_s_vit_base-80x608p80x2-230220": "offline",
    "m2d_s_vit_base-80x512p80x2-230301": "offline",
    "m2d_s_vit_base-80x400p80x2-230201": "offline",
}
PREFIXES = {"evar": "module.ar.runtime.backbone.", "backbone": "backbone."}
DECODER = {
    "mask_token": (1, 1, 512),
    "decoder_embed.weight": (512, 48),
    "decoder_pos_embed": (1, 191, 512),
    "decoder_blocks.0.mlp.fc1.weight": (2048, 512),
    "target_blocks.0.norm1.weight": (48,),
    "target_norm.weight": (48,),
}
CLAP = {
    "audio_proj.0.weight": (48, 48), "audio_proj.2.bias": (48,),
    "text_proj.weight": (48, 48), "logit_scale": (),
}  # fmt: skip
PARTS = {
    "decoder": DECODER,
    "encoder": {},
    "offline": {**DECODER, "offline_predictor.weight": (768, 240), "offline_predictor.bias": (768,)},
    "clap": {**DECODER, **CLAP},
    "backbone": {"head.weight": (527, 48)},
    "evar": {
        "module.head.norm.running_mean": (48,),
        "module.head.mlp.mlp.0.weight": (527, 48),
        "module.ar.runtime.to_spec.mel_basis": (80, 201),
    },
}


def encoder_of(folder: str, **changes) -> dict[str, Tensor]:
    """Weights of a small encoder with the input, patches and names of a release."""
    facts = names.facts(folder)
    block = {**RANDOM, **{k: facts[k] for k in ("input_size", "patch_size")}, **changes}
    return dict(models.load("tiny", block, None).vit.state_dict())


def save(folder: Path, content: object, name: str = "checkpoint-300.pth") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def tiny(folder: str) -> str:
    """The folder's name without the size that the small copy does not have."""
    return folder.replace("_vit_base", "")


def origins_of(model) -> dict[str, tuple[str, str]]:
    """What the model was built from: key → value in words, and where it was read."""
    return {key: (value, source) for key, value, source in model.origins}


@pytest.mark.parametrize("folder", RELEASED)
def test_every_release_loads_with_the_sizes_in_its_name(tmp_path, folder):
    kind, weights = RELEASED[folder], encoder_of(folder)
    prefix, stats = PREFIXES.get(kind, ""), torch.tensor([-6.5, 3.5])
    content = {prefix + key: value for key, value in weights.items()}
    content |= {key: torch.zeros(shape) for key, shape in PARTS[kind].items()}
    content[f"{prefix}norm_stats"] = stats
    released = content if kind in ("encoder", "evar") else {"model": content}
    model = models.load("m2d", TINY, save(tmp_path / tiny(folder), released))
    found = model.vit.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    assert model.norm_stats.tolist() == stats.tolist()
    bands, frames, height, width = map(int, folder.split("-")[1].replace("p", "x").split("x")[:4])
    assert model.architecture.input_size == (bands, frames)
    assert model.architecture.patch_size == (height, width)
    assert model.sample_rate == (32_000 if "p32k" in folder else 16_000)
    told = origins_of(model)
    assert told["sample_rate"] == (str(model.sample_rate), "the folder's name")
    assert told["input_size"] == (f"[{bands}, {frames}]", "the folder's name")
    assert told["patch_size"][1] == "the folder's name and the shapes of its weights"
    assert told.get("prefix", ("", ""))[0] == prefix
    assert ("left out" in told) == bool(PARTS[kind])
    frames = round(11.3 * model.sample_rate) // model.hop + 1
    wave = 0.1 * torch.randn(1, round(11.3 * model.sample_rate))
    with torch.inference_mode():
        features = model(wave)
    rows, columns = bands // height, features.shape[1]
    assert features.shape[2] == rows * 48
    seconds = model.token_seconds(wave.shape[1])
    assert len(seconds) == rows * columns
    assert (
        seconds.max() <= 11.3 + 1e-6 < seconds.max() + (width + frames_left_out(frames, folder)) * 0.01 + 1e-5
    )


def frames_left_out(frames: int, folder: str) -> int:
    """Frames at the end of the last chunk that no whole patch covers; only 1001 is no multiple of 16."""
    return 9 if "x1001p" in folder else 0


def test_names_of_releases_say_their_sizes_and_rates():
    assert names.facts("m2d_as_vit_base-80x1001p16x16p32k-240413_AS-FT_enconly") == {
        "input_size": (80, 1001), "patch_size": (16, 16), "sample_rate": 32_000,
        "embed_dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0,
    }  # fmt: skip
    assert names.facts("m2d_vit_base-80x608p16x16p16k-221006-mr7")["sample_rate"] == 16_000
    assert names.facts("msm_mae_vit_base-80x608p16x16-220924-mr75")["num_heads"] == 12
    assert names.facts("own_vit_small-80x200p16x4")["num_heads"] == 6
    assert "num_heads" not in names.facts("own-80x200p16x4")
    assert names.facts("checkpoints") == names.facts("vit-base-p16") == names.facts("vit_base") == {}
    with pytest.raises(ModelError, match="M2D has no front end for p44k, only for p16k and p32k"):
        names.facts("m2d_vit_base-80x608p16x16p44k-230814")


def test_a_released_base_model_needs_no_key_of_the_configuration(tmp_path):
    folder = "m2d_vit_base-80x1001p16x16-221006-mr7_as_46ab246d"
    shapes = models.load(
        "full", {**BASE, "input_size": [80, 1001], "weights": {"seed": 0}}, None
    ).vit.state_dict()
    # One number per tensor keeps the file small.
    state = {PREFIXES["evar"] + k: torch.full((1,), 0.1).expand(v.shape) for k, v in shapes.items()}
    model = models.load("m2d-as", BASE, save(tmp_path / folder, state, "weights_ep69it3124-0.47929.pth"))
    told = origins_of(model)
    assert (model.depth, model.width) == (12, 3072)
    assert model.architecture.grid == (5, 62)
    assert told["num_heads"] == ("12", "the folder's name")
    assert told["depth"] == ("12", "the folder's name and the shapes of its weights")
    assert told["norm_stats"] == ("[-7.1, 4.2]", "default")


@pytest.mark.parametrize("frames", [990, 993, 1000, 1001, 1002, 1010, 2002, 2500])
def test_a_length_of_1001_frames_is_cut_and_padded_as_in_m2ds_runtime(frames):
    """Its runtime pads the whole input by what its last chunk lacks to a patch, then cuts chunks of 1001."""
    model = models.load("m", {**RANDOM, "input_size": [80, 1001]}, None)
    features = torch.randn(1, 1, 80, frames)
    padded = torch.nn.functional.pad(features, (0, (16 - frames % 1001 % 16) % 16))
    starts = range(0, (frames + 1000) // 1001 * 1001, 1001)
    with torch.inference_mode():
        chunks = [model.encode_patches(model.embed(padded[..., s : s + 1001]))[:, 1:] for s in starts]
        expected = torch.cat([c.unflatten(1, (5, -1)).transpose(1, 2).flatten(2) for c in chunks], 1)
        torch.testing.assert_close(model.encode(features), expected)
    seconds = model.token_seconds((frames - 1) * 160)
    times = np.concatenate([s / 100 + 0.16 * np.tile(np.arange(c.shape[1] // 5), 5)
                            for s, c in zip(starts, chunks, strict=True)])  # fmt: skip
    np.testing.assert_allclose(seconds, times, atol=1e-5)


# 32 kHz


def slaney_filters(rate: int, fft: int, bands: int, lowest: float, highest: float) -> np.ndarray:
    """Slaney's mel filters of unit area, by the formulas of his Auditory Toolbox (1998), in float64."""

    def mel(hertz):
        hertz = np.asarray(hertz, float)
        high = 15 + np.log(np.maximum(hertz, 1e-9) / 1000) * 27 / np.log(6.4)
        return np.where(hertz < 1000, hertz * 3 / 200, high)

    def hertz(mels):
        return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))

    edges = hertz(np.linspace(mel(lowest), mel(highest), bands + 2))
    bins = np.arange(fft // 2 + 1) * rate / fft
    rising = (bins[None] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins[None]) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])[:, None]


def test_the_front_end_at_32_khz_is_m2ds_by_its_formulas():
    """portable_m2d.py, get_to_melspec('32k'): n_fft = window = 800, hop 320, 80 bands, 50 to 16000 Hz."""
    model = models.load("m", {**RANDOM, "sample_rate": 32_000}, None)
    rng = np.random.default_rng(0)
    time = np.arange(40_000) / 32_000
    wave = 0.1 * rng.standard_normal(40_000) + 0.3 * np.sin(2 * np.pi * 12_000 * time)
    padded = np.pad(wave, 400, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 800)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 800)[::320]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    expected = np.log(slaney_filters(32_000, 800, 80, 50, 16_000) @ power.T + np.finfo(np.float32).eps)
    found = model.front_end(torch.from_numpy(wave).float()[None])[0, 0].numpy()
    assert found.shape == (80, 126)
    np.testing.assert_allclose(found, (expected - -7.1) / 4.2, atol=2e-4)
    # The tone above 8 kHz, which no clip at 16 kHz has, is in one of the highest bands.
    assert 68 < found.mean(1).argmax() < 78


def test_tokens_at_32_khz_have_the_times_of_those_at_16():
    fast, slow = (models.load("m", {**RANDOM, "sample_rate": rate}, None) for rate in (32_000, 16_000))
    torch.testing.assert_close(fast.token_seconds(8 * 32_000), slow.token_seconds(8 * 16_000))


def test_a_front_end_of_kaldi_has_no_other_rate():
    with pytest.raises(ModelError, match="fbank has no sample_rate 32000"):
        models.load("m", {**RANDOM, "front_end": "fbank", "sample_rate": 32_000}, None)


# What was read from where, and what contradicts it


C, N, W = "the configuration", "the folder's name", "the shapes of its weights"
POSITIONS = "but 190 by the length of pos_embed"


@pytest.mark.parametrize(
    ("block", "folder", "told"),
    [
        ({"input_size": [80, 9]}, "x-80x608p16x16", f"input_size is [80, 9] by {C}, but [80, 608] by {N}"),
        ({}, "x-80x608p8x16", f"patch_size is [8, 16] by {N}, but [16, 16] by {W}"),
        ({"num_heads": 8}, "x_vit_tiny-80x608p16x16", f"num_heads is 8 by {C}, but 3 by {N}"),
        ({}, "x_vit_tiny-80x608p16x16", f"embed_dim is 48 by {C}, but 192 by {N}"),
        ({"sample_rate": 16_000}, "x-80x608p16x16p32k", f"sample_rate is 16000 by {C}, but 32000 by {N}"),
        ({"embed_dim": 96}, "x", f"embed_dim is 96 by {C}, but 48 by {W}"),
        ({"depth": 3}, "x", f"depth is 3 by {C}, but 2 by {W}"),
        ({"depth": 1}, "x", f"depth is 1 by {C}, but 2 by {W}"),
        ({"mlp_ratio": 2.0}, "x", f"mlp_ratio is 2 by {C}, but 4 by {W}"),
        ({"special_tokens": 0}, "x", f"special_tokens is 0 by {C}, but 1 by {W}"),
        ({"patch_size": [16, 8]}, "x", f"patch_size is [16, 8] by {C}, but [16, 16] by {W}"),
        ({"norm_stats": [1, 2]}, "x", f"norm_stats is [-6.5, 3.5] by the checkpoint, but [1, 2] by {C}"),
        ({"input_size": [128, 1024]}, "x",
         f"positions is 512 by input_size [128, 1024] ({C}), patch_size [16, 16] ({W}), {POSITIONS}"),
        ({}, "x-80x208p16x16",
         f"positions is 65 by input_size [80, 208] ({N}), patch_size [16, 16] ({N}), {POSITIONS}"),
        ({"num_heads": None}, "x", "num_heads is missing, and no shape shows it; the width is 48"),
    ],
)  # fmt: skip
def test_facts_that_contradict_each_other_are_an_error_with_both_values(tmp_path, block, folder, told):
    state = {**encoder_of("x-80x608p16x16"), "norm_stats": torch.tensor([-6.5, 3.5])}
    path = save(tmp_path / folder, {"model": state})
    with pytest.raises(ModelError, match=rf"^models\.mine: .*{folder}.*{re.escape(told)}"):
        models.load("mine", {**TINY, **block}, path)


def test_a_ratio_that_gives_the_width_of_the_weights_is_no_contradiction(tmp_path):
    state = encoder_of("x-80x608p16x16", mlp_ratio=2.67)
    path = save(tmp_path / "x", state)
    assert models.load("m", {**TINY, "mlp_ratio": 2.67}, path).width == int(48 * 2.67)
    assert models.load("m", TINY, path).width == int(48 * 2.67)


def test_statistics_are_the_checkpoints_then_the_configurations_then_m2ds(tmp_path):
    state = encoder_of("x-80x608p16x16")
    plain = save(tmp_path / "plain", state)
    own = save(tmp_path / "own", {**state, "norm_stats": [1.0, 2.0]})
    block = {**TINY, "norm_stats": [5.0, 6.0]}
    found = [models.load("m", b, p) for b, p in [(TINY, own), (block, plain), (TINY, plain)]]
    assert [m.norm_stats.tolist() for m in found] == [[1, 2], [5, 6], pytest.approx([-7.1, 4.2])]
    assert [origins_of(m)["norm_stats"][1] for m in found] == [
        "the checkpoint",
        "the configuration",
        "default",
    ]


def test_defaults_are_told_where_neither_configuration_nor_name_nor_shape_says_anything(tmp_path):
    model = models.load("m", TINY, save(tmp_path / "somewhere", encoder_of("x-80x608p16x16")))
    told = {key for key, _, source in model.origins if source == "default"}
    assert told == {"input_size", "sample_rate", "norm_stats", "front_end"}


# Nested checkpoints


def nested(form: str, state: dict) -> tuple[object, str, str]:
    """A file's content, the entry that holds the weights, and the prefix of their names."""
    behind = {"ddp": "module.", "lightning": "model.", "wrapped": "model.backbone."}.get(form, "")
    named = {behind + key: value for key, value in state.items()}
    optimizer = {
        "state": {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(3.0)}},
        "param_groups": [{"lr": 1e-3, "params": [0]}],
    }
    forms = {
        "bare": (named, ""),
        "model": ({"model": named, "optimizer": optimizer, "args": argparse.Namespace(lr=1)}, "model"),
        "net": ({"net": named, "acc": 0.5}, "net"),
        "module": ({"module": named, "loss": torch.tensor(0.5)}, "module"),
        "model_state_dict": ({"model_state_dict": named, "optimizer": optimizer}, "model_state_dict"),
        "lightning": ({
            "state_dict": named, "optimizer_states": [optimizer], "lr_schedulers": [], "epoch": 1,
            "hyper_parameters": {"lr": 1e-3, "sizes": {"dim": 48}}, "callbacks": {"Stopping": {"wait": 1}},
        }, "state_dict"),
        "ddp": ({"state_dict": named}, "state_dict"),
        "wrapped": ({"state_dict": named}, "state_dict"),
        "deeper": ({"checkpoint": {"trainer": {"weights": named}}}, "checkpoint.trainer.weights"),
        "with ema": ({"model": named, "model_ema": {k: v + 1 for k, v in named.items()}}, "model"),
    }  # fmt: skip
    return *forms[form], behind


FORMS = (
    "bare", "model", "net", "module", "model_state_dict", "lightning", "ddp", "wrapped", "deeper", "with ema",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_one_state_dict_of_a_training_checkpoint_is_found_and_said(tmp_path, form):
    state = encoder_of("x-80x608p16x16")
    content, entry, prefix = nested(form, state)
    model = models.load("m", TINY, save(tmp_path / "x", content))
    assert all(torch.equal(model.vit.state_dict()[key], value) for key, value in state.items())
    told = {key: value for key, value, source in model.origins if source == "the checkpoint"}
    assert (told.get("entry", ""), told.get("prefix", "")) == (entry, prefix)


def test_hyper_parameters_of_lightning_are_passed_over_and_their_code_is_not_run(tmp_path, monkeypatch):
    ran = []

    class AttributeDict(dict):
        def __setstate__(self, state):
            ran.append(state)

        def __reduce__(self):
            return AttributeDict, (), {"a": 1}, None, iter({"lr": 1}.items())

    package = types.ModuleType("lightning.fabric.utilities.data")
    AttributeDict.__module__, AttributeDict.__qualname__ = package.__name__, "AttributeDict"
    package.AttributeDict = AttributeDict
    for name in ("lightning", "lightning.fabric", "lightning.fabric.utilities"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    state = encoder_of("x-80x608p16x16")
    score = np.float64(0.4)
    path = save(tmp_path / "x", {"state_dict": state, "hyper_parameters": AttributeDict(lr=1), "best": score})
    monkeypatch.undo()
    assert open_checkpoint(path).entry == ("state_dict",)
    assert not ran


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"student": {"a": torch.zeros(2)}, "teacher": {"a": torch.zeros(2)}},
         r"several state dicts: student \(1 tensors\), teacher \(1 tensors\); save the one that is meant"),
        ({"epoch": 3, "config": {"lr": 1}}, r"holds no weights, but epoch \(int\), config \(dict\)"),
        ({}, "holds no weights, but nothing"),
        ([1, 2, 3], "holds a list, not a state dict"),
        (torch.zeros(3), "holds a Tensor, not a state dict"),
        ({"state_dict": {f"encoder.layers.{i}.fc1.weight": torch.zeros(4, 4) for i in range(9)}},
         r"ends in patch_embed\.proj\.weight, and found none; there are 9 tensors under state_dict: "
         r"encoder\.layers\.\* \(9\)"),
        ({f"{one}.patch_embed.proj.weight": torch.zeros(4, 1, 16, 16) for one in ("student", "teacher")},
         r"found 2, behind student\., teacher\.; there are 2 tensors: "),
    ],
)  # fmt: skip
def test_what_cannot_be_resolved_is_described_in_words(tmp_path, content, told):
    with pytest.raises(ModelError, match=told) as error:
        models.load("m", TINY, save(tmp_path / "x", content))
    assert "embed_dim" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "norm.bias"}, "missing norm.bias"),
        (lambda s: {**s, "fc_norm.weight": torch.ones(48)}, "unexpected fc_norm.weight"),
        (lambda s: {**s, "blocks.0.ls1.gamma": torch.ones(48)}, "unexpected blocks.0.ls1.gamma"),
        (lambda s: {**s, "patch_embed.proj.weight": torch.ones(48, 3, 16, 16)},
         r"patch_embed.proj.weight is \(48, 3, 16, 16\), expected \(48, 1, 16, 16\)"),
    ],
)  # fmt: skip
def test_weights_that_the_encoder_lacks_or_does_not_have_are_named(tmp_path, change, told):
    path = save(tmp_path / "x", {"model": change(encoder_of("x-80x608p16x16"))})
    with pytest.raises(ModelError, match=rf"^models\.m: .*{told}"):
        models.load("m", TINY, path)


def test_safetensors_keep_the_prefix_and_lose_it_on_loading(tmp_path):
    state = encoder_of("x-80x608p16x16")
    path = tmp_path / "x" / "model.safetensors"
    write_checkpoint(path, {f"module.{key}": value for key, value in state.items()}, {})
    assert origins_of(models.load("m", TINY, path))["prefix"] == ("module.", "the checkpoint")


def test_training_only_parts_are_those_of_m2d_and_its_siblings():
    assert {"offline_predictor.", "audio_proj.", "text_proj.", "logit_scale"} < set(vit.TRAINING_ONLY)
