import numpy as np
import pandas as pd
import pytest

from audio_neurons import tables
from audio_neurons.inference import differences
from audio_neurons.inference.differences import differences_table, two_sided
from audio_neurons.inference.inference import draws_table

MODELS = [
    {"name": name, "title": name.upper(), "kind": kind}
    for name, kind in (("r", "random"), ("s", "sl"), ("m", "ssl"), ("n", "ssl"))
]


def table_of(place, names, **columns):
    rows = [
        {place: name, f"{place}_title": name.title(), "model": m["name"]} for name in names for m in MODELS
    ]
    unknown = dict.fromkeys(differences.QUANTITIES, np.nan)
    empty = [place, f"{place}_title", "model"]
    return pd.DataFrame(rows, columns=empty).assign(**{**unknown, **columns})


def write_draws(tmp_path, drawn, names):
    """``draws`` tables of values (tables, draws, statistics)."""
    paths = [tmp_path / f"{'-'.join(names)}{i}.parquet" for i in range(len(drawn))]
    for path, values in zip(paths, drawn, strict=True):
        tables.write(path, "draws", draws_table(names, np.asarray(values)))
    return paths


@pytest.fixture
def found(tmp_path):
    """Two tasks and four models, whose resamples vary together by far more than the models differ."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, 10, (2, 1, 199, 1))
    own = np.array([0.0, 1.0, 3.0, 3.0])[None, :, None, None]  # r, s, m, n
    drawn = common + own + rng.normal(0, 0.1, (2, 4, 199, 2))
    coverage = table_of("task", ["a", "b"], coverage=[0, 1, 3, 3] * 2, neurons_per_class=[0, 1, 3, 3] * 2)
    sharing = table_of("comparison", ["x", "y"], contrast=[0.0, 0.0, 0.3, 0.3, *[np.nan] * 4])
    contrast = np.zeros((4, 199, 1))
    contrast[2:] = rng.choice([-0.1, 0.3], (2, 199, 1), p=[0.1, 0.9])
    paths = write_draws(tmp_path, drawn.reshape(8, 199, 2), ["coverage", "neurons_per_class"])
    across = write_draws(tmp_path, contrast, ["contrast"])
    within = write_draws(tmp_path, contrast, ["mean_other"])
    return coverage, sharing, paths, across + within, MODELS, 0.9


def test_two_sided_p_by_hand():
    assert two_sided(np.array([1.0, 2.0, 3.0])) == 2 / 4
    assert two_sided(np.array([1.0, 2.0, -3.0])) == 1
    assert two_sided(-np.arange(1.0, 1000.0)) == 2 / 1000
    assert two_sided(np.zeros(9)) == 1


def test_equivalence_by_hand():
    """Two one-sided tests: the greater share of draws beyond a bound, with the data."""
    draws = np.array([0.01, 0.04, -0.03, 0.06, -0.06, 0.07])
    assert differences.equivalent(draws, 0.05) == 3 / 7
    assert differences.equivalent(draws, 0.1) == 1 / 7
    assert differences.equivalent(draws, 0.07) == 2 / 7
    assert differences.equivalent(-draws, 0.05) == 3 / 7
    assert differences.equivalent(-draws, 0.07) == 2 / 7


def test_models_are_equivalent_where_the_difference_is_small_and_known(tmp_path):
    rng = np.random.default_rng(0)
    auroc = np.stack([0.7 + rng.normal(0, sd, (999, 1)) for sd in (0.001, 0.01, 0.01, 0.2)])
    paths = write_draws(tmp_path, auroc, ["auroc"])
    table = differences_table(
        table_of("task", ["a"], auroc=0.7), table_of("comparison", []), paths, [], MODELS, 0.95, 0.05
    ).set_index(["model_a", "model_b"])
    assert (table["quantity"] == "auroc").all()
    assert table.loc[("s", "r"), ["equivalence", "equivalence_p"]].tolist() == [0.05, 1 / 1000]
    assert table.loc[("s", "r"), "detectable"] == pytest.approx(2.8 * 0.01, rel=0.1)
    assert table.loc[("n", "r"), "equivalence_p"] > 0.3
    assert table.loc[("n", "r"), "q_value"] > 0.05


def test_differences_are_taken_resample_by_resample(found):
    table = differences_table(*found)
    rows = table[(table["quantity"] == "coverage") & (table["model_a"] == "m")].set_index(["model_b", "name"])
    assert rows.loc[("s", "a"), "difference"] == 2
    # Values have a standard deviation of 10, their paired differences of 0.14.
    assert rows.loc[("s", "a"), ["low", "high"]].tolist() == pytest.approx([2 - 0.23, 2 + 0.23], abs=0.06)
    assert rows["p_value"].tolist() == [2 / 200] * 4
    assert rows["draws"].tolist() == [199] * 4


def test_every_pair_of_kinds_is_a_family(found):
    table = differences_table(*found)
    pairs = table[table["quantity"] == "coverage"][["model_a", "model_b"]].drop_duplicates()
    assert pairs.to_numpy().tolist() == [["m", "s"], ["n", "s"], ["m", "r"], ["n", "r"], ["s", "r"]]
    sizes = table.groupby(["quantity", "family"]).size()
    assert sizes["coverage"].tolist() == [2] * 5
    assert sizes["contrast"].tolist() == [1] * 5  # a comparison within a task has none
    assert "neurons_per_class of 2 tasks, m - s" in set(table["family"])
    tested = table.dropna(subset=["q_value"])
    assert (tested["q_value"] >= tested["p_value"]).all()
    assert (table.loc[table["q_value"].isna(), "quantity"] == "contrast").all()  # the same in all draws
    contrast = table[(table["quantity"] == "contrast") & (table["model_a"] == "m")].set_index("model_b")
    assert contrast.loc["r", ["low", "high"]].tolist() == pytest.approx([-0.1, 0.3])
    assert contrast.loc["r", "p_value"] > 0.1
    assert contrast["q_value"].tolist() == contrast["p_value"].tolist()
    same = table[(table["quantity"] == "contrast") & (table["model_a"] == "s")]
    assert same["p_value"].tolist() == [1]
    assert same["q_value"].isna().all()


def test_without_draws_there_is_a_difference_and_no_more(found):
    coverage, sharing, *_ = found
    table = differences_table(coverage, sharing, [], [], MODELS, 0.9)
    assert table["difference"].notna().all()
    assert table[["low", "high", "p_value", "q_value"]].isna().all(axis=None)
    assert (table["draws"] == 0).all()


def test_a_row_says_what_is_compared(found):
    coverage, sharing, *_ = found
    table = differences_table(coverage, sharing, [], [], MODELS, 0.9).set_index(["quantity", "model_a"])
    assert table.loc[[("contrast", "s")]].dropna(axis=1).to_dict("records") == [
        {
            "name": "x",
            "title": "X",
            "model_a_title": "S",
            "kind_a": "sl",
            "model_b": "r",
            "model_b_title": "R",
            "kind_b": "random",
            "value_a": 0,
            "value_b": 0,
            "difference": 0,
            "draws": 0,
            "family": "contrast of 1 comparisons, s - r",
        }
    ]
    row = table.loc[("coverage", "m")].set_index(["model_b", "name"]).loc[("s", "b")]
    assert row[["title", "value_a", "value_b", "difference"]].tolist() == ["B", 3, 1, 2]


def test_draws_of_fewer_models_than_there_are_rows_are_refused(found):
    coverage, sharing, paths, *rest = found
    with pytest.raises(ValueError, match="shorter"):
        differences_table(coverage, sharing, paths[:-1], *rest)


def test_one_model_differs_from_none(found):
    coverage, sharing, *_ = found
    table = differences_table(coverage, sharing.iloc[:0], [], [], MODELS[:1], 0.9)
    assert table.empty
    assert table.columns.tolist() == differences.COLUMNS


def test_models_that_were_not_resampled_alike_are_refused(found, tmp_path):
    coverage, sharing, paths, sharing_draws, *_ = found
    (short,) = write_draws(tmp_path, np.zeros((1, 5, 2)), ["coverage", "neurons_per_class"])
    with pytest.raises(tables.TableError, match="differ in their number of draws"):
        differences_table(coverage, sharing, [*paths[:-1], short], sharing_draws, MODELS, 0.9)
