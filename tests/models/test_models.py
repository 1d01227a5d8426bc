"""Encoders: agreement with M2D, its checkpoints, and input that is refused."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from common import SHARED
from timm.models.vision_transformer import VisionTransformer
from torchaudio.compliance import kaldi

from audio_neurons import models
from audio_neurons.activations.recorder import Recorder
from audio_neurons.models import ModelError, vit
from audio_neurons.models.checkpoint import read_checkpoint, write_checkpoint
from audio_neurons.models.encoder import Encoder

GOLDEN = SHARED / "golden" / "golden_m2d_A.npz"
# As a released one, but for the size in its name, which the reference's weights do not have.
RELEASED = Path("m2d_vit_reference-80x608p16x16-221006-mr7", "checkpoint-300.pth")
BLOCK = {"adapter": "vit", "embed_dim": 96, "depth": 2, "num_heads": 3, "weights": {"seed": 3}}
GROUPS = ("c0", "c1", "c2", "c3")


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    if not GOLDEN.exists():
        pytest.skip("the golden data of M2D's reference runtime are not here")
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="session")
def golden_model(golden, tmp_path_factory):
    path = save(tmp_path_factory.mktemp("golden"), {"model": state_of(golden)})
    return models.load("m2d", BLOCK, path)


def state_of(golden: dict[str, np.ndarray], norm_stats: bool = False) -> dict[str, torch.Tensor]:
    state = {k[3:]: torch.from_numpy(v) for k, v in golden.items() if k.startswith("sd/")}
    return state if norm_stats else {k: v for k, v in state.items() if k != "norm_stats"}


def save(folder: Path, content: object, name: Path = RELEASED) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def waves(golden: dict[str, np.ndarray], group: str) -> torch.Tensor:
    return torch.from_numpy(golden[f"{group}/wave"].astype(np.float32) / 32768)


def hidden_layers(model, wave: torch.Tensor) -> list[list[torch.Tensor]]:
    """Input of every down-projection (B, tokens, width), per layer and chunk."""
    seen: list[list[torch.Tensor]] = [[] for _ in model.down_projections()]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0].detach()))
        for layer, kept in zip(model.down_projections(), seen, strict=True)
    ]
    try:
        with torch.inference_mode():
            model(wave)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def counts(layers: list[list[torch.Tensor]], skipped: int) -> np.ndarray:
    """Active tokens (B, layers, width), over all chunks."""
    return torch.stack([sum((c[:, skipped:] > 0).sum(1) for c in chunks) for chunks in layers], 1).numpy()


# Agreement with M2D's own runtime


@pytest.mark.parametrize("group", GROUPS)
def test_log_mel_is_m2ds(golden, golden_model, group):
    log_mel = golden_model.front_end(waves(golden, group))
    np.testing.assert_allclose(log_mel.numpy(), golden[f"{group}/lms"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("group", GROUPS)
def test_features_are_m2ds(golden, golden_model, group):
    with torch.inference_mode():
        features = golden_model(waves(golden, group))
    np.testing.assert_allclose(features.numpy(), golden[f"{group}/feat"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("group", GROUPS)
def test_active_tokens_are_m2ds(golden, golden_model, group):
    layers = hidden_layers(golden_model, waves(golden, group))
    slack = golden[f"{group}/near_zero"]
    patches = counts(layers, skipped=golden_model.special_tokens)
    assert (np.abs(patches - golden[f"{group}/over_zero"]) <= slack).all()
    # The stored slack does not cover CLS: one token per chunk may differ.
    cls = counts(layers, skipped=0) - golden[f"{group}/over_zero_cls"]
    assert (np.abs(cls) <= slack).mean() > 0.9999
    assert np.abs(cls).max() <= slack.max() + 1
    tokens = sum(chunk.shape[1] - golden_model.special_tokens for chunk in layers[0])
    assert tokens == golden[f"{group}/n_patch"]
    assert [chunk.shape[1] for chunk in layers[0]] == golden[f"{group}/chunk_tokens"].tolist()


def test_hidden_layer_is_m2ds_after_its_activation_function(golden, golden_model):
    layers = hidden_layers(golden_model, waves(golden, "c0")[:1])
    ours = torch.stack([chunks[0][0] for chunks in layers]).numpy()
    np.testing.assert_allclose(ours, golden["c0/act"], rtol=0, atol=1e-4)


# Checkpoints


@pytest.mark.parametrize("form", ["bare", "norm_stats", "training", "safetensors"])
def test_every_form_of_checkpoint_gives_the_same_model(golden, golden_model, tmp_path, form):
    state = state_of(golden, norm_stats=form != "bare")
    if form == "safetensors":
        path = tmp_path / RELEASED.with_suffix(".safetensors")
        write_checkpoint(path, state, {"source": "a test"})
    elif form == "training":
        extra = {
            "mask_token": torch.zeros(1, 1, 64),
            "decoder_embed.weight": torch.zeros(64, 96),
            "target_blocks.0.norm1.weight": torch.ones(96),
            "head.weight": torch.zeros(5, 96),
        }
        arguments = argparse.Namespace(lr=1e-4, model="m2d_vit_base", input_size=[80, 608])
        path = save(tmp_path, {"model": {**state, **extra}, "args": arguments, "epoch": 300})
    else:
        path = save(tmp_path, state if form == "bare" else {"model": state})
    model = models.load("m2d", BLOCK, path)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    ours, theirs = model.state_dict(), golden_model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def tiny_checkpoint(folder: Path, change=lambda state: state) -> Path:
    state = models.load("tiny", BLOCK, None).vit.state_dict()
    return save(folder, change(dict(state)), Path("tiny", "weights.pth"))


class Intruder:
    """Creates the file that it names when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_checkpoint_that_runs_code_is_refused_and_not_run(tmp_path):
    footprint = tmp_path / "was-here"
    path = save(tmp_path, {"model": {}, "args": Intruder(footprint)})
    with pytest.raises(ModelError, match="run code"):
        models.load("m2d", BLOCK, path)
    assert not footprint.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_checkpoint(tmp_path, suffix):
    whole = tiny_checkpoint(tmp_path)
    if suffix == ".safetensors":
        state = read_checkpoint(whole)
        write_checkpoint(whole := whole.with_suffix(suffix), state, {})
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="not a readable"):
        models.load("m2d", BLOCK, path)


def test_absent_checkpoint(tmp_path):
    with pytest.raises(ModelError, match=r"models\.m2d: no checkpoint at"):
        models.load("m2d", BLOCK, tmp_path / "nothing.pth")


# timm's ports of AudioMAE

AUDIOMAE = {
    "adapter": "vit", "front_end": "fbank", "input_size": [32, 64],
    "embed_dim": 24, "depth": 2, "num_heads": 2,
}  # fmt: skip


def ported(folder: Path, **changes) -> tuple[VisionTransformer, Path]:
    """A Vision Transformer built by timm, over images (frames, bands), and a file of its weights."""
    torch.manual_seed(4)
    sizes = {
        "img_size": (64, 32),
        "patch_size": 16,
        "in_chans": 1,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 2,
    }
    vit = VisionTransformer(**sizes, **{"num_classes": 5, **changes}).eval().requires_grad_(False)
    for name, parameter in vit.named_parameters():
        if "norm" in name:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit, save(folder, vit.state_dict(), Path("audiomae.pth"))


@pytest.mark.parametrize(
    ("timms", "own"),
    [
        ({}, {}),
        ({"global_pool": "avg"}, {}),  # the last norm has another name, and is for pooled features
        ({"global_pool": "avg", "fc_norm": False, "class_token": False}, {"special_tokens": 0}),
    ],
)
def test_audiomae_is_timms(tmp_path, timms, own):
    vit, path = ported(tmp_path, **timms)
    model = models.load("audiomae", {**AUDIOMAE, **own}, path)
    image = torch.randn(3, 1, 64, 32)
    theirs = vit.forward_features(image)[:, vit.num_prefix_tokens :]
    ours = model.encode(image)  # 4 columns of 2 patches
    torch.testing.assert_close(ours, theirs.reshape(3, 4, 48))
    assert (model.special_tokens, model.depth, model.width) == (vit.num_prefix_tokens, 2, 96)
    with torch.inference_mode(), Recorder(model) as recorder:
        recorder.begin(torch.zeros(3, 63 * 160 + 400))
        model.encode(image)
        assert recorder.end().tokens == 8 == len(model.token_seconds(63 * 160 + 400))


def test_audiomae_hears_kaldis_filterbank(tmp_path):
    wave = 0.1 * torch.randn(2, 9_000)
    ours = models.load("audiomae", {**AUDIOMAE, "weights": {"seed": 0}}, None).front_end(wave)
    theirs = [kaldi.fbank(w[None], window_type="hanning", num_mel_bins=32, htk_compat=True) for w in wave]
    expected = (torch.stack(theirs) - -4.2677393) / (2 * 4.5689974)
    torch.testing.assert_close(ours[:, 0], expected, rtol=0, atol=1e-5)
    with pytest.raises(ModelError, match="clips of 399 samples are shorter"):
        models.load("audiomae", {**AUDIOMAE, "weights": {"seed": 0}}, None)(wave[:, :399])


@pytest.mark.parametrize("frames", [10, 64, 150])
def test_tokens_of_audiomae_are_time_major(frames):
    model = models.load("audiomae", {**AUDIOMAE, "weights": {"seed": 0}}, None)
    wave = torch.randn(1, (frames - 1) * 160 + 400)
    columns = -(-frames // 16)
    expected = np.repeat(0.16 * np.arange(columns), 2)
    np.testing.assert_allclose(model.token_seconds(wave.shape[1]), expected, rtol=0, atol=1e-6)
    assert sum(c.shape[1] - 1 for c in hidden_layers(model, wave)[0]) == 2 * columns
    features = model.front_end(wave)
    silence = torch.full((1, 1, -frames % 16, 32), 4.2677393 / (2 * 4.5689974))
    with torch.inference_mode():
        chunks = torch.cat([features, silence], dim=2).split(64, dim=2)
        torch.testing.assert_close(model(wave), torch.cat([model.encode(c) for c in chunks], 1))


def test_checkpoints_of_the_two_front_ends_are_told_apart(tmp_path):
    _, path = ported(tmp_path)
    positions = r"positions is 16 by input_size \[32, 128\] .*, but 8 by the length of pos_embed"
    with pytest.raises(ModelError, match=positions):
        models.load("m", {**AUDIOMAE, "input_size": [32, 128]}, path)
    with pytest.raises(ModelError, match="special_tokens is 0 by the configuration, but 1 by the shapes"):
        models.load("m", {**AUDIOMAE, "special_tokens": 0}, path)


# Feed-forward networks


class Foreign(Encoder):
    """An encoder that does not declare its feed-forward networks unless given ``ffn``."""

    front_end = encode = token_seconds = None

    def __init__(self, names: dict[str, tuple[int, int]], ffn=None):
        super().__init__()
        self.ffn = ffn
        for name, sizes in names.items():
            *parents, last = name.split(".")
            module = self
            for parent in parents:
                if parent not in module._modules:
                    module.add_module(parent, torch.nn.Module())
                module = module.get_submodule(parent)
            module.add_module(last, torch.nn.Linear(*sizes))


BERT = {
    f"layer.{i}.{name}": sizes
    for i in range(2)
    for name, sizes in (
        ("attention.output.dense", (8, 8)), ("intermediate.dense", (8, 32)), ("output.dense", (32, 8)),
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (BERT, ["layer.0.output.dense", "layer.1.output.dense"]),
        ({"blocks.0.mlp.fc1": (8, 32), "blocks.0.mlp.fc2": (32, 8)}, ["blocks.0.mlp.fc2"]),
        ({"layers.0.fc1": (8, 32), "layers.0.fc2": (32, 8)}, ["layers.0.fc2"]),
        ({"fc2": (32, 8)}, ["fc2"]),
        ({"layers.0.feed_forward.output_dense": (32, 8)}, ["layers.0.feed_forward.output_dense"]),
        ({"a.fc2": (32, 8), "gate.fc2": (8, 32), "notfc2": (32, 8)}, ["a.fc2"]),
        ({"a.fc2": (32, 8), "b.fc2": (16, 4)}, ["a.fc2", "b.fc2"]),
        ({f"0.ffn{i}.output_dense": (32, 8) for i in (1, 2)}, ["0.ffn1.output_dense", "0.ffn2.output_dense"]),
    ],
)
def test_feed_forward_networks_are_found_by_name_and_shape(names, found):
    encoder = Foreign(names)
    assert encoder.down_projections() == [encoder.get_submodule(name) for name in found]


@pytest.mark.parametrize(
    ("names", "ffn", "message"),
    [
        ({}, None, r"looked for linear layers named \*\.fc2, .*; there are none"),
        ({f"l{i}.out": (8, 8) for i in range(9)}, (9, 8), r"there are l0\.out, .*l7\.out, \.\.\.$"),
        ({"a.fc2": (8, 32)}, None, "no feed-forward network found"),
        ({"a.fc2": (32, 8), "b.fc2": (16, 8)}, (2, 32), "2 feed-forward networks of 16 and 32 neurons found"),
        (BERT, (3, 32), "2 feed-forward networks of 32 neurons found, .* says 3 of 32"),
        (BERT, (2, 64), "2 feed-forward networks of 32 neurons found, .* says 2 of 64"),
    ],
)
def test_networks_that_are_not_found_or_not_as_told(names, ffn, message, monkeypatch):
    with pytest.raises(ModelError, match=message):
        Foreign(names, ffn).down_projections()
    monkeypatch.setattr(vit, "build", lambda block, weights: Foreign(names, ffn))
    with pytest.raises(ModelError, match=r"^models\.m: .*feed-forward network"):
        models.load("m", {"adapter": "vit"}, None)


def test_an_adapter_that_gives_no_encoder_of_clips_is_named(monkeypatch):
    block = {"adapter": "vit"}
    monkeypatch.setattr(vit, "build", lambda block, weights: None)
    with pytest.raises(ModelError, match=r"^models\.m: build of .*vit\.py returned None, not an Encoder"):
        models.load("m", block, None)
    other = Foreign({"a.fc2": (32, 8)}, None)
    other.sample_rate = 32_000
    monkeypatch.setattr(vit, "build", lambda block, weights: other)
    with pytest.raises(
        ModelError, match=r"hears 32000 Hz, but its clips have 16000 Hz; set sample_rate: 32000"
    ):
        models.load("m", block, None)
    with pytest.raises(ModelError, match=r"^models\.m: adapter none cannot be imported: No module named"):
        models.load("m", {"adapter": "none"}, None)


# The interface


@pytest.mark.parametrize("seconds", [0.2, 1.0, 6.07, 6.08, 8.2])
def test_token_seconds_are_one_per_patch_frequency_major(seconds):
    model = models.load("random", BLOCK, None)
    wave = torch.zeros(1, round(seconds * 16_000))
    starts = model.token_seconds(wave.shape[1])
    chunks = [c.shape[1] - model.special_tokens for c in hidden_layers(model, wave)[0]]
    assert len(starts) == sum(chunks)
    for number, chunk in enumerate(starts.split(chunks)):
        rows = chunk.reshape(5, -1)  # 80 mel bands in rows of 16
        assert torch.equal(rows, rows[:1].expand_as(rows))
        expected = number * 6.08 + 0.16 * np.arange(rows.shape[1])
        np.testing.assert_allclose(rows[0], expected, rtol=0, atol=1e-5)


def test_token_seconds_point_at_the_sound(golden, golden_model):
    """Silencing the sound from 0.5 s on changes the input features from there on only."""
    wave = waves(golden, "c0")[:1].clone()
    before = golden_model.embed(golden_model.front_end(wave)[..., :96])
    wave[:, 8_000:] = 0
    after = golden_model.embed(golden_model.front_end(wave)[..., :96])
    moved = (before - after).abs().amax(dim=(0, 2)) > 1e-3
    starts = golden_model.token_seconds(96 * 160 - 1)
    # Windows reach 12.5 ms beyond their frame, and a patch is 0.16 s long.
    assert not moved[starts + 0.16 < 0.5 - 0.0125].any()
    assert moved[starts > 0.5].all()


def test_random_weights_follow_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = models.load("random", BLOCK, None).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = models.load("random", BLOCK, None).state_dict()
    other = models.load("random", {**BLOCK, "weights": {"seed": 4}}, None).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["vit.blocks.0.mlp.fc1.weight"], other["vit.blocks.0.mlp.fc1.weight"])


def test_full_size_has_the_papers_neurons():
    model = models.load("full", {"adapter": "vit", "weights": {"seed": 0}}, None)
    assert (model.depth, model.width) == (12, 3072)
    assert model.depth * model.width == 36_864


def test_long_clips_are_chunks_joined_in_time(golden, golden_model):
    features = golden_model.front_end(waves(golden, "c3"))
    with torch.inference_mode():
        whole = golden_model.encode(features)
        parts = [golden_model.encode(features[..., :608]), golden_model.encode(features[..., 608:])]
    torch.testing.assert_close(whole, torch.cat(parts, dim=1))


def test_importing_the_package_leaves_torch_alone():
    code = "import sys, audio_neurons.models; print('torch' in sys.modules, 'timm' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
