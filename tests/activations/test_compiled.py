"""Counting in compiled encoders: one graph of the whole encoder, and the numbers of plain ones."""

import pytest
import torch
from common import TINY
from torch._dynamo.testing import CompileCounterWithBackend

from audio_neurons import models
from audio_neurons.activations.recorder import Recorder, TopClips
from audio_neurons.models.encoder import numerics

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
SEEN = {"d_model": 24, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 40}
CONFIGS = {
    "audio-spectrogram-transformer": SIZES,
    "hubert": {
        **SIZES,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    },
    "whisper": {**SEEN, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16},
}


def load(kind):
    if kind == "vit":
        return models.load("tiny", TINY, None)
    pytest.importorskip("transformers", reason="adapter huggingface needs transformers")
    weights = {"source": "random", "seed": 1}
    block = {"adapter": "huggingface", "model_type": kind, "config": CONFIGS[kind], "weights": weights}
    return models.load("tiny", block, None)


def recorded(encoder, precision, compiled, ends=None):
    """Features, batches and strongest clips of two batches."""
    top = TopClips(encoder.depth, encoder.width, 2, "cpu", encoder.present)
    wave = 0.1 * torch.randn(2, 2, 24_000, generator=torch.Generator().manual_seed(0))
    features, batches = [], []
    with (
        torch.inference_mode(),
        Recorder(encoder, "patch", 0.01, top.floor, compiled=compiled) as recorder,
        numerics(encoder, precision, compiled),
    ):
        for number, some in enumerate(wave):
            recorder.begin(some, ends)
            features.append(encoder(some))
            batches.append(recorder.end())
            top.update(batches[-1], torch.arange(2) + 2 * number)
    return features, batches, top


@pytest.fixture
def graphs(monkeypatch):
    """Graphs that are compiled, whose operations are PyTorch's own, so that bits are the same."""
    torch._dynamo.reset()
    counter, real = CompileCounterWithBackend("aot_eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend=counter))
    yield counter
    torch._dynamo.reset()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["vit", *CONFIGS])
def test_a_compiled_encoder_is_one_graph_with_the_same_numbers(graphs, kind, precision):
    encoder = load(kind)
    ends = torch.tensor([24_000, 9_000])
    expected, counts, strongest = recorded(encoder, precision, False, ends)
    found, mine, top = recorded(encoder, precision, True, ends)
    assert graphs.frame_count == 1
    for one, other in zip(mine, counts, strict=True):
        assert one.tokens == other.tokens
        assert torch.equal(one.active, other.active)
        assert torch.equal(one.peak, other.peak)
        assert one.active.sum() > 0
    assert all(map(torch.equal, found, expected))
    for name in ("activation", "clip", "token", "active"):
        assert torch.equal(getattr(top, name), getattr(strongest, name))


def test_another_recorder_of_a_compiled_encoder_counts_its_own(graphs):
    encoder = load("vit")
    _, first, _ = recorded(encoder, "fp32", True)
    _, second, _ = recorded(encoder, "fp32", True, torch.tensor([24_000, 1_000]))
    _, plain, _ = recorded(encoder, "fp32", False, torch.tensor([24_000, 1_000]))
    assert torch.equal(second[0].active, plain[0].active)
    assert not torch.equal(first[0].active, plain[0].active)
