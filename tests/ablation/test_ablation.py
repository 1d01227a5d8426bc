"""Ablation of an encoder whose neurons have known functions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import planted
import pytest
import torch
from planted import CLASSES, PLANTED, Planted

from audio_neurons import tables
from audio_neurons.ablation import ablation, probes, rounds
from audio_neurons.ablation.ablation import AblationError, Study, ablate_task, measure
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.conditions import Controls, conditions, sets_of
from audio_neurons.ablation.effects import mcnemar
from audio_neurons.ablation.intervention import Intervention, InterventionError, Means
from audio_neurons.ablation.probes import Probes
from audio_neurons.neurons.selection import specific_neurons
from audio_neurons.recordings import audio
from audio_neurons.running import runtime
from audio_neurons.settings.ablation import Conditions
from audio_neurons.settings.probe import Probe

SETTINGS = Conditions(replacements=("zero",), random=19, bins=4, bootstrap=200)
PROBE = Probe(learning_rate=0.05, batch_size=16, epochs=40, score="loss", seeds=(0, 1))
TASK = {"classes": None, "shared": [["low", "middle"]], "lists": {}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The planted encoder, a study of it, and the neurons that were selected."""
    folder = tmp_path_factory.mktemp("planted")
    encoder = Planted()
    clips = planted.make_clips(folder, parts=2)
    embeddings, neurons = planted.extract_and_select(encoder, folder, clips)
    probes.probe_task(
        clips, embeddings, "pitch", PROBE, folder / "probe.safetensors", folder / "probe.parquet"
    )
    return encoder, Study(clips, "pitch", folder / "probe.safetensors", planted.SECONDS), neurons


def run(world, folder, settings=SETTINGS, task=TASK, files=(), with_clips=True, **study):
    encoder, one, neurons = world
    out = {
        name: folder / f"{name}.parquet"
        for name in ("ablation", "confusion", "sets", *(("clips",) if with_clips else ()))
    }
    ablate_task(encoder, replace(one, **study), neurons, task, files, settings, out)
    read = {"sets": "ablation_sets", "clips": "ablation_clips"}
    return {name: tables.read(path, read.get(name, name)) for name, path in out.items()}


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("ablation"))


def of(table, condition, probe="mean"):
    """Rows of a condition, indexed by class."""
    return table[(table["condition"] == condition) & (table["probe"] == probe)].set_index("class")


def test_the_planted_neurons_are_found(world):
    specific = specific_neurons(tables.read(world[2], "neurons"))
    assert specific == {**{name: frozenset(mine) for name, mine in PLANTED.items()}, "none": frozenset()}


def test_ablating_what_carries_a_class_harms_that_class_alone(done):
    table = done["ablation"]
    for name in PLANTED:
        rows = of(table, f"class:{name} gain=0 zero")
        assert (rows["accuracy_before"] == 1).all()
        assert rows.loc[name, "delta"] == -1
        assert rows.loc[name, "logprob_delta"] < -1
        assert rows.loc[name, "high"] < -1
        assert rows.loc[name, "specificity"] < -1
        assert (rows.loc[name, ["delta_p", "logprob_p", "specificity_p", "auroc_p"]] == 1 / 20).all()
        assert rows.loc[name, "excess"] == pytest.approx(rows.loc[name, "logprob_delta"], abs=0.2)
        assert rows.loc[name, "excess_low"] < rows.loc[name, "excess"] < rows.loc[name, "excess_high"] < -1
        assert rows.loc[name, "auroc_before"] == 1
        assert rows.loc[name, "auroc"] == pytest.approx(
            rows.loc[name, "auroc_before"] + rows.loc[name, "auroc_delta"]
        )
        assert rows.loc[name, "auroc_delta"] < -0.1
        assert rows.drop(index=name)["auroc"].isna().all()
        assert rows.loc[name, "target"]
        # One neuron is of two classes, and the other class keeps one of its own.
        others = rows.drop(index=[name, "*"])
        assert (others["delta"] == 0).all()
        assert (others["logprob_delta"].abs() < 0.25 * -rows.loc[name, "logprob_delta"]).all()
        assert not others["target"].any()
        assert rows.loc["*", "delta"] == -1 / 4
        assert rows.loc["*", "n"] == 32


def test_controls_do_nothing(done):
    table = done["ablation"]
    controls = table[(table["control"] != "none") & (table["probe"] == "mean") & (table["class"] == "high")]
    mine = controls[controls["set"] == "class:high"]
    assert len(mine) == 20
    assert (mine["delta"] == 0).all()
    assert mine["logprob_delta"].abs().max() < 0.2
    shifted = of(table, "class:low shifted gain=0 zero")
    own = of(table, "class:low gain=0 zero")
    assert abs(shifted.loc["low", "logprob_delta"]) < 0.1 * abs(own.loc["low", "logprob_delta"])
    assert shifted.loc["none", "delta"] == 0


def test_the_difference_to_controls_is_that_of_single_clips(world, done):
    """Sums over controls, kept while they run, are those of one run of each of them."""
    encoder, one, _ = world
    name = "class:high gain=0 zero"
    rows = of(done["ablation"], name)
    sets = done["sets"]
    drawn = sets[(sets["set"] == "class:high") & (sets["control"] == "random")]
    changes = [
        Change(frozenset(zip(mine["layer"], mine["neuron"], strict=True)))
        for _, mine in drawn.groupby("draw")
    ]
    measured = measure(encoder, one, changes, range(len(changes)), SETTINGS)
    after = np.mean([true for _, true in measured.kept.values()], axis=(0, 1))
    own = done["clips"][done["clips"]["condition"] == name].groupby("clip_id")["log_probability"].mean()
    excess = (own - pd.Series(after, measured.frame["clip_id"])).groupby(
        measured.frame.set_index("clip_id")["class"]
    )
    for label, expected in excess.mean().items():
        assert rows.loc[label, "excess"] == pytest.approx(expected, abs=1e-6)


def test_shared_neurons_are_part_of_what_two_classes_need(done):
    table = done["ablation"]
    for kind in ("shared", "exact"):
        rows = of(table, f"{kind}:low+middle gain=0 zero")
        assert rows["neurons"].unique().tolist() == [1]
        assert (rows.loc[["low", "middle"], "logprob_delta"] < -0.02).all()
        assert rows["target"].tolist() == [False, False, True, True, False]
        assert rows["targets"].unique().tolist() == ["low+middle"]
        assert abs(rows.loc["high", "logprob_delta"]) < 0.01
        # Specificity leaves the other target out.
        expected = rows.loc["low", "logprob_delta"] - rows.loc[["high", "none"], "logprob_delta"].mean()
        assert rows.loc["low", "specificity"] == pytest.approx(expected)


def test_each_class_needs_its_own_neurons_and_no_others(done):
    table = done["ablation"]
    mine = (table["kind"] == "class") & (table["control"] == "none") & (table["probe"] == "mean")
    wide = table[mine & (table["class"] != "*")].pivot(index="targets", columns="class", values="delta")
    np.testing.assert_array_equal(wide.loc[["high", "low", "middle"], list(CLASSES)], -np.eye(3, 4))


def test_the_table_follows_from_the_clips(done):
    """Recompute every number that is not a control's from the outcomes of single clips."""
    table, clips = done["ablation"], done["clips"]
    right = clips.assign(right=clips["prediction"] == clips["class"])
    before = right[right["condition"] == "unablated"].set_index(["seed", "clip_id"])
    for name in ("class:low gain=0 zero", "shared:low+middle shifted gain=0 zero"):
        after = right[right["condition"] == name].set_index(["seed", "clip_id"]).loc[before.index]
        for seed in (0, 1):
            rows = of(table, name, str(seed))
            for label in ("*", *CLASSES):
                mine = (before["class"] == label) | (label == "*")
                a, b = after[mine].loc[seed], before[mine].loc[seed]
                lost, gained = (b["right"] & ~a["right"]).sum(), (~b["right"] & a["right"]).sum()
                row = rows.loc[label]
                assert row["n"] == len(a)
                assert row["accuracy"] == pytest.approx(a["right"].mean())
                assert row["delta"] == pytest.approx((gained - lost) / len(a))
                assert row["mcnemar_p"] == mcnemar(int(lost), int(gained))
                change = a["log_probability"] - b["log_probability"]
                assert row["logprob_delta"] == pytest.approx(change.mean(), abs=1e-9)
                assert row["logprob_before"] == pytest.approx(b["log_probability"].mean())
                assert row["low"] <= row["logprob_delta"] <= row["high"]
        mean = of(table, name)
        for column in ("accuracy", "delta", "logprob_delta"):
            both = [of(table, name, seed)[column] for seed in ("0", "1")]
            np.testing.assert_allclose(mean[column], sum(both) / 2)
        assert mean["mcnemar_p"].isna().all()
    assert of(table, "class:low gain=0 zero", "0").loc["low", "mcnemar_p"] == 2 / 2**8


def test_random_sets_have_no_p_and_their_neurons_are_listed(done):
    table, sets = done["ablation"], done["sets"]
    random = table[table["control"] == "random"]
    assert random[["delta_p", "low", "high"]].isna().all(axis=None)
    assert (random["controls"] == 0).all()
    assert (table.loc[table["control"] == "none", ["controls", "controls_limit"]] == 19).all(axis=None)
    assert set(done["clips"]["condition"]) == {
        "unablated",
        *table.loc[table["control"] != "random", "condition"],
    }
    sizes = sets.groupby(["set", "control", "draw"]).size()
    assert len(sizes) == 5 * 21
    assert (sizes.loc["class:low"] == 2).all()
    mine = sets[(sets["set"] == "class:low") & (sets["control"] == "none")]
    assert {(row.layer, row.neuron) for row in mine.itertuples()} == PLANTED["low"]
    assert (table["selection_split"] == "train").all()


STOPPING = SETTINGS.changed(
    random=20, stop_after=1, replacements=("zero", "mean"), gains=(0, 2), bootstrap=2, shifted=False
)


def with_idle(world, folder, settings):
    """Ablate the neurons of two classes, and two lists of neurons that do nothing."""
    for name, unit in (("mine", 7), ("theirs", 11)):
        (folder / f"{name}.csv").write_text(f"layer,neuron\n0,1\n1,{unit}\n")
    files = [folder / "mine.csv", folder / "theirs.csv"]
    task = {"classes": ["low", "high"], "shared": [], "lists": {"mine": ["low"], "theirs": ["low"]}}
    return run(world, folder, settings, task, files)


def test_drawing_ends_where_nothing_is_called_and_calls_what_all_random_sets_call(world, tmp_path, capsys):
    """At a level of 0.05: 1 is 0.05 times 20."""
    found = []
    for stop_after in (1, 0):
        settings = STOPPING.changed(stop_after=stop_after)
        table = with_idle(world, tmp_path, settings)["ablation"]
        own = table[(table["control"] == "none") & (table["probe"] == "mean")]
        found.append(own.set_index(["set", "gain", "replacement", "class"]).sort_index())
        told = capsys.readouterr().err
    assert "20 random sets (mean 20) for each of 4 conditions, of at most 20" in told
    some, every = found
    assert (every["controls"].loc[:, 0, "mean"] == 20).all()
    assert some["controls"].loc["class:low", 0, "mean"].eq(20).all()
    assert some["controls"].loc["list:mine", 0, "mean"].between(1, 19).all()
    for one in found:
        elsewhere = one[one["controls"] == 0]
        assert set(elsewhere.index.droplevel(["set", "class"])) == {(0, "zero"), (2, "zero"), (2, "mean")}
        assert elsewhere[["logprob_p", "excess", "specificity_p"]].isna().all(axis=None)
        assert elsewhere["logprob_delta"].notna().all()
        assert set(one["controls_limit"]) == {0, 20}
    for p in ("logprob_p", "specificity_p"):
        a, b = (one.loc[one["target"], p].dropna() for one in found)
        assert ((a < 0.05) == (b < 0.05)).all()
        pd.testing.assert_series_equal(a[a < 0.05], b[b < 0.05])
        assert (a < 0.05).any()
        assert (a > 0.05).any()


def test_results_do_not_depend_on_the_sizes_of_rounds(world, tmp_path, monkeypatch):
    tables_of = []
    for together, least in ((48, 4), (1, 3), (1000, 20)):
        monkeypatch.setattr(rounds, "TOGETHER", together)
        monkeypatch.setattr(rounds, "LEAST", least)
        tables_of.append(with_idle(world, tmp_path, STOPPING.changed(gains=(0,))))
    assert (
        tables_of[0]["ablation"]["controls"].nunique() > 2
    )  # of random sets, of those that end, of the others
    for other in tables_of[1:]:
        for name, table in tables_of[0].items():
            pd.testing.assert_frame_equal(table, other[name], check_exact=True)


def test_how_clips_are_divided_does_not_matter(world, done, tmp_path):
    (tmp_path / "clips").mkdir()
    clips = planted.make_clips(tmp_path / "clips", parts=5)[::-1]
    for name, table in run(world, tmp_path, clips=clips).items():
        pd.testing.assert_frame_equal(table, done[name], check_exact=True)


def test_without_sharing_the_outcome_is_the_same(world, done, tmp_path):
    _, *others = world
    again = run((Planted(stepwise=False), *others), tmp_path)
    for name, table in again.items():
        pd.testing.assert_frame_equal(table, done[name], check_exact=True)


def test_gains_and_replacements(world, tmp_path):
    settings = SETTINGS.changed(
        gains=(0, 0.5, 1, 2), replacements=("zero", "mean", "resample"), random=0, shifted=False
    )
    table = run(world, tmp_path, settings, {**TASK, "shared": []}, with_clips=False)["ablation"]
    assert table["controls"].eq(0).all()
    assert table["logprob_p"].isna().all()

    def change(gain, replacement="zero"):
        return of(table, f"class:high gain={gain} {replacement}").loc["high", "logprob_delta"]

    assert change(0) < change(0.5) < 0 <= change(1) <= 0
    assert change(2) > 0
    for replacement in ("mean", "resample"):
        assert change(0) <= change(0, replacement) < 0
        one = of(table, f"class:high gain=1 {replacement}")
        assert one[["delta", "logprob_delta", "low", "high"]].eq(0).all(axis=None)


def test_confusion_counts_the_clips_of_every_cell(world, tmp_path):
    settings = Conditions(replacements=("zero",), random=4, gains=(0,), bootstrap=0)
    done = run(world, tmp_path, settings)
    table, clips = done["confusion"], done["clips"]
    seeds = clips["seed"].unique()

    def cells(condition, seed):
        mine = clips[(clips["condition"] == condition) & (clips["seed"] == seed)].sort_values("clip_id")
        return mine["class"].to_numpy(), mine["prediction"].to_numpy()

    of_sets = table[(table["control"] != "random") & (table["probe"] != "mean")]
    assert set(of_sets["probe"]) == set(map(str, seeds))
    for row in of_sets.to_dict("records"):
        control = {"none": "", "shifted": " shifted"}[row["control"]]
        true, before = cells("unablated", int(row["probe"]))
        _, now = cells(f"{row['set']}{control} gain=0 zero", int(row["probe"]))
        was = (true == row["class"]) & (before == row["prediction"])
        will = (true == row["class"]) & (now == row["prediction"])
        assert (row["before"], row["clips"]) == (was.sum(), will.sum())
        assert (row["lost"], row["gained"]) == ((was & ~will).sum(), (will & ~was).sum())
        assert row["mcnemar_p"] == mcnemar(int(row["lost"]), int(row["gained"]))
    # Every clip is in one cell of its class, also in means over random sets and over probes.
    sizes = clips[(clips["condition"] == "unablated") & (clips["seed"] == seeds[0])].groupby("class").size()
    for _, mine in table.groupby(["set", "control", "probe"]):
        sums = mine.groupby("class")[["before", "clips"]].sum()
        assert sums.eq(sizes, axis=0).all(axis=None)
    assert set(table.loc[table["control"] == "random", "draws"]) == {4}
    assert table.loc[table["control"] == "random", "mcnemar_p"].isna().all()
    cell = ["set", "control", "class", "prediction"]
    several = table[table["probe"] != "mean"].groupby(cell)["clips"].mean()
    pd.testing.assert_series_equal(
        table[table["probe"] == "mean"].set_index(cell)["clips"].sort_index(), several.sort_index()
    )
    harmed = table[(table["set"] == "class:high") & (table["control"] == "none")]
    whole = harmed[(harmed["class"] == "high") & (harmed["probe"] == "mean")]
    assert whole.loc[whole["prediction"] == "high", "clips"].sum() == 0
    assert (whole["mcnemar_p"] < 0.05).any()


def test_sets_and_controls_are_those_of_the_settings(world, tmp_path):
    encoder, study, neurons = world
    settings = Conditions(random=3, bins=2, seed=5, bootstrap=0, shifted=False, replacements=("zero",))
    out = {name: tmp_path / f"{name}.parquet" for name in ("ablation", "confusion", "sets")}
    ablate_task(encoder, study, neurons, TASK, (), settings, out, selection_split="all")
    table = tables.read(neurons, "neurons")
    controls = Controls(table, settings)
    found = conditions(sets_of(table, None, [["low", "middle"]], []), controls, settings)
    found += [controls.random(one, draw) for one in found for draw in range(3)]
    expected = {(c.set.label, c.control, c.draw, *n) for c in found for n in c.change.neurons}
    assert {
        tuple(row) for row in tables.read(out["sets"], "ablation_sets").itertuples(index=False)
    } == expected
    assert set(tables.read(out["ablation"], "ablation")["selection_split"]) == {"all"}


def test_donors_are_training_clips_and_depend_on_the_clip_and_the_seed_alone(world, monkeypatch):
    encoder, study, _ = world
    frame = pd.concat([tables.read(path, "clips") for path in study.clips])
    train = set(frame.loc[frame["split"] == "train", "clip_id"])
    change, waveforms = Change(frozenset({(0, 1)}), 0.0, "resample"), ablation.waveforms

    def donors(batch_size=8, **how):
        seen = []
        with monkeypatch.context() as patch:
            patch.setattr(
                ablation, "waveforms", lambda clips, *args: seen.extend(clips) or waveforms(clips, *args)
            )
            measured = measure(
                encoder, replace(study, batch_size=batch_size), [change], (), Conditions(**how)
            )
        assert len(seen) == len(measured.frame)
        return [name for name, _ in seen]

    every = donors()
    assert set(every) <= train
    assert len(set(every)) > 15  # of 32 clips
    assert len(set(donors(donors=3))) == 3
    assert donors(donors=3) == donors(donors=3)
    assert donors(seed=1) != every
    assert donors(batch_size=5) == every


def test_means_count_what_extraction_counts(world, tmp_path):
    """Half of every training clip is silence: with ``recording``, means are those of the other half."""
    encoder, study, _ = world
    frame = pd.concat([tables.read(path, "clips") for path in study.clips])
    samples = round(planted.SECONDS * 16_000)
    names, paths = frame["clip_id"].tolist(), {}
    for kind, length in (("shorter", samples // 2), ("padded", samples)):
        waves = [np.zeros(length) for _ in names]
        for wave, encoded in zip(waves, frame["audio"], strict=True):
            wave[: samples // 2] = audio.read(encoded, samples // 2, 16_000)
        paths[kind] = tmp_path / f"{kind}.parquet"
        coded = [audio.encode(wave) for wave in waves]
        tables.write(paths[kind], "clips", frame.assign(audio=coded, frames=length))
    change = Change(frozenset({(0, 0), (2, 3)}), 0.0, "mean")

    def means(kind, count):
        one = replace(study, clips=[paths[kind]], count=count)
        made = ablation._Replacements(encoder, one, tables.read(paths[kind], "clips"), [change], SETTINGS, 8)
        return made.values([])["mean"](0, 0, torch.arange(32), 1)

    whole = means("shorter", "window")
    assert torch.equal(whole, means("padded", "window"))
    assert torch.equal(whole, means("padded", "recording"))
    own = means("shorter", "recording")
    silence = Means(encoder)
    silence.add(torch.zeros(1, samples // 2), 1)
    torch.testing.assert_close(
        own, 2 * whole - silence.values()(0, 0, torch.arange(32), 1), rtol=1e-4, atol=1e-6
    )
    assert not torch.allclose(own, whole, rtol=0.05)


def test_donors_are_different_clips_and_only_replacements_need_training_clips(world, tmp_path):
    encoder, study, _ = world
    frame = pd.concat([tables.read(path, "clips") for path in study.clips])
    test, train = (frame[frame["split"] == split] for split in ("test", "train"))

    def pool(training, replacement, seed=0):
        path = tmp_path / "clips.parquet"
        tables.write(path, "clips", pd.concat([test, training]))
        change = Change(frozenset({(0, 1)}), 0.0, replacement)
        one, settings = replace(study, clips=[path]), Conditions(seed=seed)
        measure(encoder, one, [change], (), settings)
        made = ablation._Replacements(encoder, one, pd.concat([test, training]), [change], settings, 8)
        return getattr(made, "_pool", None)

    few = train.head(3)
    for seed in range(4):
        assert [name for name, _ in pool(few, "resample", seed)] == sorted(few["clip_id"])
    for replacement in ("mean", "resample"):
        with pytest.raises(AblationError, match=r"^no clips of split 'train' to take replacements from$"):
            pool(few.head(0), replacement)
    assert pool(few.head(0), "zero") is None


def test_means_are_those_of_the_training_clips(world):
    encoder, study, _ = world
    frame = pd.concat([tables.read(path, "clips") for path in study.clips]).set_index("clip_id")
    change = Change(frozenset({(0, 0), (1, 2)}), 0.5, "mean")
    measured = measure(encoder, study, [change], [0], SETTINGS)
    train, test = (
        torch.from_numpy(ablation.waveforms(list(clips["audio"].items()), 1280, len(clips)))
        for clips in (frame[frame["split"] == "train"], frame.loc[measured.frame["clip_id"]])
    )
    means = Means(encoder)
    means.add(train, len(train))
    with Intervention(encoder, change, means.values()), torch.inference_mode():
        features = encoder(test)
    logs = Probes.load(study.probe).log_probabilities(features.mean(1))
    true = [list(CLASSES).index(name) for name in measured.frame["class"]]
    expected = logs[:, range(len(true)), true]
    np.testing.assert_allclose(measured.kept[0][1], expected, rtol=1e-5)


def test_a_task_without_neurons_has_an_empty_table(world, tmp_path):
    found = run(world, tmp_path, task={**TASK, "classes": ["none"], "shared": []})
    assert found["ablation"].empty
    assert found["sets"].empty
    assert set(found["clips"]["condition"]) == {"unablated"}


def test_a_list_of_ones_own(world, tmp_path):
    (tmp_path / "mine.csv").write_text("layer,neuron\n0,0\n0,2\n")
    task, files = {"classes": [], "shared": [], "lists": {"mine": ["high"]}}, [tmp_path / "mine.csv"]
    table = run(world, tmp_path, task=task, files=files)["ablation"]
    assert of(table, "list:mine gain=0 zero").loc["high", "delta"] == -1
    (tmp_path / "mine.csv").write_text("layer,neuron\n3,0\n")
    with pytest.raises(InterventionError, match="no neuron 3:0 in an encoder of 3 layers of 32"):
        run(world, tmp_path, task=task, files=files)


def test_every_clip_is_judged_by_the_probe_of_its_fold(world, tmp_path):
    encoder, study, _ = world
    frames = [tables.read(path, "clips") for path in study.clips]
    frame = pd.concat(frames, ignore_index=True)
    frame["fold"] = frame["group"].str.extract(r"(\d+)$")[0].astype(int) % 3 + 1
    tables.write(tmp_path / "clips.parquet", "clips", frame)
    clips = [tmp_path / "clips.parquet"]
    embeddings, _ = planted.extract_and_select(encoder, tmp_path, clips)
    path = tmp_path / "probe.safetensors"
    probes.probe_task(clips, embeddings, "pitch", PROBE, path, tmp_path / "probe.parquet")
    measured = measure(encoder, replace(study, clips=clips, probe=path), [], (), SETTINGS)
    assert measured.frame["fold"].nunique() == 3
    table = tables.read(tmp_path / "probe.parquet", "probes").set_index(["seed", "clip_id"])
    for seed, true in zip(measured.seeds, measured.before[1], strict=True):
        expected = table.loc[seed].loc[measured.frame["clip_id"], "log_probability"]
        np.testing.assert_allclose(true, expected, atol=1e-6)


def test_only_clips_of_the_split_are_measured(world):
    encoder, study, _ = world
    assert set(measure(encoder, study, [], (), SETTINGS).frame["split"]) == {"test"}
    with pytest.raises(AblationError, match="no clips of split 'valid'"):
        measure(encoder, replace(study, split="valid"), [], (), SETTINGS)


def test_features_that_are_not_finite_are_named(world):
    _, study, _ = world
    change = Change(frozenset({(0, 0)}), gain=float("inf"))
    with pytest.raises(AblationError, match="not finite under Change"):
        measure(Planted(), study, [change], (), SETTINGS)
    encoder = Planted()
    encoder.blocks[0].mlp["fc2"].bias.data[0] = float("nan")
    with pytest.raises(AblationError, match=r"^features are not finite without any change$"):
        measure(encoder, study, [change], (), SETTINGS)


def test_progress_counts_clips_and_conditions(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "INTERVAL", 0)
    encoder, study, neurons = world
    out = {name: tmp_path / f"{name}.parquet" for name in ("ablation", "confusion", "sets")}
    task, settings = {**TASK, "classes": ["low"], "shared": []}, Conditions(replacements=("zero",), random=1)
    ablate_task(encoder, study, neurons, task, (), settings, out, name="one task")
    told = capsys.readouterr().err
    assert "one task: 8/128 clips x conditions, " in told  # a batch; without any change, and three sets
    assert "one task: 128 clips x conditions in " in told


def test_measured_changes_are_those_of_single_runs(world):
    """Compare with one clip under one condition, in a forward pass of its own."""
    encoder, study, _ = world
    change = Change(frozenset({(1, 2), (0, 7)}), 0.3)
    measured = measure(encoder, study, [change], [0], SETTINGS)
    name = measured.frame["clip_id"][5]
    wave = dict(ablation.encoded(study.clips, [name]))
    wave = torch.from_numpy(ablation.waveforms(list(wave.items()), 1280, 8))
    with Intervention(encoder, change):
        features = encoder(wave)[:1].mean(1)
    logs = Probes.load(study.probe).log_probabilities(features)
    true = list(CLASSES).index(measured.frame["class"][5])
    np.testing.assert_allclose(measured.kept[0][1][:, 5], logs[:, 0, true], rtol=1e-12)


def test_the_encoder_computes_in_the_precision_of_extraction(world, monkeypatch):
    encoder, study, _ = world
    seen = []
    run = ablation.run_changes
    monkeypatch.setattr(ablation, "run_changes", lambda e, *more: (seen.append(e.bfloat16), run(e, *more))[1])
    for precision in ("fp32", "bf16"):
        measure(encoder, replace(study, precision=precision), [Change(frozenset({(0, 0)}))], (), SETTINGS)
    assert set(seen[: len(seen) // 2]) == {False}
    assert set(seen[len(seen) // 2 :]) == {True}
    assert not encoder.bfloat16
