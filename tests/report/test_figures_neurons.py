"""Figures of the layers and specificity of chosen neurons, from the selection and its resampling."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import simulated
from test_figures import LONG, MODELS, legible

from audio_neurons import tables
from audio_neurons.inference.inference import Task, infer, stability_table
from audio_neurons.inference.resampling import totals
from audio_neurons.neurons.selection import classes_table, neurons_table, probabilities
from audio_neurons.report import figures
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures import entropy, layers
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

RULE = rule_of("aape", {"top_share": 0.1})
ROLES = ("neurons", "stability", "classes", "networks")


QUICK = Inference(draws=9, bootstrap=9, halves=1, splits=1, replications=1)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def world(folder, tasks=2, models=MODELS, depth=4, width=50, classes=4):
    """Real selections of simulated counts, resampled a few times; fewer are planted in each next model."""
    inputs = {role: [] for role in ROLES}
    for model in models:
        inputs["networks"].append(folder / f"networks-{model['name']}.parquet")
        table = {"layer": range(depth), "block": range(depth), "ffn": 0, "network": "fc2", "neurons": width}
        tables.write(inputs["networks"][-1], "networks", pd.DataFrame(table))
    index = np.stack(np.divmod(np.arange(depth * width), width), axis=1)
    for t in range(tasks):
        for m, model in enumerate(models):
            units, _ = simulated.units(
                10 * t + m,
                groups=24,
                classes=classes,
                neurons=depth * width,
                planted=max(0, 4 - m),
                spread=80,
            )
            task = Task.of(units, RULE)
            *_, found = infer(task, QUICK)
            labels = task.units.labels[None]
            active, tokens = (one[0] for one in totals(task.units, labels, np.ones(labels.shape)))
            frame = pd.DataFrame({"class": task.units.classes, "clips": 6, "tokens": tokens, "padding": 0.0})
            written = {
                "neurons": neurons_table(frame, index, probabilities(active, tokens), task.chosen),
                "stability": stability_table(task.units.classes, index, found),
                "classes": classes_table(frame, task.chosen),
            }
            for role, table in written.items():
                inputs[role].append(folder / f"{role}-{t}-{model['name']}.parquet")
                tables.write(inputs[role][-1], role, table)
    titles = [LONG[:20] if t == 1 else f"Task number {t}" for t in range(tasks)]
    named = [{"name": f"t{t}", "title": title} for t, title in enumerate(titles)]
    return inputs, {"models": models, "tasks": named, "level": 0.95, "alpha": 0.05}


@pytest.mark.parametrize("tasks", [1, 2, 5, 11])
@pytest.mark.parametrize("figure", [layers, entropy])
def test_everything_is_legible(tmp_path, figure, tasks):
    inputs, about = world(tmp_path, tasks, MODELS if tasks > 5 else MODELS[:3], width=20)
    drawn = figure.draw(figure.data(inputs, about), about)
    legible(drawn, style.COLUMN if tasks < 3 else style.WIDE)


def test_layers_are_those_of_the_tables(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:2])
    data = layers.data(inputs, about)
    assert len(data) == 2 * 2 * 4
    at = 0
    for task in about["tasks"]:
        for model in about["models"]:
            own = data[(data["task"] == task["name"]) & (data["model"] == model["name"])].set_index("layer")
            table = tables.read(inputs["neurons"][at], "neurons")
            chosen = table[table["selected"]].drop_duplicates(["layer", "neuron"]).groupby("layer").size()
            assert own["chosen"].tolist() == chosen.reindex(range(4), fill_value=0).tolist()
            np.testing.assert_allclose(own["share"], own["chosen"] / 20)
            drawn = tables.read(inputs["stability"][at], "stability")
            drawn = drawn[drawn["class"] == "a"].groupby("layer")["selected"].sum()
            np.testing.assert_allclose(own["resampled"], drawn / drawn.sum())
            assert own["chance"].eq(0.25).all()
            at += 1
    figure = layers.draw(data, about)
    lines = {tuple(line.get_ydata()) for line in figure.axes[1].lines}
    first = data[(data["task"] == "t1") & (data["model"] == "m")]
    assert tuple(first["share"]) in lines
    assert tuple(first["resampled"]) in lines
    assert figure.axes[0].get_ylim()[1] > data["share"].max()


def test_layers_of_blocks_with_two_networks_are_told(tmp_path):
    inputs, about = world(tmp_path, models=MODELS[:2])
    data = layers.data(inputs, about)
    assert data["block"].equals(data["layer"])
    assert layers.draw(data, about)._supxlabel.get_text() == "layer (the first is 0)"
    table = tables.read(inputs["networks"][1], "networks").assign(block=[0, 0, 1, 1], ffn=[0, 1, 0, 1])
    tables.write(inputs["networks"][1], "networks", table)
    data = layers.data(inputs, about)
    own = data[(data["model"] == "s") & (data["task"] == "t1")]
    assert list(zip(own["layer"], own["block"], own["ffn"], strict=True)) == [
        (0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1),
    ]  # fmt: skip
    drawn = layers.draw(data, about)
    title = about["models"][1]["title"]
    assert drawn._supxlabel.get_text() == f"layer (the first is 0; {title}: 2 per block)"
    legible(drawn, style.COLUMN)


def test_entropies_are_those_of_the_tables(tmp_path):
    inputs, about = world(tmp_path, tasks=1, models=MODELS[:1])
    data = entropy.data(inputs, about)
    neurons = tables.read(inputs["neurons"][0], "neurons").query("`class` == 'a'")
    null = tables.read(inputs["stability"][0], "stability").query("`class` == 'a'")["null_entropy"]
    expected = {
        "active": neurons["entropy"],
        "chosen": neurons.loc[neurons["selected"], "entropy"],
        "null": null,
    }
    for of, values in expected.items():
        own, lacking = data[data["of"] == of], 1 - values / np.log(4)
        assert own["share"].sum() == pytest.approx(1)
        assert (own["neurons"] == len(values)).all()
        assert own["median"].iloc[0] == pytest.approx(lacking.median())
        for row in own.itertuples():
            inside = ((lacking >= row.low) & (lacking < row.high)).mean()
            assert row.share == pytest.approx(inside)
    # What is planted responds less evenly than chance would have it.
    medians = data.groupby("of")["median"].first()
    assert medians["chosen"] > medians["active"]
    assert medians["chosen"] > 10 * medians["null"]


def test_a_neuron_that_is_never_active_has_no_entropy_and_one_that_is_even_has_the_most():
    found = entropy._histogram(np.log(4) * np.array([1, 1 + 1e-15, 0, 0.5]), 4)
    assert found["share"].tolist() == [0.5, 0.25, 0.25]
    assert found["low"].iloc[0] == entropy.LEAST
    assert found["high"].iloc[-1] == 1
    assert entropy._histogram(np.zeros(3), 1).empty
    assert entropy._histogram(np.zeros(0), 4).empty


@pytest.mark.parametrize("stability", [None, []])
def test_a_choice_that_is_not_resampled_is_drawn(tmp_path, stability):
    inputs, about = world(tmp_path, models=MODELS[:2])
    inputs["stability"] = stability
    data = layers.data(inputs, about)
    assert data["resampled"].isna().all()
    assert data["share"].notna().all()
    legible(layers.draw(data, about), style.COLUMN)
    data = entropy.data(inputs, about)
    assert set(data["of"]) == {"active", "chosen"}
    legible(entropy.draw(data, about), style.COLUMN)


def test_models_may_differ_in_depth(tmp_path):
    (tmp_path / "deep").mkdir()
    one, about = world(tmp_path, 1, MODELS[:1], depth=4)
    two, _ = world(tmp_path / "deep", 1, MODELS[1:2], depth=12)
    about["models"] = MODELS[:2]
    data = layers.data({role: one[role] + two[role] for role in ROLES}, about)
    assert data.groupby("model")["layer"].max().to_dict() == {"m": 3, "s": 11}
    assert data.groupby("model")["chance"].first().to_dict() == pytest.approx({"m": 1 / 4, "s": 1 / 12})


@pytest.mark.parametrize("figure", ["layers", "entropy"])
def test_the_same_tables_give_the_same_bytes(tmp_path, figure):
    inputs, about = world(tmp_path, models=MODELS[:2], width=20)
    written = []
    for i in range(2):
        out = {kind: tmp_path / f"{i}.{kind}" for kind in ("pdf", "png", "data", "csv")}
        figures.make(figure, inputs, about, out)
        written.append([path.read_bytes() for path in out.values()])
    assert written[0] == written[1]
