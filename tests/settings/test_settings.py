"""Sections of the configuration: one definition, from which schema, text for rules and checks follow."""

import json
from typing import get_args

import pytest
from pydantic import ValidationError

from audio_neurons.models.registry import ADAPTERS, adapters
from audio_neurons.neurons import measures
from audio_neurons.settings import (
    PRESETS,
    Conditions,
    Extraction,
    ForwardPass,
    Inference,
    Median,
    Model,
    Pass,
    Pool,
    Rule,
    Section,
    Selector,
    Training,
    contradictions,
    serialise,
)
from audio_neurons.settings.schema import schema
from audio_neurons.settings.section import FREE
from audio_neurons.settings.selection import Measure, rule_of

RANDOM = {"kind": "random", "weights": {"source": "random", "seed": 0}}


def sections(base=Section):
    for section in base.__subclasses__():
        yield section
        yield from sections(section)


def test_a_section_is_checked_complete_and_immutable():
    assert Extraction().batch_size == "auto"
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Extraction(batch_size=0)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Extraction(batchsize=4)
    with pytest.raises(ValidationError, match="frozen"):
        Extraction().batch_size = 4


def test_a_changed_copy_is_checked_and_the_original_is_as_it_was():
    one = Inference(draws=9)
    assert one.changed(draws=19, seed=1) == Inference(draws=19, seed=1)
    assert one == Inference(draws=9)
    with pytest.raises(ValidationError):
        one.changed(draws=0)


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.__name__)
def test_every_field_is_explained(section):
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, name


def test_the_text_for_rules_leaves_out_what_changes_no_result():
    text = serialise(Inference(block=1))
    assert text == serialise(Inference(block=64))
    assert text != serialise(Inference(seed=1))
    assert Inference.read(text, block=5) == Inference(block=5)
    assert serialise(Extraction(device="cuda", clips_per_shard=1, responses=True)) == serialise(Extraction())
    assert serialise(Extraction(median=Median(clips=1))) == serialise(Extraction())
    assert json.loads(serialise(Extraction())) == json.loads(serialise(ForwardPass()))


def test_the_text_for_rules_is_the_same_whenever_the_values_are():
    assert serialise({"b": [1, 2], "a": None}) == serialise({"a": None, "b": (1, 2)})
    assert serialise({"a": Rule()}) == serialise({"a": Rule().dump()})
    assert serialise([Conditions(gains=[0, 2])]) == serialise([Conditions(gains=(0.0, 2.0))])
    assert serialise(Rule()) != serialise(Rule(fill=True))


@pytest.mark.parametrize(
    "section", [Extraction(), Inference(), Rule(), Conditions()], ids=lambda one: type(one).__name__
)
def test_a_section_comes_back_from_its_text(section):
    free = {name for name, field in type(section).model_fields.items() if FREE in field.metadata}
    assert type(section).read(serialise(section)) == section
    assert set(json.loads(serialise(section))) == set(type(section).model_fields) - free


def test_a_pass_has_the_settings_of_extraction():
    extraction = Extraction(batch_size=3, threshold=0.5, device="cpu")
    assert extraction.for_clips(2.5, ("a", "b")) == Pass(
        batch_size=3, threshold=0.5, clip_seconds=2.5, labels=("a", "b")
    )


def test_presets_are_changed_by_what_is_given_only():
    assert rule_of("aape", {}) == PRESETS["aape"] == Rule()
    assert Selector(preset="lape", top_share=0.02).rule() == Rule(fill=True, top_share=0.02)
    assert Selector(preset="lape").rule(top_share=0.5) == Rule(fill=True, top_share=0.5)
    # The selector itself has the last word.
    assert Selector(preset="aape", top_share=0.02).rule(top_share=0.5).top_share == 0.02
    assert Selector(preset="aape", top_share=0.01).rule(top_share=0.5).top_share == 0.01


def test_choices_are_those_of_the_code_that_they_choose_from():
    assert get_args(Measure) == ("aape", *measures.MEASURES, "auroc")
    model = schema()["$defs"]["Model"]["properties"]
    assert set(ADAPTERS) == set(adapters())
    assert set().union(*ADAPTERS.values()) < set(model)
    assert set(PRESETS) == set(schema()["$defs"]["Selector"]["properties"]["preset"]["enum"])


def test_contradictions_are_told_with_their_path():
    assert list(contradictions(Extraction(activity="absolute"), "extraction")) == [
        "extraction.threshold: activity 'absolute' needs one above 0, or every neuron is active"
    ]
    models = {"a": Model(**RANDOM, embed_dim=32, num_heads=3), "b": Model(**RANDOM, adapter="huggingface")}
    assert list(contradictions(models, "models")) == [
        "models.a.num_heads: 3 heads do not divide embed_dim, 32",
        "models.b: missing key(s) model_type",
    ]
    training = Training(objective="m2d", steps=1, clip_seconds=1, evaluate_steps=5, balance=0.0)
    assert [line.split(":")[0] for line in contradictions([training])] == ["0.evaluate_steps", "0.balance"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "missing key(s) clips, clip_seconds"),
        ({"clips": 3}, "missing key(s) clip_seconds"),
        ({"audioset": {"folder": "x"}, "clips": 3}, "clips: a pool of AudioSet's clips has no such key"),
        ({"audioset": {"folder": "x"}}, None),
        ({"clips": 3, "clip_seconds": 1}, None),
    ],
)
def test_a_pool_is_made_here_or_comes_from_audioset(given, problem):
    found = list(contradictions({"p": Pool(**given)}, "pools"))
    assert found == (
        [] if problem is None else [f"pools.p{'.' if problem[:5] == 'clips' else ': '}{problem}"]
    )


def test_the_schema_is_written_as_a_person_would():
    made = schema()
    model = made["$defs"]["Model"]["properties"]
    assert model["embed_dim"] == {
        "type": "integer", "minimum": 1, "description": "vit: width of a token; by default 768.",
    }  # fmt: skip
    assert made["$defs"]["Archive"]["properties"]["sha256"]["type"] == ["string", "null"]
    assert made["$defs"]["Dataset"]["properties"]["shards"]["type"] == ["integer", "string"]
    assert model["input_size"]["items"] == {"type": "integer", "minimum": 1}
    assert [branch["properties"]["source"]["const"] for branch in model["weights"]["oneOf"]] == [
        "checkpoint", "training", "random", "shuffled", "hub", "folder",
    ]  # fmt: skip
    text = json.dumps(made)
    assert "anyOf" not in text
    assert "title" not in json.dumps(made["$defs"]["Median"])
