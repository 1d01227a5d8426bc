"""Decoding in threads and in processes: the same batches, the same errors, and nothing is left behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from common import ROOT, TINY

from audio_neurons import models, tables
from audio_neurons.activations import decoding, extraction
from audio_neurons.activations.decoding import ExtractionError, batches
from audio_neurons.recordings import audio
from audio_neurons.running import runtime
from audio_neurons.settings.extraction import Pass

# More processes than this machine has cores are enough for a test.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

CLIPS = 23


def make(path, broken=(), rate=16_000, loud=0.1):
    """A clips table in row groups of five; clip 11 has 24 bits."""
    rng = np.random.default_rng(1)
    names, waves = [f"{i}.wav" for i in range(CLIPS)], []
    for i in range(CLIPS):
        samples = rng.normal(0, 1e-4 if i == 11 else loud, rng.integers(100, 300))
        waves.append(b"no FLAC" if i in broken else audio.encode(samples.astype(np.float32), rate))
    frame = pd.DataFrame({"clip_id": names, "audio": waves, "frames": 300, "split": "train", "fold": 0})
    frame = frame.assign(group="g", kind="x")
    with tables.writer(path, "clips", ["kind"]) as writer:
        for start in range(0, CLIPS, 5):
            part = frame.iloc[start : start + 5]
            writer.append({name: part[name].tolist() for name in frame.columns})
    return path


def children():
    """Processes that decoding started here, and that have not ended."""
    gc.collect()  # an error that was caught may still refer to what it interrupted
    return multiprocessing.active_children()


@pytest.mark.parametrize("size", [1, 4, 5, 7, 40])
@pytest.mark.parametrize("integers", [False, True])
def test_processes_give_the_batches_of_threads_in_their_order(tmp_path, size, integers):
    clips = make(tmp_path / "clips.parquet")
    expected = list(batches(clips, 160, size, integers=integers))
    found = list(batches(clips, 160, size, 3, integers=integers, processes=True))
    assert len(found) == len(expected) == -(-CLIPS // size)
    for (wave, n), (other, m) in zip(found, expected, strict=True):
        assert n == m
        assert wave.dtype == other.dtype
        assert torch.equal(wave, other)
    assert {wave.dtype for wave, _ in found} > ({torch.int16} if integers and size == 1 else set())
    assert not children()


def test_processes_work_and_begin_before_the_first_batch_is_asked_for(tmp_path):
    clips = make(tmp_path / "clips.parquet")
    found = batches(clips, 160, 4, 3, processes=True)
    assert len(children()) == 3
    found.close()
    del found
    assert not children()


@pytest.mark.parametrize("workers", [1, 3])
def test_without_processes_or_with_one_worker_threads_decode(tmp_path, workers):
    clips = make(tmp_path / "clips.parquet")
    found = batches(clips, 160, 4, workers, processes=workers == 1)
    next(found)
    assert not children()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="only Linux lists a process's threads there")
@pytest.mark.parametrize("integers", [False, True])
def test_a_decoding_thread_starts_no_threads_of_openmp(tmp_path, integers):
    """With more OpenMP threads than cores, those of the encoder sleep between its operations."""
    clips = make(tmp_path / "clips.parquet")
    block = next(iter(tables.blocks(clips, "clips", 5, decoding.COLUMNS)))

    def started():
        threads = set(os.listdir("/proc/self/task"))
        decoding._decode(clips, block, 80_000, 8, False, 16_000, integers)
        return set(os.listdir("/proc/self/task")) - threads

    torch.set_num_threads(2)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(started).result()


def test_a_clip_that_does_not_decode_is_the_same_error_after_the_same_batches(tmp_path):
    clips = make(tmp_path / "clips.parquet", broken=[9, 10])
    told = []
    for processes in (False, True):
        found = batches(clips, 160, 4, 2, processes=processes)
        assert [next(found)[1] for _ in range(2)] == [4, 4]
        with pytest.raises(ExtractionError) as error:
            next(found)
        told.append((type(error.value), str(error.value)))
    assert told[0] == told[1]
    assert "clip 9.wav" in told[0][1]
    assert told[0][1].endswith("delete it and run the workflow again")
    assert not children()


def test_damage_of_a_table_is_the_same_error(tmp_path):
    clips = make(tmp_path / "clips.parquet")
    data = bytearray(clips.read_bytes())
    data[len(data) // 2] ^= 0xFF
    clips.write_bytes(data)
    told = []
    for processes in (False, True):
        with pytest.raises(tables.TableError) as error:
            list(batches(clips, 160, 4, 2, processes=processes))
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "damaged" in told[0]


def test_other_errors_are_not_taken_for_those_of_a_user(tmp_path, monkeypatch):
    clips = make(tmp_path / "clips.parquet")
    monkeypatch.setattr(decoding, "_decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="in DataLoader worker process") as error:
        list(batches(clips, 160, 4, 2, processes=True))
    traceback.clear_frames(error.value.__traceback__)  # they refer to the processes
    assert not children()


@pytest.mark.parametrize("room", [0, 3])
def test_too_little_shared_memory_is_told_and_threads_decode_the_rest(tmp_path, monkeypatch, room):
    clips, told, share = make(tmp_path / "clips.parquet"), [], torch.Tensor.share_memory_
    expected = list(batches(clips, 160, 2))

    def shared(wave):
        if any(torch.equal(wave, one) for one, _ in expected[room:]):
            raise RuntimeError("unable to allocate shared memory(shm): Resource temporarily unavailable (11)")
        return share(wave)

    monkeypatch.setattr(decoding, "tell", told.append)
    monkeypatch.setattr(torch.Tensor, "share_memory_", shared)
    found = batches(clips, 160, 2, 3, processes=True)
    for number, (wave, size) in enumerate(expected):
        mine, n = next(found)
        assert torch.equal(mine, wave)
        assert n == size
        assert bool(told) == (number >= room)
    assert next(found, None) is None
    assert not children()
    assert len(told) == 1
    assert told[0].startswith("clips are decoded by threads from here on, which is slower: no shared memory")
    assert "0.00128 MB: unable to allocate" in told[0]
    assert "--shm-size" in told[0]


def test_a_process_that_is_killed_ends_the_job_with_what_to_do(tmp_path, monkeypatch):
    clips = make(tmp_path / "clips.parquet")
    monkeypatch.setattr(decoding, "_decode", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(RuntimeError) as error:
        list(batches(clips, 160, 4, 2, processes=True))
    told = runtime._remedy(error.value)
    assert told.startswith("a process that decodes clips ended (DataLoader worker (pid")
    assert "--set-threads RULE=1" in told


SCRIPT = """
import sys, time
from pathlib import Path
from audio_neurons.activations.decoding import batches
decoded = batches(Path(sys.argv[1]), 160, 2, 3, processes=True)
next(decoded)
print("begun", flush=True)
time.sleep(300)
"""


def test_no_process_outlives_a_script_that_is_interrupted(tmp_path):
    """The script has no guard against being imported, as those of the workflow."""
    clips = make(tmp_path / "clips.parquet")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    started = [
        subprocess.Popen(
            [sys.executable, tmp_path / "script.py", clips], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )
        for _ in range(3)
    ]  # fmt: skip

    def left(process):
        listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        return [group for group, state in rows if int(group) == process.pid and state[0] != "Z"]

    for process, how in zip(started, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL), strict=True):
        assert process.stdout.readline() == b"begun\n"
        assert len(left(process)) == 4
        process.send_signal(how)
        assert process.wait(60) != 0
    end = time.monotonic() + 60  # they look for their parent every five seconds
    while any(map(left, started)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(left, started))


def test_an_extraction_in_processes_writes_the_same_bytes(tmp_path, monkeypatch):
    encoder = models.load("tiny", TINY, None)
    clips = make(tmp_path / "clips.parquet")
    settings = Pass(clip_seconds=0.1, batch_size=4)

    def written(name):
        folder = tmp_path / name
        folder.mkdir()
        embeddings, responses = folder / "e.parquet", folder / "r.parquet"
        extraction.extract(encoder, clips, folder, embeddings, settings, responses, workers=2)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    threads = written("threads")

    def in_processes(*given, processes):
        assert not processes  # of a CPU
        return batches(*given, processes=True)

    monkeypatch.setattr(extraction, "batches", in_processes)
    assert written("processes") == threads
    assert not children()


def test_processes_end_when_the_encoder_fails(tmp_path, monkeypatch):
    encoder = models.load("tiny", TINY, None)
    clips = make(tmp_path / "clips.parquet")
    monkeypatch.setattr(extraction, "batches", lambda *given, processes: batches(*given, processes=True))
    monkeypatch.setattr(encoder, "front_end", lambda wave: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extraction.extract(
            encoder, clips, tmp_path, tmp_path / "e.parquet", Pass(clip_seconds=0.1), workers=2
        )
    assert not children()
