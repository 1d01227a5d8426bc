"""The JSON schema of the configuration, generated from its classes, for checks and for editors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from audio_neurons.settings.configuration import Configuration

HEAD = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Configuration of Audio Neurons",
}

WEIGHTS = ("Checkpoint", "Trained", "Random", "Hub", "Folder")  # branches of a model's weights


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the configuration."""
    made = Configuration.model_json_schema()
    definitions = made.pop("$defs")
    for name in WEIGHTS:
        _as_branch(definitions[name])
    simple = _simplified(made, definitions)
    kept = {name: _simplified(node, definitions) for name, node in definitions.items()}
    for node in kept["Selector"]["properties"].values():
        node.pop("default", None)  # the preset's own
    for name in WEIGHTS:
        del kept[name]
    kept["Model"]["required"].remove("weights")
    kept["Model"]["oneOf"] = [{"required": [key]} for key in ("weights", "hub", "folder")]
    return {**HEAD, **simple, "$defs": kept}


def _as_branch(node: dict[str, Any]) -> None:
    """Keep of a branch's tag what tells the branches apart; the union itself describes the tag."""
    node["properties"]["source"] = {"const": node["properties"]["source"]["const"]}
    node["required"].remove("source")
    del node["type"]


def _simplified(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a node as a person would write it: optional keys without null, and no unions of one type."""
    if isinstance(node, list):
        return [_simplified(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    node = dict(node)
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(node["description"].split())
    properties = node.pop("properties", None)
    if "oneOf" in node:
        return _union(node, definitions)
    node = {key: _simplified(value, definitions) for key, value in node.items() if key != "title"}
    if properties is not None:
        node["properties"] = {key: _simplified(value, definitions) for key, value in properties.items()}
    if "anyOf" in node:
        node = _merged(node)
    if "prefixItems" in node:
        node["items"] = node.pop("prefixItems")[0]
    if "enum" in node or "const" in node:
        node.pop("type", None)
    if "patternProperties" in node:
        ((pattern, inner),) = node.pop("patternProperties").items()
        node["propertyNames"] = {"pattern": pattern, **node.pop("propertyNames", {})}
        node["additionalProperties"] = inner
    if isinstance(node.get("default"), dict) and "$ref" in node:
        node["default"] = {}  # its own keys have theirs
    return node


def _merged(node: dict[str, Any]) -> dict[str, Any]:
    """Return a union of simple types as one node with several types; null only where it may be written."""
    branches = [branch for branch in node.pop("anyOf") if branch != {"type": "null"}]
    nullable = node.pop("nullable", False)
    if node.get("default", "") is None:
        del node["default"]
    types = [branch["type"] for branch in branches if "type" in branch]
    merged = {key: value for branch in branches for key, value in branch.items()}
    if len(types) + nullable > 1:
        merged["type"] = types + ["null"] * nullable
    return {**merged, **node}


def _union(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tagged union with its branches in place, as errors of one branch are told by the tag."""
    tag = node["discriminator"]["propertyName"]
    names = [branch["$ref"].rsplit("/", 1)[1] for branch in node["oneOf"]]
    return {
        "description": node["description"],
        "type": "object",
        "required": [tag],
        "properties": {
            tag: {
                "enum": [definitions[name]["properties"]["source"]["const"] for name in names],
                "description": "A file; training here; the initialisation alone; the Hub; a folder.",
            }
        },
        "oneOf": [_simplified(definitions[name], definitions) for name in names],
    }
