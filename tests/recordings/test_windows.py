"""Windows: which samples of a recording are clips, how clips are called, and what is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from common import ROOT
from test_preparation import long_wav
from upstream import sound, table

from audio_neurons import tables
from audio_neurons.datasets import Recording
from audio_neurons.recordings import audio
from audio_neurons.recordings.preparation import PreparationError, prepare
from audio_neurons.recordings.windows import Cut, Tally, cut
from audio_neurons.settings.datasets import Sample, Windows

RATE = 16_000


def noise(seconds, rate=RATE, seed=0):
    """16-bit noise, whose samples are all kept by lossless formats."""
    values = np.random.default_rng(seed).integers(-3000, 3000, round(seconds * rate))
    return values.astype(np.float32) / 32768


def clips_of(folder, files, windows, seconds, columns="path,kind", lines=None, workers=1, **options):
    """Prepare a list of recordings (name → content), and return the clips by name."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    lines = lines or [f"{name},{'ab'[i % 2]}" for i, name in enumerate(files)]
    (folder / "list.csv").write_text(table(columns, *lines))
    parts = [folder / "part.parquet"]
    prepare(
        "custom", {"files": folder / "list.csv"}, parts, folder / "rejected.parquet",
        windows=windows, clip_seconds=seconds, workers=workers, **options,
    )  # fmt: skip
    return tables.read(parts[0], "clips").set_index("clip_id")


def samples(clips, name):
    return audio.read(clips.loc[name, "audio"], int(clips.loc[name, "frames"]))


def test_windows_every_so_many_seconds_are_the_samples_of_these_places(tmp_path):
    wave = noise(3.7)
    files = {"a.wav": sound(wave), "b.flac": sound(noise(0.9, seed=1), kind="FLAC")}
    clips = clips_of(tmp_path, files, Windows(every=0.75), 1.0)
    starts = {"a.wav@0": 0, "a.wav@0.75": 12_000, "a.wav@1.5": 24_000, "a.wav@2.25": 36_000}
    assert list(clips.index) == [*starts, "b.flac"]
    for name, start in starts.items():
        np.testing.assert_array_equal(samples(clips, name), wave[start : start + RATE])
    np.testing.assert_array_equal(samples(clips, "b.flac"), noise(0.9, seed=1))
    assert list(clips["group"]) == 4 * ["a.wav"] + ["b.flac"]
    assert clips.groupby("group")["split"].nunique().max() == 1
    assert list(clips["kind"]) == [*"aaaa", "b"]


def test_a_window_that_ends_with_its_recording_is_there_and_one_that_is_as_long_is_the_recording(tmp_path):
    files = {"a.wav": sound(noise(2.0)), "b.wav": sound(noise(0.5))}
    assert list(clips_of(tmp_path, files, Windows(every=0.5), 0.5).index) == [
        "a.wav@0", "a.wav@0.5", "a.wav@1", "a.wav@1.5", "b.wav",
    ]  # fmt: skip
    # 0.1 has no exact binary number; 19 windows of 0.2 s begin in 2 s.
    names = clips_of(tmp_path, files, Windows(every=0.1), 0.2).index
    assert [name for name in names if name.startswith("a")] == [f"a.wav@{i / 10:g}" for i in range(19)]


def test_the_centre_leaves_out_as_much_before_as_behind(tmp_path):
    wave = noise(2.5)
    odd = np.append(wave, np.float32(0.5))
    clips = clips_of(tmp_path, {"a.wav": sound(wave), "b.wav": sound(odd)}, Windows(at="centre"), 1.0)
    assert list(clips.index) == ["a.wav@0.75", "b.wav@0.75"]
    np.testing.assert_array_equal(samples(clips, "a.wav@0.75"), wave[12_000:28_000])
    np.testing.assert_array_equal(samples(clips, "b.wav@0.75"), wave[12_000:28_000])


def test_the_loudest_window_has_the_largest_mean_square_of_its_candidates(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    wave = noise(6.3) * np.repeat(rng.uniform(0.1, 1, 63), 1600).astype(np.float32)
    wave = np.rint(wave * 32768).astype(np.float32) / 32768
    power = [np.square(wave[s : s + RATE].astype(np.float64)).mean() for s in range(0, 84_801, 1600)]
    best = int(np.argmax(power)) * 1600
    assert 0 < best < 84_800
    stereo = np.stack([wave, wave], axis=1)
    monkeypatch.setattr(audio, "BLOCK", 5000)  # several blocks, which are no multiples of a step
    clips = clips_of(tmp_path, {"a.wav": sound(stereo), "b.wav": sound(wave)}, Windows(at="loudest"), 1.0)
    for name in "ab":
        own = f"{name}.wav@{best / RATE:g}"
        np.testing.assert_array_equal(samples(clips, own), wave[best : best + RATE])


def test_the_last_candidate_of_the_loudest_may_be_the_end_and_equal_ones_are_the_first(tmp_path):
    rising = noise(3.0) * np.linspace(0.1, 1, 48_000, dtype=np.float32)
    flat = np.tile(np.float32([0.25, -0.25]), 24_000)
    clips = clips_of(tmp_path, {"a.wav": sound(rising), "b.wav": sound(flat)}, Windows(at="loudest"), 1.0)
    assert list(clips.index) == ["a.wav@2", "b.wav@0"]


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", None), ("AIFF", None), ("FLAC", None), ("OGG", None), ("MP3", None), ("OGG", "OPUS")],
)
def test_a_part_is_what_the_whole_has_there_in_every_format(kind, subtype):
    data = sound(noise(4.0), RATE, kind, subtype)
    whole = audio.decode(data)
    part, _ = audio.decode_scaled(data, 0.5, 2.25)
    np.testing.assert_allclose(part, whole[36_000:44_000], atol=1e-4)


def test_another_rate_is_cut_at_its_own_frames(tmp_path):
    wave = noise(3.0, 44_100)
    clips = clips_of(tmp_path, {"a.wav": sound(wave, 44_100), "b.wav": sound(wave)}, Windows(every=1.0), 1.0)
    assert {"a.wav@0", "a.wav@1", "a.wav@2"} < set(clips.index)
    part = audio.decode(sound(wave[44_100:88_200], 44_100))
    np.testing.assert_allclose(samples(clips, "a.wav@1"), part, atol=2**-15)


def test_workers_and_sizes_of_reading_do_not_change_the_clips(tmp_path, monkeypatch):
    files = {f"{i}.wav": sound(noise(30 + i, 22_050, i), 22_050) for i in range(3)}
    one = clips_of(tmp_path / "1", files, Windows(every=2.5), 2.0)
    four = clips_of(tmp_path / "4", files, Windows(every=2.5), 2.0, workers=4, max_seconds=3)
    pd.testing.assert_frame_equal(one, four)
    assert len(one) == 12 + 12 + 13


def test_what_is_heard_is_told(tmp_path, capsys):
    files = {"a.wav": sound(noise(3.7)), "b.wav": sound(noise(0.5))}
    clips_of(tmp_path, files, Windows(every=2.0), 1.0)
    assert (
        "custom: windows every 2 s: 2 windows of 1 s from 2 recordings hear 2.5 s of 4.2 s; 1 recordings are "
        "not longer than that, and whole" in capsys.readouterr().err
    )
    tally = Tally(2, 0, 4, 7200.0, 3600.0)
    assert "hear 1.00 h of 2.00 h" in tally.words(Windows(at="loudest"), 900)


def test_a_silent_window_is_left_out_and_no_fault_but_a_silent_recording_is(tmp_path, capsys):
    wave = noise(3.0)
    wave[RATE : 2 * RATE] = 0
    clips = clips_of(
        tmp_path, {"a.wav": sound(wave), "b.wav": sound()}, Windows(every=1.0), 1.0, max_rejected=0
    )
    assert list(clips.index) == ["a.wav@0", "a.wav@2", "b.wav"]
    assert "1 windows are silent, and left out: a.wav@1" in capsys.readouterr().err
    rejected = tables.read(tmp_path / "rejected.parquet", "rejected")
    assert rejected.to_numpy().tolist() == [["a.wav@1", "silent window"]]
    quiet = {"a.wav": sound(np.zeros(3 * RATE, np.float32)), "b.wav": sound()}
    with pytest.raises(PreparationError, match=r"a\.wav@1: silent"):
        clips_of(tmp_path, quiet, Windows(at="centre"), 1.0)


@pytest.mark.parametrize("windows", [{"every": 1.0}, {"at": "loudest"}, {"at": "centre"}])
def test_a_recording_that_cannot_be_read_is_rejected_once_with_the_reason(tmp_path, windows):
    files = {"a.wav": sound(noise(3.0)), "b.wav": b"no sound", "c.wav": b""}
    clips = clips_of(tmp_path, files, Windows(**windows), 1.0, max_rejected=0.9)
    assert {name.partition("@")[0] for name in clips.index} == {"a.wav"}
    rejected = dict(tables.read(tmp_path / "rejected.parquet", "rejected").to_numpy())
    assert rejected["c.wav"] == "missing, or an empty file"
    assert rejected["b.wav"].startswith("unreadable")
    assert len(rejected) == 2


def test_patterns_of_recordings_that_are_left_out_are_of_recordings(tmp_path):
    files = {name: sound(noise(2.0)) for name in ("a.wav", "b.wav", "c.wav")}
    clips = clips_of(tmp_path, files, Windows(every=1.0), 1.0, excluded={"a.wav": "rain"})
    assert list(clips.index) == ["b.wav@0", "b.wav@1", "c.wav@0", "c.wav@1"]


@pytest.mark.parametrize("whole", [False, True])
def test_a_sample_draws_windows_or_all_windows_of_a_recording(tmp_path, whole):
    files = {f"{i}.wav": sound(noise(4.0, seed=i)) for i in range(12)}
    sample = Sample(clips=10, per="kind", whole_groups=whole)
    clips = clips_of(tmp_path, files, Windows(every=1.0), 1.0, sample=sample)
    per_recording = clips["group"].value_counts()
    if whole:
        assert list(per_recording) == [4, 4]
    else:
        assert len(clips) == 10
        assert len(per_recording) > 3
        assert list(clips["kind"].value_counts()) == [5, 5]
    every = clips_of(tmp_path, files, Windows(every=1.0), 1.0)
    assert (clips["audio"] == every.loc[clips.index, "audio"]).all()


def test_a_sample_of_the_loudest_windows_is_of_recordings(tmp_path):
    files = {f"{i}.wav": sound(noise(2.0, seed=i)) for i in range(8)}
    clips = clips_of(tmp_path, files, Windows(at="loudest"), 1.0, sample=Sample(clips=5))
    assert len(clips) == clips["group"].nunique() == 5


def test_a_length_that_no_header_tells_is_counted(tmp_path, monkeypatch):
    from audio_neurons.recordings import windows

    monkeypatch.setattr(windows, "UNKNOWN", 1)
    recording = Recording("a", sound(noise(3.0)), "train", "g", {"kind": "a"})
    names = [c.recording.clip_id for c in cut([recording], Windows(every=1.0), 1.0)]
    assert names == ["a@0", "a@1", "a@2"]


def test_the_start_reads_no_header():
    recording = Recording("a", b"no sound", "train", "g", {"kind": "a"})
    assert list(cut([recording], Windows(at="first"), 1.0)) == [Cut(recording)]


def test_windows_at_and_every_exclude_each_other():
    assert list(Windows(at="first", every=1.0).contradictions())
    assert not list(Windows(every=1.0).contradictions())


PEAK = """
import sys
from pathlib import Path
from audio_neurons.recordings.preparation import prepare
from audio_neurons.settings.datasets import Windows
folder, windows = Path(sys.argv[1]), Windows(**eval(sys.argv[2]))
prepare("custom", {"files": folder / "list.csv"}, [folder / "part.parquet"], folder / "rejected.parquet",
        workers=2, windows=windows, clip_seconds=10, max_rejected=1)
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("windows", [{"every": 100.0}, {"at": "loudest"}])
def test_memory_does_not_grow_with_the_length_of_recordings(tmp_path, windows):
    peaks = []
    for seconds in (60, 1600):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        for i in range(2):
            long_wav(folder / f"{i}.wav", seconds)
        (folder / "list.csv").write_text(table("path,kind", "0.wav,a", "1.wav,b"))
        script = [sys.executable, "-c", PEAK, folder, repr(windows)]
        done = subprocess.run(script, check=True, capture_output=True, cwd=ROOT)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 60_000, f"{peaks} kB"
