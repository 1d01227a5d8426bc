"""Acoustics of tokens on sounds whose acoustics are known, and their correlation with every neuron."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from common import TINY

from audio_neurons import tables
from audio_neurons.activations import correlations, extraction
from audio_neurons.activations.acoustics import measure, of_clips
from audio_neurons.activations.features import FEATURES, KNOTS, PLACES, STEPS, WHERE
from audio_neurons.models.encoder import Encoder
from audio_neurons.models.registry import load
from audio_neurons.recordings import audio
from audio_neurons.settings.extraction import Extraction, Pass
from audio_neurons.settings.section import contradictions

RATE, SECONDS = 16_000, 2.0
SAMPLES = round(RATE * SECONDS)
NAMES = [feature.name for feature in FEATURES]
STARTS = torch.arange(100) * 0.02


def tone(f0, level=0.1, harmonics=8, seconds=SECONDS, rate=RATE):
    """A voice-like sound: harmonics of 1 / k."""
    time = np.arange(round(seconds * rate)) / rate
    return level * sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, harmonics + 1))


def heard_all(waves, starts=STARTS, rate=RATE):
    wave = torch.from_numpy(np.stack(waves)).float()
    return measure(wave, rate, starts, torch.ones(len(wave), len(starts), dtype=torch.bool))


def hertz(semitones):
    return 27.5 * 2 ** (np.asarray(semitones) / 12)


@pytest.mark.parametrize("rate", [16_000, 48_000, 22_050])
@pytest.mark.parametrize("starts", [STARTS, torch.arange(12).repeat(5) * 0.16], ids=["frames", "patches"])
def test_f0_loudness_and_centroid_of_known_sounds(rate, starts):
    waves = [tone(f0, rate=rate) for f0 in (110, 220)] + [tone(440, 0.5, harmonics=1, rate=rate)]
    found = of_clips(heard_all(waves, starts, rate))
    np.testing.assert_allclose(hertz(found["f0"]), [110, 220, 440], rtol=0.02)
    assert (found["voiced"] == len(starts)).all()
    assert (found["voicing"] > 0.98).all()
    rms = [20 * np.log10(np.sqrt(np.mean(wave**2))) for wave in waves]
    np.testing.assert_allclose(found["loudness"], rms, atol=0.1)
    assert found["centroid"][2] == pytest.approx(440, rel=0.03)
    together = 10 * np.log10(sum(10 ** (found[f"band_{i}"] / 10) for i in range(1, 9)))
    assert together[2] == pytest.approx(rms[2], abs=0.5)  # of band power
    assert np.argsort([-found[f"band_{i}"][2] for i in range(1, 9)])[0] in (0, 1)  # between 50 and 680 Hz
    assert found["band_4"][2] < -60


@pytest.mark.parametrize("harmonics", [1, 8])
def test_the_octave_of_steady_tones_is_right(harmonics):
    f0 = np.geomspace(70, 950, 40)
    found = of_clips(heard_all([tone(f, harmonics=harmonics) for f in f0]))
    np.testing.assert_allclose(hertz(found["f0"]), f0, rtol=0.06)


def test_noise_is_flat_and_has_no_pitch():
    rng = np.random.default_rng(0)
    found = of_clips(heard_all([rng.normal(0, 0.1, SAMPLES), tone(200)]))
    assert found["flatness"][0] == pytest.approx(-2.51, abs=0.1)  # 10 log10 of exp(-0.5772), of white noise
    assert found["flatness"][1] < -30
    assert found["voiced"][0] < 5
    assert found["voicing"][0] < 0.15


def test_silence_has_a_level_and_nothing_else():
    found = of_clips(heard_all([np.zeros(SAMPLES)]))
    assert found["loudness"] == -100
    assert found["sounding"] == found["voiced"] == 0
    assert np.isnan(found["centroid"]).all()
    assert np.isnan(found["f0"]).all()
    assert found["loudness_hats"][0].tolist() == [1] + [0] * 10
    assert not found["f0_hats"].any()


def test_tokens_have_the_acoustics_of_their_own_time():
    wave = np.concatenate([tone(100, seconds=1), np.zeros(RATE // 2), tone(300, 0.01, seconds=0.5)])
    found = heard_all([wave])
    f0, voiced = found.steps[0, :, NAMES.index("f0")].numpy() / 100, found.where[0, :, 2].numpy() > 0
    np.testing.assert_allclose(hertz(f0[5:45]), 100, rtol=0.02)
    assert not voiced[52:74].any()
    loudness = found.steps[0, :, 0].numpy() / 100
    assert (loudness[51:74] == -100).all()
    assert loudness[10] - loudness[85] == pytest.approx(20, abs=0.5)
    # 20 dB below the first sound: audible. 40 dB below it is not voiced.
    np.testing.assert_allclose(hertz(f0[80:96]), 300, rtol=0.02)
    quiet = np.concatenate([tone(100, seconds=1), tone(300, 0.0005, seconds=1)])
    assert not heard_all([quiet]).where[0, 60:, 2].any()


def test_tokens_that_do_not_count_are_left_out():
    wave = torch.from_numpy(np.stack([tone(100), tone(200)])).float()
    heard = torch.ones(2, len(STARTS), dtype=torch.bool)
    heard[1, 30:] = False
    found = measure(wave, RATE, STARTS, heard)
    assert found.where[1, :, 0].sum() == 30
    assert not found.steps[1, 30:].any()
    assert of_clips(found)["tokens"].tolist() == [100, 30]


def test_hats_are_means_of_what_tokens_are():
    found = heard_all([np.concatenate([tone(110, seconds=1), np.zeros(RATE // 2), tone(300, seconds=0.5)])])
    clips = of_clips(found)
    f0, voiced = found.steps[0, :, NAMES.index("f0")].numpy() / 100, found.where[0, :, 2].numpy() > 0
    knots = KNOTS["f0"]
    assert clips["f0_hats"].sum() == pytest.approx(voiced.mean())
    for k in range(len(knots)):
        mine = np.interp(f0, knots, np.eye(len(knots))[k]) * voiced
        assert clips["f0_hats"][0, k] == pytest.approx(mine.mean(), abs=1e-12)


def test_values_are_whole_steps():
    found = heard_all([tone(123.4), np.random.default_rng(1).normal(0, 0.01, SAMPLES)])
    assert (found.steps == found.steps.round()).all()
    assert found.steps.abs().max() < 2**15


def test_a_change_of_level_changes_the_levels_alone():
    found = of_clips(heard_all([tone(150), tone(150, 0.01)]))
    for name in ("loudness", "band_1", "band_2"):
        assert found[name][0] - found[name][1] == pytest.approx(20, abs=0.05), name
    for name in ("centroid", "f0", "voicing"):
        assert found[name][0] == pytest.approx(found[name][1], rel=0.01), name


# Correlations


@pytest.fixture(scope="module")
def frame():
    """24 clips of tones, noise and silence, of unequal lengths and of three splits."""
    rng = np.random.default_rng(4)
    waves = []
    for i in range(24):
        length = int(rng.integers(9_000, 20_000))
        kind = (
            tone(rng.uniform(80, 400), rng.uniform(0.01, 0.3), seconds=length / RATE),
            rng.normal(0, 0.05, length),
        )
        waves.append(kind[i % 2] if i != 7 else np.zeros(length))
    return pd.DataFrame(
        {
            "clip_id": [f"{n:02}.wav" for n in rng.permutation(24)],
            "audio": [audio.encode(w) for w in waves],
            "frames": [len(w) for w in waves],
            "split": rng.choice(["train", "train", "test", "valid"], 24),
            "fold": 0,
            "group": rng.choice(["g1", "g2", "g3"], 24),
            "kind": rng.choice(["dog", "cat"], 24),
        }
    )


SETTINGS = Pass(clip_seconds=1.0, batch_size=4, top_clips=3)


def run(encoder, folder, frame, settings=SETTINGS, sounds=True):
    folder.mkdir(parents=True, exist_ok=True)
    with tables.writer(folder / "clips.parquet", "clips", ["kind"]) as writer:
        writer.append({name: frame[name].tolist() for name in frame.columns})
    extraction.extract(
        encoder,
        folder / "clips.parquet",
        folder,
        folder / "embeddings.parquet",
        settings,
        folder / "responses.parquet",
        acoustics=folder / "acoustics.parquet" if sounds else None,
    )
    return folder


def whole(encoder, folder, frame, shards=1, settings=SETTINGS):
    parts = [run(encoder, folder / str(i), frame.iloc[i::shards], settings) for i in range(shards)]
    correlations.merge([part / "acoustic_sums.parquet" for part in parts], folder / "correlations.parquet")
    return parts, folder / "correlations.parquet"


def directly(encoder, frame, settings=SETTINGS):
    """Return acoustics (T, K), where defined (T, K), activity (T, N) and splits of all counted tokens."""
    found = []
    for flac, frames, split in zip(frame["audio"], frame["frames"], frame["split"], strict=True):
        wave = torch.from_numpy(audio.read(flac, 16_000, RATE))[None].repeat(settings.batch_size, 1)
        hidden: list = []
        keep = partial(lambda into, _, h: into.append(h[0, encoder.special_tokens :]), hidden)
        with encoder.listening(keep), torch.no_grad():
            encoder(wave)
        depth = encoder.depth
        layers = [torch.cat(hidden[layer::depth]) for layer in range(depth)]
        counts = encoder.heard(16_000, torch.tensor([min(frames, 16_000)]))
        if settings.count == "window":
            counts = torch.ones_like(counts)
        heard = measure(wave[:1], RATE, encoder.token_seconds(16_000), counts)
        kept = counts[0].numpy()
        defined = heard.where[0].numpy()[:, PLACES]
        active = torch.cat([layer > 0 for layer in layers], 1).numpy()
        found.append(
            (heard.steps[0].numpy()[kept] * STEPS, defined[kept] > 0, active[kept], [split] * kept.sum())
        )
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


@pytest.mark.parametrize("count", ["recording", "window"])
def test_correlations_are_those_of_numpy(tmp_path, frame, count):
    encoder, settings = load("tiny", TINY, None, "cpu"), SETTINGS.changed(count=count)
    _, path = whole(encoder, tmp_path, frame, settings=settings)
    sound, defined, active, split = directly(encoder, frame, settings)
    table = tables.read(path, "correlations")
    assert table["split"].unique().tolist() == ["*", "test", "train", "valid"]
    for name in ("*", "train"):
        own = correlations.chosen(path, name)
        assert own.columns.tolist() == NAMES
        for k, feature in enumerate(NAMES):
            some = defined[:, k] & ((split == name) | (name == "*"))
            rows = table[(table["split"] == name) & (table["feature"] == feature)]
            assert (rows["tokens"] == some.sum()).all()
            np.testing.assert_allclose(rows["rate"], active[some].mean(0))
            with np.errstate(invalid="ignore", divide="ignore"):
                expected = [np.corrcoef(sound[some, k], a)[0, 1] for a in active[some].T]
            np.testing.assert_allclose(own[feature], expected, atol=1e-9)
    assert table["correlation"].abs().max() > 0.3


def test_shards_give_the_same_bytes(tmp_path, frame):
    encoder = load("tiny", TINY, None, "cpu")
    one, whole_one = whole(encoder, tmp_path / "1", frame)
    parts, whole_three = whole(encoder, tmp_path / "3", frame, 3)
    assert whole_one.read_bytes() == whole_three.read_bytes()
    sounds = [
        tables.read_all([part / "acoustics.parquet" for part in shards], "acoustics").sort_values("clip_id")
        for shards in (one, parts)
    ]
    for name in sounds[0].columns:
        one, other = (np.array(table[name].tolist()).tobytes() for table in sounds)
        assert one == other, name


def test_acoustics_change_no_other_table(tmp_path, frame):
    encoder = load("tiny", TINY, None, "cpu")
    with_, without = run(encoder, tmp_path / "a", frame), run(encoder, tmp_path / "b", frame, sounds=False)
    names = ("counts", "cells", "units", "top_clips", "embeddings", "responses")
    assert not (without / "acoustic_sums.parquet").exists()
    for name in names:
        assert (with_ / f"{name}.parquet").read_bytes() == (without / f"{name}.parquet").read_bytes(), name
    sounds = tables.read(with_ / "acoustics.parquet", "acoustics")
    responses = tables.read(with_ / "responses.parquet", "responses")
    assert sounds["clip_id"].tolist() == responses["clip_id"].tolist()
    assert sounds["tokens"].tolist() == responses["tokens"].tolist()


def test_bfloat16_counts_exactly(tmp_path, frame):
    encoder = load("tiny", TINY, None, "cpu")
    parts, _ = whole(encoder, tmp_path, frame, settings=SETTINGS.changed(precision="bf16"))
    sums = tables.read(parts[0] / "acoustic_sums.parquet", "acoustic_sums")
    counts = tables.read(parts[0] / "counts.parquet", "counts").groupby(["layer", "neuron"])["active"].sum()
    own = sums[sums["feature"] == "loudness"].groupby(["layer", "neuron"])["active"].sum()
    assert (own == counts).all()
    assert own.sum() > 0


class Planted(Encoder):
    """An encoder whose first neuron is active where the tone is above 200 Hz, the second where it is loud."""

    sample_rate = RATE

    def __init__(self):
        super().__init__()
        self.block = torch.nn.ModuleDict({"fc2": torch.nn.Linear(2, 1)})

    def front_end(self, wave):
        frames = wave[:, : wave.shape[1] // 640 * 640].unflatten(1, (-1, 640))
        pitch = torch.fft.rfft(frames, 8192).abs().argmax(2) * (RATE / 8192)  # the strongest partial
        level = frames.square().mean(2)
        return torch.stack([pitch - 200, level - 1e-3], dim=2)

    def encode(self, features):
        return self.block["fc2"](features)

    def token_seconds(self, samples):
        return torch.arange(samples // 640) * 0.04


def test_a_neuron_that_is_f0_correlates_with_f0_alone(tmp_path):
    rng = np.random.default_rng(8)
    waves = [tone(rng.uniform(90, 380), 10 ** rng.uniform(-2, -0.5), seconds=1) for _ in range(60)]
    frame = pd.DataFrame(
        {
            "clip_id": [f"{i:02}" for i in range(60)], "audio": [audio.encode(w) for w in waves],
            "frames": RATE, "split": "train", "fold": 0, "group": "g", "kind": "k",
        }
    )  # fmt: skip
    _, path = whole(Planted(), tmp_path, frame)
    found = correlations.chosen(path, "train", pd.DataFrame({"layer": [0, 0], "neuron": [0, 1]}))
    assert found["f0"].iloc[0] > 0.7
    assert abs(found["loudness"].iloc[0]) < 0.4
    assert found["loudness"].iloc[1] > 0.7
    assert abs(found["f0"].iloc[1]) < 0.4


def test_what_acoustics_need_is_told():
    told = list(contradictions(Extraction(acoustics=True, tokens="all")))
    assert any("set `extraction.responses: true`" in line for line in told)
    assert any("set `extraction.tokens: patch`" in line for line in told)
    assert not list(contradictions(Extraction(acoustics=True, responses=True)))


def test_the_features_of_the_table_are_those_that_are_measured():
    assert set(NAMES) <= set(tables.SCHEMAS["acoustics"].names)
    assert {"tokens", *WHERE[1:]} <= set(tables.SCHEMAS["acoustics"].names)
