"""The documentation: links, generated references, and configuration examples."""

from __future__ import annotations

import copy
import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from common import ROOT
from jinja2 import Template
from markdown_it import MarkdownIt

from audio_neurons import reference, tables
from audio_neurons.settings.schema import schema
from audio_neurons.study import ConfigError, complete

PAGES = [
    ROOT / "README.md",
    ROOT / "config" / "README.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
MARKDOWN = MarkdownIt("commonmark").enable("table")
WHOLE = {"datasets", "tasks", "models", "comparisons"}  # a complete one; tutorials' tests run it


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def links(path: Path) -> list[str]:
    """Return the targets of a page's links and images."""
    inline = [token for token in MARKDOWN.parse(path.read_text("utf-8")) if token.type == "inline"]
    tokens = [child for token in inline for child in token.children]
    found = [token.attrs.get("href") or token.attrs.get("src") for token in tokens]
    return [target for target in found if target]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, on GitHub and on the site."""
    tokens = MARKDOWN.parse(path.read_text("utf-8"))
    found = {}
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(t.content for t in content.children if t.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
            if found[slug]:
                found[f"{slug}-{found[slug]}"] = 0
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in links(page):
        url = urlsplit(target)
        if url.scheme:
            assert url.scheme in ("http", "https"), target
            assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?", url.netloc), target
            continue
        path = (page.parent / unquote(url.path)).resolve() if url.path else page
        assert path.is_relative_to(ROOT), target
        assert path.exists(), target
        if url.fragment:
            assert url.fragment in anchors(path), target


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b_c`, d: e\n\n## Twice\n\n## Twice\n\n## [Link](x.md) – *and* more\n", "utf-8")
    assert anchors(page) == {"a-b_c-d-e", "twice", "twice-1", "link--and-more"}


def test_links_are_found_in_tables_lists_and_images(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("| a |\n|---|\n| [x](one.md) |\n\n- ![y](two.png)\n\n```\n[no](three.md)\n```\n", "utf-8")
    assert links(page) == ["one.md", "two.png"]


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent == ROOT / "docs"], ids=named)
def test_the_contents_list_every_page_once(page):
    contents = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert page.stem == "index" or len(re.findall(rf"^{page.stem}$", contents, re.M)) == 1


def test_every_module_is_in_the_reference_once():
    text = "".join(p.read_text("utf-8") for p in (ROOT / "docs" / "api").glob("*.md"))
    shown = re.findall(r"automodule:: ([\w.]+)$", text, re.M)
    public = set()
    for path in (ROOT / "audio_neurons").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not parts[-1].startswith("_"):
            public.add(".".join(parts))
        elif parts[-1] == "__init__" and len(parts) > 2:
            public.add(".".join(parts[:-1]))
    assert sorted(shown) == sorted(public)


def test_tables_and_command_line_are_those_of_the_code():
    remedy = "run `make reference`"
    assert (ROOT / "docs/tables.md").read_text("utf-8") == reference.tables_page(), remedy
    assert (ROOT / "docs/command-line.md").read_text("utf-8") == reference.commands_page(ROOT), remedy


def test_what_is_described_of_tables_is_there():
    described = yaml.safe_load((ROOT / "audio_neurons" / "tables.yaml").read_text("utf-8"))
    assert list(described["tables"]) == list(tables.SCHEMAS)
    used = set()
    for name, about in described["tables"].items():
        assert set(about["columns"]) <= set(tables.SCHEMAS[name].names), name
        used |= set(tables.SCHEMAS[name].names) - set(about["columns"])
    assert set(described["columns"]) == used


def test_results_of_rules_are_listed():
    rules = "".join(p.read_text("utf-8") for p in (ROOT / "workflow" / "rules").glob("*.smk"))
    rules = rules.replace("{_dataset}", "{dataset}")
    listed = (ROOT / "results" / "README.md").read_text("utf-8")
    folders = set(re.findall(r'"results/([a-z_]+)/', rules)) - {"shards"}  # parts of the statistics
    assert {folder for folder in folders if f"`{folder}/" not in listed} == set()


def test_targets_of_the_workflow_are_listed():
    snakefile = (ROOT / "Snakefile").read_text("utf-8")
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    assert [name for name in re.findall(r"^rule (\w+):", snakefile, re.M) if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("activity", "words"),
    [
        ("positive", "its activation exceeds 0.5."),
        ("absolute", "the absolute value of its activation exceeds 0.5."),
        ("median", "its activation, less the neuron's median, exceeds 0.5."),
    ],
)
def test_the_report_says_when_a_neuron_is_active(activity, words):
    config = {"extraction": {"activity": activity, "threshold": 0.5}, "selection": {}}
    text = (ROOT / "workflow" / "report" / "workflow.rst").read_text("utf-8")
    text = " ".join(Template(text).render(snakemake=SimpleNamespace(config=config)).split())
    assert f"active on a token when {words}" in text


def test_rules_that_ask_for_gpus_are_listed():
    rules = "".join(p.read_text("utf-8") for p in (ROOT / "workflow" / "rules").glob("*.smk"))
    page = " ".join((ROOT / "docs" / "cluster.md").read_text("utf-8").split())
    listed = re.search(r"names\. ([^.]*) ask for GPUs", page)[1]
    blocks = re.split(r"^(?:use )?rule (?:\w+ as )?", rules, flags=re.M)[1:]
    asking = [re.match(r"\w+", block)[0] for block in blocks if " gpu=" in block]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(asking)


def merged(base: dict, changes: dict) -> dict:
    """Merge a block of a page into a configuration, as Snakemake merges several --configfile."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged(base[key], value)
        else:
            base[key] = copy.deepcopy(value)
    return base


def shown() -> list[tuple[str, dict]]:
    """Return the pages' YAML blocks whose top keys are keys of the configuration, with the page of each."""
    keys = set(schema()["properties"])
    found = []
    for page in PAGES:
        for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            block = yaml.safe_load(text)
            if set(block) <= keys and not set(block) >= WHOLE:
                found.append((named(page), block))
    return found


@pytest.mark.parametrize(
    ("page", "block"), shown(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_configurations_on_pages_are_valid(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for dataset in (block.get("datasets") or {}).values():
        if dataset and "files" in dataset:
            files = Path(dataset["files"])
            named = dataset.get("options", {}).get("columns", {})
            header = ["path", named.get("group", "group"), *named.get("labels", ["species"])]
            files.parent.mkdir(parents=True, exist_ok=True)
            if dataset["files"].endswith("/"):
                files.mkdir()
            else:
                files.write_text(",".join(header) + "\n", "utf-8")
    for model in (block.get("models") or {}).values():
        if model and "folder" in model:
            Path(model["folder"]).mkdir(parents=True)
            for name in ("config.json", "model.safetensors"):
                (Path(model["folder"]) / name).touch()
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
    complete(merged(base, block))


def test_a_key_that_does_not_exist_would_be_told():
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
    with pytest.raises(ConfigError, match="mirrors"):
        complete(merged(base, {"download": {"mirrors": {}}}))
