import math

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from audio_neurons import summary, tables
from audio_neurons.sharing import compare

MODELS = [{"name": "m", "title": "M2D", "kind": "ssl"}, {"name": "r", "title": "random", "kind": "random"}]
TASKS = [{"name": "g", "title": "Genre"}, {"name": "e", "title": "Emotion"}]
COMPARISONS = [
    {"name": "g", "title": "Genre", "tasks": ["Genre"]},
    {"name": "x", "title": "Across", "tasks": ["Genre", "Emotion"]},
]


def neurons(*units):
    return frozenset((0, unit) for unit in units)


@pytest.fixture
def coverage(tmp_path):
    found = [[30, 5], [1, 0], [2, 2], [0, 0]]  # genre m, genre r, emotion m, emotion r
    paths = []
    for i, counts in enumerate(found):
        paths.append(tmp_path / f"classes{i}.parquet")
        frame = pd.DataFrame({"class": ["a", "b", "none"], "clips": [3, 4, 0], "tokens": [30, 40, 0]})
        frame["neurons"] = [*counts, 0]
        tables.write(paths[-1], "classes", frame.assign(covered=frame["neurons"] > 0))
    return summary.coverage_table(paths, MODELS, TASKS)


@pytest.fixture
def sharing(tmp_path):
    first = {"a": neurons(1, 2), "b": neurons(2, 3), "c": neurons()}
    empty = {"a": neurons(), "b": neurons(), "c": neurons()}
    found = [
        compare(first, first, 4),
        compare(empty, empty, 4),
        compare(first, {"a": neurons(1, 2), "b": neurons(9)}, 20),
        compare(empty, {"a": neurons(), "z": neurons(1)}, 20),
    ]
    paths = [tmp_path / f"sharing{i}.parquet" for i in range(4)]
    for path, table in zip(paths, found, strict=True):
        tables.write(path, "sharing", table)
    return summary.sharing_table(paths, MODELS, COMPARISONS)


def test_coverage_of_every_task_and_model(coverage):
    assert coverage[
        ["task", "model", "classes", "covered", "coverage", "neurons_per_class"]
    ].to_numpy().tolist() == [
        ["g", "m", 2, 2, 1.0, 17.5],
        ["g", "r", 2, 1, 0.5, 0.5],
        ["e", "m", 2, 2, 1.0, 2.0],
        ["e", "r", 2, 0, 0.0, 0.0],
    ]
    assert coverage["kind"].tolist() == ["ssl", "random"] * 2


def test_sharing_of_every_comparison_and_model(sharing):
    assert sharing[["comparison", "model", "tasks"]].to_numpy().tolist() == [
        ["g", "m", "Genre"],
        ["g", "r", "Genre"],
        ["x", "m", "Genre x Emotion"],
        ["x", "r", "Genre x Emotion"],
    ]
    within = sharing.iloc[0]
    assert within["other"] == pytest.approx((1 / 3 + 0 + 0) / 3)
    # Of 6 pairs of 4, one shares both, four share one (1/3), one none.
    assert within["other_expected"] == pytest.approx((1 / 6 + 4 / 6 / 3) / 3)
    assert math.isnan(within["same"])
    across = sharing.iloc[2]
    assert across["same"] == pytest.approx((1 + 0) / 2)
    # Two of 20 and two: 1 of 190 share both, 36 share one; two of 20 and one: 1 of 10 shares it.
    assert across["same_expected"] == pytest.approx(((1 + 36 / 3) / 190 + 0.1 / 2) / 2)
    assert across["other"] == pytest.approx((0 + 1 / 3 + 0 + 0) / 4)
    assert math.isnan(sharing.iloc[1]["other"])


PUBLISHED = """task,kind,quantity,published,standing,source
g,ssl,coverage,0.9,read,Table 1
g,ssl,neurons_per_class,20,read,Table 1
e,sl,coverage,0.5,read,Table 1
z,ssl,coverage,1,read,Table 1
"""


def test_published_numbers_stand_beside_ours(coverage, tmp_path):
    (tmp_path / "p.csv").write_text(PUBLISHED)
    models = [{**MODELS[0], "note": "it stands in"}, MODELS[1]]
    table = summary.published_table(coverage, tmp_path / "p.csv", models, demo=False)
    assert table["model"].tolist() == ["m", "m", "", "m"]
    assert table["ours"].tolist()[:2] == [1.0, 17.5]
    assert table["difference"].tolist()[:2] == pytest.approx([0.1, -2.5])
    assert table["ours"].isna().tolist() == [False, False, True, True]
    assert table["remark"].tolist() == [
        "it stands in", "it stands in", "this run has no model of kind sl", "this run has no such task"
    ]  # fmt: skip
    shown = summary.published_table(coverage, tmp_path / "p.csv", models, demo=True)
    assert shown["ours"].isna().all()
    assert shown["remark"][0] == "the demo's recordings and models are not the paper's"


def test_the_shipped_published_numbers_are_of_tasks_of_the_full_reproduction():
    table = pd.read_csv(ROOT / "resources" / "published" / "coverage.csv")
    tasks = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))["tasks"]
    assert set(table["task"]) <= set(tasks)
    assert set(table["quantity"]) == {"coverage", "neurons_per_class"}
    assert table.notna().all(axis=None)


def test_what_is_to_be_said_of_models_is_said(coverage, sharing, tmp_path):
    notes = ["AST (as SL): it stands in for a model that is not public. " * 2, "M2D: a note"]
    summary.write_text(coverage, sharing, tmp_path / "s.txt", demo=False, notes=notes)
    *_, first, second, _, third = (tmp_path / "s.txt").read_text().splitlines()
    assert first.startswith("AST (as SL): it stands in")
    assert len(first) <= 100
    assert second.endswith("not public.")
    assert third == "M2D: a note"


def test_the_text_says_what_the_tables_hold(coverage, sharing, tmp_path):
    summary.write_text(coverage, sharing, tmp_path / "s.txt", demo=False)
    text = (tmp_path / "s.txt").read_text()
    assert text == (
        "Class coverage (class-specific neurons per class)\n"
        "                                 M2D            random\n"
        "  Genre                  1.00 (17.5)        0.50 (0.5)\n"
        "  Emotion                 1.00 (2.0)        0.00 (0.0)\n"
        "\n"
        "Common-neuron ratio, mean over pairs of classes (by chance)\n"
        "                                 M2D            random\n"
        "  Genre, other         0.111 (0.130)                 -\n"
        "  Across, same         0.500 (0.059)                 -\n"
        "  Across, other        0.083 (0.030)     0.000 (0.000)\n"
    )


def test_only_the_demo_warns(coverage, sharing, tmp_path):
    for demo in (True, False):
        summary.write_text(coverage, sharing, tmp_path / "s.txt", demo=demo)
        text = (tmp_path / "s.txt").read_text()
        assert ("no evidence for or against the paper" in text) == demo
        assert text.endswith("\n")


def test_without_comparisons(coverage, tmp_path):
    table = summary.sharing_table([], MODELS, [])
    summary.write_csv(table, tmp_path / "s.csv")
    summary.write_text(coverage, table, tmp_path / "s.txt", demo=False)
    text = (tmp_path / "s.txt").read_text()
    assert "Genre" in text
    assert "Common-neuron" not in text
    assert pd.read_csv(tmp_path / "s.csv").columns.tolist() == table.columns.tolist()


def test_too_few_tables_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        summary.coverage_table([], MODELS, TASKS)


def test_csv_has_six_digits_and_reads_back(sharing, tmp_path):
    summary.write_csv(sharing, tmp_path / "s.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "s.csv"), sharing, check_dtype=False, rtol=1e-5, check_exact=False
    )
    assert ",0.111111," in (tmp_path / "s.csv").read_text()
