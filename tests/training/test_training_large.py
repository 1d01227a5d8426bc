"""Training at scale: pools on disk, interruptions, several processes, evaluation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import audioset_layout
import numpy as np
import pytest
import torch
from common import ROOT
from safetensors.torch import load_file
from scipy.stats import chisquare
from sklearn.metrics import average_precision_score
from test_training import ARCHITECTURE, Pool, one_batch, write_pool
from test_training import block as block_in_memory

from audio_neurons import models, tables
from audio_neurons.activations import extraction
from audio_neurons.recordings import audio
from audio_neurons.settings.extraction import Pass
from audio_neurons.training import TrainingError, audioset, launch, loop, packed, train
from audio_neurons.training.block import settings_of
from audio_neurons.training.block import told as told_of
from audio_neurons.training.evaluation import average_precision
from audio_neurons.training.masked import Masked
from audio_neurons.training.resume import Keeper
from audio_neurons.training.sampling import Plan, balanced
from audio_neurons.training.stream import Stream
from audio_neurons.training.supervised import mask

CPU = torch.device("cpu")
OBJECTIVES = {
    "supervised": {
        "balance": 0, "mixup": 0.3, "time_mask": 8, "frequency_mask": 16, "patchout": 0.2,
        "evaluate_steps": 6,
    },
    "m2d": {"target_norm": "patch", "target_embedding": "shared", "predictor_heads": 4},
}  # fmt: skip


def block(objective: str = "supervised", **training) -> dict:
    own = {"objective": objective, "steps": 12, "batch_size": 8, "clip_seconds": 0.8, "whiten": 16}
    return block_in_memory(**{**own, **OBJECTIVES[objective], **training})


@pytest.fixture(scope="session")
def parts(tmp_path_factory) -> list[Path]:
    """A tiny AudioSet in two parts."""
    folder = tmp_path_factory.mktemp("audioset")
    audioset_layout.make(folder / "clips")
    audioset.find(folder / "clips", "balanced", folder / "r.parquet", folder / "m.parquet", max_missing=0.2)
    files = [folder / f"part-{shard:03d}.arrow" for shard in range(2)]
    for shard, file in enumerate(files):
        audioset.pack(
            folder / "clips", folder / "r.parquet", file, folder / f"{shard}.parquet",
            shard=shard, shards=2, max_rejected=0.1,
        )  # fmt: skip
    return files


@pytest.fixture(scope="session")
def stream(parts) -> Stream:
    return Stream(parts, ARCHITECTURE, 0.8, True, "test", balance=0)


def run(parts, folder: Path, made: dict, **options) -> Path:
    """Train into a folder, whose files are then compared one by one."""
    train(made, parts, folder / "m.safetensors", folder / "log", evaluation=folder / "evaluation", **options)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# The pool on disk


def test_batches_are_windows_of_training_clips_with_their_classes(stream, parts):
    table = [row for part in parts for row in packed.mapped(part).to_pylist()]
    rows = [row for row in table if row["split"] == "train"]
    front_end = models.load("m", {**block(), "weights": {"seed": 0}, "norm_stats": stream.norm_stats}, None)
    assert stream.classes == ["/m/0tone1", "/m/0tone2", "/t/dd0099"]  # the fourth has no clips
    tags = [row["tags"].split(",") for row in rows]
    weights = balanced([np.array([stream.classes.index(t) for t in some]) for some in tags], 3, 0)
    plan = Plan(len(rows), 8, 3, weights)
    (batch,) = stream.batches(1, 8, 64, 3, CPU)
    for (clip, place), log_mel, targets in zip(plan.batch(0), batch.log_mel, batch.targets, strict=True):
        start = int(place * (12_800 - 63 * 160 + 1))
        wave = torch.from_numpy(audio.read(rows[clip]["audio"], 12_800)[start : start + 63 * 160])
        assert torch.equal(log_mel, front_end.front_end(wave[None])[0])
        assert log_mel.shape == (1, 80, 64)
        assert [c in tags[clip] for c in stream.classes] == targets.bool().tolist()


def test_workers_and_interruptions_do_not_change_batches(parts):
    seen = []
    for workers, done in ((0, 0), (2, 0), (1, 2)):
        pool = Stream(parts, ARCHITECTURE, 0.8, True, "test", workers=workers)
        seen.append(list(pool.batches(5, 8, 64, 1, CPU, done)))
    for other in (seen[1], [*seen[0][:2], *seen[2]]):
        for a, b in zip(seen[0], other, strict=True):
            assert torch.equal(a.log_mel, b.log_mel)
            assert torch.equal(a.targets, b.targets)
    starts = torch.cat([b.log_mel[:, 0, 0, :3] for b in seen[0]])
    assert len({tuple(s.tolist()) for s in starts}) == 40


def test_the_global_random_state_is_no_part_of_batches(stream):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    list(stream.batches(2, 4, 64, 0, CPU))
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_sees_every_clip_of_its_set_whole(stream):
    batches = list(stream.evaluated(8, CPU))
    assert sum(len(b.log_mel) for b in batches) == stream.evaluation_clips == 26
    assert batches[0].log_mel.shape == (8, 1, 80, 81)


def test_statistics_are_those_of_the_clips(stream, parts):
    rows = [r for p in parts for r in packed.mapped(p).to_pylist() if r["split"] == "train"]
    model = models.load("m", {**block(), "weights": {"seed": 0}, "norm_stats": (0.0, 1.0)}, None)
    mel = model.front_end(torch.from_numpy(np.stack([audio.read(r["audio"], 12_800) for r in rows])))
    assert stream.norm_stats == pytest.approx((mel.mean().item(), mel.std().item()), abs=1e-3)
    assert stream.log_mel.shape == (57, 80, 81)


def test_a_damaged_clip_is_named(parts, tmp_path):
    rows = packed.mapped(parts[0]).to_pylist()
    with packed.writer(tmp_path / "part-000.arrow") as append:
        for row in rows:
            append({**row, "audio": row["audio"] if row["split"] == "train" else b"fLaC"})
    pool = Stream([tmp_path / "part-000.arrow"], ARCHITECTURE, 0.8, True, "test")
    with pytest.raises(TrainingError, match=r"clip \d+ of .*part-000\.arrow.*unreadable"):
        list(pool.evaluated(8, CPU))


# Sampling


def test_without_weights_every_clip_comes_once_before_any_comes_twice():
    plan = Plan(10, 4, seed=1)
    drawn = [clip for step in range(10) for clip, _ in plan.batch(step)]
    rounds = [drawn[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(r) == list(range(10)) for r in rounds)
    assert len({tuple(r) for r in rounds}) == 4
    assert Plan(10, 4, seed=1).batch(7) == plan.batch(7)  # whatever was asked before
    assert Plan(10, 4, seed=2).batch(7) != plan.batch(7)
    assert plan.batch(2) == plan.batch(2)


def test_a_batch_may_be_larger_than_the_pool():
    drawn = [clip for clip, _ in Plan(3, 7, seed=0).batch(0)]
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == [0, 1, 2]


def test_balanced_weights():
    classes = [np.array([0]), np.array([0, 1]), np.array([0]), np.array([], int), np.array([2])]
    assert balanced(classes, 3, 0) == pytest.approx([1 / 3, 4 / 3, 1 / 3, 0, 1])
    assert balanced(classes, 4, 1) == pytest.approx([1 / 4, 3 / 4, 1 / 4, 0, 1 / 2])


def test_balanced_sampling_draws_in_proportion():
    """Ninety clips of one class, nine of another, one of a third: each class as often."""
    classes = [np.array([0])] * 90 + [np.array([1])] * 9 + [np.array([2])]
    weights = balanced(classes, 3, 0)
    plan = Plan(100, 50, seed=4, weights=weights)
    drawn = np.array([clip for step in range(120) for clip, _ in plan.batch(step)])
    times = np.bincount(drawn, minlength=100)
    assert chisquare(times, weights / weights.sum() * len(drawn)).pvalue > 0.01
    shares = [times[:90].sum(), times[90:99].sum(), times[99]]
    assert chisquare(shares).pvalue > 0.01
    places = np.array([place for step in range(120) for _, place in plan.batch(step)])
    assert chisquare(np.histogram(places, 10, (0, 1))[0]).pvalue > 0.01


# SpecAugment


@pytest.mark.parametrize(("dim", "length", "widest"), [(-2, 80, 10), (-1, 64, 30), (-1, 64, 200)])
def test_masks_cover_one_stretch_of_every_clip(dim, length, widest):
    with loop.seeded(0):
        clips = torch.rand(400, 1, 80, 64) + 1
        masked = mask(clips, dim, widest)
    hidden = (masked == 0).squeeze(1).transpose(1, dim)  # (clips, along, across)
    along = hidden[:, :, 0]
    assert torch.equal(hidden, along[:, :, None].expand_as(hidden))  # whole bands, or whole frames
    assert torch.equal(masked[masked != 0], clips[masked != 0])
    widths = along.sum(1)
    assert widths.max() <= min(widest, length)
    assert (along.int().diff(dim=1) == 1).sum(1).max() <= 1  # one stretch
    assert widths.min() == 0
    assert widths.max() > 0.8 * min(widest, length)
    assert widths.float().mean().item() == pytest.approx(min(widest, length) / 2, rel=0.15)
    firsts = along[widths > 0].int().argmax(1)
    assert firsts.unique().numel() > length / 4


def test_masks_are_off_unless_asked_for():
    assert (settings_of(block_in_memory()).time_mask, settings_of(block_in_memory()).frequency_mask) == (0, 0)


# Evaluation


@pytest.mark.parametrize("levels", [0, 3])
def test_average_precision_is_scikit_learns(levels):
    random = np.random.default_rng(levels)
    targets = random.random((60, 12)) < np.linspace(0.02, 0.9, 12)
    targets[:, 5], targets[:, 6] = False, True
    scores = random.normal(size=targets.shape) + targets
    if levels:
        scores = np.round(scores * levels) / levels  # ties
    ours = average_precision(scores.astype(np.float32), targets.astype(np.float32))
    there = targets.any(0)
    assert not there[5]
    assert (np.isnan(ours) == ~there).all()
    for number in np.flatnonzero(there):
        theirs = average_precision_score(targets[:, number], scores[:, number].astype(np.float32))
        assert ours[number] == pytest.approx(theirs, abs=1e-12)


def test_supervised_training_learns_the_classes(parts, tmp_path):
    made = block(steps=80, batch_size=16, evaluate_steps=20)
    run(parts, tmp_path, made)
    log = tables.read(tmp_path / "log", "training")
    scores = tables.read(tmp_path / "evaluation", "evaluation")
    assert log.loss.iloc[-5:].mean() < 0.75 * log.loss.iloc[:5].mean()
    assert scores["step"].unique().tolist() == [20, 40, 60, 80]
    means = scores.groupby("step")["average_precision"].mean()
    assert means.iloc[-1] > 0.75
    assert set(scores["class"]) == set(audioset_layout.SOUNDS)
    assert scores[scores["step"] == 80].set_index("class")["clips"].sum() >= 26
    assert not (tmp_path / "checkpoint.pt").exists()
    extract(tmp_path / "m.safetensors", parts, tmp_path)


def extract(weights: Path, parts, folder: Path) -> None:
    """Check that the trained checkpoint gives counts of activations, like any other."""
    encoder = models.load("sl", block(), weights)
    rows = packed.mapped(parts[0]).to_pylist()[:10]
    waves = [audio.read(row["audio"], 12_800) for row in rows]
    clips = write_pool(folder / "clips.parquet", waves, [row["tags"] for row in rows])
    settings = Pass(clip_seconds=0.8, batch_size=4, top_clips=2)
    extraction.extract(encoder, clips, folder / "x", folder / "embeddings", settings)
    counts = tables.read(folder / "x" / "counts.parquet", "counts")
    cells = tables.read(folder / "x" / "cells.parquet", "cells")
    assert cells["clips"].sum() == 10
    assert counts.groupby("cell").size().eq(2 * 128).all()
    assert 0 < counts["active"].sum() < cells["tokens"].sum() * 256


def test_bfloat16_learns_too_and_keeps_its_weights_in_float32(parts, tmp_path):
    for objective in OBJECTIVES:
        folder = run(parts, tmp_path / objective, block(objective, precision="bfloat16", clip_gradient=1.0))
        log = tables.read(folder / "log", "training")
        assert log.loss.iloc[-1] < log.loss.iloc[0]
        state = load_file(folder / "m.safetensors")
        assert {v.dtype for v in state.values()} == {torch.float32}


# M2D


def test_shared_embedding_is_that_of_the_online_encoder():
    with loop.seeded(0):
        pool = Pool(torch.randn(20, 80, 66).half(), torch.zeros(20, 0), [], (0.0, 1.0))
        objective = Masked(ARCHITECTURE, settings_of(block("m2d")), pool)
        objective.loss(one_batch(pool)).backward()
    trained = [p for p in objective.parameters() if p.requires_grad]
    torch.optim.SGD(trained, lr=0.1).step()
    objective.after_step(0.5)
    online, target = objective.encoder.vit, objective.target.vit
    assert torch.equal(online.patch_embed.proj.weight, target.patch_embed.proj.weight)
    assert torch.equal(online.cls_token, target.cls_token)
    assert not torch.equal(online.blocks[0].mlp.fc1.weight, target.blocks[0].mlp.fc1.weight)
    assert not torch.equal(online.norm.weight, target.norm.weight)


def test_predictor_has_heads_of_its_own(parts, tmp_path):
    run(parts, tmp_path, block("m2d", steps=1, predictor_heads=8))
    with pytest.raises(TrainingError, match=r"predictor_dim 18 is not divisible among 4 heads; .*512 and 16"):
        run(parts, tmp_path, block("m2d", predictor_dim=18))


# Interruptions


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_killed_and_resumed_gives_the_same_bytes(parts, tmp_path, objective):
    made = block(objective, steps=60, evaluate_steps=20 if objective == "supervised" else 0)
    often = {**made, "training": {**made["training"], "checkpoint_minutes": 0}}
    folder = tmp_path / "killed"
    file = tmp_path / "block.json"
    file.write_text(json.dumps(often))
    command = [
        *(sys.executable, "-m", "audio_neurons.training", str(file), *map(str, parts), "--device", "cpu"),
        *("--out", str(folder / "m.safetensors"), "--losses", str(folder / "log")),
        *("--evaluation", str(folder / "evaluation"), "--workers", "1"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 600
    while not (folder / "checkpoint.pt").is_file():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "m.safetensors").exists()
    step = torch.load(folder / "checkpoint.pt", weights_only=True)["history"]["step"]
    assert 0 < step < 60
    run(parts, folder, often)
    assert contents(folder) == contents(run(parts, tmp_path / "whole", made))


def test_a_training_that_resumes_on_another_device_is_told(parts, tmp_path, capsys):
    made = block(steps=4)
    made = {**made, "training": {**made["training"], "checkpoint_minutes": 0}}
    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "forget", lambda self: None)
        run(parts, folder, made)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert state["device"] == "cpu"
    torch.save({**state, "device": "cuda", "random_cuda": state["random"]}, folder / "checkpoint.pt")
    capsys.readouterr()
    run(parts, folder, made)
    assert "the state was saved on cuda, but the training resumes on cpu" in capsys.readouterr().err


WITHOUT_GUARD = """
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv[1])
from pathlib import Path
import torch
from audio_neurons.models.vit import Architecture
from audio_neurons.training.stream import Stream
sizes = Architecture(**{sizes})
pool = Stream([Path(p) for p in sys.argv[2:]], sizes, 0.8, True, "test", workers=1)
print(len(list(pool.batches(2, 4, 64, 0, torch.device("cpu")))), "batches")
"""


def test_workers_of_a_script_without_a_main_guard_start_where_python_does_not_fork(parts, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_GUARD.replace("{sizes}", repr(asdict(ARCHITECTURE))))
    done = subprocess.run(
        [sys.executable, script, "forkserver", *map(str, parts)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "2 batches\n", done.stderr


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_pool_in_memory_resumes_too(tmp_path, monkeypatch, objective):
    random = np.random.default_rng(0)
    waves = list(0.1 * random.standard_normal((12, 11_200)))
    clips = write_pool(tmp_path / "clips.parquet", waves, ["a", "b", "a,b"] * 4)
    made = block_in_memory(objective=objective, steps=9, batch_size=8, checkpoint_minutes=0)
    whole = tmp_path / "whole"
    train(made, clips, whole / "m.safetensors", whole / "log")
    real = Keeper.offer

    def stop(self, objective, optimiser, history):
        real(self, objective, optimiser, history)
        if history.step == 5:
            raise KeyboardInterrupt

    folder = tmp_path / "stopped"
    monkeypatch.setattr(Keeper, "offer", stop)
    with pytest.raises(KeyboardInterrupt):
        train(made, clips, folder / "m.safetensors", folder / "log")
    assert contents(folder).keys() == {"checkpoint.pt"}
    monkeypatch.setattr(Keeper, "offer", real)
    train(made, clips, folder / "m.safetensors", folder / "log")
    assert contents(folder) == contents(whole)


def interrupted(parts, folder: Path, made: dict, monkeypatch) -> None:
    monkeypatch.setattr(tables, "writer", None)  # fails once everything is learned
    with pytest.raises(TypeError):
        run(parts, folder, made)
    monkeypatch.undo()
    assert (folder / "checkpoint.pt").is_file()


def test_state_of_another_training_is_refused(parts, tmp_path, monkeypatch):
    made = block(steps=2, checkpoint_minutes=0)
    interrupted(parts, tmp_path, made, monkeypatch)
    other = {**made, "training": {**made["training"], "learning_rate": 1e-4, "seed": 7}}
    with pytest.raises(TrainingError, match=r"differs in training\.learning_rate, training\.seed; delete it"):
        run(parts, tmp_path, other)
    quick = {**made, "training": {**made["training"], "checkpoint_minutes": 5, "processes": 1}}
    run(parts, tmp_path, quick)
    assert (tmp_path / "m.safetensors").is_file()


def test_damaged_state_is_named(parts, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half of it")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is damaged .*; delete it"):
        run(parts, tmp_path, block(steps=2))


# Several processes


@pytest.fixture(scope="module")
def torchrun(parts, tmp_path_factory) -> tuple[Path, dict]:
    """Both objectives, trained by two processes of torchrun; and their blocks."""
    folder = tmp_path_factory.mktemp("torchrun")
    blocks = {objective: block(objective, steps=6) for objective in OBJECTIVES}
    (folder / "blocks.json").write_text(json.dumps(blocks))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        *(str(ROOT / "tests" / "support" / "torchrun_worker.py"), str(folder / "blocks.json"), str(folder)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *map(str, parts)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout.decode()[-4000:]
    return folder, blocks


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_average_gradients_and_agree(torchrun, objective):
    folder, _ = torchrun
    first, second = (torch.load(folder / f"{objective}-{rank}.pt") for rank in (0, 1))
    assert (first["rank"], second["rank"], first["count"]) == (0, 1, 2)
    assert max(first["gradients"], second["gradients"]) < 1e-6
    assert first["state"].keys() == second["state"].keys()
    assert all(torch.equal(first["state"][k], second["state"][k]) for k in first["state"])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_learn_what_one_does(torchrun, parts, tmp_path, objective):
    folder, blocks = torchrun
    run(parts, tmp_path, blocks[objective])
    one, two = load_file(tmp_path / "m.safetensors"), load_file(folder / f"{objective}.safetensors")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=2e-4, rtol=1e-3)
    start = load_file(run(parts, tmp_path / "start", block(objective, steps=0)) / "m.safetensors")
    name = "blocks.0.mlp.fc1.weight"
    assert (start[name] - one[name]).abs().max() > 2e-3  # ten times the tolerance
    logs = [tables.read(path, "training") for path in (tmp_path / "log", folder / f"{objective}.parquet")]
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-4)
    evaluations = tmp_path / "evaluation", folder / f"{objective}.evaluation"
    scores = [tables.read(path, "evaluation") for path in evaluations]
    assert scores[0][["step", "class", "clips"]].equals(scores[1][["step", "class", "clips"]])
    np.testing.assert_allclose(scores[0]["average_precision"], scores[1]["average_precision"], atol=0.02)


def test_a_batch_standardised_as_a_whole_needs_one_process(monkeypatch, stream):
    monkeypatch.setattr("audio_neurons.training.masked.processes.count", lambda: 2)
    with pytest.raises(TrainingError, match="needs the whole batch in one process"):
        Masked(ARCHITECTURE, settings_of(block("m2d", target_norm="batch")), stream)


def test_launch_runs_torchrun_and_reports_failure(monkeypatch, parts, tmp_path):
    seen = {}

    def started(command, env):
        seen.update(command=command, block=json.loads((tmp_path / "block.json").read_text()))
        return subprocess.CompletedProcess(command, seen.get("rc", 0))

    monkeypatch.setattr(subprocess, "run", started)
    files = [tmp_path / name for name in ("m", "log", "evaluation")]
    made = block(processes=2)
    options = {"device": "cpu", "name": "sl", "workers": 5}
    launch.launch(made, parts, *files, **options)
    assert "--nproc_per_node=2" in seen["command"]
    assert seen["command"][-2:] == ["--workers", "2"]
    assert seen["block"] == json.loads(json.dumps(made))
    seen["rc"] = 1
    with pytest.raises(TrainingError, match="one of 2 processes failed"):
        launch.launch(made, parts, *files, **options)


# What is refused


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            block(precision="float16"),
            "training.precision: input should be 'float32' or 'bfloat16' .it is 'float16'",
        ),
        (
            block("m2d", target_embedding="both"),
            "training.target_embedding: input should be 'average' or 'shared'",
        ),
        (block("m2d", evaluate_steps=3), "training.evaluate_steps: only supervised training has it"),
        (block("m2d", balance=0), "training.balance: only supervised training has it"),
        ({**block(), "front_end": "fbank"}, "only models with adapter vit and front_end logmel"),
        ({**block(), "special_tokens": 0}, "one special token"),
    ],
)
def test_unusable_settings(parts, tmp_path, made, message):
    with pytest.raises(TrainingError, match=message):
        run(parts, tmp_path, made)


def test_what_only_a_pool_on_disk_can_do(tmp_path):
    clips = write_pool(tmp_path / "c.parquet", [np.sin(np.arange(11_200.0))] * 2, ["a"] * 2)
    for setting, message in (("balance", "needs a pool of Arrow parts"), ("evaluate_steps", "no evaluation")):
        made = block_in_memory(objective="supervised", **{setting: 1})
        with pytest.raises(TrainingError, match=message):
            train(made, clips, tmp_path / "m.safetensors", tmp_path / "l")


def test_pools_without_clips_or_classes(parts, tmp_path):
    rows = packed.mapped(parts[0]).to_pylist()
    for name, changes, message in (
        ("a", {"split": "test"}, "no clips to train on"),
        ("b", {"tags": ""}, "label 'tags' is empty in every clip"),
    ):
        with packed.writer(tmp_path / f"{name}.arrow") as append:
            for row in rows:
                append({**row, **changes})
        with pytest.raises(TrainingError, match=message):
            run([tmp_path / f"{name}.arrow"], tmp_path, block())
    with pytest.raises(TrainingError, match=r"input_size needs at least 0\.63"):
        run(parts, tmp_path, block(clip_seconds=0.5))


def test_a_header_tells_what_was_learned_how_and_nothing_that_was_not_asked_for():
    told = told_of(settings_of(block()))
    assert told["time_mask"] == 8
    assert told["balance"] == 0
    assert not {"checkpoint_minutes", "processes", "precision", "target_embedding"} & told.keys()
    plain = told_of(settings_of(block_in_memory()))
    assert "mixup" in plain
    assert not {"time_mask", "balance", "evaluate_steps", "predictor_heads"} & plain.keys()
