import json
import re
import shutil

import pytest

from audio_neurons.running import digest
from audio_neurons.running.digest import code_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Copy of the package, which tests may edit."""
    copy = tmp_path / "audio_neurons"
    shutil.copytree(digest.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", copy)
    monkeypatch.setattr(digest, "KEPT", tmp_path / "kept.json")
    forget()
    yield copy
    forget()


def forget() -> None:
    """Read sources, and what is kept of them, as a new process does."""
    digest._parse.cache_clear()
    digest._kept.cache_clear()


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    digest._parse.cache_clear()


def test_the_copy_has_the_digest_of_the_original(package, monkeypatch):
    copied = code_digest("activations.extraction", "models.vit")
    monkeypatch.undo()
    digest._parse.cache_clear()
    assert code_digest("activations.extraction", "models.vit") == copied
    assert len(copied) == 16


@pytest.mark.parametrize(
    "file", ["neurons/selection", "activations/statistics", "tables", "running/files", "settings/selection"]
)
def test_code_of_a_module_and_of_all_that_it_imports_counts(package, file):
    before = code_digest("neurons.selection")
    path = package / f"{file}.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    digest._parse.cache_clear()
    assert code_digest("neurons.selection") != before


def test_templates_count_with_what_is_made_of_them(package):
    before, other = code_digest("report.findings"), code_digest("report.figures.sharing")
    edit(package / "report" / "templates" / "glossary.html.jinja", "by chance", "by accident")
    assert code_digest("report.findings") != before
    assert code_digest("report.figures.sharing") == other


def test_comments_docstrings_and_layout_do_not(package):
    before = code_digest("neurons.selection")
    for file in ("neurons/measures.py", "settings/selection.py", "activations/statistics.py"):
        path = package / file
        text, reworded = re.subn(r'^( *""")(?=\w)', r"\1Reworded: ", path.read_text(), flags=re.MULTILINE)
        assert reworded > 1
        path.write_text(text)
    edit(
        package / "neurons" / "selection.py",
        "def coverage(",
        "# A comment.\n\n\ndef coverage(  # another\n    ",
    )
    assert code_digest("neurons.selection") == before


def test_a_stage_does_not_depend_on_the_stages_before_it(package):
    stages = (
        "neurons.selection",
        "neurons.sharing",
        "activations.extraction",
        "models.vit",
        "ablation.probes",
    )
    before = {name: code_digest(name) for name in stages}
    edit(package / "settings" / "extraction.py", "top_clips: Count = 5", "top_clips: Count = 6")
    after = {name: code_digest(name) for name in stages}
    assert [name for name in stages if before[name] != after[name]] == ["activations.extraction"]


def test_encoders_do_not_depend_on_one_another_nor_datasets(package):
    before = code_digest("datasets.esc50"), code_digest("models.vit")
    edit(package / "datasets" / "gtzan.py", "def recordings", "ADDED = 1\n\n\ndef recordings")
    assert (code_digest("datasets.esc50"), code_digest("models.vit")) == before


def test_modules_are_told_apart_and_their_order_is_not():
    assert code_digest("neurons.selection", "models.fbank") == code_digest(
        "models.fbank", "neurons.selection"
    )
    assert code_digest("neurons.selection") != code_digest("models.fbank")
    assert code_digest("neurons.selection") != code_digest("neurons.selection", "models.vit")


def test_a_door_is_no_module_and_its_names_count_for_nothing(package):
    before = code_digest("neurons.selection")
    edit(package / "neurons" / "__init__.py", "import lazy_loader", "import lazy_loader\n\nADDED = 1")
    assert code_digest("neurons.selection") == before
    with pytest.raises(ValueError, match=r"no module audio_neurons\.neurons$"):
        code_digest("neurons")


def test_an_import_inside_a_function_counts(package):
    edit(
        package / "neurons" / "selection.py",
        "    own = rows",
        "    from audio_neurons.datasets import archives\n\n    own = rows",
    )
    before = code_digest("neurons.selection")
    (package / "datasets" / "archives.py").write_text("ADDED = 1\n")
    digest._parse.cache_clear()
    assert code_digest("neurons.selection") != before


@pytest.mark.parametrize("module", ["nothing", "models.nothing", "selection.select"])
def test_an_unknown_module_is_an_error(module):
    with pytest.raises(ValueError, match=f"no module audio_neurons.{module}"):
        code_digest(module)


def test_what_is_kept_is_used_as_long_as_the_source_is_the_same(package, monkeypatch):
    before = code_digest("neurons.selection")
    digest._keep()
    forget()
    monkeypatch.setattr(digest, "_read", lambda source: pytest.fail("it was parsed again"))
    assert code_digest("neurons.selection") == before


@pytest.mark.parametrize("kept", ["", "{", "[]", "{}", '{"by": "another digest.py"}'])
def test_what_cannot_be_used_is_made_anew(package, kept):
    before = code_digest("neurons.selection")
    digest.KEPT.write_text(kept)
    forget()
    assert code_digest("neurons.selection") == before
    digest._keep()
    assert json.loads(digest.KEPT.read_text())["neurons/selection.py"]


def test_an_edit_counts_though_its_module_is_kept(package):
    before = code_digest("neurons.selection")
    digest._keep()
    forget()
    edit(package / "neurons/measures.py", "def entropy(", "def entropie(")
    assert code_digest("neurons.selection") != before


def test_an_installation_that_may_not_be_written_keeps_nothing(package, monkeypatch):
    code_digest("neurons.selection")
    monkeypatch.setattr(digest, "KEPT", package / "tables.py" / "kept.json")
    digest._keep()
