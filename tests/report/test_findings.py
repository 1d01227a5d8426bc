import re

import pandas as pd
import pytest
from docutils.utils import SystemMessage
from test_published import MODELS, TASKS, ablation

from audio_neurons import tables
from audio_neurons.inference import differences
from audio_neurons.report import findings, published, summary
from audio_neurons.report.findings import (
    against_null,
    beyond_chance,
    called,
    changed,
    harmful,
    page,
    plain,
    render,
)

NAN = float("nan")
SL = {"name": "s", "title": "tagger", "kind": "sl"}
ABOUT = {
    "models": MODELS, "tasks": TASKS, "level": 0.95, "confidence": 0.95, "alpha": 0.05,
    "demo": False, "left_out": [], "count": "window",
}  # fmt: skip


def section(text, title):
    """The paragraphs under a heading, on one line."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^[^\n]+\n-+$|\Z)", text, re.M | re.S)
    return " ".join(found[1].split())


def coverage_row(model, value, p, q, null=0.5, **more):
    row = {"task": "t", "task_title": "Task", "model": model["name"], "model_title": model["title"]}
    row |= {"kind": model["kind"], "classes": 6, "covered": 6, "groups": 20, "fewest_groups": 5}
    row |= {"padding_least": 0.2, "padding_most": 0.3}
    for name, prefix in (("coverage", "coverage"), ("neurons_per_class", "neurons")):
        row |= {name: value, f"{prefix}_low": value - 0.1, f"{prefix}_high": value + 0.1}
        row |= {f"{prefix}_null": null, f"{prefix}_p": p, f"{prefix}_q": q}
    return row | more


def difference_row(quantity="coverage", value=0.3, low=0.1, high=0.5, q=0.01, models=MODELS):
    a, b = models
    names = {
        "model_a": a["name"],
        "model_a_title": a["title"],
        "model_b": b["name"],
        "model_b_title": b["title"],
    }
    return {"quantity": quantity, "name": "t", "title": "Task", **names, "difference": value} | {
        "low": low, "high": high, "q_value": q
    }  # fmt: skip


def sharing_row(model, same=0.4, q=0.01, low=0.2):
    row = {"comparison": "t", "comparison_title": "Across", "tasks": "A x B", "model": model["name"]}
    row |= {"model_title": model["title"], "same": same, "same_expected": 0.1, "other": 0.05}
    row |= {"other_expected": 0.1, "contrast": same - 0.05}
    for name in ("same", "other", "contrast"):
        row |= {f"{name}_low": low, f"{name}_high": 0.6, f"{name}_null": 0.3, f"{name}_q": q}
    return row


def pair_row(model, a, b, ratio, q):
    names = {"comparison": "t", "model": model["name"], "class_a": a, "class_b": b}
    return {**names, "ratio": ratio, "expected": 0.1, "ceiling": 0.6, "q_value": q}


def tables_of(**given):
    """Tables of these rows; tables that are not given are empty, with all their columns."""
    nothing = pd.DataFrame()
    empty = {
        "coverage": pd.DataFrame(
            columns=["coverage_p", "fewest_groups", "neurons_per_class", "padding_least", "padding_most"]
        ),
        "sharing": summary.sharing_table([], [], MODELS, []),
        "pairs": summary.pairs_table([], [], MODELS, []),
        "differences": pd.DataFrame(columns=differences.COLUMNS),
        "published": nothing,
        "ablation": pd.DataFrame(columns=published.ABLATION),
        "overlap": pd.DataFrame(columns=published.OVERLAP),
        "checks": tables.read_all([], "checks"),
    }
    return empty | {name: rows if len(rows) else empty[name] for name, rows in given.items()}


def text_of(about=ABOUT, **given):
    text = page(tables_of(**{name: pd.DataFrame(rows) for name, rows in given.items()}), about)
    render(text)  # which raises if it is no clean reStructuredText
    return text


# Rules


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "more"),
        ({"value": -0.3, "low": -0.5, "high": -0.1}, "fewer"),
        ({"low": -0.01}, ""),  # the interval has 0
        ({"low": 0.0}, ""),
        ({"q": 0.05}, ""),
        ({"q": NAN, "low": NAN, "high": NAN}, ""),
        ({"value": -0.01}, ""),  # the biased interval is on the other side
        ({"value": 0.0, "low": 0.0, "high": 0.0, "q": 1.0}, ""),
    ],
)
def test_when_a_difference_is_called(change, verdict):
    assert called(difference_row(**change), 0.05) == verdict


@pytest.mark.parametrize(
    ("p", "q", "verdict"),
    [(0.001, 0.01, "more"), (0.04, 0.08, ""), (0.06, 0.06, "trivial"), (NAN, NAN, "untested")],
)
def test_when_coverage_is_more_than_its_null(p, q, verdict):
    assert against_null(coverage_row(SL, 1.0, p, q), "coverage", 0.05) == verdict


def test_when_a_ratio_is_more_than_chance():
    assert beyond_chance(0.4, 0.1, 0.01, 0.05)
    assert not beyond_chance(0.4, 0.1, 0.05, 0.05)
    assert not beyond_chance(0.1, 0.1, 0.01, 0.05)
    assert not beyond_chance(NAN, NAN, NAN, 0.05)


def test_when_an_ablation_has_an_effect():
    assert harmful({"logprob_q": 0.01, "high": -0.1}, 0.05)
    assert not harmful({"logprob_q": 0.01, "high": 0.0}, 0.05)
    assert not harmful({"logprob_q": 0.05, "high": -0.1}, 0.05)
    assert not harmful({"logprob_q": NAN, "high": -0.1}, 0.05)
    assert not harmful({"logprob_q": 0.01, "high": NAN}, 0.05)
    assert changed({"mcnemar_high": 0.05}, 0.05)
    assert not changed({"mcnemar_high": 0.06}, 0.05)
    assert not changed({"mcnemar_high": NAN}, 0.05)


# Sentences


def test_coverage_in_words():
    rows = [coverage_row(MODELS[0], 1.0, 0.001, 0.002), coverage_row(MODELS[1], 0.69, 0.04, 0.08)]
    text = section(text_of(coverage=rows, differences=[difference_row()]), "Coverage")
    assert "of 1 task, higher in 1, lower in 0; in 0 no difference can be called" in text
    assert (
        "**Task** (6 classes): M2D 1.00 [0.90, 1.10] (more than chance: permuted labels give 0.50, q = 0.002)"
        in text
    )
    assert "random 0.69 [0.59, 0.79] (no difference from chance can be called" in text
    assert text.endswith("M2D against random: difference 0.30 [0.10, 0.50], q = 0.01: higher in M2D.")


def test_a_difference_to_trivial_coverage_is_called_what_it_is():
    rows = [coverage_row(MODELS[0], 1.0, 1.0, 1.0, null=1.0), coverage_row(MODELS[1], 0.69, 0.01, 0.02)]
    given = [difference_row(), difference_row("neurons_per_class")]
    text = text_of(coverage=rows, differences=given)
    assert "higher in 1, lower in 0 (1 of these trivial in the higher model)" in section(text, "Coverage")
    assert "higher in M2D, where it is trivial: no sign of knowing" in section(text, "Coverage")
    assert "trivial" not in section(text, "Neurons per class")
    assert "not more than chance: permuted labels give 1.0, p = 1" in section(text, "Neurons per class")


def test_no_difference_is_called_where_there_is_none():
    rows = [coverage_row(model, 1.0, 0.01, 0.02, classes=1) for model in MODELS]
    text = section(
        text_of(coverage=rows, differences=[difference_row(value=0, low=0, high=0, q=1.0)]), "Coverage"
    )
    assert "q = 1: no difference can be called." in text
    assert "(1 class)" in text
    assert not re.search("higher in (M2D|random)|lower in (M2D|random)", text)


def test_what_was_not_resampled_is_said():
    rows = [coverage_row(m, 1.0, NAN, NAN, null=NAN, coverage_low=NAN, coverage_high=NAN) for m in MODELS]
    text = text_of(coverage=rows, differences=[difference_row(low=NAN, high=NAN, q=NAN)])
    assert "M2D 1.00 (not tested against permuted labels)" in section(text, "Coverage")
    assert "not resampled: no difference can be called" in section(text, "Coverage")
    assert "cannot be resampled" in section(text, "What this run cannot say")
    assert "nan" not in text


def test_sharing_in_words():
    rows = [sharing_row(MODELS[0]), sharing_row(MODELS[1], q=0.2, low=-0.1)]
    pairs = [
        *(
            pair_row(MODELS[0], *p)
            for p in (("a", "b", 0.3, 0.01), ("a", "c", 0.5, 0.02), ("b", "c", 0.05, 0.01))
        ),
        pair_row(MODELS[1], "a", "b", NAN, NAN),
    ]
    text = section(text_of(sharing=rows, pairs=pairs, differences=[difference_row("contrast")]), "Sharing")
    first, second = text.split("- random: ")
    assert (
        "the same share 0.400 [0.200, 0.600] (random sets 0.100, permuted labels 0.300, q = 0.01): more than"
        in first
    )
    assert (
        "others share 0.050 [0.200, 0.600] (random sets 0.100, permuted labels 0.300, q = 0.01): not called"
        in first
    )
    assert "contrast 0.350 [0.200, 0.600], q = 0.01: more than chance" in first
    assert "2 of 3 pairs: a and c 0.500 (random 0.100, ceiling 0.600, q = 0.02), a and b 0.300" in first
    assert "no contrast can be called" in second
    assert "0 of 1 pairs." in second
    assert "M2D against random: difference 0.300 [0.100, 0.500], q = 0.01: higher in M2D." in second


def test_within_a_task_no_class_is_the_same_and_classes_without_neurons_share_nothing():
    within = sharing_row(MODELS[0]) | {"same": NAN, "contrast": NAN}
    empty = sharing_row(MODELS[1]) | {"same": NAN, "contrast": NAN, "other": NAN}
    text = section(text_of(sharing=[within, empty]), "Sharing")
    assert "M2D: classes share 0.050" in text
    assert "mean the same" not in text
    assert "random: no class has a specific neuron." in text


def test_ablation_in_words(tmp_path):
    table = ablation(tmp_path)
    text = section(text_of(ablation=table), "Ablation")
    assert "No effect can be called on any of 5 target classes" in text  # q = 0.05
    assert "With 19 random sets p is at least 0.05: no effect could have been called" in text
    assert "changes by +0.00 to +0.00 points over 3 sets; called a change in 0" in text
    text = section(text_of(about={**ABOUT, "alpha": 0.06}, ablation=table), "Ablation")
    assert "An effect on 5 of 5 target classes, strongest ANG of list:paper -0.50 [-0.60, -0.40]" in text
    assert "(random sets 0.01, q = 0.05)" in text
    assert "5 of the 5 must be that low together" in text
    bare = table.assign(logprob_p=NAN, logprob_q=NAN, controls=0)
    assert "without random sets no effect can be called" in section(text_of(ablation=bare), "Ablation")
    assert section(text_of(), "Ablation") == "Nothing was ablated in this run."


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
    text = section(text, "Beside the paper")
    assert "published 172 (read), ours 170.00 [160.00, 171.00]. The published number is outside our" in text
    assert "9 are among the 30 that are specific to exactly these classes in M2D" in text
    assert "q = 1e-09: more than chance" in text
    assert "Ablating list:paper in M2D, accuracy of ANG: published -1.51 points, ours -5.00" in text
    assert "(McNemar's p 0.01 to 0.2): no change can be called." in text
    assert "ANG -4 of 265 (p at least 0.125: no change can be called)" in text
    assert "all clips unchanged in number" in text
    assert "all clips +2 of 290 (p at least 0.5: no change can be called)" in text
    assert "- 13: this run has no such task." in text  # 2, and GTZAN's 11


def test_of_a_run_that_has_nothing_of_the_papers_only_that_is_said(tmp_path):
    alone = ablation(tmp_path).assign(delta=NAN, remark="this run has no such task")
    text = section(text_of(ablation=alone), "Beside the paper")
    assert text.startswith("No number of this run is one that the paper has published too. Published numbers")
    assert "by themselves" not in text


def test_a_task_that_is_called_as_its_comparison_is_named_once():
    assert "**Across** (A x B)" in text_of(sharing=[sharing_row(MODELS[0])])
    assert "**Across**\n" in text_of(sharing=[sharing_row(MODELS[0]) | {"tasks": "Across"}])


def test_why_there_may_be_no_specific_neuron_is_said():
    empty = [coverage_row(model, 0, 1, 1, classes=3) for model in MODELS]
    text = section(text_of(coverage=empty), "What this run cannot say")
    assert "No class has a specific neuron: Task in M2D, Task in random. With few recordings" in text
    assert "specific neuron" not in section(
        text_of(coverage=[coverage_row(MODELS[0], 1, 1, 1)]), "What this run cannot say"
    )


def test_what_a_run_cannot_say():
    text = section(
        text_of(coverage=[coverage_row(MODELS[0], 1, 0.01, 0.01, fewest_groups=1)]),
        "What this run cannot say",
    )
    assert "no supervised model" in text
    assert "no self-supervised" not in text
    assert "Some class of Task has a single group" in text
    assert "synthetic" not in text
    models = [SL | {"note": "it *stands* in_"}]
    about = {**ABOUT, "models": models, "demo": True, "left_out": ["VoxCeleb1", "GTZAN"]}
    text = section(text_of(about=about), "What this run cannot say")
    assert "no self-supervised model" in text
    assert "no random model" in text
    assert "tagger: it \\*stands\\* in\\_" in text
    assert "recordings are missing: VoxCeleb1, GTZAN" in text
    assert "synthetic recordings" in text


def test_classes_that_differ_in_padding_are_told():
    rows = [coverage_row(MODELS[0], 1, 0.01, 0.01, padding_least=0.18, padding_most=0.64)]
    about = {**ABOUT, "count": "window"}
    text = section(text_of(coverage=rows, about=about), "What this run cannot say")
    told = "differ in the share of tokens after the end of their recordings: Task (18 % to 64 %)."
    assert f"{told} These tokens are counted" in text
    text = section(text_of(coverage=rows, about={**about, "count": "recording"}), "What this run cannot say")
    assert f"{told} These tokens are not counted" in text
    alike = [coverage_row(MODELS[0], 1, 0.01, 0.01)]
    assert "differ in the share" not in text_of(coverage=alike, about=about)


def test_rules_stand_at_the_top_with_their_numbers():
    text = text_of(about={**ABOUT, "alpha": 0.01, "level": 0.9})
    assert text.index("Rules") < text.index("Coverage\n")
    assert "alpha = 0.01" in section(text, "Rules")
    assert "Intervals hold 90 % (those of ablation: 95 %) of" in section(text, "Rules")
    assert "Intervals hold 95 % of" in section(text_of(), "Rules")


# The page


@pytest.mark.parametrize(
    "title", ["a_", "a__ b", "*x*", "`x`_", "|x|", "a\\b", "x_y", "[1]_", "_`x`", "http_"]
)
def test_nobodys_words_are_markup(title):
    html = render(f"A\n=\n\n- see {plain(title)} there\n")
    assert f"see {title} there" in html
    assert "<a " not in html.partition("<main")[2]


def test_the_page_is_one_file_that_needs_no_other(tmp_path):
    given = tables_of(coverage=pd.DataFrame([coverage_row(MODELS[0], 1, 0.01, 0.01)]))
    for name in ("a", "b"):
        findings.write(given, ABOUT, tmp_path / f"{name}.rst", tmp_path / f"{name}.html")
    html = (tmp_path / "a.html").read_text()
    assert html == (tmp_path / "b.html").read_text()
    assert "<h2>Coverage</h2>" in html
    assert not re.search(r"<(link|script|img|iframe)\b|@import", html)
    assert (tmp_path / "a.rst").read_text() == page(given, ABOUT)


def test_broken_markup_is_an_error():
    with pytest.raises(SystemMessage):
        render("see `this")


# Recordings


def test_what_endangers_the_results_stands_first_under_recordings():
    row = {"check": "c", "affected": 1, "examples": []}
    rows = [
        {**row, "dataset": "birds", "level": "note", "label": "", "message": "2 are `short`"},
        {**row, "dataset": "birds", "level": "warning", "label": "kind_", "message": "a *leak*"},
        {**row, "dataset": "ants", "level": "note", "label": "", "message": "1 is clipped"},
    ]
    text = section(text_of(checks=rows), "Recordings")
    assert text == (
        r"**ants** - note: 1 is clipped **birds** - warning: kind\_: a \*leak\* - note: 2 are \`short\`"
    )


def test_without_checks_the_section_says_so():
    assert "this run has no such table" in section(text_of(), "Recordings")
