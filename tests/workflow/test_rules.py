"""What the rules make of a configuration of somebody's own."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import upstream
from common import TINY
from snakemake_run import configuration, planned, run

from audio_neurons import models

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


def _brought(folder):
    """A configuration whose inputs nobody makes or fetches here: own files, an archive, and a checkpoint."""
    torch.save(models.load("m", TINY, None).vit.state_dict(), folder / "tiny.pth")
    by_hand = folder / "resources" / "by_hand"
    by_hand.mkdir(parents=True)
    upstream.esc50(by_hand / "ESC-50-master.zip")
    free = {"sha256": None, "md5": None, "bytes": None, "git_blob": None}
    config = configuration("own-recordings")
    config["datasets"]["esc50"] = {
        "clip_seconds": 0.5, "archives": {"archive": free}, "options": {"verify_members": False}
    }  # fmt: skip
    config["tasks"]["esc50"] = {"dataset": "esc50", "label": "category"}
    weights = {"source": "checkpoint", "file": "tiny.pth", "urls": [str(folder / "tiny.pth")]}
    config["models"] = {"m": {**TINY, "kind": "ssl", "title": "m", "weights": weights}}
    return config | {"extraction": {"device": "cpu"}, "preparation": {"max_rejected": 0.9}}


def test_times_alone_run_nothing_again_and_a_changed_byte_does(folder):
    config = _brought(folder)
    targets = [f"results/neurons/m/{task}/aape.parquet" for task in ("own", "esc50")]

    def dry():
        return run(folder, config, "-n", *targets).stdout

    run(folder, config, *targets)
    assert "Nothing to be done" in dry()
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and not {"results", ".snakemake", "logs"} & set(file.parts)
    ]
    archive = folder / "resources/archives/esc50/ESC-50-master.zip"
    weights = folder / "resources/weights/m/tiny.pth"
    assert {archive, weights, folder / "own.csv", folder / "aba0.wav"} <= set(files)
    for file in files:  # as rsync without times, a backup or touch does
        os.utime(file)
    assert "Nothing to be done" in dry()
    archive.unlink()  # it may be removed once its clips are there
    (folder / "resources/by_hand/ESC-50-master.zip").rename(folder / "a.zip")
    assert "Nothing to be done" in dry()
    shutil.copy(folder / "a.zip", archive)  # and may come back
    assert "Nothing to be done" in dry()

    for path, again in (
        (folder / "abb1.wav", "prepare_own"),
        (archive, "prepare_esc50"),
        (weights, "extract"),
    ):
        before = path.read_bytes()
        time = path.stat().st_mtime_ns
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        os.utime(path, ns=(time, time - 10**6))  # older, and of the same size
        jobs = planned(dry())
        assert again in jobs
        assert [name for name in jobs if name.startswith(("prepare", "download"))] == [again] * (
            "prep" in again
        )
        assert jobs["extract"] == (2 if again == "extract" else 1)
        path.write_bytes(before)
        assert "Nothing to be done" in dry()

    # What the configuration says is another archive or checkpoint is fetched, and used in the same run.
    config["datasets"]["esc50"]["archives"]["archive"]["sha256"] = "0" * 64
    again = {"download_archive", "prepare_esc50", "extract", "merge", "select"}
    assert planned(dry()).keys() == again


def test_recordings_that_are_synthesised_go_by_content_until_others_are_asked_for(folder):
    config = configuration("one-task")
    dataset = config["datasets"]["esc50"]

    def dry(seed=1):
        return run(folder, config | {"seed": seed}, "-n", "clips").stdout

    run(folder, config, "clips")
    assert "Nothing to be done" in dry()
    (archive,) = (folder / "resources/archives/esc50").iterdir()
    os.utime(archive)
    assert "Nothing to be done" in dry()
    before = archive.read_bytes()
    archive.write_bytes(before + b"0")
    assert planned(dry())["prepare_esc50"] == 1
    archive.write_bytes(before)
    assert "Nothing to be done" in dry()
    # Others are made and used in one run.
    dataset["synthesis"]["clips"] += 5
    assert {"synthesize_esc50", "prepare_esc50"} <= planned(dry()).keys()
    dataset["synthesis"]["clips"] -= 5
    assert {"synthesize_esc50", "prepare_esc50"} <= planned(dry(seed=2)).keys()
    # An archive without a record, as earlier versions made it, counts by its time.
    (folder / "resources/checksums/esc50/synthesis.json").unlink()
    assert planned(dry())["prepare_esc50"] == 1


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
