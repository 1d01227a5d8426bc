import numpy as np
import pytest
import torch
from common import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_neurons import models
from audio_neurons.activations.recorder import Batch, Recorder, TopClips

SKIP = {"patch": 1, "all": 0}


def noise(clips: int, seconds: float, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(clips, round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


def record(encoder, wave, tokens="patch", threshold=0.0, floor=None):
    with torch.inference_mode(), Recorder(encoder, tokens, threshold, floor) as recorder:
        recorder.begin(wave)
        encoder(wave)
        return recorder.end()


def joined(seen, skip):
    """Hidden layers (L, B, tokens, W) without the first ``skip`` tokens of every chunk."""
    return torch.stack([torch.cat([c[:, skip:] for c in chunks], 1) for chunks in seen])


@pytest.mark.parametrize("tokens", ["patch", "all"])
@pytest.mark.parametrize("seconds", [0.3, 0.63, 1.5])
@pytest.mark.parametrize("threshold", [0.0, 0.03, -0.01])
def test_counts_are_those_of_the_activations_themselves(encoder, hidden, tokens, seconds, threshold):
    wave = noise(3, seconds)
    layers = joined(hidden(encoder, wave), SKIP[tokens])
    batch = record(encoder, wave, tokens, threshold)
    assert batch.tokens == layers.shape[2]
    assert torch.equal(batch.active, (layers > threshold).sum(2, dtype=torch.int32).transpose(0, 1))
    assert 0 < batch.active.sum() < batch.active.numel() * batch.tokens


def test_absolute_activity_counts_what_is_far_from_0_on_either_side(encoder, hidden):
    wave = noise(3, 0.63)
    layers = joined(hidden(encoder, wave), 1)
    with torch.inference_mode(), Recorder(encoder, threshold=0.01, absolute=True) as recorder:
        recorder.begin(wave)
        encoder(wave)
        batch = recorder.end()
    assert torch.equal(batch.active, (layers.abs() > 0.01).sum(2, dtype=torch.int32).transpose(0, 1))
    assert (batch.active > (layers > 0.01).sum(2).transpose(0, 1)).any()


@pytest.mark.parametrize("tokens", ["patch", "all"])
@pytest.mark.parametrize("absolute", [False, True])
def test_tokens_after_a_recording_neither_count_nor_peak(encoder, hidden, tokens, absolute):
    """Recordings of whole chunks, of a part of one, of a single sample, and of the whole window."""
    wave = noise(5, 1.5)
    ends = torch.tensor([24_000, 10_240, 5_000, 1, 23_999])
    heard = encoder.heard(24_000, ends)
    with (
        torch.inference_mode(),
        Recorder(encoder, tokens, 0.01, torch.full((2, 64), -torch.inf), absolute) as recorder,
    ):
        recorder.begin(wave, ends)
        encoder(wave)
        batch = recorder.end()
    chunks = heard.split([20, 20, 10], dim=1)  # 151 frames: 4, 4 and 2 columns of 5 patches
    if tokens == "all":  # special tokens hear the whole window, and always count
        chunks = [torch.nn.functional.pad(chunk, (1, 0), value=True) for chunk in chunks]
    heard = torch.cat(list(chunks), 1)
    layers = joined(hidden(encoder, wave), SKIP[tokens]).transpose(0, 1)  # (B, L, tokens, W)
    level = layers.abs() if absolute else layers
    active = (level > 0.01) & heard[:, None, :, None]
    assert torch.equal(batch.active, active.sum(2, dtype=torch.int32))
    peak, token = layers.masked_fill(~heard[:, None, :, None], -torch.inf).max(2)
    assert torch.equal(batch.peak, peak)
    assert torch.equal(batch.peak_token, token)
    assert batch.tokens == heard.shape[1]


def test_longer_input_than_the_models_is_counted_in_all_its_chunks(encoder, hidden):
    seen = hidden(encoder, noise(1, 1.5))
    assert [len(chunks) for chunks in seen] == [3, 3]
    assert record(encoder, noise(1, 1.5)).tokens == 50  # 151 frames: 4, 4 and 2 columns of 5 patches
    assert record(encoder, noise(1, 1.5), "all").tokens == 53


@pytest.mark.parametrize("tokens", ["patch", "all"])
def test_tokens_that_an_encoder_leaves_out_are_not_counted(encoder, hidden, monkeypatch, tokens):
    """Counted tokens of successive runs of the layers, as an index or as a slice."""
    asked = []

    def counted(samples, run, special):
        asked.append((samples, run, special))
        return [torch.tensor([0, 3, 7, 20]), slice(2, 5), torch.tensor([6, 1])][run]

    monkeypatch.setattr(encoder, "counted", counted)
    wave = noise(3, 1.5)
    layers = torch.stack(
        [torch.cat([a[:, [0, 3, 7, 20]], b[:, 2:5], c[:, [6, 1]]], 1) for a, b, c in hidden(encoder, wave)], 1
    )
    batch = record(encoder, wave, tokens, floor=torch.full((2, 64), -torch.inf))
    assert batch.tokens == 9
    assert torch.equal(batch.active, (layers > 0).sum(2, dtype=torch.int32))
    assert torch.equal(batch.peak, layers.amax(2))
    assert torch.equal(batch.peak_token, layers.argmax(2))
    assert asked == [(24_000, run, tokens == "all") for run in range(3) for _ in range(2)]  # layers


def test_more_tokens_than_a_byte_can_count(hidden):
    encoder = models.load("long", {**TINY, "input_size": [80, 1024]}, None)
    bias = encoder.vit.blocks[1].mlp.fc1.bias
    bias[7], bias[9] = 100.0, -100.0
    wave = noise(2, 9.6)
    batch = record(encoder, wave, floor=torch.full((2, 64), -torch.inf))
    assert batch.tokens == 305
    assert batch.active[:, 1, 7].tolist() == [305, 305]
    assert batch.active[:, 1, 9].tolist() == [0, 0]
    layers = joined(hidden(encoder, wave), 1)
    assert torch.equal(batch.active, (layers > 0).sum(2, dtype=torch.int32).transpose(0, 1))
    assert ((batch.active > 255) & (batch.active < 305)).any()


@pytest.mark.parametrize("tokens", ["patch", "all"])
@pytest.mark.parametrize("seconds", [0.63, 1.9])
def test_peaks_and_where_they_are(encoder, hidden, tokens, seconds):
    wave = noise(4, seconds)
    layers = joined(hidden(encoder, wave), SKIP[tokens])
    batch = record(encoder, wave, tokens, floor=torch.full((2, 64), -torch.inf))
    assert torch.equal(batch.peak, layers.amax(2).transpose(0, 1))
    assert torch.equal(batch.peak_token, layers.argmax(2).transpose(0, 1))


def test_the_first_of_equal_peaks_counts(encoder):
    for block in encoder.vit.blocks:
        block.mlp.fc1.weight.zero_()  # so all tokens of a neuron have the same activation
    batch = record(encoder, noise(2, 1.9), floor=torch.full((2, 64), -torch.inf))
    assert not batch.peak_token.any()


def test_a_peak_as_high_as_the_floor_is_placed(encoder, hidden):
    """The order of clip names may still put it among the strongest."""
    wave = noise(1, 1.3)
    layers = joined(hidden(encoder, wave), 1)
    batch = record(encoder, wave, floor=layers.amax(2)[:, 0])
    assert torch.equal(batch.peak_token, layers.argmax(2).transpose(0, 1))


def test_nothing_is_left_in_the_encoder(encoder):
    wave = noise(2, 0.63)
    with torch.inference_mode():
        before = encoder(wave)
    recorder = Recorder(encoder)
    with recorder:
        assert [len(layer._forward_pre_hooks) for layer in encoder.down_projections()] == [1, 1]
    assert not any(layer._forward_pre_hooks for layer in encoder.down_projections())
    with pytest.raises(RuntimeError), recorder:
        encoder(torch.zeros(2, 3, 4, 5))
    assert not any(layer._forward_pre_hooks for layer in encoder.down_projections())
    with torch.inference_mode():
        assert torch.equal(encoder(wave), before)


def test_recording_does_not_change_the_features(encoder):
    wave = noise(2, 0.63)
    with torch.inference_mode():
        before = encoder(wave)
        with Recorder(encoder) as recorder:
            recorder.begin(wave)
            assert torch.equal(encoder(wave), before)


def test_batches_do_not_add_up(encoder):
    wave = noise(2, 0.63)
    with torch.inference_mode(), Recorder(encoder) as recorder:
        for _ in range(2):
            recorder.begin(wave)
            encoder(wave)
            batch = recorder.end()
    assert torch.equal(batch.active, record(encoder, wave).active)
    assert batch.tokens == 20


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 7), st.integers(1, 8), st.integers(1, 30),
    st.booleans(),
)  # fmt: skip
def test_strongest_clips_are_those_of_sorting_everything(seed, clips, k, size, levels, shuffled):
    """For any number of clips, in any order and any batches, with ties."""
    rng = np.random.default_rng(seed)
    shape = (clips, 2, 3)
    peak = rng.integers(-levels, levels, shape).astype(np.float32)
    token, active = rng.integers(0, 90, shape), rng.integers(0, 90, shape).astype(np.int32)
    top = TopClips(2, 3, k)
    order = rng.permutation(clips) if shuffled else np.arange(clips)
    for part in np.split(order, range(size, clips, size)):
        rows = np.pad(part, (0, size - len(part)))  # the last batch is padded
        values = [torch.from_numpy(v[rows]) for v in (active, peak, token)]
        top.update(Batch(values[0], 90, values[1], values[2]), torch.from_numpy(part))
    for neuron in np.ndindex(2, 3):
        mine = (slice(None), *neuron)
        best = np.lexsort((np.arange(clips), -peak[mine]))[:k]
        n = len(best)
        assert top.clip[neuron][:n].tolist() == best.tolist()
        assert top.activation[neuron][:n].tolist() == peak[mine][best].tolist()
        assert top.token[neuron][:n].tolist() == token[mine][best].tolist()
        assert top.active[neuron][:n].tolist() == active[mine][best].tolist()
        assert (top.clip[neuron][n:] == -1).all()
    assert torch.equal(top.floor, top.activation[..., -1])


@pytest.mark.parametrize("size", [1, 4, 11])
def test_the_floor_loses_no_peak_of_the_strongest_clips(encoder, hidden, size):
    wave = noise(11, 1.3)
    layers = joined(hidden(encoder, wave), 1)
    top = TopClips(2, 64, 3)
    with torch.inference_mode(), Recorder(encoder, floor=top.floor) as recorder:
        for part in torch.randperm(11, generator=torch.Generator().manual_seed(1)).split(size):
            recorder.begin(wave[part])
            encoder(wave[part])
            top.update(recorder.end(), part)
    peak, token = layers.amax(2), layers.argmax(2)  # (L, B, W)
    best = peak.transpose(1, 2).argsort(dim=2, descending=True)[..., :3]
    assert torch.equal(top.clip, best)
    assert torch.equal(top.token, token.transpose(1, 2).gather(2, best))
    torch.testing.assert_close(top.activation, peak.transpose(1, 2).gather(2, best))
