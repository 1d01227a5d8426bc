"""What `context: clip` changes and saves against `full`, for an encoder with a fixed input length.

Clips of lists of recordings are drawn, balanced over the first label of each list. Both contexts run on the
same clips in turns, batch by batch, in alternating order. Compared are the time of a forward pass (of the
process on a CPU, so that other work on the machine does not count), the sign of every activation on
the tokens that both have, the chosen (neuron, class) pairs of each task (AAPE's preset, all clips), and the
accuracy of linear probes, each clip by probes that heard no clip of its group.
"""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from audio_neurons import models, tables
from audio_neurons.ablation import probes
from audio_neurons.models.encoder import Encoder
from audio_neurons.neurons import selection
from audio_neurons.recordings import clips
from audio_neurons.recordings.preparation import prepare
from audio_neurons.settings.probe import Probe
from audio_neurons.settings.selection import rule_of
from benchmarks.common import Report, now, options
from benchmarks.precision import jaccard

CONTEXTS = ("full", "clip")
# Of a measurement on lists of recordings.
OPTIONS: dict[str, Any] = {
    "lists": ([Path("noise")], "lists of recordings (path, labels, group), or folders of classes"),
    "folder": (Path("none"), "folder of the encoder (config.json beside weights); none: random weights"),
    "model_type": ("audio-spectrogram-transformer", "the encoder of random weights"),
    "clips": (150, "clips per list"),
    "seconds": (3.0, "length of a clip"),
    "batch_size": (8, "clips per forward pass"),
    "epochs": (100, "epochs of the probes"),
}
FOLDS = 5  # of groups, by which probes are cross-validated
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def listed(path: Path, folder: Path) -> pd.DataFrame:
    """Return the list of recordings, or that of a folder of classes as ESC-50's names tell the groups."""
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str)
        return table.assign(path=[str((path.parent / one).resolve()) for one in table["path"]])
    if path.is_dir():
        files = sorted(file for file in path.glob("*/*") if file.is_file())
        return pd.DataFrame(
            {
                "path": [str(file.resolve()) for file in files],
                "event": [file.parent.name for file in files],
                "group": ["-".join(file.stem.split("-")[:2]) for file in files],
            }
        )
    rng, rows = np.random.default_rng(0), []  # without a list: noise, to see that the script runs
    for n in range(24):
        file = folder / f"{n}.wav"
        soundfile.write(file, rng.normal(0, (0.02, 0.2)[n % 2], 8_000), 16_000)
        rows.append({"path": str(file), "level": ("low", "high")[n % 2], "group": f"group {n}"})
    return pd.DataFrame(rows)


def drawn(table: pd.DataFrame, wanted: int) -> pd.DataFrame:
    """Return so many recordings, as many of each class of the first label as there are."""
    label = table.columns[1]
    shuffled = table.sample(frac=1, random_state=0)
    turn = shuffled.groupby(label).cumcount()
    return shuffled.assign(turn=turn).sort_values(["turn", label]).head(wanted).drop(columns="turn")


def clock(device: str) -> float:
    """Return the seconds of this process on a CPU, else those of the clock."""
    return process_time() if device == "cpu" else now(device)


class Counts:
    """Signs of the hidden units of one forward pass."""

    def __init__(self, encoder: Encoder):
        self.encoder, self.rows = encoder, encoder.grid[0]

    def run(self, wave: torch.Tensor) -> tuple[np.ndarray, list[torch.Tensor]]:
        """Return clip embeddings, and the signs of each layer, bool (clips, rows, columns, W)."""
        layers: list[list[torch.Tensor]] = [[] for _ in range(self.encoder.depth)]

        def keep(layer: int, hidden: torch.Tensor) -> None:
            tokens = self.encoder.counted(wave.shape[1], len(layers[layer]))
            layers[layer].append((hidden[:, tokens] > 0).unflatten(1, (self.rows, -1)))

        with torch.inference_mode(), self.encoder.listening(keep):
            embedding = self.encoder(wave).mean(1)
        return embedding.cpu().numpy(), [torch.cat(chunks, 2) for chunks in layers]


def compare(
    encoders: dict[str, Encoder], parts: Sequence[Path], args
) -> tuple[dict, dict, float, list[float]]:
    """Return names, embeddings and active tokens of clips, tokens of a clip, share of changes, and ratios.

    The ratios are those of the seconds of a forward pass, full / clip, of each batch but the first.
    """
    names = [name for part in parts for name in tables.read(part, "clips", ["clip_id"])["clip_id"]]
    found, active = defaultdict(list), defaultdict(list)
    changed = total = 0
    samples = round(args.seconds * 16_000)
    order: list[str] = []
    ratios: list[float] = []
    for some, wave in clips.batches(parts, names, samples, args.batch_size):
        order += some
        signs, seconds = {}, {}
        for context in CONTEXTS if len(ratios) % 2 else CONTEXTS[::-1]:
            counts = Counts(encoders[context])
            began = clock(args.device)
            embedding, signs[context] = counts.run(torch.from_numpy(wave).to(args.device))
            seconds[context] = clock(args.device) - began
            found[context].append(embedding[: len(some)])
            active[context].append(
                torch.stack([layer[: len(some)].sum((1, 2)) for layer in signs[context]], 1).cpu().numpy()
            )
        ratios.append(seconds["full"] / seconds["clip"])
        for full, own in zip(signs["full"], signs["clip"], strict=True):
            columns = min(full.shape[2], own.shape[2])
            differ = full[: len(some), :, :columns] != own[: len(some), :, :columns]
            changed, total = changed + int(differ.sum()), total + differ.numel()
    every = {c: (order, np.concatenate(found[c]), np.concatenate(active[c])) for c in CONTEXTS}
    tokens = {c: len(encoders[c].token_seconds(samples)) for c in CONTEXTS}
    return every, tokens, changed / total, ratios[1:]


def tasks(parts: Sequence[Path], labels: Sequence[str], every: dict, tokens: dict, args) -> pd.DataFrame:
    """Return for each label its classes, the Jaccard index of pairs, and the accuracy of the probes."""
    rows = []
    for label in labels:
        frame = clips.describe(parts, label)
        classes = sorted(frame["class"].unique())
        frame["fold"] = pd.factorize(frame["group"])[0] % FOLDS
        pairs, score = {}, {}
        for context, (order, features, active) in every.items():
            place = pd.Index(order).get_indexer(frame["clip_id"])
            inside = [frame["class"].to_numpy() == one for one in classes]
            sums = np.stack([active[place[rows_]].reshape(rows_.sum(), -1).sum(0) for rows_ in inside])
            counted = np.array([rows_.sum() * tokens[context] for rows_ in inside])
            chosen = selection.select(selection.probabilities(sums, counted), rule_of("aape", {}))
            pairs[context] = set(map(tuple, np.argwhere(chosen.assigned)))
            settings = Probe(epochs=args.epochs, learning_rate=0.003, score="loss", seeds=[0])
            trained = probes.train(features[place], frame, settings)
            scored = probes.score(trained, features[place], frame, settings)
            score[context] = (scored["prediction"] == scored["class"]).mean()
        same = jaccard(*(pairs[context] for context in CONTEXTS))
        rows.append({"label": label, "classes": len(classes), "pairs": same, **score})
    return pd.DataFrame(rows)


def main(argv: Sequence[str] | None = None) -> None:
    args = options(__doc__, argv, {"seconds": 0.5, "clips": 16, "epochs": 2}, **OPTIONS)
    here = (args.folder / "config.json").is_file()
    block = {"adapter": "huggingface", "weights": {"source": "random", "seed": 0}}
    block |= {} if here else {"model_type": args.model_type, "config": SIZES if args.quick else {}}
    weights = args.folder / "config.json" if here else None
    encoders = {c: models.load(c, {**block, "context": c}, weights, args.device) for c in CONTEXTS}
    with Report("context", args) as report, tempfile.TemporaryDirectory() as temporary:
        for path in args.lists:
            table = drawn(listed(path, Path(temporary)), args.clips)
            labels = [name for name in table.columns if name not in ("path", "group", "split")]
            # A label that tells the groups apart has nothing to be tested on.
            labels = [name for name in labels if table.groupby(name)["group"].nunique().min() > 1]
            named = Path(temporary) / f"{path.stem}.csv"
            table.to_csv(named, index=False)
            part = Path(temporary) / f"{path.stem}.parquet"
            prepare(
                "custom", {"files": named}, [part], Path(temporary) / "rejected.parquet", max_rejected=0.5
            )
            every, tokens, changed, ratios = compare(encoders, [part], args)
            about = f"{path.stem}, {len(every['full'][0])} clips"
            report.add(f"{about}: time of a forward pass, full / clip", ratios)
            report.add(f"{about}: share of activations whose sign differs", [changed])
            for row in tasks([part], labels, every, tokens, args).to_dict("records"):
                about_task = f"{about}, {row['label']} ({row['classes']} classes)"
                report.add(f"{about_task}: Jaccard index of (neuron, class) pairs", [row["pairs"]])
                for context in CONTEXTS:
                    report.add(f"{about_task}: probe, {context}", [row[context]])


if __name__ == "__main__":
    main()
