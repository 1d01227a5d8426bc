"""Files of expectations: the paper's, and a user's."""

import re

import pandas as pd
import pytest
import yaml
from common import ROOT

from audio_neurons.study import ConfigError, complete
from audio_neurons.study.expected import COLUMNS, Expectation, ExpectationError, read, sides

SHIPPED = ROOT / "resources" / "published" / "expectations.csv"
ROW = {
    "id": "mine", "statement": "a is like b", "tasks": "t", "kinds": "ssl", "quantity": "ratio",
    "inside": "a+b", "against": "", "direction": "more", "standing": "ours", "source": "notes",
}  # fmt: skip


def written(folder, *rows, drop=(), name="mine.csv"):
    pd.DataFrame([ROW | row for row in rows]).drop(columns=list(drop)).to_csv(folder / name, index=False)
    return folder / name


def test_blocks_pairs_and_words_of_a_side():
    one = Expectation(**ROW | {"inside": "de+en; es+fr:it ;matched", "against": "others"})
    assert sides(one) == ([[["de", "en"]], [["es", "fr"], ["it"]], "matched"], ["others"])
    assert sides(Expectation(**ROW)) == ([[["a", "b"]]], [])


def test_a_backslash_makes_signs_part_of_a_name():
    one = Expectation(**ROW | {"inside": r"a\+b+c\:d:e\;f"})
    assert sides(one)[0] == [[["a+b", "c:d"], ["e;f"]]]


def test_a_file_is_read_and_may_have_more_columns(tmp_path):
    path = written(tmp_path, {"note": "x", "against": ""})
    (one,) = read([path])
    assert one == Expectation(**ROW)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"inside": ""}, "row 2: inside is empty"),
        ({"direction": "higher"}, "row 2: no direction 'higher'; there are more, less"),
        ({"quantity": "ratios"}, "row 2: no quantity 'ratios'; there are ratio, auroc"),
        ({"kinds": "ssl+SL"}, "row 2: no kind of model 'SL'; there are ssl, sl, random"),
        ({"quantity": "coverage"}, "row 2: inside of coverage is a kind of model, one of ssl, sl, random"),
    ],
)
def test_what_cannot_be_tested_is_told_with_its_row(tmp_path, change, told):
    path = written(tmp_path, change)
    with pytest.raises(ExpectationError) as error:
        read([path])
    assert f"{path}, {told}" in str(error.value)


def test_all_problems_of_all_files_are_told_at_once(tmp_path):
    twice = written(tmp_path, {}, {"direction": ""}, name="a.csv")
    misnamed = tmp_path / "b.csv"
    pd.DataFrame([ROW]).rename(columns={"inside": "insde"}).to_csv(misnamed, index=False)
    with pytest.raises(ExpectationError) as error:
        read([twice, misnamed, tmp_path / "none.csv"])
    lines = str(error.value).splitlines()
    assert lines[0] == f"{twice}, row 3: direction is empty"
    assert lines[1] == f"{twice}, row 3: 'mine' is twice"
    assert lines[2] == f"{misnamed}: no column inside; is it 'insde'?"
    assert lines[3].startswith(f"{tmp_path / 'none.csv'}: not a readable table in UTF-8 (")


def test_the_papers_expectations_are_of_tasks_and_comparisons_of_both_reproductions():
    expected = read([SHIPPED])
    assert pd.read_csv(SHIPPED).columns.tolist() == list(COLUMNS)
    for name in ("config", "paper"):
        config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))
        compared = {" x ".join(one["tasks"]) for one in config["comparisons"].values()}
        for one in expected:
            known = compared if one.quantity in ("ratio", "contrast") else {*config["tasks"], "*"}
            assert one.tasks in known, one.id
    assert all(one.standing and one.source for one in expected)


def test_the_example_of_the_documentation_is_read(tmp_path):
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    (tmp_path / "mine.csv").write_text(re.search(r"```text\n(id,.*?)```", page, re.S)[1], encoding="utf-8")
    (one,) = read([tmp_path / "mine.csv"])
    assert sides(one) == ([[["lark", "thrush"]]], [])


def small(**findings):
    text = (ROOT / "tests" / "configurations" / "small.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text) | {"findings": findings}


def test_a_users_file_is_checked_before_any_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, {"direction": "up"})
    with pytest.raises(ConfigError, match=r"findings.expectations: mine.csv, row 2: no direction 'up'"):
        complete(small(expectations=path.name))
    with pytest.raises(ConfigError, match=r"findings.expectations: no such file: other.csv"):
        complete(small(expectations="other.csv"))
    written(tmp_path, {"id": "gender_same"})
    with pytest.raises(ConfigError, match=r"row 2: 'gender_same' is twice"):
        complete(small(expectations=path.name))
    written(tmp_path, {})
    assert complete(small(expectations=path.name))["findings"]["expectations"] == path.name
