from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from common import ROOT
from upstream import changes, dataset, esc50, lfs_pointer, real_esc50, sound, table, tarred, tone, zipped

from audio_neurons import datasets, tables
from audio_neurons.datasets import Recording, source
from audio_neurons.datasets.archives import members
from audio_neurons.recordings import audio, preparation
from audio_neurons.recordings.preparation import PreparationError, prepare
from audio_neurons.running import parallel


def run(folder, archives, adapter="esc50", parts=1, **options):
    shards = [folder / f"part-{i}.parquet" for i in range(parts)]
    summary = prepare(adapter, archives, shards, folder / "rejected.parquet", **options)
    return summary, pd.concat([tables.read(s, "clips") for s in shards], ignore_index=True)


def written(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def rejected(folder):
    listed = tables.read(folder / "rejected.parquet", "rejected")
    return dict(zip(listed["clip_id"], listed["reason"], strict=True))


EXCLUDED = {
    "cremad": "1076_MTI_SAD_XX.wav", "gtzan": "jazz/jazz.00054.wav", "nsynth": "brass_acoustic_046-084-025"
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["cremad", "esc50", "gise51", "gtzan", "nsynth", "surge", "voxceleb1", "voxforge"]
)
def test_every_dataset_is_prepared(name, tmp_path):
    archives = dataset(name, tmp_path)
    options = changes(name, tmp_path).get("options", {})
    summary, clips = run(tmp_path / "clips", archives, name, max_rejected=0, options=options)
    assert summary.clips == len(clips) > 0
    assert tables.labels_of("clips", clips.columns) == source(name)["labels"]
    assert summary.seconds == pytest.approx(clips["frames"].sum() / 16_000)
    assert all(len(audio.read(flac, 400)) == 400 for flac in clips["audio"])
    left_out = rejected(tmp_path / "clips")
    assert list(left_out) == ([EXCLUDED[name]] if name in EXCLUDED else [])
    assert all(why.startswith("excluded: ") for why in left_out.values())
    assert (summary.rejected, summary.excluded) == (0, len(left_out))


def test_an_upload_at_another_rate_is_resampled(tmp_path):
    _, clips = run(tmp_path / "clips", dataset("voxforge", tmp_path), "voxforge")
    frames = clips.set_index("clip_id")["frames"]
    assert frames["anonymous-20080425-bws/wav/a1.wav"] == frames["guenter-20140214-afn/wav/a1.wav"] == 1600


def test_a_pointer_of_git_lfs_is_told_from_a_recording(tmp_path):
    archives = dataset("cremad", tmp_path)
    first = archives["archive"][0]
    files = {name: lfs_pointer(data) if "DFA" in name else data for name, data in members(first)}
    tarred(first, files, "w")
    summary, _ = run(tmp_path / "clips", archives, "cremad", max_rejected=0.25)
    assert (summary.clips, summary.rejected, summary.excluded) == (3, 1, 1)
    assert "Git LFS pointer" in rejected(tmp_path / "clips")["1001_DFA_ANG_XX.wav"]


def test_a_listed_recording_that_no_archive_has_is_refused(tmp_path):
    archives = dataset("cremad", tmp_path)
    archives["archive"].pop()
    with pytest.raises(PreparationError, match=r"1 of 4 (.*\n)*  1006_TIE_HAP_XX.wav: missing, or an empty"):
        run(tmp_path / "clips", {**archives, "archive": [str(p) for p in archives["archive"]]}, "cremad")


def test_what_a_clip_holds(tmp_path):
    summary, clips = run(tmp_path / "clips", dataset("esc50", tmp_path))
    assert summary == preparation.Summary(15, 0, 0, pytest.approx(1.5))
    first = clips.iloc[0]
    assert first.drop("audio").to_dict() == {
        "clip_id": "1-1-A-0.wav", "frames": 1600, "split": "train", "fold": 1, "group": "1",
        "category": "dog",
    }  # fmt: skip
    np.testing.assert_allclose(audio.read(first["audio"], 1600)[500:-500], tone(200)[500:-500], atol=2e-3)


def test_result_does_not_depend_on_workers(tmp_path):
    archives = dataset("esc50", tmp_path)
    for workers in (1, 2, 5):
        run(tmp_path / str(workers), archives, parts=2, workers=workers)
    for name in ("part-0.parquet", "part-1.parquet", "rejected.parquet"):
        contents = {(tmp_path / str(workers) / name).read_bytes() for workers in (1, 2, 5)}
        assert len(contents) == 1


def test_result_does_not_depend_on_the_number_of_parts(tmp_path):
    archives = dataset("esc50", tmp_path)
    _, one = run(tmp_path / "1", archives)
    _, three = run(tmp_path / "3", archives, parts=3)
    assert [tables.size(tmp_path / "3" / f"part-{i}.parquet") for i in range(3)] == [5, 5, 5]
    pd.testing.assert_frame_equal(
        one.sort_values("clip_id", ignore_index=True), three.sort_values("clip_id", ignore_index=True)
    )


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_group_stays_together_and_parts_stay_alike(shuffled):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), rng.integers(20, 150, 200))
    if shuffled:
        rng.shuffle(groups)
    dealer = preparation.Dealer(8)
    parts = np.array([dealer.part(str(group)) for group in groups])
    sizes = np.bincount(parts, minlength=8)
    assert np.ptp(sizes) <= preparation.AHEAD
    held = len(np.unique(np.stack([groups, parts]), axis=1).T)
    assert held < 1.3 * 200
    one_by_one = np.arange(len(groups)) % 8
    assert held < 0.2 * len(np.unique(np.stack([groups, one_by_one]), axis=1).T)


def test_a_group_too_large_for_a_part_goes_on_in_others():
    dealer = preparation.Dealer(3)
    parts = [dealer.part("anonymous") for _ in range(9 * preparation.AHEAD)]
    assert np.ptp(np.bincount(parts)) <= preparation.AHEAD
    assert parts[: preparation.AHEAD] == [0] * preparation.AHEAD


def test_there_may_be_more_parts_than_clips(tmp_path):
    _, clips = run(tmp_path / "clips", dataset("esc50", tmp_path), parts=20)
    assert len(clips) == 15


def test_clips_are_written_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "ROWS", 4)
    run(tmp_path / "clips", dataset("esc50", tmp_path))
    with tables.open_table(tmp_path / "clips" / "part-0.parquet", "clips") as file:
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 4, 3]


def test_few_recordings_are_in_flight(tmp_path, monkeypatch):
    taken, decoded = [], []

    def recordings(archives):
        for i in range(100):
            taken.append(i)
            assert len(taken) - len(decoded) <= parallel.IN_FLIGHT * 2 + 1
            yield Recording(str(i), sound(), "train", "g", {"category": "dog"})

    monkeypatch.setattr(preparation, "reader", lambda _: recordings)
    for module in (preparation, datasets):
        monkeypatch.setattr(module, "source", lambda _: {"labels": ["category"], "archives": {}})
    append = preparation._Shard.add
    monkeypatch.setattr(preparation._Shard, "add", lambda *a: (decoded.append(a), append(*a)))
    summary, clips = run(tmp_path, {}, workers=2)
    assert summary.clips == 100
    assert list(clips["clip_id"]) == [str(i) for i in range(100)]


def test_long_recordings_are_stored_from_their_start(tmp_path):
    path = esc50(tmp_path / "a.zip", extra={"1-1-A-0.wav": sound(tone(seconds=3.0))})
    _, clips = run(tmp_path / "clips", {"archive": path}, max_seconds=1.25)
    assert clips["frames"].max() == 20_000
    _, clips = run(tmp_path / "clips", {"archive": path})
    assert clips["frames"].max() == 48_000


def test_recordings_beyond_full_scale_are_told_once(tmp_path, capsys):
    def told(gains):
        lines = [f"{name}.wav,{i % 2}" for i, name in enumerate(gains)]
        for name, gain in gains.items():
            (tmp_path / f"{name}.wav").write_bytes(sound(tone(gain=gain), subtype="FLOAT"))
        (tmp_path / "list.csv").write_text(table("path,kind", *lines))
        summary, clips = run(tmp_path / "clips", {"files": tmp_path / "list.csv"}, "custom", name="birds")
        assert summary.scaled == sum(gain > 1 for gain in gains.values())
        peaks = [np.abs(audio.read(flac, 1600)).max() for flac in clips["audio"]]
        assert all(0.2 < peak <= 1 for peak in peaks)
        return [line for line in capsys.readouterr().err.splitlines() if "full scale" in line]

    assert told({"a": 0.9, "b": 1}) == []
    ways = "go beyond full scale and are stored at", "of their level, which keeps their shape:"
    assert told({"a": 0.9, "b": 4.0}) == [f"birds: 1 of 2 recordings {ways[0]} 1/8 {ways[1]} b.wav (1/8)"]
    assert told({"a": 1.5, "b": 20_000, "c": 4.0, "d": 3.0, "e": 0.5}) == [
        f"birds: 4 of 5 recordings {ways[0]} 1/2 to 1/32768 {ways[1]} "
        "b.wav (1/32768), c.wav (1/8), d.wav (1/4), ..."
    ]


def test_recordings_that_are_not_as_their_headers_say_are_told_once(tmp_path, capsys):
    whole = sound(tone(seconds=1.0))
    contents = {"a": whole, "b": whole[:16_044], "c": whole[:40] + bytes(4) + whole[44:], "d": whole[:20_044]}
    for name, data in contents.items():
        (tmp_path / f"{name}.wav").write_bytes(data)
    (tmp_path / "list.csv").write_text(table("path,kind", *(f"{n}.wav,{n}" for n in contents)))
    _, clips = run(tmp_path / "clips", {"files": tmp_path / "list.csv"}, "custom", name="birds")
    assert dict(zip(clips["clip_id"], clips["frames"], strict=True)) == {
        "a.wav": 16_000, "b.wav": 8_000, "c.wav": 16_000, "d.wav": 10_000
    }  # fmt: skip
    told = capsys.readouterr().err
    assert "birds: 3 of 4 recordings are damaged, or not as long as their headers say, and are read " in told
    for name, promised, there in (("b", 1, "0.5"), ("c", 0, "1"), ("d", 1, "0.625")):
        assert f"{name}.wav: its header says {promised} s, and it has {there}" in told


BAD = {
    "1-1-A-0.wav": b"",
    "1-101-A-1.wav": b"broken",
    "1-1001-A-10.wav": sound(np.zeros(1600, np.float32)),
    "2-2-A-0.wav": sound(np.full(1600, np.nan, np.float32), subtype="FLOAT"),
}


def test_unusable_recordings_are_listed_up_to_a_share(tmp_path):
    path = esc50(tmp_path / "a.zip", extra=BAD)
    summary, clips = run(tmp_path / "clips", {"archive": path}, max_rejected=4 / 15)
    assert summary == preparation.Summary(11, 4, 0, pytest.approx(1.1))
    assert not set(clips["clip_id"]) & set(BAD)
    assert {name: why.partition(":")[0] for name, why in rejected(tmp_path / "clips").items()} == {
        "1-1-A-0.wav": "missing, or an empty file", "1-101-A-1.wav": "unreadable",
        "1-1001-A-10.wav": "silent", "2-2-A-0.wav": "NaN or infinite samples",
    }  # fmt: skip


def test_too_many_unusable_recordings_stop_the_preparation(tmp_path):
    path = esc50(tmp_path / "a.zip", extra=BAD)
    with pytest.raises(PreparationError) as error:
        run(tmp_path / "clips", {"archive": path}, max_rejected=0.2)
    message = str(error.value)
    assert (
        "esc50: 4 of 15 recordings (26.7%) cannot be used; `preparation.max_rejected` allows 20.0%" in message
    )
    assert "Remedy: replace the archive if" in message
    assert "1-1001-A-10.wav: silent" in message
    listing = tmp_path / "clips" / "rejected.parquet.failed.csv"
    assert str(listing) in message
    assert list(pd.read_csv(listing)["clip_id"]) == list(BAD)
    assert written(tmp_path / "clips") == [listing.name]
    run(tmp_path / "clips", {"archive": path}, max_rejected=0.5)
    assert written(tmp_path / "clips") == ["part-0.parquet", "rejected.parquet"]


def test_recordings_left_out_are_listed_and_do_not_count(tmp_path, monkeypatch, capsys):
    decoded = []
    decode = audio.excerpt
    monkeypatch.setattr(audio, "excerpt", lambda *given: (decoded.append(given), decode(*given))[1])
    path = esc50(tmp_path / "a.zip", extra=BAD)
    patterns = {
        "1-*-A-[01].wav": "odd",
        "1-1001-A-10.wav": "quiet",
        "?-2-A-0.wav": "no number",
        "x": "absent",
    }
    summary, clips = run(tmp_path / "clips", {"archive": path}, max_rejected=0, excluded=patterns)
    assert summary == preparation.Summary(11, 0, 4, pytest.approx(1.1))
    assert len(clips) == len(decoded) == 11
    assert "esc50: no recording matches x (`excluded`)" in capsys.readouterr().err
    assert rejected(tmp_path / "clips") == {
        "1-1-A-0.wav": "excluded: odd", "1-101-A-1.wav": "excluded: odd",
        "1-1001-A-10.wav": "excluded: quiet", "2-2-A-0.wav": "excluded: no number",
    }  # fmt: skip
    del patterns["?-2-A-0.wav"]
    with pytest.raises(PreparationError, match=r"1 of 12 recordings \(8\.3%\)"):
        run(tmp_path / "clips", {"archive": path}, max_rejected=0, excluded=patterns)
    assert list(pd.read_csv(tmp_path / "clips" / "rejected.parquet.failed.csv")["clip_id"]) == ["2-2-A-0.wav"]


def test_what_is_left_out_is_the_datasets_own_list_unless_told(tmp_path):
    archives = dataset("cremad", tmp_path)
    with pytest.raises(PreparationError, match=r"1 of 5 .*(\n.*)*1076_MTI_SAD_XX\.wav: silent"):
        run(tmp_path / "clips", archives, "cremad", excluded={})
    summary, _ = run(tmp_path / "clips", archives, "cremad", excluded={"1076*": "silent", "1001*": "mine"})
    assert (summary.clips, summary.excluded) == (3, 2)
    with pytest.raises(PreparationError, match="cremad: all recordings are left out"):
        run(tmp_path / "clips", archives, "cremad", excluded={"*": "all"})


def test_nothing_usable_is_an_error_whatever_the_share(tmp_path):
    path = esc50(tmp_path / "a.zip", data=b"broken")
    with pytest.raises(PreparationError, match="15 of 15 recordings"):
        run(tmp_path / "clips", {"archive": path}, max_rejected=1.0)


GOOD = {"clip_id": "a", "data": sound(), "split": "train", "group": "g", "labels": {"category": "dog"}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([{}, {}], "recording 'a' occurs twice"),
        ([{}, {"data": b""}], "recording 'a' occurs twice"),
        ([], "hold no recordings"),
        ([{"split": "dev"}], "split 'dev' is not one of train, valid, test"),
        ([{"labels": {}}], r"labels \[\], expected \['category'\]"),
        ([{"labels": {"category": " "}}], "no value for label 'category'"),
        ([{"labels": {"category": None}}], "no value for label 'category'"),
    ],
)
def test_broken_promises_leave_nothing_behind(tmp_path, monkeypatch, changes, told):
    def recordings(archives, *, test_fold, verify_members):
        return (Recording(**{**GOOD, **change}) for change in changes)

    monkeypatch.setattr(preparation, "reader", lambda _: recordings)
    with pytest.raises(PreparationError, match=told):
        run(tmp_path / "clips", {"archive": tmp_path}, parts=2)
    assert written(tmp_path / "clips") == []


def test_options_reach_the_adapter(tmp_path):
    archives = dataset("esc50", tmp_path)
    _, clips = run(tmp_path / "clips", archives, options={"test_fold": 1})
    assert set(clips.loc[clips["split"] == "test", "fold"]) == {1}
    with pytest.raises(PreparationError, match="unknown option fold; there are: test_fold, verify_members"):
        run(tmp_path / "clips", archives, options={"fold": 1})
    with pytest.raises(PreparationError, match="unknown option fold; there are: none"):
        run(tmp_path / "clips", dataset("surge", tmp_path), "surge", options={"fold": 1})
    _, notes = run(tmp_path / "clips", dataset("nsynth", tmp_path), "nsynth", options={"pitches": None})
    assert set(notes["pitch"]) > {"9", "116"}


def test_every_role_needs_its_archive(tmp_path):
    with pytest.raises(PreparationError, match="surge: no archive given as splits"):
        run(tmp_path / "clips", {"archive": tmp_path}, "surge")
    with pytest.raises(ValueError, match="no parts"):
        run(tmp_path / "clips", {"archive": tmp_path}, parts=0)


def test_an_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(samples, rate):
        raise KeyboardInterrupt

    archives = dataset("esc50", tmp_path)
    monkeypatch.setattr(audio, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "clips", archives)
    assert written(tmp_path / "clips") == []


def test_clips_at_another_rate_are_the_same_recordings_in_the_same_shards(tmp_path, capsys):
    archives = dataset("voxforge", tmp_path)
    slow, at_16 = run(tmp_path / "16", archives, "voxforge", parts=2)
    fast, at_32 = run(tmp_path / "32", archives, "voxforge", parts=2, rate=32_000)
    rest = [name for name in at_16.columns if name not in ("audio", "frames")]
    pd.testing.assert_frame_equal(at_16[rest], at_32[rest])
    assert (at_32["frames"] == 2 * at_16["frames"]).all()
    assert all(len(audio.read(flac, 9, 32_000)) == 9 for flac in at_32["audio"])
    assert (fast.clips, fast.rejected) == (slow.clips, slow.rejected)
    assert fast.seconds == pytest.approx(slow.seconds)
    told = capsys.readouterr().err
    recordings = datasets.reader("voxforge")(archives)
    slower = sum(soundfile.info(io.BytesIO(one.data)).samplerate < 32_000 for one in recordings)
    assert 0 < slower < fast.clips
    assert f"{slower} of {fast.clips} recordings have a sampling rate below the 32000 Hz" in told
    assert "below the 16000 Hz" not in told


# Reads its own peak, since a child's ru_maxrss starts from that of its parent.
PEAK = """
import sys
from pathlib import Path
from audio_neurons.recordings import preparation
folder, archive = map(Path, sys.argv[1:])
preparation.prepare("esc50", {"archive": archive}, [folder / "part.parquet"], folder / "rejected.parquet")
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_dataset(tmp_path):
    waves = [sound(0.1 * np.random.default_rng(i).standard_normal(4800).astype(np.float32)) for i in range(8)]
    peaks = []
    for clips in (200, 4000):
        names = [f"{i % 5 + 1}-{i}-A-0.wav" for i in range(clips)]
        lines = [f"{name},{name[0]},dog,{i}" for i, name in enumerate(names)]
        files = {f"E/audio/{name}": waves[i % 8] for i, name in enumerate(names)}
        files["E/meta/esc50.csv"] = table("filename,fold,category,src_file", *lines)
        archive = zipped(tmp_path / f"{clips}.zip", files)
        script = [sys.executable, "-c", PEAK, tmp_path / str(clips), archive]
        done = subprocess.run(script, check=True, capture_output=True, cwd=ROOT)
        peaks.append(int(done.stdout))
        assert tables.size(tmp_path / str(clips) / "part.parquet") == clips
    assert peaks[1] / peaks[0] < 1.15, f"{peaks} kB"


# The same for a list of one's own.
PEAK_OF_A_LIST = PEAK.replace('"esc50", {"archive": archive}', '"custom", {"files": archive}').replace(
    '"rejected.parquet")', '"rejected.parquet", workers=2, max_seconds=20)'
)


def long_wav(path, seconds, rate=48_000):
    """Write a stereo WAV of which all but the first second takes no room on the disk."""
    start = sound(tone(rate=rate, seconds=1.0)[:, None].repeat(2, axis=1), rate)
    assert start[36:40] == b"data"
    size = 44 + 4 * seconds * rate
    path.write_bytes(
        start[:4]
        + (size - 8).to_bytes(4, "little")
        + start[8:40]
        + (size - 44).to_bytes(4, "little")
        + start[44:]
    )
    os.truncate(path, size)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_length_of_recordings(tmp_path):
    peaks = []
    for seconds in (20, 1600):  # 4 and 300 MB
        folder = tmp_path / str(seconds)
        folder.mkdir()
        for i in range(6):
            long_wav(folder / f"{i}.wav", seconds)
        (folder / "list.csv").write_text(table("path,kind", *(f"{i}.wav,{i % 2}" for i in range(6))))
        script = [sys.executable, "-c", PEAK_OF_A_LIST, folder, folder / "list.csv"]
        done = subprocess.run(script, check=True, capture_output=True, cwd=ROOT)
        peaks.append(int(done.stdout))
        clips = tables.read(folder / "part.parquet", "clips")
        assert list(clips["frames"]) == 6 * [20 * 16_000]
    assert peaks[1] - peaks[0] < 60_000, f"{peaks} kB"
    one, other = (tables.read(tmp_path / str(s) / "part.parquet", "clips") for s in (20, 1600))
    assert list(one["audio"]) == list(other["audio"])


def test_importing_is_light():
    code = (
        "import sys, audio_neurons.recordings.preparation; "
        "sys.exit(bool({'torch', 'snakemake'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.recordings
def test_real_recordings(tmp_path):
    path = real_esc50(tmp_path)
    unverified = {"verify_members": False}
    summary, clips = run(tmp_path / "clips", {"archive": path}, parts=2, workers=2, options=unverified)
    assert summary == preparation.Summary(50, 0, 0, 250.0)
    assert set(clips["frames"]) == {80_000}
    assert (clips["category"].value_counts() == 5).all()
    assert (clips.groupby("category")["fold"].nunique() == 5).all()
    assert (clips["split"] == "test").sum() == 10
