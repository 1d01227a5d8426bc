"""Time and peak memory of extraction, compared with what a user would otherwise write.

All variants read the same clips, class by class, run the same encoder, and return the active tokens of
every neuron in every class. The alternatives keep nothing else; extraction also keeps counts per group,
embeddings and the strongest clips, and writes tables. The alternatives are:

- ``hooks``: as in LAPE, a hook per layer that adds ``(activation > 0).sum((0, 1))``;
- ``cache``: as in TransformerLens, a batch's activations of all layers in a dictionary, counted afterwards;
- ``notebook``: every batch's activations appended to a list as numpy arrays, counted at the end.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from audio_neurons import models, tables
from audio_neurons.activations.extraction import extract
from audio_neurons.activations.statistics import class_counts
from audio_neurons.models.encoder import Encoder
from audio_neurons.recordings import audio
from audio_neurons.settings.extraction import Pass
from benchmarks.common import Report, block_of, make_clips, options, peak, turns

Counts = dict[str, np.ndarray]  # class → active tokens of every neuron


def batches(clips: Path, samples: int, size: int) -> dict[str, list[torch.Tensor]]:
    """Return class → batches of waveforms, decoded in advance: a user would have them as files."""
    frame = tables.read(clips, "clips")
    found = {}
    for name, rows in frame.groupby("kind"):
        waves = torch.from_numpy(np.stack([audio.read(flac, samples) for flac in rows["audio"]]))
        found[name] = list(waves.split(size))
    return found


@torch.inference_mode()
def hooks(encoder: Encoder, clips: Path, samples: int, size: int, folder: Path) -> Counts:
    found = {}
    for name, waves in batches(clips, samples, size).items():
        total = torch.zeros(encoder.depth, encoder.width, dtype=torch.int64, device=encoder.device)

        def keep(layer: int, hidden: torch.Tensor, total=total) -> None:
            total[layer] += (hidden[:, encoder.special_tokens :] > 0).sum((0, 1))

        with encoder.listening(keep):
            for wave in waves:
                encoder(wave.to(encoder.device))
        found[name] = total.flatten().cpu().numpy()
    return found


@torch.inference_mode()
def cache(encoder: Encoder, clips: Path, samples: int, size: int, folder: Path) -> Counts:
    found, kept = {}, {}
    with encoder.listening(lambda layer, hidden: kept.setdefault(layer, []).append(hidden)):
        for name, waves in batches(clips, samples, size).items():
            found[name] = np.zeros((encoder.depth, encoder.width), np.int64)
            for wave in waves:
                kept.clear()
                encoder(wave.to(encoder.device))
                for layer, chunks in kept.items():
                    hidden = torch.cat([chunk[:, encoder.special_tokens :] for chunk in chunks], dim=1)
                    found[name][layer] += (hidden > 0).sum((0, 1)).cpu().numpy()
    return {name: counts.ravel() for name, counts in found.items()}


@torch.inference_mode()
def notebook(encoder: Encoder, clips: Path, samples: int, size: int, folder: Path) -> Counts:
    kept: list[list[np.ndarray]] = [[] for _ in range(encoder.depth)]
    first = encoder.special_tokens

    def keep(layer: int, hidden: torch.Tensor) -> None:
        kept[layer].append(hidden[:, first:].flatten(0, 1).cpu().numpy())

    tokens = {}
    with encoder.listening(keep):
        for name, waves in batches(clips, samples, size).items():
            before = sum(map(len, kept[0]))
            for wave in waves:
                encoder(wave.to(encoder.device))
            tokens[name] = slice(before, sum(map(len, kept[0])))
    layers = map(np.concatenate, kept)
    counts = [[(hidden[here] > 0).sum(0) for here in tokens.values()] for hidden in layers]
    return dict(zip(tokens, np.concatenate(counts, axis=1), strict=True))


def ours(encoder: Encoder, clips: Path, samples: int, size: int, folder: Path) -> Counts:
    settings = Pass(clip_seconds=samples / encoder.sample_rate, batch_size=size)
    extract(encoder, clips, folder, folder / "embeddings.parquet", settings)
    classes, active, _ = class_counts(folder, "kind", None)
    return dict(zip(classes["class"], active, strict=True))


WAYS = {"ours": ours, "hooks": hooks, "cache": cache, "notebook": notebook}


def alone(way: str, block: dict, device: str, *where: object) -> None:
    """Run one variant in a separate process, to measure its memory."""
    clips, samples, size, folder = where
    WAYS[way](models.load(way, block, None, device), Path(clips), samples, size, Path(folder))


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"clips": 20, "seconds": 0.64, "batch_size": 2, "sizes": []},
        clips=(80, "clips that are timed"),
        seconds=(5.0, "length of a clip"),
        batch_size=(8, "clips per forward pass"),
        sizes=([80, 160], "numbers of clips at which memory is measured"),
    )
    encoder = models.load("vit-base", block_of(args), None, args.device)
    samples = round(args.seconds * encoder.sample_rate)
    with tempfile.TemporaryDirectory() as folder, Report("alternatives", args) as report:
        out = Path(folder)
        clips = make_clips(out / "clips.parquet", args.clips, args.seconds)
        found = {}

        def run(name: str) -> None:
            found[name] = WAYS[name](encoder, clips, samples, args.batch_size, out)

        seconds = turns({name: partial(run, name) for name in WAYS}, args.runs, args.device)
        for name in WAYS:
            for kind, counts in found["ours"].items():  # rounding may depend on the batches
                assert np.abs(found[name][kind] - counts).sum() <= 1e-3 * counts.sum(), (name, kind)
            if name != "ours":
                report.add(f"time of ours / {name}", seconds["ours"] / seconds[name])
        for count in args.sizes:
            make_clips(clips, count, args.seconds)
            call = block_of(args), args.device, clips, samples, args.batch_size, out
            memory = {name: peak("benchmarks.alternatives", "alone", name, *call) for name in WAYS}
            for name in WAYS:
                report.add(f"peak memory of {name}, {count} clips", memory[name], "MB")
                if name != "ours":
                    report.add(f"memory of ours / {name}, {count} clips", memory["ours"] / memory[name])


if __name__ == "__main__":
    main()
