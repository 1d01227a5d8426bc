"""Under which conditions numbers were computed: in tables, in the findings, and below figures."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text
from test_findings import row_of, section, text_of

from audio_neurons import tables
from audio_neurons.report import conditions
from audio_neurons.report.figures import _style as style
from audio_neurons.report.published import published_table

SAMPLE = {"clips": 500, "per": "emotion", "whole_groups": False, "seed": 0}
DATASETS = [
    {"name": "cremad", "sample": SAMPLE, "windows": ""},
    {"name": "esc50", "sample": None, "windows": ""},
    {"name": "days", "sample": None, "windows": "windows every 10 s"},
]
DRAWN = "500 of 2,000 clips, balanced by emotion, seed 0"


@pytest.fixture
def inventories(tmp_path):
    rows = [
        ("*", "*", "train", 1500, 370, 369),
        ("*", "*", "test", 500, 130, 130),
        ("l", "a", "test", 500, 130, 130),
    ]
    for one in DATASETS:
        table = pd.DataFrame(rows, columns=tables.SCHEMAS["inventory"].names)
        if one["sample"] is None:
            table = table.assign(drawn=table["available"], clips=table["available"])
        tables.write(tmp_path / f"{one['name']}.parquet", "inventory", table)
    return [str(tmp_path / f"{one['name']}.parquet") for one in DATASETS]


@pytest.fixture
def clips(inventories):
    return conditions.clips_table(inventories, DATASETS)


def test_a_sample_and_windows_are_told_in_words(clips):
    assert conditions.of_datasets(clips) == {
        "cremad": DRAWN, "esc50": "all 2,000 clips", "days": "all 2,000 clips; windows every 10 s",
    }  # fmt: skip
    assert len(clips) == 9
    assert list(conditions.clips_table([], []).columns) == list(clips.columns)


def test_tables_state_the_conditions_of_their_tasks_and_comparisons(clips):
    table = pd.DataFrame({"comparison": ["x", "y"], "same": [0.1, 0.2]})
    stated = conditions.stated(
        table, "comparison", {"x": ["cremad", "cremad"], "y": ["esc50", "cremad"]}, clips, "on all"
    )
    assert list(stated["conditions"]) == [
        f"cremad: {DRAWN}; on all",
        f"esc50: all 2,000 clips; cremad: {DRAWN}; on all",
    ]


def test_published_numbers_stand_beside_the_conditions_of_ours(tmp_path):
    (tmp_path / "p.csv").write_text(
        "task,kind,quantity,published,standing,source\nt,ssl,coverage,1,s,p\nu,ssl,coverage,1,s,p\n"
    )
    models = [{"name": "m", "title": "M", "kind": "ssl"}]
    ours = {"coverage": 0.5, "coverage_low": 0.4, "coverage_high": 0.6, "conditions": DRAWN}
    coverage = pd.DataFrame([{"task": "t", "model": "m", **ours}])
    found = published_table(coverage, tmp_path / "p.csv", models, demo=False)
    assert list(found["conditions"]) == [DRAWN, ""]
    assert list(published_table(coverage, tmp_path / "p.csv", models, demo=True)["conditions"]) == ["", ""]


def test_the_findings_say_of_which_clips_they_are(clips):
    told = section(text_of(clips=clips), "limits")
    assert row_of(told, "cremad", DRAWN, "train 369, test 130")
    assert row_of(told, "esc50", "all 2,000 clips", "train 1,500, test 500")


def test_figures_have_a_note_of_what_is_not_all_or_not_the_start(inventories):
    assert conditions.notes(inventories, DATASETS) == [
        f"cremad: {DRAWN}", "days: all 2,000 clips; windows every 10 s",
    ]  # fmt: skip
    figure, axes = plt.subplots(figsize=(3, 2), layout="constrained")
    axes.set_xlabel("x")
    style.footnote(figure, [])
    assert not figure.texts
    style.footnote(figure, [f"cremad: {DRAWN}", "x" * 500])
    figure.draw_without_rendering()
    (note,) = figure.texts
    assert " ".join(note.get_text().split()).startswith(f"cremad: {DRAWN} x")
    others = [text for text in figure.findobj(Text) if text is not note and text.get_text()]
    assert note.get_window_extent().y1 < min(text.get_window_extent().y0 for text in others)
    assert note.get_window_extent().x1 < figure.bbox.x1
    plt.close(figure)
