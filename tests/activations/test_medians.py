"""Medians of activations, compared with numpy over all recorded activations."""

import numpy as np
import pytest
import test_extraction
import torch
from test_extraction import SAMPLES, SETTINGS, run, write_clips

from audio_neurons import tables
from audio_neurons.activations import medians
from audio_neurons.activations.extraction import extract
from audio_neurons.recordings import audio
from audio_neurons.recordings.clips import ClipsError
from audio_neurons.settings.extraction import Median, Pass

frame = test_extraction.frame  # the fixture

HOW = Pass(clip_seconds=1.0, batch_size=4, count="window")
ALL = Median(clips=1000, per_clip=1000)


def waves_of(frame):
    return torch.from_numpy(np.stack([audio.read(flac, SAMPLES) for flac in frame["audio"]]))


def test_they_are_the_medians_over_all_tokens_of_the_training_clips(encoder, hidden, tmp_path, frame):
    parts = [write_clips(tmp_path / f"{i}.parquet", frame.iloc[i::2]) for i in range(2)]
    medians.estimate(encoder, parts, HOW, ALL, tmp_path / "medians.parquet")
    found = medians.read(tmp_path / "medians.parquet", encoder).numpy()
    seen = hidden(encoder, waves_of(frame[frame["split"] == "train"]))
    for layer, chunks in enumerate(seen):
        tokens = torch.cat([chunk[:, encoder.special_tokens :].flatten(0, 1) for chunk in chunks])
        np.testing.assert_allclose(found[layer], np.median(tokens.numpy(), axis=0), rtol=1e-4, atol=1e-6)


def test_tokens_after_a_recording_are_left_out(encoder, hidden, tmp_path, frame):
    train = frame[frame["split"] == "train"]
    clips = write_clips(tmp_path / "clips.parquet", train)
    medians.estimate(encoder, [clips], HOW.changed(count="recording"), ALL, tmp_path / "medians.parquet")
    found = medians.read(tmp_path / "medians.parquet", encoder).numpy()
    ends = torch.tensor(train["frames"].to_numpy()).clamp(max=SAMPLES)
    assert (ends < SAMPLES).any()
    heard = encoder.heard(SAMPLES, ends)
    for layer, chunks in enumerate(hidden(encoder, waves_of(train))):
        tokens = torch.cat([chunk[:, encoder.special_tokens :] for chunk in chunks], 1)[heard]
        np.testing.assert_allclose(found[layer], np.median(tokens.numpy(), axis=0), rtol=1e-4, atol=1e-6)


def test_they_are_of_the_precision_of_the_passes(encoder, tmp_path, frame):
    clips = write_clips(tmp_path / "clips.parquet", frame[frame["split"] == "train"])
    found = {}
    for precision in ("fp32", "bf16"):
        medians.estimate(encoder, [clips], HOW.changed(precision=precision), ALL, tmp_path / precision)
        found[precision] = medians.read(tmp_path / precision, encoder)
    difference = (found["fp32"] - found["bf16"]).abs().max()
    assert 0 < difference < 0.05 * found["fp32"].abs().max()


def test_every_neuron_is_active_on_half_of_the_tokens_that_gave_its_median(encoder, tmp_path, frame):
    train = frame[frame["split"] == "train"]
    clips = write_clips(tmp_path / "clips.parquet", train)
    medians.estimate(encoder, [clips], HOW, ALL, tmp_path / "medians.parquet")
    settings = SETTINGS.changed(activity="median")
    extract(encoder, clips, tmp_path, tmp_path / "e.parquet", settings, medians=tmp_path / "medians.parquet")
    counts = tables.read(tmp_path / "counts.parquet", "counts").groupby(["layer", "neuron"])["active"].sum()
    tokens = tables.read(tmp_path / "cells.parquet", "cells")["tokens"].sum()
    # Padding gives equal tokens, which all lie on the same side of a median.
    assert (counts / tokens).median() == pytest.approx(0.5, abs=0.02)
    signed = run(encoder, tmp_path / "sign", train)
    others = tables.read(signed / "counts.parquet", "counts").groupby(["layer", "neuron"])["active"].sum()
    assert (others / tokens - 0.5).abs().mean() > (counts / tokens - 0.5).abs().mean() + 0.05


def test_few_clips_are_drawn_by_name_and_seed_alone(encoder, tmp_path, frame):
    few = ALL.changed(clips=3, per_clip=5)
    tables_ = []
    for name, rows, settings in (
        ("a", frame, few),
        ("b", frame.iloc[::-1], few),
        ("c", frame, few.changed(seed=1)),
    ):
        clips = write_clips(tmp_path / f"clips-{name}.parquet", rows)
        medians.estimate(encoder, [clips], HOW, settings, tmp_path / f"{name}.parquet")
        tables_.append((tmp_path / f"{name}.parquet").read_bytes())
    assert tables_[0] == tables_[1] != tables_[2]


def test_a_dataset_without_training_clips_is_told(encoder, tmp_path, frame):
    clips = write_clips(tmp_path / "clips.parquet", frame.assign(split="test"))
    with pytest.raises(ClipsError, match="no clips of split 'train'"):
        medians.estimate(encoder, [clips], HOW, ALL, tmp_path / "medians.parquet")


def test_medians_of_another_encoder_are_refused(encoder, tmp_path, frame):
    clips = write_clips(tmp_path / "clips.parquet", frame)
    medians.estimate(encoder, [clips], HOW, ALL, tmp_path / "medians.parquet")
    table = tables.read(tmp_path / "medians.parquet", "medians")
    tables.write(tmp_path / "medians.parquet", "medians", table.iloc[1:])
    with pytest.raises(tables.TableError, match="the encoder has 128"):
        medians.read(tmp_path / "medians.parquet", encoder)
