"""Statistics of a dataset's log-mel, and encoders that normalise by them."""

import numpy as np
import pytest
import test_extraction
import torch
from common import TINY
from test_extraction import SAMPLES, SETTINGS, run, write_clips

from audio_neurons import models, tables
from audio_neurons.activations import normalisation
from audio_neurons.activations.extraction import load_encoder
from audio_neurons.models import ModelError
from audio_neurons.models.checkpoint import write_checkpoint
from audio_neurons.recordings import audio
from audio_neurons.recordings.clips import ClipsError

frame = test_extraction.frame  # the fixture

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
RANDOM = {"adapter": "huggingface", "weights": {"source": "random", "seed": 0}}
AST = {**RANDOM, "model_type": "audio-spectrogram-transformer", "config": SIZES}
WAVE = {**SIZES, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
# Each with the divisor of the deviation: AST and AudioMAE divide by twice the deviation, as in training.
SPECTRAL = {"m2d": (TINY, 1), "audiomae": ({**TINY, "front_end": "fbank"}, 2), "ast": (AST, 2)}
kinds = pytest.mark.parametrize("kind", SPECTRAL)


def of_dataset(block):
    return models.load("m", {**block, "norm_stats": "dataset"}, None)


def measured(encoder, tmp_path, frame, name="norm_stats", shards=1):
    parts = [write_clips(tmp_path / f"{name}-{i}.parquet", frame.iloc[i::shards]) for i in range(shards)]
    normalisation.measure(encoder, parts, 1.0, tmp_path / f"{name}.parquet")
    return tmp_path / f"{name}.parquet"


def waves_of(frame):
    return torch.from_numpy(np.stack([audio.read(flac, SAMPLES) for flac in frame["audio"]]))


@kinds
def test_they_are_those_of_all_values_of_the_training_clips(kind, tmp_path, frame):
    block, divisor = SPECTRAL[kind]
    table = measured(of_dataset(block), tmp_path, frame)
    train = frame[frame["split"] == "train"]
    # Without normalisation, the front end gives the log-mel.
    plain = models.load("m", {**block, "norm_stats": (0.0, 1 / divisor)}, None)
    log_mel = plain.front_end(waves_of(train)).double()
    mean, std = normalisation.read(table)
    assert mean == pytest.approx(log_mel.mean().item(), rel=1e-6)
    assert std == pytest.approx(log_mel.std(correction=0).item(), rel=1e-6)
    assert tables.read(table, "norm_stats")["clips"].tolist() == [len(train)]


@kinds
def test_an_encoder_that_has_them_equals_one_configured_with_the_same_numbers(kind, tmp_path, frame):
    block, divisor = SPECTRAL[kind]
    table = measured(of_dataset(block), tmp_path, frame)
    encoder = load_encoder("m", {**block, "norm_stats": "dataset"}, [], "cpu", str(table))
    written = models.load("m", {**block, "norm_stats": normalisation.read(table)}, None)
    wave = waves_of(frame[frame["split"] == "train"])
    with torch.inference_mode():
        assert torch.equal(encoder(wave), written(wave))
        assert not torch.allclose(encoder(wave), models.load("m", block, None)(wave), atol=1e-3)
        features = encoder.front_end(wave)
    assert features.mean().item() == pytest.approx(0, abs=1e-4)
    assert features.std().item() == pytest.approx(1 / divisor, rel=1e-4)


def test_neither_shards_nor_the_order_of_clips_change_them(tmp_path, frame):
    found = {
        measured(of_dataset(AST), tmp_path, rows, name, shards).read_bytes()
        for name, rows, shards in (("a", frame, 1), ("b", frame, 3), ("c", frame.iloc[::-1], 2))
    }
    assert len(found) == 1


def test_no_more_clips_are_drawn_than_evar_takes(tmp_path, frame, monkeypatch):
    everything = normalisation.read(measured(of_dataset(TINY), tmp_path, frame, "all"))
    monkeypatch.setattr(normalisation, "CLIPS", 3)
    few = measured(of_dataset(TINY), tmp_path, frame, "few")
    assert tables.read(few, "norm_stats")["clips"].tolist() == [3]
    assert normalisation.read(few) != everything


def test_counts_are_those_of_the_dataset_s_own_statistics(tmp_path, frame):
    table = measured(of_dataset(TINY), tmp_path, frame)
    blocks = {"own": {**TINY, "norm_stats": "dataset"}, "written": TINY, "default": TINY}
    blocks["written"] = {**TINY, "norm_stats": normalisation.read(table)}
    found = {}
    for name, block in blocks.items():
        (tmp_path / name).mkdir()
        encoder = load_encoder("m", block, [], "cpu", str(table) if name == "own" else None)
        folder = run(encoder, tmp_path / name, frame, SETTINGS)
        found[name] = [(folder / f"{one}.parquet").read_bytes() for one in ("counts", "embeddings")]
    assert found["own"] == found["written"] != found["default"]


def test_without_them_an_encoder_does_not_run(tmp_path, frame):
    with pytest.raises(ModelError, match="norm_stats: dataset: the mean and the standard deviation"):
        of_dataset(AST)(torch.zeros(1, SAMPLES))
    with pytest.raises(ModelError, match="norm_stats: dataset"):
        run(of_dataset(TINY), tmp_path, frame)


def test_those_of_a_checkpoint_do_not_contradict_them(tmp_path):
    state = {**models.load("m", TINY, None).vit.state_dict(), "norm_stats": torch.tensor([-5.0, 3.0])}
    write_checkpoint(tmp_path / "tiny.safetensors", state, {})
    encoder = models.load("m", {**TINY, "norm_stats": "dataset"}, tmp_path / "tiny.safetensors")
    assert ("norm_stats", "dataset", "the configuration") in encoder.origins
    assert not any("-5" in value for _, value, _ in encoder.origins)
    with pytest.raises(ModelError, match="norm_stats is"):
        models.load("m", {**TINY, "norm_stats": [-4.0, 3.0]}, tmp_path / "tiny.safetensors")


@pytest.mark.parametrize(
    ("kind", "config"),
    [("hubert", WAVE), ("whisper", {"d_model": 24, "encoder_layers": 2, "encoder_attention_heads": 2})],
)
def test_encoders_of_other_inputs_refuse_them(kind, config):
    with pytest.raises(ModelError, match=rf"models.m: model_type {kind} has no norm_stats; .*AST, M2D"):
        of_dataset({**RANDOM, "model_type": kind, "config": config})


def test_a_spectrogram_that_does_not_vary_is_told(tmp_path, frame):
    silent = frame.assign(audio=[audio.encode(np.zeros(8_000))] * len(frame))
    with pytest.raises(ClipsError, match="log-mel of the training clips is constant"):
        measured(of_dataset(TINY), tmp_path, silent)
    with pytest.raises(ClipsError, match="no clips of split 'train'"):
        measured(of_dataset(TINY), tmp_path, frame.assign(split="test"))
