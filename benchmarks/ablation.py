"""What many ablations of one batch cost, together, against as many forward passes.

Sets begin at a given layer and reach to the last. Shared runs (`run_changes`) and plain ones (a forward
pass under each change) are timed in turn, so that what else the machine does meets both. Full size
(ViT-Base), random weights.
"""

import argparse
import json
import os
import platform
import time

import numpy as np
import torch

from audio_neurons import models, runtime
from audio_neurons.intervention import Change, Intervention, run_changes

BLOCK = {"adapter": "vit", "weights": {"source": "random", "seed": 0}}


def make_changes(first: int, count: int, neurons: int, depth: int, width: int) -> list[Change]:
    """Random sets of ``neurons``: one in layer ``first``, the others anywhere from there on."""
    rng = np.random.default_rng(first)
    sets = []
    for _ in range(count):
        layers = np.r_[first, rng.integers(first, depth, neurons - 1)]
        sets.append(frozenset(zip(layers.tolist(), rng.integers(0, width, neurons).tolist(), strict=True)))
    return [Change(one) for one in sets]


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def plain(encoder, wave, changes: list[Change]) -> None:
    """A forward pass for every change, and one for none."""
    for change in changes:
        with Intervention(encoder, change):
            encoder(wave)
    encoder(wave)


def shared(encoder, wave, changes: list[Change]) -> None:
    for _ in run_changes(encoder, wave, changes, {"zero": None}):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conditions", type=int, nargs="+", default=[20, 100], help="(default: 20 100)")
    parser.add_argument("--first", type=int, nargs="+", default=[0, 3, 8], help="layers (default: 0 3 8)")
    parser.add_argument("--neurons", type=int, default=25, help="neurons of a set (default: 25)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip (default: 5)")
    parser.add_argument("--batch-size", type=int, default=2, help="clips (default: 2)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    args = parser.parse_args()

    runtime.limit_threads(args.threads)
    torch.set_num_threads(args.threads)
    encoder = models.load("vit-base", BLOCK, None, args.device)
    wave = 0.1 * torch.randn(args.batch_size, round(args.seconds * encoder.sample_rate)).to(args.device)
    about = {"cpu": platform.machine(), "threads": args.threads, "torch": torch.__version__}
    print(json.dumps(about | {"device": args.device, "batch_size": args.batch_size, "seconds": args.seconds}))
    for count in args.conditions:
        for first in args.first:
            changes = make_changes(first, count, args.neurons, encoder.depth, encoder.width)
            shared(encoder, wave, changes[:2])  # warm
            ratios = []
            for run in range(args.runs):
                seconds = {}
                for way in (plain, shared) if run % 2 else (shared, plain):
                    began = now(args.device)
                    way(encoder, wave, changes)
                    seconds[way] = now(args.device) - began
                ratios.append(seconds[shared] / seconds[plain])
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            print(
                f"{count} conditions from layer {first}: shared / plain {middle:.3f} "
                f"[{low:.3f}, {high:.3f}] (median [quartiles] of {args.runs} runs)",
                flush=True,
            )


if __name__ == "__main__":
    main()
