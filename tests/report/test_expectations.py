"""What is expected, tested by hand."""

import numpy as np
import pandas as pd
import pytest

from audio_neurons import tables
from audio_neurons.inference import differences
from audio_neurons.inference.patterns import PairDraws, contrast
from audio_neurons.report import expectations
from audio_neurons.report.expectations import expectations_table, pairs_of
from audio_neurons.study.expected import Expectation

SSL = {"name": "m", "title": "M2D", "kind": "ssl"}
RANDOM = {"name": "r", "title": "random", "kind": "random"}
OCTAVES = [str(octave) for octave in range(6)]
NOTHING = pd.DataFrame(columns=differences.COLUMNS)
ABOUT = {"models": [SSL, RANDOM]}


def expected(**change):
    row = {
        "id": "near", "statement": "near ones share", "tasks": "a x b", "kinds": "ssl", "quantity": "ratio",
        "inside": "matched", "against": "others", "direction": "more", "standing": "read", "source": "Fig. 2",
    }  # fmt: skip
    return Expectation(**row | change)


def drawn(folder, name, value, classes=OCTAVES, within=False, noise=0.002):
    """Write a table of pairs whose ratios are ``value(i, j)``, with draws of some noise around them."""
    rng = np.random.default_rng(0)
    rows = []
    for i, a in enumerate(classes):
        for j, b in enumerate(classes):
            if within and j <= i:
                continue
            ratio = value(i, j)
            rows.append(
                {
                    "class_a": a,
                    "class_b": b,
                    "matched": a == b and not within,
                    "value": ratio,
                    "permuted": 0.2 + noise * rng.normal(size=99),
                    "resampled": ratio + noise * rng.normal(size=99),
                }
            )
    path = folder / f"{name}.parquet"
    tables.write(path, "pair_draws", pd.DataFrame(rows))
    return str(path)


def table_of(one, paths, models=(SSL,), tasks=("a", "b"), alpha=0.05, differences=NOTHING):
    comparisons = [{"name": "c", "tasks": list(tasks)}]
    return expectations_table([one], paths, differences, list(models), comparisons, alpha, 0.95)


def test_a_pattern_is_tested_in_every_model_with_the_numbers_of_its_contrast(tmp_path):
    paths = [
        drawn(tmp_path, "m", lambda i, j: 0.4 if i == j else 0.1),
        drawn(tmp_path, "r", lambda i, j: 0.2 + 0.001 * ((3 * i + 5 * j) % 7)),
    ]
    table = table_of(expected(), paths, [SSL, RANDOM])
    first, second = table.to_dict("records")
    assert first["verdict"] == "found"
    assert first["effect"] == pytest.approx(0.3)
    assert (first["inside"], first["against"]) == (pytest.approx(0.4), pytest.approx(0.1))
    assert (first["pairs_inside"], first["pairs_against"], first["pairs_absent"]) == (6, 30, 0)
    assert (first["reported"], second["reported"]) == (True, False)
    draws = PairDraws.read(paths[0], False)
    matched = [(o, o) for o in OCTAVES]
    asked = contrast(draws, matched, [p for p in draws.names if p not in matched], 0.95)
    assert first["identity_p"] == asked.identity_p == 1 / 720
    assert first["label_p"] == asked.label_p == 1 / 100
    assert [first["low"], first["high"]] == [asked.low, asked.high]
    assert second["verdict"] == "cannot be told"
    assert second["reason"]


def test_the_opposite_is_told_and_less_may_be_expected(tmp_path):
    path = drawn(tmp_path, "m", lambda i, j: 0.1 if i == j else 0.4)
    assert table_of(expected(), [path])["verdict"].tolist() == ["opposite"]
    assert table_of(expected(direction="less"), [path])["verdict"].tolist() == ["found"]


def test_too_few_classes_to_tell_names_apart_are_the_reason(tmp_path):
    path = drawn(tmp_path, "m", lambda i, j: 0.4 if i == j else 0.1, classes=["female", "male"])
    (row,) = table_of(expected(), [path]).to_dict("records")
    assert row["verdict"] == "cannot be told"
    assert row["identity_floor"] == 0.5
    assert "too few classes: p of their names is at least 0.5" in row["reason"]


def test_pairs_of_blocks_and_words(tmp_path):
    across = PairDraws.read(drawn(tmp_path, "m", lambda i, j: 0.1), False)
    near = expected(inside="0+1:0+1;1+2:1+2", against="")
    inside, against, absent = pairs_of(near, across)
    assert set(inside) == {(a, b) for a in "012" for b in "012"} - {("0", "2"), ("2", "0")}
    assert against is None
    assert absent == 0
    pair = expected(inside="0:5;5:0", against="others")
    inside, against, _ = pairs_of(pair, across)
    assert inside == [("0", "5"), ("5", "0")]
    assert set(against) == {(a, b) for a in OCTAVES for b in OCTAVES if a != b} - set(inside)
    inside, against, absent = pairs_of(expected(inside="0+9:0"), across)
    assert (inside, absent) == ([("0", "0")], 1)
    within = PairDraws.read(drawn(tmp_path, "w", lambda i, j: 0.1, within=True), True)
    inside, against, absent = pairs_of(expected(inside="2+1;5+3+4", against=""), within)
    assert {frozenset(p) for p in inside} == {frozenset(p) for p in ("12", "34", "35", "45")}
    assert (against, absent) == (None, 0)
    _, against, _ = pairs_of(expected(inside="2+1", against="others"), within)
    assert len(against) == 14


def test_blocks_within_a_task_are_compared_with_all_other_pairs(tmp_path):
    groups = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2}
    path = drawn(tmp_path, "m", lambda i, j: 0.5 if groups[i] == groups[j] else 0.1, within=True)
    one = expected(tasks="a", inside="0+1;2+3;4+5", against="")
    (row,) = table_of(one, [path], tasks=["a"]).to_dict("records")
    assert (row["pairs_inside"], row["pairs_against"]) == (3, 12)
    assert row["effect"] == pytest.approx(0.4)
    assert row["identity_p"] == pytest.approx(1 / 15)  # 15 ways to pair six classes


@pytest.mark.parametrize(
    ("change", "paths", "reason"),
    [
        ({"tasks": "b x a"}, True, "this run does not compare these tasks"),
        ({"inside": "x:y"}, True, "this run has none of these classes"),
        ({"against": "x:y"}, True, "this run has none of these classes"),
        ({"against": "matched"}, True, "0 and 0 are on both sides of the pattern"),
        ({}, False, "the selector cannot be resampled"),
        (
            {"quantity": "coverage", "tasks": "t", "inside": "ssl", "against": "sl"},
            True,
            "this run has no such task",
        ),
    ],
)
def test_what_a_run_cannot_test_has_one_row_with_the_reason(tmp_path, change, paths, reason):
    given = [drawn(tmp_path, "m", lambda i, j: 0.4)] if paths else []
    (row,) = table_of(expected(**change), given).to_dict("records")
    assert row["verdict"] == "not tested"
    assert row["reason"].startswith(reason)
    assert row["model"] == ""


def difference(quantity, value, q, kinds=("ssl", "sl"), name="t"):
    a, b = kinds
    row = {"quantity": quantity, "name": name, "title": "T", "model_a": "1", "model_a_title": "one"}
    row |= {"kind_a": a, "model_b": "2", "model_b_title": "two", "kind_b": b, "value_a": 5.0 + value}
    return row | {"value_b": 5.0, "difference": value, "low": value - 0.1, "high": value + 0.1, "q_value": q}


def test_differences_between_models_are_found_where_they_are_called():
    rows = [
        difference("neurons_per_class", 2.0, 0.01),
        difference("neurons_per_class", -2.0, 0.01, name="u"),
        difference("neurons_per_class", 2.0, 0.2, name="v"),
        difference("neurons_per_class", 2.0, 0.01, ("ssl", "random"), name="w"),
        difference("coverage", 2.0, 0.01),
    ]
    one = expected(quantity="neurons_per_class", tasks="*", inside="ssl", against="sl")
    table = table_of(one, [], differences=pd.DataFrame(rows))
    assert table["comparison"].tolist() == ["t", "u", "v"]
    assert table["verdict"].tolist() == ["found", "opposite", "cannot be told"]
    assert table["model_against"].unique().tolist() == ["two"]
    turned = expected(quantity="neurons_per_class", tasks="u", inside="sl", against="ssl")
    (row,) = table_of(turned, [], differences=pd.DataFrame(rows)).to_dict("records")
    assert row["verdict"] == "found"
    assert (row["model_title"], row["effect"], row["low"], row["high"]) == ("two", 2.0, 1.9, 2.1)
    less = expected(quantity="neurons_per_class", tasks="u", inside="ssl", against="sl", direction="less")
    assert table_of(less, [], differences=pd.DataFrame(rows))["verdict"].tolist() == ["found"]


def test_the_table_is_written_with_its_schema(tmp_path):
    paths = [drawn(tmp_path, m, lambda i, j: 0.4 if i == j else 0.1) for m in ("m", "r")]
    tables.write_frame(
        tmp_path / "d.parquet", tmp_path / "d.csv", pd.DataFrame([difference("auroc", 1.0, 0.5)])
    )
    pd.DataFrame([vars(expected()), vars(expected(id="other", tasks="z"))]).to_csv(
        tmp_path / "e.csv", index=False
    )
    about = {"models": [SSL, RANDOM], "comparisons": [{"name": "c", "tasks": ["a", "b"]}]}
    about |= {"alpha": 0.05, "level": 0.95}
    out = tmp_path / "out.parquet", tmp_path / "out.csv"
    expectations.write([str(tmp_path / "e.csv")], paths, tmp_path / "d.parquet", about, *out)
    table = tables.read(out[0], "expectations")
    assert table["verdict"].tolist() == ["found", "found", "not tested"]
    assert pd.read_csv(out[1])["expectation"].tolist() == ["near", "near", "other"]


def test_the_page_tells_what_is_found_and_how_much_is_left_out(tmp_path):
    paths = [drawn(tmp_path, m, lambda i, j: 0.4 if i == j else 0.1) for m in ("m", "r")]
    rows = [
        *table_of(expected(inside="matched;0+9:9"), paths, [SSL, RANDOM]).to_dict("records"),
        *table_of(expected(id="x", tasks="z"), paths, [SSL, RANDOM]).to_dict("records"),
        *table_of(
            expected(id="d", quantity="auroc", tasks="t", inside="ssl", against="sl"), [],
            differences=pd.DataFrame([difference("auroc", 2.0, 0.2)]),
        ).to_dict("records"),
    ]  # fmt: skip
    (part,) = expectations.parts(rows, ABOUT)
    patterns, between = part.tables
    statement, first, second = patterns.rows[0]
    assert statement == "near ones share (read)"
    assert (first.verdict, first.tone) == ("found", "yes")
    assert first.text.startswith("+0.300 [+0.2")
    assert first.beside == "p names 0.0014, labels 0.01"
    assert second.verdict == "found"
    assert [cell if isinstance(cell, str) else cell.text for cell in between.rows[0][:4]] == [
        "near ones share", "t", "one less two", "2.00 [1.90, 2.10]"
    ]  # fmt: skip
    assert part.notes[0] == (
        "1 expectation cannot be tested here (1: this run does not compare these tasks)."
    )
    assert part.notes[1] == "Without pairs of classes that this run does not have: near (2)."
    assert expectations.parts([], ABOUT) == []
