"""What a precision changes: the chosen neurons, and the time of a forward pass, against fp32.

Decisions and neurons are compared on the trained models and recordings of a finished demo (``make
demo``), task by task; time on an encoder of full size (ViT-Base, random weights) over noise, batch by
batch in turns.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from audio_neurons import config as configuration
from audio_neurons import models, selection, statistics
from audio_neurons.extraction import Settings, extract, forward, numerics
from audio_neurons.recorder import Recorder

HOME = Path(__file__).parents[1]
SCHEMA = HOME / "workflow" / "schemas" / "config.schema.yaml"


def chosen(folder: Path, label: str, rule: selection.Rule) -> tuple[set, set, np.ndarray, np.ndarray]:
    """Selected neurons, (class, neuron) assignments, counts and tokens of a folder of statistics."""
    classes, active, _ = statistics.class_counts(folder, label, ["train"])
    tokens = classes["tokens"].to_numpy()
    found = selection.select(selection.probabilities(active, tokens), rule)
    return set(np.flatnonzero(found.selected)), set(map(tuple, np.argwhere(found.assigned))), active, tokens


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0


def compare(demo: Path, precisions: Iterable[str], datasets: Iterable[str], device: str) -> pd.DataFrame:
    """Per model, task and precision: how far it is from fp32."""
    config = yaml.safe_load((HOME / "config" / "demo.yaml").read_text(encoding="utf-8"))
    config = configuration.complete(config, SCHEMA)
    rule = selection.rule_of("aape", config["selection"]["selectors"]["aape"])
    rows = []
    for name, block in config["models"].items():
        encoder = models.load(name, block, demo / "results/training" / name / "model.safetensors", device)
        for dataset in datasets:
            clips = demo / "results/clips" / dataset / "part-000.parquet"
            found = {}
            for precision in ("fp32", *precisions):
                with tempfile.TemporaryDirectory() as folder:
                    settings = Settings(config["datasets"][dataset]["clip_seconds"], 16, precision=precision)
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


def times(precisions: list[str], compiled: bool, device: str, batches: int, size: int) -> pd.DataFrame:
    """Seconds per batch of 5 s clips, hooks and all, relative to fp32 in the same turn."""
    encoder = models.load("vit", {"adapter": "vit", "weights": {"source": "random", "seed": 0}}, None, device)
    wave = 0.1 * torch.randn(size, 80_000, generator=torch.Generator().manual_seed(0)).to(device)
    variants = [(p, False) for p in ("fp32", *precisions)]
    variants += [(p, True) for p, _ in variants] if compiled else []
    taken: dict[tuple, list[float]] = {variant: [] for variant in variants}
    for turn in range(batches + 1):
        for precision, compile_ in variants:
            with Recorder(encoder, compiled=compile_) as recorder, numerics(encoder, precision, compile_):
                if compile_ or turn == 0:
                    forward(encoder, recorder, wave)
                began = now(device)
                forward(encoder, recorder, wave)
                taken[precision, compile_].append(now(device) - began)
    base = np.array(taken["fp32", False][1:])
    return pd.DataFrame(
        {
            "precision": p,
            "compile": c,
            "time / fp32": np.median(np.array(seconds[1:]) / base),
            "clips / s": size / np.median(seconds[1:]),
        }
        for (p, c), seconds in taken.items()
    )


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=HOME / "demo", help="folder of a finished demo")
    parser.add_argument("--datasets", nargs="+", default=["gtzan", "cremad", "nsynth"])
    parser.add_argument("--precisions", nargs="+", default=["bf16"], choices=["tf32", "bf16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    print(json.dumps({"device": options.device, "card": card, "threads": torch.get_num_threads()}))
    print(
        times(options.precisions, options.compile, options.device, options.batches, options.batch_size)
        .round(3)
        .to_string(index=False)
    )
    if not (options.demo / "results" / "clips").is_dir():
        print(f"{options.demo} has no finished demo (make demo): neurons are not compared")
        return
    table = compare(options.demo, options.precisions, options.datasets, options.device)
    print(table[table["precision"] != "fp32"].round(4).to_string(index=False))


if __name__ == "__main__":
    main()
