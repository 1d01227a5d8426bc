"""Medians, means, controls and screening where layers have unequal numbers of neurons (CLAP's HTSAT)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("transformers", reason="adapter huggingface needs transformers")
from tiny_models import save

from audio_neurons import models, tables
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.conditions import matched, response_bins, shifted
from audio_neurons.ablation.intervention import InterventionError, Means, check, run_changes
from audio_neurons.ablation.probes import Probes
from audio_neurons.ablation.screening import first_order
from audio_neurons.activations import medians
from audio_neurons.activations.recorder import Recorder, TopClips

WIDTHS = [64, 64, 128, 128]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("htsat")
    save(folder, "clap")
    block = {"adapter": "huggingface", "weights": {"source": "folder", "path": str(folder)}}
    return models.load("htsat", block, folder / "config.json")


@pytest.fixture(scope="module")
def wave():
    return 0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def hidden(encoder, wave):
    """Counted activations of each layer, (clips, tokens, neurons)."""
    seen = []
    with torch.inference_mode(), encoder.listening(lambda layer, h: seen.append((layer, h.clone()))):
        encoder(wave)
    return [h[:, encoder.counted_in(layer, wave.shape[1], 0)] for layer, h in seen]


def test_medians_are_those_of_each_layers_own_neurons(encoder, wave, hidden, tmp_path):
    found = medians.medians(encoder, [(wave, torch.full((2,), 32_000))], "patch", 10_000)
    expected = [np.median(layer.flatten(0, 1).numpy(), axis=0) for layer in hidden]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-7)
    layer, neuron = encoder.neurons.numpy().T
    frame = pd.DataFrame({"layer": layer, "neuron": neuron, "median": found})
    tables.write(tmp_path / "m.parquet", "medians", frame)
    threshold = medians.read(tmp_path / "m.parquet", encoder)
    assert threshold.shape == (4, 128)
    assert threshold[:2, 64:].isnan().all()
    with torch.inference_mode(), Recorder(encoder, threshold=threshold) as recorder:
        recorder.begin(wave)
        encoder(wave)
        active = recorder.end().active
    for number, layer in enumerate(hidden):
        above = (layer > torch.from_numpy(expected[number])).sum(1)
        assert torch.equal(active[:, number, : WIDTHS[number]], above)


def test_means_are_those_of_the_counted_tokens(encoder, wave, hidden):
    means = Means(encoder)
    means.add(wave, 2)
    for number, layer in enumerate(hidden):
        found = means.values()(number, 0, torch.arange(WIDTHS[number]), 1)[-1]
        torch.testing.assert_close(found, layer.double().mean((0, 1)), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("searched", [True, False])
def test_strongest_clips_are_of_neurons_alone(encoder, wave, hidden, searched, monkeypatch):
    if not searched:
        monkeypatch.setattr("audio_neurons.activations.recorder.SEARCHED", ())
    strongest = TopClips(4, 128, 2, present=encoder.present)
    with torch.inference_mode(), Recorder(encoder, floor=strongest.floor) as recorder:
        recorder.begin(wave)
        encoder(wave)
        strongest.update(recorder.end(), torch.arange(2))
    assert torch.equal(strongest.clip[..., 0] >= 0, encoder.present)
    for number, layer in enumerate(hidden):
        peaks, _ = layer.amax(1).sort(0, descending=True)
        torch.testing.assert_close(strongest.activation[number, : WIDTHS[number]], peaks.T)


def test_controls_stay_within_their_layer(encoder):
    rng = np.random.default_rng(0)
    layer, neuron = encoder.neurons.numpy().T
    frame = pd.DataFrame({"layer": layer, "neuron": neuron, "response": rng.random(len(layer))})
    rank, bins = response_bins(frame, 8)
    for number, width in enumerate(WIDTHS):
        assert sorted(rank[number, :width]) == list(range(width))
        assert (rank[number, width:] == -1).all()
        # The strongest part is divided again.
        assert np.bincount(bins[number, :width]).tolist() == [width // 8] * 7 + [width // 32] * 4
    neurons = frozenset({(0, 63), (1, 5), (2, 127), (3, 64)})
    assert shifted(neurons, (rank >= 0).sum(1)) == {(0, 0), (1, 6), (2, 0), (3, 65)}
    for _ in range(20):
        drawn = matched(neurons, rank, bins, rng)
        check(encoder, drawn)
        assert not drawn & neurons
        assert sorted(layer for layer, _ in drawn) == [0, 1, 2, 3]
    with pytest.raises(InterventionError, match=r"no neuron 0:64 in an encoder of 4 layers of 64 and 128"):
        check(encoder, {(0, 64), (2, 64)})


def test_estimates_and_changes_are_of_the_same_neurons(encoder, wave):
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        size = encoder(wave).shape[-1]
    parts = [(1, 2, size), (1, 2, size), (1, 1, 2, size), (1, 1, 2)]
    tensors = [torch.from_numpy(rng.normal(0, 0.3, shape)).float() for shape in parts]
    tensors[1] = tensors[1].abs() + 0.5
    probes = Probes(("a", "b"), (0,), (0,), *tensors)
    frame = pd.DataFrame({"fold": [0, 0], "class": ["b", "a"]})
    found = first_order(encoder, probes, wave, frame)
    assert found.shape == (2, sum(WIDTHS))
    changes = [Change(frozenset({neuron})) for neuron in ((0, 3), (3, 127))]
    outputs = dict(run_changes(encoder, wave, changes, {"zero": None}))
    assert not any(torch.equal(outputs[number], outputs[-1]) for number in (0, 1))
