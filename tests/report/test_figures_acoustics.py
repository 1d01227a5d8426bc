"""The figure, the table and the section of the findings about acoustics, from tables of planted truth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_figures import MODELS, legible

from audio_neurons import tables
from audio_neurons.activations.features import NAMES
from audio_neurons.inference.partialling import ALL, FAMILIES, NO_EFFECT, TOLD
from audio_neurons.report import acoustics
from audio_neurons.report.figures import acoustics as figure
from audio_neurons.settings.configuration import Configuration

LAYERS, WIDTH, CLASSES = 2, 30, ("female", "male", "a_class_with_a_very_long_name")
TASKS = [{"name": "gender", "title": "Gender"}]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def world(tmp_path):
    """Tables of all models; neurons 0 to 4 belong to the first class and correlate with f0 by 0.5."""
    rng, inputs = np.random.default_rng(0), {"classes": [], "neurons": [], "correlations": []}
    place = pd.DataFrame(np.argwhere(np.ones((LAYERS, WIDTH))), columns=["layer", "neuron"])
    for model in MODELS:
        folder = tmp_path / model["name"]
        folder.mkdir()
        own = []
        for i, name in enumerate(CLASSES):
            assigned = np.zeros(len(place), bool)
            assigned[5 * i : 5 * i + 5] = True
            rows = {"class": name, "response": 0.5, "entropy": 0.1, "selected": assigned, "eligible": True}
            own.append(place.assign(**rows, assigned=assigned))
        tables.write(folder / "neurons.parquet", "neurons", pd.concat(own))
        with tables.writer(folder / "correlations.parquet", "correlations") as out:
            for split in ("*", "train"):
                for name in NAMES:
                    r = rng.uniform(-0.1, 0.1, len(place))
                    r[:5] = {"f0": 0.5, "flatness": np.nan}.get(name, 0.0) if split == "train" else 0.9
                    size = len(place)
                    columns = {"split": [split] * size, "feature": [name] * size, "tokens": [9] * size}
                    columns |= {"rate": [0.5] * size, "correlation": r}
                    out.append({**columns, "layer": place["layer"], "neuron": place["neuron"]})
        found = []
        for family in (*FAMILIES, ALL):
            for i, name in enumerate(CLASSES):
                stays = (0.1, np.nan, 2.5)[i]
                reason = (("", TOLD if family == "f0" else NO_EFFECT, ""))[i]
                row = {"class": name, "family": family, "neurons": 5, "clips": 20, "groups": 10}
                row |= {"regressors": 4, "untold": 0.5, "effect": 0.2, "low": 0.1, "high": 0.3}
                row |= {"kept": 0.2 * stays, "kept_low": 0.0, "kept_high": 0.1}
                found.append(
                    {
                        **row,
                        "stays": stays,
                        "stays_low": stays - 0.2,
                        "stays_high": stays + 0.2,
                        "reason": reason,
                    }
                )
        tables.write(folder / "classes.parquet", "acoustic_classes", pd.DataFrame(found))
        for role in inputs:
            inputs[role].append(folder / f"{role}.parquet")
    return inputs


ABOUT = {"models": MODELS, "tasks": TASKS, "task": "Gender", "split": "train"}


def test_the_figure_shows_what_the_tables_hold(world):
    data = figure.data(world, ABOUT)
    stays, others = (data[data["part"] == part] for part in (figure.STAYS, figure.CORRELATION))
    assert len(stays) == len(MODELS) * 3 * 4
    assert (stays.loc[stays["class"] == "female", "value"] == 0.1).all()
    row = others[(others["name"] == "f0") & (others["class"] == figure.CHOSEN)].iloc[0]
    assert row["neurons"] == 15
    assert row["high"] == 0.5  # of the split that neurons are chosen on
    assert others["high"].max() == 0.5


def test_the_figure_is_legible_and_says_what_cannot_be_told(world):
    drawn = figure.draw(figure.data(world, ABOUT), ABOUT)
    legible(drawn)
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert texts.count("class is told") == len(MODELS)
    assert texts.count("no effect") == 3 * len(MODELS)


def test_the_table_has_the_mean_correlations_of_a_class(world):
    found = acoustics.table(*(world[role] for role in ("classes", "neurons", "correlations")), ABOUT)
    assert len(found) == len(MODELS) * 3 * 4
    own = found[found["class"] == "female"]
    assert (own["r_f0"] == 0.5).all()
    assert own["r_flatness"].isna().all()
    assert (own["r_loudness"] == 0).all()
    assert found.columns[:5].tolist() == ["task", "task_title", "model", "model_title", "kind"]


def test_the_findings_say_what_stays_and_of_how_many_classes(world):
    found = acoustics.table(*(world[role] for role in ("classes", "neurons", "correlations")), ABOUT)
    (section,) = acoustics.sections({"acoustics": found.to_dict("records")}, ABOUT)
    part = section.parts[0]
    assert part.title == "Gender"
    assert part.figures[0].name == "acoustics/gender"
    cell = part.tables[0].rows[0][1]
    assert cell.text == "130 %"  # the median of 0.1 and 2.5
    assert cell.beside == "2 of 3 classes, 10 % to 250 %"
    each = part.details[0].tables[0].rows
    assert each[0][3].text == "0.10 [-0.10, 0.30]"
    assert each[1][3].beside == TOLD
    assert each[1][4].beside == NO_EFFECT


def test_without_acoustics_there_is_no_section():
    assert not list(acoustics.sections({"coverage": []}, ABOUT))


def test_every_reason_and_family_has_its_words():
    assert {*FAMILIES, ALL} == set(figure.FAMILIES) == set(acoustics.FAMILIES)
    assert {NO_EFFECT, TOLD} < set(figure.SHORT)
    assert Configuration.model_fields["extraction"].default.acoustics is False
