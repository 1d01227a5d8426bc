"""The report on recordings, for a terminal and as a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from tabled_facts import GOOD, TERMS, table

from audio_neurons.recordings.checks import Result, check
from audio_neurons.report import recordings, recordings_page
from audio_neurons.report.recordings import Checked


def checked(facts=None, name="birds", **more):
    facts = table() if facts is None else facts
    return Checked(name, f"{name}.csv", TERMS, facts, check(facts, TERMS), **more)


ABSENT = Checked("esc50", "resources/archives/esc50/", TERMS, absent="not fetched yet; the run does it")
BROKEN = Checked("list", "list.csv", TERMS, results=[Result("list", "error", "", 1, "list.csv: line 3: no")])


def test_a_dataset_is_told_in_a_few_lines():
    lines = recordings.text([checked()]).splitlines()
    assert lines[:10] == [
        "birds (birds.csv)",
        "  recordings 4 recordings, 2 groups, 8 s",
        "  splits     train 2, valid 0, test 2",
        "  length     2 s; the model hears 2 s",
        "  rate       44,100 Hz (4)",
        "  channels   mono (4)",
        "  encoding   WAV PCM_16 (4)",
        "  level      peak -3.0 (-3.0 to -3.0), RMS -20.0 (-20.0 to -20.0) dBFS: median (lowest to highest)",
        "  silence    0.0% of what counts, at the ends of recordings or padded",
        "",
    ]
    assert [line.split() for line in lines[10:13]] == [
        ["kind", "train", "valid", "test", "groups"],
        ["owl", "1", "0", "1", "2"],
        ["wren", "1", "0", "1", "2"],
    ]
    assert lines[-1] == "Nothing stops a run, and nothing was found that endangers its results."


def test_classes_of_which_nothing_can_be_used_are_listed_with_zeros():
    rows = [*GOOD, ("gull", "hill", "train")]
    found = recordings.classes(table(rows, problem=["", "", "", "", "silent"]), TERMS, "kind")
    gull = found.set_index("class").loc["gull"]
    assert gull[["train", "test", "recordings", "groups"]].tolist() == [0, 0, 0, 0]
    assert np.isnan(gull["seconds"])


def test_of_many_classes_the_smallest_are_listed():
    rows = [(f"c{i:02d}", f"g{j}", "train") for i in range(20) for j in range(i + 1)]
    text = recordings.text([checked(table(rows))])
    assert re.search(r"^  c11 +12 +0 +0 +12$", text, re.M)
    assert "... and 8 more classes, of 13 to 20 recordings" in text


def test_what_cannot_be_checked_says_why():
    text = recordings.text([ABSENT, BROKEN])
    assert "not checked: not fetched yet; the run does it" in text
    assert "error: list.csv: line 3: no" in text
    assert text.endswith("1 problem stops a run.")
    assert recordings.stops([ABSENT, BROKEN, checked()]) == 1


def test_recordings_that_are_all_unusable_have_a_report_and_a_page():
    facts = table(problem="silent", **dict.fromkeys(("peak", "rms", "kept", "seconds", "silence"), np.nan))
    assert "0 of 4 recordings can be used" in recordings.text([checked(facts)])
    assert "cannot be used: silent (4)" in recordings_page.page([checked(facts)], "study")


def test_warnings_are_for_the_summary_and_notes_are_not():
    rows = [
        {"dataset": "birds", "level": "note", "label": "", "message": "short"},
        {"dataset": "birds", "level": "warning", "label": "kind", "message": "leak"},
    ]
    assert recordings.warnings(rows) == ["birds: warning: kind: leak"]


@pytest.mark.parametrize("values", [[1.0], [2.0] * 5, [-3.0, -1.0], [0.1, 50.0, 3.0], [0.0, 0.5, 100.0]])
def test_every_value_is_in_the_histogram(values):
    counts, edges, grows = recordings.bins(pd.Series([*values, -np.inf, np.nan]))
    assert counts.sum() == len(values)
    assert (np.diff(edges) > 0).all()
    assert grows == (min(values) > 0 and max(values) / min(values) > 20)
    drawn = recordings_page.histogram(pd.Series(values), "title")
    assert all(0 <= bar["x"] <= recordings_page.WIDTH for bar in drawn["bars"])
    assert max(bar["height"] for bar in drawn["bars"]) == recordings_page.HEIGHT
    assert drawn["ticks"]


def test_the_length_that_is_heard_is_marked_where_there_are_such_lengths():
    lengths = pd.Series([1.0, 2.0, 3.0])
    assert recordings_page.histogram(lengths, "t", 2.0, "heard")["mark"]["x"] == recordings_page.WIDTH / 2
    assert recordings_page.histogram(lengths, "t", 5.0, "heard")["mark"] is None


class Balanced(HTMLParser):
    """Reads a page, in which every element must be closed where it should be."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open, self.links, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_one_file_that_asks_for_no_other():
    html = recordings_page.page([checked(), checked(name="ants"), ABSENT, BROKEN], "study.yaml")
    page = Balanced()
    page.feed(html)
    assert page.open == []
    assert page.links == ["#birds", "#ants", "#esc50", "#list"]  # places on the page itself
    assert not re.search(r"https?:|url\(|@import|<script|<link", html)
    assert html.count("<svg") == 2 * (4 + 2)
    assert "Not checked: not fetched yet" in page.text
    assert "1 problem stops a run." in page.text


def test_names_are_text_on_the_page_whatever_they_hold():
    rows = [("<script>alert(1)</script>" if kind == "owl" else kind, g, s) for kind, g, s in GOOD]
    html = recordings_page.page([checked(table(rows, clip_id=["<b>"] * 4, clipped=0.1))], "<i>")
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
    assert "Recordings of &lt;i&gt;" in html


def test_the_page_is_the_same_whenever_the_facts_are():
    assert recordings_page.page([checked()], "s") == recordings_page.page([checked()], "s")
