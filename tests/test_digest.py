import shutil

import pytest

from audio_neurons import digest
from audio_neurons.digest import code_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files tests may edit."""
    copy = tmp_path / "audio_neurons"
    shutil.copytree(digest.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", copy)
    digest._parse.cache_clear()
    yield copy
    digest._parse.cache_clear()


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    digest._parse.cache_clear()


def test_the_copy_has_the_digest_of_the_original(package, monkeypatch):
    copied = code_digest("extraction", "models.vit")
    monkeypatch.undo()
    digest._parse.cache_clear()
    assert code_digest("extraction", "models.vit") == copied
    assert len(copied) == 16


@pytest.mark.parametrize("file", ["selection", "statistics", "tables", "files"])
def test_code_of_a_module_and_of_all_that_it_imports_counts(package, file):
    before = code_digest("selection")
    path = package / f"{file}.py"  # each is imported by the one before it
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    digest._parse.cache_clear()
    assert code_digest("selection") != before


def test_comments_docstrings_and_layout_do_not(package):
    before = code_digest("selection")
    edit(package / "measures.py", '"""AAPE in nats', '"""Entropy in nats')
    edit(package / "selection.py", '"""How neurons are chosen', '"""The choice')
    edit(package / "statistics.py", '"""Activation statistics:', '"""Statistics:')
    edit(package / "selection.py", "def coverage(", "# A comment.\n\n\ndef coverage(  # another\n    ")
    assert code_digest("selection") == before


def test_a_stage_does_not_depend_on_the_stages_before_it(package):
    before = {name: code_digest(name) for name in ("selection", "sharing", "extraction", "models.vit")}
    edit(package / "extraction.py", "batch_size: int = 8", "batch_size: int = 9")
    after = {name: code_digest(name) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["extraction"]


def test_encoders_do_not_depend_on_one_another_nor_datasets(package):
    before = code_digest("datasets.esc50"), code_digest("models.vit")
    edit(package / "datasets" / "gtzan.py", "def recordings", "ADDED = 1\n\n\ndef recordings")
    assert (code_digest("datasets.esc50"), code_digest("models.vit")) == before


def test_modules_are_told_apart_and_their_order_is_not():
    assert code_digest("selection", "models") == code_digest("models", "selection")
    assert code_digest("selection") != code_digest("models")
    assert code_digest("selection") != code_digest("selection", "models.vit")


def test_a_package_is_a_module(package):
    before = code_digest("models")
    edit(package / "models" / "__init__.py", "ADAPTERS = {", 'ADAPTERS = {"other": (), ')
    assert code_digest("models") != before


def test_an_import_inside_a_function_counts(package):
    edit(
        package / "selection.py",
        "    found = table",
        "    from audio_neurons import archives\n\n    found = table",
    )
    before = code_digest("selection")
    (package / "archives.py").write_text("ADDED = 1\n")
    digest._parse.cache_clear()
    assert code_digest("selection") != before


@pytest.mark.parametrize("module", ["nothing", "models.nothing", "selection.select"])
def test_an_unknown_module_is_an_error(module):
    with pytest.raises(ValueError, match=f"no module audio_neurons.{module}"):
        code_digest(module)
