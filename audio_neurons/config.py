"""The configuration: read, completed with defaults, and checked before any job starts."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from audio_neurons import datasets


class ConfigError(ValueError):
    """The configuration says something that cannot be done; every problem is listed with its path."""


def complete(config: Mapping, schema: str | os.PathLike) -> dict:
    """A copy of ``config`` with the schema's defaults filled in, checked.

    Raises
    ------
    ConfigError
        With one line per problem: the path of the key, what is wrong, and what would be right.
    """
    # Plain types (YAML has dates too), and nobody else's object changed.
    try:
        config = json.loads(json.dumps(config, default=str, allow_nan=False))
    except ValueError as error:
        raise ConfigError(f"the configuration is not valid: {error}") from error
    validator = _Completing(yaml.safe_load(Path(schema).read_text(encoding="utf-8")))
    problems = [line for error in validator.iter_errors(config) for line in _explain(error)]
    if not problems:
        for name, block in config["datasets"].items():
            block.setdefault("adapter", name)
        problems = list(_contradictions(config))
    if problems:
        raise ConfigError(
            "the configuration is not valid:\n" + "\n".join(f"  {p}" for p in sorted(set(problems)))
        )
    return config


def _fill_defaults(validator, properties, instance, schema) -> Iterator[ValidationError]:
    """The ``properties`` keyword, which sets what the instance leaves out before checking it."""
    if validator.is_type(instance, "object"):
        for key, sub in properties.items():
            if "default" in sub:
                instance.setdefault(key, deepcopy(sub["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)


_Completing = validators.extend(Draft202012Validator, {"properties": _fill_defaults})


def _explain(error: ValidationError) -> Iterator[str]:
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "oneOf":
        # The branch of the chosen source is the one that the user meant; none is if it is unknown,
        # and the source's own enumeration says so.
        for inner in error.context:
            if not _of_other_source(inner, error):
                yield from _explain(inner)
    elif error.validator == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for key in sorted(set(error.instance) - set(known)):
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            yield f"{where}.{key}".lstrip(".") + f": unknown key; {hint}"
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        yield f"{where or 'top level'}: missing key(s) {', '.join(missing)}"
    else:
        yield f"{where or 'top level'}: {error.message}"


def _of_other_source(inner: ValidationError, outer: ValidationError) -> bool:
    branch = outer.validator_value[inner.schema_path[0]]
    return branch["properties"]["source"]["const"] != outer.instance.get("source")


def _contradictions(config: Mapping) -> Iterator[str]:
    """What no schema can say: names that refer to nothing, settings that exclude each other."""

    def known(path: str, name: str, among: Mapping | tuple, what: str) -> Iterator[str]:
        if name not in among:
            yield f"{path}: no {what} '{name}'; there are {', '.join(among)}"

    for name, block in config["datasets"].items():
        path = f"datasets.{name}"
        yield from known(f"{path}.adapter", block["adapter"], datasets.adapters(), "dataset adapter")
        if block["adapter"] in datasets.adapters():
            roles = datasets.source(block["adapter"])["archives"]
            for role in block["archives"]:
                yield from known(f"{path}.archives.{role}", role, roles, "archive")
    for name, block in config["tasks"].items():
        path = f"tasks.{name}"
        yield from known(f"{path}.dataset", block["dataset"], config["datasets"], "dataset")
        adapter = config["datasets"].get(block["dataset"], {}).get("adapter")
        if adapter in datasets.adapters():
            labels = tuple(datasets.source(adapter)["labels"])
            yield from known(f"{path}.label", block["label"], labels, f"label of {block['dataset']}")
    for name, block in config["models"].items():
        trained = block["weights"]["source"] == "training"
        if trained != ("training" in block):
            yield f"models.{name}: weights.source 'training' and a training block go together"
        if trained and "training" in block:
            yield from known(
                f"models.{name}.training.pool", block["training"]["pool"], config["pools"], "pool"
            )
    for section in ("tasks", "models", "comparisons"):
        titles = [block.get("title", name) for name, block in config[section].items()]
        for title in sorted({t for t in titles if titles.count(t) > 1}):
            yield f"{section}: more than one has the title '{title}'; figures could not tell them apart"
    selection = config["selection"]
    yield from known("selection.selector", selection["selector"], selection["selectors"], "selector")
    for name, block in selection["selectors"].items():
        if block.setdefault("preset", name) not in PRESET_NAMES:
            yield f"selection.selectors.{name}: needs a preset; there are {', '.join(PRESET_NAMES)}"
    for name, block in config["comparisons"].items():
        for i, task in enumerate(block["tasks"]):
            yield from known(f"comparisons.{name}.tasks.{i}", task, config["tasks"], "task")
        if "pairs" in block and len(block["tasks"]) < 2:
            yield f"comparisons.{name}.pairs: pairs match classes of two tasks, but there is one"


# As in selection.PRESETS; spelt here so that checking a configuration does not import pandas.
PRESET_NAMES = ("aape", "aape-bottom5", "lape")


def canonical(value: Any) -> str:
    """A configuration value as text that is the same whenever the value is; for rule parameters."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
