import math

import numpy as np
import pandas as pd
import pytest
import yaml
from common import ROOT

from audio_neurons import tables
from audio_neurons.ablation.effects import mcnemar
from audio_neurons.report import published

FOLDER = ROOT / "resources" / "published"
M2D = {"name": "m2d", "title": "M2D", "kind": "ssl"}
MODELS = [M2D, {"name": "r", "title": "random", "kind": "random"}]
TASKS = [{"name": "cremad_emotion", "title": "Emotion"}]
EMOTIONS = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]
LISTS = {"cremad_emotion": {"paper": {"published": "cremad_anger_happiness", "models": ["m2d"]}}}
COVERAGE = pd.DataFrame(
    {
        "task": ["g", "g", "e", "e"],
        "model": ["m2d", "r"] * 2,
        "coverage": [1.0, 0.5, 1.0, 0.0],
        "coverage_low": [0.9, 0.4, 0.8, 0.0],
        "coverage_high": [1.0, 0.7, 1.0, 0.1],
        "neurons_per_class": [17.5, 0.5, 2.0, 0.0],
        "neurons_low": [15.0, 0.2, 1.0, 0.0],
        "neurons_high": [19.0, 0.8, 3.0, 0.1],
    }
)
PUBLISHED = """task,kind,quantity,published,standing,source
g,ssl,coverage,0.9,read,Table 1
g,ssl,neurons_per_class,20,read,Table 1
e,sl,coverage,0.5,read,Table 1
z,ssl,coverage,1,read,Table 1
"""


def test_published_numbers_stand_beside_ours(tmp_path):
    (tmp_path / "p.csv").write_text(PUBLISHED)
    models = [{**M2D, "note": "it stands in"}, MODELS[1]]
    table = published.published_table(COVERAGE, tmp_path / "p.csv", models, demo=False)
    assert table["model"].tolist() == ["m2d", "m2d", "", "m2d"]
    assert table["ours"].tolist()[:2] == [1.0, 17.5]
    assert table[["low", "high"]].to_numpy().tolist()[:2] == [[0.9, 1.0], [15.0, 19.0]]
    assert table["difference"].tolist()[:2] == pytest.approx([0.1, -2.5])
    assert table["ours"].isna().tolist() == [False, False, True, True]
    assert table["remark"].tolist() == [
        "it stands in", "it stands in", "this run has no model of kind sl", "this run has no such task"
    ]  # fmt: skip
    shown = published.published_table(COVERAGE, tmp_path / "p.csv", models, demo=True)
    assert shown[["ours", "low", "high", "difference"]].isna().all(axis=None)
    assert shown["remark"][0] == "the demo's recordings and models are not the paper's"


@pytest.mark.parametrize("name", ["coverage", "ablation"])
def test_the_shipped_published_numbers_are_of_tasks_of_the_full_reproduction(name):
    table = pd.read_csv(FOLDER / f"{name}.csv")
    tasks = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))["tasks"]
    assert set(table["task"]) <= set(tasks)
    assert table.notna().all(axis=None)
    if name == "coverage":
        assert set(table["quantity"]) == {"coverage", "neurons_per_class"}
    else:
        for stem, rows in table.groupby("list"):
            listed = pd.read_csv(FOLDER / "neurons" / f"{stem}.csv", comment="#")
            assert (rows["neurons"] == len(listed)).all()


def test_the_shipped_ablations_are_of_whole_clips_and_add_up():
    table = pd.read_csv(FOLDER / "ablation.csv")
    for column, delta in (("accuracy", "delta"), ("control_accuracy", "control_delta")):
        right, moved = table[column] * table["n"], table[delta] / 100 * table["n"]
        assert (right - right.round()).abs().max() < 0.08  # four digits, of up to 1551 clips
        assert (moved - moved.round()).abs().max() < 0.08  # two digits of per cent
        table[f"{column}_clips"], table[f"{delta}_clips"] = right.round(), moved.round()
    clips = [c for c in table if c.endswith("_clips")] + ["n"]
    of_classes = table[table["class"] != "*"].groupby("list")[clips].sum()
    overall = table[table["class"] == "*"].set_index("list")[clips]
    pd.testing.assert_frame_equal(of_classes, overall.loc[of_classes.index])
    before = table["accuracy_clips"] - table["delta_clips"]
    assert (before == table["control_accuracy_clips"] - table["control_delta_clips"]).all()
    assert before[table["class"] == "*"].tolist() == [1128, 248]
    assert mcnemar(4, 0) == 0.125  # of anger's 4 clips at best


def effects(sets, random=19, harm=-0.5):
    """An ``ablation`` table of two probes in which the targets lose more than under any random set."""
    rows = []
    for name, targets in sets.items():
        controls = [("none", 0), ("shifted", 0), *(("random", draw) for draw in range(random))]
        for (control, draw), probe, one in [
            (c, p, e) for c in controls for p in ("0", "6", "mean") for e in ["*", *EMOTIONS]
        ]:
            target, own = one in targets, control == "none"
            change = harm if target and own else 0.001 * draw
            rows.append(
                {
                    **{"condition": f"{name} {control} {draw}", "set": name, "kind": name.split(":")[0]},
                    **{"targets": "+".join(targets), "control": control, "draw": draw, "gain": 0.0},
                    **{"replacement": "zero", "neurons": 22, "first_layer": 0, "selection_split": "train"},
                    **{"probe": probe, "class": one, "target": target, "n": 264 if one == "FEA" else 265},
                    **{"accuracy_before": 0.8, "accuracy": 0.8 + change / 10, "delta": change / 10},
                    "mcnemar_p": {"0": 0.01, "6": 0.2, "mean": np.nan}[probe],
                    **{"groups": 12, "flip_p": 0.03 if probe == "mean" and own else np.nan},
                    **{"logprob_before": -1.0, "logprob_delta": change},
                    **{"low": change - 0.1, "high": change + 0.1, "specificity": change},
                    **{"excess": change, "excess_low": change - 0.05, "excess_high": change + 0.05},
                    **{
                        "auroc_before": 0.9,
                        "auroc": 0.9 + change / 5,
                        "auroc_delta": change / 5,
                        "auroc_p": 0.05,
                    },
                    **dict.fromkeys(("controls", "controls_limit"), random if own else 0),
                    **{"delta_p": 0.05, "specificity_p": 0.05},
                    "logprob_p": (0.05 if target else 0.9) if own and random else np.nan,
                }
            )
    return pd.DataFrame(rows)


SETS = {
    "list:paper": ("ANG", "HAP"),
    "shared:ANG+HAP": ("ANG", "HAP"),
    "class:DIS": ("DIS",),
}


def ablation(tmp_path, lists=LISTS, models=MODELS, tasks=TASKS, demo=False, model="m2d", sets=SETS):
    tables.write(tmp_path / "a.parquet", "ablation", effects(sets))
    cases = [{"task": "cremad_emotion", "model": model}]
    return published.ablation_table(
        [tmp_path / "a.parquet"], cases, lists, FOLDER / "ablation.csv", models, tasks, demo, 0.9
    )


def test_ablations_beside_their_controls(tmp_path):
    table = ablation(tmp_path).set_index(["set", "class"])
    row = table.loc[("class:DIS", "DIS")]
    assert row[["mcnemar_low", "mcnemar_high", "probes"]].tolist() == [0.01, 0.2, 2]
    assert row["control_logprob_delta"] == pytest.approx(np.mean(np.arange(19) * 0.001))
    assert row["control_logprob_high"] == pytest.approx(np.quantile(np.arange(19) * 0.001, 0.95))
    assert row["shifted_logprob_delta"] == 0
    assert row[["logprob_delta", "low", "high"]].tolist() == pytest.approx([-0.5, -0.6, -0.4])
    # Five target classes, all of them as low: 0.05 * 5 / 5.
    assert row[["logprob_q", "family"]].tolist() == [pytest.approx(0.05), "5 target classes of 3 sets"]
    assert math.isnan(table.loc[("class:DIS", "ANG"), "logprob_q"])
    assert len(table.loc["class:DIS"]) == 7
    assert (table.loc["class:DIS", "list"] == "").all()


def test_published_ablations_stand_beside_the_same_neurons_and_our_own(tmp_path):
    table = ablation(tmp_path).set_index(["set", "class"])
    row = table.loc[("list:paper", "ANG")]
    assert row[
        ["published_accuracy", "published_delta", "published_control_delta"]
    ].tolist() == pytest.approx([0.8264, -0.0151, -0.0038])
    assert row["difference"] == pytest.approx(-0.05 + 0.0151)
    assert row["remark"] == ""
    assert table.loc[("list:paper", "NEU"), "remark"] == "not as many clips"  # 227 theirs
    assert table.loc[("shared:ANG+HAP", "ANG"), "remark"] == published.OURS
    assert table.loc[("shared:ANG+HAP", "ANG"), "published_delta"] == pytest.approx(-0.0151)
    left = table[table["model"] == ""]
    assert (left["task"] == "gtzan").all()
    assert (left["remark"] == published.NO_TASK).all()
    assert left["delta"].isna().all()
    assert len(left) == 11


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"demo": True}, published.DEMO),
        ({"lists": {}}, "this run has no model that the list is of"),
        ({"model": "r"}, "this run has not ablated the list"),
        ({"sets": {"class:DIS": ("DIS",)}}, "this run has not ablated the list"),
    ],
)
def test_no_published_ablation_beside_what_it_is_not_of(tmp_path, change, remark):
    table = ablation(tmp_path, **change)
    ours = table[table["model"] != ""]
    assert ours["published_delta"].isna().all()
    assert ours["difference"].isna().all()
    assert ours["delta"].notna().all()
    left = table[(table["model"] == "") & (table["task"] == "cremad_emotion")]
    assert left["remark"].unique().tolist() == [remark]
    assert left["published_delta"].tolist() == pytest.approx(
        [-0.0151, 0.0113, -0.0038, -0.0038, 0, 0.0113, 0]
    )


def test_without_ablations_the_published_ones_remain():
    table = published.ablation_table([], [], {}, FOLDER / "ablation.csv", MODELS, TASKS, False, 0.95)
    assert len(table) == 7 + 11
    assert table["delta"].isna().all()
    assert (table["remark"] != "").all()


def neurons(path, shared, layers=12, width=3072):
    """A ``neurons`` table in which ANG and HAP share these neurons, and SAD has the first of them too."""
    index = pd.MultiIndex.from_product([range(layers), range(width)], names=["layer", "neuron"])
    frames = []
    for name in ("ANG", "HAP", "SAD"):
        mine = shared[:1] if name == "SAD" else shared
        frame = index.to_frame(index=False).assign(response=0.1, entropy=1.0, selected=False, eligible=True)
        frames.append(frame.assign(**{"class": name, "assigned": index.isin(mine)}))
    tables.write(path, "neurons", pd.concat(frames))


def overlap(tmp_path, lists=LISTS, models=MODELS, tasks=TASKS, demo=False):
    cases = [{"task": "cremad_emotion", "model": "m2d"}]
    found = published.overlap_table([tmp_path / "n.parquet"], cases, lists, FOLDER, models, tasks, demo)
    return found.set_index(["list", "set"]).loc["cremad_anger_happiness"]


def test_overlap_with_a_published_list(tmp_path):
    listed = pd.read_csv(FOLDER / "neurons" / "cremad_anger_happiness.csv", comment="#")
    theirs = list(listed.itertuples(index=False, name=None))
    others = [(1, unit) for unit in range(40)]
    neurons(tmp_path / "n.parquet", theirs[:5] + others)
    table = overlap(tmp_path)
    assert table.loc["shared", ["theirs", "ours", "common", "pool"]].tolist() == [22, 45, 5, 36864]
    assert table.loc["exact", ["ours", "common"]].tolist() == [44, 4]
    assert table.loc["shared", "unmatched"] == pytest.approx(22 * 45 / 36864)
    # All neurons respond alike, so only layers and places within them are matched.
    assert 0 < table.loc["shared", "expected"] < 2
    assert table.loc["shared", "p_value"] < 0.01
    assert table.loc["shared", "ratio"] == pytest.approx(5 / 62)
    assert (table["q_value"] >= table["p_value"]).all()
    assert (table["remark"] == "").all()


def test_lists_of_the_neurons_that_are_most_active_overlap_no_more_than_matched_sets(tmp_path):
    """Both lists are random choices from the most active neurons of their layers."""
    listed = pd.read_csv(FOLDER / "neurons" / "cremad_anger_happiness.csv", comment="#")
    theirs = list(listed.itertuples(index=False, name=None))
    rng = np.random.default_rng(0)
    alike = [(layer, int(unit)) for layer in range(12) for unit in rng.choice(3072, 130, replace=False)]
    ours = [one for one in sorted({*alike, *theirs}) if rng.random() < 0.25]
    neurons(tmp_path / "n.parquet", ours)
    table = tables.read(tmp_path / "n.parquet", "neurons")
    places = pd.MultiIndex.from_frame(table[["layer", "neuron"]])
    table["response"] = np.where(places.isin([*alike, *theirs]), 0.5, 0.1)
    tables.write(tmp_path / "n.parquet", "neurons", table)
    found = overlap(tmp_path).loc["shared"]
    assert found["common"] > 4 * found["unmatched"]
    assert found["p_value"] > 0.05


def test_no_overlap_where_neurons_do_not_mean_the_same(tmp_path):
    neurons(tmp_path / "n.parquet", [(0, 1)], layers=2, width=5)
    for change, remark in (
        ({}, "the list is of 12 layers of 3072 neurons, not 2 of 5"),
        ({"demo": True}, published.DEMO),
        ({"lists": {}}, "the configuration does not say that the list is of this model"),
        ({"tasks": []}, published.NO_TASK),
        ({"models": MODELS[1:]}, "this run has no model of kind ssl"),
    ):
        table = overlap(tmp_path, **change)
        assert table["remark"].unique().tolist() == [remark]
        assert table[["ours", "common", "expected", "p_value"]].isna().all(axis=None)
        assert table["theirs"].tolist() == [22, 22]
