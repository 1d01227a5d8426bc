"""What the statistics cost in each adapter: extraction against the bare forward pass, batch by batch.

Interleaved with a twin without hooks as in ``extraction.py``, at real shapes: base-size encoders, random
weights, clips shorter than AST's and Whisper's own length, so that padding is left out of the counts. The
ratio is that of one batch, from the end of a forward pass to the end of the next; the first batches, in
which almost every clip is a neuron's strongest, and the writing of tables at the end are left out.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import pandas as pd
import torch
from extraction import Twin, make_clips, now
from torch import Tensor

from audio_neurons import models, runtime
from audio_neurons.extraction import Settings, extract

WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
BLOCKS = {
    "m2d": {"adapter": "vit"},
    "audiomae": {"adapter": "vit", "front_end": "fbank", "input_size": [128, 1024]},
    "ast": {"adapter": "huggingface", "model_type": "audio-spectrogram-transformer"},
    "wav2vec2": {"adapter": "huggingface", "model_type": "wav2vec2"},
    "whisper": {"adapter": "huggingface", "model_type": "whisper", "config": WHISPER_BASE},
}


class Watch(Twin):
    """A twin that notes when each batch ends, and how long the bare pass took until then."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ends: list[tuple[float, float]] = []

    def _both(self, wave: Tensor) -> Tensor:
        features = super()._both(wave)
        self.ends.append((now(wave.device.type), self.seconds))
        return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=BLOCKS, default=list(BLOCKS), help="default: all")
    parser.add_argument("--batches", type=int, default=16, help="batches that are timed (default: 16)")
    parser.add_argument("--first", type=int, default=6, help="batches before them (default: 6)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip (default: 5)")
    parser.add_argument("--batch-size", type=int, default=4, help="clips per forward pass (default: 4)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--out", type=Path, help="also write the batches to this Parquet file")
    args = parser.parse_args()

    runtime.limit_threads(args.threads)
    torch.set_num_threads(args.threads)
    runtime.INTERVAL = float("inf")
    machine = {"cpu": platform.machine(), "threads": args.threads, "torch": torch.__version__}
    print(json.dumps(machine | {"device": args.device, "batches": args.batches, "clips": args.batch_size}))
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        make_clips(out / "clips.parquet", (args.first + args.batches) * args.batch_size, args.seconds)
        for name in args.models:
            block = {**BLOCKS[name], "weights": {"source": "random", "seed": 0}}
            watch = Watch(encoder := models.load(name, block, None, args.device))
            # One strongest clip of tens changes as often as five of thousands: a dataset is not so small.
            settings = Settings(args.seconds, args.batch_size, top_clips=1)
            extract(encoder, out / "clips.parquet", out, out / "embeddings.parquet", settings)
            batches = pd.DataFrame(watch.ends, columns=["extraction", "bare"]).diff()[args.first :]
            batches["extraction"] -= batches["bare"]
            tables.append(batches.assign(model=name))
            low, middle, high = (batches["extraction"] / batches["bare"]).quantile([0.25, 0.5, 0.75])
            rate = args.batch_size * args.seconds / batches["extraction"].median()
            print(
                f"{name}: extraction / bare {middle:.3f} [{low:.3f}, {high:.3f}] (median [quartiles])", end=""
            )
            print(f", {rate:.1f} audio-seconds per second", flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        pd.concat(tables).assign(**machine).to_parquet(args.out)


if __name__ == "__main__":
    main()
