import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from test_published import MODELS, TASKS, ablation

from audio_neurons import tables
from audio_neurons.inference import differences
from audio_neurons.report import conditions, findings, published, summary
from audio_neurons.report.ablations import changed, harmful
from audio_neurons.report.ratios import agreed, beyond_chance
from audio_neurons.report.specificity import replicates
from audio_neurons.report.words import called, side

NAN = float("nan")
MORE = ("evenness", "colligation")
SL = {"name": "s", "title": "tagger", "kind": "sl"}
ABOUT = {
    "models": MODELS, "tasks": TASKS, "level": 0.95, "confidence": 0.95, "alpha": 0.05,
    "equivalence": 0.05, "draws": 999, "replications": 199, "demo": False, "left_out": [], "count": "window",
}  # fmt: skip


class Text(HTMLParser):
    """Text of a page, its anchors and its links, and the text of each section by its anchor."""

    def __init__(self, page):
        super().__init__()
        self.anchors, self.links, self.sections, self.tags, self.inside = [], [], {}, [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        self.anchors += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        if tag in ("section", "h1"):
            self.inside = given.get("id", "top")
        if tag in ("tr", "li", "p", "h3", "dt"):
            self.handle_data("\n\n")
        if tag in ("td", "th", "small", "span"):
            self.handle_data(" ")

    def handle_data(self, data):
        self.sections[self.inside] = self.sections.get(self.inside, "") + data


def section(page, anchor):
    """The text of a section, one line per row, item and paragraph, with single spaces."""
    lines = Text(page).sections[anchor].split("\n\n")
    return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))


def row_of(text, *parts):
    """The line of a section that has all of these parts."""
    found = [line for line in text.splitlines() if all(part in line for part in parts)]
    assert found, (parts, text)
    return found[0]


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
    names |= {"kind_a": a["kind"], "kind_b": b["kind"]}
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
    return row | {"first": ratio, "top3": 2 * ratio, "low": ratio - 0.02, "high": ratio + 0.02}


def tables_of(**given):
    """Tables of these rows; tables that are not given are empty, with all their columns."""
    nothing = pd.DataFrame()
    empty = {
        "clips": conditions.clips_table([], []),
        "coverage": pd.DataFrame(),
        "sharing": summary.sharing_table([], [], MODELS, []),
        "pairs": summary.pairs_table([], [], MODELS, []),
        "differences": pd.DataFrame(columns=differences.COLUMNS),
        "published": nothing,
        "ablation": pd.DataFrame(columns=published.ABLATION),
        "overlap": pd.DataFrame(columns=published.OVERLAP),
        "expectations": tables.read_all([], "expectations"),
        "checks": tables.read_all([], "checks"),
    }
    return empty | {name: rows if len(rows) else empty[name] for name, rows in given.items()}


def text_of(about=ABOUT, **given):
    return findings.page(tables_of(**{name: pd.DataFrame(rows) for name, rows in given.items()}), about, {})


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


# The answer


def test_the_answer_counts_what_is_called_model_by_model(tmp_path):
    rows = [coverage_row(MODELS[0], 0.9, 0.001, 0.002), coverage_row(MODELS[1], 0.69, 0.04, 0.08)]
    rows += [row | {"task": "u", "task_title": "Other", "auroc_q": 0.5} for row in rows]
    shared = [sharing_row(MODELS[0]), sharing_row(MODELS[1], q=0.2, low=-0.1)]
    pairs = [pair_row(MODELS[0], "a", "b", 0.3, 0.01), pair_row(MODELS[0], "a", "c", 0.2, 0.3)]
    given = [difference_row()]
    page = text_of(coverage=rows, sharing=shared, pairs=pairs, differences=given, ablation=ablation(tmp_path))
    text = section(page, "answer")
    assert "Neurons for classes: what half of the groups choose" in text
    assert "in the other half in 1 of 2 tasks for M2D, none of 2 for random." in text
    assert "M2D does so better than random in 1 of 1 tasks. " in text.replace("\n", " ") + " "
    assert "than others in 1 of 1 comparisons for M2D, none of 1 for random; 1 of 2 pairs of classes" in text
    assert "in none of 5 target classes for M2D." in text
    assert "this run tests no pattern that is expected" in text
    page = text_of(coverage=rows, differences=[*given, difference_row(q=0.3) | {"name": "u"}])
    told = "M2D does so better than random in 1 of 2 tasks; in the others no difference can be called."
    assert told in section(page, "answer")
    assert row_of(text, "Tasks whose neurons replicate") == (
        "Tasks whose neurons replicate on other groups 1 of 2 0 of 2"
    )
    assert row_of(text, "Pairs of classes that stand out").endswith("1 of 2 -")


def test_a_model_that_is_worse_than_the_random_one_is_told():
    worse = difference_row(value=-0.3, low=-0.5, high=-0.1)
    text = section(text_of(differences=[worse]), "answer")
    assert "M2D does so better than random in none of 1 tasks and worse in 1" in text


def test_the_answer_tells_of_which_patterns_the_opposite_is_found():
    row = dict.fromkeys(tables.SCHEMAS["expectations"].names, NAN) | {"quantity": "ratio", "reason": ""}
    row |= {"statement": "s", "standing": "read", "comparison": "c", "expectation": "e", "pairs_absent": 0}
    rows = [
        row | {"model": MODELS[0]["name"], "model_title": "M2D", "verdict": "found"},
        row | {"model": MODELS[1]["name"], "model_title": "random", "verdict": "opposite"},
    ]
    text = section(text_of(expectations=rows), "answer")
    assert "1 of 1 patterns for M2D, none of 1 for random are found; the opposite of 1 for random." in text
    assert row_of(text, "Expected patterns of which the opposite").endswith("0 of 1 1 of 1")


def test_what_was_not_tested_is_no_answer():
    text = section(text_of({**ABOUT, "models": [SL]}), "answer")
    assert "whether they replicate was not tested" in text
    assert "cannot be told, for this run has no random model" in text
    assert "What classes share: not tested." in text
    assert "not tested; no ablation has random sets" in text
    assert "nan" not in text


def test_the_answer_is_five_sentences_and_one_table():
    rows = [coverage_row(model, 0.9, 0.001, 0.002) for model in MODELS]
    page = text_of(coverage=rows, sharing=[sharing_row(MODELS[0])])
    answer = re.search(r'<section id="answer">.*?</section>', page, re.S)[0]
    assert answer.count("<li>") == 5
    assert answer.count("<table>") == 1


# Class-specific neurons


def test_what_replicates():
    rows = [coverage_row(MODELS[0], 0.9, 0.001, 0.002), coverage_row(MODELS[1], 0.69, 0.04, 0.08)]
    text = section(text_of(coverage=rows, differences=[difference_row()]), "specific")
    assert row_of(text, "Task (6)", "replicates") == (
        "Task (6) 0.90 [0.80, 1.00] replicates permuted 0.50, q 0.002 0.69 [0.59, 0.79] permuted 0.50, q 0.08"
    )
    assert row_of(text, "+0.30") == "Task +0.30 [+0.10, +0.50] higher q 0.01"
    assert "M2D less random" in text


def test_several_random_models_are_a_baseline():
    twins = [{"name": f"r{n}", "title": f"random {n}", "kind": "random"} for n in range(3)]
    rows = [coverage_row(MODELS[0], 0.9, 0.001, 0.002)]
    rows += [coverage_row(m, value, 0.04, 0.08) for m, value in zip(twins, (0.7, 0.8, 0.9), strict=True)]
    text = section(text_of(coverage=rows), "specific")
    assert "of 3 random models (mean AUROC 0.80, standard deviation 0.10), 1 reach M2D: p = 0.5." in text
    assert "random models" not in text_of(coverage=rows[:2])


def test_fewer_classes_per_neuron_are_no_negative_result():
    rows = [coverage_row(MODELS[0], 1.1, 0.001, 0.002, null=1.9), coverage_row(MODELS[1], 1.9, 0.6, 0.6)]
    given = difference_row("classes_per_neuron", value=-0.8, low=-0.9, high=-0.7)
    text = section(text_of(coverage=rows, differences=[given]), "specific")
    assert "1.10 [1.00, 1.20] fewer permuted 1.90, q 0.002 1.90 [1.80, 2.00] permuted 0.50, q 0.6" in text
    assert "Fewer than with permuted labels is what neurons that tell classes apart give" in text
    assert "-0.80 [-0.90, -0.70] lower q 0.01" in text


def test_counts_are_told_with_their_direction_and_what_they_are_not():
    rows = [coverage_row(MODELS[0], 79.5, 0.01, 0.017, null=103.7), coverage_row(MODELS[1], 90.0, 0.1, 0.2)]
    text = section(text_of(coverage=rows), "specific")
    assert "79.5 [79.4, 79.6] fewer permuted 103.7, q 0.017 90.0 [89.9, 90.1] permuted 0.5, q 0.2" in text
    assert "more neurons per class, of a fixed number, are less specific ones" in text


def test_coverage_that_all_permutations_have_says_nothing():
    rows = [coverage_row(model, 1.0, 1.0, NAN, null=1.0) for model in MODELS]
    text = section(text_of(coverage=rows), "specific")
    assert "Coverage is 1.00 in all tasks and models, as with permuted labels: it says nothing" in text
    assert "permuted 1.0: the same" in text


def test_no_difference_is_called_where_there_is_none():
    rows = [coverage_row(model, 1.0, 0.01, 0.02, classes=1) for model in MODELS]
    none = difference_row(value=0, low=-0.01, high=0.01, q=1.0)
    text = section(text_of(coverage=rows, differences=[none]), "specific")
    assert "+0.00 [-0.01, +0.01] q 1, 0.20 would have been seen" in text
    assert "higher q" not in text
    assert "lower q" not in text
    text = section(text_of(coverage=rows, differences=[none | {"equivalence_p": 0.01}]), "specific")
    assert "q 1, equivalent within 0.05, p 0.01" in text


def test_what_was_not_resampled_is_said():
    nothing = dict.fromkeys(coverage_row(SL, 1.0, NAN, NAN), NAN)
    known = {k: coverage_row(SL, 1.0, NAN, NAN)[k] for k in ("task", "task_title", "classes", "coverage")}
    rows = [
        nothing | known | {"model": m["name"], "model_title": m["title"], "neurons_per_class": 3.0}
        for m in MODELS
    ]
    text = text_of(coverage=rows, differences=[difference_row("coverage", low=NAN, high=NAN, q=NAN)])
    found = section(text, "specific")
    assert row_of(found, "Task (6)", "1.00") == "Task (6) 1.00 not tested 1.00 not tested"
    assert "+0.30 not resampled" in found
    assert "cannot be resampled" in section(text, "limits")
    assert "nan" not in "".join(Text(text).sections[name] for name in ("specific", "answer", "limits"))


# Sharing


def test_what_classes_share():
    rows = [sharing_row(MODELS[0]), sharing_row(MODELS[1], q=0.2, low=-0.1)]
    pairs = [
        *(
            pair_row(MODELS[0], *p)
            for p in (("a", "b", 0.3, 0.01), ("a", "c", 0.5, 0.02), ("b", "c", 0.05, 0.6))
        ),
        pair_row(MODELS[1], "a", "b", NAN, NAN),
    ]
    given = [difference_row(quantity) for quantity in ("contrast", "normalised", "transfer")]
    text = section(text_of(sharing=rows, pairs=pairs, differences=given), "sharing")
    first, second = row_of(text, "M2D", "0.400"), row_of(text, "random 0.400")
    assert "0.400 [0.200, 0.600] more permuted 0.300, q 0.01; random sets 0.100" in first
    assert "0.050 [0.200, 0.600] less permuted 0.300, q 0.01; random sets 0.100" in first
    assert "0.350 [0.200, 0.600] more than chance q 0.01 0.50 [0.20, 0.60]" in first
    assert "0.80 [0.20, 0.60] permuted 0.30, q 0.01" in first  # the interval contains 0.5
    assert "more than chance" not in second
    assert row_of(text, "M2D 2 of 3") == (
        "M2D 2 of 3 a and c; a and b a and c 0.500 greatest in 50 % of the resamples, among three in 100 %"
    )
    assert "2 pairs that stand out" in text
    assert row_of(text, "M2D a and c") == "M2D a and c 0.500 [0.480, 0.520] permuted 0.200 +0.400 0.02"
    assert row_of(text, "M2D less random").endswith("+0.30 [+0.10, +0.50] higher q 0.01 higher")


def test_a_difference_that_depends_on_the_scale_is_not_called():
    lower = difference_row("contrast", value=-0.13, low=-0.157, high=-0.034)
    given = [lower, difference_row("normalised", value=0.73, low=0.51, high=0.86)]
    text = section(text_of(sharing=[sharing_row(m) for m in MODELS], differences=given), "sharing")
    assert row_of(text, "M2D less random").endswith("depends on the scale")


def test_what_two_classes_and_common_recordings_cannot_show_is_said():
    two = sharing_row(MODELS[0]) | {"identity_p": 0.5, "identities": 2, "common_groups": 3.0}
    text = text_of(sharing=[two])
    assert "With two classes this is one observation" in section(text, "sharing")
    assert "0.5 of 2 ways" in section(text, "sharing")
    assert "Across: 3 groups of the two datasets have the same name" in section(text, "limits")
    joint = sharing_row(MODELS[0]) | {"labels_association": 0.6, "contrast_q": NAN}
    found = section(text_of(sharing=[joint]), "sharing")
    assert (
        "Nothing is called: both labels are of the same recordings and go together (Cramér's V 0.60)" in found
    )
    assert "more than chance" not in found


def test_within_a_task_no_class_is_the_same_and_classes_without_neurons_share_nothing():
    bare = {"same": NAN, "contrast": NAN, "normalised": NAN, "transfer": NAN}
    within = sharing_row(MODELS[0]) | bare
    empty = sharing_row(MODELS[1]) | bare | {"other": NAN}
    text = section(text_of(sharing=[within, empty]), "sharing")
    assert row_of(text, "M2D 0.050").startswith("M2D 0.050 [0.200, 0.600] less permuted 0.300, q 0.01")
    assert "same meaning" not in text
    assert "random - no specific neuron" in text


def test_a_task_that_is_called_as_its_comparison_is_named_once():
    assert "Across (A x B)" in section(text_of(sharing=[sharing_row(MODELS[0])]), "sharing")
    alone = sharing_row(MODELS[0]) | {"tasks": "Across"}
    assert "Across (" not in section(text_of(sharing=[alone]), "sharing")


# Ablation


def test_what_an_ablation_harms(tmp_path):
    table = ablation(tmp_path)
    text = section(text_of(ablation=table), "ablation")
    assert row_of(text, "M2D 0") == (  # q = 0.05
        "M2D 0 5 of 3 sets, 19 random sets each -0.50 random sets +0.01 0.800 before 0.900, random sets "
        "0.902 0 of 5 0 of 5 +0.00 to +0.00 points a change in 3 3 sets, 265 clips"
    )
    assert "M2D: with 19 random sets p is at least 0.05: no effect could have been called" in text
    few = section(text_of(ablation=table.assign(groups=4)), "ablation")
    assert "Nothing can be called of 5 target classes: of fewer than 10 groups (at least 4)" in few
    assert "Add mean to ablation.replacements" in text
    text = section(text_of(about={**ABOUT, "alpha": 0.06}, ablation=table), "ablation")
    assert "random sets 0.902 5 of 5 0 of 5" in text
    assert row_of(text, "list:paper ANG").startswith(
        "M2D, replaced by 0 list:paper ANG -0.50 [-0.60, -0.40] random sets 0.01 -0.5"
    )
    assert row_of(text, "list:paper ANG").endswith("q 0.05 -0.50 q 0.05 specific")
    general = section(text_of({**ABOUT, "alpha": 0.06}, ablation=table.assign(specificity_q=0.5)), "ablation")
    assert "0 of 5 5 of 5" in general
    assert "harm, not shown to be specific" in general
    assert "5 of the 5 must be that low together" in text


def test_effects_are_called_by_the_mean_and_described_by_zero(tmp_path):
    table = ablation(tmp_path)
    both = pd.concat([table, table.assign(replacement="mean")])
    page = text_of({**ABOUT, "alpha": 0.06}, ablation=both)
    text = section(page, "ablation")
    assert "Effects are called where activations are replaced by their mean." in text
    zeroed, averaged = row_of(text, "M2D 0"), row_of(text, "M2D the mean")
    assert "-0.50 random sets +0.01" in zeroed
    assert zeroed.count("- called by the mean") == 2
    assert "5 of 5 0 of 5" in averaged
    assert "5 target classes harmed" in text
    assert "replaced by 0" not in text
    assert "in 5 of 5 target classes for M2D" in section(page, "answer")


def test_where_random_sets_run_at_the_mean_alone_zero_is_described_without_them(tmp_path):
    """As by default (`ablation.random_at`); where drawing ended early, the range of numbers is told."""
    table = ablation(tmp_path)
    none = [name for name in table.columns if name.startswith("control_") or name.endswith(("_p", "_q"))]
    zero = table.assign(**dict.fromkeys(none, NAN), excess=NAN, excess_high=NAN, controls=0, controls_limit=0)
    fewer = table.assign(replacement="mean")
    fewer.loc[fewer["set"] == "class:DIS", "controls"] = 10
    text = section(text_of(ablation=pd.concat([zero, fewer])), "ablation")
    assert row_of(text, "M2D 0").startswith(
        "M2D 0 5 of 3 sets, no random sets here -0.50 0.800 before 0.900 "
        "- called by the mean - called by the mean"
    )
    assert "5 of 3 sets, 10 to 19 random sets each -0.50 random sets +0.01" in row_of(text, "M2D the mean")
    # What can be called depends on how many could be drawn, not on where drawing ended.
    assert "M2D: with 19 random sets p is at least 0.05: no effect could have been called" in text


def test_an_effect_that_may_be_that_of_the_controls_is_not_called(tmp_path):
    table = ablation(tmp_path).assign(excess_high=0.01)
    text = section(text_of({**ABOUT, "alpha": 0.06}, ablation=table), "ablation")
    assert "0 of 5 0 of 5" in row_of(text, "M2D 0")


def test_ablation_without_random_sets_is_not_called(tmp_path):
    table = ablation(tmp_path)
    bare = table.assign(logprob_p=NAN, logprob_q=NAN, controls=0)
    assert "without random sets nothing can be called" in section(text_of(ablation=bare), "ablation")
    assert "Nothing was ablated in this run." in section(text_of(), "ablation")
