"""Effect of the precision on chosen neurons and on the time of a forward pass, compared with fp32.

Decisions and neurons are compared on the trained models and recordings of a finished demo (``make
demo``), task by task. Time is measured with an encoder of full size (ViT-Base, random weights) over noise,
in turns batch by batch.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from audio_neurons import models, study
from audio_neurons.activations import statistics
from audio_neurons.activations.extraction import extract, forward
from audio_neurons.activations.recorder import Recorder
from audio_neurons.models.encoder import Encoder, numerics
from audio_neurons.neurons import selection
from audio_neurons.settings.extraction import Pass
from audio_neurons.settings.selection import Rule, rule_of
from benchmarks.common import HOME, Report, full_size, now, options


def chosen(folder: Path, label: str, rule: Rule) -> tuple[set, set, np.ndarray, np.ndarray]:
    """Return selected neurons, (class, neuron) assignments, counts and tokens of a folder of statistics."""
    classes, active, _ = statistics.class_counts(folder, label, ["train"])
    tokens = classes["tokens"].to_numpy()
    found = selection.select(selection.probabilities(active, tokens), rule)
    return set(np.flatnonzero(found.selected)), set(map(tuple, np.argwhere(found.assigned))), active, tokens


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0


def compare(demo: Path, precisions: Iterable[str], datasets: Iterable[str], device: str) -> pd.DataFrame:
    """Return the difference from fp32 per model, task and precision."""
    config = yaml.safe_load((HOME / "config" / "demo.yaml").read_text(encoding="utf-8"))
    config = study.complete(config)
    rule = rule_of("aape", config["selection"]["selectors"]["aape"])
    rows = []
    for name, block in config["models"].items():
        encoder = models.load(name, block, demo / "results/training" / name / "model.safetensors", device)
        for dataset in datasets:
            clips = demo / "results/clips" / dataset / "part-000.parquet"
            found = {}
            for precision in ("fp32", *precisions):
                with tempfile.TemporaryDirectory() as folder:
                    settings = Pass(
                        clip_seconds=config["datasets"][dataset]["clip_seconds"],
                        batch_size=16,
                        precision=precision,
                    )
                    extract(encoder, clips, Path(folder), Path(folder) / "e.parquet", settings)
                    for task, about in config["tasks"].items():
                        if about["dataset"] == dataset:
                            found[task, precision] = chosen(Path(folder), about["label"], rule)
            for task, precision in found:
                exact, mine = found[task, "fp32"], found[task, precision]
                rows.append(
                    {
                        "model": name,
                        "task": task,
                        "precision": precision,
                        "net_change": np.abs(mine[2] - exact[2]).sum() / (exact[3].sum() * exact[2].shape[1]),
                        "selected": jaccard(mine[0], exact[0]),
                        "assigned": jaccard(mine[1], exact[1]),
                    }
                )
    return pd.DataFrame(rows)


def times(encoder: Encoder, variants: list[tuple[str, bool]], args) -> pd.DataFrame:
    """Return seconds per batch, hooks included, of each precision, compiled or not, in each turn."""
    samples = round(args.seconds * encoder.sample_rate)
    wave = 0.1 * torch.randn(args.batch_size, samples, generator=torch.Generator().manual_seed(0))
    wave = wave.to(args.device)
    rows = []
    for turn in range(args.runs + 1):
        row = {}
        for precision, compile_ in variants:
            with Recorder(encoder, compiled=compile_) as recorder, numerics(encoder, precision, compile_):
                if compile_ or turn == 0:
                    forward(encoder, recorder, wave)
                began = now(args.device)
                forward(encoder, recorder, wave)
                row[precision, compile_] = now(args.device) - began
        rows.append(row)
    return pd.DataFrame(rows[1:], columns=pd.Index(variants, tupleize_cols=False))


def main(argv: Sequence[str] | None = None) -> None:
    args = options(
        __doc__,
        argv,
        {"seconds": 0.5, "batch_size": 2, "demo": HOME / "no demo"},
        demo=(HOME / "demo", "folder of a finished demo"),
        datasets=(["gtzan", "cremad", "nsynth"], "datasets of the demo"),
        precisions=(["bf16"], "precisions beside fp32", ("tf32", "bf16")),
        seconds=(5.0, "length of a clip"),
        batch_size=(8, "clips per forward pass"),
        compile=(0, "1: also compile the encoder", (0, 1)),
    )
    variants = [(precision, False) for precision in ("fp32", *args.precisions)]
    variants += [(precision, True) for precision, _ in variants] if args.compile else []
    with Report("precision", args) as report:
        seconds = times(full_size(args), variants, args)
        for precision, compiled in variants:
            name, own = f"{precision}{', compiled' if compiled else ''}", seconds[(precision, compiled)]
            if name != "fp32":
                report.add(
                    f"time of a forward pass with hooks, {name} / fp32", own / seconds[("fp32", False)]
                )
            report.add(f"forward pass with hooks, {name}", args.batch_size * args.seconds / own, "audio-s/s")
        if not (args.demo / "results" / "clips").is_dir():
            print("  no finished demo (make demo): neurons are not compared")
            return
        table = compare(args.demo, args.precisions, args.datasets, args.device)
        for precision, rows in table[table["precision"] != "fp32"].groupby("precision"):
            for what in ("net_change", "selected", "assigned"):
                report.add(f"{precision} against fp32 in the demo: {what}", rows[what])


if __name__ == "__main__":
    main()
