import math

import pandas as pd
import pytest

from audio_neurons import tables
from audio_neurons.neurons.sharing import compare
from audio_neurons.report import summary

MODELS = [{"name": "m", "title": "M2D", "kind": "ssl"}, {"name": "r", "title": "random", "kind": "random"}]
TASKS = [{"name": "g", "title": "Genre"}, {"name": "e", "title": "Emotion"}]
COMPARISONS = [
    {"name": "g", "title": "Genre", "tasks": ["Genre"]},
    {"name": "x", "title": "Across", "tasks": ["Genre", "Emotion"]},
]


def neurons(*units):
    return frozenset((0, unit) for unit in units)


def inference_rows(statistics, values, p):
    """An ``inference`` table whose intervals are 0.1 about the value, and whose null is 0.5 above."""
    rows = pd.DataFrame({"statistic": statistics, "value": values})
    rows = rows.assign(class_a="", class_b="", groups=4, alternative="greater", family="alone")
    rows = rows.assign(null_mean=rows["value"] + 0.5, low=rows["value"] - 0.1, high=rows["value"] + 0.1)
    rows = rows.assign(
        null_low=0.0, null_high=1.0, p_value=p, p_greater=p, p_less=1 - p, q_value=p, repeatability=0.7
    )
    return rows


@pytest.fixture
def coverage(tmp_path):
    found = [[30, 5], [1, 0], [2, 2], [0, 0]]  # genre m, genre r, emotion m, emotion r
    paths = []
    for i, counts in enumerate(found):
        paths.append(tmp_path / f"classes{i}.parquet")
        frame = pd.DataFrame({"class": ["a", "b", "none"], "clips": [3, 4, 0], "tokens": [30, 40, 0]})
        frame["padding"] = [0.1, 0.4, float("nan")]
        frame["neurons"] = [*counts, 0]
        tables.write(paths[-1], "classes", frame.assign(covered=frame["neurons"] > 0))
    # What permuted labels and resampled groups gave: in the order of the tables.
    p = [0.01, 0.9, 0.04, 1.0]
    inferred = [tmp_path / f"inference{i}.parquet" for i in range(4)]
    for i, path in enumerate(inferred):
        value = [[1.0, 17.5], [0.5, 0.5], [1.0, 2.0], [0.0, 0.0]][i]
        rows = inference_rows(
            ["coverage", "neurons_per_class", "neurons", "neurons"], [*value, 1.0, 1.0], p[i]
        )
        tables.write(path, "inference", rows.assign(groups=[9, 9, 8, 1 + i]))
    return summary.coverage_table(paths, inferred, MODELS, TASKS)


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
    table = summary.sharing_table(paths, [], MODELS, COMPARISONS)
    return table.assign(same_null=table["same_expected"] + 0.1, other_null=table["other_expected"] + 0.1)


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


def test_coverage_has_its_interval_its_null_and_how_many_were_tested(coverage):
    first = coverage.iloc[0]
    assert first[["coverage_low", "coverage_high", "coverage_null"]].tolist() == [0.9, 1.1, 1.5]
    assert first[["neurons_low", "neurons_high", "neurons_null"]].tolist() == [17.4, 17.6, 18.0]
    assert coverage["coverage_p"].tolist() == [0.01, 0.9, 0.04, 1.0]
    # Of each model two tasks: 0.01 * 2, then 0.04; 0.9 * 2 / 1 is above 1.
    assert coverage["coverage_q"].tolist() == pytest.approx([0.02, 1.0, 0.04, 1.0])
    assert coverage["auroc"].isna().all()  # of which there are no rows here
    assert coverage["groups"].tolist() == [9] * 4
    assert coverage["fewest_groups"].tolist() == [1, 2, 3, 4]


def test_without_inference_nothing_is_made_up(coverage, tmp_path):
    paths = [tmp_path / f"classes{i}.parquet" for i in range(4)]
    bare = summary.coverage_table(paths, [], MODELS, TASKS)
    assert bare.columns.tolist() == coverage.columns.tolist()
    assert bare["neurons_per_class"].tolist() == coverage["neurons_per_class"].tolist()
    ends = [
        "coverage_low",
        "coverage_high",
        "coverage_null",
        "coverage_p",
        "coverage_q",
        "neurons_q",
        "groups",
    ]
    assert bare[ends].isna().all(axis=None)


@pytest.fixture
def compared_with_inference(tmp_path):
    """One task by itself and two tasks, with the classes 9, 10 and one without clips; one model."""
    first = {"9": neurons(1, 2), "10": neurons(2, 3), "none": neurons()}
    second = {"9": neurons(1, 2), "10": neurons(5)}
    found = [compare(first, first, 4), compare(first, second, 20)]
    within = inference_rows(["ratio", "mean_other"], [1 / 3, 1 / 3], 0.02)
    within.loc[0, ["class_a", "class_b"]] = ["9", "10"]
    across = inference_rows(
        ["ratio"] * 4 + ["mean_matched", "mean_other", "contrast"], [1, 0, 1 / 3, 0, 0.5, 1 / 6, 1 / 3], 0.04
    )
    across.loc[:3, "class_a"], across.loc[:3, "class_b"] = ["9", "9", "10", "10"], ["9", "10", "9", "10"]
    paths = [[tmp_path / f"{what}{i}.parquet" for i in range(2)] for what in ("sharing", "inferred")]
    for i, (table, rows) in enumerate(zip(found, (within, across), strict=True)):
        tables.write(paths[0][i], "sharing", table)
        tables.write(paths[1][i], "inference", rows)
    return *paths, MODELS[:1], COMPARISONS


def test_means_are_of_the_pairs_that_their_intervals_are_of(compared_with_inference):
    table = summary.sharing_table(*compared_with_inference).set_index("comparison")
    # 9 and 10, in this order: neither once more nor with the class that has no clips.
    assert table.loc["g", "other"] == pytest.approx(1 / 3)
    assert table.loc["g", ["other_low", "other_high"]].tolist() == pytest.approx([1 / 3 - 0.1, 1 / 3 + 0.1])
    assert table.loc["g", ["same", "contrast", "same_low", "contrast_p"]].isna().all()
    assert table.loc["x", ["same", "other", "contrast"]].tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 3])
    assert table.loc["x", "contrast_p"] == 0.04
    assert table["other_q"].tolist() == pytest.approx([0.04, 0.04])  # 0.02 * 2, and 0.04


def test_every_pair_with_its_chance_its_null_and_its_repeatability(compared_with_inference):
    table = summary.pairs_table(*compared_with_inference)
    assert table[["comparison", "class_a", "class_b"]].to_numpy().tolist() == [
        ["g", "9", "10"], ["x", "9", "9"], ["x", "9", "10"], ["x", "10", "9"], ["x", "10", "10"],
    ]  # fmt: skip
    assert table["ratio"].tolist() == pytest.approx([1 / 3, 1, 0, 1 / 3, 0])
    assert table["repeatability"].tolist() == [0.7] * 5
    assert table["centred"].isna().all()
    assert table["matched"].tolist() == [False, True, False, False, True]
    across = table[table["comparison"] == "x"]
    assert across["chance_p"].tolist() == pytest.approx([1 / 190, 1, 1 - 153 / 190, 1])
    assert across["chance_q"].tolist() == pytest.approx([4 / 190, 1, 2 * (37 / 190), 1])
    bare = summary.pairs_table(compared_with_inference[0], [], *compared_with_inference[2:])
    assert bare["repeatability"].isna().all()
    assert len(bare) == 3 + 6


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
        "Class coverage [interval] (with permuted labels)\n"
        "                                         M2D                     random\n"
        "  Genre             1.00 [0.90, 1.10] (1.50)   0.50 [0.40, 0.60] (1.00)\n"
        "  Emotion           1.00 [0.90, 1.10] (1.50)  0.00 [-0.10, 0.10] (0.50)\n"
        "\n"
        "Class-specific neurons per class [interval] (with permuted labels)\n"
        "                                         M2D                     random\n"
        "  Genre             17.5 [17.4, 17.6] (18.0)       0.5 [0.4, 0.6] (1.0)\n"
        "  Emotion               2.0 [1.9, 2.1] (2.5)      0.0 [-0.1, 0.1] (0.5)\n"
        "\n"
        "Common-neuron ratio, mean over pairs of classes [interval] (with permuted labels)\n"
        "                                         M2D                     random\n"
        "  Genre                        0.111 (0.230)                          -\n"
        "  Across, same                 0.500 (0.159)                          -\n"
        "  Across, other                0.083 (0.130)              0.000 (0.100)\n"
    )


def test_only_the_demo_warns(coverage, sharing, tmp_path):
    for demo in (True, False):
        summary.write_text(coverage, sharing, tmp_path / "s.txt", demo=demo)
        text = (tmp_path / "s.txt").read_text()
        assert ("no evidence for or against the paper" in text) == demo
        assert text.endswith("\n")


def test_without_comparisons(coverage, tmp_path):
    table = summary.sharing_table([], [], MODELS, [])
    assert summary.pairs_table([], [], MODELS, []).empty
    summary.write_tables({"s": table}, {"s": tmp_path / "s.csv", "s_data": tmp_path / "s.parquet"})
    assert pd.read_parquet(tmp_path / "s.parquet").columns.tolist() == table.columns.tolist()
    summary.write_text(coverage, table, tmp_path / "s.txt", demo=False)
    text = (tmp_path / "s.txt").read_text()
    assert "Genre" in text
    assert "Common-neuron" not in text
    assert pd.read_csv(tmp_path / "s.csv").columns.tolist() == table.columns.tolist()


def test_too_few_tables_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        summary.coverage_table([], [], MODELS, TASKS)


def test_csv_has_six_digits_and_reads_back(sharing, tmp_path):
    summary.write_tables({"s": sharing}, {"s": tmp_path / "s.csv", "s_data": tmp_path / "s.parquet"})
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s.parquet"), sharing, check_dtype=False)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "s.csv"), sharing, check_dtype=False, rtol=1e-5, check_exact=False
    )
    assert ",0.111111," in (tmp_path / "s.csv").read_text()
