"""Facts about recordings, measured on files whose content is known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from common import SHARED
from upstream import dataset, sound, tone

from audio_neurons.datasets import Recording
from audio_neurons.recordings import audio, facts
from audio_neurons.recordings.facts import clipped_samples, measure
from audio_neurons.recordings.windows import Cut
from audio_neurons.settings.datasets import Sample, Windows


def measured(samples, rate=16_000, kind="WAV", subtype=None, max_seconds=60.0, clip_seconds=1.0):
    return measured_file(
        sound(np.asarray(samples, np.float32), rate, kind, subtype), max_seconds, clip_seconds
    )


def measured_file(data, max_seconds=60.0, clip_seconds=1.0, **part):
    return measure(Cut(Recording("a", data, "train", "g", {}, **part)), max_seconds, clip_seconds)


def written(folder, **sounds):
    """Write sounds and their list, and return the list."""
    lines = ["path,kind"]
    for name, samples in sounds.items():
        (folder / f"{name}.wav").write_bytes(sound(samples))
        lines.append(f"{name}.wav,{'ab'[len(lines) % 2]}")
    (folder / "own.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "own.csv"


def read(path, cache=None, **changed):
    given = {"max_seconds": 60.0, "clip_seconds": 1.0, "cache": cache, **changed}
    return facts.read("custom", {"files": path}, **given)


def test_levels_are_those_of_known_sounds():
    square = np.where(np.arange(16_000) % 100 < 50, 0.5, -0.5)
    found = measured(square)
    assert found.peak == pytest.approx(20 * np.log10(0.5), abs=1e-4)
    assert found.rms == pytest.approx(20 * np.log10(0.5), abs=1e-4)
    found = measured(tone(gain=1.0, seconds=1.0) * 0.999)
    assert found.rms == pytest.approx(-3.0103, abs=0.02)  # a sine is 3 dB below a square wave
    assert (found.format, found.encoding, found.rate, found.channels) == ("WAV", "PCM_16", 16_000, 1)
    assert (found.seconds, found.kept, found.problem) == (1.0, 1.0, "")


def test_levels_are_of_what_is_kept_and_of_what_is_heard():
    steps = np.repeat([0.1, 0.2, 0.4], 16_000)
    found = measured(steps, max_seconds=2.0, clip_seconds=1.0)
    assert (found.seconds, found.kept) == (3.0, 2.0)
    assert found.peak == pytest.approx(20 * np.log10(0.2), abs=5e-3)
    assert found.heard_peak == pytest.approx(20 * np.log10(0.1), abs=5e-3)
    assert found.heard_rms == pytest.approx(20 * np.log10(0.1), abs=5e-3)


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.25), (0.25, 0.0), (0.125, 0.5)])
def test_silence_at_the_ends_is_measured_where_the_model_listens(before, after):
    parts = [np.zeros(round(16_000 * before)), np.full(4_000, 0.3), np.zeros(round(16_000 * after))]
    assert measured(np.concatenate(parts)).silence == pytest.approx(before + after, abs=1e-4)


def test_silence_between_sounds_is_none_of_it():
    assert measured(np.concatenate([[0.3], np.zeros(8_000), [0.3]])).silence == 0


def test_what_is_heard_may_be_all_silence():
    late = np.concatenate([np.zeros(24_000), np.full(8_000, 0.3)])
    found = measured(late, clip_seconds=1.0)
    assert found.silence == 1.0
    assert found.heard_peak == -np.inf
    assert found.problem == ""


@pytest.mark.parametrize(
    ("runs", "told"), [([2], 0), ([3], 3), ([3, 2, 5], 8), ([1] * 20, 0), ([1000], 1000)]
)
def test_runs_at_full_scale_are_clipped(runs, told):
    samples = np.concatenate([np.concatenate([np.full(run, 1.0), [0.0]]) for run in runs])
    for part in (samples, -samples):
        assert clipped_samples(part[:, None], 1.0) == told
    assert measured(np.pad(samples, 100), subtype="PCM_16").clipped == told / (len(samples) + 200)


def test_channels_are_clipped_apart():
    samples = np.zeros((10, 2))
    samples[-2:, 0] = samples[:1, 1] = 1.0  # three in a row only if one channel followed the other
    assert clipped_samples(samples, 1.0) == 0
    samples[:3, 1] = 1.0
    assert clipped_samples(samples, 1.0) == 3


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW"])
def test_full_scale_is_that_of_the_encoding(subtype):
    clipped = np.clip(3 * tone(seconds=0.5), -1, 1)
    share = measured(clipped, subtype=subtype).clipped
    assert share == pytest.approx(np.mean(np.abs(clipped) == 1), abs=0.03)
    assert measured(0.9 * tone(gain=1.0), subtype=subtype).clipped == 0


def test_channels_that_are_silent_or_cancel_are_told():
    mono = tone(seconds=0.5)
    assert measured(mono).mixdown == 0
    assert measured(np.stack([mono, mono], 1)).mixdown == pytest.approx(0, abs=1e-6)
    assert measured(np.stack([mono, 0 * mono], 1)).mixdown == pytest.approx(6.02, abs=0.01)
    cancelled = measured(np.stack([mono, -mono], 1), subtype="FLOAT")
    assert (cancelled.mixdown, cancelled.problem) == (np.inf, "silent")


def test_the_same_sound_has_one_digest_in_whatever_file():
    samples = np.rint(20_000 * tone(seconds=0.3)).astype(np.int16)
    digests = {measured_file(sound(samples, kind=kind)).digest for kind in ("WAV", "FLAC", "AIFF", "AU")}
    digests.add(measured_file(sound(samples / 32768, subtype="FLOAT")).digest)
    (digest,) = digests
    assert digest != measured_file(sound(samples - 1)).digest
    longer = sound(np.concatenate([samples, samples]))
    assert measured_file(longer, 0.3).digest == digest  # of what is kept
    assert measured_file(longer).digest != digest


def test_an_unusable_recording_says_why_and_what_is_known_of_it():
    assert measured_file(b"").problem == "missing, or an empty file"
    found = measured(np.zeros(16_000))
    assert (found.problem, found.rate, found.seconds) == ("silent", 16_000, 1.0)
    assert np.isnan(found.peak)
    assert measured_file(b"no sound at all" * 100).problem.startswith("unreadable")


def test_length_is_the_headers(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(sound(tone(seconds=3.25)))
    assert facts.length(file) == 3.25
    file.write_bytes(sound(np.zeros(48_000)))
    assert facts.length(file) == 3.0  # silence has a length too
    assert np.isnan(facts.length(tmp_path / "none.wav"))


def test_a_row_per_recording_with_labels_that_may_be_called_like_a_fact(tmp_path):
    written(tmp_path, a=tone(), b=tone(500))
    (tmp_path / "own.csv").write_text("path,rate,format,group\na.wav,slow,x,g\nb.wav,fast,y,g\n")
    found = read(tmp_path / "own.csv")
    assert found["clip_id"].tolist() == ["a.wav", "b.wav"]
    assert found[f"{facts.LABEL}rate"].tolist() == ["slow", "fast"]
    assert found["rate"].tolist() == [16_000, 16_000]
    assert found["group"].tolist() == ["g", "g"]


def test_what_is_left_out_is_not_decoded(tmp_path):
    path = written(tmp_path, a=tone(), b=tone(500))
    (tmp_path / "b.wav").write_bytes(b"damaged")
    found = read(path, excluded={"b*": "rain"})
    assert found["problem"].tolist() == ["", "excluded: rain"]
    assert len(facts.used(found)) == 1


def test_the_number_of_workers_changes_nothing(tmp_path):
    path = written(tmp_path, **{f"s{i}": tone(200 + 50 * i) for i in range(20)})
    assert read(path).equals(read(path, workers=4))


def test_events_and_windows_are_measured_as_such(tmp_path):
    steps = np.repeat([0.1, 0.2, 0.4, 0.8], 16_000)
    found = measured_file(sound(steps), onset=1.0, offset=3.0)
    assert (found.seconds, found.kept) == (2.0, 2.0)
    assert found.peak == pytest.approx(20 * np.log10(0.4), abs=5e-3)
    assert found.heard_peak == pytest.approx(20 * np.log10(0.2), abs=5e-3)
    path = written(tmp_path, a=steps, b=tone(seconds=1.0))
    found = read(path, windows=Windows(every=2.0))
    assert found["clip_id"].tolist() == ["a.wav@0", "a.wav@2", "b.wav"]
    assert found["peak"].iloc[:2].tolist() == pytest.approx([-20, 20 * np.log10(0.4)], abs=5e-3)
    found = read(path, tmp_path / "cache.parquet", windows=Windows(at="loudest"))
    assert found["peak"].iloc[0] == pytest.approx(20 * np.log10(0.8), abs=5e-3)
    assert read(path, tmp_path / "cache.parquet", windows=Windows(at="loudest")).equals(found)


def test_of_a_sample_only_what_is_drawn_is_measured(tmp_path):
    path = written(tmp_path, **{f"s{i}": tone(200 + 50 * i) for i in range(10)})
    assert len(read(path, sample=Sample(clips=4, seed=1))) == 4


# The cache


@pytest.fixture
def counted(monkeypatch):
    """The recordings that are decoded, one after the other."""
    seen = []

    def opened(data):
        seen.append(data.name if isinstance(data, Path) else "bytes")
        return real(data)

    real = audio.opened
    monkeypatch.setattr(audio, "opened", opened)
    return seen


def test_only_changed_files_are_read_again(tmp_path, counted):
    path, cache = written(tmp_path, a=tone(), b=tone(500), c=tone(600)), tmp_path / "cache/own.parquet"
    first = read(path, cache)
    assert sorted(counted) == ["a.wav", "b.wav", "c.wav"]
    counted.clear()
    time = cache.stat().st_mtime_ns
    assert read(path, cache).equals(first)
    assert (counted, cache.stat().st_mtime_ns) == ([], time)
    (tmp_path / "b.wav").write_bytes(sound(tone(900)))
    assert read(path, cache)["digest"].tolist() != first["digest"].tolist()
    assert counted == ["b.wav"]


def test_labels_are_the_lists_and_not_the_caches(tmp_path, counted):
    path, cache = written(tmp_path, a=tone(), b=tone(500)), tmp_path / "own.parquet"
    read(path, cache)
    counted.clear()
    path.write_text("path,other\nb.wav,x\na.wav,y\n", encoding="utf-8")
    found = read(path, cache)
    assert dict(zip(found["clip_id"], found[f"{facts.LABEL}other"], strict=True)) == {
        "b.wav": "x",
        "a.wav": "y",
    }
    assert counted == []


@pytest.mark.parametrize("changed", [{"clip_seconds": 0.05}, {"max_seconds": 0.05}])
def test_other_settings_measure_anew(tmp_path, counted, changed):
    path, cache = written(tmp_path, a=tone(), b=tone(500)), tmp_path / "own.parquet"
    read(path, cache)
    counted.clear()
    found = read(path, cache, **changed)
    assert sorted(counted) == ["a.wav", "b.wav"]
    assert found.equals(read(path, **changed))


@pytest.mark.parametrize("damage", [b"", b"no table", None])
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    path, cache = written(tmp_path, a=tone(), b=tone(500)), tmp_path / "own.parquet"
    first = read(path, cache)
    content = cache.read_bytes()
    cache.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert read(path, cache).equals(first)
    assert cache.read_bytes() == content


def test_what_was_read_before_an_interruption_is_kept(tmp_path, counted, monkeypatch):
    path, cache = written(tmp_path, **{f"s{i}": tone(200 + i) for i in range(30)}), tmp_path / "own.parquet"

    def interrupted(one, *args):
        if one.recording.clip_id == "s20.wav":
            raise KeyboardInterrupt
        return real(one, *args)

    real = facts.measure
    monkeypatch.setattr(facts, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(path, cache)
    monkeypatch.setattr(facts, "measure", real)
    counted.clear()
    assert len(read(path, cache)) == 30
    assert 0 < len(counted) <= 30 - 15


def test_a_folder_that_may_not_be_written_costs_only_time(tmp_path, capfd):
    path = written(tmp_path, a=tone(), b=tone(500))
    (tmp_path / "file").touch()
    assert len(read(path, tmp_path / "file" / "own.parquet")) == 2
    assert "not kept" in capfd.readouterr().err


def test_archives_are_read_once_until_they_change(tmp_path, counted):
    archives = dataset("esc50", tmp_path)
    given = {"max_seconds": 60.0, "clip_seconds": 5.0, "cache": tmp_path / "own.parquet"}
    first = facts.read("esc50", archives, **given)
    assert set(counted) == {"bytes"}
    counted.clear()
    assert facts.read("esc50", archives, **given).equals(first)
    assert counted == []
    os.utime(archives["archive"], ns=(1, 1))
    assert facts.read("esc50", archives, **given).equals(first)
    assert len(counted) == len(first)


@pytest.mark.recordings
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real recordings are not here (../shared)")
def test_real_recordings_have_the_facts_that_their_page_tells():
    emodb = read(SHARED / "data/real/emodb.csv", clip_seconds=2.0, workers=2)
    assert len(emodb) == len(facts.used(emodb)) == 535
    assert (emodb["seconds"] == 2).all()  # cut or padded by its uploader
    assert emodb["rate"].unique().tolist() == [22_050]
    assert not emodb["digest"].duplicated().any()
