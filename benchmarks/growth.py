"""Growth of time over clips, classes, conditions and shards, as the exponent of a fitted power law.

An exponent of 1 is linear, below 1 is better. Clips and conditions are measured with a tiny encoder, classes
and shards with counts of full size (12 x 3072 neurons). Also measured is the size of a dataset's parts before
they are merged, if clips are dealt to parts by group, as preparation does, compared with one by one.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from audio_neurons import models, tables
from audio_neurons.activations import units
from audio_neurons.activations.extraction import extract
from audio_neurons.neurons import selection
from audio_neurons.recordings.preparation import Dealer
from audio_neurons.settings.extraction import Pass
from audio_neurons.settings.selection import PRESETS
from benchmarks.ablation import make_changes, shared
from benchmarks.common import TINY, Report, exponent, make_clips, options, turns


def merge_folders(folder: Path) -> None:
    parts = sorted(folder.glob("*/units.parquet"))
    units.merge(parts, folder / "merged.parquet")


def write_shards(folder: Path, part_of: np.ndarray, groups: np.ndarray, neurons: int) -> int:
    """Write the ``units`` tables of clips divided into parts by ``part_of``; return their bytes."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(80, rng.beta(0.5, 4, neurons), (50, neurons)).astype(np.int32)
    frame = pd.DataFrame({"split": "train", "fold": 0, "group": groups.astype(str), "kind": "a"})
    for part in np.unique(part_of):
        here = folder / f"{part:03d}"
        clips = np.flatnonzero(part_of == part)
        tally = units.Tally(frame.iloc[clips], ["kind"], neurons, here)
        for i, clip in enumerate(clips):
            tally.add(i, counts[None, clip % len(counts)])
        tally.write(here, np.full(len(clips), 80), np.zeros(len(clips), int), 80, 12)
    return sum(path.stat().st_size for path in folder.glob("*/units.parquet"))


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {
            "clips": [8, 16],
            "classes": [2, 4],
            "conditions": [2, 4],
            "shards": [1, 2],
            "neurons": 240,
            "groups": 8,
        },
        clips=([500, 1000, 2000, 4000], "clips of half a second that are extracted"),
        classes=([10, 30, 100, 300], "classes of a selection"),
        conditions=([10, 20, 40, 80], "conditions of an ablation"),
        shards=([1, 2, 4, 8, 16], "shards that are merged, each with all groups"),
        neurons=(36_864, "neurons when classes and shards are measured"),
        groups=(64, "groups when shards are measured"),
    )
    rng = np.random.default_rng(0)
    encoder = models.load("tiny", TINY, None, args.device)
    with tempfile.TemporaryDirectory() as folder, Report("growth", args) as report:
        out = Path(folder)

        def grow(what: str, sizes: Sequence[int], work: Callable[[int], Callable[[], object]]) -> None:
            seconds = turns({f"{n:09d}": work(n) for n in sizes}, args.runs, args.device)
            fitted = [exponent(sizes, row) for row in seconds[[f"{n:09d}" for n in sizes]].to_numpy()]
            report.add(f"exponent of time over {what} ({sizes[0]} to {sizes[-1]})", fitted, "exponent")

        def extraction(count: int) -> Callable:
            clips = make_clips(out / f"clips-{count}.parquet", count, 0.5, 40, distinct=50)
            return lambda: extract(
                encoder, clips, out, out / "embeddings.parquet", Pass(clip_seconds=0.5, batch_size=32)
            )

        def choice(count: int) -> Callable:
            p = rng.beta(0.5, 4, (count, args.neurons))
            return lambda: selection.select(p, PRESETS["aape"])

        def ablation(count: int) -> Callable:
            wave = 0.1 * torch.randn(4, 8000).to(args.device)
            changes = make_changes(0, count, 10, encoder.depth, encoder.width)
            return lambda: shared(encoder, wave, changes)

        def merging(count: int) -> Callable:
            groups = np.repeat(np.arange(args.groups), count)  # every shard has a clip of every group
            write_shards(out / f"{count}", np.tile(np.arange(count), args.groups), groups, args.neurons)
            return lambda: merge_folders(out / f"{count}")

        grow("clips", args.clips, extraction)
        grow("classes", args.classes, choice)
        grow("conditions", args.conditions, ablation)
        grow("shards", args.shards, merging)

        shards, groups = args.shards[-1], np.repeat(np.arange(args.groups), 4 * args.shards[-1])
        dealer = Dealer(shards)
        dealt = {
            "by group": np.array([dealer.part(str(group)) for group in groups]),
            "one by one": np.arange(len(groups)) % shards,
        }
        held = {way: write_shards(out / way, part, groups, args.neurons) for way, part in dealt.items()}
        seconds = turns({way: lambda way=way: merge_folders(out / way) for way in dealt}, args.runs)
        what = f"by group / one by one, {args.groups} groups in {shards} shards"
        report.add(f"units before they are merged, clips dealt {what}", held["by group"] / held["one by one"])
        ratio = seconds["by group"] / seconds["one by one"]
        report.add(f"time of their merge, clips dealt {what}", ratio)
        parts = sorted((out / "one by one").glob("*/units.parquet"))
        rows = sum(map(tables.size, parts))
        began = time.process_time()
        merge_folders(out / "one by one")
        used = time.process_time() - began
        report.add("merge, by processor time", rows / used, "units/s per core")
        report.add("a unit of a part", held["one by one"] / rows / args.neurons, "bytes per neuron")
        same = {(out / way / "merged.parquet").read_bytes() for way in dealt}
        report.add("different results of the two", len(same) - 1, "files")


if __name__ == "__main__":
    main()
