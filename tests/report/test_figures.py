from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import simulated
from matplotlib.text import Text

from audio_neurons import tables
from audio_neurons.inference.inference import Task, infer
from audio_neurons.inference.sharing import infer_ratios
from audio_neurons.neurons.sharing import compare
from audio_neurons.report import figures
from audio_neurons.report.figures import _panels as panels
from audio_neurons.report.figures import _style as style
from audio_neurons.report.figures import coverage, sharing
from audio_neurons.report.summary import pairs_table, sharing_table
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

MODELS = [
    {"name": "m", "title": "M2D/0.7", "kind": "ssl"},
    {"name": "s", "title": "supervised on AudioSet's labels", "kind": "sl"},
    {"name": "t", "title": "AST (as SL)", "kind": "sl"},
    {"name": "r", "title": "random", "kind": "random"},
]
LONG = "Waves_and_surf_and_splash_and_splatter_stream"
LANGUAGES = ["de", "en", "es", "fr", "it", "ru"]
NEURONS = 400
RULE = rule_of("aape", {"top_share": 0.05})


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


# Shared neurons


def task(names, seed, planted):
    groups = max(24, 2 * len(names))
    units, _ = simulated.units(
        seed, groups=groups, classes=len(names), neurons=NEURONS, planted=planted, spread=80.0
    )
    return Task.of(replace(units, classes=tuple(names)), RULE)


def sets(task):
    return {
        name: frozenset((0, int(n)) for n in np.flatnonzero(chosen))
        for name, chosen in zip(task.units.classes, task.chosen.assigned, strict=True)
    }


def comparison(tmp_path, rows, columns=None, models=MODELS, draws=19, planted=3, title="Octave"):
    """Tables of tasks whose classes share planted neurons, fewer from model to model."""
    inputs = {"sharing": [], "inference": []}
    for i, model in enumerate(models):
        tasks = [task(names, seed, max(0, planted - i)) for seed, names in ((i, rows), (9, columns)) if names]
        matched = list(zip(rows, columns, strict=False)) if columns else None
        chosen = [sets(one) for one in tasks]
        found, _ = infer_ratios(tasks, matched, Inference(draws=draws, bootstrap=draws, halves=2))
        for kind, table in (
            ("sharing", compare(chosen[0], chosen[-1], NEURONS, matched)),
            ("inference", found),
        ):
            path = tmp_path / f"{kind}-{model['name']}.parquet"
            tables.write(path, kind, table)
            inputs[kind].append(path)
    titles = ["NSynth octave", "Surge octave"][: 2 if columns else 1]
    named = {"name": title.lower(), "title": title, "tasks": titles}
    return inputs, {"models": models, "comparison": named, "level": 0.95, "alpha": 0.05}


def legible(figure, width=style.WIDE):
    """Check the width of the page, and that no text is too small, off the page, or over another."""
    assert figure.get_figwidth() == width
    figure.draw_without_rendering()
    texts = {text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):  # whose ticks are not drawn beyond the axis
            low, high = sorted(axis.get_view_interval())
            texts -= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    texts = sorted(texts, key=Text.get_text)
    assert min(text.get_fontsize() for text in texts) >= style.SMALL
    renderer = figure.canvas.get_renderer()
    x0, y0, x1, y1 = np.array([t.get_window_extent(renderer).shrunk(0.98, 0.9).extents for t in texts]).T
    assert x0.min() >= 0
    assert x1.max() <= figure.bbox.x1
    apart = (x1[:, None] <= x0) | (x1 <= x0[:, None]) | (y1[:, None] <= y0) | (y1 <= y0[:, None])
    over = [(texts[i].get_text(), texts[j].get_text()) for i, j in np.argwhere(~apart) if i < j]
    assert not over


CASES = {
    "one class": (["blues"], None),
    "two classes": (["female", "male"], None),
    "two between": (["female", "male"], ["female", "male"]),
    "languages": (LANGUAGES, None),
    "octaves": ([str(n) for n in range(1, 9)], [str(n) for n in range(9)]),
    "one pair": (["a"], ["b"]),
    "long names": ([LONG, "dog"], ["Dog", LONG, "Walk_and_footsteps"]),
    "events": ([f"class {n}" for n in range(14)], [f"Walk and steps {n}" for n in range(14)]),
    "countries": ([f"country {n}" for n in range(35)], None),
}


@pytest.mark.parametrize(
    ("case", "models"), [(case, n) for case in CASES for n in (1, 4) if n == 4 or case != "countries"]
)
def test_sharing_is_drawn_for_any_number_of_classes_and_models(tmp_path, case, models):
    inputs, about = comparison(tmp_path, *CASES[case], MODELS[:models], draws=9)
    legible(sharing.draw(sharing.data(inputs, about), about))


@pytest.mark.parametrize("columns", [None, [f"b{n}" for n in range(90)]], ids=["within", "between"])
def test_sharing_of_many_classes_is_an_image_of_bounded_size_with_similar_ones_side_by_side(
    tmp_path, columns
):
    """Classes of two kinds, mixed in their order, share neurons with those of their kind alone."""
    rng = np.random.default_rng(0)
    kinds = {f"c{n:03d}": n % 2 for n in range(700 if columns is None else 80)}
    other = kinds if columns is None else {name: int(name[1:]) % 2 for name in columns}

    def sets_of(kinds):
        return {name: frozenset((kind, int(n)) for n in rng.choice(40, 20)) for name, kind in kinds.items()}

    first = sets_of(kinds)
    table = compare(first, first if columns is None else sets_of(other), NEURONS)
    inputs = {"sharing": [], "inference": []}
    for model in MODELS:
        tables.write(tmp_path / f"{model['name']}.parquet", "sharing", table)
        inputs["sharing"].append(str(tmp_path / f"{model['name']}.parquet"))
    subject = {"name": "x", "title": "X", "tasks": ["One", "Two"][: 1 + bool(columns)]}
    about = {"models": MODELS, "comparison": subject, "level": 0.95, "alpha": 0.05}
    data = sharing.data(inputs, about)
    figure = sharing.draw(data, about)
    assert figure.get_figwidth() == style.WIDE
    assert figure.get_figheight() < 6
    pairs = data[data["statistic"] == "ratio"]
    rows, below = sharing._crowded.ordered(pairs, list(kinds), list(other))
    for names, of in ((rows, kinds), (below, other)):
        assert sorted(names) == sorted(of)
        order = [of[name] for name in names]
        assert order in (sorted(order), sorted(order, reverse=True))
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 2 * len(MODELS)
    one = pairs[pairs["model"] == "m"]
    assert np.count_nonzero(shown[0][..., 3]) == len(one)
    told = " ".join(text.get_text() for text in figure.findobj(Text))
    assert f"One: {len(kinds)} classes, those that share alike side by side" in told
    style.save(figure, tmp_path / "f.pdf", tmp_path / "f.png")
    assert (tmp_path / "f.pdf").stat().st_size < 3e6


def test_sharing_data_are_those_of_the_tables(tmp_path):
    rows, columns = LANGUAGES[:4], LANGUAGES[:5]
    inputs, about = comparison(tmp_path, rows, columns, MODELS[:2])
    data = sharing.data(inputs, about)
    for model, one, two in zip(MODELS, inputs["sharing"], inputs["inference"], strict=False):
        own = data[data["model"] == model["name"]].set_index(["statistic", "class_a", "class_b"])
        shared, inferred = tables.read(one, "sharing"), tables.read(two, "inference")
        assert len(own) == len(shared) + 3
        for pair in shared.itertuples():
            row = own.loc["ratio", pair.class_a, pair.class_b]
            np.testing.assert_equal(row["value"], pair.ratio)
            np.testing.assert_equal(
                row["relative"], pair.ratio / row["null_mean"] if row["null_mean"] else np.nan
            )
        centred = inferred[inferred["statistic"] == "centred"].set_index(["class_a", "class_b"])["q_value"]
        for found in inferred[inferred["statistic"].isin(["ratio", *sharing.MEANS])].itertuples():
            row = own.loc[found.statistic, found.class_a, found.class_b]
            np.testing.assert_allclose(row["value"], found.value)
            for column in ("low", "high", "null_mean", "p_value", "repeatability"):
                np.testing.assert_equal(row[column], getattr(found, column))
            q = centred[found.class_a, found.class_b] if found.statistic == "ratio" else found.q_value
            np.testing.assert_equal(row["q_value"], q)
        matched = shared[shared["matched"]].dropna(subset=["ratio"])
        assert own.loc[("mean_matched", "", ""), "expected"] == pytest.approx(matched["expected"].mean())


@pytest.mark.parametrize("columns", [None, LANGUAGES[:3]], ids=["within", "between"])
def test_what_means_are_compared_with_is_of_the_same_pairs(tmp_path, columns):
    """Inference leaves out a class without clips, which shares nothing; so does the table of means."""
    inputs, about = comparison(tmp_path, LANGUAGES[:3], columns, MODELS[:1])
    known = sharing.data(inputs, about)
    path = inputs["sharing"][0]
    table = tables.read(path, "sharing")
    more = table[table["class_a"] == "de"].assign(class_a="absent", matched=False, neurons_a=0, common=0)
    table = pd.concat([table, more.assign(ratio=0.0, expected=0.0, p_value=1.0)])
    tables.write(path, "sharing", table)
    data = sharing.data(inputs, about)
    means = data[data["statistic"] != "ratio"].reset_index(drop=True)
    pd.testing.assert_frame_equal(means, known[known["statistic"] != "ratio"].reset_index(drop=True))
    subject = {**about["comparison"]}
    one = sharing_table(inputs["sharing"], inputs["inference"], MODELS[:1], [subject]).iloc[0]
    assert means.set_index("statistic").loc["mean_other", "expected"] == one["other_expected"]


def test_a_comparison_of_which_no_pair_has_clips_is_drawn(tmp_path):
    inputs, about = comparison(tmp_path, ["a", "b"], ["c", "d"], MODELS[:1])
    tasks = [task(["a", "b"], 0, 3), task(["c", "d"], 9, 3)]
    found, _ = infer_ratios(tasks, [("a", "gone")], Inference(draws=9, bootstrap=9, halves=2))
    tables.write(inputs["inference"][0], "inference", found)
    data = sharing.data(inputs, about)
    assert data[["low", "p_value"]].isna().all(axis=None)
    legible(sharing.draw(data, about))
    made(tmp_path, "sharing", inputs, about, "none")
    given = inputs["sharing"], inputs["inference"], MODELS[:1], [about["comparison"]]
    assert sharing_table(*given)[["same", "other", "contrast", "other_q"]].isna().all(axis=None)
    assert pairs_table(*given).empty


def test_a_pair_within_a_task_is_listed_once(tmp_path):
    inputs, about = comparison(tmp_path, LANGUAGES, models=MODELS[:1])
    data = sharing.data(inputs, about)
    pairs = data[data["statistic"] == "ratio"]
    order = list(zip(pairs["class_a"], pairs["class_b"], strict=True))
    assert order == [(a, b) for i, a in enumerate(LANGUAGES) for b in LANGUAGES[:i]]
    inferred = tables.read(inputs["inference"][0], "inference")
    inferred = inferred[inferred["statistic"] == "ratio"].set_index(["class_a", "class_b"])
    for pair in pairs.itertuples():  # which inference lists the other way round
        assert pair.p_value == inferred.loc[(pair.class_b, pair.class_a), "p_value"]
    assert set(data["statistic"]) == {"ratio", "mean_other"}


def test_sharing_shows_the_data(tmp_path):
    inputs, about = comparison(tmp_path, LANGUAGES[:4], LANGUAGES[:4], MODELS[:1], draws=499, planted=5)
    data = sharing.data(inputs, about)
    observed, _, relative, _, means = sharing.draw(data, about).axes
    pairs = data[data["statistic"] == "ratio"]
    for axes, value in ((observed, "value"), (relative, "relative")):
        shown = [t.get_text() for t in axes.texts]
        assert shown == [sharing._brief(x) for x in pairs[value].dropna()]
        dots = {tuple(np.floor(line.get_xydata()[0]).astype(int)) for line in axes.lines}
        significant = pairs[pairs["q_value"] < 0.05]
        assert dots == {
            (LANGUAGES.index(p.class_b), LANGUAGES.index(p.class_a)) for p in significant.itertuples()
        }
        assert {(0, 0)} <= dots <= {(i, i) for i in range(4)}  # those that were planted
        assert axes.get_ylim() == (4, 0)  # the first class on top
    assert [t.get_text() for t in observed.get_yticklabels()] == LANGUAGES[:4]
    assert [t.get_text() for t in relative.get_xticklabels()] == LANGUAGES[:4]
    rows = data[data["statistic"].isin(["mean_matched", "mean_other"])]
    assert [line.get_xdata()[0] for line in means.lines] == rows["value"].tolist()
    intervals = [c for c in means.collections if type(c).__name__ == "LineCollection"]
    ends = [c.get_segments()[0][:, 0].tolist() for c in intervals]
    assert ends == rows[["low", "high"]].to_numpy().tolist()
    (text,) = (t.get_text() for t in means.texts)
    contrast = data[data["statistic"] == "contrast"].iloc[0]
    assert text.startswith(f"same − other: +{contrast['value']:.3f}, p = 0.002\n[")


def test_colours_against_chance():
    scale = sharing._against_chance(pd.DataFrame({"relative": [0.0, np.nan, 0.3, 20.0]}))
    assert scale.get_clim() == (0.25, 32)
    np.testing.assert_allclose(scale.to_rgba(1.0), (1, 1, 1, 1), atol=0.02)
    twice, half = scale.to_rgba(2.0), scale.to_rgba(0.5)
    assert twice[0] > twice[2]  # orange
    assert half[2] > half[0]  # blue
    np.testing.assert_allclose(np.array(twice), style.DIVERGING(0.6), atol=0.02)  # as far as half from white
    np.testing.assert_allclose(np.array(half), style.DIVERGING(0.4), atol=0.02)
    assert sharing._against_chance(pd.DataFrame({"relative": [0.0, np.nan]})).get_clim() == (0.5, 2)


def test_pairs_without_neurons_are_grey(tmp_path):
    inputs, about = comparison(tmp_path, ["a", "b"], ["c", "d"], MODELS[:1])
    path = inputs["sharing"][0]
    nobody = {name: frozenset() for name in "abcd"}
    tables.write(path, "sharing", compare({"a": nobody["a"], "b": nobody["b"]}, nobody, NEURONS, None))
    data = sharing.data({"sharing": [path], "inference": []}, about)
    figure = sharing.draw(data, about)
    legible(figure)
    for axes in figure.axes[0:4:2]:
        colours = axes.collections[0].get_facecolor().reshape(-1, 4)
        np.testing.assert_allclose(colours, np.tile(style.UNDEFINED, (len(colours), 1)))


def test_a_selector_that_cannot_be_resampled_has_ratios(tmp_path):
    inputs, about = comparison(tmp_path, LANGUAGES, LANGUAGES)
    known = sharing.data(inputs, about)
    data = sharing.data({**inputs, "inference": []}, about)
    assert list(data.columns) == list(known.columns)
    assert data["low"].isna().all()
    np.testing.assert_allclose(data["value"], known["value"])
    legible(sharing.draw(data, about))


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (0.004, ".00"), (0.996, "1.0"), (9.96, "10")])
def test_numbers_in_cells_are_brief(number, text):
    assert sharing._brief(number) == text


def test_models_wrap_where_cells_would_be_too_small():
    names = [str(n) for n in range(30)]
    few, many = (panels.Panels.of(names[:n], names[:n], MODELS, 4) for n in (10, 30))
    assert (few.across, few.blocks) == (4, 1)
    assert (many.across, many.blocks) == (2, 2)
    assert many.cell >= panels.SMALLEST


# Coverage


def coverage_inputs(tmp_path, tasks, models):
    inputs = {"classes": [], "inference": []}
    for t in range(tasks):
        one = task([str(n) for n in range(2 + t)], t, 2)
        found = infer(one, Inference(draws=9, bootstrap=9, halves=2, splits=1, replications=1))[0]
        for m, model in enumerate(models):
            count = one.chosen.assigned.sum(1) * (m + 1)
            classes = pd.DataFrame({"class": one.units.classes, "clips": 5, "tokens": 50, "neurons": count})
            classes["padding"] = 0.0
            for kind, table in (("classes", classes.assign(covered=count > 0)), ("inference", found)):
                path = tmp_path / f"{kind}-{t}-{model['name']}.parquet"
                tables.write(path, kind, table)
                inputs[kind].append(path)
    named = [{"name": f"t{t}", "title": f"VoxCeleb1 nationality {t}"} for t in range(tasks)]
    return inputs, {"models": models, "tasks": named, "level": 0.95}


@pytest.mark.parametrize("models", [1, 4])
@pytest.mark.parametrize("tasks", [1, 10])
def test_coverage_is_drawn(tmp_path, tasks, models):
    inputs, about = coverage_inputs(tmp_path, tasks, MODELS[:models])
    data = coverage.data(inputs, about)
    figure = coverage.draw(data, about)
    legible(figure)
    for axes, value, prefix in zip(
        figure.axes, ("coverage", "neurons_per_class"), ("coverage", "neurons"), strict=True
    ):
        lines = axes.collections[::2]
        for bars, line, null, model in zip(
            axes.containers, lines, axes.collections[1::2], about["models"], strict=True
        ):
            own = data[data["model"] == model["name"]]
            assert [bar.get_width() for bar in bars] == pytest.approx(own[value].tolist())
            ends = [segment[:, 0].tolist() for segment in line.get_segments()]
            assert ends == own[[f"{prefix}_low", f"{prefix}_high"]].to_numpy().tolist()
            np.testing.assert_allclose(null.get_offsets()[:, 0], own[f"{prefix}_null"])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [f"VoxCeleb1 nationality {t} ({2 + t} classes)" for t in range(tasks)]


def test_coverage_without_inference_is_drawn(tmp_path):
    inputs, about = coverage_inputs(tmp_path, 2, MODELS[:2])
    figure = coverage.draw(coverage.data({**inputs, "inference": []}, about), about)
    legible(figure)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [m["title"] for m in MODELS[:2]]


# What all figures have


def made(tmp_path, figure, inputs, about, name):
    endings = {"pdf": "pdf", "png": "png", "data": "parquet", "csv": "csv"}
    out = {kind: tmp_path / f"{name}.{ending}" for kind, ending in endings.items()}
    figures.make(figure, inputs, about, out)
    return out


@pytest.mark.parametrize("figure", ["sharing", "coverage"])
def test_a_figure_is_written_with_its_data_and_the_same_bytes(tmp_path, figure):
    if figure == "sharing":
        inputs, about = comparison(tmp_path, LANGUAGES[:4], models=MODELS[:2])
    else:
        inputs, about = coverage_inputs(tmp_path, 3, MODELS)
    first, second = (made(tmp_path, figure, inputs, about, name) for name in ("first", "second"))
    for kind, path in first.items():
        assert path.read_bytes() == second[kind].read_bytes()
    assert first["pdf"].read_bytes().startswith(b"%PDF")
    height, width = plt.imread(first["png"]).shape[:2]
    assert width == round(style.WIDE * plt.rcParams["savefig.dpi"])
    assert height > 300
    data, text = pd.read_parquet(first["data"]), pd.read_csv(first["csv"], keep_default_na=False)
    assert list(data.columns) == list(text.columns)
    assert len(data) == len(text) > 0
    assert not plt.get_fignums()


def test_models_of_one_kind_differ_in_colour():
    models = [{"name": str(i), "kind": k} for i, k in enumerate(["ssl", "sl", "ssl", "random", "ssl"])]
    assert len(set(style.colours(models).values())) == 5


def test_long_names_are_shortened():
    assert style.readable("Toilet_flush") == "Toilet flush"
    assert style.readable(LONG) == "Waves and surf an…"
    assert len(style.readable(LONG)) == style.LONGEST


@pytest.mark.parametrize("figure", ["sharing", "coverage"])
def test_dollars_are_no_formulas_and_letters_that_the_font_lacks_are_told(
    tmp_path, figure, monkeypatch, capsys
):
    models = [{**MODELS[0], "title": "costs $5_a and $6"}, {**MODELS[3], "title": "$\\frac$ 鳥"}]
    if figure == "sharing":
        inputs, about = comparison(tmp_path, ["$\\frac$", "$a_1$", "a"], models=models)
    else:
        inputs, about = coverage_inputs(tmp_path, 2, models)
    drawn, draw = [], style.save
    monkeypatch.setattr(style, "save", lambda figure, *paths: (drawn.append(figure), draw(figure, *paths))[1])
    out = made(tmp_path, figure, inputs, about, "figure")
    assert "figure.png: the font has no 鳥, drawn as boxes" in capsys.readouterr().err
    named = [t for t in drawn[0].findobj(Text) if "$" in t.get_text() and "mathdefault" not in t.get_text()]
    shown = {text._preprocess_math(text.get_text()) for text in named}
    assert not any(formula for _, formula in shown)
    said = " ".join(text for text, _ in shown)
    assert all(text in said for text in ("costs $5_a and", "$\\frac$"))
    assert "$\\frac$" in out["csv"].read_text(encoding="utf-8")
