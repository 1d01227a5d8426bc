"""Cost of many ablations of one batch in a shared run, compared with as many forward passes.

Sets begin at a given layer and reach to the last. Shared runs (`run_changes`) and plain ones (a forward
pass under each change, and one without change) take turns. Full size, random weights.
"""

import argparse
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from audio_neurons import models
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.intervention import Intervention, run_changes
from audio_neurons.models.encoder import numerics
from benchmarks.common import RANDOM, TINY, VIT_BASE, Report, options, turns

WHISPER_SMALL = {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}
BASE = {"adapter": "huggingface", "weights": RANDOM}
MODELS = {
    "vit-base": VIT_BASE,
    "ast": {**BASE, "model_type": "audio-spectrogram-transformer"},
    "hubert": {**BASE, "model_type": "hubert"},
    "whisper": {**BASE, "model_type": "whisper", "context": "clip", "config": WHISPER_SMALL},
}


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
        {"conditions": [2, 3], "first": [0, 1], "neurons": 3, "seconds": 0.5, "encoders": ["vit-base"]},
        conditions=([20, 100], "conditions that share a batch"),
        first=([0, 3, 8], "first layers of the sets"),
        neurons=(25, "neurons of a set"),
        seconds=(2.5, "length of a clip"),
        batch_size=(1, "clips"),
        encoders=(list(MODELS), "encoders", list(MODELS)),
        precision=("fp32", "of matrix products", ["fp32", "bf16"]),
    )
    with Report("ablation", args) as report:
        for name in args.encoders:
            measure(name, args, report)


def measure(name: str, args: argparse.Namespace, report: Report) -> None:
    """Add the ratios of one encoder."""
    encoder = models.load(name, TINY if args.quick else MODELS[name], None, args.device)
    wave = 0.1 * torch.randn(args.batch_size, round(args.seconds * encoder.sample_rate)).to(args.device)
    for count, first in product(args.conditions, args.first):
        changes = make_changes(first, count, args.neurons, encoder.depth, encoder.width)
        ways = {
            "plain": lambda changes=changes: plain(encoder, wave, changes),
            "shared": lambda changes=changes: shared(encoder, wave, changes),
        }
        with numerics(encoder, args.precision):
            plain(encoder, wave, changes[:2])
            seconds = turns(ways, args.runs, args.device, warm=False)
        where = "" if (name, args.precision) == ("vit-base", "fp32") else f"{name}, {args.precision}: "
        what = f"{where}time of {count} conditions from layer {first} / {count} plain runs"
        report.add(what, seconds["shared"] / seconds["plain"])


if __name__ == "__main__":
    main()
