"""docs/reliability.md names existing tests for each fault, and covers all tests of faults."""

import ast
import re

from common import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("| what", "|---"))
]


def functions(file: str) -> set[str]:
    (path,) = (ROOT / "tests").rglob(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_tests_that_there_are():
    assert len(ROWS) > 35
    for row in ROWS:
        cells = re.split(r" \| ", row.strip("| "))
        assert len(cells) == 4, row
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", cells[-1])
        assert named, row
        for file, name in named:
            assert name in functions(file), f"{file}::{name}"


def test_every_test_of_a_fault_is_on_the_page():
    for file in (
        "test_environment.py",
        "test_faults.py",
        "test_files.py",
        "test_hostile_audio.py",
        "test_hostile_metadata.py",
    ):
        for name in functions(file):
            if name.startswith("test_") and name not in UNTOLD:
                assert f"`{file}::{name}`" in PAGE, name


# Tests of behaviour that a user does not see.
UNTOLD = {"test_room_is_reserved_or_refused", "test_channels_of_a_long_recording_are_averaged_in_parts"}


def test_the_readme_leads_there():
    assert "(docs/reliability.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
