"""Training from scratch: what is learned, the pool and the schedule, and reproducibility."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from audio_neurons import models, tables
from audio_neurons.models.vit import Architecture
from audio_neurons.recordings import audio
from audio_neurons.training import TrainingError, loop, train
from audio_neurons.training.block import settings_of
from audio_neurons.training.masked import Masked, distance, random_split
from audio_neurons.training.pool import Pool, read_pool
from audio_neurons.training.start import patches_of, positions, whitening
from audio_neurons.training.supervised import roll

SIZES = {"input_size": [80, 64], "patch_size": [16, 16], "embed_dim": 32, "depth": 2, "num_heads": 2}
ARCHITECTURE = Architecture.of(SIZES)
TRAINING = {
    "objective": "m2d", "steps": 60, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": 5,
    "weight_decay": 0.05, "seed": 1, "clip_seconds": 0.65, "ema": [0.9, 0.99],
    "whiten": 64, "target_norm": "batch", "predictor_depth": 2, "predictor_dim": 16, "patchout": 0.4,
}  # fmt: skip
OBJECTIVES = ("m2d", "supervised")


def block(**training) -> dict:
    return {"adapter": "vit", **SIZES, "weights": {}, "training": {**TRAINING, **training}}


def write_pool(path: Path, waves: list[np.ndarray], tags: list[str] | None) -> Path:
    columns = {
        "clip_id": [f"clip{i}" for i in range(len(waves))], "audio": [audio.encode(w) for w in waves],
        "frames": [len(w) for w in waves], "split": ["train"] * len(waves), "fold": [0] * len(waves),
        "group": [""] * len(waves), **({"tags": tags} if tags is not None else {}),
    }  # fmt: skip
    with tables.writer(path, "clips", labels=["tags"] if tags is not None else []) as table:
        table.append(columns)
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Tones, noise, and both, of random pitch and loudness: 0.7 s each."""
    random = np.random.default_rng(0)
    time = np.arange(11_200) / 16_000
    waves, tags = [], []
    for number in range(96):
        kinds = [["tone"], ["noise"], ["tone", "noise"]][number % 3]
        wave = np.zeros_like(time)
        if "tone" in kinds:
            wave += 0.2 * np.sin(2 * np.pi * random.uniform(200, 2000) * time)
        if "noise" in kinds:
            wave += 0.05 * random.standard_normal(len(time))
        waves.append(wave * random.uniform(0.3, 1.0))
        tags.append(",".join(kinds))
    return write_pool(tmp_path_factory.mktemp("pool") / "clips.parquet", waves, tags)


@pytest.fixture(scope="session")
def trained(clips, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    for objective in OBJECTIVES:
        out, log = folder / f"{objective}.safetensors", folder / f"{objective}.parquet"
        train(block(objective=objective), clips, out, log)
    return {o: folder / f"{o}.safetensors" for o in OBJECTIVES}


@pytest.fixture
def masked() -> tuple[Masked, Pool]:
    """An objective and a pool of noise, made without a table of clips."""
    with loop.seeded(0):
        pool = Pool(torch.randn(20, 80, 66).half(), torch.zeros(20, 0), [], (0.0, 1.0))
        return Masked(ARCHITECTURE, settings_of(block()), pool), pool


def one_batch(pool: Pool, size: int = 4):
    return next(pool.batches(1, size, 64, seed=0, device=torch.device("cpu")))


# What comes out


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_falls(trained, objective):
    log = tables.read(trained[objective].with_suffix(".parquet"), "training")
    assert log.loss.iloc[-5:].mean() < 0.8 * log.loss.iloc[:5].mean()
    assert len(log) == 50
    assert log.step.iloc[-1] == TRAINING["steps"]
    assert log.step.is_monotonic_increasing


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_same_seed_same_bytes(clips, tmp_path, objective):
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(seed + len(files))  # must not matter
        out, log = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.parquet"
        train(block(objective=objective, steps=4, seed=seed), clips, out, log)
        files.append((out.read_bytes(), log.read_bytes()))
    first, again, other = files
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_global_random_state_is_left_alone(clips, tmp_path):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    train(block(steps=1), clips, tmp_path / "a.safetensors", tmp_path / "a.parquet")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_checkpoint_loads_as_the_trained_encoder(clips, tmp_path, monkeypatch, objective):
    kept = {}

    def fit(module, *args, **options):
        kept["encoder"] = module.encoder
        return real(module, *args, **options)

    real = loop.fit
    monkeypatch.setattr(loop, "fit", fit)
    out = tmp_path / "model.safetensors"
    train(block(objective=objective, steps=3), clips, out, tmp_path / "log.parquet")
    loaded = models.load("tiny", block(), out)
    wave = torch.randn(2, 16_000) / 10
    with torch.inference_mode():
        assert torch.equal(loaded(wave), kept["encoder"].eval()(wave))
    assert (loaded.depth, loaded.width) == (2, 128)


def test_checkpoint_tells_how_it_was_made(trained):
    for objective, classes in (("m2d", []), ("supervised", ["noise", "tone"])):
        with safe_open(trained[objective], "pt") as file:
            told = json.loads(file.metadata()["audio_neurons"])
            names = set(file.keys())
        assert told["architecture"] == ARCHITECTURE.as_dict()
        assert told["training"]["steps"] == TRAINING["steps"]
        assert told["classes"] == classes
        assert {
            "cls_token",
            "pos_embed",
            "patch_embed.proj.weight",
            "blocks.1.mlp.fc2.bias",
            "norm_stats",
        } <= names
        assert not [n for n in names if n.startswith(("target", "predictor", "head"))]


def test_supervised_features_tell_the_classes(trained, clips):
    model = models.load("sl", block(), trained["supervised"])
    table = tables.read(clips, "clips")
    waves = torch.from_numpy(np.stack([audio.read(a, 10_400) for a in table.audio]))
    with torch.inference_mode():
        features = model(waves).mean(1)
    features = torch.cat([features, torch.ones(len(features), 1)], 1)
    for kind in ("tone", "noise"):
        wanted = torch.tensor(table.tags.str.contains(kind).to_numpy()).float()
        weights = torch.linalg.lstsq(features, wanted, driver="gelsd").solution
        assert (((features @ weights) > 0.5) == wanted.bool()).float().mean() > 0.9


# M2D


def test_every_patch_is_either_visible_or_masked():
    visible, masked = random_split(torch.empty(6, 50, 1), 0.7)
    assert (visible.shape, masked.shape) == ((6, 15), (6, 35))
    everything = torch.sort(torch.cat([visible, masked], 1))[0]
    assert torch.equal(everything, torch.arange(50).expand(6, -1))
    assert len({tuple(sorted(m.tolist())) for m in masked}) > 1


@pytest.mark.parametrize(("ratio", "masked"), [(0.0, 1), (0.01, 1), (0.5, 2), (1.0, 3)])
def test_neither_side_is_ever_empty(ratio, masked):
    assert random_split(torch.empty(1, 4, 1), ratio)[1].shape == (1, masked)


def test_distance_is_that_of_normalised_vectors():
    prediction = torch.tensor([[[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])
    target = torch.tensor([[[0.5, 0.0], [0.0, -7.0], [1.0, 0.0]]])
    expected = (0 + 4 + (2 - 2 / math.sqrt(2))) / 3
    assert distance(prediction, target).item() == pytest.approx(expected, abs=1e-6)
    squared = (F.normalize(prediction, dim=-1) - F.normalize(target, dim=-1)).square().sum(-1).mean()
    assert distance(prediction, target).item() == pytest.approx(squared.item(), abs=1e-6)


@pytest.mark.parametrize("target_norm", ["patch", "batch"])
def test_each_network_sees_its_own_patches(masked, monkeypatch, target_norm):
    """The online encoder sees the visible patches, the target encoder the masked, the loss only these."""
    objective, pool = masked
    objective.target_norm = target_norm
    batch = one_batch(pool)
    split = random_split(torch.empty(4, 20, 1), 0.7)
    monkeypatch.setattr("audio_neurons.training.masked.random_split", lambda *_: split)
    visible, hidden = split
    seen: dict[str, torch.Tensor] = {}

    def spy(name, function):
        def spied(*args):
            seen[name] = args[0]
            seen[f"{name} out"] = function(*args)
            return seen[f"{name} out"]

        return spied

    for name, where, method in (
        ("online", objective.encoder, "encode_patches"),
        ("target", objective.target, "encode_patches"),
        ("standardised", objective, "targets"),
        ("predictor", objective.predictor, "forward"),
    ):
        monkeypatch.setattr(where, method, spy(name, getattr(where, method)))
    loss = objective.loss(batch)
    patches = objective.encoder.embed(batch.log_mel)
    for clip in range(4):
        assert torch.equal(seen["online"][clip], patches[clip, visible[clip]])
        assert torch.equal(seen["target"][clip], patches[clip, hidden[clip]])
    assert seen["online out"].shape == (4, 1 + 6, 32)  # CLS and the visible
    wanted, given = seen["predictor out"], seen["standardised out"]
    assert wanted.shape == given.shape == (4, 14, 32)
    over = -1 if target_norm == "patch" else (0, 1)
    raw = seen["target out"][:, 1:]
    expected = (raw - raw.mean(over, keepdim=True)) / raw.std(over, correction=0, keepdim=True)
    torch.testing.assert_close(given, expected, atol=1e-3, rtol=0)
    cosine = (wanted * given).sum(-1) / (wanted.norm(dim=-1) * given.norm(dim=-1))
    assert loss.item() == pytest.approx((2 - 2 * cosine).mean().item(), abs=1e-5)


def test_prediction_ignores_the_order_of_its_sets(masked):
    objective, _ = masked
    visible, hidden = random_split(torch.empty(2, 20, 1), 0.7)
    encoded = torch.randn(2, 7, 32)
    order = torch.randperm(6)
    shuffled = torch.cat([encoded[:, :1], encoded[:, 1:][:, order]], 1)
    plain = objective.predictor(encoded, visible, hidden)
    torch.testing.assert_close(objective.predictor(shuffled, visible[:, order], hidden), plain)
    torch.testing.assert_close(objective.predictor(encoded, visible, hidden.flip(1)), plain.flip(1))


def test_target_follows_by_moving_average_without_gradient(masked):
    objective, pool = masked
    online = list(objective.encoder.parameters())
    target = list(objective.target.parameters())
    assert all(torch.equal(a, b) for a, b in zip(online, target, strict=True))
    objective.loss(one_batch(pool)).backward()
    assert all(p.grad is None for p in target)
    trained = [p for n, p in objective.named_parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert objective.encoder.vit.pos_embed.grad is None
    torch.optim.SGD(trained, lr=0.1).step()
    before = [p.clone() for p in target]
    assert all(torch.equal(a, b) for a, b in zip(before, target, strict=True))
    objective.after_step(0.25)  # decay 0.9 + 0.25 * 0.09
    for old, new, now in zip(before, online, target, strict=True):
        torch.testing.assert_close(now, 0.9225 * old + 0.0775 * new, rtol=0, atol=1e-6)


def test_patch_embedding_starts_with_even_features(masked):
    objective, pool = masked
    patches = patches_of(pool, ARCHITECTURE)
    assert torch.equal(patches[1], pool.log_mel[0, :16, 16:32].float().flatten())
    with loop.seeded(1):
        noise = torch.randn(2000, 16) * torch.linspace(1, 30, 16)  # of very uneven variance
        all_of_it, half = whitening(noise, 8, 8), whitening(noise, 4, 8)
    torch.testing.assert_close(torch.cov((noise @ all_of_it.T).T), torch.eye(8), atol=1e-3, rtol=0)
    assert (noise @ half.T).square().mean().item() == pytest.approx(1, abs=1e-2)
    embedding = objective.encoder.vit.patch_embed.proj
    assert (patches @ embedding.weight.flatten(1).T).var().item() == pytest.approx(1, abs=1e-2)
    assert not embedding.bias.any()


def test_no_steps_write_the_start(clips, tmp_path):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for out, objective in zip(files, OBJECTIVES, strict=True):
        train(block(objective=objective, steps=0), clips, out, tmp_path / "log")
    first, second = (models.load("start", block(), out).state_dict() for out in files)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert tables.size(tmp_path / "log") == 0


def test_positions_tell_row_and_column():
    table = positions((5, 4), 32)[0]
    assert table.shape == (21, 32)
    assert not table[0].any()
    assert len({tuple(p.tolist()) for p in table}) == 21
    grid = table[1:].reshape(5, 4, 32)
    assert torch.equal(grid[:, :, :16], grid[:1, :, :16].expand(5, -1, -1))  # column
    assert torch.equal(grid[:, :, 16:], grid[:, :1, 16:].expand(-1, 4, -1))  # row


# The pool and the schedule


def test_pool_holds_the_models_log_mel(clips):
    pool = read_pool(clips, ARCHITECTURE, 0.65, True, "model")
    assert pool.log_mel.shape == (96, 80, 66)
    values = pool.log_mel.double()
    assert pool.norm_stats == pytest.approx((values.mean().item(), values.std().item()), abs=1e-3)
    assert pool.classes == ["noise", "tone"]
    assert pool.targets[:3].tolist() == [[0, 1], [1, 0], [1, 1]]
    model = models.load("m", {**block(), "weights": {"seed": 0}, "norm_stats": pool.norm_stats}, None)
    wave = torch.from_numpy(audio.read(tables.read(clips, "clips").audio[0], 10_400))
    ours = (pool.log_mel[0].float() - pool.norm_stats[0]) / pool.norm_stats[1]
    torch.testing.assert_close(ours, model.front_end(wave[None])[0, 0], atol=5e-3, rtol=0)


def test_batches_cover_the_pool_with_random_windows():
    ramp = torch.arange(70.0).expand(10, 80, 70).half()
    pool = Pool(
        ramp + 100 * torch.arange(10.0)[:, None, None].half(), torch.eye(10), list("abcdefghij"), (0, 1)
    )
    batches = list(pool.batches(5, 4, 64, seed=0, device=torch.device("cpu")))
    drawn = torch.cat([b.targets.argmax(1) for b in batches])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    starts = torch.cat([b.log_mel[:, 0, 0, 0] for b in batches]) - 100 * drawn
    assert set(starts.tolist()) <= set(range(7))
    assert len(set(starts.tolist())) > 3
    assert (batches[0].log_mel.diff(dim=-1) == 1).all()


def test_roll_moves_every_clip_by_its_own_shift():
    clip = torch.arange(12.0).expand(8, 1, 3, 12)
    with loop.seeded(0):
        rolled = roll(clip)
    for one in rolled:
        assert torch.equal(one, clip[0].roll(-int(one[0, 0, 0]), -1))
    assert len(set(rolled[:, 0, 0, 0].tolist())) > 2


def test_learning_rate_rises_and_falls():
    settings = settings_of(block(steps=100, warmup_steps=10, learning_rate=1.0))
    rates = [loop.learning_rate(step, settings) for step in range(1, 101)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[54] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0)
    assert np.all(np.diff(rates[9:]) < 0)


def test_weight_decay_spares_norms_biases_and_tokens(masked):
    decayed, spared = loop.parameter_groups(masked[0], 0.05)
    names = {id(p): n for n, p in masked[0].named_parameters()}
    decayed, spared = ([names[id(p)] for p in g["params"]] for g in (decayed, spared))
    assert all(n.endswith("weight") and "norm" not in n for n in decayed)
    assert {"encoder.vit.cls_token", "predictor.mask_token", "encoder.vit.norm.weight"} <= set(spared)
    assert not [n for n in decayed + spared if n.startswith("target") or n.endswith("pos_embed")]


# What is refused


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_that_is_not_finite_names_step_and_remedy(clips, tmp_path, monkeypatch, objective):
    def explode(self, progress):
        with torch.no_grad():
            self.encoder.vit.norm.weight.fill_(math.nan)

    monkeypatch.setattr(loop.OBJECTIVES[objective], "after_step", explode)
    out = tmp_path / "model.safetensors"
    with pytest.raises(TrainingError, match=r"at step 2 of 60: lower training\.learning_rate"):
        train(block(objective=objective), clips, out, tmp_path / "log.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"objective": "contrastive"},
            "training.objective: input should be 'm2d' or 'supervised' .it is 'contrastive'",
        ),
        ({"target_norm": "layer"}, "training.target_norm: input should be 'patch' or 'batch'"),
        ({"clip_seconds": 0.5}, "input_size needs at least 0.63"),
        ({"learning_rates": 1}, "training.learning_rates: extra inputs are not permitted"),
    ],
)
def test_unusable_settings(clips, tmp_path, training, message):
    with pytest.raises(TrainingError, match=message):
        train(block(**training), clips, tmp_path / "m", tmp_path / "l")


@pytest.mark.parametrize(
    ("waves", "tags", "message"),
    [
        ([], [], "no clips to train on"),
        ([np.zeros(11_200)] * 3, ["a"] * 3, "one constant sound"),
        ([np.sin(np.arange(11_200))] * 3, [""] * 3, "label 'tags' is empty"),
        ([np.sin(np.arange(11_200))] * 3, None, r"no label 'tags' to learn \(labels there: none\)"),
    ],
)
def test_unusable_pools(tmp_path, waves, tags, message):
    pool = write_pool(tmp_path / "clips.parquet", waves, tags)
    with pytest.raises(TrainingError, match=message):
        train(block(objective="supervised"), pool, tmp_path / "m", tmp_path / "l")


def test_missing_setting_is_named(clips, tmp_path):
    incomplete = block()
    del incomplete["training"]["steps"]
    with pytest.raises(TrainingError, match="steps"):
        train(incomplete, clips, tmp_path / "m", tmp_path / "l")
