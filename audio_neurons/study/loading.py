"""The configuration: read, completed with defaults, and checked before any job starts."""

from __future__ import annotations

import csv
import difflib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from audio_neurons.datasets import registry as datasets
from audio_neurons.models import folder
from audio_neurons.models.errors import ModelError
from audio_neurons.models.facts import DATASET
from audio_neurons.models.twins import OWN, resolved
from audio_neurons.settings.configuration import Configuration
from audio_neurons.settings.models import CONTEXT_NOTES, CONTEXTS, DATASET_NOTE, spelled_out
from audio_neurons.settings.schema import schema
from audio_neurons.settings.section import contradictions
from audio_neurons.settings.selection import PRESETS
from audio_neurons.study import expected
from audio_neurons.study.checks import facts_against

HOME = Path(__file__).parents[2]  # the checkout, with resources/ and config/
SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # with libyaml ten times as fast
SECTIONS = ("datasets", "tasks", "models", "comparisons")  # blocks that have names, and can be false


class ConfigError(ValueError):
    """The configuration asks for something impossible; every problem is listed with its path."""


def complete(config: Mapping, files: Iterable[str | os.PathLike] = (), given: Mapping | None = None) -> dict:
    """Return a copy of ``config`` with defaults filled in, checked, and without what it leaves out.

    Relative paths in it (``files``, ``pairs``, ``expectations``) are looked up in the working directory; the
    last two, which this project ships too, then in the checkout.

    Parameters
    ----------
    config
        The values that Snakemake has read: ``files``, changed by its ``--config``.
    files
        Given these, a name that is set to false and stands in none of them is a problem.
    given
        The values of ``--config`` alone. In them Snakemake reads numbers and switches within a block as text.

    Raises
    ------
    ConfigError
        With one line per problem: the path of the key, what is wrong, and what would be right.
    """
    # Plain types (YAML has dates too), and nobody else's object changed.
    try:
        completed: dict = json.loads(json.dumps(config, default=str, allow_nan=False))
    except ValueError as error:
        raise ConfigError(f"the configuration is not valid: {error}") from error
    files = list(files)
    problems = [*_left_out_in_vain(completed, files), *_twice(files)] if files else []
    _leave_out(completed)
    models = completed.get("models") if isinstance(completed, dict) else None
    for block in models.values() if isinstance(models, dict) else ():
        if isinstance(block, dict) and block.keys() & {"hub", "folder"}:
            block.setdefault("adapter", "huggingface")
    if isinstance(models, dict):
        for block in models.values():
            _twin(block, models)
    validator = _Completing(schema())
    _give_types(completed, given or {}, validator)
    problems += [line for error in validator.iter_errors(completed) for line in _explain(error)]
    if not problems:
        for name, block in completed["datasets"].items():
            block.setdefault("adapter", "custom" if "files" in block else name)
        completed["models"] = {n: spelled_out(block) for n, block in completed["models"].items()}
        for name, block in completed["selection"]["selectors"].items():
            if name in PRESETS:
                block.setdefault("preset", name)
        for name, block in completed["models"].items():
            _say_input(block, resolved(completed["models"], name)["weights"])
        study = Configuration(**completed)
        problems = [*contradictions(study), *facts_against(study), *_read_pairs(completed)]
        problems += _read_expected(completed)
    if not problems:
        for block in completed["datasets"].values():
            if block["shards"] == "auto":
                block["shards"] = shards(block, completed["extraction"]["clips_per_shard"])
    if problems:
        raise ConfigError(
            "the configuration is not valid:\n" + "\n".join(f"  {p}" for p in sorted(set(problems)))
        )
    return completed


def _twin(block: Any, models: Mapping) -> None:
    """Give a shuffled twin the architecture of its model; anything wrong is found later."""
    weights = block.get("weights") if isinstance(block, dict) else None
    if not (isinstance(weights, dict) and weights.get("source") == "shuffled"):
        return
    of = models.get(str(weights.get("of")))
    if isinstance(of, dict):
        block |= {key: deepcopy(value) for key, value in of.items() if key not in {*OWN, *block}}
        told = f"The weights of {of.get('title') or weights['of']}, those of each unit permuted."
        block.setdefault("note", told)


def _say_input(block: dict, weights: Mapping) -> None:
    """Put an encoder's context into its block, and what it does to its input into its note."""
    if context := block.get("context", CONTEXTS.get(_model_type(block, weights))):
        block["context"] = context
        _note(block, CONTEXT_NOTES[context])
    elif weights["source"] == "hub":
        _note(block, CONTEXT_NOTES["hub"])
    if block.get("norm_stats") == DATASET:
        _note(block, DATASET_NOTE)


def _model_type(block: Mapping, weights: Mapping) -> str:
    """Return the architecture of a model of transformers, as far as it is known before a download."""
    found = None
    if weights["source"] == "folder":
        with suppress(ModelError):  # which the checks report
            found = folder.read_json(Path(weights["path"]).expanduser() / folder.CONFIG).get("model_type")
    return str(found or block.get("model_type", ""))


def _note(block: dict, told: str) -> None:
    if told not in (note := block.get("note", "")):
        block["note"] = f"{note} {told}".lstrip()


def _is_false(block: Any) -> bool:
    return str(block).lower() == "false"  # of the command line's, Snakemake makes text


def _left_out_in_vain(config: Any, files: Iterable[str | os.PathLike]) -> Iterator[str]:
    """Names that the command line sets to false, and that nothing has: misspelt, they would be ignored."""
    read = [yaml.load(Path(file).read_text(encoding="utf-8"), SAFE) for file in files]
    for section in SECTIONS:
        named = [one.get(section) for one in (config, *read) if isinstance(one, dict)]
        blocks, *others = (block if isinstance(block, dict) else {} for block in named or [{}])
        known = sorted({str(name) for names in others for name in names})
        for name, block in blocks.items():
            if _is_false(block) and name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known) or 'none'}"
                yield f"{section}.{name}: there is nothing of this name to leave out; {hint}"


def _twice(files: Iterable[str | os.PathLike]) -> Iterator[str]:
    """Keys that a file has twice in one block: YAML's readers keep the last, without a word."""
    for file in files:
        waiting = [(yaml.compose(Path(file).read_text(encoding="utf-8"), SAFE), "")]
        while waiting:
            node, path = waiting.pop()
            if isinstance(node, yaml.SequenceNode):
                waiting += [(one, f"{path}.{i}") for i, one in enumerate(node.value)]
            elif isinstance(node, yaml.MappingNode):
                lines: dict[str, int] = {}
                for key, value in node.value:
                    line = key.start_mark.line + 1
                    if lines.setdefault(key.value, line) != line:
                        where = f"lines {lines[key.value]} and {line} of {file}"
                        yield f"{path}.{key.value}".lstrip(".") + f": twice, in {where}; make it one"
                    waiting.append((value, f"{path}.{key.value}"))


def _leave_out(config: Any) -> None:
    """Take away what is set to false, and what cannot be without it."""
    gone: dict[str, list] = {}

    def lost(section: str, block: Any) -> bool:
        if not isinstance(block, dict):
            return _is_false(block)
        if section == "comparisons":
            tasks = block.get("tasks")
            return isinstance(tasks, list) and any(task in gone["tasks"] for task in tasks)
        return section == "tasks" and block.get("dataset") in gone["datasets"]

    for section in SECTIONS:
        blocks = config.get(section) if isinstance(config, dict) else None
        gone[section] = []
        if isinstance(blocks, dict):
            gone[section] = [name for name, block in blocks.items() if lost(section, block)]
            config[section] = {n: block for n, block in blocks.items() if n not in gone[section]}
    ablation = config.get("ablation") if isinstance(config, dict) else None
    if isinstance(ablation, dict) and isinstance(ablation.get("tasks"), dict):
        left = {t: b for t, b in ablation["tasks"].items() if t not in gone["tasks"]}
        ablation["tasks"] = {t: b for t, b in left.items() if not lost("ablation", b)}
        _without_models(ablation["tasks"], gone["models"])
        for block in ablation["tasks"].values():
            if isinstance(block, dict) and isinstance(block.get("lists"), dict):
                _without_models(block["lists"], gone["models"])


def _without_models(blocks: dict, gone: Collection[str]) -> None:
    """Take models out of blocks that may name some, and blocks that are of these models alone."""
    for name, block in list(blocks.items()):
        named = block.get("models") if isinstance(block, dict) else None
        if isinstance(named, list) and named:
            block["models"] = [model for model in named if model not in gone]
            if not block["models"]:
                del blocks[name]


def _fill_defaults(
    validator: Any, properties: Mapping, instance: Any, schema: Mapping
) -> Iterator[ValidationError]:
    """The ``properties`` keyword, which sets what the instance leaves out before checking it."""
    if validator.is_type(instance, "object"):
        for key, sub in properties.items():
            if "default" in sub:
                instance.setdefault(key, deepcopy(sub["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)


_Completing = validators.extend(Draft202012Validator, {"properties": _fill_defaults})


def _give_types(config: dict, given: Mapping, validator: Any) -> None:
    """Turn text of the command line into numbers and switches where the schema wants them."""
    waiting = list(validator.iter_errors(deepcopy(config))) if given else []
    while waiting:
        error = waiting.pop()
        waiting += error.context
        text, path = error.instance, list(error.absolute_path)
        if isinstance(text, str) and _at(given, path) == text:
            _at(config, path[:-1])[path[-1]] = yaml.safe_load(text)


def _at(values: Any, path: Iterable[str | int]) -> Any:
    """Return the value at a path of keys and indices, or None."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _explain(error: ValidationError) -> Iterator[str]:
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "oneOf" and "properties" not in error.validator_value[0]:
        keys = [branch["required"][0] for branch in error.validator_value]
        yield f"{where}: needs one of {', '.join(keys)}, and only one"
    elif error.validator == "oneOf":
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
    elif error.validator == "pattern" and (word := re.fullmatch(r"\^(\w+)\$", error.validator_value)):
        yield f"{where}: {error.instance!r} is neither a whole number nor {word[1]}"
    else:
        yield f"{where or 'top level'}: {error.message}{_meant(error)}"


def _meant(error: ValidationError) -> str:
    """What to write where YAML reads another type than people do."""
    if error.validator != "type":
        return ""
    number = re.fullmatch(r"(\d+)(\.\d*)?e([+-]?\d+)", str(error.instance))
    if number and error.validator_value in ("number", "integer"):
        return f"; write {number[1]}{number[2] or '.0'}e{int(number[3]):+d}"
    if error.validator_value == "string" and isinstance(error.instance, bool | float | int):
        return "; put it in quotes"
    return ""


def _of_other_source(inner: ValidationError, outer: ValidationError) -> bool:
    branch = outer.validator_value[inner.schema_path[0]]
    return branch["properties"]["source"]["const"] != outer.instance.get("source")


def shards(dataset: Mapping, clips_per_shard: int) -> int:
    """Parts of some ``clips_per_shard`` clips each, by what is known of a dataset before it is here.

    At least one, and one where nothing is known, as of the user's own files; at most 999. A sample has no
    more clips than it asks for.
    """
    facts = {**datasets.source(dataset["adapter"]), **dataset.get("synthesis", {})}
    clips, sample = facts.get("clips", facts.get("at_most")), dataset.get("sample")
    if sample:
        clips = sample["clips"] if clips is None else min(clips, sample["clips"])
    clips = clips or 1
    return min(-(-clips // clips_per_shard), 999)


def _read_pairs(config: Mapping) -> Iterator[str]:
    """Put the pairs in the place of the table that ``pairs`` may name."""
    for name, block in config["comparisons"].items():
        file = block.get("pairs")
        if not isinstance(file, str):
            continue
        path = _here_or_home(file)
        if path is None:
            yield f"comparisons.{name}.pairs: no such file: {file}"
            continue
        try:
            with open(path, newline="", encoding="utf-8-sig") as table:
                rows = [row for row in csv.DictReader(table) if row.get("use", "yes") != "no"]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            yield f"comparisons.{name}.pairs: {path}: not a readable table in UTF-8 ({error})"
            continue
        cells = [[row[key] for key in list(row)[:2] if key is not None] for row in rows]
        block["pairs"] = [[(cell or "").strip() for cell in pair] for pair in cells]
        if not rows or not all(len(pair) == 2 and all(pair) for pair in block["pairs"]):
            yield f"comparisons.{name}.pairs: {path} has no pairs, or an empty class, in its two columns"


def _here_or_home(file: str) -> Path | None:
    return next((path for path in (Path(file), HOME / file) if path.is_file()), None)


def _read_expected(config: dict) -> Iterator[str]:
    """Check the user's file of expectations, and say where it is."""
    file = config["findings"].get("expectations")
    if file is None:
        return
    path = _here_or_home(file)
    if path is None:
        yield f"findings.expectations: no such file: {file}"
        return
    config["findings"]["expectations"] = str(path)
    try:
        expected.read([HOME / "resources" / "published" / "expectations.csv", path])
    except expected.ExpectationError as error:
        yield from (f"findings.expectations: {line}" for line in str(error).splitlines())
