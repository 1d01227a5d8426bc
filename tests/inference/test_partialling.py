"""What stays of the effect of a class, on planted truth: neurons that hear f0, loudness, or the class."""

import numpy as np
import pandas as pd
import pytest
import torch

from audio_neurons import tables
from audio_neurons.activations.acoustics import Acoustics, of_clips
from audio_neurons.activations.features import FEATURES, STEPS
from audio_neurons.activations.units import Units
from audio_neurons.inference import partialling
from audio_neurons.inference.partialling import FEW, NO_EFFECT, TOLD, adjusted, partial_out, regressors
from audio_neurons.settings.inference import Inference

SETTINGS = Inference(replications=40)
TOKENS = 150
STEP = 30.0  # semitones: 155 Hz
NEURONS = ("f0 above a step", "f0, steadily", "class", "both", "loudness", "nothing")


def speech(rng, speakers=20, clips=12, apart=8.0, spread=4.0, louder=0.0):
    """Return the clips of speakers of two classes whose f0 lies ``apart`` semitones apart, and neurons.

    Speakers, their clips and tokens all vary, so that tokens of both classes overlap in f0.
    """
    count = speakers * clips
    speaker = np.repeat(np.arange(speakers), clips)
    label = speaker % 2
    own = rng.normal(0, 1.5, speakers)[speaker] + rng.normal(0, spread / 2, count)
    f0 = STEP + apart * (label - 0.5) + own
    tokens_f0 = f0[:, None] + rng.normal(0, spread, (count, TOKENS))
    level = rng.normal(-30, 5, count) + louder * label
    tokens_level = level[:, None] + rng.normal(0, 5, (count, TOKENS))
    values = np.zeros((count, TOKENS, len(FEATURES)))
    names = [feature.name for feature in FEATURES]
    values[..., names.index("f0")], values[..., names.index("loudness")] = tokens_f0, tokens_level
    values[..., 5:] = rng.normal(-50, 3, values[..., 5:].shape)
    acoustics = Acoustics(
        torch.from_numpy(np.rint(values / STEPS)), torch.ones(count, TOKENS, 3, dtype=torch.float64)
    )
    step, slope = (tokens_f0 > STEP) * 1.0, np.clip(0.5 + (tokens_f0 - STEP) / 40, 0, 1)
    own = (0.2 + 0.3 * label)[:, None] + 0 * step
    chance = np.stack(
        [
            0.1 + 0.7 * step,
            slope,
            own,
            0.3 * step + own / 2,
            np.clip(1 + tokens_level / 60, 0, 1),
            0 * own + 0.3,
        ]
    )
    active = (rng.random(chance.shape) < chance).sum(2).T
    tokens = np.full(count, TOKENS)
    sounds = pd.DataFrame({name: list(values) for name, values in of_clips(acoustics).items()})
    return Units(active, tokens, label, speaker, ("deep", "high")), sounds


def found(units, sounds, settings=SETTINGS):
    """Return the table of the neurons of the class high by family and neuron, and the classes' values."""
    assigned = np.array([[False] * 6, [True] * 6])
    single, classes = {}, {}
    for family, table, of_classes in partial_out(units, sounds, assigned, settings):
        single[family], classes[family] = table.set_index("neuron"), of_classes
    return pd.concat(single), classes


@pytest.fixture(scope="module")
def planted():
    return found(*speech(np.random.default_rng(0)))


def of(planted, family, neuron):
    return planted[0].loc[(family, NEURONS.index(neuron))]


@pytest.mark.parametrize("neuron", ["f0 above a step", "f0, steadily"])
def test_nothing_stays_of_a_neuron_that_is_f0(planted, neuron):
    row = of(planted, "f0", neuron)
    assert row["effect"] > 0.1
    assert abs(row["stays"]) < 0.12
    assert row["stays_low"] < 0.12
    assert row["reason"] == ""


def test_all_stays_of_a_neuron_that_is_the_class(planted):
    for family in ("f0", "loudness", "spectrum", "all"):
        row = of(planted, family, "class")
        assert row["stays"] == pytest.approx(1, abs=0.12), family
        assert row["stays_low"] > 0.85, family


def test_of_a_neuron_that_is_both_the_part_stays_that_is_the_class(planted):
    row = of(planted, "f0", "both")
    assert row["kept"] == pytest.approx(0.15, abs=0.03)  # own / 2 differs by 0.3 / 2
    assert row["stays"] == pytest.approx(0.15 / row["effect"], abs=0.1)
    assert 0.3 < row["stays"] < 0.7


def test_loudness_takes_nothing_from_a_neuron_that_is_f0(planted):
    assert of(planted, "loudness", "f0 above a step")["stays"] == pytest.approx(1, abs=0.1)
    assert abs(of(planted, "all", "f0 above a step")["stays"]) < 0.15


def test_loudness_is_taken_out_where_classes_differ_in_it():
    units, sounds = speech(np.random.default_rng(3), apart=0.0, louder=8.0)
    rows = found(units, sounds)[0]
    assert abs(rows.loc[("loudness", NEURONS.index("loudness")), "stays"]) < 0.15
    assert rows.loc[("f0", NEURONS.index("loudness")), "stays"] == pytest.approx(1, abs=0.15)


def test_a_neuron_without_an_effect_says_so(planted):
    row = of(planted, "f0", "nothing")
    assert row["reason"] == NO_EFFECT
    assert np.isnan(row["stays"])
    assert not np.isnan(row["effect"])


def test_where_f0_tells_the_class_nothing_can_be_told():
    units, sounds = speech(np.random.default_rng(1), apart=30.0, spread=1.0)
    rows, classes = found(units, sounds)
    assert classes["f0"]["untold"].max() < partialling.UNTOLD
    assert set(rows.loc["f0", "reason"]) == {TOLD}
    assert rows.loc["f0", ["kept", "stays"]].isna().all(axis=None)
    assert rows.loc[("loudness", NEURONS.index("class")), "reason"] == ""


def test_too_few_clips_for_the_regressors_are_told():
    units, sounds = speech(np.random.default_rng(1), speakers=6, clips=3)
    rows, classes = found(units, sounds)
    assert set(rows.loc["all", "reason"]) == {FEW}
    assert classes["all"]["regressors"] * partialling.PER_REGRESSOR > 18


def test_the_effect_of_a_class_is_that_of_its_neurons_together(planted):
    rows, classes = planted
    own = rows.loc["f0"]
    assert classes["f0"]["effect"][1] == pytest.approx(own["effect"].mean())
    assert classes["f0"]["kept"][1] == pytest.approx(own["kept"].mean())
    assert classes["f0"]["stays"][1] == pytest.approx(own["kept"].sum() / own["effect"].sum())
    assert classes["f0"]["neurons"].tolist() == [0, 6]
    assert np.isnan(classes["f0"]["stays"][0])


def test_coefficients_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(5)
    rates, columns, weights = rng.random((60, 4)), rng.normal(size=(60, 3)), rng.integers(1, 9, 60) * 1.0
    classes = rng.integers(0, 3, 60) == np.arange(3)[:, None]
    one = adjusted(rates, classes, weights, np.column_stack([columns, columns[:, 0] - columns[:, 1]]))
    assert one.regressors == 3
    for c in range(3):
        design = np.column_stack([classes[c], np.ones(60), columns])
        root = np.sqrt(weights)[:, None]
        expected = np.linalg.lstsq(design * root, rates * root, rcond=None)[0][0]
        np.testing.assert_allclose(one.kept[c], expected, rtol=1e-9)
        own, others = (np.average(rates[m], axis=0, weights=weights[m]) for m in (classes[c], ~classes[c]))
        np.testing.assert_allclose(one.effect[c], own - others, rtol=1e-9)
    assert ((one.untold > 0) & (one.untold <= 1)).all()


def test_regressors_of_hats_hold_any_piecewise_linear_function():
    sounds = pd.DataFrame({"tokens": [4] * 3, "f0_hats": list(np.eye(10)[[3, 4, 4]] * [[0.5], [1], [0.2]])})
    assert regressors(sounds, "f0").tolist() == [[0.5, 0], [0, 1], [0, 0.2]]


def written(folder, units, sounds, held_out=0):
    """Write the tables that a task reads, of which the last clips are of another split."""
    count = len(units.labels)
    names = [f"{i:04}" for i in range(count)]
    split = ["train"] * (count - held_out) + ["test"] * held_out
    order = np.random.default_rng(0).permutation(count)  # tables are not in order of names
    with tables.writer(folder / "clips.parquet", "clips", ["voice"]) as out:
        clips = pd.DataFrame(
            {
                "clip_id": names, "audio": b"", "frames": 1, "split": split, "fold": 0,
                "group": np.char.zfill(units.groups.astype(str), 3),
                "voice": np.array(units.classes)[units.labels],
            }
        )  # fmt: skip
        out.append({name: clips[name].tolist() for name in clips})
    active = list(units.active.astype(np.uint16)[order])
    with tables.writer(folder / "responses.parquet", "responses") as out:
        out.append({"clip_id": np.array(names)[order], "tokens": units.tokens[order], "active": active})
    tables.write(folder / "acoustics.parquet", "acoustics", sounds.assign(clip_id=names).iloc[order])
    place = pd.DataFrame({"layer": 0, "neuron": range(6)})
    rows = {"response": 0.5, "entropy": 0.1, "selected": True, "eligible": True}
    some = [place.assign(**{"class": c, **rows}, assigned=place["neuron"] > 1) for c in units.classes]
    some[0]["assigned"] = False
    tables.write(folder / "neurons.parquet", "neurons", pd.concat(some))
    parts = [[folder / f"{name}.parquet"] for name in ("responses", "clips", "acoustics")]
    return [folder / "neurons.parquet", *parts, "voice", ["train"]]


def test_a_task_is_that_of_its_clips_by_name_and_of_the_splits_that_chose(tmp_path):
    units, sounds = speech(np.random.default_rng(2))
    given = written(tmp_path, units, sounds, held_out=60)
    outs = tmp_path / "single.parquet", tmp_path / "classes.parquet"
    partialling.partial_task(*given, SETTINGS, *outs)
    single, classes = tables.read(outs[0], "acoustic_neurons"), tables.read(outs[1], "acoustic_classes")
    kept = Units(
        units.active[:180], units.tokens[:180], units.labels[:180], units.groups[:180], units.classes
    )
    expected = found(kept, sounds.iloc[:180])[0]
    assert single["neuron"].tolist() == [2, 3, 4, 5] * 4
    for name in ("effect", "kept", "stays_low"):
        own = single[single["family"] == "f0"][name].to_numpy()
        np.testing.assert_allclose(own, expected.loc["f0", name].to_numpy()[2:])
    assert classes["clips"].tolist() == [96, 84] * 4  # of 15 speakers
    assert classes["groups"].tolist() == [8, 7] * 4
    partialling.partial_task(*given, SETTINGS, tmp_path / "again.parquet", outs[1])
    assert (tmp_path / "again.parquet").read_bytes() == outs[0].read_bytes()


def test_acoustics_of_other_clips_are_refused(tmp_path):
    units, sounds = speech(np.random.default_rng(2), speakers=4)
    given = written(tmp_path, units, sounds.assign(tokens=7))
    with pytest.raises(tables.TableError, match="not of the clips of"):
        partialling.partial_task(*given, SETTINGS, tmp_path / "a", tmp_path / "b")
