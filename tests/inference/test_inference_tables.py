"""Tables of inference, from the tables that they are computed of."""

import numpy as np
import pandas as pd
import pytest
import simulated

from audio_neurons import tables
from audio_neurons.activations import statistics
from audio_neurons.inference import inference
from audio_neurons.inference.inference import stability_table
from audio_neurons.inference.sharing import infer_sharing
from audio_neurons.inference.significance import interval
from audio_neurons.neurons import selection, sharing
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

QUICK = Inference(draws=39, bootstrap=39, halves=10)


def assert_intervals_of_draws(inference_table, draws_table):
    """Check that the intervals of the first table are the percentiles of the second."""
    rows = tables.read(inference_table, "inference").set_index("statistic")
    for name, draws in tables.read(draws_table, "draws").groupby("statistic"):
        assert draws["draw"].tolist() == list(range(QUICK.bootstrap))
        low, high = interval(draws["value"].to_numpy()[:, None], QUICK.level)
        if not np.isnan(rows.loc[name, "value"]):
            assert rows.loc[name, ["low", "high"]].tolist() == pytest.approx([low[0], high[0]])


@pytest.fixture
def folder(tmp_path):
    """Statistics and units of one dataset with two labels, and the neurons selected for each."""
    units, _ = simulated.units(4, groups=18, classes=3, neurons=80, planted=4)
    cells = pd.DataFrame({"split": "train", "fold": 0, "kind": [units.classes[c] for c in units.labels]})
    cells["place"] = np.where(np.arange(18) % 2, "in", "out")
    rows = cells.assign(group=[f"g{n:02d}" for n in units.groups], clips=2, tokens=units.tokens)
    # Different clips in another split, which must not matter.
    active = np.concatenate([units.active, units.active[:, ::-1]])
    rows = pd.concat([rows, rows.assign(split="test", kind=rows["kind"].to_numpy()[::-1])])
    tables.write(tmp_path / "units.parquet", "units", rows.assign(active=list(active)))
    cells = rows.drop(columns="group").assign(cell=range(36), window=rows["tokens"], padded=0)
    tables.write(tmp_path / "cells.parquet", "cells", cells)
    statistics.write_counts(tmp_path / "counts.parquet", active.astype(np.int64), 2)
    for label in ("kind", "place"):
        out = [tmp_path / f"{what}-{label}.parquet" for what in ("neurons", "classes")]
        selection.select_task(tmp_path, label, ["train"], rule_of("aape", {"top_share": 0.1}), *out)
    return tmp_path


def run_task(folder, block=32, threads=1, rule=None):
    out = [folder / f"{what}.parquet" for what in ("inference", "stability", "draws")]
    inference.infer_task(
        folder / "units.parquet",
        folder / "neurons-kind.parquet",
        "kind",
        ["train"],
        rule or rule_of("aape", {"top_share": 0.1}),
        QUICK.changed(block=block),
        threads,
        *out,
    )
    return [path.read_bytes() for path in out]


def test_the_same_seed_gives_the_same_bytes_whatever_the_block(folder):
    assert run_task(folder) == run_task(folder, block=1) == run_task(folder, block=5, threads=2)


def test_tables_of_a_task(folder):
    run_task(folder)
    assert_intervals_of_draws(folder / "inference.parquet", folder / "draws.parquet")
    rows = tables.read(folder / "inference.parquet", "inference").set_index("statistic")
    classes = tables.read(folder / "classes-kind.parquet", "classes")
    assert rows.loc["coverage", "value"] == selection.coverage(classes)
    assert rows.loc["neurons_per_class", "value"] == selection.neurons_per_class(classes)
    assert rows.loc["neurons", "value"].tolist() == classes["neurons"].tolist()
    rows = rows[rows["family"] != ""]
    assert (rows["null_low"] <= rows["null_mean"]).all()
    assert (rows["null_mean"] <= rows["null_high"]).all()
    neurons = tables.read(folder / "neurons-kind.parquet", "neurons")
    stability = tables.read(folder / "stability.parquet", "stability")
    for column in ("layer", "neuron", "class"):
        assert stability[column].tolist() == neurons[column].tolist()
    assert stability["assigned"].between(0, 1).all()
    assert (stability["assigned"] <= stability["selected"]).all()


@pytest.mark.parametrize("labels", [["kind"], ["kind", "place"]])
def test_table_of_a_comparison(folder, labels):
    rule = rule_of("aape", {"top_share": 0.1})
    neurons = [folder / f"neurons-{label}.parquet" for label in labels]
    units = [folder / "units.parquet"] * len(labels)
    rules = [rule] * len(labels)
    out, draws, pairs = (folder / f"{name}.parquet" for name in ("out", "draws", "pairs"))
    infer_sharing(units, neurons, labels, ["train"], rules, None, QUICK, 1, out, draws, pairs)
    assert_intervals_of_draws(out, draws)
    found = tables.read(out, "inference")
    rows = found[found["statistic"] == "ratio"].set_index(["class_a", "class_b"])
    sharing.compare_tasks(neurons, None, folder / "sharing.parquet")
    for row in tables.read(folder / "sharing.parquet", "sharing").itertuples():
        if (row.class_a, row.class_b) in rows.index:
            assert rows.loc[(row.class_a, row.class_b), "value"] == pytest.approx(row.ratio, nan_ok=True)
    assert (rows["statistic"] == "ratio").sum() == (3 if len(labels) == 1 else 6)
    of_pairs = tables.read(pairs, "pair_draws").set_index(["class_a", "class_b"])
    pd.testing.assert_series_equal(of_pairs["value"], rows["value"])
    # Two labels of the same clips are drawn together.
    assert ("labels_association" in set(found["statistic"])) == (len(labels) == 2)


def test_two_datasets_are_drawn_by_themselves(folder):
    paths = [folder / "units.parquet", folder / "other.parquet"]
    paths[1].write_bytes(paths[0].read_bytes())
    neurons, rules = [folder / "neurons-kind.parquet"] * 2, [rule_of("aape", {"top_share": 0.1})] * 2
    few = QUICK.changed(draws=3, bootstrap=2, halves=1)
    out = folder / "out.parquet", folder / "draws.parquet"
    infer_sharing(paths, neurons, ["kind", "kind"], ["train"], rules, None, few, 1, *out)
    found = tables.read(out[0], "inference").set_index("statistic")["value"]
    assert found["common_groups"] == 18
    assert "labels_association" not in found.index


def test_pairs_of_a_comparison_are_those_that_are_named(folder):
    neurons = [folder / f"neurons-{label}.parquet" for label in ("kind", "place")]
    units, rules = [folder / "units.parquet"] * 2, [rule_of("aape", {"top_share": 0.1})] * 2
    out, pairs = [folder / "out.parquet", folder / "draws.parquet"], [["b", "in"], ["a", "out"]]
    infer_sharing(units, neurons, ["kind", "place"], ["train"], rules, pairs, QUICK, 1, *out)
    rows = tables.read(out[0], "inference").query("statistic == 'ratio'")
    assert list(zip(rows["class_a"], rows["class_b"], strict=True)) == [
        ("b", "in"), ("b", "out"), ("a", "in"), ("a", "out"),
    ]  # fmt: skip
    matched = rows.iloc[[0, 3]]["value"].fillna(0).mean()
    means = tables.read(out[0], "inference").set_index("statistic")["value"]
    assert means["mean_matched"] == pytest.approx(matched)


def test_neurons_that_the_units_do_not_lead_to_are_refused(folder):
    with pytest.raises(tables.TableError, match=r"neurons-kind.*: not the selection from .*units\.parquet"):
        run_task(folder, rule=rule_of("aape", {"top_share": 0.5}))
    units, neurons = [folder / "units.parquet"], [folder / "neurons-kind.parquet"]
    rules, out = [rule_of("aape", {"top_share": 0.5})], (folder / "out.parquet", folder / "draws.parquet")
    with pytest.raises(tables.TableError, match=r"neurons-kind.*: not the selection from .*units\.parquet"):
        infer_sharing(units, neurons, ["kind"], ["train"], rules, None, QUICK, 1, *out)


def change_neurons(folder, change):
    path = folder / "neurons-kind.parquet"
    tables.write(path, "neurons", change(tables.read(path, "neurons")))


def test_neurons_of_another_last_class_are_refused(folder):
    def other(neurons):
        last = neurons["class"] == "c"
        return neurons.assign(assigned=np.where(last, ~neurons["assigned"], neurons["assigned"]))

    change_neurons(folder, other)
    with pytest.raises(tables.TableError, match="not the selection from"):
        run_task(folder)


def test_neurons_lack_no_class_and_may_have_classes_without_clips(folder):
    change_neurons(
        folder, lambda rows: pd.concat([rows, rows[rows["class"] == "a"].assign(**{"class": "z"})])
    )
    run_task(folder)
    assert set(tables.read(folder / "stability.parquet", "stability")["class"]) == {"a", "b", "c"}
    change_neurons(folder, lambda rows: rows[rows["class"] != "b"])
    with pytest.raises(tables.TableError, match="not the selection from"):
        run_task(folder)


def test_stability_by_hand():
    neurons = np.array([[0, 0], [0, 1], [1, 0]])
    found = {"p_value": np.array([0.1, 0.2, 0.3]), "assigned": np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]])}
    assert stability_table(["x", "y"], neurons, found).to_dict("list") == {
        "layer": [0, 0, 1] * 2,
        "neuron": [0, 1, 0] * 2,
        "class": ["x"] * 3 + ["y"] * 3,
        "p_value": [0.1, 0.2, 0.3] * 2,
        "assigned": [0, 0.5, 1, 1, 0, 0],
    }
