from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from audio_neurons import plotting, tables
from audio_neurons.sharing import compare

MODELS = [
    {"name": "m", "title": "M2D/0.7", "kind": "ssl"},
    {"name": "s", "title": "supervised", "kind": "sl"},
    {"name": "r", "title": "random", "kind": "random"},
]
LONG = "Waves_and_surf_and_splash_and_splatter_stream"


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def sets(names, seed, most=30, pool=60):
    rng = np.random.default_rng(seed)
    return {n: frozenset((0, int(u)) for u in rng.permutation(pool)[: rng.integers(0, most)]) for n in names}


def sharing_figure(tmp_path, rows, columns=None, models=MODELS, empty=False):
    paths = []
    for i in range(len(models)):
        first = sets(rows, i, 1 if empty else 30)
        second = sets(columns, 9 + i) if columns else first
        paths.append(tmp_path / f"{i}.parquet")
        tables.write(paths[-1], "sharing", compare(first, second, 60))
    titles = ["GTZAN", "Surge octave"][: 2 if columns else 1]
    return plotting.sharing(paths, models, {"title": "Octave", "tasks": titles})


def coverage_table(tasks=6, models=MODELS):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {
                "task": f"t{t}", "task_title": f"Task number {t}",
                "model": m["name"], "model_title": m["title"], "kind": m["kind"],
                "classes": 5 + t, "covered": 5, "coverage": rng.random(),
                "neurons_per_class": 40 * rng.random(),
            }
            for t in range(tasks)
            for m in models
        ]
    )  # fmt: skip


def texts_inside(figure):
    """Every text of a figure lies on the page that is saved, and no two titles or ticks overlap."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [t.get_window_extent(renderer) for t in axis.get_ticklabels() if t.get_text()]
            for a, b in pairwise(boxes):
                assert not a.shrunk(0.98, 0.98).overlaps(b.shrunk(0.98, 0.98))
    titles = [t for axes in figure.axes for t in (axes.title,) if t.get_text()]
    titles += [figure._suptitle]
    boxes = [t.get_window_extent(renderer) for t in titles]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    page = figure.bbox
    box = figure._suptitle.get_window_extent(renderer)
    assert box.x0 >= page.x0
    assert box.x1 <= page.x1


LANGUAGES = ["de", "en", "es", "fr", "it", "ru"]
CASES = {
    "one class": (["blues"], None),
    "two classes": (["female", "male"], None),
    "languages": (LANGUAGES, None),
    "octaves": ([str(n) for n in range(1, 9)], [str(n) for n in range(-1, 10)]),
    "one pair": (["a"], ["b"]),
    "long names": ([LONG, "dog"], ["Dog", LONG, "Walk_and_footsteps"]),
    "many": ([f"country {n}" for n in range(35)], None),
    "many between": ([f"class {n}" for n in range(14)], [f"Class {n}" for n in range(15)]),
}


@pytest.mark.parametrize(
    ("case", "models"), [(case, n) for case in CASES for n in (1, 3) if n == 1 or not case.startswith("many")]
)
def test_sharing_is_drawn_for_any_number_of_classes_and_models(tmp_path, case, models):
    figure = sharing_figure(tmp_path, *CASES[case], MODELS[:models])
    texts_inside(figure)


def test_sharing_shows_the_ratios_of_the_tables(tmp_path):
    figure = sharing_figure(tmp_path, LANGUAGES, models=MODELS[:1])
    table = tables.read(tmp_path / "0.parquet", "sharing").set_index(["class_a", "class_b"])
    for axes, value in zip(figure.axes, ("ratio", "expected"), strict=False):
        shown = [t.get_text() for t in axes.texts]
        pairs = [(a, b) for i, a in enumerate(LANGUAGES) for b in LANGUAGES[:i]]
        assert shown == [f"{table.loc[pair, value]:.2f}" for pair in pairs]
        labels = [t.get_text() for t in axes.get_yticklabels()]
        assert axes.get_ylim() == (5, 0)  # the first class on top
        counts = table["neurons_a"].groupby("class_a").first()
        assert labels == [f"{name} ({counts[name]})" for name in LANGUAGES[1:]]


def test_pairs_without_a_ratio_are_drawn(tmp_path):
    texts_inside(sharing_figure(tmp_path, LANGUAGES, empty=True))
    texts_inside(sharing_figure(tmp_path, ["a", "b"], ["c", "d"], empty=True))


@pytest.mark.parametrize("models", [1, 2, 3])
@pytest.mark.parametrize("tasks", [1, 10])
def test_coverage_is_drawn(tasks, models):
    figure = plotting.coverage(coverage_table(tasks, MODELS[:models]))
    texts_inside(figure)
    left, right = figure.axes
    table = coverage_table(tasks, MODELS[:models])
    for axes, value in ((left, "coverage"), (right, "neurons_per_class")):
        for bars, model in zip(axes.containers, MODELS, strict=False):
            expected = table.loc[table["model"] == model["name"], value].tolist()
            assert [bar.get_width() for bar in bars] == pytest.approx(expected)
    assert [t.get_text() for t in left.get_yticklabels()] == [
        f"Task number {t} ({5 + t} classes)" for t in range(tasks)
    ]
    assert not left.xaxis.label.get_window_extent().overlaps(right.xaxis.label.get_window_extent())


def test_models_of_one_kind_differ_in_colour():
    colours = plotting._model_colours(["ssl", "sl", "ssl", "random", "ssl"])
    assert len({tuple(c) for c in colours}) == 5


@pytest.mark.parametrize("draw", ["sharing", "coverage"])
def test_the_same_figure_has_the_same_bytes(tmp_path, draw):
    written = []
    for i in range(2):
        if draw == "sharing":
            figure = sharing_figure(tmp_path, LANGUAGES[:4], models=MODELS[:2])
        else:
            figure = plotting.coverage(coverage_table(3))
        pdf, png = tmp_path / f"{i}.pdf", tmp_path / f"{i}.png"
        plotting.save(figure, pdf, png)
        assert pdf.read_bytes().startswith(b"%PDF")
        assert png.read_bytes().startswith(b"\x89PNG")
        written.append((pdf.read_bytes(), png.read_bytes()))
    assert written[0] == written[1]
    assert not plt.get_fignums()


def test_long_names_are_shortened():
    assert plotting.readable("Toilet_flush") == "Toilet flush"
    assert plotting.readable(LONG) == "Waves and surf an…"
    assert len(plotting.readable(LONG)) == plotting.LONGEST
