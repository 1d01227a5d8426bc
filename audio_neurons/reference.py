"""Generation of the reference pages and of the schema, for `make reference`.

The references of configuration and tables come from their schemas, the command line from its parsers and the
Makefile, and the facts about datasets from their YAML files.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import yaml

from audio_neurons import __main__ as models_command
from audio_neurons import tables
from audio_neurons.datasets import registry as datasets
from audio_neurons.fetching import sources
from audio_neurons.settings.schema import schema
from audio_neurons.study.loading import HOME

SCHEMA = "workflow/schemas/config.schema.yaml"
HEAD = """\
# Configuration

`config.yaml` is the full reproduction, `demo.yaml` the embedded demo. `--configfile FILE` uses another
file instead of `config.yaml`; the two are not merged. Every key is checked before any job starts; a key that
is not listed here is an error. NAME stands for a name that you choose: lower-case letters, digits, `_`, `-`.

The configuration says what is measured. Set threads, memory and partitions in a profile (`profiles/`), and
the folder for results with `--directory`.

`make reference` writes this page and `workflow/schemas/config.schema.yaml` from the classes of
`audio_neurons/settings/`. An editor with the YAML language server completes keys, shows explanations and
marks mistakes if the first line of a configuration names the schema, as in every file here:

```text
# yaml-language-server: $schema=../workflow/schemas/config.schema.yaml
```

| key | description | type | default |
|---|---|---|---|
"""


def schema_file() -> str:
    """Return the configuration's JSON schema as YAML."""
    note = "# Written from the classes of audio_neurons/settings/ by `make reference`.\n"
    return note + yaml.safe_dump(schema(), sort_keys=False, allow_unicode=True, width=110)


def keys(schema: Mapping, node: Mapping, path: str = "") -> Iterator[tuple[str, Mapping]]:
    """Yield every key of a schema and its node, in order; NAME stands for any key."""
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
        kind = " or ".join(sorted((k for k in kind if k != "null"), key=["array"].count))
    if "array" in kind:
        inner = _type(schema, _resolved(schema, node.get("items", {}))) or "values"
        kind = kind.replace("array", f"list of {inner}")
    return "mapping" if kind == "object" else kind


def page(schema: Mapping) -> str:
    """Return the reference of the configuration as Markdown."""
    rows = []
    for path, node in keys(schema, schema):
        default = f"`{json.dumps(node['default'])}`" if "default" in node else ""
        what = node.get("description", "").strip().rstrip(".")
        rows.append(f"| `{path}` | {what} | {_type(schema, node)} | {default} |")
    return HEAD + "\n".join(rows) + "\n"


TABLES_HEAD = """\
# Tables

Every table is a Parquet file (zstd) that `pandas.read_parquet` reads. Columns have no missing values, but may
have NaN. [results/README.md](../results/README.md) lists all files that the workflow writes, and
[method.md](method.md) defines the measures. Tables of clips, cells and units have one more string column for
every label of the dataset.

`make reference` writes this page from `audio_neurons/tables.py` and `audio_neurons/tables.yaml`.
"""


def tables_page() -> str:
    """Return the reference of all tables and their columns as Markdown.

    Raises
    ------
    KeyError
        If a table or a column is not described.
    """
    described = yaml.safe_load(Path(tables.__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    sections = [TABLES_HEAD]
    for name, columns_of in tables.SCHEMAS.items():
        about = described["tables"][name]
        paths = ", ".join(f"`{path}`" for path in about["path"].split(", "))
        lines = [f"## {name}", "", f"{paths}: one row per {about['row']}.", ""]
        lines += ["| column | type | description |", "|---|---|---|"]
        columns = {**described["columns"], **about["columns"]}
        lines += [f"| `{field.name}` | {_kind(field.type)} | {columns[field.name]} |" for field in columns_of]
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _kind(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


COMMANDS_HEAD = """\
# Command line

`make reference` writes this page from the Makefile and the parsers of the commands.

## make

| target | description |
|---|---|
{targets}

`CORES=n` sets the number of cores for `make demo` (default: all). `PYTHON=python3.12` sets the Python from
which `make environment` creates the environment. `PYTEST_ARGS=...` is passed to pytest.

## Snakemake

Run `.venv/bin/snakemake --cores N TARGET ...` in the checkout. The targets are:

| target | description |
|---|---|
| none, or `all` | figures, tables of numbers, findings, and `results/provenance.json` |
| `figures` | only the figures |
| `downloads` | only the archives and weights |
| `clips` | only the downloaded and prepared datasets |
| `inference` | permuted labels, resampled groups, halves |
| `ablations` | probes, ablation and screening |
| a path, such as `results/figures/genre.pdf` | this file and its missing inputs |

This table lists the most useful of Snakemake's own
[options](https://snakemake.readthedocs.io/en/stable/executing/cli.html). Put targets before the options,
since some options, such as `--configfile`, consume every word that follows.

| option | description |
|---|---|
| `-n`, `-n --quiet rules` | list the jobs, or only count them, without running any |
| `--configfile FILE` | use another configuration instead of `config/config.yaml` |
| `--config 'datasets={{voxforge: false}}' 'ablation={{random: 20}}'` | leave something out, or set values |
| `--directory FOLDER` | folder of `resources/`, `results/` and `logs/` (default: the current one) |
| `--forcerun RULE` | run a rule again, and all jobs that depend on it |
| `--set-threads RULE=N` | number of threads for a rule's jobs |
| `--resources downloads=1` | number of simultaneous downloads |
| `--unlock` | remove the lock that a killed run left |
| `--report FILE.zip` | write a report of the existing results |
"""


def commands_page(root: Path) -> str:
    """Return the command line as Markdown: targets of make and Snakemake, and the library's own commands."""
    from audio_neurons.training import __main__ as training_command

    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*?## (.*?)\.?$", makefile, re.M)
    sections = [COMMANDS_HEAD.format(targets="\n".join(f"| `{name}` | {what} |" for name, what in targets))]
    sections += [_command(p) for p in (models_command.parser(), training_command.parser())]
    return "\n".join(sections)


def _command(parser: argparse.ArgumentParser) -> str:
    """Return the arguments of a command and of its subcommands as Markdown."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if inner:
        return "\n".join(_command(command) for command in inner[0].choices.values())
    assert parser.description
    lines = [f"## {parser.prog}", "", parser.description, "", "| argument | description |", "|---|---|"]
    for action in parser._actions:
        if action.dest == "help":
            continue
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest).upper()
        default = action.default
        if isinstance(default, Path) and default.is_absolute():
            default = default.relative_to(HOME)
        assert action.help
        lines.append(f"| `{name}` | {action.help % {'default': default}} |")
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- facts: written by `make reference` -->\n", "<!-- end of facts -->\n"


def facts(name: str) -> str:
    """Return the facts about a dataset and its downloads as Markdown."""
    own = datasets.source(name)
    lines = [
        f"- **Licence**: {own['licence']}",
        f"- **Cite**: {own['citation']}",
        f"- **Home**: <{own['homepage']}>",
        f"- **Download**: {own['size_gb']:g} GB; clips: {_clips(own)}",
        f"- **Labels**: {', '.join(f'`{label}`' for label in own['labels'])};"
        f" clip length for the encoder: {own['clip_seconds']:g} s",
    ]
    lines += [f"- **Options**: `{json.dumps(own['options'])}`"] if own.get("options") else []
    if own.get("excluded"):
        lines.append("- **Left out on purpose**:")
        lines += [f"  - `{pattern}`: {reason}" for pattern, reason in own["excluded"].items()]
    lines += ["", "| archive | size | verified by | URLs |", "|---|---|---|---|"]
    lines += [_row(role, archive) for role, archive in own["archives"].items()]
    return "\n".join(lines) + "\n"


def _clips(own: Mapping) -> str:
    if "clips" in own:
        return str(own["clips"])
    return f"{own['at_most']} at most" if "at_most" in own else "not known"


def _row(role: str, archive: Mapping) -> str:
    size = f"{archive['bytes']:,} bytes" if archive.get("bytes") else "not published"
    known = [kind for kind in sources.CHECKSUMS if archive.get(kind)]
    held = ", ".join(known) or ("its members' md5" if archive.get("bytes_vary") else "its first download")
    if "parts" in archive:
        held += "; each part by its " + ", ".join(k for k in sources.CHECKSUMS if k in archive["parts"][0])
    if archive.get("zenodo"):
        held = "checksum on Zenodo, and its first download"
    if "batches" in archive:
        size = f"{archive['batches']} batches"
        held = (
            f"`{archive['manifest']}`, per file" if "manifest" in archive else "its first download, per file"
        )
    urls = [*(archive.get("urls") or []), *(url for part in archive.get("parts", []) for url in part["urls"])]
    return f"| `{role}`: {archive['file']} | {size} | {held} | {'<br>'.join(f'`{url}`' for url in urls)} |"


def with_facts(page: str, name: str) -> str:
    """Return a dataset's page with its facts between the two markers."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{facts(name)}\n{END}{after}"


def write(root: Path) -> None:
    """Write all references into a checkout of the project."""
    (root / SCHEMA).write_text(schema_file(), encoding="utf-8")
    (root / "config/README.md").write_text(page(schema()), encoding="utf-8")
    (root / "docs/tables.md").write_text(tables_page(), encoding="utf-8")
    (root / "docs/command-line.md").write_text(commands_page(root), encoding="utf-8")
    for path in sorted((root / "docs/datasets").glob("[a-z]*.md")):
        path.write_text(with_facts(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")


if __name__ == "__main__":
    write(Path())
