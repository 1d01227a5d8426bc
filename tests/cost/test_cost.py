"""What a study costs, by arithmetic: amounts of work, numbers of clips, and times at given rates."""

import doctest
import os
import re
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import yaml
from common import ROOT, TINY

from audio_neurons.ablation import rounds, sequential
from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.conditions import Condition, NeuronSet, compared
from audio_neurons.commands import cost as command
from audio_neurons.cost import calibration, clock, estimate, making, records, sizes, work
from audio_neurons.settings.ablation import Conditions
from audio_neurons.study import Study, complete
from audio_neurons.synthesis.soundfont import DemoPackageMissing

CONFIG = {
    "datasets": {
        "own": {"files": "own.csv", "clip_seconds": 2.0},
        "cremad": {},
    },
    "tasks": {
        "pitch": {"dataset": "own", "label": "pitch"},
        "emotion": {"dataset": "cremad", "label": "emotion"},
    },
    "models": {"tiny": {**TINY, "kind": "random"}},
    "extraction": {"device": "cpu", "batch_size": 8},
    "inference": {"draws": 10},
    "probe": {"seeds": [0, 1], "epochs": 50, "patience": 9},
    "ablation": {"random": 20, "stop_after": 10, "tasks": {"pitch": {}}},
    "comparisons": {"pitch": {"tasks": ["pitch"]}},
    "atlas": {},
}
PASS = {"pass": 2.0, "extract": 3.0, "front": 0.1, "operations": 1e12}
ENCODER = {
    "passes": {"2": PASS, "2.5": PASS},
    "first": 1.0, "middle": 0.5, "start": 101.0, "neurons": 1000, "features": 8,
    "probe": [0.001, 0.0005],
}  # fmt: skip


@pytest.fixture
def study(tmp_path, monkeypatch):
    """24 recordings of the user's own, 18 of them to be trained on, and CREMA-D, which is not here."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{n}.wav,{'low' if n % 2 else 'high'},s{n // 4},{'test' if n >= 18 else 'train'}" for n in range(24)
    ]
    (tmp_path / "own.csv").write_text("\n".join(["path,pitch,group,split", *rows]) + "\n")
    for n in range(24):
        (tmp_path / f"{n}.wav").touch()

    def made(**changes):
        config = deepcopy(CONFIG)
        for section, values in changes.items():
            config[section] |= values
        return Study(complete(config), ROOT)

    return made


def counted(study, more=None):
    rates = {
        "start": {"tables": 10.0, "tests": 15.0, "probes": 20.0, "figure": 1000.0, "panel": 50.0},
        "prepare": 0.01, "check": 0.02, "decode": 0.001, "excerpt": 0.5,
        "infer": {calibration.serialise(study.config.inference): [1.0, 0.001, 0.0001, 0.002, 0.5]},
        "encoders": {calibration.key(study, model): ENCODER for model in study.models},
        "unknown": {},
    } | (more or {})  # fmt: skip
    return estimate.items(study, {name: sizes.sizes(study, name) for name in study.datasets}, rates)


def of_atlas(study, where):
    return [item for item in counted(study)[0] if (item.stage, item.of) == ("atlas", where)]


def of(found, stage, where):
    (one,) = [item for item in found if item.stage == stage and item.of == where]
    return one


@pytest.mark.parametrize("module", [clock, work, command])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_numbers_of_clips_are_those_of_the_list_of_the_sample_or_of_the_dataset(study):
    one = study()
    own = sizes.sizes(one, "own")
    assert (own.clips, own.splits, own.groups) == (24, {"train": 18, "test": 6}, 6)
    assert (own.classes, own.folds, own.source) == ({"pitch": 2}, 1, "own.csv")
    known = sizes.sizes(one, "cremad")
    assert (known.clips, known.splits["test"], known.classes["emotion"]) == (7437, 1551, 6)
    two = sizes.sizes(study(datasets={"cremad": {"options": {"sentences": ["DFA", "IEO"]}}}), "cremad")
    assert two.clips == round(known.clips / 6)
    assert "if all sentences are as many" in two.source
    half = sizes.sizes(study(datasets={"cremad": {"sample": {"clips": 3719}}}), "cremad")
    assert half.clips == 3719
    assert half.splits["test"] == pytest.approx(1551 / 2, abs=1)
    overlapping = study(datasets={"own": {**CONFIG["datasets"]["own"], "windows": {"every": 1}}})
    assert sizes.sizes(overlapping, "own") is None
    found, unknown = counted(overlapping)
    assert unknown == ["own: how many clips there will be"]
    assert not [item for item in found if item.of in ("own", "pitch")]


def test_every_stage_is_its_work_at_the_rates(study):
    found, unknown = counted(study())
    assert unknown == []
    prepared = of(found, "preparation", "own")
    assert prepared.other == pytest.approx((24 * 2 * 0.03,) * 2)
    assert prepared.starts == 10 * prepared.jobs
    extracted = of(found, "extraction", "own")
    assert extracted.encoder == pytest.approx((24 * 3.0,) * 2)  # three whole batches, with statistics
    assert extracted.operations == pytest.approx((24 * 1.5e12,) * 2)
    assert extracted.starts == 100 + 1 + 10  # the encoder's job, which builds it, and the merge
    assert extracted.here() == pytest.approx((24 * 3 + 24 * 2 * 0.001 + 111,) * 2)
    assert extracted.on(1e12) == pytest.approx((24 * 1.5 + 24 * 2 * 0.001 + 111,) * 2)
    own, two = [item for item in found if item.stage == "inference" and item.of == "pitch"]
    assert own.other == pytest.approx((1 + 1 + 0.1 * 12 + 2.0 * 2,) * 2)  # 6 groups of 2 classes
    assert own.starts == 10
    assert two.other == pytest.approx((0.5 * own.other[0],) * 2)  # a comparison, without halves
    (figures,) = [item for item in found if item.stage == "figures and tables"]
    assert figures.jobs == 7 + 4
    assert figures.starts == 7 * (1000 + 3 * 50) + 4 * 10  # one model's 4 classes, of 2 and 6 on average
    probes = of(found, "probes", "pitch")
    assert probes.other == pytest.approx((18 * 2 * 10 * 0.002, 18 * 2 * 50 * 0.002))
    # Two sets: own conditions at two replacements and the shifted ones, and random sets at the mean.
    ablated = of(found, "ablation", "pitch")
    fewest = work.fewest_draws(study().config.ablation)
    passes = [8 * (8 + 2 * fewest) * 0.5 + 8 * 2 + 24, 8 * (8 + 2 * 20) * 1.0 + 8 * 2 + 24]
    assert ablated.encoder == pytest.approx([2 * n for n in passes])
    shown, sounds, pages = (of(found, "atlas", where) for where in ("own", "own sounds", "pages"))
    assert shown.encoder == pytest.approx((24 * 2.0,) * 2)  # of 24 clips, all are drawn
    assert shown.starts == 101
    assert sounds.other == pytest.approx((24 * 2 * 0.5,) * 2)
    assert pages.other == pytest.approx((estimate.CARD * 1000 * 2,) * 2)  # of two datasets
    assert of(found, "screening", "pitch").encoder == pytest.approx((2 * 8 * (1 + 3 + 60 * 0.5),) * 2)


def test_models_of_one_job_start_and_decode_once(study):
    twin = {"twin": {**TINY, "kind": "random"}}
    alone, together = (
        [
            item
            for item in counted(study(models=twin, extraction={"together": way}))[0]
            if (item.stage, item.of) == ("extraction", "own")
        ]
        for way in (False, True)
    )
    assert [(one.model, one.jobs, one.starts) for one in alone] == [("tiny", 2, 111), ("twin", 2, 111)]
    # The merge of each, and one job for both.
    assert [(one.model, one.jobs, one.starts) for one in together] == [("tiny", 2, 111), ("twin", 1, 10)]
    assert [one.other for one in together] == [alone[0].other, (0.0, 0.0)]
    assert [one.encoder for one in together] == [one.encoder for one in alone]
    shown = [of_atlas(study(models=twin, extraction={"together": way}), "own") for way in (False, True)]
    assert [[one.jobs for one in way] for way in shown] == [[1, 1], [1, 0]]


def test_where_a_card_mostly_starts_jobs_fewer_are_advised(study):
    twin = {"twin": {**TINY, "kind": "random"}}
    fast, slow = {"a card": 1e14, "a slow one": 1e9}, {"a slow one": 1e9}
    # 7,461 passes of 1e12 operations for each model, and some 100 s for the start of each job.
    one, two = (
        study(models=twin, extraction={"clips_per_shard": 10_000, "together": way}) for way in (False, True)
    )
    said = " ".join(command._fewer(one, counted(one)[0], fast))
    assert said.startswith("Most of extraction's time on a card is that of starting its ")
    assert "`extraction: {together: true}`, set before" in said
    assert not list(command._fewer(two, counted(two)[0], fast))
    parts = study()  # CREMA-D has two
    said = " ".join(command._fewer(parts, counted(parts)[0], fast))
    assert "`extraction: {clips_per_shard: 100000}`, set before" in said
    for every in (one, parts):
        assert not list(command._fewer(every, counted(every)[0], slow))


def test_more_jobs_of_an_ablation_repeat_the_passes_without_change(study):
    one, three = (of(counted(study(ablation={"jobs": n}))[0], "ablation", "pitch") for n in (1, 3))
    assert np.subtract(three.encoder, one.encoder) == pytest.approx([2 * 2 * (8 + 24)] * 2)
    assert (one.jobs, three.jobs) == (1, 4)


TRAINED = {
    "trained": {
        **TINY, "kind": "ssl", "weights": {"source": "training"},
        "training": {
            "objective": "m2d", "pool": "pool", "steps": 7, "batch_size": 10, "clip_seconds": 2.5,
            "predictor_depth": 1, "predictor_dim": 32,
        },
    }
}  # fmt: skip


def test_what_is_made_here_costs_what_was_measured_of_it(study):
    config = deepcopy(CONFIG) | {"models": TRAINED, "pools": {"pool": {"clips": 50, "clip_seconds": 2.5}}}
    config["datasets"]["cremad"] = {"clip_seconds": 2.0, "synthesis": {"clips": 60}}
    study()  # its recordings
    one = Study(complete(config), ROOT)
    assert calibration.made(one, "cremad") == "cremad 2"
    made = sizes.sizes(one, "cremad")
    assert (made.clips, made.splits, made.groups) == (60, {"train": 42, "valid": 6, "test": 12}, 20)
    more = {
        "encoders": {calibration.key(one, "trained"): {**ENCODER, "passes": {"2": PASS, "0.64": PASS}}},
        "recordings": {"cremad 2": [3.0, 0.5]}, "pools": {"2.5": [1.0, 0.25]},
        "trainings": {calibration.training_key(one, "trained"): {"step": [0.5, 0.2], "read": 0.125}},
    }  # fmt: skip
    found, unknown = counted(one, more)
    assert unknown == []
    assert of(found, "preparation", "cremad, made").other == (33.0, 33.0)
    assert of(found, "preparation", "pool, made").other == (13.5, 13.5)
    trained = of(found, "training", "pool")
    assert trained.encoder == pytest.approx((7 * (0.5 + 10 * 0.2),) * 2)
    assert trained.other == pytest.approx((50 * 0.125,) * 2)
    assert trained.operations == pytest.approx((7 * 10 * 3 * 1e12,) * 2)
    assert trained.starts == 101
    assert not [item for item in counted(one, more | {"trainings": {}})[0] if item.stage == "training"]
    keys = [
        calibration.training_key(Study(complete({**config, "models": {"trained": block}}), ROOT), "trained")
        for block in (changed(steps=9, seed=3), changed(batch_size=11), changed(objective="supervised"))
    ]
    assert keys[0] in more["trainings"]
    assert len({*keys}) == 3


def changed(**settings):
    block = deepcopy(TRAINED["trained"])
    block["training"] |= settings
    return block


def test_recordings_whose_package_is_missing_are_named(study, monkeypatch):
    config = deepcopy(CONFIG)
    config["datasets"]["voxforge"] = {"clip_seconds": 1.0, "synthesis": {"clips": 60}}
    config["tasks"]["emotion"] = {"dataset": "voxforge", "label": "language"}
    study()

    def lacking(*_):
        raise DemoPackageMissing("espeakng_loader")

    monkeypatch.setattr(making, "recordings", lacking)
    one = Study(complete(config), ROOT)
    ((what, why),) = calibration._add_made(one, {"recordings": {}, "pools": {}})
    assert what == "recordings of voxforge"
    assert "audio-neurons[demo]" in why


@pytest.mark.parametrize("objective", ["m2d", "supervised"])
def test_a_training_is_measured_on_noise(objective, capsys):
    found = making.training(changed(objective=objective), "cpu", once=0.1)
    constant, each = found["step"]
    assert constant >= 0
    assert each >= 0
    assert 0 < constant + 10 * each < 10
    assert 0 < found["read"] < 1
    assert capsys.readouterr().err == ""


def test_making_recordings_is_measured_with_the_processes_that_speak(monkeypatch):
    pytest.importorskip("espeakng_loader")
    asked = []
    monkeypatch.setattr(making, "line", lambda sizes, seconds: asked.append((sizes, seconds)))
    before = sum(os.times()[2:4])
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))
    making.recordings("cremad", Study(complete(config), ROOT).datasets.archives("cremad"), 0.3)
    making.pool(0.3)
    assert [sizes for sizes, _ in asked] == [making.RECORDINGS] * 2
    assert sum(os.times()[2:4]) > before
    command = [sys.executable, "-c", "sum(range(10**7))"]
    making._made(lambda folder, clips: subprocess.run(command, check=True))
    assert min(asked[-1][1]) > 0.04  # of another process


def test_a_study_without_an_atlas_pays_for_none(study):
    assert not [i for i in counted(study(atlas={"make": False}))[0] if i.stage == "atlas"]


def test_a_model_that_cannot_be_measured_is_named(study):
    one = study()
    start = {"tables": 1, "tests": 1, "probes": 1, "figure": 1, "panel": 0}
    rates = {"start": start, "prepare": 0, "check": 0, "excerpt": 0, "encoders": {}}
    known = {name: sizes.sizes(one, name) for name in one.datasets}
    found, unknown = estimate.items(one, known, rates | {"unknown": {"model tiny": "is not here yet"}})
    assert unknown == ["model tiny: is not here yet"]
    assert {item.stage for item in found} == {"preparation", "atlas", "figures and tables"}


def test_what_acoustics_add_is_said_not_to_be_counted(study):
    _, unknown = counted(study(extraction={"acoustics": True, "responses": True}))
    assert unknown == ["what extraction.acoustics adds to extraction and inference"]


def test_conditions_are_as_many_as_an_ablation_makes():
    sets = [NeuronSet("class", name, (name,), frozenset({(0, n)})) for n, name in enumerate("abc")]
    for settings in (
        Conditions(gains=(0, 0.5, 2)),
        Conditions(replacements=("zero", "resample")),
        Conditions(random_at="all", shifted=False),
        Conditions(random=0),
    ):
        own = [
            Condition(one, Change(one.neurons, gain, replacement), control)
            for one in sets
            for control in ["none"] + ["shifted"] * settings.shifted
            for gain in (settings.gains if control == "none" else [0])
            for replacement in settings.replacements
        ]
        assert work.own_conditions(settings, 3) == len(own)
        assert work.compared_conditions(settings, 3) == len(compared(own, settings))


def test_random_sets_without_effect_are_drawn_as_often_as_the_formula_says():
    """For one statistic, of which `facts` then makes two."""
    settings, rng, drawn = Conditions(), np.random.default_rng(0), []
    for _ in range(4000):
        values = rng.random(101)
        end = sequential.ended((values[1:] <= values[0])[:, None], settings.stop_after)
        drawn.append(end or 100)
    assert work.fewest_draws(settings) / work.facts()["two_statistics"] == pytest.approx(
        np.mean(drawn), rel=0.04
    )
    assert rounds.TOGETHER == 48


def test_tables_of_clips_tell_the_numbers_once_they_are_there(study, monkeypatch):
    one = study()
    frame = pd.DataFrame(
        {"split": ["train", "test"], "group": ["a", "b"], "fold": 0, "frames": [16_000, 32_000]}
    )
    monkeypatch.setattr(one.datasets, "prepared", lambda name: True)
    monkeypatch.setattr(sizes.tables, "read", lambda path, name, columns: frame.assign(pitch=["low", "low"]))
    found = sizes.sizes(one, "own")
    assert (found.clips, found.seconds, found.classes) == (2, 1.5, {"pitch": 1})


def test_what_logs_tell_of_jobs_is_added_up_by_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, told in {
        "extract/m/own/000": "extract: 3 clips\ntook 5.00 s of processor time\n",
        "merge/m/own": "took 1.50 s of processor time\n",
        "ablate_part/m/own/aape/000-of-002": "took 3.00 s of processor time\n",
        "draw_layers": "took 7.00 s of processor time\n", "unheard_of": "took 1.00 s of processor time\n",
        "probe/m/own": "error: no\n", "train/m": "train m: it took 3 s\n",
    }.items():  # fmt: skip
        file = tmp_path / f"logs/{path}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(told, encoding="utf-8")
    assert records.took() == {"extraction": (6.5, 2), "ablation": (3.0, 1), "figures and tables": (7.0, 1)}


def test_every_rule_belongs_to_a_stage_or_is_known_to_take_nothing():
    """A rule that the cost forgets would be missing in silence."""
    rules = set()
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        rules |= set(re.findall(r"logs/benchmarks/([a-z_]+)", file.read_text(encoding="utf-8")))
    known = {rule for rule in rules if {rule, rule.partition("_")[0]} & set(records.STAGE_OF)}
    assert rules - known == UNCOUNTED


# Downloads, the packing of AudioSet, and lists of files and of provenance; `cost` says that the first two are
# not counted.
UNCOUNTED = {
    "download_archive", "download_batch", "download_snapshot", "download_weights",
    "find_audioset", "list_files", "pack_audioset", "provenance",
}  # fmt: skip
