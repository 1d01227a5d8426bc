"""What a configuration leaves out, takes from tables and files, and says of its clips."""

import csv
import json
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from common import ROOT
from test_config import MINIMAL, SHIPPED, changed, problems

from audio_neurons import datasets
from audio_neurons.settings.models import CONTEXT_NOTES
from audio_neurons.study.loading import ConfigError, complete

# What is left out


def test_what_is_false_is_left_out_with_what_needs_it():
    two = {"tasks": ["events", "sex"], "title": "two"}
    base = changed("comparisons.x", two)
    full = complete(changed("datasets.mine", False, base))
    assert (set(full["datasets"]), set(full["tasks"]), set(full["comparisons"])) == (
        {"esc50"}, {"events"}, {"e"},
    )  # fmt: skip
    full = complete(changed("tasks.sex", False, base))
    assert (set(full["datasets"]), set(full["comparisons"])) == ({"esc50", "mine"}, {"e"})
    assert set(complete(changed("comparisons.e", "false", base))["comparisons"]) == {"x"}
    assert problems(changed("models.r", False)) == ["models: {} should be non-empty"]
    ablated = changed("ablation.tasks", {"events": {}, "sex": {}}, base)
    full = complete(changed("datasets.mine", False, ablated))
    assert set(full["ablation"]["tasks"]) == {"events"}
    full = complete(changed("ablation.tasks.events", "false", ablated))
    assert set(full["ablation"]["tasks"]) == {"sex"}
    # An empty block is not meant as one to leave out.
    assert problems(changed("datasets.esc50", None)) == ["datasets.esc50: None is not of type 'object'"]


def test_a_misspelt_name_to_leave_out_is_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**MINIMAL, "models": {**MINIMAL["models"], "gone": False}}))
    config = changed(
        "comparisons.zzzz", "false", changed("datasets.esc5", False, changed("models.gone", False))
    )
    with pytest.raises(ConfigError) as caught:
        complete(config, [file])
    assert str(caught.value).splitlines()[1:] == [
        "  comparisons.zzzz: there is nothing of this name to leave out; there are e",
        "  datasets.esc5: there is nothing of this name to leave out; did you mean 'esc50'?",
    ]
    config = changed("datasets.mine", False, changed("models.gone", False))
    assert set(complete(config, [file])["datasets"]) == {"esc50"}


# Pairs from a table


def test_pairs_come_from_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = {"tasks": ["events", "sex"], "pairs": "mine.csv"}
    (tmp_path / "mine.csv").write_text('\ufeffa,b,use,why\ndog, male,yes,"x, y"\ncat,female,no,\n', "utf-8")
    full = complete(changed("comparisons.x", block))
    assert full["comparisons"]["x"]["pairs"] == [["dog", "male"]]
    (tmp_path / "mine.csv").write_text("a,b\ndog,\n")
    assert problems(changed("comparisons.x", block))[0].startswith(
        "comparisons.x.pairs: mine.csv has no pairs, or an empty class"
    )
    (tmp_path / "mine.csv").unlink()
    assert problems(changed("comparisons.x", block)) == ["comparisons.x.pairs: no such file: mine.csv"]


def test_the_shipped_pairs_name_classes_of_both_datasets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the table is found beside the workflow
    pairs = complete(SHIPPED["config"])["comparisons"]["events"]["pairs"]
    assert len(pairs) == 14
    assert ["dog", "Dog"] in pairs
    assert ["clapping", "Applause"] not in pairs
    mine, theirs = zip(*pairs, strict=True)
    assert len(set(mine)) == len(set(theirs)) == 14
    with open(ROOT / "resources" / "event_pairs.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["ESC-50"] in datasets.source("esc50")["classes"]["category"], row
            assert row["GISE-51"] in datasets.source("gise51")["classes"]["event"], row
            assert row["reason"], row
            assert row["use"] in ("yes", "no"), row


def test_published_lists_of_the_shipped_configurations_are_there():
    names = [
        one["published"]
        for config in SHIPPED.values()
        for task in config.get("ablation", {}).get("tasks", {}).values()
        for one in task.get("lists", {}).values()
    ]
    assert len(names) == 4  # two in each configuration of the paper's models
    assert all((ROOT / "resources" / "published" / "neurons" / f"{name}.csv").is_file() for name in names)


def test_a_key_that_stands_twice_in_a_file_is_a_problem(tmp_path):
    """YAML's readers keep the last: a whole block of models would be gone without a word."""
    file = tmp_path / "twice.yaml"
    text = yaml.safe_dump(MINIMAL, sort_keys=False)
    file.write_text(text, encoding="utf-8")
    complete(MINIMAL, [file])
    model = next(iter(MINIMAL["models"]))
    file.write_text(text + f"models:\n  {model}: &one\n    title: a\n    title: b\n", encoding="utf-8")
    line = text.splitlines().index("models:") + 1
    last = len(text.splitlines()) + 1
    with pytest.raises(ConfigError) as caught:
        complete(MINIMAL, [file])
    assert str(caught.value).splitlines()[1:] == [
        f"  models.{model}.title: twice, in lines {last + 2} and {last + 3} of {file}; make it one",
        f"  models: twice, in lines {line} and {last} of {file}; make it one",
    ]


def test_blocks_that_are_merged_are_not_twice(tmp_path):
    file = tmp_path / "merged.yaml"
    text = "a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  x: 3\nc: {<<: *b, x: 4}\n"
    file.write_text(text + yaml.safe_dump(MINIMAL), encoding="utf-8")
    complete(MINIMAL, [file])


def test_captions_say_whether_clips_are_padded():
    ast = {"kind": "sl", "adapter": "huggingface", "model_type": "audio-spectrogram-transformer"}
    ast |= {"weights": {"source": "random", "seed": 0}}

    def told(**keys):
        block = complete(changed("models.a", ast | keys))["models"]["a"]
        return block.get("context"), block.get("note")

    assert told() == ("clip", "It encodes clips at their own length (context: clip).")
    assert told(context="full", note="Of x.") == (
        "full", "Of x. It encodes clips padded to its full length (context: full).",
    )  # fmt: skip
    assert told(model_type="whisper")[0] == "full"
    assert told(model_type="qwen2_audio_encoder")[0] == "full"
    assert told(model_type="hubert") == (None, None)
    assert complete(MINIMAL)["models"]["r"].get("note") is None


def test_captions_say_whether_clips_of_a_folder_or_the_hub_are_padded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def told(**source):
        block = complete(changed("models.a", {"kind": "sl", **source}))["models"]["a"]
        return block.get("context"), block.get("note")

    for kind, expected in (
        ("audio-spectrogram-transformer", ("clip", CONTEXT_NOTES["clip"])),
        ("whisper", ("full", CONTEXT_NOTES["full"])),
        ("hubert", (None, None)),
    ):
        Path(kind).mkdir()
        Path(kind, "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
        Path(kind, "model.safetensors").touch()
        assert told(folder=kind) == expected
    assert told(folder="whisper", context="clip") == ("clip", CONTEXT_NOTES["clip"])
    assert told(hub="me/any") == (None, CONTEXT_NOTES["hub"])
    whisper = {"kind": "ssl", "folder": "whisper"}
    twin = {"kind": "random", "weights": {"source": "shuffled", "of": "w", "seed": 0}}
    both = complete(changed("models.t", twin, changed("models.w", whisper)))["models"]
    assert both["t"]["context"] == "full"
    assert both["t"]["note"].endswith(CONTEXT_NOTES["full"])
    assert told(hub="me/any", context="full") == ("full", CONTEXT_NOTES["full"])


@pytest.mark.parametrize("gone", ["m2d", "m2d-as", "ast", "random"])
def test_any_model_of_the_full_reproduction_can_be_left_out(gone):
    config = deepcopy(SHIPPED["config"])
    config["models"][gone] = "false"
    full = complete(config)
    assert gone not in full["models"]
    for task in full["ablation"]["tasks"].values():
        lists = task["lists"]
        assert gone not in [*task.get("models", ()), *(m for one in lists.values() for m in one["models"])]
        assert ("paper" in lists) <= (gone != "m2d")
    for task in config["ablation"]["tasks"].values():
        task["models"] = [gone]
    assert complete(config)["ablation"]["tasks"] == {}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "probe",
            {"learning_rate": "1e-4"},
            "probe.learning_rate: '1e-4' is not of type 'number'; write 1.0e-4",
        ),
        (
            "probe",
            {"learning_rate": "1.5e3"},
            "probe.learning_rate: '1.5e3' is not of type 'number'; write 1.5e+3",
        ),
        ("seed", "many", "seed: 'many' is not of type 'integer'"),
        ("tasks.{task}.title", True, "tasks.{task}.title: True is not of type 'string'; put it in quotes"),
        ("tasks.{task}.title", [], "tasks.{task}.title: [] is not of type 'string'"),
        ("tasks.{task}.title", None, "tasks.{task}.title: None is not of type 'string'"),
    ],
)
def test_what_yaml_reads_otherwise_than_people_is_told(path, value, told):
    task = next(iter(MINIMAL["tasks"]))
    assert told.format(task=task) in problems(changed(path.format(task=task), value))


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"embed_dim": 32, "num_heads": 3}, "num_heads: 3 heads do not divide embed_dim, 32"),
        (
            {"input_size": [80, 10], "patch_size": [16, 16]},
            "input_size: [80, 10] is less than a patch, [16, 16]",
        ),
    ],
)
def test_sizes_that_do_not_go_together(block, told):
    model = next(iter(MINIMAL["models"]))
    config = deepcopy(MINIMAL)
    config["models"][model].update(adapter="vit", **block)
    assert problems(config) == [f"models.{model}.{told}"]


@pytest.mark.parametrize("file", ["", "/tmp/x.pth", "../x.pth", "a/../../x.pth", "x{y}.pth"])
def test_a_checkpoint_lies_below_its_folder(file):
    model = next(iter(MINIMAL["models"]))
    config = deepcopy(MINIMAL)
    config["models"][model]["weights"] = {"source": "checkpoint", "file": file}
    assert problems(config) == [
        f"models.{model}.weights.file: '{file}' is no path below resources/weights/{model}; a checkpoint of "
        f"your own goes into resources/by_hand/{model}"
    ]
