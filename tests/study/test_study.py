"""What a configuration asks for: paths, targets, and the text that rules pass to their scripts."""

import json
import re
import string
from types import SimpleNamespace

import pytest
import yaml
from common import ROOT
from snakemake.iocontainers import Wildcards
from test_config import MINIMAL, TRAINED, changed

from audio_neurons.settings.configuration import FIGURES
from audio_neurons.study import ConfigError, Study, complete, paths
from audio_neurons.study.results import OVERALL


@pytest.fixture
def studied(tmp_path, monkeypatch):
    """Make a study in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def study(config):
        return Study(complete(config), ROOT)

    return study


def wildcards(**values):
    return SimpleNamespace(**values)


def test_a_path_keeps_the_wildcards_that_are_not_filled_in():
    assert paths.fill(paths.CLIPS, dataset="a") == "results/clips/a/part-{shard}.parquet"
    assert paths.fill(paths.OF_TASK, table="neurons", model="m", task="t", selector="{s}") == (
        "results/neurons/m/t/{s}.parquet"
    )


def test_no_two_kinds_of_files_share_a_path():
    known = [value for name, value in vars(paths).items() if name.isupper() and isinstance(value, str)]
    assert len(set(known)) == len(known) > 20
    for path in known:
        names = [name for _, name, _, _ in string.Formatter().parse(path) if name]
        assert len(set(names)) == len(names), path


def test_tables_of_tasks_and_comparisons(studied):
    study = studied(MINIMAL)
    assert study.tasks.of_tasks("neurons") == [
        "results/neurons/r/events/aape.parquet", "results/neurons/r/sex/aape.parquet",
    ]  # fmt: skip
    assert study.tasks.shared("sharing_draws") == ["results/sharing_draws/r/e/aape.parquet"]
    assert study.datasets.clips("mine") == [f"results/clips/mine/part-00{n}.parquet" for n in range(3)]
    assert study.tasks.used_datasets() == ["esc50", "mine"]


def test_jobs_that_convert_synthesised_recordings_run_side_by_side(studied):
    """On two cores, a job of two threads would wait for both."""
    made = changed("datasets.esc50.synthesis", {"clips": 40})
    for config, expected in ((MINIMAL, 2), (made, 1)):
        assert studied(config).datasets.threads("esc50") == expected


def test_inference_reads_the_counts_of_single_clips_only_where_they_change_places(studied):
    one, pair = wildcards(model="r", task="sex"), wildcards(model="r", comparison="x")
    plain = studied(MINIMAL).tasks
    assert plain.inferred_from(one) == {"units": "results/statistics/r/mine/units.parquet"}
    compared = {"x": {"tasks": ["sex", "events"], "pairs": [["male", "dog"]]}}
    config = changed("comparisons", compared) | {"inference": {"exchange": "clips"}}
    config |= {"extraction": {**config.get("extraction", {}), "responses": True}}
    tasks = studied(config).tasks
    parts = [f"part-00{n}.parquet" for n in range(3)]
    own = {
        "responses": [f"results/responses/r/mine/{part}" for part in parts],
        "clips": [f"results/clips/mine/{part}" for part in parts],
    }
    assert tasks.inferred_from(one) == {"units": "results/statistics/r/mine/units.parquet", **own}
    both = tasks.compared_from(pair)
    assert {name: both[name] for name in own} == own
    assert both["units"][1] == "results/statistics/r/esc50/units.parquet"
    assert both["responses_2"][0] == "results/responses/r/esc50/part-000.parquet"
    assert both["clips_2"][0] == "results/clips/esc50/part-000.parquet"


def test_acoustics_have_tables_of_their_own_and_need_nothing_without(studied):
    one = wildcards(model="r", task="sex", dataset="mine", selector="aape")
    config = MINIMAL | {"extraction": {"responses": True, "acoustics": True}}
    study, plain = studied(config), studied(MINIMAL)
    assert set(study.tasks.shard_outputs()) - set(plain.tasks.shard_outputs()) == {
        "acoustics", "acoustic_sums", "responses",
    }  # fmt: skip
    parts = [f"part-00{n}.parquet" for n in range(3)]
    assert study.tasks.partialled_from(one) == {
        "responses": [f"results/responses/r/mine/{part}" for part in parts],
        "acoustics": [f"results/acoustics/r/mine/{part}" for part in parts],
        "clips": [f"results/clips/mine/{part}" for part in parts],
    }
    assert study.tasks.acoustic_sums(one)[2] == "results/shards/r/mine/002/acoustic_sums.parquet"
    more = set(study.results.everything()) - set(plain.results.everything())
    assert {"results/tables/acoustics.csv", "results/figures/acoustics/sex.png"} <= more
    assert all("acoustics" in path for path in more)
    assert "results/statistics/r/mine/correlations.parquet" in study.results.made_between()
    assert not [path for path in plain.results.made_between() if "acoustic" in path]
    assert study.tasks.passes(one) == plain.tasks.passes(one)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "neurons chosen by aape on the split train"),
        (
            {"selection": {"selectors": {"aape": {"weights": "groups"}}}},
            "neurons chosen by aape on the split train, groups of equal weight",
        ),
        (
            {"inference": {"exchange": "clips"}, "extraction": {"responses": True}},
            "neurons chosen by aape on the split train, clips permuted one by one",
        ),
    ],
)
def test_what_is_no_default_in_selection_and_permutation_is_told(studied, more, told):
    assert studied(MINIMAL | more).results._choice() == told


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({}, "inference.exchange: clips needs every clip's counts; set `extraction.responses: true`"),
        (
            {"extraction": {"responses": True}, "selection": {"selectors": {"aape": {"weights": "groups"}}}},
            "selection.selectors.aape.weights: groups needs `inference.exchange: rows`",
        ),
    ],
)
def test_single_clips_need_their_counts_and_no_weights(studied, more, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        studied(MINIMAL | {"inference": {"exchange": "clips"}} | more)


def test_datasets_that_are_compared_are_looked_through_for_the_same_recordings(studied):
    assert not any("common" in path for path in studied(MINIMAL).results.checks())
    pair = {"tasks": ["events", "sex"], "pairs": [["dog", "male"]]}
    both = studied(
        changed(
            "comparisons", {"x": pair, "y": pair | {"tasks": ["sex", "events"], "pairs": [["male", "dog"]]}}
        )
    )
    assert [path for path in both.results.checks() if "common" in path] == ["results/common/x.parquet"]
    wildcards = type("W", (), {"comparison": "x"})
    assert both.tasks.compared_datasets(wildcards) == ["esc50", "mine"]
    assert both.tasks.compared_facts(wildcards) == [
        "results/facts/esc50.parquet",
        "results/facts/mine.parquet",
    ]


def test_targets_follow_from_the_configuration(studied):
    figures = studied(MINIMAL).results.figures("pdf")
    assert figures == [f"results/figures/{name}.pdf" for name in ("e", "coverage", "layers", "entropy")]
    ablated = changed("ablation", {"tasks": {"sex": {}}, "gains": [0, 2]})
    assert studied(ablated).results.figures("png")[-4:] == [
        f"results/figures/{kind}/sex.png" for kind in ("ablation", "ablation_matrix", "confusion", "dose")
    ]
    one_gain = changed("ablation.gains", [0], ablated)
    assert "results/figures/dose/sex.png" not in studied(one_gain).results.figures()
    ranked = changed("selection", {"selector": "auroc", "selectors": {"auroc": {}}})
    assert studied(ranked).tasks.inferred("inference") == []
    assert "results/figures/entropy.pdf" not in studied(ranked).results.figures()


def test_names_of_figures_are_kept_from_comparisons():
    assert set(OVERALL) == set(FIGURES)


def test_a_dataset_that_only_a_person_can_bring_is_left_out_with_its_tasks(studied):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    study = studied(config)
    assert list(study.datasets.wanted) == ["voxceleb1"]
    assert all(task.dataset != "voxceleb1" for task in study.tasks.here.values())
    assert all("voxceleb1" not in path for path in study.downloads() + study.datasets.all_clips())
    (notice,) = [line for line in study.notices() if "VOXCELEB_KEY" in line]
    assert "voxceleb1" in notice


def test_a_rule_carries_only_what_its_numbers_depend_on(studied):
    one = studied(MINIMAL)
    of_esc50, of_events = wildcards(dataset="esc50", model="r"), wildcards(task="events", selector="aape")

    def texts(study):
        return {
            "extract": study.tasks.passes(of_esc50),
            "medians": study.tasks.median_pass(of_esc50) + study.tasks.median_sample(of_esc50),
            "select": study.tasks.selection_rule(of_events),
            "infer": study.tasks.inference(),
            "ablate": study.tasks.conditions() + study.tasks.effects_on(of_events),
            "screen": study.tasks.screening() + study.tasks.screened_on(of_events),
            "model": study.models.architecture(of_esc50),
        }

    def moved(path, value):
        other = texts(studied(changed(path, value)))
        return {name for name, text in texts(one).items() if other[name] != text}

    assert moved("extraction.threshold", 0.5) == {"extract"}
    assert moved("extraction.batch_size", 4) == {"extract", "medians", "ablate", "screen"}
    assert moved("extraction.median", {"clips": 9}) == {"medians"}
    assert moved("extraction.device", "cpu") == set()
    assert moved("tasks.events.top_share", 0.5) == {"select"}
    assert moved("inference.seed", 5) == {"infer"}
    assert moved("inference.block", 5) == set()
    assert moved("ablation.random", 5) == {"ablate"}
    assert moved("ablation.clips", False) == set()
    assert moved("ablation.screening", {"split": "train"}) == {"screen"}
    assert moved("models.r.title", "R") == set()
    assert moved("models.r.depth", 3) == {"model"}


def test_models_of_one_rate_share_jobs_if_asked_to(studied):
    """Every input and output of a model is there once, under the model's number."""
    config = changed("models.s", {**MINIMAL["models"]["r"], "norm_stats": "dataset"})
    config = changed("models.fast", {**MINIMAL["models"]["r"], "sample_rate": 32_000}, config)
    assert studied(config).models.together == []
    assert studied(config).models.alone == ["r", "s", "fast"]
    assert studied(changed("extraction.together", True)).models.together == []  # one model
    study = studied(changed("extraction.together", True, config))
    assert study.models.together == ["r", "s"]
    assert study.models.alone == ["fast"]
    at = Wildcards(fromdict={"dataset": "esc50", "shard": "000"})
    named = study.models.named({"norm_stats": study.tasks.norm_stats})
    stats = "results/norm_stats/s/esc50.parquet"
    assert {name: function(at) for name, function in named.items()} == {
        "norm_stats_0": [],
        "norm_stats_1": stats,
    }
    blocks = [json.loads(text) for text in study.models.of_each(study.models.architecture)(at)]
    assert [block.get("norm_stats") == "dataset" for block in blocks] == [False, True]
    out = study.tasks.outputs_together(study.tasks.shard_outputs())
    alone = study.tasks.shard_outputs()
    assert len(out) == 2 * len(alone)
    assert out["embeddings_1"] == alone["embeddings"].replace("{model}", "s")
    assert study.tasks.clips_together(at) == "results/clips/esc50/part-000.parquet"
    assert study.tasks.dataset_clips_together(at) == [study.tasks.clips_together(at)]


def test_statistics_of_a_dataset_are_an_input_of_every_pass_over_it(studied):
    config = changed("models.s", {**MINIMAL["models"]["r"], "norm_stats": "dataset"})
    study = studied(config)
    own = "results/norm_stats/s/{}.parquet"
    assert study.tasks.norm_stats(wildcards(model="s", dataset="mine")) == own.format("mine")
    assert study.tasks.norm_stats(wildcards(model="s", task="events")) == own.format("esc50")
    assert study.tasks.norm_stats(wildcards(model="r", dataset="mine")) == []
    listed = {path for path in study.results.made_between() if "norm_stats" in path}
    assert listed == {own.format("esc50"), own.format("mine")}
    (told,) = study.results.model_notes(None)
    assert "(norm_stats: dataset)" in told
    assert "results/norm_stats" in told


def test_what_is_trained_here(studied):
    config = changed("models.t", TRAINED, changed("pools.p", {"clips": 4, "clip_seconds": 1}))
    study = studied(config)
    of_t = wildcards(model="t", pool="p")
    assert study.models.weights(of_t) == ["results/training/t/model.safetensors"]
    assert study.models.training_pool(of_t) == ["results/pools/p.parquet"]
    assert study.models.training_files("t") == ["results/pools/p.parquet", "results/training/t/log.parquet"]
    assert (study.models.pool_clips(of_t), study.models.pool_seconds(of_t)) == (4, 1)
    assert study.models.trained_on("made") == ["t"]
    told = json.loads(study.models.trained_model(of_t))
    assert "checkpoint_minutes" not in told["training"]
    assert told["training"]["processes"] == 1
    assert "training" not in json.loads(study.models.architecture(of_t))
    by_dataset = studied(changed("models.t.norm_stats", "dataset", config))
    assert by_dataset.models.trained_model(of_t) == study.models.trained_model(of_t)
    assert by_dataset.models.architecture(of_t) != study.models.architecture(of_t)


def test_audioset_comes_in_parts(studied):
    pool = {"audioset": {"folder": "here", "shards": 2}}
    study = studied(changed("models.t", TRAINED, changed("pools.p", pool)))
    of_t = wildcards(model="t", pool="p")
    assert study.models.training_pool(of_t) == [f"results/pools/p/part-00{n}.arrow" for n in range(2)]
    assert study.models.training_files("t")[0] == "results/pools/p/recordings.parquet"
    assert (study.models.audioset_lists(of_t), study.models.audioset_shards(of_t)) == ("balanced", 2)


def test_devices_decide_threads_and_gpus(studied):
    config = changed("models.t", TRAINED, changed("pools.p", {"clips": 4, "clip_seconds": 1}))
    of_t = wildcards(model="t")
    auto = studied(config).models
    cpu = studied(changed("extraction.device", "cpu", config)).models
    assert (auto.gpus(of_t), auto.threads(of_t), auto.training_gpus(of_t), auto.training_threads(of_t)) == (
        1, 8, 1, 8,
    )  # fmt: skip
    assert (cpu.gpus(of_t), cpu.threads(of_t), cpu.training_gpus(of_t), cpu.training_threads(of_t)) == (
        0, 1, 0, 1,
    )  # fmt: skip


def test_lists_are_those_of_the_model(studied):
    lists = {"mine": {"file": "a.csv", "models": ["r"]}, "paper": {"published": "speech", "models": ["s"]}}
    config = changed(
        "ablation.tasks", {"sex": {"lists": lists}}, changed("models.s", {**MINIMAL["models"]["r"]})
    )
    study = studied(config)
    assert study.tasks.list_files(wildcards(model="r", task="sex")) == ["a.csv"]
    (published,) = study.tasks.list_files(wildcards(model="s", task="sex"))
    assert published.endswith("resources/published/neurons/speech.csv")
    assert study.tasks.known_lists() == {"sex": {"paper": {"published": "speech", "models": ["s"]}}}
    assert study.tasks.listed_in() == [("s", "sex")]
    assert json.loads(study.tasks.cases(study.tasks.ablated_in())) == [
        {"task": "sex", "model": "r"}, {"task": "sex", "model": "s"},
    ]  # fmt: skip


def test_an_archive_that_no_dataset_has_is_an_error(studied):
    study = studied(MINIMAL)
    assert study.datasets.archive_role(wildcards(dataset="esc50", file="ESC-50-master.zip")) == "archive"
    with pytest.raises(ConfigError, match=r"resources/archives/esc50/x\.zip: no such archive"):
        study.datasets.archive_role(wildcards(dataset="esc50", file="x.zip"))


def test_results_and_what_they_are_made_of_are_listed(studied):
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    study = studied(config)
    results, between = study.results.everything(), study.results.made_between()
    assert len(set(results)) == len(results) > 60
    assert {"results/summary.txt", "results/findings.html"} <= set(results)
    assert not set(results) & set(between)
    pool = study.config.models["ssl"].training.pool
    assert {f"results/pools/{pool}.parquet", "results/training/ssl/log.parquet"} <= set(between)
    assert study.results.source_lists() == [f"results/sources/{name}.json" for name in study.datasets]


AT_32_KHZ = {
    "kind": "ssl",
    "weights": {
        "source": "checkpoint",
        "file": "m2d_as_vit_base-80x608p16x16p32k-240413_enconly/checkpoint.pth",
    },
}


def test_clips_are_stored_at_every_rate_that_a_model_hears_and_16_khz_has_no_rate_in_its_path(studied):
    study = studied(changed("models.m", AT_32_KHZ))
    assert study.models.rates == {"r": 16_000, "m": 32_000}
    at_16 = [f"results/clips/mine/part-00{n}.parquet" for n in range(3)]
    at_32 = [f"results/clips/mine/32000Hz/part-00{n}.parquet" for n in range(3)]
    assert study.datasets.clips("mine") == at_16 + at_32
    heard = {model: wildcards(model=model, dataset="mine", task="sex", shard="001") for model in ("r", "m")}
    assert [study.tasks.dataset_clips(heard[model]) for model in ("r", "m")] == [at_16, at_32]
    assert [study.tasks.clips(heard[model]) for model in ("r", "m")] == [at_16, at_32]
    assert [study.tasks.shard_clips(heard[model]) for model in ("r", "m")] == [at_16[1], at_32[1]]
    assert study.datasets.all_rejected(heard["r"]) == [
        "results/rejected/mine.parquet", "results/rejected/mine/32000Hz.parquet",
    ]  # fmt: skip
    assert [study.datasets.named("prepare_mine", rate) for rate in (16_000, 32_000)] == [
        "prepare_mine", "prepare_mine_32000Hz",
    ]  # fmt: skip
    assert studied(MINIMAL).datasets.rates == [16_000]
    alone = changed("models", {"m": AT_32_KHZ})
    assert studied(alone).datasets.rates == [32_000]
    told = studied(changed("models.r.sample_rate", 48_000))
    assert told.datasets.rates == [48_000]


OTHER = {"weights": {"source": "checkpoint", "file": "x-80x608p16x16p44k/c.pth"}}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"sample_rate": 16_000},
            r"sample_rate: 16000, but the folder's name, m2d_as_.*, says 32000; leave it",
        ),
        ({"input_size": [80, 208]}, r"input_size: \[80, 208\], but the folder's name, .* says \[80, 608\]"),
        ({"num_heads": 8}, r"num_heads: 8, but the folder's name, .*, says 12"),
        (OTHER, r"weights.file: x-80x608p16x16p44k: M2D has no front end for p44k"),
    ],
)
def test_a_model_that_contradicts_the_name_of_its_folder_is_refused_before_the_download(studied, keys, told):
    with pytest.raises(ConfigError, match=rf"models\.m\.{told}"):
        studied(changed("models.m", AT_32_KHZ | keys))
    studied(changed("models.m", AT_32_KHZ | {"sample_rate": 32_000, "num_heads": 12}))


def test_models_are_trained_at_16_khz_only(studied):
    with_pool = changed("pools.p", {"clips": 4, "clip_seconds": 1})
    config = changed("models.t", TRAINED | {"sample_rate": 32_000}, with_pool)
    with pytest.raises(
        ConfigError, match=r"models\.t\.sample_rate: models are trained here at 16000 Hz only"
    ):
        studied(config)


def test_a_sample_may_be_balanced_by_a_label_that_no_task_has(studied, tmp_path):
    (tmp_path / "mine.csv").write_text("path,sex,mood,note\n" + "a.wav,f,calm,x\nb.wav,m,calm,y\n" * 3)
    datasets = {"mine": {"files": "mine.csv", "clip_seconds": 1, "sample": {"clips": 4, "per": "mood"}}}
    tasks = {"sex": {"dataset": "mine", "label": "sex"}}
    study = studied({**MINIMAL, "datasets": datasets, "tasks": tasks, "comparisons": {}})
    assert study.datasets.options("mine")["columns"] == {"labels": ["sex", "mood"]}
