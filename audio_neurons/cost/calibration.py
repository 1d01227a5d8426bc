"""Measured rates of this machine: a few seconds of every kind of work, on noise.

On a CPU, rates are seconds of processor time, summed over threads, so that other work on the machine hardly
matters; on a GPU, seconds of wall time. They are kept in a file, since measuring takes a minute or so.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_neurons.cost import encoders, making
from audio_neurons.cost.clock import spent
from audio_neurons.models.errors import ModelError
from audio_neurons.running.files import atomic
from audio_neurons.running.provenance import versions
from audio_neurons.running.runtime import limit_threads, tell
from audio_neurons.settings.extraction import ON_CPU
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.probe import Probe
from audio_neurons.settings.section import serialise
from audio_neurons.settings.selection import PRESETS
from audio_neurons.study.loading import HOME
from audio_neurons.study.models import TOLD
from audio_neurons.study.study import Study
from audio_neurons.training.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from audio_neurons.models.encoder import Encoder

NOISE_SECONDS, NOISE_RATE, NOISE_CLIPS = 5.0, 44_100, 16
CONDITIONS, SET = 4, 25  # conditions that are measured, and neurons of each
# Neurons, rows and classes of which the inference is measured: one more of each than in the first.
POINTS = ((1024, 100, 5), (4096, 100, 5), (4096, 800, 5), (4096, 100, 25))
PANELS = (3, 4)  # rows and columns of the larger of two figures that are measured
STARTS = 2  # of a job of each kind: the first one may compile what others find compiled
FORMAT = 4  # of the file
KINDS = ("infer", "encoders", "recordings", "pools", "trainings")  # of rates that depend on a configuration
# What a job does before its script's own imports; it also ends as a job does.
JOB = """
import os, sys; from snakemake.script import Snakemake
from audio_neurons.running import runtime
runtime.start(os.devnull, 1)
"""
TABLES = "from audio_neurons import tables; from audio_neurons.neurons import selection"
TESTS = "import scipy.stats; from audio_neurons.inference import sharing"
PROBES = "from audio_neurons.ablation import probes"
ENCODER = """
import json
from pathlib import Path
from audio_neurons.activations import extraction
from audio_neurons.cost import encoders
encoders.load("model", json.loads(sys.argv[1]), Path(sys.argv[2]))
"""
# In a process of its own: how many threads NumPy has, whose waiting counts, is set when it is imported.
INFERENCE = """
import json, sys
from audio_neurons.cost import calibration
from audio_neurons.settings.inference import Inference
print(json.dumps(calibration.inference(Inference.read(sys.argv[1]), json.loads(sys.argv[2]))))
"""
# Most of a figure's time is its import, its layout, and its two files. Arguments: rows and columns of panels.
FIGURE = """
import tempfile
from audio_neurons.report.figures import _style as style, drawing, sharing
import matplotlib.pyplot as plt
style.style()
rows, columns = map(int, sys.argv[1:])
figure, panels = plt.subplots(rows, columns, squeeze=False, figsize=(7, 4), layout="constrained")
for panel in panels.flat:
    panel.plot(range(9), label="a line")
    panel.set(title="a title", xlabel="an axis", ylabel="an axis")
with tempfile.TemporaryDirectory() as folder:
    style.save(figure, os.path.join(folder, "a.pdf"), os.path.join(folder, "a.png"))
"""


def file() -> Path:
    """Return the file in which rates are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "audio-neurons" / "rates.json"


def machine() -> str:
    """Describe what rates depend on: processor, cores, and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    torch, numpy = versions(["torch"]).get("torch", "-"), versions(["numpy"]).get("numpy", "-")
    return f"{(*named, platform.machine())[0]}, {cores()} cores, torch {torch}, numpy {numpy}"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def key(study: Study, model: str) -> str:
    """Return a digest of what an encoder's speed depends on; models of one architecture share it."""
    told = {*TOLD, "weights", "training", "norm_stats", "shuffled", "note"}
    block = {k: v for k, v in study.models.blocks[model].items() if k not in told}
    source = study.models.blocks[model]["weights"]
    described = {k: source[k] for k in ("name", "path", "revision") if k in source}
    extraction = study.config.extraction
    asked = {"precision": extraction.precision, "device": extraction.device, "threads": threads(study)}
    return hashlib.sha256(serialise([block, described, asked]).encode()).hexdigest()[:16]


def threads(study: Study) -> int:
    """Return the threads of an encoder's job here."""
    return min(study.models.threads(None), cores())


def calibrate(
    study: Study, wanted: Mapping[str, Sequence[float]], path: Path, again: bool = False
) -> dict[str, Any]:
    """Return rates, measured where the file has none of this machine.

    Parameters
    ----------
    wanted
        Model → lengths of clips (s) at which its encoder is measured.
    path
        File in which rates are kept.
    again
        Whether to measure all of them again.

    Returns
    -------
    ``machine``; ``start`` (s of a job of tables, of tests, of probes, of a figure with one panel, and of each
    further panel); ``prepare``, ``check``, ``decode`` and ``excerpt`` (s per s of audio); ``infer``:
    settings → what :func:`inference` returns; ``encoders``: `key` → what :func:`encoder_rates` returns;
    ``recordings``, ``pools``, ``trainings``: what :mod:`audio_neurons.cost.making` returns; ``unknown``: what
    was not measured → why.
    """
    known: dict[str, Any] = {}
    if path.is_file() and not again:
        known = json.loads(path.read_text(encoding="utf-8"))
    if (known.get("machine"), known.get("format")) != (machine(), FORMAT):
        known = {"machine": machine(), "format": FORMAT, **{kind: {} for kind in KINDS}}
    limit_threads(threads(study))
    if "start" not in known:
        tell("measuring preparation and the start of jobs")
        kinds = {"tables": TABLES, "tests": TESTS, "probes": PROBES}
        known["start"] = {kind: _start(imports) for kind, imports in kinds.items()}
        figure, large = (_start(FIGURE, *map(str, panels)) for panels in ((1, 1), PANELS))
        known["start"] |= {"figure": figure, "panel": max(0.0, large - figure) / (PANELS[0] * PANELS[1] - 1)}
        known |= _preparation()
    asked = serialise(study.config.inference)
    if asked not in known["infer"]:
        tell("measuring inference")
        known["infer"][asked] = json.loads(_run(INFERENCE, asked, json.dumps(POINTS)))
    _keep(known, path)
    unknown = dict(_add_made(study, known))
    _keep(known, path)
    for model, lengths in wanted.items():
        have = known["encoders"].setdefault(key(study, model), {"passes": {}})
        lacking = [s for s in sorted(set(lengths)) if f"{s:g}" not in have["passes"]]
        if lacking:
            tell(f"measuring {model} on clips of {', '.join(f'{s:g}' for s in lacking)} s")
            try:
                _add_encoder(study, model, lacking, have)
            except ModelError as error:
                unknown[f"model {model}"] = str(error)
        if have["passes"]:
            try:
                _add_training(study, model, known)
            except TrainingError as error:
                unknown[f"training of {model}"] = str(error)
        _keep(known, path)
    return {**known, "unknown": unknown}


def made(study: Study, name: str) -> str:
    """Return what the time of making a dataset's recordings depends on."""
    asked = study.datasets.making(name)
    return f"{asked['adapter']} {asked['seconds']:g}"


def _add_made(study: Study, known: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Measure what is made here, and yield what cannot be made, and why."""
    from audio_neurons.synthesis.soundfont import DemoPackageMissing

    def add(name: str, kind: str, as_: str, measure: Callable[[], list[float]]) -> Iterator[tuple[str, str]]:
        if as_ not in known[kind]:
            tell(f"measuring the making of {name}")
            try:
                known[kind][as_] = measure()
            except DemoPackageMissing as error:
                yield f"recordings of {name}", str(error)

    for name in study.datasets.made_here:
        asked, archives = study.datasets.making(name), study.datasets.archives(name)
        measure = partial(making.recordings, asked["adapter"], archives, asked["seconds"])
        yield from add(name, "recordings", made(study, name), measure)
    for name in study.models.pools("made"):
        seconds = study.config.pools[name].clip_seconds
        assert seconds is not None
        yield from add(name, "pools", f"{seconds:g}", partial(making.pool, seconds))


def training_key(study: Study, model: str) -> str:
    """Return a digest of what the speed of a training depends on."""
    asked = study.models.training(model).changed(steps=1, seed=0).dump("pool")
    return hashlib.sha256(serialise([key(study, model), asked]).encode()).hexdigest()[:16]


def _add_training(study: Study, model: str, known: dict[str, Any]) -> None:
    if model not in study.models.with_weights("training") or training_key(study, model) in known["trainings"]:
        return
    tell(f"measuring the training of {model}")
    have = known["encoders"][key(study, model)]
    once = min(one["pass"] for one in have["passes"].values())
    took = making.training(study.models.blocks[model], have["on"], once)
    known["trainings"][training_key(study, model)] = took


def _keep(known: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _start(code: str, *arguments: str) -> float:
    """Return the processor time of a process that runs some code, which starts a job of its kind."""
    found = []
    for _ in range(STARTS):
        before = sum(os.times()[2:4])
        _run(JOB + code, *arguments)
        found.append(sum(os.times()[2:4]) - before)
    return min(found)


def _run(code: str, *arguments: str) -> str:
    """Run code in a process of one thread, and return what it prints."""
    one = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    asked = [sys.executable, "-c", code, *arguments]
    return subprocess.run(asked, check=True, cwd=HOME, env=one, stdout=subprocess.PIPE, text=True).stdout


def _preparation() -> dict[str, float]:
    """Return the processor time of preparing, checking, decoding and showing, per second of audio."""
    import soundfile

    from audio_neurons.recordings import audio, excerpts, facts, preparation

    rng = np.random.default_rng(0)
    total = NOISE_SECONDS * NOISE_CLIPS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number in range(NOISE_CLIPS):
            wave = 0.1 * rng.standard_normal(round(NOISE_SECONDS * NOISE_RATE))
            (folder / "files" / f"class{number % 2}").mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "files" / f"class{number % 2}" / f"{number}.wav", wave, NOISE_RATE)
        given = {"files": folder / "files"}

        def prepare() -> None:
            preparation.prepare("custom", given, [folder / "part.parquet"], folder / "rejected.parquet")

        def check() -> None:
            facts.read(
                "custom", given, max_seconds=60.0, clip_seconds=NOISE_SECONDS, cache=None, name="noise"
            )

        heard = 0.1 * rng.standard_normal(round(NOISE_SECONDS * 16_000)).astype(np.float32)
        flac = audio.encode(heard, 16_000)
        mel = excerpts.spectrogram(16_000)
        with redirect_stderr(io.StringIO()):  # their progress
            prepare()
            return {
                "prepare": spent(prepare) / total,
                "check": spent(check) / total,
                "decode": spent(lambda: audio.read(flac, len(heard))) / NOISE_SECONDS,
                "excerpt": spent(lambda: excerpts.media(heard, 16_000, mel)) / NOISE_SECONDS,
            }


def inference(settings: Inference, points: Sequence[Sequence[int]] = POINTS) -> list[float]:
    """Return the time of all draws: a constant; per neuron a constant, per row and per class; and a share.

    Rows are those of counts. A comparison draws no halves and replications: the share is that of what is
    left of the time. ``points`` are as `POINTS`.
    """
    from audio_neurons.activations.units import Units
    from audio_neurons.inference.inference import Task, infer

    rng = np.random.default_rng(0)
    full = {name: getattr(settings, name) for name in ("draws", "bootstrap", "halves", "replications")}
    low, high = min(1.0, 10 / settings.draws), min(1.0, 40 / settings.draws)

    def drawn(task: Task, share: float, **others: int) -> float:
        few = {name: max(2, round(share * number)) for name, number in full.items()} | others
        return spent(lambda: infer(task, settings.changed(**few, exchange="rows")), least=0.5, most=3)

    found: list[float] = []
    whole = 1.0
    for neurons, rows, classes in points:
        active = rng.binomial(80, rng.beta(0.5, 4, neurons), (rows, neurons)).astype(np.uint16)
        labels, groups = np.arange(rows) % classes, np.arange(rows) // classes
        units = Units(active, np.full(rows, 80), labels, groups, tuple(map(str, range(classes))))
        task = Task.of(units, PRESETS["aape"])
        if not found:
            drawn(task, low)  # imports, and first calls
        one = drawn(task, high)
        if not found:
            whole = min(1.0, drawn(task, high, halves=2, replications=2) / one)
        per_share = max(0.0, one - drawn(task, low)) / (high - low) if high > low else 0.0
        found.append(one + per_share * (1 - high))
    few, many, *more = found
    (fewer, rows, classes), (neurons, *_) = points[:2]
    each = max(0.0, many - few) / (neurons - fewer)
    per_row, per_class = (
        max(0.0, one - many) / (point[i] - points[1][i]) / neurons
        for i, one, point in zip((1, 2), more, points[2:], strict=True)
    )
    per_neuron = max(0.0, each - per_row * rows - per_class * classes)
    return [max(0.0, few - each * fewer), per_neuron, per_row, per_class, whole]


def _add_encoder(study: Study, model: str, lengths: Sequence[float], have: dict[str, Any]) -> None:
    from audio_neurons.running.gpus import pick_device

    device = pick_device(study.config.extraction.device)
    block = study.models.blocks[model]
    encoder = encoders.load(model, block, Path(), device)
    if encoder.lacks_statistics:
        encoder.normalise(0.0, 1.0)
    settings = study.config.extraction
    asked = ON_CPU if isinstance(settings.batch_size, str) else settings.batch_size
    for number, seconds in enumerate(lengths):
        size = min(asked, _in_a_second(encoder, seconds, settings.precision))
        first = number == 0 and "first" not in have
        measured = encoder_rates(encoder, seconds, size, settings.precision, conditions=first)
        have["passes"][f"{seconds:g}"] = {k: measured[k] for k in ("pass", "extract", "front", "operations")}
        if first:
            have |= {"first": measured["first"], "middle": measured["middle"]}
            have["start"] = _start(ENCODER, json.dumps(block), str(Path().resolve()))
            have |= {"neurons": int(sum(encoder.widths)), "features": measured["features"]}
            have["probe"] = _probes(measured["features"])
    have["on"] = device


def _in_a_second(encoder: Encoder, seconds: float, precision: str) -> int:
    """Return about how many clips an encoder takes a second for, at least two."""
    import torch

    from audio_neurons.models.encoder import numerics

    wave = torch.zeros(1, round(seconds * encoder.sample_rate), device=encoder.device)
    with numerics(encoder, precision), torch.inference_mode():
        encoder(wave)  # warm
        return max(2, int(1 / spent(lambda: encoder(wave), encoder.device.type, least=0.0)))


def encoder_rates(
    encoder: Encoder, seconds: float, size: int, precision: str, conditions: bool
) -> dict[str, Any]:
    """Measure an encoder on noise.

    Returns
    -------
    Seconds of one clip: ``pass`` bare, ``extract`` with statistics, ``front`` the front end alone; its
    ``operations``; the number of ``features`` of a clip; and, with ``conditions``, the time of a condition
    whose ``first`` changed layer is the first one, or the ``middle`` one, over a bare pass.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from audio_neurons.activations.extraction import forward
    from audio_neurons.activations.recorder import Recorder, TopClips
    from audio_neurons.models.encoder import numerics

    device = encoder.device.type
    samples = round(seconds * encoder.sample_rate)
    wave = 0.1 * torch.randn(size, samples, generator=torch.Generator().manual_seed(0)).to(encoder.device)
    top = TopClips(encoder.depth, encoder.width, 5, encoder.device, encoder.present)

    def recorded() -> None:
        with Recorder(encoder, floor=top.floor) as recorder:
            _, batch = forward(encoder, recorder, wave)
            encoder.flat(batch.active).cpu()
            top.update(batch, torch.arange(size, device=encoder.device))

    with numerics(encoder, precision), torch.inference_mode():
        features = encoder(wave)  # warm
        bare = spent(lambda: encoder(wave), device)
        front = spent(lambda: encoder.prepared(wave), device, least=0.0)
        extract = max(bare, spent(recorded, device))
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            encoder(wave[:1])
        pooled = encoder.pooled(features[:1], samples, torch.tensor([samples]))
    found = {
        "pass": bare / size,
        "extract": extract / size,
        "front": front / size,
        "operations": counter.get_total_flops(),
        "features": pooled.shape[-1],
    }
    if conditions:
        with numerics(encoder, precision):
            for name, layer in (("first", 0), ("middle", encoder.depth // 2)):
                shared = spent(partial(_conditions, encoder, wave, layer), device, least=0.0)
                found[name] = max(0.0, shared - bare) / CONDITIONS / bare
    return found


def _conditions(encoder: Encoder, wave: Tensor, first: int) -> None:
    """Run conditions whose first changed layer is ``first``, as an ablation does."""
    from audio_neurons.ablation.changes import Change
    from audio_neurons.ablation.intervention import run_changes

    rng = np.random.default_rng(first)
    changes = []
    for _ in range(CONDITIONS):
        layers = np.r_[first, rng.integers(first, encoder.depth, SET - 1)].tolist()
        neurons = [(layer, int(rng.integers(encoder.widths[layer]))) for layer in layers]
        changes.append(Change(frozenset(neurons)))
    for _ in run_changes(encoder, wave, changes, {"zero": None}):
        pass


def _probes(features: int) -> list[float]:
    """Return the time of one clip in one epoch of one probe: a constant, and per class."""
    import pandas as pd

    from audio_neurons.ablation.probes import train

    rng = np.random.default_rng(0)
    clips, epochs, found = 1024, 4, []
    x = rng.standard_normal((clips, features)).astype(np.float32)
    for classes in (2, 50):
        split = np.where(np.arange(clips) % 8 == 0, "valid", "train")
        split[-8:] = "test"
        label = [f"class {n % classes}" for n in range(clips)]
        frame = pd.DataFrame({"split": split, "fold": 0, "group": np.arange(clips), "class": label})
        settings = Probe(epochs=epochs, patience=epochs, seeds=(0,))
        took = spent(partial(train, x, frame, settings), most=2)
        found.append(took / epochs / clips)
    slope = max(0.0, (found[1] - found[0]) / 48)
    return [max(0.0, found[0] - 2 * slope), slope]
