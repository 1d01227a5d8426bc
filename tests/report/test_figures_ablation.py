"""Figures of ablations, computed by the library from outcomes whose truth is known."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from test_figures import LONG, MODELS, legible

from audio_neurons import tables
from audio_neurons.ablation.conditions import Controls, NeuronSet, compared, conditions, sets_of
from audio_neurons.ablation.confusion import Confusions
from audio_neurons.ablation.effects import Measured, effects
from audio_neurons.inference.significance import q_values
from audio_neurons.neurons.selection import choose, neurons_table, probabilities
from audio_neurons.report import figures
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures import ablation, confusion, dose, matrix
from audio_neurons.settings.ablation import Conditions
from audio_neurons.settings.selection import Rule

LAYERS, WIDTH, PLANTED = 3, 100, 12
NAMES = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]
FIRST = ("ANG", "HAP")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def neurons(classes, planted):
    """A ``neurons`` table: each class has planted neurons, and the first shares some with the fourth."""
    rng = np.random.default_rng(0)
    p = np.full((len(classes), LAYERS * WIDTH), 0.1)
    for c in range(len(classes) if planted else 0):
        p[c, c * planted : (c + 1) * planted] = 0.5
    p[3 % len(classes), : planted // 2] = 0.5
    tokens = np.full(len(classes), 10**4)
    active = rng.binomial(tokens[:, None], p)
    chosen = choose(active, tokens, Rule(top_share=max(planted * len(classes), 0.1) / p.shape[1]))
    index = np.stack(np.divmod(np.arange(p.shape[1]), WIDTH), axis=1)
    frame = pd.DataFrame({"class": classes})
    return neurons_table(frame, index, probabilities(active, tokens), chosen)


@cache
def measured(classes, planted, strength, gains, replacements, random, where, listed, clips=8):
    """``ablation`` and ``confusion`` tables: only specific neurons matter, all equally; maybe with a list."""
    table = neurons(classes, planted)
    lists = [NeuronSet("list", "paper", classes[:1], frozenset({(2, 5), (2, 90)}))] if listed else []
    pairs = [[classes[0], classes[3 % len(classes)]]] if len(classes) > 1 else []
    sets = sets_of(table, None, pairs, lists)
    settings = Conditions(
        gains=gains, replacements=replacements, random=random, random_at=where, stop_after=0, bootstrap=50
    )
    controls = Controls(table, settings)
    found = conditions(sets, controls, settings)
    found += [controls.random(one, draw) for one in compared(found, settings) for draw in range(random)]
    frame = pd.DataFrame({"class": np.repeat(classes, clips), "clip_id": np.arange(clips * len(classes))})
    frame["group"] = frame["clip_id"] // 2
    keep = [i for i, one in enumerate(found) if one.control != "random"]
    out = Measured.empty(frame, classes, (0, 1), len(found), keep)
    needed = table[table["assigned"]].groupby("class")[["layer", "neuron"]].apply(
        lambda own: set(own.itertuples(index=False, name=None))
    )  # fmt: skip
    rng = np.random.default_rng(1)
    before = rng.uniform(-0.6, -0.4, (2, len(frame)))
    outcomes = {}
    for k, one in enumerate([None, *found]):
        after = before.copy()
        if one:
            hit = np.repeat([len(one.change.neurons & needed.get(c, set())) for c in classes], clips)
            after -= strength * (1 - one.change.gain) * hit * rng.uniform(0.9, 1.1, len(frame)) / PLANTED
            after += 0.001 * (1 - one.change.gain) * rng.normal(size=after.shape)
        right = after > -0.8
        outcomes[k - 1] = np.where(right, out.codes, (out.codes + 1) % len(classes)), after
    out.add(np.arange(len(frame)), outcomes)
    confusions = Confusions()
    before = outcomes.pop(-1)[0]
    confusions.add(out.codes, len(classes), before, [(found[k], now) for k, (now, _) in outcomes.items()])
    return {
        "ablation": effects(out, found, settings, "train"),
        "confusion": confusions.table(out.classes, out.seeds),
    }


def world(
    folder, classes=NAMES, models=MODELS, gains=(0,), replacements=("zero",), random=19, planted=PLANTED,
    where="all",
):  # fmt: skip
    """Tables of models that need their neurons less and less, the last not at all; the first has a list."""
    paths = {"ablation": [], "confusion": []}
    for i, model in enumerate(models):
        strength = 1 - i / (len(models) - 1) if len(models) > 1 else 1.0
        given = (strength, tuple(gains), tuple(replacements), random, where)
        for name, table in measured(tuple(classes), planted, *given, bool(planted and not i)).items():
            paths[name].append(folder / f"{name} {model['name']}.parquet")
            tables.write(paths[name][-1], name, table)
    return paths, {"models": models, "task": "T", "level": 0.95, "alpha": 0.05}


# The least and the most of both, and what is usual.
@pytest.mark.parametrize(
    ("classes", "models"),
    [(["a", "b"], 1), (["a", "b"], 4), (NAMES, 1), ([LONG, *"bcdefghij"], 4)],
    ids=["two-1", "two-4", "six-1", "ten-4"],
)
@pytest.mark.parametrize("figure", [ablation, confusion, matrix, dose])
def test_everything_is_legible(tmp_path, figure, classes, models):
    gains = (0, 0.5, 2) if figure is dose else (0,)
    inputs, about = world(tmp_path, classes, MODELS[:models], gains, planted=6 if len(classes) > 6 else 12)
    drawn = figure.draw(figure.data(inputs, about), about)
    assert drawn.legends[0].get_title().get_text().startswith("T: ")  # which task it is of
    legible(drawn, style.COLUMN if figure is dose and models == 1 else style.WIDE)


def test_fifty_classes_show_targets_and_the_mean_of_the_others(tmp_path):
    classes = [f"class_{n}" for n in range(50)]
    inputs, about = world(tmp_path, classes, MODELS[:1], random=3, planted=5)
    data = ablation.data(inputs, about)
    assert data["target"].all()
    table = tables.read(inputs["ablation"][0], "ablation")
    own = table[(table["set"] == "shared:class_0+class_3") & (table["control"] == "none")]
    rest = own[(own["probe"] == "mean") & ~own["target"] & (own["class"] != "*")]
    row = data[(data["set"] == "shared:class_0+class_3") & (data["model"] == "m")].iloc[0]
    assert row["others"] == pytest.approx(rest["logprob_delta"].mean())
    legible(ablation.draw(data, about))
    wide = matrix.data(inputs, about)
    assert wide.groupby(["model", "ablated"]).size().eq(50).all()
    legible(matrix.draw(wide, about))


def test_ablation_data_are_those_of_the_tables(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:2], gains=(2, 0))
    data = ablation.data(inputs, about)
    assert (data["gain"] == 0).all()
    assert set(data.loc[data["set_kind"] == "list", "model"]) == {"m"}
    found = tables.read(inputs["ablation"][0], "ablation")
    found = found[(found["probe"] == "mean") & (found["gain"] == 0)]
    own = data[data["model"] == "m"]
    assert len(own) == 2 * (len(NAMES) + 3 * (len(NAMES) + 1))  # class sets; shared, exact, list
    names = {"log-probability": ("logprob_delta", 1, "logprob_p"), "accuracy": ("delta", 100, "delta_p")}
    for row in own.to_dict("records"):
        column, scale, p = names[row["measure"]]
        mine = found[(found["set"] == row["set"]) & (found["class"] == row["class"])]
        one = mine[mine["control"] == "none"].iloc[0]
        assert row["value"] == pytest.approx(scale * one[column])
        assert row["p_value"] == one[p]
        assert row["shifted"] == pytest.approx(scale * mine.loc[mine["control"] == "shifted", column].item())
        null = scale * mine.loc[mine["control"] == "random", column]
        expected = np.quantile(null, [0.025, 0.5, 0.975])
        np.testing.assert_allclose([row["control_low"], row["control_median"], row["control_high"]], expected)
        assert row["controls"] == 19
        if row["measure"] == "accuracy":
            assert np.isnan(row["low"])
        else:
            assert (row["low"], row["high"]) == (one["low"], one["high"])
    for _, family in data.groupby(["model", "measure", "family"]):
        np.testing.assert_allclose(family["q_value"], q_values(family["p_value"].to_numpy()))


def test_what_is_planted_is_told_from_what_is_not(tmp_path):
    inputs, about = world(tmp_path, models=[MODELS[0], MODELS[-1]], random=24)
    data = ablation.data(inputs, about)
    single = data[(data["set_kind"] == "class") & (data["measure"] == "log-probability")]
    needed, baseline = (single[single["model"] == m] for m in "mr")
    assert (needed["q_value"] < 0.05).all()
    assert (needed["high"] < needed["control_low"]).all()
    assert (needed["value"] < needed["others"] - 0.5).all()
    assert (baseline["q_value"] > 0.05).any()
    assert baseline["value"].abs().max() < 0.01
    shared = data[
        (data["set"] == "shared:ANG+HAP") & (data["measure"] == "accuracy") & (data["model"] == "m")
    ]
    assert set(shared.loc[shared["value"] < 0, "class"]) <= {*FIRST, "*"}
    # A marker is filled where random sets do less harm, and white where not.
    figure = ablation.draw(data, about)
    panel = figure.axes[0]
    faces = panel.collections[-1].get_facecolor()
    assert len(faces) == len(NAMES)
    assert all(tuple(face[:3]) == pytest.approx(to_rgb(style.KINDS["ssl"])) for face in faces)
    labels = [text.get_text() for text in panel.get_yticklabels()]
    assert labels == [f"{name} (8)" for name in NAMES]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.6, 0.1, [-0.55, 0]),
        (-0.1, 0.31, [0, 0.25]),
        (-1.0, 1.2, [0, 1]),
        (-12, 3, [-10, 0]),
        (-0.0041, 0, [-0.0035, 0]),
    ],
)
def test_an_axis_has_0_and_one_round_number(low, high, ticks):
    assert ablation._ticks(low, high) == pytest.approx(ticks)


def test_matrix_data_and_colours(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:2])
    data = matrix.data(inputs, about)
    own = data[data["model"] == "m"].pivot(index="ablated", columns="class", values="logprob_delta")
    assert (own.idxmin(axis=1) == own.index).all()
    assert own.loc["ANG", "HAP"] < -0.3  # they share half
    assert own.loc["DIS", "SAD"] > -0.05
    figure = matrix.draw(data, about)
    shown = [text.get_text() for text in figure.axes[0].texts]
    expected = [matrix._number(v) for v in own.loc[NAMES, NAMES].to_numpy().ravel()]
    assert shown == expected
    assert [matrix._number(x) for x in (-0.284, -0.003, 0.996, -12.34)] == ["−.28", "0", "1.0", "−12.3"]
    # A class without neurons has no row in the data, and a grey one in the figure.
    without = data[(data["model"] != "s") | (data["ablated"] != "FEA")]
    cells = matrix.draw(without, about).axes[1].collections[0].get_array()
    assert (cells.reshape(6, 6, -1)[2] == style.UNDEFINED).all()


def test_dose_data_are_means_of_the_tables(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:1], gains=(0, 0.5, 2), replacements=("zero", "mean"))
    data = dose.data(inputs, about)
    table = tables.read(inputs["ablation"][0], "ablation")
    table = table[(table["probe"] == "mean") & (table["class"] != "*")]
    for row in data[data["measured"] & (data["series"] != "target")].to_dict("records"):
        mine = table[(table["gain"] == row["gain"]) & (table["replacement"] == row["replacement"])]
        mine = mine[(mine["kind"] == "class") if row["group"] == "class" else (mine["set"] == row["group"])]
        mine = mine[mine["target"] == (row["series"] == "targets")]
        own = mine.loc[mine["control"] == "none", "logprob_delta"]
        assert row["value"] == pytest.approx(own.mean())
        if row["series"] == "targets":
            null = [
                one["logprob_delta"].mean() for _, one in mine[mine["control"] == "random"].groupby("draw")
            ]
            assert row["controls"] == len(null) == 19
            assert row["control_median"] == pytest.approx(np.median(null))
    single = data[(data["group"] == "class") & (data["replacement"] == "zero")]
    means = single[single["series"] == "targets"].set_index("gain")["value"]
    assert means[0] < means[0.5] < means[1] == 0 < means[2]
    assert not data.loc[data["gain"] == 1, "measured"].any()
    assert set(single.loc[single["series"] == "target", "class"]) == set(NAMES)
    assert data.loc[(data["series"] == "target") & data["measured"], ["low", "high"]].notna().all(axis=None)


def test_sets_without_targets_are_drawn(tmp_path):
    """A list that names no classes, and one whose only class has no clips to test."""
    inputs, about = world(tmp_path, models=MODELS[:1], gains=(0, 2), random=3)
    path = inputs["ablation"][0]
    table = tables.read(path, "ablation")
    listed = table["set"] == "list:paper"
    for targets, title in (("", "List “paper”"), ("gone", "List “paper”, for gone")):
        nobody = table.assign(target=table["target"] & ~listed)
        nobody.loc[listed, "targets"] = targets
        tables.write(path, "ablation", nobody)
        data = dose.data(inputs, about)
        own = data[data["group"] == "list:paper"]
        assert set(own["series"]) == {"targets", "others"}
        dose.draw(data, about).draw_without_rendering()
        assert set(own["title"]) == {title}
        data = ablation.data(inputs, about)
        assert ablation.blocks(data)[-1].title == title
        legible(ablation.draw(data, about))


def test_q_must_be_below_alpha(tmp_path):
    """As in the findings: of 19 random sets that all do less, p and q are 1/20."""
    inputs, about = world(tmp_path, models=MODELS[:1])
    for figure in (ablation, matrix):
        data = figure.data(inputs, about)
        assert data["q_value"].min() == about["alpha"]
        for alpha, marked in ((0.05, False), (0.051, True)):
            drawn = figure.draw(data, {**about, "alpha": alpha})
            markers = drawn.axes[0].collections[-1]
            if figure is ablation:
                assert (markers.get_facecolor()[:, :3] != 1).any() == marked
            else:
                assert (len(markers.get_offsets()) > 0) == marked
            labels = [text.get_text() for text in drawn.legends[0].get_texts()]
            assert f"more harm than random sets, q < {alpha:g}" in labels


def test_random_sets_at_one_gain_and_replacement_are_drawn_there_alone(tmp_path):
    """The default: where effects are called. Elsewhere figures show the sets' own points."""
    how = {"gains": (0, 0.5, 2), "replacements": ("zero", "mean"), "where": "call"}
    inputs, about = world(tmp_path, models=MODELS[:2], **how)
    for figure in (ablation, matrix, confusion):
        data = figure.data(inputs, about)
        assert set(zip(data["gain"], data["replacement"], strict=True)) == {(0, "mean")}
        assert (
            data["draws" if figure is confusion else "value" if figure is ablation else "q_value"]
            .notna()
            .all()
        )
        legible(figure.draw(data, about))
    assert (confusion.data(inputs, about)["draws"] == 19).all()
    assert (ablation.data(inputs, about)["controls"] == 19).all()
    data = dose.data(inputs, about)
    mean = data[(data["series"] == "targets") & (data["group"] == "class") & (data["model"] == "m")]
    assert len(mean) == 2 * 4
    here = (mean["gain"] == 0) & (mean["replacement"] == "mean")
    assert mean["value"].notna().all()
    assert (mean["controls"] > 0).tolist() == here.tolist()
    assert mean["control_low"].notna().tolist() == here.tolist()
    drawn = dose.draw(data, about)
    legible(drawn, style.COLUMN)
    row = mean[here].iloc[0]
    bars = [one.get_segments() for one in drawn.axes[0].collections if isinstance(one, LineCollection)]
    ends = [[0, row["control_low"]], [0, row["control_high"]]]
    assert any(np.allclose(one, ends) for segments in bars for one in segments)


def test_gain_1_that_is_measured_is_not_added(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:1], gains=(0, 1), random=3)
    data = dose.data(inputs, about)
    assert data["measured"].all()
    assert (data.loc[data["gain"] == 1, "value"] == 0).all()


@pytest.mark.parametrize("figure", [ablation, matrix, dose])
def test_without_random_sets_nothing_is_claimed(tmp_path, figure):
    inputs, about = world(tmp_path, models=MODELS[:2], random=0)
    data = figure.data(inputs, about)
    if figure is not dose:
        assert data["q_value"].isna().all()
    legible(figure.draw(data, about), style.COLUMN if figure is dose else style.WIDE)


@pytest.mark.parametrize("figure", ["ablation", "matrix", "dose"])
def test_a_task_without_neurons_has_a_figure_that_says_so(tmp_path, figure):
    inputs, about = world(tmp_path, models=MODELS[:2], planted=0)
    out = {kind: tmp_path / f"out.{kind}" for kind in ("pdf", "png", "data", "csv")}
    figures.make(figure, inputs, about, out)
    assert pd.read_parquet(out["data"]).empty
    assert out["csv"].read_text(encoding="utf-8").startswith("model,model_title,kind,")


@pytest.mark.parametrize("figure", ["ablation", "matrix", "dose"])
def test_the_same_tables_give_the_same_bytes(tmp_path, figure):
    inputs, about = world(tmp_path, ["a", "b"], MODELS[:1], gains=(0, 2), random=3)
    written = []
    for i in range(2):
        out = {kind: tmp_path / f"{i}.{kind}" for kind in ("pdf", "png", "data", "csv")}
        figures.make(figure, inputs, about, out)
        written.append([path.read_bytes() for path in out.values()])
    assert written[0] == written[1]


def test_confusion_data_are_those_of_the_tables(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:2], gains=(2, 0))
    data = confusion.data(inputs, about)
    assert (data["gain"] == 0).all()
    found = tables.read(inputs["confusion"][0], "confusion")
    found = found[(found["probe"] == "mean") & (found["gain"] == 0)]
    cell = ["set", "class", "prediction"]
    own, drawn = (found[found["control"] == c].set_index(cell) for c in ("none", "random"))
    rows = data[data["model"] == "m"].set_index(cell)
    assert set(rows.index) == set(own.index) | set(drawn.index)
    for name in ("before", "clips", "lost", "gained", "mcnemar_p"):
        pd.testing.assert_series_equal(rows.loc[own.index, name], own[name])
    change = drawn["clips"] - drawn["before"]
    pd.testing.assert_series_equal(rows.loc[drawn.index, "random"], change, check_names=False)
    assert (rows["draws"] == 19).all()
    assert (data.groupby(["model", "set", "class"])["n"].nunique() == 1).all()
    for _, mine in data.groupby(["model", "set"]):
        np.testing.assert_allclose(mine["q_value"], q_values(mine["mcnemar_p"].to_numpy()))
        assert mine.groupby("class")["clips"].sum().eq(8).all()


def test_confusion_of_sets_for_several_classes_is_drawn_first_and_the_rest_told(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:2])
    data = confusion.data(inputs, about)
    assert confusion.shown(data, ["m", "sl"])[0] == ("m", "shared:ANG+HAP")
    assert not [one for _, one in confusion.shown(data, ["m", "sl"]) if one.startswith("class:")]
    single = data[data["set_kind"] == "class"]
    assert len(confusion.shown(single, ["m", "sl"])) == 12
    legible(confusion.draw(data, about), style.WIDE)
    title = confusion.draw(data, about).legends[0].get_title().get_text()
    assert "12 more neuron sets are in the CSV" in " ".join(title.split())


def test_confusion_without_random_sets_shows_three_panels(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:1], random=0)
    data = confusion.data(inputs, about)
    assert data["random"].isna().all()
    drawn = confusion.draw(data, about)
    assert len(drawn.axes) % 3 == 0
    assert not any("random" in panel.get_title() for panel in drawn.axes)
    legible(drawn, style.WIDE)
