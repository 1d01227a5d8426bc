"""CONTRIBUTING.md, the changelog and the hooks agree with the code, the version and the Makefile."""

import ast
import datetime
import re
import shlex
import subprocess
import tomllib

import pytest
import yaml
from common import ROOT
from test_docs import anchors, links

import audio_neurons

PAGE, CHANGELOG = ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def layers():
    """Return the layers of the import contract, from the top; modules of one layer are independent."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    (found,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in found]


def purpose(name):
    """Return the first line of the docstring of a room or a module."""
    room = ROOT / "audio_neurons" / name
    file = room / "__init__.py" if room.is_dir() else room.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return text.splitlines()[0].rstrip(".").replace("``", "`")


def rows():
    """Return the expected table of rooms."""
    found = ["| room | what it is for | may import |", "|---|---|---|"]
    for above, below in zip(layers(), [*layers()[1:], []], strict=True):
        may = ", ".join(f"`{name}`" for name in below) or "nothing"
        may += " and below" if below and below != layers()[-1] else ""
        found += [f"| `{name}` | {purpose(name)} | {may} |" for name in above]
    return found


def test_the_table_of_rooms_is_that_of_docstrings_and_contracts():
    rooms = {door.parent.name for door in (ROOT / "audio_neurons").glob("*/__init__.py")}
    assert rooms <= {name for layer in layers() for name in layer}
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert shown == rows(), "replace the table in CONTRIBUTING.md by:\n" + "\n".join(rows())


@pytest.mark.parametrize("page", [PAGE, CHANGELOG], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        if not re.match(r"https://[a-z.-]+/", target):
            assert (ROOT / path).is_file(), target
            assert not anchor or anchor in anchors(ROOT / path), target


def test_files_that_the_page_names_exist():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text))
    assert len(named) > 10
    assert [path for path in named if not re.search("NAME|ROOM", path) and not (ROOT / path).exists()] == []
    rules = (ROOT / "workflow" / "rules" / "report.smk").read_text(encoding="utf-8")
    (loop,) = re.findall(r'"(Figures [a-z ]+)"', text)
    assert f"# {loop}" in rules
    results = (ROOT / "audio_neurons" / "study" / "results.py").read_text(encoding="utf-8")
    assert "\nOVERALL = {" in results


def test_commands_are_targets_of_the_makefile():
    (block,) = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    for command in block.splitlines():
        first, *targets = shlex.split(command)
        assert first == "make"
        subprocess.run(["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True)


def test_the_readme_leads_there():
    assert "(CONTRIBUTING.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


# Version


def test_the_version_is_the_same_everywhere():
    version = audio_neurons.__version__
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "audio_neurons.__version__"}
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    released = re.findall(r"^## \[(\d.*?)\]", CHANGELOG.read_text(encoding="utf-8"), re.M)
    assert released[0] == version


def test_the_changelog_is_in_order():
    headings = re.findall(r"^## (.*)", CHANGELOG.read_text(encoding="utf-8"), re.M)
    if headings[0] == "[Unreleased]":
        del headings[0]
    form = r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)"
    releases = [re.fullmatch(form, heading).groups() for heading in headings]
    versions = [tuple(map(int, numbers)) for *numbers, _ in releases]
    dates = [datetime.date.fromisoformat(day) for *_, day in releases]
    assert versions == sorted(versions, reverse=True)
    assert dates == sorted(dates, reverse=True)
    kinds = re.findall(r"^### (.*)", CHANGELOG.read_text(encoding="utf-8"), re.M)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


# Hooks


def printed(target):
    """Commands that the Makefile would run."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_hooks_run_the_commands_of_make_lint():
    environment = printed("environment")
    wanted = [command for command in printed("lint") if command not in environment]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert [hook["entry"] for hook in hooks] == wanted
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    for hook in hooks:
        assert (hook["language"], hook["pass_filenames"]) == ("system", False)
        assert not files or any(re.search(hook["files"], file) for file in files), hook["id"]
