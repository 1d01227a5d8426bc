"""What the statistics cost: extraction against the bare forward pass of the same model and batches.

The machine is not ours alone, so the two are interleaved batch by batch: while extraction runs, every
batch also goes through a twin of the encoder without hooks, before or after it in turn. ``bare`` is the
twin's time; ``extraction`` is all the rest of the run: reading and decoding the clips, the forward pass
with its hooks, counts, embeddings, strongest clips, and writing all tables. Full size (ViT-Base), random
weights.
"""

import argparse
import copy
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audio_neurons import audio, models, runtime, tables
from audio_neurons.extraction import Settings, batches, extract
from audio_neurons.models.encoder import Encoder

BLOCK = {"adapter": "vit", "weights": {"source": "random", "seed": 0}}


def make_clips(path: Path, clips: int, seconds: float) -> None:
    """Noise in bands: enough for a cost that does not depend on what is heard."""
    rng = np.random.default_rng(0)
    names = [f"clip-{i:05d}" for i in range(clips)]
    waves = 0.1 * rng.standard_normal((clips, round(seconds * tables.SAMPLE_RATE))).astype(np.float32)
    with tables.writer(path, "clips", ["kind"]) as writer:
        writer.append(
            {
                "clip_id": names,
                "audio": [audio.encode(wave) for wave in waves],
                "frames": [waves.shape[1]] * clips,
                "split": ["train"] * clips,
                "fold": [0] * clips,
                "group": names,
                "kind": [f"class {i % 10}" for i in range(clips)],
            }
        )


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Twin:
    """Runs a copy of an encoder, without hooks, beside every forward pass of the encoder itself."""

    def __init__(self, encoder: Encoder):
        self._encoder, self._copy, self._calls = encoder, copy.deepcopy(encoder), 0
        self.seconds = 0.0
        encoder.forward = self._both

    def leave(self) -> None:
        del self._encoder.forward  # the class's own is found again

    def _both(self, wave: Tensor) -> Tensor:
        self._calls += 1
        if self._calls % 2:
            self._bare(wave)
        features = type(self._encoder).forward(self._encoder, wave)
        if not self._calls % 2:
            self._bare(wave)
        return features

    def _bare(self, wave: Tensor) -> None:
        began = now(wave.device.type)
        self._copy(wave)
        self.seconds += now(wave.device.type) - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--clips", type=int, default=160, help="clips per run (default: 160)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip (default: 5)")
    parser.add_argument("--batch-size", type=int, default=8, help="clips per forward pass (default: 8)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--out", type=Path, help="also write the runs to this Parquet file")
    args = parser.parse_args()

    runtime.limit_threads(args.threads)
    torch.set_num_threads(args.threads)
    runtime.INTERVAL = float("inf")
    encoder = models.load("vit-base", BLOCK, None, args.device)
    settings = Settings(args.seconds, args.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        make_clips(out / "clips.parquet", args.clips, args.seconds)
        extract(encoder, out / "clips.parquet", out, out / "embeddings.parquet", settings)  # warm
        rows = []
        for run in range(args.runs):
            twin = Twin(encoder)
            began = now(args.device)
            extract(encoder, out / "clips.parquet", out, out / "embeddings.parquet", settings)
            total = now(args.device) - began
            twin.leave()
            rows.append({"run": run, "bare": twin.seconds, "extraction": total - twin.seconds})
        began = now("cpu")
        for _ in batches(out / "clips.parquet", round(args.seconds * encoder.sample_rate), args.batch_size):
            pass
        decoding = now("cpu") - began
    table = pd.DataFrame(rows)
    ratio = table["extraction"] / table["bare"]
    rate = args.clips * args.seconds / table["extraction"].median()
    machine = {"cpu": platform.machine(), "threads": args.threads, "torch": torch.__version__}
    print(json.dumps(machine | {"device": args.device, "clips": args.clips, "batch_size": args.batch_size}))
    low, middle, high = ratio.quantile([0.25, 0.5, 0.75])
    print(f"extraction / bare: {middle:.3f} [{low:.3f}, {high:.3f}] (median [quartiles] of {args.runs} runs)")
    print(f"decoding, in a thread of its own: {decoding / table['bare'].median():.3f} of the bare time")
    print(f"audio-seconds per second: {rate:.1f}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.assign(**machine).to_parquet(args.out)


if __name__ == "__main__":
    main()
