import datetime
import json
import re
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from common import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_neurons.settings import serialise
from audio_neurons.study.loading import ConfigError, complete, shards

SHIPPED = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / "config").glob("*.yaml")}

MINIMAL = {
    "datasets": {"esc50": {}, "mine": {"adapter": "cremad", "shards": 3}},
    "tasks": {
        "events": {"dataset": "esc50", "label": "category"},
        "sex": {"dataset": "mine", "label": "gender"},
    },
    "models": {"r": {"kind": "random", "weights": {"source": "random", "seed": 0}}},
    "comparisons": {"e": {"tasks": ["events"]}},
}
TRAINED = {
    "kind": "sl",
    "weights": {"source": "training"},
    "training": {"objective": "supervised", "pool": "p", "steps": 1, "clip_seconds": 1},
}


def changed(path: str, value, base=MINIMAL) -> dict:
    """A copy of a configuration with one value set, or taken away (``...``)."""
    copy = deepcopy(base)
    *parents, last = path.split(".")
    block = copy
    for key in parents:
        block = block[int(key)] if isinstance(block, list) else block.setdefault(key, {})
    if value is ...:
        del block[last]
    else:
        block[int(last) if isinstance(block, list) else last] = value
    return copy


def problems(configuration) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        complete(configuration)
    head, *lines = str(caught.value).splitlines()
    assert head == "the configuration is not valid:"
    return [line.strip() for line in lines]


def test_shipped_configurations_are_valid_and_here():
    assert {"config", "demo"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_are_completed(name):
    before = deepcopy(SHIPPED[name])
    full = complete(SHIPPED[name])
    assert SHIPPED[name] == before
    assert complete(full) == full
    for key, block in full["datasets"].items():
        assert block["adapter"] == key
        assert block["options"] == before["datasets"][key].get("options", {})
        assert block["archives"] == before["datasets"][key].get("archives", {})
    assert full["download"]["max_missing"] == 0.01
    assert full["selection"]["statistics_split"] == ("all" if name == "paper" else "train")
    for key, block in full["selection"]["selectors"].items():
        assert block["preset"] == key
    for block in full["models"].values():
        hub = "model_type" in block or block["weights"]["source"] == "hub"
        assert block["adapter"] == ("huggingface" if hub else "vit")
        if "training" in block:
            assert block["training"]["mask_ratio"] == 0.7


def test_defaults():
    full = complete(MINIMAL)
    assert full["extraction"] == {
        "device": "auto",
        "batch_size": "auto",
        "clips_per_shard": 5000,
        "tokens": "patch",
        "count": "recording",
        "pool": "window",
        "threshold": 0,
        "activity": "positive",
        "share": "tokens",
        "median": {"clips": 256, "per_clip": 16, "seed": 0},
        "top_clips": 5,
        "together": False,
        "responses": False,
        "acoustics": False,
        "precision": "fp32",
        "compile": False,
    }
    assert full["preparation"] == {"max_rejected": 0.01, "max_seconds": 60}
    assert full["download"] == {
        "archives": "resources/by_hand", "mirror": {}, "retries": 4, "parallel": 8, "max_missing": 0.01,
    }  # fmt: skip
    assert full["selection"] == {
        "statistics_split": "train", "selector": "aape", "selectors": {"aape": {"preset": "aape"}},
    }  # fmt: skip
    assert full["datasets"]["mine"] == {
        "adapter": "cremad", "shards": 3, "archives": {}, "options": {}, "windows": {},
    }  # fmt: skip
    assert full["seed"] == 0
    assert full["pools"] == {}


def test_what_is_set_is_kept():
    full = complete(changed("extraction.batch_size", 3))
    assert full["extraction"]["batch_size"] == 3
    assert full["extraction"]["top_clips"] == 5


def test_text_of_the_command_line_becomes_what_the_schema_wants():
    text = {"extraction": {"batch_size": "3", "responses": "true"}, "ablation": {"gains": ["0", "0.5"]}}
    config = SHIPPED["config"] | {
        section: SHIPPED["config"].get(section, {}) | text[section] for section in text
    }
    config = changed("tasks.gtzan.title", "8", config)
    full = complete(config, given=text | {"tasks": {"gtzan": {"title": "8"}}})
    assert full["extraction"]["batch_size"] == 3
    assert full["extraction"]["responses"] is True
    assert full["ablation"]["gains"] == [0, 0.5]
    assert full["tasks"]["gtzan"]["title"] == "8"
    for others in (None, {"ablation": text["ablation"]}):  # a file that has text there is wrong
        with pytest.raises(
            ConfigError, match=r"extraction\.batch_size: '3' is neither a whole number nor auto"
        ):
            complete(config, given=others)


def test_shards_follow_from_the_number_of_clips():
    full = complete(SHIPPED["config"])
    assert {name: block["shards"] for name, block in full["datasets"].items()} == {
        "esc50": 1, "cremad": 2, "gtzan": 1, "gise51": 4,
        "nsynth": 62, "surge": 37, "voxceleb1": 31, "voxforge": 36,
    }  # fmt: skip

    def number(clips_per_shard, **block):
        base = changed("datasets.esc50", block, changed("extraction.clips_per_shard", clips_per_shard))
        return complete(base)["datasets"]["esc50"]["shards"]

    assert [number(n) for n in (1, 3, 1999, 2000, 10**9)] == [999, 667, 2, 1, 1]  # of 2,000 clips
    assert number(100, shards="auto", synthesis={"clips": 101}) == 2
    assert number(100, shards=5) == 5
    # A sample has at most as many clips as it asks for, whatever there is.
    assert number(100, sample={"clips": 301}) == 4
    assert number(100, sample={"clips": 3000}) == 20
    own = {"adapter": "custom", "sample": {"clips": 250}}
    assert (shards(own, 100), shards({"adapter": "custom"}, 100)) == (3, 1)


CONTRADICTIONS = {
    # a key that is not known, at any depth
    "extration": ({}, "extration: unknown key; did you mean 'extraction'?"),
    "extraction.batchsize": (4, "extraction.batchsize: unknown key; did you mean 'batch_size'?"),
    "models.r.mlp_ration": (4, "models.r.mlp_ration: unknown key; did you mean 'mlp_ratio'?"),
    "datasets.esc50.archives.archive.sha": ("", "datasets.esc50.archives.archive.sha: unknown key; did you"),
    "preparation.zzz": (4, "preparation.zzz: unknown key; known are max_rejected, max_seconds"),
    "selection.selectors.aape.topshare": (0.1, "selection.selectors.aape.topshare: unknown key; did you"),
    # types and ranges
    "seed": ("x", "seed: 'x' is not of type 'integer'"),
    "extraction.batch_size": (0, "extraction.batch_size: 0 is less than the minimum of 1"),
    "extraction.responses": ("yes", "extraction.responses: 'yes' is not of type 'boolean'"),
    "extraction.tokens": ("cls", "extraction.tokens: 'cls' is not one of ['patch', 'all']"),
    "extraction.activity": ("absolute", "extraction.threshold: activity 'absolute' needs one above 0"),
    "inference.level": (1, "inference.level: 1 is greater than or equal to the maximum of 1"),
    "inference.draws": (0, "inference.draws: 0 is less than the minimum of 1"),
    "datasets.esc50": (3, "datasets.esc50: 3 is not of type 'object'"),
    "datasets.esc50.shards": (True, "datasets.esc50.shards: True is not of type 'integer', 'string'"),
    "datasets.mine.shards": ("many", "datasets.mine.shards: 'many' is neither a whole number nor auto"),
    "datasets.esc50.clip_seconds": (0, "datasets.esc50.clip_seconds: 0 is less than or equal to"),
    "models.r.input_size": ([80], "models.r.input_size: [80] is too short"),
    "models": ({}, "models: {} should be non-empty"),
    "models.R": (MINIMAL["models"]["r"], "models: 'R' does not match"),
    "comparisons.coverage": ({"tasks": ["events"]}, "comparisons: 'coverage' should not be valid under"),
    "comparisons.e.tasks": ([], "comparisons.e.tasks: [] should be non-empty"),
    "tasks.events.top_share": (1.5, "tasks.events.top_share: 1.5 is greater than the maximum of 1"),
    # keys that are missing
    "tasks": (..., "top level: missing key(s) tasks"),
    "tasks.events.label": (..., "tasks.events: missing key(s) label"),
    "models.r.weights.seed": (..., "models.r.weights: missing key(s) seed"),
    "models.r.weights.source": (..., "models.r.weights: missing key(s) source"),
    # where files come from
    "download.mirrors": ({}, "download.mirrors: unknown key; did you mean 'mirror'?"),
    "download.max_missing": (2, "download.max_missing: 2 is greater than the maximum of 1"),
    "datasets.esc50.archives.archive.git_blob": ("12", "datasets.esc50.archives.archive.git_blob: '12' does"),
    "datasets.esc50.files": ("x.csv", "datasets.esc50.files: x.csv"),
    "datasets.mine.files": ("x.csv", "datasets.mine: `files` and the adapter 'custom' go together"),
    "datasets.emodb": (
        {"synthesis": {"clips": 60}},
        "datasets.emodb.synthesis: no recordings of 'emodb' can be made; of cremad, esc50, gise51, ",
    ),
    "datasets.custom": ({}, "datasets.custom: `files` and the adapter 'custom' go together"),
    # samples and windows
    "datasets.mine.sample": (
        {"clips": 9, "per": "emotions"},
        "datasets.mine.sample.per: no label 'emotions'; did you mean 'emotion'?",
    ),
    "datasets.mine.sample.per": ("x", "datasets.mine.sample: missing key(s) clips"),
    "datasets.mine.sample.clips": (0, "datasets.mine.sample.clips: 0 is less than the minimum of 1"),
    "datasets.mine.windows.at": ("lodest", "datasets.mine.windows.at: 'lodest' is not one of ['first', 'cen"),
    "datasets.mine.windows": ({"at": "centre", "every": 2}, "datasets.mine.windows: `at` is one win"),
    # what another adapter has, or what one cannot do
    "models.r.model_type": ("hubert", "models.r.model_type: adapter vit has no such key; it has front_end, "),
    "models.r.adapter": ("huggingface", "models.r: missing key(s) model_type"),
    "models.h": (
        {**MINIMAL["models"]["r"], "adapter": "huggingface", "model_type": "hubert", "depth": 3},
        "models.h.depth: adapter huggingface has no such key; it has model_type, config, normalize",
    ),
    "models.b": ({"kind": "ssl"}, "models.b: needs one of weights, hub, folder, and only one"),
    "models.i": ({"kind": "ssl", "hub": 3}, "models.i.hub: 3 is not of type 'string'"),
    "models.j": (
        {**MINIMAL["models"]["r"], "hub": "a/b"}, "models.j: needs one of weights, hub, folder, and only one",
    ),
    "models.k": (
        {"kind": "ssl", "folder": "x", "hub": "a/b"}, "models.k: needs one of weights, hub, folder, and only",
    ),
    "models.l": (
        {"kind": "ssl", "hub": "a/b", "adapter": "vit"}, "models.l.adapter: hub and folder are read by hugg",
    ),
    "models.n": ({"kind": "ssl", "folder": "no-such"}, "models.n.folder: no folder no-such"),
    "models.f": ({**TRAINED, "front_end": "fbank"}, "models.f: only adapter vit, without front_end"),
    "models.g": (
        {**TRAINED, "adapter": "huggingface", "model_type": "hubert"}, "models.g: only adapter vit, without",
    ),
    # weights
    "models.r.weights": ("random", "models.r.weights: 'random' is not of type 'object'"),
    "models.r.weights.file": ("x", "models.r.weights.file: unknown key; known are source, seed"),
    # names that refer to nothing
    "tasks.events.dataset": ("esc", "tasks.events.dataset: no dataset 'esc'; there are esc50, mine"),
    "tasks.sex.label": ("sex", "tasks.sex.label: no label of mine 'sex'; there are "),
    "datasets.mine.adapter": ("crema", "datasets.mine.adapter: no dataset adapter 'crema'; there are crem"),
    "datasets.mine.archives": ({"x": {}}, "datasets.mine.archives.x: no archive 'x'; there are "),
    "comparisons.e.tasks.0": ("e", "comparisons.e.tasks.0: no task 'e'; there are events, sex"),
    "ablation.tasks.x": ({}, "ablation.tasks.x: no task 'x'; there are events, sex"),
    "ablation.tasks.sex": ({"models": ["m"]}, "ablation.tasks.sex.models.0: no model 'm'; there are r"),
    "ablation.tasks.sex.lists.a": ({"classes": []}, "ablation.tasks.sex.lists.a: needs either file or"),
    "ablation.tasks.sex.lists.b": ({"file": "x", "published": "y"}, "ablation.tasks.sex.lists.b: needs"),
    "ablation.tasks.sex.lists.c": ({"file": "x", "models": ["m"]}, "ablation.tasks.sex.lists.c.models.0:"),
    "ablation.tasks.sex.shared": ([["a"]], "ablation.tasks.sex.shared.0: ['a'] is too short"),
    "ablation.replacements": (["noise"], "ablation.replacements.0: 'noise' is not one of ['zero', 'mean',"),
    "probe.seeds": ([], "probe.seeds: [] should be non-empty"),
    "comparisons.e.pairs": ([["a", "b"]], "comparisons.e.pairs: pairs match classes of two tasks"),
    "selection.selector": ("lape", "selection.selector: no selector 'lape'; there are aape"),
    "selection.selectors.mine": ({}, "selection.selectors.mine: needs a preset; there are aape,"),
    "models.t": ({**TRAINED, "training": {**TRAINED["training"]}}, "models.t.training.pool: no pool 'p'"),
    "models.r.training": (TRAINED["training"], "models.r: weights.source 'training' and a training block"),
    "models.s": ({"kind": "sl", "weights": {"source": "training"}}, "models.s: weights.source 'training'"),
}  # fmt: skip


@pytest.mark.parametrize("path", CONTRADICTIONS)
def test_a_problem_is_named_with_its_path(path):
    value, message = CONTRADICTIONS[path]
    lines = problems(changed(path, value))
    assert any(line.startswith(message) for line in lines), lines
    if not path.startswith(("tasks.sex.label", "datasets.mine.adapter", "selection", "models", "tasks")):
        assert len(lines) == 1


def test_clips_are_not_longer_than_what_is_stored():
    for seconds in (59, 60):
        assert complete(changed("datasets.esc50.clip_seconds", seconds))
    told = (
        "datasets.esc50.clip_seconds: 90 s, but preparation.max_seconds stores 60 s of a recording, and the "
        "rest would be silence; set preparation.max_seconds to 90, or clip_seconds to at most 60"
    )
    longer = changed("datasets.esc50.clip_seconds", 90)
    assert problems(longer) == [told]
    assert complete(changed("preparation.max_seconds", 90, longer))
    # A dataset's own length counts too.
    assert [line.partition(" s, but")[0] for line in problems(changed("preparation.max_seconds", 3))] == [
        "datasets.esc50.clip_seconds: 5"
    ]


def test_training_clips_are_not_longer_than_those_of_the_pool():
    def trained(seconds, pool):
        block = {**TRAINED, "training": {**TRAINED["training"], "clip_seconds": seconds}}
        return changed("models.t", block, changed("pools.p", pool))

    made, audioset = {"clips": 10, "clip_seconds": 2}, {"audioset": {"folder": "x"}}
    for seconds, pool in ((2, made), (10, audioset)):
        assert complete(trained(seconds, pool))
        assert problems(trained(seconds + 1, pool)) == [
            f"models.t.training.clip_seconds: {seconds + 1} s, but clips of the pool p have {seconds} s, and "
            f"the rest would be silence; set it to at most {seconds}"
        ]


def test_an_unknown_source_of_weights_is_one_problem():
    assert problems(changed("models.r.weights", {"source": "chekpoint", "file": "x"})) == [
        "models.r.weights.source: 'chekpoint' is not one of ['checkpoint', 'training', 'random', "
        "'shuffled', 'hub', 'folder']"
    ]
    assert problems(changed("models.r.weights", {"source": "checkpoint", "seed": 0})) == [
        "models.r.weights.seed: unknown key; known are source, file, urls, sha256, bytes",
        "models.r.weights: missing key(s) file",
    ]


def test_every_problem_is_listed():
    broken = changed("seed", -1, changed("extraction.devise", "cpu", changed("datasets.mine.shards", "2")))
    assert [line.split(":")[0] for line in problems(broken)] == [
        "datasets.mine.shards",
        "extraction.devise",
        "seed",
    ]
    broken = changed("tasks.events.dataset", "x", changed("selection.selector", "y"))
    assert [line.split(":")[0] for line in problems(broken)] == ["selection.selector", "tasks.events.dataset"]


def test_a_model_that_is_trained_here():
    full = complete(changed("models.t", TRAINED, changed("pools.p", {"clips": 4, "clip_seconds": 1})))
    assert full["models"]["t"]["training"]["batch_size"] == 32


def test_what_the_page_on_models_shows_is_valid(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("models/my-hubert").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        Path("models/my-hubert", name).touch()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.S)
    assert len(blocks) == 5
    for block in blocks:
        if not block.startswith(("models:", "extraction:")):  # one model
            block = f"models:\n{block}"
        shown = yaml.safe_load(block)
        full = complete({**MINIMAL, **shown})
        for section in shown:
            assert full[section].keys() >= shown[section].keys()


def test_two_tasks_may_have_pairs_and_other_adapters_may_be_used():
    block = {"tasks": ["events", "sex"], "pairs": [["dog", "male"]]}
    assert complete(changed("comparisons.x", block))["comparisons"]["x"] == block


@pytest.mark.parametrize("junk", [None, [], "text", 3, {}])
def test_no_configuration_at_all(junk):
    assert problems(junk)


def test_dates_that_yaml_reads_are_problems_like_others():
    assert problems(changed("seed", datetime.date(2026, 2, 1))) == [
        "seed: '2026-02-01' is not of type 'integer'"
    ]


def paths(value, prefix=()):
    """Every place of a configuration."""
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*prefix, key))


RICH = complete(
    {
        **changed("models.t", TRAINED),
        "pools": {"p": {"clips": 4, "clip_seconds": 1}},
        "comparisons": {"x": {"tasks": ["events", "sex"], "pairs": [["dog", "male"]]}},
        "selection": {"selectors": {"aape": {"top_share": 0.5}, "mine": {"preset": "lape"}}},
    }
)
names = st.sampled_from(
    [
        "esc50",
        "cremad",
        "source",
        "training",
        "random",
        "checkpoint",
        "aape",
        "events",
        "preset",
        "p",
        "weights",
    ]
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | names,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | names, inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(sorted(paths(RICH), key=str)), junk)
def test_junk_raises_nothing_but_config_errors(path, value):
    broken = deepcopy(RICH)
    if path:
        block = broken
        for key in path[:-1]:
            block = block[key]
        block[path[-1]] = value
    else:
        broken = value
    before = json.dumps(broken)
    with suppress(ConfigError):
        full = complete(broken)
        assert complete(full) == full or "NaN" in before
    assert json.dumps(broken) == before


def test_canonical_text_tells_values_apart_and_nothing_else():
    assert serialise({"b": [1, 2], "a": None}) == serialise({"a": None, "b": (1, 2)})
    assert serialise({"a": 1}) != serialise({"a": 2})


def test_checking_a_configuration_imports_nothing_heavy(root):
    code = (
        "import sys, audio_neurons.study.loading, audio_neurons.running.digest\n"
        "print([m for m in ('torch', 'pandas', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_equal_titles_and_a_task_compared_with_itself_are_refused():
    config = deepcopy(SHIPPED["demo"])
    config["tasks"]["gtzan"]["title"] = config["tasks"]["esc50"]["title"]
    with pytest.raises(ConfigError, match="tasks: more than one has the title 'ESC-50'"):
        complete(config)
    config = deepcopy(SHIPPED["demo"])
    config["comparisons"]["genre"]["tasks"] = ["gtzan", "gtzan"]
    with pytest.raises(ConfigError, match=r"comparisons\.genre\.tasks"):
        complete(config)


def test_a_number_that_is_none_is_refused():
    config = deepcopy(SHIPPED["demo"])
    config["extraction"]["threshold"] = float("nan")
    with pytest.raises(ConfigError, match="not valid"):
        complete(config)
