"""What the rules make of a configuration of somebody's own."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from snakemake_run import configuration, planned, run

pytestmark = pytest.mark.workflow

CONFIG = configuration("own-recordings")


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


def test_another_number_of_shards_prepares_anew_and_what_is_left_is_told(folder):
    def config(shards):
        return CONFIG | {"datasets": {"own": CONFIG["datasets"]["own"] | {"shards": shards}}}

    parts = sorted(f"part-{n:03d}.parquet" for n in range(3))
    run(folder, config(3), "clips")
    clips = folder / "results/clips/own"
    assert sorted(path.name for path in clips.iterdir()) == parts
    every = set(pd.read_parquet(clips)["clip_id"])
    again = run(folder, config(1), "clips").stdout
    assert planned(again)["prepare_own"] == 1
    assert set(pd.read_parquet(clips / parts[0])["clip_id"]) == every
    told = f"rm -r results/clips/own/{parts[1]} results/clips/own/{parts[2]}"
    assert told in run(folder, config(1), "-n", "clips").stdout
    for name in parts[1:]:
        (clips / name).unlink()
    assert "rm -r" not in run(folder, config(1), "-n", "clips").stdout


def test_a_list_or_a_recording_that_is_replaced_by_an_older_one_is_noticed(folder):
    run(folder, CONFIG, "clips")
    assert "Nothing to be done" in run(folder, CONFIG, "-n", "clips").stdout
    file = folder / "own.csv"
    text = file.read_text(encoding="utf-8")
    for path, content in (
        (file, text.replace("aba0.wav,0", "aba0.wav,1").encode()),
        (folder / "aba1.wav", b""),
    ):
        before = path.read_bytes()
        path.write_bytes(content)
        os.utime(path, (0, 0))
        assert planned(run(folder, CONFIG, "-n", "clips").stdout)["prepare_own"] == 1
        path.write_bytes(before)


def test_results_that_are_moved_without_their_record_are_told(folder):
    run(folder, CONFIG, "clips")
    assert "no record" not in run(folder, CONFIG, "-n", "clips").stdout
    shutil.rmtree(folder / ".snakemake")
    told = run(folder, CONFIG, "clips").stdout
    assert "results/clips/own/part-000.parquet for one), but no record of how they were made" in told
