"""Peak memory of extraction over increasing numbers of clips, each in a separate process.

A tiny encoder and short clips are enough: only what is kept per clip can grow, whatever the encoder's size.
The number of groups is constant, or equal to that of clips. The counts of groups are kept in a file that the
operating system may hold in memory.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from audio_neurons import models
from audio_neurons.activations.extraction import extract
from audio_neurons.settings.extraction import Pass
from benchmarks.common import TINY, Report, exponent, make_clips, options, peak


def alone(clips: str, seconds: float, folder: str) -> None:
    out = Path(folder)
    encoder = models.load("tiny", TINY, None)
    extract(encoder, Path(clips), out, out / "embeddings.parquet", Pass(clip_seconds=seconds, batch_size=32))


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"sizes": [10, 40], "groups": [5]},
        sizes=([200, 2000, 20_000], "numbers of clips"),
        seconds=(0.5, "length of a clip"),
        groups=([40, 0], "numbers of groups; 0 is one per clip"),
    )
    with tempfile.TemporaryDirectory() as folder, Report("memory", args) as report:
        out = Path(folder)
        for groups in args.groups:
            peaks = []
            for clips in args.sizes:
                make_clips(out / "clips.parquet", clips, args.seconds, groups or None, distinct=50)
                peaks.append(peak("benchmarks.memory", "alone", out / "clips.parquet", args.seconds, out))
                whose = f"{groups or clips} groups"
                report.add(f"peak memory, {clips} clips of {whose}", peaks[-1], "MB")
            whose = f"{groups} groups" if groups else "a group each"
            grown = f"memory, {args.sizes[-1]} clips / {args.sizes[0]}, {whose}"
            report.add(grown, peaks[-1] / peaks[0])
            report.add(f"exponent of memory over clips, {whose}", exponent(args.sizes, peaks), "exponent")


if __name__ == "__main__":
    main()
