"""What `extraction.count: recording` changes against `window`: counts of tokens after the end of recordings.

Clips of lists of recordings are drawn, balanced over the first label of each list, and extracted in both
ways, embeddings too (`extraction.pool`). Compared are the chosen (neuron, class) pairs of each task (AAPE's
preset, training clips), the accuracy of linear probes (groups apart), and, of a label that two lists have,
the mean common-neuron ratio of classes that mean the same, and of others.
"""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from audio_neurons import models, tables
from audio_neurons.ablation import probes
from audio_neurons.activations.extraction import extract
from audio_neurons.models.encoder import Encoder
from audio_neurons.neurons import selection
from audio_neurons.neurons.sharing import ratio
from audio_neurons.recordings import clips
from audio_neurons.recordings.preparation import prepare
from audio_neurons.settings.extraction import Pass
from audio_neurons.settings.probe import Probe
from audio_neurons.settings.selection import rule_of
from benchmarks.common import Report, options
from benchmarks.context import OPTIONS, SIZES, drawn, listed
from benchmarks.precision import jaccard

WAYS = ("window", "recording")
Chosen = dict[str, dict[str, frozenset[int]]]  # way → class → neurons


class Passes:
    """The extraction of one list of recordings in both ways."""

    def __init__(self, encoder: Encoder, part: Path, folder: Path, args):
        self.part, self.active, self.tokens, self.features = part, {}, {}, {}
        for way in WAYS:
            out = folder / way
            out.mkdir(parents=True)
            embeddings, responses = out / "embeddings.parquet", out / "responses.parquet"
            settings = Pass(count=way, pool=way, clip_seconds=args.seconds, batch_size=args.batch_size)
            extract(encoder, part, out, embeddings, settings, responses)
            table = tables.read(responses, "responses").sort_values("clip_id")
            self.active[way] = np.stack(table["active"]).astype(np.int64)
            self.tokens[way] = table["tokens"].to_numpy()
            embedded = tables.read(embeddings, "embeddings").sort_values("clip_id")
            self.features[way] = np.stack(embedded["embedding"])

    def padding(self) -> float:
        """Return the share of tokens after the end of recordings."""
        return 1 - self.tokens["recording"].sum() / self.tokens["window"].sum()

    def task(self, label: str, epochs: int) -> tuple[Chosen, dict[str, float]]:
        """Return the chosen neurons of each class, and the accuracy of probes, in both ways."""
        frame = clips.describe([self.part], label)  # by name, as the counts are
        train = frame["split"].to_numpy() == "train"
        names = sorted(frame["class"].unique())
        inside = np.stack([(frame["class"].to_numpy() == name) & train for name in names])
        chosen: Chosen = {}
        score = {}
        for way in WAYS:
            sums = np.stack([self.active[way][rows].sum(0) for rows in inside])
            tokens = np.array([self.tokens[way][rows].sum() for rows in inside])
            found = selection.select(selection.probabilities(sums, tokens), rule_of("aape", {}))
            chosen[way] = {
                name: frozenset(np.flatnonzero(own).tolist())
                for name, own in zip(names, found.assigned, strict=True)
            }
            settings = Probe(epochs=epochs, learning_rate=0.003, score="loss", seeds=[0, 1, 2])
            trained = probes.train(self.features[way], frame, settings)
            scored = probes.score(trained, self.features[way], frame, settings)
            score[way] = (scored["prediction"] == scored["class"]).mean()
        return chosen, score


def pairs(chosen: dict[str, frozenset[int]]) -> set[tuple[int, str]]:
    return {(neuron, name) for name, neurons in chosen.items() for neuron in neurons}


def shared(first: Chosen, second: Chosen) -> Iterator[tuple[str, float, float]]:
    """Yield each way, and the mean ratio of classes of the same name and of others."""
    for way in WAYS:
        same, other = [], []
        for a, mine in first[way].items():
            for b, theirs in second[way].items():
                (same if a == b else other).append(ratio(mine, theirs))
        yield way, float(np.nanmean(same)), float(np.nanmean(other))


def main(argv: Sequence[str] | None = None) -> None:
    args = options(__doc__, argv, {"seconds": 0.8, "clips": 16, "epochs": 2}, **OPTIONS)
    here = (args.folder / "config.json").is_file()
    block = {"adapter": "huggingface", "context": "clip", "weights": {"source": "random", "seed": 0}}
    block |= {} if here else {"model_type": args.model_type, "config": SIZES if args.quick else {}}
    encoder = models.load("encoder", block, args.folder / "config.json" if here else None, args.device)
    known: dict[str, list[tuple[str, Chosen]]] = {}
    with Report("counting", args) as report, tempfile.TemporaryDirectory() as temporary:
        for path in args.lists:
            folder = Path(temporary) / path.stem
            folder.mkdir()
            table = drawn(listed(path, folder), args.clips)
            labels = [name for name in table.columns if name not in ("path", "group", "split")]
            # A label that tells the groups apart has nothing to be tested on.
            labels = [name for name in labels if table.groupby(name)["group"].nunique().min() > 1]
            named, part = folder / "list.csv", folder / "part.parquet"
            table.to_csv(named, index=False)
            prepare("custom", {"files": named}, [part], folder / "rejected.parquet", max_rejected=0.5)
            passes = Passes(encoder, part, folder, args)
            about = f"{path.stem}, {len(passes.tokens['window'])} clips"
            report.add(f"{about}: share of tokens after the end of recordings", [passes.padding()])
            for label in labels:
                chosen, score = passes.task(label, args.epochs)
                known.setdefault(label, []).append((path.stem, chosen))
                same = jaccard(*(pairs(chosen[way]) for way in WAYS))
                report.add(f"{about}, {label}: Jaccard index of (neuron, class) pairs", [same])
                for way in WAYS:
                    report.add(f"{about}, {label}: probe, {way}", [score[way]])
        for label, found in known.items():
            for (a, first), (b, second) in combinations(found, 2):
                if len(first["window"].keys() & second["window"].keys()) < 2:
                    continue
                for way, same, other in shared(first, second):
                    report.add(f"{label}, {a} x {b}: ratio of the same classes, {way}", [same])
                    report.add(f"{label}, {a} x {b}: ratio of others, {way}", [other])


if __name__ == "__main__":
    main()
