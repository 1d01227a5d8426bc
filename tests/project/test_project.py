"""Rules for the whole project: consistent pins, imports of the library, rules and scripts."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from common import ROOT
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from audio_neurons import reference
from audio_neurons.datasets import adapters
from audio_neurons.settings.schema import schema

LOCK = (ROOT / "envs" / "lock.txt").read_text(encoding="utf-8")

spec = importlib.util.spec_from_file_location("conda", ROOT / "envs" / "conda.py")
conda = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conda)


def locked(python: str) -> dict[str, str]:
    """Return the locked version of each package, for a version of Python on Linux."""
    versions = {}
    for name, version, marker in re.findall(r"^([\w.-]+)==([^\s;\\]+)(?: ; ([^\\\n]+?))? *\\?$", LOCK, re.M):
        where = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"}
        if not marker or Marker(marker).evaluate({**where, "platform_machine": "x86_64"}):
            versions[name] = version
    return versions


def conda_pins(name: str) -> list[Requirement]:
    """Return the pins of a conda environment on Linux, for its version of Python."""
    text = (ROOT / "envs" / f"{name}.yaml").read_text(encoding="utf-8")
    dependencies = yaml.safe_load(text)["dependencies"]
    python = next(d.removeprefix("python=") for d in dependencies if str(d).startswith("python="))
    where = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"}
    pins = [Requirement(line.partition(" --hash")[0]) for line in dependencies[-1]["pip"]]
    return [
        pin for pin in pins if not pin.marker or pin.marker.evaluate({**where, "platform_machine": "x86_64"})
    ]


@pytest.mark.parametrize("name", conda.ENVIRONMENTS)
def test_conda_environments_agree_with_the_lock(name):
    text = (ROOT / "envs" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text == conda.page(LOCK, name), "run `make lock`"
    lock = locked("3.12")
    pins = {pin.name: str(pin.specifier) for pin in conda_pins(name)}
    assert pins == {name: f"=={lock[name]}" for name in pins}
    assert all(" --hash=sha256:" in line for line in yaml.safe_load(text)["dependencies"][-1]["pip"])


@pytest.mark.parametrize("name", conda.ENVIRONMENTS)
def test_conda_environments_leave_nothing_to_choose(name):
    pins = {canonicalize_name(pin.name) for pin in conda_pins(name)}
    for pin in pins:
        try:
            needs = map(Requirement, metadata.requires(pin) or [])
        except metadata.PackageNotFoundError:  # only installed with another version of Python
            continue
        needs = {canonicalize_name(r.name) for r in needs if not r.marker or r.marker.evaluate({"extra": ""})}
        assert needs <= pins, pin


def test_conda_environments_hold_what_the_library_imports():
    names = {
        "yaml": "pyyaml",
        "PIL": "pillow",
        "espeakng_loader": "espeakng-loader",
        "huggingface_hub": "huggingface-hub",
        "pretty_midi": "pretty-midi",
        "lazy_loader": "lazy-loader",
    }
    imported = set()
    for path in (ROOT / "audio_neurons").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    third_party = {names.get(m, m) for m in imported - set(sys.stdlib_module_names) - {"audio_neurons"}}
    pinned = set(re.findall(r"- ([\w-]+)==", "".join(p.read_text() for p in (ROOT / "envs").glob("*.yaml"))))
    assert third_party <= pinned


def test_lock_holds_hashes_and_no_index():
    assert LOCK.count("--hash=sha256:") > len(locked("3.12"))
    assert "://" not in LOCK + (ROOT / "envs" / "uv.txt").read_text(encoding="utf-8")


def test_library_does_not_import_snakemake():
    for path in (ROOT / "audio_neurons").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(encoding="utf-8"), re.M), path


def test_later_stages_import_earlier_ones_and_never_the_reverse():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_library_imports_modules_and_never_names_of_a_door():
    """Code digests follow imports, but a room's `__init__` imports its modules lazily."""
    package = ROOT / "audio_neurons"
    rooms = {".".join(door.parent.relative_to(ROOT).parts) for door in package.rglob("__init__.pyi")}
    assert len(rooms) > 10
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in rooms:
                folder = ROOT / node.module.replace(".", "/")
                names = [alias.name for alias in node.names]
                assert all((folder / f"{name}.py").is_file() for name in names), (path, node.module, names)


def test_every_door_opens():
    for stub in (ROOT / "audio_neurons").rglob("__init__.pyi"):
        room = importlib.import_module(".".join(stub.parent.relative_to(ROOT).parts))
        assert room.__doc__
        assert room.__all__
        assert all(hasattr(room, name) for name in room.__all__)
        # A name that is also a module would resolve differently depending on earlier imports.
        assert not {file.stem for file in stub.parent.glob("*.py")} & set(room.__all__), stub


def test_importing_the_library_is_light():
    modules = [
        "study",
        "study.loading",
        "settings.configuration",
        "running.digest",
        "running.files",
        "running.runtime",
        "datasets.registry",
        "datasets.archives",
        "models.registry",
        "fetching.download",
        "synthesis.making",
        "activations",
        "ablation",
    ]
    code = f"""
import sys
{"".join(f"import audio_neurons.{m}{chr(10)}" for m in modules)}
print(sorted(m for m in ("torch", "torchaudio", "timm", "snakemake", "matplotlib") if m in sys.modules))
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_jobs_of_finished_tables_import_nothing_heavy():
    """Most jobs of a run are such, and importing is most of what they do."""
    names = ("compare", "draw", "infer", "infer_sharing", "list_files", "list_provenance", "merge", "select",
             "summarize", "tabulate", "tabulate_expectations", "tabulate_published")  # fmt: skip
    heavy = {"scipy", "seaborn", "torch", "torchaudio", "timm", "transformers", "sklearn", "snakemake"}
    code = (
        f"import importlib, sys\ndef told(name): print(name, {heavy | {'matplotlib'}} & set(sys.modules))\n"
    )
    for name in names:
        tree = ast.parse((ROOT / "workflow" / "scripts" / f"{name}.py").read_text(encoding="utf-8"))
        imports = [ast.unparse(n) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        assert any("audio_neurons" in line for line in imports[1:]), name
        code += "\n".join([*imports, f"told({name!r})", ""])
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == [f"{name} set()" for name in names]


def test_every_rule_has_a_log_a_benchmark_and_an_environment():
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        scripts, again = text.count("    script:"), len(re.findall("^use rule .* with:$", text, re.M))
        for directive in ("log:", "benchmark:", "message:"):
            assert len(re.findall(rf"^ +{directive}$", text, re.M)) == scripts + again, (path, directive)
        assert len(re.findall(r"^ +conda:$", text, re.M)) == scripts, path  # `use rule` keeps it


def test_scripts_carry_no_logic():
    for path in (ROOT / "workflow" / "scripts").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, path
        assert not any(
            isinstance(n, ast.FunctionDef | ast.For | ast.While) for n in ast.walk(ast.parse(text))
        ), path


def test_schema_and_reference_are_those_of_the_settings():
    made = schema()
    page = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert page == reference.page(made), "run `make reference`"
    assert (ROOT / reference.SCHEMA).read_text(encoding="utf-8") == reference.schema_file()
    assert all(node.get("description") for path, node in reference.keys(made, made)), "a key is not described"


@pytest.mark.parametrize("name", [name for name in adapters() if name != "custom"])
def test_every_dataset_has_a_page_with_its_facts(name):
    path = ROOT / "docs" / "datasets" / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    assert reference.with_facts(text, name) == text, "run `make reference`"
    assert f"({name}.md)" in (ROOT / "docs" / "datasets" / "README.md").read_text(encoding="utf-8")
