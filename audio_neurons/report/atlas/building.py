"""The folder of the atlas: pages that open from a folder, their data, and sounds.

``pages/`` is complete and may be passed on. Sounds that may not be are in ``local/`` beside it, so that they
are heard where the atlas was made, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

import audio_neurons
from audio_neurons import tables
from audio_neurons.ablation.effects import ALL
from audio_neurons.report import layout
from audio_neurons.report.atlas import packing
from audio_neurons.report.atlas.neurons import SHARD, OfTask, Shown, of_task, shards
from audio_neurons.report.atlas.packing import rounded, thousandths
from audio_neurons.report.inventory import library_code
from audio_neurons.running.files import checksum, write_text
from audio_neurons.running.runtime import Meter
from audio_neurons.study import paths
from audio_neurons.study.paths import fill

SCRIPTS = ("data.js", "draw.js", "sounds.js", "card.js", "lists.js", "main.js")
EFFECT = [
    *("set", "kind", "targets", "gain", "replacement", "neurons", "class", "delta", "logprob_delta", "low"),
    *("high", "excess", "excess_low", "excess_high", "controls", "logprob_p"),
]


def build(about: Mapping[str, Any], out: str | os.PathLike) -> None:
    """Write the atlas of a run, whose tables are at their paths below the working directory.

    Parameters
    ----------
    about
        What :meth:`audio_neurons.study.atlas.Atlas.about` says of models, tasks, comparisons and datasets.
    out
        ``index.html``, which leads to the pages.
    """
    pages, local = (Path(out).with_name(Path(one).name) for one in (paths.ATLAS_PAGES, paths.ATLAS_LOCAL))
    for folder in (pages, local):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    told = {one["name"]: _dataset(one, pages, local) for one in about["datasets"]}
    models = {}
    meter = Meter(len(about["models"]), "atlas", "models")
    for model in about["models"]:
        models[model["name"]] = _model(model["name"], about, told, pages)
        meter.add()
    meter.finish()
    run = identity(about)
    classes = {task: {"classes": own["classes"], "clips": own["clips"]} for task, own in _first(models)}
    said = {key: about[key] for key in ("models", "tasks", "comparisons", "selector", "level", "drawn")}
    said["datasets"] = {name: own["about"] for name, own in told.items()}
    kept = ("layers", "chosen", "counts")
    index = {
        **said,
        **{"demo": about["demo"], "shard": SHARD, "run": run, "classes": classes},
        "of": {name: {key: own[key] for key in kept} for name, own in models.items()},
    }
    packing.write(pages, "index", index)
    manifest = {**run, **said}
    write_text(
        pages / "atlas.json", json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    )
    _lay_pages(pages, run)
    write_text(out, _templates().get_template("door.html.jinja").render())


def _first(models: Mapping[str, Mapping[str, Any]]) -> Any:
    return next(iter(models.values()))["classes"].items()


def identity(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of configuration, code and data of a run, and the one of all three."""
    known = {
        "configuration": hashlib.sha256(about["configuration"].encode()).hexdigest(),
        "code": library_code(),
        "data": hashlib.sha256("".join(map(checksum, about["data"])).encode()).hexdigest(),
    }
    run = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    return {"run": run, "version": audio_neurons.__version__, **known}


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("audio_neurons.report.atlas"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


def _lay_pages(pages: Path, run: Mapping[str, str]) -> None:
    """Write the page, its style and its scripts, which are the same for all runs."""
    laid = _templates()
    assert laid.loader is not None
    for name in ("atlas.css", *SCRIPTS):
        text = laid.loader.get_source(laid, name)[0]
        if name == "atlas.css":
            text = layout.template("style.css.jinja").render() + "\n" + text
        write_text(pages / name, text)
    page = laid.get_template("index.html.jinja").render(run=run["run"], scripts=SCRIPTS)
    write_text(pages / "index.html", page)


# Datasets


def _dataset(about: Mapping[str, Any], pages: Path, local: Path) -> dict[str, Any]:
    """Write the clips of a dataset and their sounds; return them, and what the pages say of the dataset."""
    name = about["name"]
    shown = tables.read(fill(paths.SHOWN, dataset=name), "shown")
    cut = tables.read(fill(paths.EXCERPTS, dataset=name), "excerpts")
    folder = (pages / "sounds" if about["passed_on"] else local) / name
    folder.mkdir(parents=True)
    for number, row in enumerate(cut.itertuples()):
        (folder / f"{number}.mp3").write_bytes(row.sound)
        (folder / f"{number}.png").write_bytes(row.spectrogram)
    labels: dict[str, Any] = {}
    for label in tables.labels_of("shown", shown.columns):
        codes, names = pd.factorize(shown[label], sort=True)
        labels[label] = {"names": list(names), "of": codes.tolist()}
    clip = pd.Index(shown["clip_id"]).get_indexer(cut["clip_id"])
    excerpts = [
        [int(clip[row.Index]), row.excerpt, round(row.start, 3), round(row.seconds, 3)]
        for row in cut.itertuples()
    ]
    value = {
        "id": shown["clip_id"].tolist(),
        "split": shown["split"].tolist(),
        "seconds": rounded(shown["frames"] / tables.SAMPLE_RATE),
        "labels": labels,
        "excerpts": excerpts,
        "base": f"sounds/{name}/" if about["passed_on"] else f"../{local.name}/{name}/",
    }
    packing.write(pages, f"clips/{name}", value)
    size = sum(map(len, cut["sound"])) + sum(map(len, cut["spectrogram"]))
    kept = {"clips": len(shown), "excerpts": len(cut), "bytes": size}
    return {"about": {**about, **kept}, "shown": shown}


# Models


def _model(
    model: str, about: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]], pages: Path
) -> dict[str, Any]:
    """Write the data of a model, and return what the index says of it."""
    found: dict[str, OfTask] = {}
    everyone = np.zeros((0, 2), np.int64)
    for task in about["tasks"]:
        found[task["name"]], everyone = of_task(model, task, about)
        listing = found[task["name"]].listing(everyone)
        listing["effects"], listing["sets"] = _effects(model, task["name"], about)
        packing.write(pages, f"{model}/task-{task['name']}", listing)
    shown = {dataset: Shown(model, dataset, everyone, one["shown"]) for dataset, one in told.items()}
    times = np.zeros(len(everyone), int)
    for of in found.values():
        times[of.chosen] += 1
    chosen = np.flatnonzero(times)
    acoustic = _acoustics(model, about, everyone, chosen)
    for place, data in shards(everyone, found, shown):
        own = {"acoustics": {number: acoustic[number] for number in data["chosen"] if acoustic[number]}}
        packing.write(pages, f"{model}/neurons-{place:03d}", {**data, **own})
    for dataset, one in told.items():
        packing.write(pages, f"{model}/sounds-{dataset}", _excited(model, dataset, everyone, one["shown"]))
    for comparison in about["comparisons"]:
        pairs = _pairs(model, comparison["name"], about)
        packing.write(pages, f"{model}/pairs-{comparison['name']}", pairs)
    return {
        "layers": np.bincount(everyone[:, 0]).tolist(),
        "chosen": [chosen.tolist(), times[chosen].tolist()],
        "counts": {name: own.assigned.sum(1).tolist() for name, own in found.items()},
        "classes": {name: {"classes": own.classes, "clips": own.clips} for name, own in found.items()},
    }


def _effects(model: str, task: str, about: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what ablations of sets do to their target classes, and the neurons of each set."""
    if [model, task] not in about["ablated"]:
        return [], {}
    known = {"model": model, "task": task, "selector": about["selector"]}
    rows = tables.read(fill(paths.OF_TASK, table="ablation", **known), "ablation")
    own = rows[(rows["probe"] == "mean") & (rows["control"] == "none") & rows["target"]]
    own = own[(own["class"] != ALL) & (own["gain"] == 0)]
    effects = [
        {key: one if isinstance(one, str) else rounded([one])[0] for key, one in row.items()}
        for row in own[EFFECT].to_dict("records")
    ]
    members = tables.read(fill(paths.OF_TASK, table="ablation_sets", **known), "ablation_sets")
    members = members[members["control"] == "none"]
    sets = {
        name: sorted(map(list, zip(rows["layer"].tolist(), rows["neuron"].tolist(), strict=True)))
        for name, rows in members.groupby("set")
    }
    return effects, sets


def _acoustics(
    model: str, about: Mapping[str, Any], everyone: np.ndarray, chosen: np.ndarray
) -> dict[int, dict[str, list[list[Any]]]]:
    """Return neuron → dataset → features and their correlations with being active, over all splits."""
    found: dict[int, dict[str, list[list[Any]]]] = {int(number): {} for number in chosen}
    of = pd.MultiIndex.from_arrays(everyone.T)
    columns = ["split", "feature", "layer", "neuron", "correlation"]
    for dataset in names(about["datasets"]) if about["acoustics"] else ():
        path = fill(paths.STATISTICS, model=model, dataset=dataset, table="correlations")
        rows = tables.read(path, "correlations", columns)
        rows = rows[(rows["split"] == ALL) & rows["correlation"].notna()]
        numbers = of.get_indexer(pd.MultiIndex.from_frame(rows[["layer", "neuron"]]))
        rows = rows.assign(number=numbers)[np.isin(numbers, chosen)]
        for number, own in rows.groupby("number"):
            values = rounded(own["correlation"], 3)
            found[int(number)][dataset] = [list(one) for one in zip(own["feature"], values, strict=True)]
    return found


def names(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    return [block["name"] for block in blocks]


def _excited(model: str, dataset: str, everyone: np.ndarray, shown: pd.DataFrame) -> list[list[Any]]:
    """Return for each drawn clip its number and the neurons that it excites most, with their scores."""
    rows = tables.read(fill(paths.EXCITED, model=model, dataset=dataset), "excited")
    of = pd.MultiIndex.from_arrays(everyone.T)
    rows["number"] = of.get_indexer(pd.MultiIndex.from_frame(rows[["layer", "neuron"]]))
    rows["clip"] = pd.Index(shown["clip_id"]).get_indexer(rows["clip_id"])
    rows = rows[rows["clip"] >= 0]
    return [
        [int(clip), own["number"].tolist(), rounded(own["score"], 3)]
        for clip, own in rows.groupby("clip", sort=False)
    ]


def _pairs(model: str, comparison: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the common-neuron ratios of all pairs of classes, and what permuted labels give."""
    known = {"model": model, "comparison": comparison, "selector": about["selector"]}
    rows = tables.read(fill(paths.OF_COMPARISON, table="sharing", **known), "sharing")
    if about["resampled"]:
        path = fill(paths.OF_COMPARISON, table="sharing_inference", **known)
        inferred = tables.read(path, "inference")
        own = inferred.loc[inferred["statistic"] == "ratio", ["class_a", "class_b", "null_mean"]]
        centred = inferred.loc[inferred["statistic"] == "centred", ["class_a", "class_b", "q_value"]]
        rows = rows.merge(own, on=["class_a", "class_b"], how="left")
        rows = rows.merge(centred, on=["class_a", "class_b"], how="left")
    else:
        rows = rows.assign(null_mean=np.nan, q_value=np.nan)
    (at_a, a), (at_b, b) = (pd.factorize(rows[side]) for side in ("class_a", "class_b"))
    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "at": np.stack([at_a, at_b], 1).tolist(),
        "ratio": thousandths(rows["ratio"].to_numpy(float)),
        "common": rows["common"].tolist(),
        "null": thousandths(rows["null_mean"].to_numpy(float)),
        "q": rounded(rows["q_value"].to_numpy(float), 2),
        "matched": rows["matched"].astype(int).tolist(),
    }


def sizes(pages: str | os.PathLike) -> dict[str, int]:
    """Return the bytes of the index, of each model's data, and of the sounds, of finished pages."""
    pages = Path(pages)
    found = {"index": (pages / "data" / "index.js").stat().st_size}
    for folder in sorted(one for one in (pages / "data").iterdir() if one.is_dir()):
        found[folder.name] = sum(file.stat().st_size for file in folder.rglob("*.js"))
    found["sounds"] = sum(file.stat().st_size for file in pages.glob("sounds/*/*"))
    return found
