"""Tables of an invented run, of any size, from which the atlas is built: below a folder, at their paths."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from audio_neurons import tables
from audio_neurons.activations.examples import SAMPLES
from audio_neurons.recordings import audio, excerpts
from audio_neurons.settings.selection import PRESETS
from audio_neurons.study import paths
from audio_neurons.study.paths import fill

RATE = 16_000
SECONDS = 1.0
OF = {"random": 4, "low": 2, "middle": 2, "high": 2, "strongest": 5, "other": 3}  # clips of a neuron


def write(
    folder: Path,
    layers: int = 3,
    width: int = 40,
    classes: int = 4,
    clips: int = 24,
    models: tuple[str, ...] = ("ssl", "random"),
    tasks: int = 2,
    chosen: float = 0.1,
    passed_on: bool = True,
    screened: bool = True,
    resampled: bool = True,
    acoustics: bool = True,
    seed: int = 0,
) -> dict:
    """Write the tables of tasks on one dataset, and return what the atlas is told about them."""
    rng = np.random.default_rng(seed)
    names = [f"{kind}-{n:03d}.wav" for n, kind in enumerate(["tone", "noise"] * (clips // 2))]
    labels = {f"label{task}": [f"class{n % classes}" for n in range(clips)] for task in range(tasks)}
    _clips(folder, names, labels, rng)
    everyone = np.argwhere(np.ones((layers, width), bool))
    about = {
        "models": [{"name": one, "title": f"The {one}", "kind": one} for one in models],
        "tasks": [
            {
                "name": f"task{task}",
                "title": f"Task {task}",
                "dataset": "sounds",
                "label": f"label{task}",
                "rule": PRESETS["aape"].dump(),
            }
            for task in range(tasks)
        ],
        "comparisons": [{"name": "pairs", "title": "Pairs", "tasks": ["task0", f"task{tasks - 1}"]}],
        "datasets": [{"name": "sounds", "title": "Sounds", "licence": "CC0", "passed_on": passed_on}],
        "ablated": [["ssl", "task0"]] if screened else [],
        "selector": "aape",
        "resampled": resampled,
        "splits": None,
        "level": 0.95,
        "drawn": {"clips": clips, "seed": 0},
        "acoustics": acoustics,
        "demo": False,
        "configuration": "{}",
        "data": [str(folder / "sources.json")],
    }
    (folder / "sources.json").write_text("{}", encoding="utf-8")
    examples = []
    for model in models:
        numbers = rng.permutation(len(everyone))[: max(1, round(chosen * len(everyone)))]
        for task in range(tasks):
            _task(folder, model, f"task{task}", everyone, numbers, classes, labels[f"label{task}"], rng)
        examples.append(_examples(folder, model, everyone, np.sort(numbers), names, rng))
        _statistics(folder, model, everyone, labels, clips, rng)
        _sharing(folder, model, classes, rng)
        if acoustics:
            _correlations(folder, model, everyone, rng)
        if screened and model == "ssl":
            _ablation(folder, model, everyone, numbers, classes, rng)
    parts = [folder / fill(paths.CLIPS, dataset="sounds", shard="000")]
    outs = [folder / fill(path, dataset="sounds") for path in (paths.EXCERPTS, paths.SHOWN)]
    excerpts.cut(parts, examples, SECONDS, RATE, False, clips, list(labels), *outs)
    return json.loads(json.dumps(about))


def _clips(folder, names, labels, rng):
    seconds = np.arange(round(SECONDS * RATE)) / RATE
    rows = []
    for number, name in enumerate(names):
        wave = (
            np.sin(2 * np.pi * (200 + 40 * number) * seconds)
            if "tone" in name
            else rng.normal(0, 1, len(seconds))
        )
        rows.append({"clip_id": name, "audio": audio.encode(0.1 * wave), "frames": len(wave)})
    frame = pd.DataFrame(rows).assign(split="train", fold=0, group=[f"g{n % 6}" for n in range(len(names))])
    path = folder / fill(paths.CLIPS, dataset="sounds", shard="000")
    tables.write(path, "clips", frame.assign(**labels))


def _at(folder, table, model, task):
    return folder / fill(paths.OF_TASK, table=table, model=model, task=task, selector="aape")


def _task(folder, model, task, everyone, numbers, classes, labels, rng):
    n = len(everyone)
    known = {"layer": everyone[:, 0], "neuron": everyone[:, 1]}
    entropy = rng.uniform(0.5, np.log(classes), n)
    chosen = np.zeros(n, bool)
    chosen[numbers] = True
    own = rng.integers(0, classes, n)
    # Sums to at least one neuron of every class, whatever the draw.
    own[np.sort(numbers)[:classes]] = np.arange(classes)[: len(numbers)]
    count = pd.Series(labels).value_counts()
    described = pd.DataFrame({"class": [f"class{c}" for c in range(classes)]})
    described["clips"] = described["class"].map(count)
    described = described.assign(tokens=100, padding=0.0, neurons=1, covered=True)
    tables.write(_at(folder, "classes", model, task), "classes", described)
    with (
        tables.writer(_at(folder, "neurons", model, task), "neurons") as neurons,
        tables.writer(_at(folder, "stability", model, task), "stability") as stability,
    ):
        for c in range(classes):
            assigned = chosen & (own == c)
            response = np.where(assigned, rng.uniform(0.5, 0.9, n), rng.beta(1, 8, n))
            more = {"class": [f"class{c}"] * n, "entropy": entropy, "selected": chosen, "eligible": chosen}
            neurons.append({**known, **more, "response": response, "assigned": assigned})
            values = {key: rng.uniform(0, 1, n) for key in ("null_entropy", "p_value", "pooled_p", "q_value")}
            shares = {"selected": rng.uniform(0, 1, n), "assigned": rng.uniform(0, 1, n)}
            stability.append({**known, "class": [f"class{c}"] * n, **values, **shares})


def _examples(folder, model, everyone, chosen, names, rng):
    n, per = len(everyone), sum(OF.values())
    number = np.repeat(np.arange(n), per)
    sample = np.concatenate([[name] * OF[name] for name in SAMPLES])
    rank = np.concatenate([np.arange(OF[name]) for name in SAMPLES])
    traced = np.isin(number, chosen)
    keep = traced | ~np.isin(np.tile(sample, n), ["other"])
    number, traced = number[keep], traced[keep]
    lengths = np.where(traced, 25, 0)
    flat = rng.integers(0, 256, lengths.sum()).astype(np.uint8)
    rows = len(number)
    table = pa.table(
        {
            "layer": everyone[number, 0],
            "neuron": everyone[number, 1],
            "sample": np.tile(sample, n)[keep],
            "rank": np.tile(rank, n)[keep],
            "clip_id": np.asarray(names, object)[rng.integers(0, len(names), rows)],
            "activation": rng.gamma(2, 1, rows),
            "seconds": rng.uniform(0, SECONDS, rows).round(2),
            "response": rng.uniform(0, 1, rows),
            "excerpt": np.zeros(rows, np.int16),
            "trace": pa.ListArray.from_arrays(
                np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), flat
            ),
            "step": np.where(traced, 0.04, 0),
            "scale": np.where(traced, 3.2, 0),
            "active_clips": rng.integers(1, len(names), n)[number],
            "drawn_clips": np.full(rows, len(names)),
        }
    )
    path = folder / fill(paths.EXAMPLES, model=model, dataset="sounds")
    tables.write(path, "examples", table)
    excited = [
        {
            "clip_id": name,
            "rank": rank,
            "layer": layer,
            "neuron": unit,
            "score": 5.0 - rank,
            "activation": 1.0,
        }
        for name in names
        for rank, (layer, unit) in enumerate(everyone[rng.permutation(n)[:5]])
    ]
    tables.write(
        folder / fill(paths.EXCITED, model=model, dataset="sounds"), "excited", pd.DataFrame(excited)
    )
    return path


def _statistics(folder, model, everyone, labels, clips, rng):
    frame = pd.DataFrame(labels).assign(split="train", fold=0, group=[f"g{n % 6}" for n in range(clips)])
    keys = frame.drop_duplicates().sort_values(["split", "fold", *labels, "group"])
    path = folder / fill(paths.STATISTICS, model=model, dataset="sounds", table="units")
    with tables.writer(path, "units", list(labels)) as writer:
        active = rng.integers(0, 101, (len(keys), len(everyone))).astype(np.uint32)
        sums = {"clips": [1] * len(keys), "tokens": [100] * len(keys), "active": list(active)}
        writer.append({**keys.to_dict("list"), **sums})


def _correlations(folder, model, everyone, rng):
    rows = [
        pd.DataFrame({"split": split, "feature": feature, "layer": everyone[:, 0], "neuron": everyone[:, 1]})
        for split in ("*", "train")
        for feature in ("f0", "loudness")
    ]
    table = pd.concat(rows, ignore_index=True).assign(tokens=9, rate=0.5)
    path = folder / fill(paths.STATISTICS, model=model, dataset="sounds", table="correlations")
    tables.write(path, "correlations", table.assign(correlation=rng.uniform(-1, 1, len(table))))


def _sharing(folder, model, classes, rng):
    known = {"model": model, "comparison": "pairs", "selector": "aape"}
    pairs = [(f"class{a}", f"class{b}") for a in range(classes) for b in range(classes)]
    rows = pd.DataFrame(pairs, columns=["class_a", "class_b"])
    rows["matched"] = rows["class_a"] == rows["class_b"]
    for column in ("neurons_a", "neurons_b", "common", "pool_a", "pool_b", "pool"):
        rows[column] = rng.integers(1, 9, len(rows))
    for column in ("ratio", "expected", "p_value"):
        rows[column] = rng.uniform(0, 1, len(rows))
    tables.write(folder / fill(paths.OF_COMPARISON, table="sharing", **known), "sharing", rows)
    numbers = [field.name for field in tables.SCHEMAS["inference"] if field.type == pa.float64()]
    of = {column: rng.uniform(0, 1, 2 * len(rows)) for column in numbers}
    inferred = pd.concat([rows[["class_a", "class_b"]]] * 2, ignore_index=True)
    inferred["statistic"] = np.repeat(["ratio", "centred"], len(rows))
    inferred = inferred.assign(**of, groups=6, alternative="two-sided", family="pairs")
    path = folder / fill(paths.OF_COMPARISON, table="sharing_inference", **known)
    tables.write(path, "inference", inferred)


def _ablation(folder, model, everyone, numbers, classes, rng):
    effects, members = [], []
    kinds = {field.name: field.type for field in tables.SCHEMAS["ablation"]}
    for c in range(classes):
        row = {name: rng.uniform(-1, 0) if kind == pa.float64() else 3 for name, kind in kinds.items()}
        row |= {"condition": f"class:class{c} gain=0 mean", "set": f"class:class{c}", "kind": "class"}
        row |= {"targets": f"class{c}", "control": "none", "replacement": "mean", "selection_split": "train"}
        effects.append({**row, "gain": 0.0, "probe": "mean", "class": f"class{c}", "target": True, "draw": 0})
        for number in numbers[c::classes]:
            of = {"layer": everyone[number, 0], "neuron": everyone[number, 1]}
            members.append({"set": f"class:class{c}", "control": "none", "draw": 0, **of})
    tables.write(_at(folder, "ablation", model, "task0"), "ablation", pd.DataFrame(effects))
    tables.write(_at(folder, "ablation_sets", model, "task0"), "ablation_sets", pd.DataFrame(members))
    n = len(everyone)
    rows = [
        pd.DataFrame({"layer": everyone[:, 0], "neuron": everyone[:, 1], "class": f"class{c}"}).assign(
            estimate=rng.normal(0, 0.01, n), exact=np.nan
        )
        for c in range(classes)
    ]
    path = folder / fill(paths.SCREENING, table="screening", model=model, task="task0")
    tables.write(path, "screening", pd.concat(rows, ignore_index=True))
