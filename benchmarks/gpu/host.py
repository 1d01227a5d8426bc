"""Part D: what the host can deliver: reading, decoding, writing, and launching while it decodes."""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from audio_neurons import tables
from audio_neurons.activations.decoding import batches
from audio_neurons.activations.extraction import Notes
from audio_neurons.activations.transfers import Transfers
from audio_neurons.activations.units import Tally
from audio_neurons.models.encoder import numerics
from benchmarks.common import make_clips
from benchmarks.gpu.sheet import Measure, Sheet

DISTINCT = 256  # recordings; encoding more would take the time of the benchmark


def _table(sheet: Sheet, folder: str) -> tuple[Path, int, float]:
    clips, seconds = sheet.sized((4096, 5.0), (12, 0.5))
    return (
        make_clips(Path(folder) / "clips.parquet", clips, seconds, 40, sheet.sized(DISTINCT, 4)),
        clips,
        seconds,
    )


def reading(sheet: Sheet) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, clips, _ = _table(sheet, folder)
        began = time.perf_counter()
        for _ in tables.blocks(path, "clips", 32, ["clip_id", "audio"]):
            pass
        sheet.add("reading Parquet", clips / (time.perf_counter() - began), "clips/s")


def decoding(sheet: Sheet) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, _, seconds = _table(sheet, folder)
        for workers in sheet.sized((16, 8, 4, 2, 1), (2, 1)):
            for way in ("threads", "processes")[: min(workers, 2)]:
                began, done = time.perf_counter(), 0
                given = path, round(seconds * 16_000), 32, workers, sheet.cuda
                decoded = batches(*given, integers=sheet.cuda, processes=way == "processes")
                for _, size in decoded:
                    done += size
                    if time.perf_counter() - began > 3:  # with few of them the rate is clear before the end
                        break
                rate = done / (time.perf_counter() - began)
                decoded.close()  # ends processes
                sheet.add(f"decoding, in {way}: {workers}", rate, "clips/s")
                sheet.check()


def writing(sheet: Sheet) -> None:
    size, neurons, clips = 128, sheet.sized(36_864, 64), sheet.sized(1024, 256)
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((size, sheet.sized(3840, 16)), np.float32))
    active = torch.from_numpy(rng.integers(0, 160, (size, neurons), np.int32))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make_clips(folder / "clips.parquet", clips, 0.5, 40, 4)
        frame = tables.read(path, "clips", columns=["clip_id", "frames", "split", "fold", "group", "kind"])
        names, tokens = frame["clip_id"].to_numpy(), np.full(size, 160)
        for responses in (False, True):
            out = folder / f"{responses}"
            out.mkdir()
            began = time.perf_counter()
            with ExitStack() as stack:
                embedded = stack.enter_context(tables.writer(out / "e.parquet", "embeddings"))
                kept = stack.enter_context(tables.writer(out / "r.parquet", "responses"))
                tally = Tally(frame, ["kind"], neurons, out)
                on_host = Transfers(torch.device("cpu"))  # results are there
                notes = Notes(names, tally, embedded, kept if responses else None, path, on_host)
                with notes:
                    for _ in range(clips // size):
                        notes.add(features, active, tokens)
                    notes.finish()
            what = "embeddings, counts, responses" if responses else "embeddings, counts"
            sheet.add(f"writing: {what}", clips / (time.perf_counter() - began), "clips/s")
            sheet.check()


@contextmanager
def busy(path: Path, samples: int, workers: int, processes: bool):
    """Decode in ``workers`` threads or processes inside the block."""
    over = threading.Event()

    def decode() -> None:
        while not over.is_set():
            for _ in batches(path, samples, 32, workers, processes=processes):
                if over.is_set():
                    return

    thread = threading.Thread(target=decode)
    if workers:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if workers:
            thread.join()


def launching(sheet: Sheet) -> None:
    """Time the launch of passes while threads or processes decode: threads want Python's lock, too."""
    from audio_neurons.activations.extraction import forward
    from audio_neurons.activations.recorder import Recorder, TopClips

    encoder, size = sheet.vit(), 8
    wave, numbers = sheet.noise(size, 5.0), torch.arange(size, device=sheet.device)
    strongest = TopClips(encoder.depth, encoder.width, 5, encoder.device, encoder.present)
    with tempfile.TemporaryDirectory() as folder:
        path, _, seconds = _table(sheet, folder)
        with Recorder(encoder, floor=strongest.floor) as recording, numerics(encoder, "bf16"):
            for workers, way in ((0, "threads"), (8, "threads"), (16, "threads"), (16, "processes")):
                with busy(path, round(seconds * 16_000), workers, way == "processes"):
                    _, host = sheet.clock(
                        lambda: strongest.update(forward(encoder, recording, wave)[1], numbers), 50
                    )
                sheet.add(f"launch of a pass in bf16, while they decode: {workers} {way}", 1000 * host, "ms")
                sheet.check()


MEASURES = (
    Measure("reading Parquet", reading),
    Measure("decoding by threads and processes", decoding),
    Measure("writing", writing),
    Measure("launching while threads or processes decode", launching, cuda=True),
)
