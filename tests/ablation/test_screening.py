"""First-order estimates of the effect of zeroing neurons, compared with zeroing them."""

import numpy as np
import planted
import pytest
import torch
from planted import PLANTED, WIDTH, Planted

from audio_neurons import tables
from audio_neurons.ablation import probes, screening
from audio_neurons.ablation.ablation import AblationError, Study
from audio_neurons.ablation.probes import Probes
from audio_neurons.ablation.screening import first_order, screen_task
from audio_neurons.models.encoder import numerics
from audio_neurons.recordings.clips import batches
from audio_neurons.settings.ablation import Screening
from audio_neurons.settings.probe import Probe

PROBE = Probe(learning_rate=0.05, batch_size=16, epochs=8, score="loss", seeds=(0, 1))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    clips = planted.make_clips(folder, parts=2)
    embeddings, _ = planted.extract_and_select(Planted(), folder, clips)
    probes.probe_task(
        clips, embeddings, "pitch", PROBE, folder / "probe.safetensors", folder / "probe.parquet"
    )
    return Planted(), Study(clips, "pitch", folder / "probe.safetensors", planted.SECONDS)


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("screening")
    out = {"screening": folder / "s.parquet", "check": folder / "c.parquet"}
    screen_task(*world, Screening(sample=40), out)
    return tables.read(out["screening"], "screening"), tables.read(out["check"], "screening_check")


def test_the_planted_neurons_lead_with_the_right_sign(done):
    table, _ = done
    for name, mine in PLANTED.items():
        rows = table[table["class"] == name].sort_values("estimate")
        lowest = rows.iloc[: len(mine)]
        assert {(row.layer, row.neuron) for row in lowest.itertuples()} == mine
        assert (lowest["estimate"] < -0.01).all()


def test_every_neuron_has_an_estimate_for_every_class(done):
    table, check = done
    assert len(table) == planted.DEPTH * WIDTH * 5
    assert check["class"].tolist() == ["*", *planted.CLASSES]
    assert check["clips"].tolist() == [32, 8, 8, 8, 8]
    assert (check["neurons"] == 40).all()
    assert table["estimate"].notna().all()
    wide = table.pivot(index=["layer", "neuron"], columns="class", values="estimate")
    np.testing.assert_allclose(wide["*"], wide[list(planted.CLASSES)].mean(axis=1), rtol=1e-6, atol=1e-12)


def test_ranks_agree_with_exact_ablation(done):
    table, check = done
    assert (check["spearman"] > 0.8).all(), check
    exact = table.dropna(subset=["exact"])
    assert len(exact) == 40 * 5
    small = exact[exact["estimate"].abs() < 1e-3]
    np.testing.assert_allclose(small["exact"], small["estimate"], atol=1e-3)
    large = exact[exact["estimate"].abs() > 1e-2]
    assert (np.sign(large["estimate"]) == np.sign(large["exact"])).all()


def test_estimates_are_derivatives(encoder):
    """Of the log-probability by the gain of one neuron, in a real ViT over two chunks."""
    wave = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) / 10
    size = encoder(wave).shape[-1]
    rng = np.random.default_rng(0)
    parts = [(1, 2, size), (1, 2, size), (1, 2, 3, size), (1, 2, 3)]
    tensors = [torch.from_numpy(rng.normal(0, 0.3, shape)).float() for shape in parts]
    tensors[1] = tensors[1].abs() + 0.5
    model = Probes(("a", "b", "c"), (0,), (0, 1), *tensors)
    frame = planted.pd.DataFrame({"fold": [0, 0], "class": ["c", "a"]})  # the last clip is filling
    found = first_order(encoder, model, wave, frame)
    assert found.shape == (2, 2 * 64)
    found = found.unflatten(1, (2, 64))
    assert not any(layer._forward_pre_hooks for layer in encoder.down_projections())

    def true(gain, layer, unit):
        weight = encoder.vit.blocks[layer].mlp.fc2.weight
        weight[:, unit] *= gain
        logs = model.log_probabilities(encoder.double()(wave.double()).mean(1)[:2])
        weight[:, unit] /= gain
        return probes.of_true_class(logs, frame["class"], model.classes).mean(0)

    for layer, unit in ((0, 3), (0, 40), (1, 0), (1, 63)):
        with torch.inference_mode():
            slope = (true(1 + 1e-4, layer, unit) - true(1 - 1e-4, layer, unit)) / 2e-4
        np.testing.assert_allclose(found[:, layer, unit], -slope, rtol=1e-3, atol=1e-7)


def test_sums_over_tokens_are_of_float32_in_bfloat16_too(encoder):
    wave = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0)) / 10
    size = encoder(wave).shape[-1]
    rng = np.random.default_rng(0)
    parts = [(1, 1, size), (1, 1, size), (1, 1, 2, size), (1, 1, 2)]
    tensors = [torch.from_numpy(rng.normal(0, 0.3, shape)).float() for shape in parts]
    tensors[1] = tensors[1].abs() + 0.5
    model = Probes(("a", "b"), (0,), (0,), *tensors)
    frame = planted.pd.DataFrame({"fold": [0, 0], "class": ["a", "b"]})
    exact = first_order(encoder, model, wave, frame)
    with numerics(encoder, "bf16"):
        found = first_order(encoder, model, wave, frame)
    encoder.bfloat16 = True  # autocast alone, which casts weights in every pass
    assert torch.equal(found, first_order(encoder, model, wave, frame))
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())
    assert (found - exact).abs().max() < 0.1 * exact.abs().max()


def test_the_sample_covers_the_range():
    estimate = np.random.default_rng(0).normal(size=1000)
    chosen = screening.spread(estimate, 50)
    assert len(chosen) == 50
    ranks = np.argsort(np.argsort(-np.abs(estimate)))[chosen]
    assert {0, 999} <= set(ranks)
    assert np.diff(np.sort(ranks)).max() <= 21
    assert len(screening.spread(estimate[:10], 50)) == 10


def test_no_clips(world):
    encoder, study = world
    study = Study(study.clips, study.label, study.probe, study.clip_seconds, split="valid")
    with pytest.raises(AblationError, match="no clips of split 'valid'"):
        screening.estimates(encoder, study)


def test_batches_hold_the_wanted_clips_of_all_parts(world):
    _, study = world
    names = planted.pd.concat([tables.read(p, "clips", ["clip_id", "split"]) for p in study.clips])
    wanted = names.loc[names["split"] == "test", "clip_id"]
    found = list(batches(study.clips, wanted, 1280, 5))
    assert [name for got, _ in found for name in got] == wanted.tolist()
    assert [len(got) for got, _ in found] == [5] * 6 + [2]
    assert all(wave.shape == (5, 1280) for _, wave in found)
    assert not found[-1][1][2:].any()
