"""What the statistics cost: extraction against the bare forward pass of the same model and batches.

Both run in one process, in turn, over the same clips at full size (ViT-Base, random weights); the
ratio of each pair of runs is what counts, since the machine is not ours alone. ``bare`` is the encoder
with its front end over waveforms that are in memory; ``extraction`` reads and decodes the clips,
counts, keeps embeddings and strongest clips, and writes all tables.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from audio_neurons import audio, models, runtime, tables
from audio_neurons.extraction import Settings, batches, extract

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


def quartiles(ratio: pd.Series) -> str:
    low, middle, high = ratio.quantile([0.25, 0.5, 0.75])
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


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
        samples = round(args.seconds * encoder.sample_rate)
        waves = batches(out / "clips.parquet", samples, args.batch_size)
        ready = [torch.from_numpy(wave).to(args.device) for wave, _ in waves]

        @torch.inference_mode()
        def bare() -> None:
            for wave in ready:
                encoder(wave)

        def extraction() -> None:
            extract(encoder, out / "clips.parquet", out, out / "embeddings.parquet", settings)

        def timed(work) -> tuple[float, float]:
            if args.device == "cuda":
                torch.cuda.synchronize()
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if args.device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - wall, time.process_time() - cpu

        bare(), extraction()  # the first run of each pays for what later ones find ready
        rows = []
        for run in range(args.runs):
            # The order alternates, so that a machine that slows down favours neither.
            works = {"bare": bare, "extraction": extraction, "bare_again": bare}
            for name in sorted(works, reverse=run % 2 == 1):
                wall, cpu = timed(works[name])
                rows.append({"run": run, "work": name, "wall": wall, "cpu": cpu})
    table = pd.DataFrame(rows)
    by_run = table.pivot(index="run", columns="work")
    rate = args.clips * args.seconds / by_run["wall"]["extraction"].median()
    machine = {"cpu": platform.machine(), "threads": args.threads, "torch": torch.__version__}
    print(json.dumps(machine | {"device": args.device, "clips": args.clips, "batch_size": args.batch_size}))
    print(f"median [quartiles] of {args.runs} runs of extraction / bare forward, and of bare / bare:")
    for clock in ("wall", "cpu"):
        took = by_run[clock]
        ratio = took["extraction"] / took[["bare", "bare_again"]].mean(axis=1)
        print(f"  {clock:4} {quartiles(ratio)}   {quartiles(took['bare_again'] / took['bare'])}")
    print(f"audio-seconds per second: {rate:.1f}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.assign(**machine).to_parquet(args.out)


if __name__ == "__main__":
    main()
