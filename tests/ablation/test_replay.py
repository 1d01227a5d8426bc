"""Conditions share what lies below them in every encoder, and give the bits of passes of their own."""

import pytest
import torch
from torch import nn

pytest.importorskip("transformers", reason="adapter huggingface needs transformers")
from tiny_models import save
from torch.utils.flop_counter import FlopCounterMode

from audio_neurons import models
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.intervention import Donors, Intervention, Means, run_changes
from audio_neurons.ablation.replay import Replay
from audio_neurons.models.encoder import Encoder

KINDS = [
    "audio-spectrogram-transformer", "clap", "data2vec-audio", "hubert", "moonshine",
    "qwen2_audio_encoder", "sew", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-bert",
    "wav2vec2-conformer", "wavlm", "whisper",
]  # fmt: skip
VIT = {
    "adapter": "vit",
    "weights": {"source": "random", "seed": 0},
    "embed_dim": 24,
    "num_heads": 2,
    "depth": 3,
}


@pytest.fixture(scope="module", params=["vit", *KINDS])
def encoder(request, tmp_path_factory):
    if request.param == "vit":
        return models.load("vit", {**VIT, "input_size": [80, 64]}, None)
    folder = tmp_path_factory.mktemp(request.param)
    save(folder, request.param)
    weights = {"source": "folder", "path": str(folder)}
    return models.load("mine", {"adapter": "huggingface", "weights": weights}, folder / "config.json")


@pytest.fixture(scope="module")
def wave():
    return 0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0))


def changes(depth):
    last = depth - 1
    return [
        Change(frozenset({(last, 1), (last, 3)})),
        Change(frozenset({(0, 2), (last, 1)}), 2.0, "mean"),
        Change(frozenset({(0, 2)}), 1.0),
        Change(frozenset({(layer, layer) for layer in range(depth)}), 0.0, "mean"),
        Change(frozenset({(last, 5)}), 0.0, "resample"),
        Change(frozenset({(0, 7)}), 0.5),
        Change(frozenset({(depth // 2, 7)})),
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_encoder_gives_the_bits_of_passes_of_its_own(encoder, wave, precision, monkeypatch):
    monkeypatch.setattr(type(encoder), "stepwise", False)
    given = changes(encoder.depth)
    encoder.bfloat16 = precision == "bf16"
    try:
        means = Means(encoder)
        means.add(wave, len(wave))
        donors = Donors(encoder, frozenset().union(*(c.neurons for c in given)))
        donors.load(wave.flip(0))
        values = {"zero": None, "mean": means.values(), "resample": donors}
        found = dict(run_changes(encoder, wave, given, values))
        with torch.inference_mode():
            assert torch.equal(found[-1], encoder(wave))
            for number, change in enumerate(given):
                with Intervention(encoder, change, values[change.replacement]):
                    assert torch.equal(found[number], encoder(wave)), change
                assert torch.equal(found[number], found[-1]) == (change.gain == 1), change
    finally:
        encoder.bfloat16 = False
    assert not any("forward" in module.__dict__ for module in encoder.modules())


def operations(encoder, wave, changes, monkeypatch):
    monkeypatch.setattr(type(encoder), "stepwise", False)
    with FlopCounterMode(display=False) as counted:
        list(run_changes(encoder, wave, changes, {"zero": None}))
    return counted.get_total_flops()


def test_a_condition_costs_its_down_projection_and_what_follows_alone(encoder, wave, monkeypatch):
    """Of SEW a product follows the last one. The first condition of a block stores its parts."""
    last, rows = encoder.depth - 1, []
    with torch.inference_mode(), encoder.listening(lambda layer, h: rows.append((layer, h.numel()))):
        encoder(wave)
    width = encoder.down_projections()[last].out_features
    own = sum(2 * number for layer, number in rows if layer == last) * width
    if (upsample := getattr(getattr(encoder, "model", None), "encoder", None)) and hasattr(
        upsample, "upsample"
    ):
        tokens = sum(number for layer, number in rows if layer == last) // encoder.widths[last]
        own += 2 * tokens * upsample.upsample.projection.weight.numel()
    one, four, nine = (
        operations(encoder, wave, [Change(frozenset({(last, unit)})) for unit in range(n)], monkeypatch)
        for n in (1, 4, 9)
    )
    assert nine - four == 5 * own
    assert four - one == 3 * own


class Careless(Encoder):
    """Modifies what a block gave, in place, between its blocks."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(
            [nn.ModuleDict({"fc1": nn.Linear(4, 8), "fc2": nn.Linear(8, 4)}) for _ in range(3)]
        )
        for block in self.blocks:
            block.forward = lambda x, block=block: x + block["fc2"](block["fc1"](x).relu())
        self.eval().requires_grad_(False)

    def front_end(self, wave):
        return wave.unflatten(1, (-1, 4))

    def encode(self, features):
        for block in self.blocks:
            features = block(features)
            features *= 0.5
        return features

    def token_seconds(self, samples):
        return torch.arange(samples // 4) / 4000


def test_what_was_modified_in_place_is_computed_anew(wave):
    encoder = Careless()
    own = [block.forward for block in encoder.blocks]
    given = [Change(frozenset({(layer, unit)})) for layer in range(3) for unit in (0, 1)]
    found = dict(run_changes(encoder, wave, given, {"zero": None}))
    for number, change in enumerate(given):
        with Intervention(encoder, change), torch.no_grad():
            assert torch.equal(found[number], encoder(wave))
    assert [block.forward for block in encoder.blocks] == own


def test_a_block_is_the_innermost_module_of_a_list():
    replay = Replay(models.load("vit", {**VIT, "input_size": [80, 64]}, None))
    assert [replay.block(layer) for layer in range(3)] == [f"vit.blocks.{n}" for n in range(3)]
