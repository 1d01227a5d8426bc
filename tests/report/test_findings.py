import re

import pandas as pd
import pytest
from docutils.utils import SystemMessage
from test_published import MODELS, TASKS, ablation

from audio_neurons import tables
from audio_neurons.inference import differences
from audio_neurons.report import findings, published, summary
from audio_neurons.report.findings import changed, harmful, page, render
from audio_neurons.report.ratios import agreed, beyond_chance
from audio_neurons.report.specificity import replicates
from audio_neurons.report.words import called, plain, side

NAN = float("nan")
MORE = ("evenness", "colligation")
SL = {"name": "s", "title": "tagger", "kind": "sl"}
ABOUT = {
    "models": MODELS, "tasks": TASKS, "level": 0.95, "confidence": 0.95, "alpha": 0.05,
    "equivalence": 0.05, "draws": 999, "replications": 199, "demo": False, "left_out": [], "count": "window",
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
    for name in ("auroc", "log_odds", "again", "classes_per_neuron", "exclusive", "everywhere", *MORE):
        row |= {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
        row |= {f"{name}_null": null, f"{name}_p": p, f"{name}_q": q}
    return row | {"size_association": 0.0, "least_movable": 1.0, "fewest_effective": 9.0} | more


def difference_row(quantity="auroc", value=0.3, low=0.1, high=0.5, q=0.01, models=MODELS):
    a, b = models
    names = {
        "model_a": a["name"],
        "model_a_title": a["title"],
        "model_b": b["name"],
        "model_b_title": b["title"],
    }
    return {"quantity": quantity, "name": "t", "title": "Task", **names, "difference": value} | {
        "low": low, "high": high, "q_value": q, "detectable": 0.2, "equivalence": 0.05, "equivalence_p": 0.5
    }  # fmt: skip


def sharing_row(model, same=0.4, q=0.01, low=0.2):
    row = {"comparison": "t", "comparison_title": "Across", "tasks": "A x B", "model": model["name"]}
    row |= {"model_title": model["title"], "same": same, "same_expected": 0.1, "other": 0.05}
    row |= {"other_expected": 0.1, "contrast": same - 0.05, "normalised": 0.5, "transfer": 0.8}
    for name in ("same", "other", "contrast", "normalised", "transfer"):
        row |= {f"{name}_low": low, f"{name}_high": 0.6, f"{name}_null": 0.3, f"{name}_p": q, f"{name}_q": q}
    return row | {"identity_p": NAN, "identities": 0, "common_groups": 0.0, "labels_association": NAN}


def pair_row(model, a, b, ratio, q):
    names = {"comparison": "t", "model": model["name"], "class_a": a, "class_b": b}
    row = {**names, "ratio": ratio, "null": 0.2, "centred": ratio - 0.1, "centred_q": q}
    return row | {"first": ratio, "top3": 2 * ratio}


def tables_of(**given):
    """Tables of these rows; tables that are not given are empty, with all their columns."""
    nothing = pd.DataFrame()
    empty = {
        "coverage": pd.DataFrame(
            columns=[
                "coverage_p",
                "fewest_groups",
                "neurons_per_class",
                "auroc",
                "classes_per_neuron",
                "padding_least",
                "padding_most",
            ]
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
    ("value", "p", "q", "verdict"),
    [
        (1.0, 0.001, 0.01, "more"),
        (0.2, 0.001, 0.01, "fewer"),
        (0.2, 0.04, 0.08, ""),
        (1.0, 0.04, 0.05, ""),
        (0.5, 1.0, NAN, ""),
        (1.0, NAN, NAN, "untested"),
    ],
)
def test_when_a_count_differs_from_permuted_labels(value, p, q, verdict):
    assert side(coverage_row(SL, value, p, q), "coverage", "coverage", 0.05) == verdict


@pytest.mark.parametrize(("value", "q", "found"), [(0.7, 0.01, True), (0.7, 0.05, False), (0.3, 0.01, False)])
def test_when_neurons_replicate(value, q, found):
    assert replicates({"auroc": value, "auroc_null": 0.5, "auroc_q": q}, 0.05) == found
    assert not replicates({"auroc": value, "auroc_null": 0.5, "auroc_q": NAN}, 0.05)


def test_when_a_contrast_is_more_than_chance():
    assert beyond_chance(0.4, 0.01, 0.05)
    assert not beyond_chance(0.4, 0.05, 0.05)
    assert not beyond_chance(0.0, 0.01, 0.05)
    assert not beyond_chance(NAN, NAN, 0.05)


def test_a_difference_of_contrasts_is_called_where_both_scales_agree():
    up, none = difference_row("contrast"), difference_row("normalised", q=0.5)
    down = difference_row("normalised", value=-0.3, low=-0.5, high=-0.1)
    assert agreed(up, difference_row("normalised"), 0.05) == "more"
    assert agreed(up, down, 0.05) == "scale"
    assert agreed(up, none, 0.05) == "scale"
    assert agreed(none, none, 0.05) == ""


def test_when_an_ablation_has_an_effect():
    row = {"logprob_q": 0.01, "specificity_q": 0.01, "excess_high": -0.1, "groups": 10, "high": 0.1}
    assert harmful(row, 0.05) == "specific"
    assert harmful(row | {"specificity_q": 0.05}, 0.05) == "harm"
    assert harmful(row | {"specificity_q": NAN}, 0.05) == "harm"
    for change in (
        {"excess_high": 0.0}, {"logprob_q": 0.05}, {"logprob_q": NAN}, {"excess_high": NAN}, {"groups": 9}
    ):  # fmt: skip
        assert harmful(row | change, 0.05) == ""
    assert changed({"flip_q": 0.04}, 0.05)
    assert not changed({"flip_q": 0.05}, 0.05)
    assert not changed({"flip_q": NAN}, 0.05)


# Sentences


def test_what_replicates_in_words():
    rows = [coverage_row(MODELS[0], 0.9, 0.001, 0.002), coverage_row(MODELS[1], 0.69, 0.04, 0.08)]
    text = section(text_of(coverage=rows, differences=[difference_row()]), "What replicates")
    assert "of 1 task, higher in 1, lower in 0; in 0 no difference can be called" in text
    assert "**Task** (6 classes): M2D 0.90 [0.80, 1.00] (permuted labels 0.50, q = 0.002: replicates)" in text
    assert "the same class again in 90 % (permuted 50 %)" in text
    assert "random 0.69 [0.59, 0.79] (permuted labels 0.50, q = 0.08: not shown to replicate)" in text
    assert text.endswith("M2D against random: difference 0.30 [0.10, 0.50], q = 0.01: higher in M2D.")


def test_several_random_models_are_a_baseline():
    twins = [{"name": f"r{n}", "title": f"random {n}", "kind": "random"} for n in range(3)]
    rows = [coverage_row(MODELS[0], 0.9, 0.001, 0.002)]
    rows += [coverage_row(m, value, 0.04, 0.08) for m, value in zip(twins, (0.7, 0.8, 0.9), strict=True)]
    text = section(text_of(coverage=rows), "What replicates")
    assert "Of 3 random models (mean 0.80, standard deviation 0.10), 1 reach M2D: p = 0.5." in text
    assert "random models" not in text_of(coverage=rows[:2])


def test_fewer_classes_per_neuron_are_no_negative_result():
    rows = [coverage_row(MODELS[0], 1.1, 0.001, 0.002, null=1.9), coverage_row(MODELS[1], 1.9, 0.6, 0.6)]
    given = difference_row("classes_per_neuron", value=-0.8, low=-0.9, high=-0.7)
    text = section(text_of(coverage=rows, differences=[given]), "Specificity")
    assert "M2D 1.10 [1.00, 1.20] classes per neuron (permuted labels 1.90: fewer, as where neurons" in text
    assert "random 1.90 [1.80, 2.00] classes per neuron (permuted labels 0.50: no difference" in text
    assert text.endswith("q = 0.01: its neurons belong to fewer classes each.")


def test_counts_are_told_with_their_direction_and_called_nothing_more():
    rows = [coverage_row(MODELS[0], 79.5, 0.01, 0.017, null=103.7), coverage_row(MODELS[1], 90.0, 0.1, 0.2)]
    given = [difference_row("coverage"), difference_row("neurons_per_class")]
    text = section(text_of(coverage=rows, differences=given), "Coverage and neurons per class")
    assert "neurons per class: M2D 79.5 [79.4, 79.6] (permuted labels 103.7: fewer, q = 0.017)" in text
    assert "random 90.0 [89.9, 90.1] (permuted labels 0.5: no difference can be called, p = 0.1" in text
    assert "More neurons per class are less specific ones" in text
    assert "higher in M2D" not in text
    assert "not more than chance" not in text


def test_coverage_that_all_permutations_have_says_nothing():
    rows = [coverage_row(model, 1.0, 1.0, NAN, null=1.0) for model in MODELS]
    text = section(text_of(coverage=rows), "Coverage and neurons per class")
    assert text.startswith(
        "Coverage is 1.00 in all tasks and models, as with permuted labels: it says nothing"
    )
    assert "(permuted labels 1.0: the same)" in text


def test_no_difference_is_called_where_there_is_none():
    rows = [coverage_row(model, 1.0, 0.01, 0.02, classes=1) for model in MODELS]
    none = difference_row(value=0, low=-0.01, high=0.01, q=1.0)
    text = section(text_of(coverage=rows, differences=[none]), "What replicates")
    assert "q = 1: no difference can be called (one of 0.20 would have been, in 80 % of such data)." in text
    assert "(1 class)" in text
    assert not re.search("higher in (M2D|random)|lower in (M2D|random)", text)
    text = section(text_of(coverage=rows, differences=[none | {"equivalence_p": 0.01}]), "What replicates")
    assert "no difference can be called (equivalent within 0.05, p = 0.01)" in text


def test_what_was_not_resampled_is_said():
    nothing = dict.fromkeys(coverage_row(SL, 1.0, NAN, NAN), NAN)
    known = {k: coverage_row(SL, 1.0, NAN, NAN)[k] for k in ("task", "task_title", "classes", "coverage")}
    rows = [nothing | known | {"model_title": m["title"], "neurons_per_class": 3.0} for m in MODELS]
    text = text_of(coverage=rows, differences=[difference_row("coverage", low=NAN, high=NAN, q=NAN)])
    found = section(text, "Coverage and neurons per class")
    assert "M2D 1.00 (not tested against permuted labels)" in found
    assert "cannot be resampled" in section(text, "What this run cannot say")
    assert "nan" not in text


def test_sharing_in_words():
    rows = [sharing_row(MODELS[0]), sharing_row(MODELS[1], q=0.2, low=-0.1)]
    pairs = [
        *(
            pair_row(MODELS[0], *p)
            for p in (("a", "b", 0.3, 0.01), ("a", "c", 0.5, 0.02), ("b", "c", 0.05, 0.6))
        ),
        pair_row(MODELS[1], "a", "b", NAN, NAN),
    ]
    given = [difference_row(quantity) for quantity in ("contrast", "normalised", "transfer")]
    text = section(text_of(sharing=rows, pairs=pairs, differences=given), "Sharing")
    first, second = text.split("- random: ")
    assert "the same share 0.400 [0.200, 0.600] (permuted labels 0.300: more, q = 0.01; random sets" in first
    assert "others share 0.050 [0.200, 0.600] (permuted labels 0.300: less, q = 0.01; random sets" in first
    assert "contrast 0.350 [0.200, 0.600], q = 0.01, relative to what is shared at all 0.50" in first
    assert ": more than chance" in first
    assert "Of 3 pairs, 2 share more than their classes share with others: a and c 0.500 (permuted" in first
    assert "The greatest ratio is that of a and c; it is the greatest in 50 % of the resamples" in first
    assert "no contrast can be called" in second
    assert "no difference can be called, q = 0.2" in second
    assert "difference of the contrast +0.300 [+0.100, +0.500], q = 0.01; relative to" in second
    assert second.endswith("higher in M2D.")


def test_a_difference_that_depends_on_the_scale_is_not_called():
    lower = difference_row("contrast", value=-0.13, low=-0.157, high=-0.034)
    given = [lower, difference_row("normalised", value=0.73, low=0.51, high=0.86)]
    text = section(text_of(sharing=[sharing_row(m) for m in MODELS], differences=given), "Sharing")
    assert "depends on the scale; nothing is called" in text
    assert "higher in 0, lower in 0; in 1 no difference can be called" in text
    assert "lower in M2D" not in text


def test_what_two_classes_and_common_recordings_cannot_show_is_said():
    two = sharing_row(MODELS[0]) | {"identity_p": 0.5, "identities": 2, "common_groups": 3.0}
    text = text_of(sharing=[two])
    assert "With two classes this is one observation" in section(text, "Sharing")
    assert "Across: 3 groups of the two datasets have the same name" in section(
        text, "What this run cannot say"
    )
    joint = sharing_row(MODELS[0]) | {"labels_association": 0.6, "contrast_q": NAN}
    assert "nothing is called, for both labels are of the same recordings" in section(
        text_of(sharing=[joint]), "Sharing"
    )


def test_within_a_task_no_class_is_the_same_and_classes_without_neurons_share_nothing():
    bare = {"same": NAN, "contrast": NAN, "normalised": NAN, "transfer": NAN}
    within = sharing_row(MODELS[0]) | bare
    empty = sharing_row(MODELS[1]) | bare | {"other": NAN}
    text = section(text_of(sharing=[within, empty]), "Sharing")
    assert "M2D: classes share 0.050" in text
    assert "less, q = 0.01: their neurons differ" in text
    assert "mean the same" not in text
    assert "random: no class has a specific neuron." in text


def test_designs_that_weaken_the_tests_are_told():
    row = coverage_row(MODELS[0], 1.0, 0.01, 0.01, size_association=0.8, least_movable=0.0)
    text = section(text_of(coverage=[row | {"fewest_effective": 1.4}]), "What this run cannot say")
    assert "Task: the amount of recordings per group goes with the class (ε² 0.80)" in text
    assert "labels of some class cannot change at all, and nothing can be called of it" in text
    assert "Fewest effective groups of a class, where they are below 5: Task 1.4." in text
    assert "p of 999 permutations is at least 0.001, two-sided 0.002; of replication at least 0.005" in text
    all_clips = section(text_of({**ABOUT, "selection_split": "all"}), "What this run cannot say")
    assert "its effects are circular" in all_clips
    assert "circular" not in text


def test_ablation_in_words(tmp_path):
    table = ablation(tmp_path)
    text = section(text_of(ablation=table), "Ablation")
    assert "No effect can be called specific, of 5 target classes" in text  # q = 0.05
    assert "With 19 random sets p is at least 0.05: no effect could have been called" in text
    assert "changes by +0.00 to +0.00 points over 3 sets; called a change in 3" in text
    few = section(text_of(ablation=table.assign(groups=4)), "Ablation")
    assert "Nothing can be called of 5 target classes: of fewer than 10 groups (at least 4)" in few
    assert "Add mean to ablation.replacements" in text
    text = section(text_of(about={**ABOUT, "alpha": 0.06}, ablation=table), "Ablation")
    assert (
        "More harm than to other classes and than by matched sets to 5 of 5 target classes, strongest" in text
    )
    assert (
        "ANG of list:paper -0.50 [-0.60, -0.40] (random sets 0.01, q = 0.05; more than other classes" in text
    )
    general = section(text_of({**ABOUT, "alpha": 0.06}, ablation=table.assign(specificity_q=0.5)), "Ablation")
    assert "No effect can be called specific, of 5 target classes. Harm, not shown to be specific:" in general
    assert "5 of the 5 must be that low together" in text
    area = "of target classes, which no shift of all clips moves, is 0.800 on average instead of 0.900"
    assert area in text


def test_effects_are_called_by_the_mean_and_described_by_zero(tmp_path):
    table = ablation(tmp_path)
    both = pd.concat([table, table.assign(replacement="mean")])
    text = section(text_of({**ABOUT, "alpha": 0.06}, ablation=both), "Ablation")
    zeroed, averaged = text.split("activations replaced by their mean")
    assert "Effects are called below, where activations are replaced by their mean." in zeroed
    assert (
        "log-probability of 5 target classes changes by -0.50 on average, with random sets by +0.01" in zeroed
    )
    assert "More harm" not in zeroed
    assert "More harm than to other classes and than by matched sets to 5 of 5 target classes" in averaged


def test_an_effect_that_may_be_that_of_the_controls_is_not_called(tmp_path):
    table = ablation(tmp_path).assign(excess_high=0.01)
    text = section(text_of({**ABOUT, "alpha": 0.06}, ablation=table), "Ablation")
    assert "No effect can be called specific, of 5 target classes" in text


def test_ablation_without_random_sets_is_not_called(tmp_path):
    table = ablation(tmp_path)
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
    assert text.index("Rules") < text.index("What replicates\n") < text.index("Specificity\n")
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
    assert "<h2>Coverage and neurons per class</h2>" in html
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
