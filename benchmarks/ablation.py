"""Cost of many ablations of one batch in a shared run, compared with as many forward passes.

Sets begin at a given layer and reach to the last. Shared runs (`run_changes`) and plain ones (a forward
pass under each change, and one without change) take turns. Full size (ViT-Base), random weights.
"""

from collections.abc import Sequence

import numpy as np
import torch

from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.intervention import Intervention, run_changes
from benchmarks.common import Report, full_size, options, turns


def make_changes(first: int, count: int, neurons: int, depth: int, width: int) -> list[Change]:
    """Return random sets of ``neurons``: one in layer ``first``, the others anywhere from there on."""
    rng = np.random.default_rng(first)
    sets = []
    for _ in range(count):
        layers = np.r_[first, rng.integers(first, depth, neurons - 1)]
        sets.append(frozenset(zip(layers.tolist(), rng.integers(0, width, neurons).tolist(), strict=True)))
    return [Change(one) for one in sets]


@torch.inference_mode()
def plain(encoder, wave, changes: list[Change]) -> None:
    """Run a forward pass under every change, and one without change."""
    for change in changes:
        with Intervention(encoder, change):
            encoder(wave)
    encoder(wave)


def shared(encoder, wave, changes: list[Change]) -> None:
    for _ in run_changes(encoder, wave, changes, {"zero": None}):
        pass


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"conditions": [2, 3], "first": [0, 1], "neurons": 3, "seconds": 0.5},
        conditions=([20, 100], "conditions that share a batch"),
        first=([0, 3, 8], "first layers of the sets"),
        neurons=(25, "neurons of a set"),
        seconds=(2.5, "length of a clip"),
        batch_size=(1, "clips"),
    )
    encoder = full_size(args)
    wave = 0.1 * torch.randn(args.batch_size, round(args.seconds * encoder.sample_rate)).to(args.device)
    with Report("ablation", args) as report:
        for count in args.conditions:
            for first in args.first:
                changes = make_changes(first, count, args.neurons, encoder.depth, encoder.width)
                ways = {
                    "plain": lambda changes=changes: plain(encoder, wave, changes),
                    "shared": lambda changes=changes: shared(encoder, wave, changes),
                }
                plain(encoder, wave, changes[:2])
                seconds = turns(ways, args.runs, args.device, warm=False)
                what = f"time of {count} conditions from layer {first} / {count} plain runs"
                report.add(what, seconds["shared"] / seconds["plain"])


if __name__ == "__main__":
    main()
