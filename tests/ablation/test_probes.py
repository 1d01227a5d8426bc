"""Linear probes: compared with scikit-learn, and never tested on their training clips."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from audio_neurons import tables
from audio_neurons.ablation import probes
from audio_neurons.ablation.probes import ProbeError, Probes
from audio_neurons.recordings import audio
from audio_neurons.settings.probe import Probe

QUICK = Probe(learning_rate=0.01, batch_size=64, epochs=40, patience=20, seeds=(0, 1))


def accuracy(table):
    """By seed and class."""
    return (table["class"] == table["prediction"]).groupby([table["seed"], table["class"]]).mean()


def blobs(apart, clips=600, classes=3, size=20, folds=0, valid=True, seed=0):
    """A frame of clips and their features: classes are Gaussian clouds whose centres are ``apart``."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, clips)
    features = rng.normal(0, 1, (clips, size)) + apart * rng.normal(0, 1, (classes, size))[label]
    features = (features * rng.uniform(0.01, 50, size) + rng.normal(0, 9, size)).astype(np.float32)
    group = rng.permutation(clips) // 3
    frame = pd.DataFrame(
        {
            "clip_id": [f"{i:04d}" for i in range(clips)],
            "split": rng.choice(["train", "train", "valid" if valid else "train", "test"], clips),
            "fold": group % folds + 1 if folds else 0,
            "group": [f"g{g}" for g in group],
            "class": [f"class {c}" for c in label],
        }
    )
    return frame, features


def logistic(frame, features, fit, test):
    scaler = StandardScaler().fit(features[fit])
    model = LogisticRegression(max_iter=5000).fit(scaler.transform(features[fit]), frame["class"][fit])
    return model.predict(scaler.transform(features[test]))


@pytest.mark.parametrize(("apart", "agreement"), [(0.35, 0.9), (2.0, 0.99)])
def test_agrees_with_logistic_regression(apart, agreement):
    frame, features = blobs(apart, clips=1200)
    table = probes.score(probes.train(features, frame, QUICK), features, frame, QUICK)
    fit, test = (np.flatnonzero(frame["split"] == s) for s in ("train", "test"))
    expected = logistic(frame, features, fit, test)
    right = (expected == frame["class"].to_numpy()[test]).mean()
    for seed, mine in table.groupby("seed"):
        assert mine["clip_id"].tolist() == frame["clip_id"][test].tolist()
        assert (mine["prediction"] == mine["class"]).mean() == pytest.approx(right, abs=0.03), seed
        assert (mine["prediction"].to_numpy() == expected).mean() >= agreement
    assert right > 0.6


def test_log_probabilities_are_those_of_the_linear_model():
    frame, features = blobs(1.0)
    model = probes.train(features, frame, QUICK)
    logs = model.log_probabilities(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(np.exp(logs).sum(-1), 1)
    x = (features.astype(float) - model.mean[0, 1].numpy()) / model.scale[0, 1].numpy()
    logits = x @ model.weight[0, 1].numpy().T + model.bias[0, 1].numpy()
    np.testing.assert_allclose(logs[1], logits - np.log(np.exp(logits).sum(1, keepdims=True)), atol=1e-6)
    table = probes.score(model, features, frame, QUICK)
    row = table[(table["seed"] == 1)].iloc[0]
    clip = int(row["clip_id"])
    assert row["log_probability"] == pytest.approx(logs[1, clip, int(row["class"][-1])])
    assert row["prediction"] == f"class {logs[1, clip].argmax()}"
    np.testing.assert_allclose(
        model.mean[0, 0], features[frame["split"] == "train"].mean(0, dtype=float), rtol=1e-6
    )
    np.testing.assert_allclose(
        model.scale[0, 0], features[frame["split"] == "train"].std(0, dtype=float), rtol=1e-6
    )


@pytest.fixture
def rows(monkeypatch):
    """(trained on, stopped by, seed) of every probe that is fitted."""
    seen, fit = [], probes._fit

    def spy(features, target, train, valid, classes, settings, seed):
        seen.append((train, valid, seed))
        return fit(features, target, train, valid, classes, settings, seed)

    monkeypatch.setattr(probes, "_fit", spy)
    return seen


def test_folds_never_test_on_clips_that_were_trained_on(rows):
    frame, features = blobs(1.0, folds=5)
    settings = QUICK.changed(epochs=3)
    model = probes.train(features, frame, settings)
    table = probes.score(model, features, frame, settings)
    assert model.folds == (1, 2, 3, 4, 5)
    assert len(rows) == 10
    for i, (train, valid, seed) in enumerate(rows):
        fold = i // 2 + 1
        assert seed == i % 2
        assert set(frame["fold"][train]) | set(frame["fold"][valid]) == {1, 2, 3, 4, 5} - {fold}
        assert not set(train) & set(valid)
        assert not set(frame["group"][train]) & set(frame["group"][valid])
    for _, mine in table.groupby("seed"):
        assert sorted(mine["clip_id"]) == frame["clip_id"].tolist()
    # And each clip's row is the answer of its own fold's probe.
    judged = model.judge(torch.from_numpy(features), frame["fold"].to_numpy())
    for clip in (0, 17, 300):
        own = model.of(frame["fold"][clip]).log_probabilities(torch.from_numpy(features[[clip]]))
        torch.testing.assert_close(judged[:, clip], own[:, 0])
        mine = table[table["clip_id"] == frame["clip_id"][clip]]
        true = model.classes.index(frame["class"][clip])
        np.testing.assert_allclose(mine["log_probability"], own[:, 0, true])


def test_splits_are_kept_where_folds_are_not_wanted(rows):
    frame, features = blobs(1.0, folds=5)
    settings = QUICK.changed(epochs=2, folds=False)
    table = probes.score(probes.train(features, frame, settings), features, frame, settings)
    for train, valid, _ in rows:
        assert set(frame["split"][train]) == {"train"}
        assert set(frame["split"][valid]) == {"valid"}
    assert set(table["split"]) == {"test"}


def test_some_groups_are_held_out_where_there_is_no_validation_split(rows):
    frame, features = blobs(1.0, valid=False)
    probes.train(features, frame, QUICK.changed(epochs=2))
    train = frame["split"] == "train"
    for fitted, valid, _ in rows:
        assert sorted([*fitted, *valid]) == np.flatnonzero(train).tolist()
        assert 0.08 < len(valid) / train.sum() < 0.12
        assert not set(frame["group"][fitted]) & set(frame["group"][valid])
    assert set(rows[0][1]) != set(rows[1][1])


def test_holding_out_leaves_every_class_a_clip():
    label = np.array(["a"] * 4 + ["b"] * 2 + ["c"])
    group = np.array(["x", "x", "y", "y", "z", "z", "w"])
    for seed in range(20):
        fitted, held = probes.hold_out(np.arange(7), group, label, 0.9, np.random.default_rng(seed))
        assert set(label[fitted]) == {"a", "b", "c"}
        assert held.tolist() in ([0, 1], [2, 3])
    # One group alone: clips are held out one by one.
    fitted, held = probes.hold_out(np.arange(7), np.repeat("x", 7), label, 0.2, np.random.default_rng(0))
    assert len(held) == 2
    assert set(label[fitted]) == {"a", "b", "c"}
    with pytest.raises(ProbeError, match="too few training clips"):
        probes.hold_out(np.arange(2), group[:2], np.array(["a", "b"]), 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["accuracy", "loss"])
def test_training_stops_and_keeps_the_best(monkeypatch, kind):
    scores, score = [], probes._score

    def spy(*args):
        scores.append(score(*args))
        return scores[-1]

    monkeypatch.setattr(probes, "_score", spy)
    frame, features = blobs(0.2)
    settings = QUICK.changed(learning_rate=0.1, epochs=500, patience=5, score=kind, seeds=(0,))
    model = probes.train(features, frame, settings)
    assert len(scores) < 500
    assert int(np.argmax(scores)) == len(scores) - 6
    valid = frame["split"] == "valid"
    logs = model.log_probabilities(torch.from_numpy(features[valid]))[0]
    true = torch.tensor([model.classes.index(c) for c in frame["class"][valid]])
    kept = {
        "accuracy": (logs.argmax(1) == true).double().mean(),
        "loss": logs.gather(1, true[:, None]).mean(),
    }[kind]
    assert float(kept) == pytest.approx(max(scores), abs=1e-5)


def test_features_that_do_not_vary_are_no_problem():
    frame, features = blobs(2.0)
    features[:, 3] = 7
    model = probes.train(features, frame, QUICK)
    assert model.scale[0, 0, 3] == 1
    assert (accuracy(probes.score(model, features, frame, QUICK)) > 0.9).all()


@pytest.fixture
def parts(tmp_path):
    """Two parts of clips and two of embeddings, in different orders."""
    frame, features = blobs(2.0, clips=120, folds=3)
    flac = audio.encode(np.full(160, 0.1))
    frame = frame.rename(columns={"class": "kind"}).assign(audio=flac, frames=160)
    paths = {"clips": [], "embeddings": []}
    for n in range(2):
        paths["clips"].append(tmp_path / f"clips-{n}.parquet")
        paths["embeddings"].append(tmp_path / f"embeddings-{n}.parquet")
        mine = frame.iloc[n::2]
        tables.write(paths["clips"][n], "clips", mine)
        shuffled = mine.sample(frac=1, random_state=n)
        tables.write(
            paths["embeddings"][n],
            "embeddings",
            pd.DataFrame({"clip_id": shuffled["clip_id"], "embedding": list(features[shuffled.index])}),
        )
    return paths


def test_tables_are_the_same_each_time(parts, tmp_path):
    found = []
    for n in range(2):
        out = tmp_path / f"p{n}.safetensors", tmp_path / f"p{n}.parquet"
        probes.probe_task(parts["clips"][:: 1 - 2 * n], parts["embeddings"], "kind", QUICK, *out)
        found.append([path.read_bytes() for path in out])
    assert found[0] == found[1]
    table = tables.read(tmp_path / "p0.parquet", "probes")
    assert len(table) == 120 * 2
    assert (accuracy(table) > 0.8).all()


def test_probes_survive_their_file(parts, tmp_path):
    frame, features = probes.read_features(parts["clips"], parts["embeddings"], "kind")
    model = probes.train(features, frame, QUICK)
    model.save(tmp_path / "p.safetensors", QUICK)
    again = Probes.load(tmp_path / "p.safetensors")
    assert (again.classes, again.folds, again.seeds) == (model.classes, (1, 2, 3), (0, 1))
    x = torch.from_numpy(features[:9])
    torch.testing.assert_close(
        again.of(2).log_probabilities(x), model.of(2).log_probabilities(x), rtol=0, atol=0
    )
    with pytest.raises(ProbeError, match="no probe for clips of fold 4"):
        again.of(4)
    with pytest.raises(ProbeError, match="reads 20 features, the encoder gives 19"):
        again.of(1).log_probabilities(x[:, 1:])


def test_other_clips_are_refused(parts):
    with pytest.raises(ProbeError, match="no embeddings of 60 clips"):
        probes.read_features(parts["clips"], parts["embeddings"][:1], "kind")
    with pytest.raises(ProbeError, match="not in the dataset"):
        probes.read_features(parts["clips"][:1], parts["embeddings"], "kind")
    with pytest.raises(RuntimeError, match="no label 'genre'; there are kind"):
        probes.read_features(parts["clips"], parts["embeddings"], "genre")


def test_no_test_clips():
    frame, features = blobs(1.0)
    with pytest.raises(ProbeError, match="no test clips"):
        probes.train(features, frame.assign(split="train"), QUICK)


def test_weights_that_are_damaged_or_something_else_are_named(tmp_path):
    path = tmp_path / "p.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    for content in (path.read_bytes(), path.read_bytes()[:-1], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(ProbeError, match=r"p\.safetensors: damaged, or no probe .* delete it and run"):
            Probes.load(path)
