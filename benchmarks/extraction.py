"""Cost of the statistics: extraction compared with the bare forward pass of the same model and batches.

The machine may be shared with other work, so the two are interleaved batch by batch: while extraction runs,
every batch also goes through a twin of the encoder without hooks, alternately before and after it. ``bare``
is the twin's time; ``extraction`` is the rest of the run: reading and decoding the clips, the forward pass
with its hooks, counts, embeddings, strongest clips, and writing all tables. Full size (ViT-Base), random
weights. Decoding is also timed alone, in one and in several threads.
"""

import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from audio_neurons.activations.decoding import batches
from audio_neurons.activations.extraction import extract
from audio_neurons.models.encoder import Encoder
from audio_neurons.settings.extraction import Pass
from benchmarks.common import Report, full_size, make_clips, now, options, turns


class Twin:
    """Runs a copy of an encoder without hooks beside every forward pass of the encoder itself."""

    def __init__(self, encoder: Encoder):
        self.encoder, self._copy, self._calls = encoder, copy.deepcopy(encoder), 0
        self.seconds = 0.0
        encoder.forward = self._both

    def leave(self) -> None:
        del self.encoder.forward  # uncovers the class's own

    def _both(self, wave: Tensor) -> Tensor:
        self._calls += 1
        self._copy.bfloat16 = self.encoder.bfloat16
        if self._calls % 2:
            self._bare(wave)
        features = type(self.encoder).forward(self.encoder, wave)
        if not self._calls % 2:
            self._bare(wave)
        return features

    def _bare(self, wave: Tensor) -> None:
        began = now(wave.device.type)
        self._copy(wave)
        self.seconds += now(wave.device.type) - began


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"clips": 6, "seconds": 0.5, "batch_size": 2},
        clips=(160, "clips per run"),
        seconds=(5.0, "length of a clip"),
        batch_size=(8, "clips per forward pass"),
        workers=(1, "decoding threads"),
        precision=("fp32", "precision of the encoder", ("fp32", "tf32", "bf16")),
    )
    encoder = full_size(args)
    settings = Pass(clip_seconds=args.seconds, batch_size=args.batch_size, precision=args.precision)
    samples = round(args.seconds * encoder.sample_rate)
    with tempfile.TemporaryDirectory() as folder, Report("extraction", args) as report:
        out = Path(folder)
        clips = make_clips(out / "clips.parquet", args.clips, args.seconds)

        def run() -> None:
            extract(encoder, clips, out, out / "embeddings.parquet", settings, workers=args.workers)

        def decode(workers: int) -> None:
            for _ in batches(clips, samples, args.batch_size, workers):
                pass

        run()  # warm-up
        bare, extraction = [], []
        for _ in range(args.runs):
            twin = Twin(encoder)
            began = now(args.device)
            run()
            total = now(args.device) - began
            twin.leave()
            bare.append(twin.seconds)
            extraction.append(total - twin.seconds)
        bare, extraction = np.array(bare), np.array(extraction)
        report.add(f"time of extraction / bare forward pass, {args.precision}", extraction / bare)
        report.add("extraction", args.clips * args.seconds / extraction, "audio-s/s")
        threads = sorted({1, 2, args.threads})
        seconds = turns({f"{n}": lambda n=n: decode(n) for n in threads}, args.runs)
        report.add("time of decoding, in one thread of its own / bare", seconds["1"] / np.median(bare))
        for n in threads:
            report.add(f"decoding in {n} threads", args.clips / seconds[f"{n}"], "clips/s")
        began = time.process_time()
        decode(1)
        used = time.process_time() - began
        report.add("decoding, by processor time", args.clips * args.seconds / used, "audio-s/s per core")


if __name__ == "__main__":
    main()
