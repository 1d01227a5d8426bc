"""Encoders with a fixed input length, at the clip's own length (``context: clip``) or padded (``full``)."""

from __future__ import annotations

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="adapter huggingface needs transformers")

from test_huggingface import AST, CONFIGS, WHISPER, load, noise, record  # noqa: E402

from audio_neurons import models  # noqa: E402
from audio_neurons.models import ModelError  # noqa: E402
from audio_neurons.models.fbank import frames  # noqa: E402
from audio_neurons.settings.models import CONTEXTS  # noqa: E402

KINDS = (AST, WHISPER)
OWN_LENGTH = {AST: 1023 * 160 + 400, WHISPER: 480_000}


def clip(kind: str, **changes):
    encoder = load(kind, context="clip", **changes)
    torch.manual_seed(3)
    if kind == AST:  # the library's positions are zeros
        torch.nn.init.normal_(encoder.positions)
        encoder.model.embeddings.position_embeddings = torch.nn.Parameter(encoder.positions.clone())
    return encoder


def test_the_default_is_that_of_the_authors_and_of_evar():
    """EVAR builds AST for the clip's length (ar_ast.py), and lets Whisper's processor pad (ar_whisper.py)."""
    assert {kind: CONTEXTS[kind] for kind in KINDS} == {AST: "clip", WHISPER: "full"}
    for kind, context in [(kind, CONTEXTS[kind]) for kind in KINDS]:
        block = {"adapter": "huggingface", "model_type": kind, "config": CONFIGS[kind]}
        assert models.load("m", {**block, "weights": {"seed": 0}}, None).context == context


@pytest.mark.parametrize("samples", [2_800, 16_000, 32_000, 150_000, OWN_LENGTH[AST], 300_000])
def test_ast_is_that_of_its_authors_built_for_the_clip(samples):
    """ast_models.py: patches without padding; of 101 columns t about the middle, from 50 - int(t / 2), or
    all of them interpolated to t."""
    encoder, wave = clip(AST), noise(2, samples)
    length = frames(samples)
    columns = (length - 16) // 10 + 1
    grid = encoder.positions[:, 2:].reshape(1, 1212, 24).transpose(1, 2).reshape(1, 24, 12, 101)
    if columns < 101:
        grid = grid[:, :, :, 50 - int(columns / 2) : 50 - int(columns / 2) + columns]
    else:
        grid = torch.nn.functional.interpolate(grid, size=(12, columns), mode="bilinear")
    config = transformers.ASTConfig(**{**encoder.model.config.to_dict(), "max_length": length})
    theirs = transformers.ASTModel(config).eval()
    state = dict(encoder.model.state_dict())
    positions = grid.reshape(1, 24, 12 * columns).transpose(1, 2)
    state["embeddings.position_embeddings"] = torch.cat([encoder.positions[:, :2], positions], dim=1)
    theirs.load_state_dict(state)
    with torch.inference_mode():
        expected = theirs(encoder.front_end(wave)).last_hidden_state[:, 2:]
        found = encoder(wave)
    expected = expected.unflatten(1, (12, columns)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("samples", [320, 9_999, 48_000, 480_000])
def test_whisper_is_that_of_a_model_with_the_first_positions(samples):
    encoder, wave = clip(WHISPER), noise(2, samples)
    tokens = -(-samples // 320)
    values = {**encoder.model.config.to_dict(), "max_source_positions": tokens}
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(transformers.WhisperConfig(**values))
    state = dict(encoder.model.state_dict())
    theirs.load_state_dict({**state, "embed_positions.weight": encoder.positions[:tokens]})
    mel = load(WHISPER).front_end(wave)[..., : 2 * tokens]  # that of 30 s, cropped
    with torch.inference_mode():
        torch.testing.assert_close(encoder.front_end(wave), mel, rtol=0, atol=1e-6)
        torch.testing.assert_close(encoder(wave), theirs.eval()(mel).last_hidden_state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_of_the_encoders_own_length_is_the_same_in_both(kind):
    wave = noise(1, OWN_LENGTH[kind])
    full, own = load(kind, context="full"), load(kind, context="clip")
    with torch.inference_mode():
        torch.testing.assert_close(own(wave), full(wave))
    assert torch.equal(record(own, wave).active, record(full, wave).active)


@pytest.mark.parametrize("samples", [16_001, 100_000, 170_000, 500_000])
@pytest.mark.parametrize("kind", KINDS)
def test_every_token_counts_and_has_a_time(kind, samples):
    encoder, wave = clip(kind), noise(1, samples)
    batch = record(encoder, wave)
    seconds = encoder.token_seconds(samples)
    assert batch.tokens == len(seconds)
    assert seconds.max() < samples / 16_000
    with torch.inference_mode():
        features = encoder(wave)
    assert features.shape[1] == sum(encoder.columns(samples)) == len(seconds) // encoder.grid[0]
    assert record(encoder, wave, "all").tokens == batch.tokens + encoder.special_tokens


@pytest.mark.parametrize("kind", KINDS)
def test_clips_of_several_lengths_do_not_disturb_each_other(kind):
    encoder, waves = clip(kind), [noise(1, samples) for samples in (50_000, 500_000, 16_000, 50_000)]
    with torch.inference_mode():
        first, *_, last = [encoder(wave) for wave in waves]
    assert torch.equal(first, last)


@pytest.mark.parametrize("kind", KINDS)
def test_the_context_changes_what_neurons_hear(kind):
    wave = noise(1, 32_000)
    with torch.inference_mode():
        full, own = load(kind, context="full")(wave), load(kind, context="clip")(wave)
    columns = min(full.shape[1], own.shape[1])
    assert not torch.allclose(full[:, :columns], own[:, :columns], atol=1e-3)


def test_clips_shorter_than_a_patch_are_an_error():
    with pytest.raises(ModelError, match=r"clips of 2000 samples are shorter than a patch \(16 frames\)"):
        clip(AST)(noise(1, 2_000))


def test_encoders_of_any_length_have_no_context():
    with pytest.raises(ModelError, match=r"^models\.mine: model_type hubert has no context"):
        load("hubert", context="clip")
