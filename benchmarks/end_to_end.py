"""Speed of every stage from an archive to selected neurons, in audio-seconds per second.

Recordings of 16 kHz are prepared, extracted and merged, and neurons are selected. For extraction, the shares
of its parts are reported; decoding and writing run in parallel with the encoder, so shares may add up to
more than one. ViT-Base, random weights.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from audio_neurons import tables
from audio_neurons.activations import decoding, extraction, recorder, statistics, units
from audio_neurons.neurons import selection
from audio_neurons.recordings.preparation import prepare
from audio_neurons.settings.extraction import Pass
from audio_neurons.settings.selection import PRESETS
from benchmarks.common import Report, full_size, now, options, recorded
from benchmarks.preparation import make_archive


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"clips": 10, "seconds": 0.64, "batch_size": 4},
        clips=(80, "clips"),
        seconds=(5.0, "length of a clip"),
        batch_size=(8, "clips per forward pass"),
        workers=(1, "decoding threads"),
        precision=("fp32", "precision of the encoder", ("fp32", "tf32", "bf16")),
    )
    encoder = full_size(args)
    settings = Pass(clip_seconds=args.seconds, batch_size=args.batch_size, precision=args.precision)
    rule = PRESETS["aape"]
    with tempfile.TemporaryDirectory() as folder, Report("end_to_end", args) as report:
        out = Path(folder)
        archive, part, merged = out / "archive.zip", out / "part.parquet", out / "merged"
        make_archive(archive, args.clips, args.seconds, 16_000)

        def preparation() -> None:
            unverified = {"verify_members": False}
            prepare("esc50", {"archive": archive}, [part], out / "rejected.parquet", options=unverified)

        def extracting() -> None:
            embeddings = out / "embeddings.parquet"
            extraction.extract(encoder, part, out, embeddings, settings, workers=args.workers)

        def merging() -> None:
            statistics.merge([out], merged, settings.top_clips)
            units.merge([out / "units.parquet"], merged / "units.parquet")

        def selecting() -> None:
            classes, active, _ = statistics.class_counts(merged, "category", None)
            selection.select(selection.probabilities(active, classes["tokens"].to_numpy()), rule)

        stages = {
            "preparation": preparation,
            "extraction": extracting,
            "merge": merging,
            "selection": selecting,
        }
        parts = {
            "decode": (decoding, "_decode"),
            "front end": (encoder, "front_end"),
            "encoder and hooks": (encoder, "encode"),
            "hooks": (recorder.Recorder, "_record"),
            "strongest clips": (recorder.TopClips, "update"),
            "counts of groups": (units.Tally, "add"),
            "tables while it runs": (tables.Writer, "append"),
            "tables at its end": (units.Tally, "write"),
        }
        rows = []
        for _ in range(-1, args.runs):
            seconds: dict[str, float] = {}
            for name, stage in stages.items():
                with ExitStack() as stack:
                    if stage is extracting:
                        for key, (owner, function) in parts.items():
                            stack.enter_context(recorded(owner, function, seconds, key, args.device))
                    began = now(args.device)
                    stage()
                    seconds[name] = now(args.device) - began
            seconds["encoder"] = seconds.pop("encoder and hooks") - seconds["hooks"]
            rows.append(seconds)
        table = pd.DataFrame(rows[1:])
        total = args.clips * args.seconds
        report.add("all stages", total / table[list(stages)].sum(axis=1), "audio-s/s")
        for name in stages:
            report.add(name, total / table[name], "audio-s/s")
        for name in table.columns.difference(stages, sort=False):
            report.add(f"share of extraction: {name}", table[name] / table["extraction"])


if __name__ == "__main__":
    main()
