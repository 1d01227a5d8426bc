"""The page of findings: beside the paper, what limits a run, and the page itself."""

import base64
import re

import pandas as pd
import pytest
from test_findings import (
    ABOUT,
    NAN,
    SL,
    Text,
    coverage_row,
    difference_row,
    pair_row,
    row_of,
    section,
    sharing_row,
    tables_of,
    text_of,
)
from test_published import MODELS, ablation

from audio_neurons.report import findings
from audio_neurons.study.results import TABLES as WRITTEN

# Beside the paper


def test_beside_the_paper(tmp_path):
    facts = {"task": "t", "quantity": "neurons_per_class", "published": 172.0, "standing": "read"}
    facts |= {"model_title": "M2D", "ours": 170.0, "low": 160.0, "high": 171.0, "remark": ""}
    silent = facts | {"ours": NAN, "low": NAN, "high": NAN, "remark": "this run has no such task"}
    overlap = {
        "list": "l",
        "targets": "ANG+HAP",
        "model_title": "M2D",
        "set": "exact",
        "theirs": 22,
        "ours": 30,
    }
    overlap |= {"common": 9, "expected": 0.02, "q_value": 1e-9, "remark": ""}
    text = text_of(published=[facts, silent, silent], ablation=ablation(tmp_path), overlap=[overlap])
    text = section(text, "paper")
    assert row_of(text, "t neurons per class M2D 172 read").endswith(
        "170.00 [160.00, 171.00] the published number is outside our interval"
    )
    assert row_of(text, "ANG+HAP M2D") == (
        "ANG+HAP M2D 30 specific to exactly these classes 22 9 0.02 more than chance q 1e-09"
    )
    assert "list:paper M2D ANG -1.51 points -5.00 points 0.01 to 0.2" in text
    assert "a change" not in row_of(text, "list:paper M2D ANG")
    assert row_of(text, "ANG+HAP ANG") == "ANG+HAP ANG -4 of 265 0.125"
    assert row_of(text, "ANG+HAP NEU") == "ANG+HAP NEU none of 227 -"
    assert "13 this run has no such task" in text  # 2, and GTZAN's 11
    assert "13 published numbers without one of ours" in text


def test_of_a_run_that_has_nothing_of_the_papers_only_that_is_said(tmp_path):
    alone = ablation(tmp_path).assign(delta=NAN, remark="this run has no such task")
    text = section(text_of(ablation=alone), "paper")
    assert "No number of this run is one that the paper has published too." in text
    assert "by themselves" not in text


# What limits a run


def test_designs_that_weaken_the_tests_are_told():
    row = coverage_row(MODELS[0], 1.0, 0.01, 0.01, size_association=0.8, least_movable=0.0)
    text = section(text_of(coverage=[row | {"fewest_effective": 1.4}]), "limits")
    assert "Task: the amount of recordings per group goes with the class (ε² 0.80)" in text
    assert "labels of some class cannot change at all, and nothing can be called of it" in text
    assert "Fewest effective groups of a class, where they are below 5: Task 1.4." in text
    assert "p of 999 permutations is at least 0.001, two-sided 0.002; of replication at least 0.005" in text
    all_clips = section(text_of({**ABOUT, "selection_split": "all"}), "limits")
    assert "its effects are circular" in all_clips
    assert "circular" not in text


def test_why_there_may_be_no_specific_neuron_is_said():
    empty = [coverage_row(model, 0, 1, 1, classes=3) for model in MODELS]
    text = section(text_of(coverage=empty), "limits")
    assert "No class has a specific neuron: Task in M2D, Task in random. With few recordings" in text
    one = section(text_of(coverage=[coverage_row(MODELS[0], 1, 1, 1)]), "limits")
    assert "specific neuron" not in one


def test_what_a_run_cannot_say():
    page = text_of(coverage=[coverage_row(MODELS[0], 1, 0.01, 0.01, fewest_groups=1)])
    text = section(page, "limits")
    assert "no supervised model" in text
    assert "no self-supervised" not in text
    assert "Some class of Task has a single group" in text
    assert "synthetic" not in page
    models = [SL | {"note": "it *stands* in_"}]
    about = {**ABOUT, "models": models, "demo": True, "left_out": ["VoxCeleb1", "GTZAN"]}
    page = text_of(about=about)
    text = section(page, "limits")
    assert "no self-supervised model" in text
    assert "no random model" in text
    assert "tagger: it *stands* in_" in text
    assert "recordings are missing: VoxCeleb1, GTZAN" in text
    assert page.count("synthetic recordings") == 1  # at the top


def test_classes_that_differ_in_padding_are_told():
    rows = [coverage_row(MODELS[0], 1, 0.01, 0.01, padding_least=0.18, padding_most=0.64)]
    about = {**ABOUT, "count": "window"}
    text = section(text_of(coverage=rows, about=about), "limits")
    told = "differ in the share of tokens after the end of their recordings: Task (18 % to 64 %)."
    assert f"{told} These tokens are counted" in text
    text = section(text_of(coverage=rows, about={**about, "count": "recording"}), "limits")
    assert f"{told} These tokens are not counted" in text
    alike = [coverage_row(MODELS[0], 1, 0.01, 0.01)]
    assert "differ in the share" not in text_of(coverage=alike, about=about)


def test_the_kinds_of_warnings_stand_at_the_top_and_lead_to_them():
    rows = [coverage_row(MODELS[0], 1, 0.01, 0.01, padding_least=0.18, padding_most=0.64)]
    page = text_of({**ABOUT, "selection_split": "all"}, coverage=rows)
    top = page.partition('<section id="answer">')[0]
    for anchor in ("limits-padding", "limits-circular-selection", "limits-models"):
        assert f'href="#{anchor}"' in top
        assert f'id="{anchor}"' in page
    assert "limits-recordings" not in page


def test_what_endangers_the_results_is_told_and_notes_unfold():
    row = {"check": "c", "affected": 1, "examples": []}
    rows = [
        {**row, "dataset": "birds", "level": "note", "label": "", "message": "2 are `short`"},
        {**row, "dataset": "birds", "level": "warning", "label": "kind_", "message": "a *leak*"},
        {**row, "dataset": "ants", "level": "note", "label": "", "message": "1 is clipped"},
    ]
    page = text_of(checks=rows)
    text = section(page, "limits")
    assert "Recordings\nbirds, warning: kind_: a *leak*" in text
    assert "warning kind_ a *leak*\nnote 2 are short" in text
    assert "<code>short</code>" in page
    assert text.index("All checks of ants (1)") < text.index("All checks of birds (2)")


# The page


def test_definitions_have_the_runs_numbers():
    text = section(text_of(about={**ABOUT, "alpha": 0.01, "level": 0.9, "equivalence": 0.07}), "glossary")
    assert "q < 0.01" in text
    assert "q < 0.05" not in text
    assert "It holds 90 % (those of ablation: 95 %) of" in text
    assert "differ by less than 0.07" in text
    assert "It holds 95 % of" in section(text_of(), "glossary")


def full(tmp_path, **about):
    facts = {"task": "t", "quantity": "coverage", "published": 1.0, "standing": "read", "remark": ""}
    facts |= {"model_title": "M2D", "ours": 1.0, "low": 0.9, "high": 1.0}
    return text_of(
        {**ABOUT, **about},
        coverage=[coverage_row(model, 0.9, 0.001, 0.002) for model in MODELS],
        sharing=[sharing_row(model) for model in MODELS],
        pairs=[pair_row(MODELS[0], "a", "b", 0.3, 0.01), pair_row(MODELS[0], "a", "c", 0.2, 0.3)],
        differences=[difference_row(q) for q in ("auroc", "contrast", "normalised")],
        published=[facts],
        ablation=ablation(tmp_path),
    )


def test_every_number_leads_to_its_table_and_its_definition(tmp_path):
    text = Text(full(tmp_path, alpha=0.06))
    inside = {link[1:] for link in text.links if link.startswith("#")}
    assert inside <= set(text.anchors)
    assert len(text.anchors) == len(set(text.anchors))
    outside = {link for link in text.links if not link.startswith("#")}
    assert outside >= {f"tables/{name}.csv" for name in ("coverage", "sharing", "pairs", "ablation")}
    assert outside <= {f"tables/{name}.csv" for name in WRITTEN}
    assert {"def-auroc", "def-contrast", "def-specific", "def-pair"} <= inside


def test_each_question_stands_in_the_papers_order(tmp_path):
    page = full(tmp_path)
    order = [page.index(f'<section id="{name}">') for name in
             ("answer", "specific", "sharing", "ablation", "paper", "limits", "glossary")]  # fmt: skip
    assert order == sorted(order)


def test_what_is_not_called_is_said_once(tmp_path):
    page = full(tmp_path)
    assert len(re.findall("no difference can be called|nothing can be told", page)) <= 2


@pytest.mark.parametrize("title", ["<b>x</b>", "a & b", "\"x\" onload='y'", "{{ 7 * 7 }}", "a`b"])
def test_nobodys_words_are_markup(title):
    def page_with(words):
        model = {**MODELS[0], "title": words, "note": words}
        rows = [coverage_row(model, 0.9, 0.001, 0.002) | {"task_title": words}]
        return text_of({**ABOUT, "models": [model], "left_out": [words]}, coverage=rows)

    page = page_with(title)
    found, calm = Text(page), Text(page_with("plain"))
    assert [tag for tag, _ in found.tags if tag != "code"] == [tag for tag, _ in calm.tags if tag != "code"]
    assert title.replace("`", "") in "".join(found.sections.values())


def test_the_page_is_one_file_that_opens_alone(tmp_path):
    figure = tmp_path / "figures" / "dose" / "t.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"\x89PNG drawn")
    coverage = tmp_path / "figures" / "coverage.png"
    coverage.write_bytes(b"\x89PNG bars")
    given = tables_of(coverage=pd.DataFrame([coverage_row(MODELS[0], 1, 0.01, 0.01)]))
    for name in ("a", "b"):
        findings.write(given, ABOUT, [str(coverage), str(figure)], tmp_path / f"{name}.html")
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert html == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    (image,) = [given["src"] for tag, given in Text(html).tags if tag == "img"]  # nothing was ablated
    assert base64.b64decode(image.removeprefix("data:image/png;base64,")) == coverage.read_bytes()
    assert not re.search(r"<(link|script|iframe)\b|@import|https?://", html)


def test_what_is_folded_is_printed():
    print_rules = text_of().partition("@media print")[2].partition("</style>")[0]
    assert re.search(r"::details-content \{[^}]*content-visibility: visible", print_rules)
