"""What the rules make of a configuration of somebody's own."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from snakemake_run import planned, run

pytestmark = pytest.mark.workflow

CONFIG = {
    "datasets": {
        "own": {
            "files": "own.csv",
            "clip_seconds": 0.5,
            "options": {"group_pattern": "^([a-z]{3})"},
            "excluded": {"abd*": "as {said}"},
        }
    },
    "tasks": {"own": {"dataset": "own", "label": "{kind}", "title": "of {kinds}"}},
    "models": {
        "random": {
            "kind": "random",
            "title": "a {random} one",
            "note": "see {there}",
            "depth": 1,
            "weights": {"source": "random", "seed": 0},
        }
    },
    "comparisons": {"own": {"tasks": ["own"], "title": "{own}"}},
}


@pytest.fixture
def folder(tmp_path):
    """Where the configuration has its recordings, and a list of them."""
    names = [f"ab{letter}{n}.wav" for letter in "abcd" for n in range(4)]
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    for name in names:
        soundfile.write(tmp_path / name, noise, 16_000)
    kinds = [f"{name},{name[-5]}" for name in names]
    (tmp_path / "own.csv").write_text("\n".join(["path,{kind}", *kinds]) + "\n", encoding="utf-8")
    return tmp_path


def test_braces_in_options_labels_reasons_titles_and_notes_are_no_wildcards(folder):
    run(folder, CONFIG, "clips")
    clips = pd.read_parquet(folder / "results/clips/own/part-000.parquet")
    assert set(clips["group"]) == {"aba", "abb", "abc"}
    assert set(clips["{kind}"]) == set("0123")
    rejected = pd.read_parquet(folder / "results/rejected/own.parquet")
    assert set(rejected["reason"]) == {"excluded: as {said}"}
    assert {"draw_coverage", "summarize"} <= planned(run(folder, CONFIG, "-n").stdout).keys()


def test_a_run_that_does_not_make_the_summary_does_not_print_that_of_an_earlier_one(folder):
    (folder / "results").mkdir()
    (folder / "results" / "summary.txt").write_text("of before\n", encoding="utf-8")
    assert "of before" not in run(folder, CONFIG, "clips").stdout


@pytest.mark.parametrize(
    ("selector", "resampled"),
    [
        ({"measure": "auroc"}, False),
        ({"preset": "auroc"}, False),
        ({"preset": "auroc", "measure": "f1"}, True),
    ],
)
def test_a_selector_that_ranks_by_auroc_is_not_resampled(folder, selector, resampled):
    config = CONFIG | {"selection": {"selectors": {"aape": selector}}}
    assert ("infer" in planned(run(folder, config, "-n").stdout)) == resampled
