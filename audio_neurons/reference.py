"""The reference of the configuration, written from its schema (`make reference`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

HEAD = """\
# Configuration

`config.yaml` is the full reproduction, `demo.yaml` the embedded demo. `--configfile FILE` uses another
file instead of `config.yaml`, not on top of it. Every key is checked before any job starts; a key that
is not listed here is an error. NAME stands for a name of your own: small letters, digits, `_` and `-`.

The configuration says what is measured. Threads, memory and partitions belong to a profile
(`profiles/`), the place of results to `--directory`.

This page is written from `workflow/schemas/config.schema.yaml` by `make reference`.

| key | what | type | default |
|---|---|---|---|
"""


def keys(schema: Mapping, node: Mapping, path: str = "") -> Iterator[tuple[str, Mapping]]:
    """Every key of a schema with what the schema says of it, in order; NAME stands for any key."""
    node = _resolved(schema, node)
    branches = [node, *node.get("oneOf", [])]
    seen = set()
    for branch in branches:
        for name, value in branch.get("properties", {}).items():
            value = _resolved(schema, value)
            if name not in seen and set(value) != {"const"}:
                seen.add(name)
                yield f"{path}{name}", value
                yield from keys(schema, value, f"{path}{name}.")
    inner = node.get("additionalProperties")
    if isinstance(inner, Mapping):
        yield from keys(schema, inner, f"{path}NAME.")


def _resolved(schema: Mapping, node: Mapping) -> dict:
    if "$ref" not in node:
        return dict(node)
    target = schema
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**_resolved(schema, target), **{k: v for k, v in node.items() if k != "$ref"}}


def _type(schema: Mapping, node: Mapping) -> str:
    if "enum" in node:
        return ", ".join(f"`{v}`" for v in node["enum"])
    kind = node.get("type", "")
    if isinstance(kind, list):
        kind = " or ".join(k for k in kind if k != "null")
    if kind == "array":
        kind = f"list of {_type(schema, _resolved(schema, node.get('items', {}))) or 'values'}"
    return "mapping" if kind == "object" else kind


def page(schema: Mapping) -> str:
    """The reference as Markdown."""
    rows = []
    for path, node in keys(schema, schema):
        default = f"`{json.dumps(node['default'])}`" if "default" in node else ""
        what = node.get("description", "").strip().rstrip(".")
        rows.append(f"| `{path}` | {what} | {_type(schema, node)} | {default} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))))
